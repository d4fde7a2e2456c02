"""What every script does alike: arguments, plain errors, whole files, run records."""

import contextlib
import csv
import dataclasses
import errno
import hashlib
import io
import json
import math
import os
import platform
import resource
import shutil
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
import tyro

from models.weights import WeightsError

_REPOSITORY = Path(__file__).parents[1]
# A growing file is synced, and its pages given back, after so many bytes: the kernel takes several times longer to find pages
# for a whole large file than to use the same ones again.
_UNSYNCED_BYTES = 64 * 2**20


class InputError(ValueError):
    """A user's mistake; the message names the file or flag, what was found and what was expected."""

    def _render_traceback_(self) -> list[str]:
        """What IPython, and so a notebook, shows in place of a traceback."""
        return [f"error: {self}"]


def script(main: Callable[[Any], None], arguments: type) -> None:
    """Read the dataclass `arguments` from the command line and run `main` on it.

    A user's mistake and a failing disk end in one line on stderr and exit status 1, without a traceback.
    """
    args = tyro.cli(arguments)
    try:
        main(args)
    except (InputError, WeightsError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: every file on disk is whole")


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
    probe = folder / ".probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"--output {folder}: not a folder that can be written ({error.strerror})") from error


def require_space(folder: Path, n_bytes: int) -> None:
    """Raise InputError where the disk of `folder` has not `n_bytes` left for what is to be written."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise InputError(f"{folder}: {n_bytes / 1e9:.2f} GB are to be written, and the disk has {free / 1e9:.2f} GB left")


# Files: whole or not at all.


def write_together(files: Mapping[Path, "bytes | RowFile"]) -> None:
    """Write all of `files`, or none: each is written aside and synced to disk, and only when all are, they are renamed.

    A power cut between two renames leaves some old and some new files, each of them whole. A RowFile has been written
    aside already.

    Raises
    ------
    OSError
        Whatever the disk says; nothing half-written is left then, and what stood under these names still stands.
    """
    aside = {path: _aside(path) for path in files}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with content.finished() if isinstance(content, RowFile) else open(aside[path], "wb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, partial in aside.items():
            os.replace(partial, path)
    except OSError as error:  # a full disk does not say which file it had no room for
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        for partial in aside.values():
            partial.unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


class RowFile:
    """A `.npy` file that grows by rows, so that it may be larger than memory; `write_together` gives it its name.

    Parameters
    ----------
    path : Path
        Where it will be. Until then it stands aside, and is removed when the `with` block ends without its being written.
    row_shape : tuple of int
    dtype : numpy dtype
    """

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: type):
        self.row_shape, self.dtype, self.rows = row_shape, np.dtype(dtype), 0
        self.path, self.partial, self._unsynced = path, _aside(path), 0
        self._thread, self._writing = ThreadPoolExecutor(1), None
        self._file = open(self.partial, "wb")  # noqa: SIM115
        self._write_header()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.shutdown()
        with contextlib.suppress(OSError):  # what a full disk had no room for is dropped anyway
            self._file.close()
        self.partial.unlink(missing_ok=True)

    def append(self, rows: np.ndarray) -> None:
        """Add `rows`, (n, *row_shape) of the file's dtype, written by a thread: they may not change before the next call."""
        if rows.shape[1:] != self.row_shape or rows.dtype != self.dtype:
            raise ValueError(f"{self.partial}: {rows.dtype} {rows.shape} among rows of {self.dtype} {self.row_shape}")
        self._wait()
        self._writing = self._thread.submit(self._write, np.ascontiguousarray(rows))
        self.rows += len(rows)

    def _wait(self) -> None:
        """Wait for the rows that are being written; raise what went wrong with them."""
        writing, self._writing = self._writing, None
        with self._named_errors():
            if writing:
                writing.result()

    @contextlib.contextmanager
    def _named_errors(self):
        try:
            yield
        except OSError as error:  # a full disk does not say which file it had no room for
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _write(self, rows: np.ndarray) -> None:
        self._unsynced += self._file.write(rows.data)
        if self._unsynced > _UNSYNCED_BYTES:
            self._file.flush()
            os.fsync(self._file.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self._unsynced = 0

    def array(self) -> np.memmap:
        """The rows so far, mapped from disk, copied on write since torch warns of read-only arrays."""
        return np.lib.format.open_memmap(self.finished().name, mode="c")

    def finished(self) -> BinaryIO:
        """The file, still open, with the number of rows in its header."""
        self._wait()
        with self._named_errors():
            self._file.seek(0)
            self._write_header()
            self._file.seek(0, os.SEEK_END)
            self._file.flush()
        return self._file

    def _write_header(self) -> None:
        # numpy pads a header so that its length does not depend on the number of rows.
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, *self.row_shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


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
        self.commit = _git("rev-parse", "HEAD")
        changes = _git("status", "--porcelain", "--untracked-files=no")
        self.dirty = None if changes is None else bool(changes)
        self.started = time.perf_counter()

    def content(self, results: Mapping[str, Any]) -> bytes:
        """`run.json`'s content, with `results` (names that carry their unit, to values)."""
        record = {
            "command": self.command,
            "arguments": {name: _plain(value) for name, value in dataclasses.asdict(self.args).items()},
            "commit": self.commit,
            "uncommitted changes": self.dirty,
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in ("torch", "torchvision", "numpy", "scipy", "scikit-image", "mlxtend")},
            "device": f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
            "seconds": round(time.perf_counter() - self.started, 2),
            "peak memory (MB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "results": {name: _plain(value) for name, value in results.items()},
        }
        return (json.dumps(record, indent=2) + "\n").encode()


def _plain(value: Any) -> Any:
    """A value as JSON knows it: floats to six significant digits; paths relative to the repository, outside it a name alone."""
    if isinstance(value, Path) and value.is_relative_to(_REPOSITORY):
        value = value.relative_to(_REPOSITORY)
    if isinstance(value, Path) and value.is_absolute():  # where a machine keeps its files is no part of a record
        value = Path("...") / value.name
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)  # JSON knows no infinity
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def _git(*command: str) -> str | None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        found = subprocess.run(["git", *command], cwd=_REPOSITORY, capture_output=True, text=True, check=True)
        return found.stdout.strip()
    return None


def report(folder: Path, results: Mapping[str, Any]) -> None:
    """Print what a run has reached, a line each, and where its files are."""
    width = max(map(len, results))
    for name, value in results.items():
        print(f"{name:<{width}}  {_plain(value)}")
    print(f"written to {folder}")
