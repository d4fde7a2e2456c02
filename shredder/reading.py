"""What earlier runs left, read without trust: run records, tables, arrays. Every refusal is one line that names the file."""

import csv
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shredder import runs
from shredder.runs import InputError

_REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class RunRecord:
    """A `run.json`.

    Attributes
    ----------
    path : Path
    arguments, results : mapping
        By flag, with underscores; by name with unit.
    files : mapping of str to str
        SHA-256 of the files beside it, by name; records of before have none.
    """

    path: Path
    arguments: Mapping[str, Any]
    results: Mapping[str, Any]
    files: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """Raises InputError, naming the file, where it is missing or no run record."""
        require_file(path, "the record of a run")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: not a readable run record ({_line(error)})") from error
        parts = [content.get(name, {}) for name in ("arguments", "results", "files")] if isinstance(content, dict) else []
        if not parts or not all(isinstance(part, dict) for part in parts):
            raise InputError(f"{path}: not a run record; expected an object of arguments and results")
        return cls(path, *parts)

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

    def path_of(self, flag: str) -> Path | None:
        """Where the file or folder is that the flag named; None where it named none, or it is no longer there.

        A path of a record is absolute, or relative to the record's own folder; those of before are relative to the repository.
        """
        value = self.argument(flag)
        if value is None:
            return None
        places = (self.path.parent / value, _REPOSITORY / value)  # an absolute path is itself in both
        return next((place for place in places if os.path.exists(place)), None)

    def verified(self, path: Path) -> Path:
        """`path`, a file beside the record, whose digest is the one that the record has, if it has one. Raises InputError."""
        require_file(path, f"it beside {self.path.name}, as step 2 writes it")
        expected = self.files.get(path.name)
        if expected is not None and (found := runs.sha256(path)) != expected:
            raise InputError(f"{path}: found SHA-256 {found}, expected {expected}, of {self.path}: damaged, or another run's")
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


def _line(error: Exception) -> str:
    """What it says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
