"""What takes long and can be found again is kept: a file with a key, which says what made it, and a digest of its own.

Unfinished learning, notes of activations, finished attacks and the points of figures are kept this way. The key names
arguments, the content of weights and inputs, and the code (`shredder.io.record.key`): what was made of anything else is not
found.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from shredder.io import ranks
from shredder.io.files import open_regular, write_together

# The first line: this, and a SHA-256 of all that follows, which is the key in one line, and the content.
_MAGIC = b"kept by the Shredder suite, SHA-256 "


class Kept(NamedTuple):
    """A file that was kept."""

    key: str
    content: bytes


def write(path: Path, key: str, content: bytes) -> None:
    """Keep `content` at `path`."""
    rest = json.dumps(key).encode() + b"\n" + content
    write_together({path: _MAGIC + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest})


def read(path: Path) -> Kept | None:
    """What is kept at `path`; None where a bit of it is another one than was written."""
    with open_regular(path) as file:
        first, rest = file.readline(len(_MAGIC) + 65), file.read()
    if first != _MAGIC + hashlib.sha256(rest).hexdigest().encode() + b"\n":
        return None
    key, _, content = rest.partition(b"\n")
    return Kept(json.loads(key), content)


def found(path: Path, key: str) -> bytes | None:
    """The content at `path` where it has this key; None where it has another, is absent, or is damaged, which is said."""
    if not path.exists():
        return None
    kept = read(path)
    if kept is None:
        tqdm.write(f"{path}: damaged, made anew")
    return kept.content if kept and kept.key == key else None


def once(path: Path, key: str, make: Callable[[], Any]) -> Any:
    """What `make` returns, as JSON has it, made once and kept at `path`.

    Several processes make it together, and the first looks for it and keeps it.
    """
    content = None if ranks.rank() else found(path, key)
    if ranks.of_first(content is None):
        content = json.dumps(make(), indent=2).encode()
        if not ranks.rank():
            write(path, key, content)
    return ranks.of_first(None if ranks.rank() else json.loads(content))
