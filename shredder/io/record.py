"""Run records: what made a result, written beside it and read again."""

import dataclasses
import hashlib
import json
import platform
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from shredder.io import provenance
from shredder.io.cli import InputError
from shredder.io.device import described
from shredder.io.files import RowFile, sha256, write_together
from shredder.io.provenance import REPOSITORY


def key(args: Any, weights: Iterable[Path], *inputs: str, only: Collection[str] = ()) -> str:
    """What tells a run from others: `args` (or `only` some), content of `weights`, digests of `inputs`, the code; no paths."""
    places = [name for name, value in vars(args).items() if isinstance(value, Path)]
    flags = {name: value for name, value in vars(args).items() if name not in places and (not only or name in only)}
    content = [*map(sha256, weights), *inputs]
    return json.dumps({"flags": flags, "weights and inputs": content, "code": provenance.code()})


def differences(of_run: str, here: str) -> str:
    """In what a run's key differs from the one here, in words: flags with both values, weights or inputs, code."""
    try:
        (flags, content, code), (ours, *rest) = (json.loads(key).values() for key in (of_run, here))
    except (ValueError, AttributeError):  # no key of ours
        return "another key"
    found = [
        f"--{name.replace('_', '-')} {flags.get(name)} (here {ours.get(name)})"
        for name in flags | ours
        if flags.get(name) != ours.get(name)
    ]
    found += ["other weights or inputs"] * (content != rest[0]) + ["other code"] * (code != rest[1])
    return ", ".join(found) or "another key"


def digest(*tensors: Tensor) -> str:
    """SHA-256 of the elements of `tensors`, say of inputs and labels: part of what tells one run from another."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.contiguous().numpy())
    return found.hexdigest()


# Packages whose versions decide about results.
_RECORDED = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "mlxtend", "randomgen")


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
            `path_in`, which follows them.
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
            "device": described(getattr(self.args, "device", "cpu")),
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


RECORD = "run.json"


def read_record(path: Path) -> dict[str, Any]:
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
    return (path.parent if "files" in read_record(path) else REPOSITORY) / text


def require_intact(path: Path) -> None:
    """Raise InputError where a record beside the file at `path` lists it with another SHA-256 than it has.

    A file without a record, or that its record does not list, may come from anywhere, and passes.
    """
    record = path.parent / RECORD
    if not (record.exists() and path.is_file()):
        return
    expected = read_record(record).get("files", {}).get(path.name)
    if expected is not None and sha256(path) != expected:
        raise InputError(
            f"{path}: not the file that {record} lists, for its SHA-256 differs: it was damaged or replaced, or a run was "
            "killed while it wrote; run the step that wrote it again"
        )


def require_whole(folder: Path, but: Collection[str] = ()) -> None:
    """Raise InputError where a file that the record in `folder` lists, and not `but`, is missing or has changed."""
    for name in read_record(folder / RECORD).get("files", {}).keys() - but:
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: no such file, though {folder / RECORD} lists it")
        require_intact(folder / name)
