"""Files: whole or not at all, read without trust."""

import contextlib
import csv
import errno
import hashlib
import io
import math
import os
import shutil
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from shredder.io.cli import InputError


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
# Bytes that one byte of an archive may unpack to.
_RATIO = 200
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
            return _checked_array(file, os.fstat(file.fileno()).st_size)
    except FileNotFoundError as error:
        raise InputError(f"{flag} {path}: no such file, expected a .npy array".lstrip()) from error
    except Exception as error:  # numpy has its headers read by Python's own parser, which fails in a dozen ways
        reason = " ".join(f"{getattr(error, 'strerror', None) or str(error) or type(error).__name__}".split())[:200]
        raise InputError(f"{flag} {path}: not a readable .npy array of numbers ({reason})".lstrip()) from error


def read_arrays(path: Path, flag: str = "") -> dict[str, np.ndarray]:
    """Read the arrays of an `.npz` file by name, as `read_array` reads each; an archive that unpacks to far more is refused.

    Raises
    ------
    InputError
        If there is no such regular file, or it is no archive of such arrays.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {entry.filename.removesuffix(".npy"): _unpacked(archive, entry) for entry in archive.infolist()}
    except FileNotFoundError as error:
        raise InputError(f"{flag} {path}: no such file, expected an .npz archive of arrays".lstrip()) from error
    except Exception as error:  # as in `read_array`
        reason = " ".join(f"{getattr(error, 'strerror', None) or str(error) or type(error).__name__}".split())[:200]
        raise InputError(f"{flag} {path}: not a readable .npz archive of arrays of numbers ({reason})".lstrip()) from error


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    if entry.file_size > _RATIO * entry.compress_size + _HEADER_BYTES:
        raise ValueError(f"{entry.filename} unpacks {entry.compress_size} bytes to {entry.file_size}")
    with archive.open(entry) as file:
        return _checked_array(file, entry.file_size)


def _checked_array(file: IO[bytes], size: int) -> np.ndarray:
    """The array in a file of `size` bytes."""
    head = io.BytesIO(file.read(_HEADER_BYTES))
    version = np.lib.format.read_magic(head)
    if version not in _HEADERS:
        raise ValueError(f"format version {version}, expected 1.0 or 2.0")
    shape, columns_first, dtype = _HEADERS[version](head)
    if dtype.kind not in "biufU":
        raise ValueError(f"found {dtype}")
    n_bytes, found = math.prod(shape) * dtype.itemsize, size - head.tell()
    if any(type(n) is not int or n < 0 for n in shape) or n_bytes != found:
        raise ValueError(f"the header says {dtype} {shape}, {n_bytes} bytes, and {found} follow it")
    file.seek(head.tell())
    if isinstance(file, zipfile.ZipExtFile):
        array = np.frombuffer(file.read(n_bytes), dtype, math.prod(shape)).copy()
    else:
        array = np.fromfile(file, dtype, math.prod(shape))
    return array.reshape(shape, order="F" if columns_first else "C")


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# A growing file is synced, and its pages given back, after so many bytes: the kernel takes several times longer to find pages
# for a whole large file than to use the same ones again.
_UNSYNCED_BYTES = 64 * 2**20


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
        self.path, self.partial, self._unsynced = path, aside_of(path), 0
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
        with named_errors(self.path):
            if writing:
                writing.result()

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
        with named_errors(self.path):
            self._file.seek(0)
            self._write_header()
            self._file.seek(0, os.SEEK_END)
            self._file.flush()
        return self._file

    def _write_header(self) -> None:
        # numpy pads a header so that its length does not depend on the number of rows.
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, *self.row_shape)}
        np.lib.format.write_array_header_1_0(self._file, header)
