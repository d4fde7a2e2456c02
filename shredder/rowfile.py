"""Arrays on disk that grow by rows, larger than memory if need be."""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np

from shredder import runs

# A growing file is synced, and its pages given back, after so many bytes: the kernel takes several times longer to find pages
# for a whole large file than to use the same ones again.
_UNSYNCED_BYTES = 64 * 2**20


class RowFile:
    """A `.npy` file that grows by rows, so that it may be larger than memory; `runs.write_together` gives it its name.

    Parameters
    ----------
    path : Path
        Where it will be. Until then it stands aside, and is removed when the `with` block ends without its being written.
    row_shape : tuple of int
    dtype : numpy dtype
    """

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: type):
        self.row_shape, self.dtype, self.rows = row_shape, np.dtype(dtype), 0
        self.path, self.partial, self._unsynced = path, runs.aside_of(path), 0
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
        with runs.named_errors(self.path):
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
        with runs.named_errors(self.path):
            self._file.seek(0)
            self._write_header()
            self._file.seek(0, os.SEEK_END)
            self._file.flush()
        return self._file

    def _write_header(self) -> None:
        # numpy pads a header so that its length does not depend on the number of rows.
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, *self.row_shape)}
        np.lib.format.write_array_header_1_0(self._file, header)
