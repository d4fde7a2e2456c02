"""What step 2 left, read without trust: its record, tables, arrays. Every refusal is one line that names the file."""

import csv
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shredder.io.cli import InputError
from shredder.io.record import path_in, read_record, require_intact

_BYTES_AT_ONCE = 5 * 10**7


@dataclass(frozen=True)
class RunRecord:
    """A `run.json`.

    Attributes
    ----------
    path : Path
    arguments, results : mapping
        By flag, with underscores; by name with unit.
    files : mapping
        Names of the run's files to their SHA-256; empty in records of old runs.
    command : str
        The script's name; empty where it is not known.
    """

    path: Path
    arguments: Mapping[str, Any]
    results: Mapping[str, Any]
    files: Mapping[str, str]
    command: str

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """As `read_record`."""
        content = read_record(path)
        return cls(path, content["arguments"], content["results"], content.get("files", {}), str(content.get("command", "")))

    def argument(self, flag: str, kind: type = str) -> Any:
        """A flag's value, of `kind`; None where it was not given, or not known yet. Raises InputError."""
        value = self.arguments.get(flag)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise InputError(f"{self.path}: found {value!r} as the argument {flag}, expected {kind.__name__}")
        return value

    def result(self, name: str) -> float:
        """A result, a number. Raises InputError where there is none."""
        value = self.results.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{self.path}: found {value!r} as the result {name!r}, expected a number")
        return value

    def number(self, name: str) -> float | None:
        """A result, a number; None where there is none of that name. Raises InputError where it is something else."""
        return self.result(name) if name in self.results else None

    def shape(self, name: str) -> tuple[int, ...] | None:
        """A result that is a shape, a list of positive integers; None where there is none of that name. Raises InputError."""
        value = self.results.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not value or any(type(side) is not int or side < 1 for side in value):
            raise InputError(f"{self.path}: found {value!r} as the result {name!r}, expected a list of positive integers")
        return tuple(value)

    def path_of(self, flag: str) -> Path | None:
        """Where the file or folder is that the flag named; None where it named none, or it is no longer there."""
        value = self.argument(flag)
        place = None if value is None else path_in(self.path, value)
        return place if place and os.path.exists(place) else None

    def verified(self, path: Path) -> Path:
        """`path`, a file beside the record, if it is there and still the one that the record lists. Raises InputError."""
        require_file(path, f"it beside {self.path.name}, which the same step writes")
        require_intact(path)
        return path


def read_table(path: Path, columns: Iterable[str]) -> np.ndarray:
    """Read a CSV file of numbers below a header, which has at least `columns`.

    Returns
    -------
    structured ndarray, float64, (n,)
        n > 0.

    Raises
    ------
    InputError
        Names the file.
    """
    require_file(path, "a CSV table")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        table = np.array([tuple(map(float, row)) for row in rows], dtype=[(name, float) for name in header])
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV table of numbers ({_line(error)})") from error
    missing = [name for name in columns if name not in header]
    if missing or len(table) == 0:
        raise InputError(f"{path}: found {len(table)} rows of {', '.join(header)}, expected rows of {', '.join(columns)}")
    return table


def require_file(path: Path, what: str) -> None:
    """Raise InputError where `path` is no regular file: reading a pipe would wait for ever."""
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file, expected {what}")


def map_array(path: Path) -> np.ndarray:
    """A `.npy` file as a read-only memory map. Raises InputError; never unpickles."""
    try:
        array, n_bytes = np.lib.format.open_memmap(path, mode="r"), path.stat().st_size
        if array.offset + array.nbytes != n_bytes:
            raise ValueError(f"its header says {array.offset + array.nbytes} bytes, and it has {n_bytes}")
        return array
    except Exception as error:  # a damaged header lets out whatever Python's own tokenizer, parser and integers raise
        raise InputError(f"{path}: not a readable .npy array of numbers ({_line(error)})") from error


def in_parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of an array (n, ...), a few at a time; what was read of a read-only memory map then leaves memory."""
    mapped = array._mmap if getattr(array, "mode", None) == "r" else None  # of another, what was written could be lost
    for some in np.array_split(array, min(len(array), -(-array.nbytes // _BYTES_AT_ONCE))):
        yield some
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on every system
            mapped.madvise(mmap.MADV_DONTNEED)


def _line(error: Exception) -> str:
    """What it says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
