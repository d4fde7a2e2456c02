"""What a run record says of where a result comes from: the commit, the machine, and paths that name no machine's folders."""

import contextlib
import hashlib
import math
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
# Arguments that name what an earlier step wrote, and that a later step looks up.
FOLLOWED = ("task", "noise", "additive", "multiplicative", "distributions", "orders", "fresh")
# Packages whose sources decide about results.
_PACKAGES = ("ite", "models", "paper", "shredder", "tasks")
# By these git is told of another repository than the one that it runs in.
_GIT_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")


def commit() -> tuple[str | None, bool | None]:
    """The commit of this repository, and whether tracked files differ from it.

    None, None where the sources have no history of their own, be it that they lie inside another repository.
    """
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != REPOSITORY:
        return None, None
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "HEAD"), None if changes is None else bool(changes)


@cache
def code() -> str:
    """SHA-256 of the suite's sources: with other code, what was kept of a run is made anew, committed or not."""
    found = hashlib.sha256()
    for path in sorted(path for package in _PACKAGES for path in (REPOSITORY / package).rglob("*.py")):
        found.update(f"{path.relative_to(REPOSITORY).as_posix()} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _git(*command: str) -> str | None:
    environment = {name: value for name, value in os.environ.items() if name not in _GIT_VARIABLES}
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        found = subprocess.run(["git", *command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
        return found.stdout.strip()
    return None


def peak_memory() -> int | None:
    """The largest memory that this process has used, in MB; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    # In bytes on macOS, in units of 1,024 bytes elsewhere.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)


def plain(value: Any) -> Any:
    """A value as JSON knows it: floats to six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)  # JSON knows no infinity
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    return str(value)


def path_text(path: Path, folder: Path, followed: bool) -> str:
    """A path as a record in `folder` has it: from there, `/` between names.

    A path leads out of the record's folder where both are in the repository, or a later step has `followed` it: of another, say
    a data set's, the name alone is kept, `.../name`, for where a machine keeps its files is no part of a result.
    """
    path, folder = path.parent.resolve() / path.name, folder.resolve()
    together = path.is_relative_to(REPOSITORY) and folder.is_relative_to(REPOSITORY)
    if not (followed or together or path.is_relative_to(folder)):
        return f".../{path.name}"
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive of Windows
        return path.as_posix()
