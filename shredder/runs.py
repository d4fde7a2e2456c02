"""What every script does alike: arguments, plain errors, whole files, run records."""

import contextlib
import csv
import dataclasses
import errno
import functools
import hashlib
import io
import json
import math
import os
import platform
import shutil
import signal
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
import tyro

from models.weights import WeightsError
from shredder import provenance, terminal

if TYPE_CHECKING:
    from shredder.rowfile import RowFile

# Packages whose versions decide about results.
_RECORDED = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "mlxtend", "randomgen")


class InputError(ValueError):
    """A user's mistake; the message names the file or flag, what was found and what was expected."""

    def _render_traceback_(self) -> list[str]:
        """What IPython, and so a notebook, shows in place of a traceback."""
        return [f"error: {self}"]


def script(main: Callable[[Any], None], arguments: type) -> None:
    """Read the dataclass `arguments` from the command line and run `main` on it.

    A user's mistake and a failing disk end in one line on stderr and exit status 1, without a traceback. Whether anybody reads
    what is printed decides nothing. SIGTERM and SIGHUP end the run as Ctrl-C does, with what is written aside removed.
    """
    terminal.unimportant()
    args = tyro.cli(arguments)
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP; nohup has it ignored
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)
    try:
        main(args)
    except (InputError, WeightsError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: no file is half-written, and a run.json lists the files that belong to it by their SHA-256")


def _end(number: int, _frame: Any) -> None:
    sys.exit(128 + number)  # as shells say it


def in_float32(main: Callable[[Any], None]) -> Callable[[Any], None]:
    """Decorates a script's `main`, which takes torch's own default for granted, whatever the caller's is."""

    @functools.wraps(main)
    def run(args: Any) -> None:
        callers = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            main(args)
        finally:
            torch.set_default_dtype(callers)

    return run


def require_at_least(args: Any, **minima: float) -> None:
    """Raise InputError where a field of `args` lies below its minimum or is not finite, naming the flag; None passes."""
    for field, minimum in minima.items():
        value = getattr(args, field)
        if value is not None and not minimum <= value < math.inf:
            flag = "--" + field.replace("_", "-")
            raise InputError(f"{flag}: found {value}, expected at least {minimum}")


def require_one_of(args: Any, **choices: Iterable[str]) -> None:
    """Raise InputError where a field of `args` is none of its choices, naming the flag."""
    for field, names in choices.items():
        if getattr(args, field) not in names:
            flag = "--" + field.replace("_", "-")
            raise InputError(f"{flag}: found {getattr(args, field)!r}, expected {', '.join(names)}")


def prepare_output(folder: Path) -> None:
    """Make `folder` and see that files can be written there, before any work is done. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"--output {folder}: not a folder that can be written ({error.strerror})") from error


def require_space(folder: Path, n_bytes: int) -> None:
    """Raise InputError where the disk of `folder` has not `n_bytes` left for what is to be written."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise InputError(f"{folder}: {n_bytes / 1e9:.2f} GB are to be written, and the disk has {free / 1e9:.2f} GB left")


# Files: whole or not at all.


def write_together(files: Mapping[Path, "bytes | RowFile | None"]) -> None:
    """Write all of `files`, or none: each is written aside and synced to disk, and only when all are, they are renamed.

    They are renamed in the order given, and where there is None for a content, the file is removed: a record that comes last
    stands for what it lists, and a power cut before leaves files that are whole and an old record that does not list them. A
    RowFile has been written aside already.

    Raises
    ------
    OSError
        Whatever the disk says, naming the file; nothing half-written is left then, and what stood under these names still
        stands.
    """
    aside = {path: aside_of(path) for path, content in files.items() if content is not None}
    path = None
    try:
        for path, partial in aside.items():
            content = files[path]
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, "wb") if isinstance(content, bytes) else content.finished() as file:
                if isinstance(content, bytes):
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path in files:
            if path in aside:
                os.replace(aside[path], path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        for partial in aside.values():
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Errors of the disk inside the `with` block name `path`: a full disk does not say which file it had no room for."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def aside_of(path: Path) -> Path:
    """Where `path` is written until it is whole: a name of this process alone, or two would write into one file."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def npy(array: np.ndarray) -> bytes:
    """`array` as the content of a `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def csv_table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    """A CSV file's content: one header row, then `rows`; floats to nine significant digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{v:.9g}" if isinstance(v, float) else v for v in row] for row in rows)
    return buffer.getvalue().encode()


def open_regular(path: Path) -> BinaryIO:
    """`path`, open for reading, if it is a regular file: reading from a FIFO or a device may never end. Raises OSError."""
    # Without O_NONBLOCK, which Windows has no need of, opening a FIFO waits for somebody who writes.
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


# A `.npy` header of numbers is shorter than this; numpy reads one of at most 10,000 bytes.
_HEADER_BYTES = 2**14
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_array(path: Path, flag: str = "") -> np.ndarray:
    """Read a `.npy` file of numbers or text, never unpickled; `flag` goes before the file's name in the message.

    Nothing that the header says is believed: memory is taken for what the file holds, and only if that is what it says.

    Raises
    ------
    InputError
        If there is no such regular file, or it holds no array of real numbers or text, or other bytes than its header says.
    """
    try:
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # how a header is spelled does not matter, and what it says is looked at below
            return _checked_array(file)
    except FileNotFoundError as error:
        raise InputError(f"{flag} {path}: no such file, expected a .npy array".lstrip()) from error
    except Exception as error:  # numpy has its headers read by Python's own parser, which fails in a dozen ways
        reason = " ".join(f"{getattr(error, 'strerror', None) or error or type(error).__name__}".split())[:200]
        raise InputError(f"{flag} {path}: not a readable .npy array of numbers ({reason})".lstrip()) from error


def _checked_array(file: BinaryIO) -> np.ndarray:
    head = io.BytesIO(file.read(_HEADER_BYTES))
    version = np.lib.format.read_magic(head)
    if version not in _HEADERS:
        raise ValueError(f"format version {version}, expected 1.0 or 2.0")
    shape, columns_first, dtype = _HEADERS[version](head)
    if dtype.kind not in "biufU":
        raise ValueError(f"found {dtype}")
    n_bytes, found = math.prod(shape) * dtype.itemsize, os.fstat(file.fileno()).st_size - head.tell()
    if any(type(n) is not int or n < 0 for n in shape) or n_bytes != found:
        raise ValueError(f"the header says {dtype} {shape}, {n_bytes} bytes, and {found} follow it")
    file.seek(head.tell())
    return np.fromfile(file, dtype, math.prod(shape)).reshape(shape, order="F" if columns_first else "C")


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Run records.


class Record:
    """What made a result: arguments, commit, versions, device, seconds. Made at the start, when it notes commit and time."""

    def __init__(self, args: Any, command: str | None = None):
        self.args = args
        self.command = command or Path(sys.argv[0]).name
        self.commit, self.dirty = provenance.commit()
        self.started = time.perf_counter()

    def write(self, path: Path, files: Mapping[Path, "bytes | RowFile | None"], results: Mapping[str, Any]) -> None:
        """Write `files` as `write_together` does, and last the record at `path`, which lists each with its SHA-256."""
        digests = {
            file.relative_to(path.parent).as_posix(): _digest(content) for file, content in files.items() if content is not None
        }
        write_together({**files, path: self.content(results, path.parent, digests)})

    def content(
        self, results: Mapping[str, Any], folder: Path = provenance.REPOSITORY, files: Mapping[str, str] | None = None
    ) -> bytes:
        """`run.json`'s content.

        Parameters
        ----------
        results : mapping
            Names that carry their unit, to values.
        folder : Path
            Where the record will be. Paths among its arguments are relative to it; see `provenance.path_text`, and
            `records.path_in`, which follows them.
        files : mapping of str to str, optional
            Files of the result, and their SHA-256. A record without is read as an old one: its paths are relative to the
            repository, and whoever reads its files cannot tell whether they are the run's.
        """
        arguments = {
            name: provenance.path_text(value, folder, name in provenance.FOLLOWED)
            if isinstance(value, Path)
            else provenance.plain(value)
            for name, value in dataclasses.asdict(self.args).items()
        }
        record = {
            "command": self.command,
            "arguments": arguments,
            "commit": self.commit,
            "uncommitted changes": self.dirty,
            "versions": {"python": platform.python_version()} | {name: version(name) for name in _RECORDED},
            "device": f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
            "seconds": round(time.perf_counter() - self.started, 2),
            "peak memory (MB)": provenance.peak_memory(),
            "results": {name: provenance.plain(value) for name, value in results.items()},
        }
        return (json.dumps(record if files is None else record | {"files": files}, indent=2) + "\n").encode()


def _digest(content: "bytes | RowFile") -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    return sha256(Path(content.finished().name))


def report(folder: Path, results: Mapping[str, Any]) -> None:
    """Print what a run has reached, a line each, and where its files are."""
    width = max(map(len, results))
    for name, value in results.items():
        print(f"{name:<{width}}  {provenance.plain(value)}")
    print(f"written to {folder}")
