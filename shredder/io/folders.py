"""An output folder while a run writes to it: no other run works there, and none of the user's own files is touched."""

import contextlib
import functools
import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import filelock

from shredder.io import ranks
from shredder.io.cli import InputError
from shredder.io.files import prepare_output, write_together
from shredder.io.record import RECORD, read_record

# Says which files in a folder are a run's own, though no record lists them (yet).
CLAIM = ".claim.json"
# Says who works there.
LOCK = ".run.lock"
_HOLDER = r"process \d+, which began [\d:+ -]+,"
Main = Callable[[Any], None]


def claims(*names: str, record: Collection[str] = (RECORD,)) -> Callable[[Main], Main]:
    """Decorates a script's `main`, which writes or removes `names` in `args.output`; as `claimed`."""

    def decorated(main: Main) -> Main:
        @functools.wraps(main)
        def run(args: Any) -> None:
            with claimed(args.output, names, record):
                main(args)

        return run

    return decorated


@contextlib.contextmanager
def claimed(folder: Path, names: Collection[str], record: Collection[str] = (RECORD,)) -> Iterator[None]:
    """`folder` is this run's alone inside the `with` block.

    It is made if need be, and removed again if it stays empty. What a process that is dead by now has left of `names` aside is
    removed, and what this one leaves. Where several processes share the run, the first claims the folder for all.

    Parameters
    ----------
    folder : Path
    names : collection of str
        Files in `folder` that the run will write or remove, but for its records. One that lies there has to be a run's own:
        listed by a record, or by the claim of a run that did not end.
    record : collection of str
        Names of run records that the run may write there.

    Raises
    ------
    InputError
        If another run works there, or a file of `names` is not a run's own, or a record there lists files that are not among
        `names`, which would lose their record; or if the folder cannot be written.
    """
    if ranks.rank():
        ranks.wait()
        if not (folder / LOCK).exists():
            raise InputError(f"--output {folder}: not the folder of rank 0; expected one that all processes see")
        yield
        return
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        prepare_output(folder)
        with _locked(folder):
            claim = _claim(folder)
            names = {*names, *claim.get("files", ())}
            _require_own(folder, names, record, claim)
            _remove_leftovers(folder, {*names, *record, CLAIM})
            _note(folder, names)
            ranks.wait()
            try:
                yield
            finally:
                with contextlib.suppress(OSError, InputError):  # the claim that is there says enough
                    # A signal may fall between the making of a file and the `with` block that would remove it.
                    _remove_leftovers(folder, {*names, *record, CLAIM}, of=str(os.getpid()))
                    listed = _listed(folder, record)
                    _note(folder, [name for name in names if os.path.lexists(folder / name) and name not in listed])
    finally:
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder / LOCK
    if os.path.lexists(path) and not (path.is_file() and _of_a_run(_text(path))):
        raise InputError(f"--output {folder}: found {LOCK}, which this run would replace; move it away")
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        who = _text(path) if re.fullmatch(_HOLDER, _text(path)) else "another process"
        raise InputError(f"--output {folder}: {who} is writing there; wait for its end or choose another folder") from error
    try:
        with contextlib.suppress(OSError):  # Windows lets nobody write to a locked file, nor remove an open one
            path.write_text(f"process {os.getpid()}, which began {datetime.now().astimezone().isoformat(' ', 'seconds')},")
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


def _of_a_run(text: str) -> bool:
    """Whether a run has written this into its lock, or its beginning: it may have been killed while it wrote."""
    begin, found = "process 0, which began 0-0-0 0:0:0", re.sub(r"\d+", "0", text)
    return begin.startswith(found) or bool(re.fullmatch(rf"{begin}[0:+-]*,?", found))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _claim(folder: Path) -> dict[str, Any]:
    path = folder / CLAIM
    if not os.path.lexists(path):
        return {}
    try:
        found = json.loads(path.read_bytes()) if path.is_file() else None
        if all(isinstance(name, str) for name in found["files"]):
            return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise InputError(f"{path}: not readable as a run's claim of this folder; remove it, and what unfinished runs left there")


def _note(folder: Path, names: Collection[str]) -> None:
    """Claim `names`, or nothing."""
    if not names:
        (folder / CLAIM).unlink(missing_ok=True)
        return
    write_together({folder / CLAIM: (json.dumps({"files": sorted(names)}, indent=2) + "\n").encode()})


def _listed(folder: Path, record: Collection[str]) -> set[str]:
    """What the records in `folder` list."""
    found = [read_record(folder / name) for name in record if os.path.lexists(folder / name)]
    return {name for one in found for name in one.get("files", {})}


def _require_own(folder: Path, names: Collection[str], record: Collection[str], claim: dict[str, Any]) -> None:
    listed = _listed(folder, record)
    own = {*listed, *claim.get("files", ())}
    strange = [name for name in sorted(names) if name not in own and os.path.lexists(folder / name)]
    if strange:
        raise InputError(
            f"--output {folder}: found {', '.join(strange)}, which no run record there lists and this run would replace or "
            "remove; move them away or choose another folder"
        )
    others = [name for name in sorted(listed.difference(names)) if os.path.lexists(folder / name)]
    if others:
        raise InputError(
            f"--output {folder}: found another step's results there, {', '.join(others)}, whose record this run would replace; "
            "choose another folder"
        )


def _remove_leftovers(folder: Path, names: Collection[str], of: str = r"\d+") -> None:
    """Remove what was written aside for `names`, by process `of`: whoever did is dead, or this one, which has the lock."""
    for path in (folder / name for name in names):
        aside = re.compile(rf"\.{re.escape(path.name)}\.{of}\.partial")
        for other in path.parent.iterdir() if path.parent.is_dir() else ():
            if aside.fullmatch(other.name):
                other.unlink(missing_ok=True)
