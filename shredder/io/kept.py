"""What takes long is made once and kept, with a digest of its own: a damaged file is made anew."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shredder.io.files import open_regular, write_together


def kept(path: Path, make: Callable[[], Any], fingerprint: str = "") -> Any:
    """What `make` returns, as JSON has it, made once and kept at `path`.

    Parameters
    ----------
    path : Path
        A file of another fingerprint is replaced, and so is a damaged one; that is said.
    make : callable
    fingerprint : str
        What tells it from others of this name, say arguments.
    """
    if path.exists():
        try:
            with open_regular(path) as file:
                state = json.loads(file.read())
            if state["sha256"] != _digest(state["found"]):
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            print(f"{path}: damaged, made anew")
        else:
            if state.get("fingerprint") == fingerprint:
                return state["found"]
    found = json.loads(json.dumps(make()))
    state = {"fingerprint": fingerprint, "sha256": _digest(found), "found": found}
    write_together({path: (json.dumps(state, indent=2) + "\n").encode()})
    return found


def _digest(found: Any) -> str:
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
