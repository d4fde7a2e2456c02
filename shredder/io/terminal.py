"""The terminal, or the pipe or file in its place: results stand, and a run's exit status is theirs, whether it reads or not."""

import contextlib
import os
import sys
from typing import Any, TextIO

from tqdm import tqdm

from shredder.io import ranks

# Between two lines of progress in a log.
_SECONDS = 10


class Unimportant:
    """A text stream without errors: what its reader, its disk or its encoding will not take is dropped."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """As of any stream."""
        with contextlib.suppress(OSError, ValueError):  # a pipe's reader has gone; the stream is closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As of any stream."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def unimportant() -> None:
    """Let no output to stdout or stderr fail from now on; open them on nothing where the process was started without."""
    # Where they are closed, the next file that is opened takes their place, and receives what libraries print.
    with contextlib.suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w")  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold anything
        setattr(sys, name, Unimportant(stream))


class Lines:
    """A text stream that ends a line where a terminal would begin it anew."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """As of any stream; blank parts are left out."""
        for line in text.replace("\r", "\n").split("\n"):
            if line.strip():
                self._stream.write(line.rstrip() + "\n")
        return len(text)

    def flush(self) -> None:
        """As of any stream."""
        self._stream.flush()


def progress(total: int | None = None, **settings: Any) -> tqdm:
    """A progress bar on a terminal; in a log a line every ten seconds at most, and none in the first ten.

    Of several processes the first one's is shown, of its own work.
    """
    if ranks.silent():
        return tqdm(total=total, disable=True, **settings)
    if sys.stderr.isatty():
        return tqdm(total=total, **settings)
    return tqdm(total=total, file=Lines(sys.stderr), mininterval=_SECONDS, delay=_SECONDS, ncols=120, **settings)
