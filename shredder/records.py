"""Run records read again: what they say, where their paths lead, and whether files are still those that they list."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from shredder import runs
from shredder.provenance import REPOSITORY
from shredder.runs import InputError

RECORD = "run.json"


def read(path: Path) -> dict[str, Any]:
    """A run record, with dicts `arguments`, `results` and, unless it is of an old run, `files`. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a run record")
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as a run record ({type(error).__name__})") from error
    parts = ("arguments", "results", *(["files"] if isinstance(record, dict) and "files" in record else []))
    if not isinstance(record, dict) or not all(isinstance(record.get(part), dict) for part in parts):
        raise InputError(f"{path}: not a run record of this suite; expected arguments, results and files")
    return record


def path_in(path: Path, text: str) -> Path:
    """Where `text`, a path among the arguments of the record at `path`, leads.

    It is relative to the record's own folder; in records of old runs, which list no files, to the repository's root. Of a path
    that begins with `...` the record has kept the name alone, and there is nothing at what is returned. Raises InputError.
    """
    return (path.parent if "files" in read(path) else REPOSITORY) / text


def require_intact(path: Path) -> None:
    """Raise InputError where a record beside the file at `path` lists it with another SHA-256 than it has.

    A file without a record, or that its record does not list, may come from anywhere, and passes.
    """
    record = path.parent / RECORD
    if not (record.exists() and path.is_file()):
        return
    expected = read(record).get("files", {}).get(path.name)
    if expected is not None and runs.sha256(path) != expected:
        raise InputError(
            f"{path}: not the file that {record} lists, for its SHA-256 differs: it was damaged or replaced, or a run was "
            "killed while it wrote; run the step that wrote it again"
        )


def require_whole(folder: Path, but: Collection[str] = ()) -> None:
    """Raise InputError where a file that the record in `folder` lists, and not `but`, is missing or has changed."""
    for name in read(folder / RECORD).get("files", {}).keys() - but:
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: no such file, though {folder / RECORD} lists it")
        require_intact(folder / name)
