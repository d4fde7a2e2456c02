"""Checkpoints of an unfinished run: the latest and the one before it, each kept with the run's key."""

import io
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from shredder.io import kept
from shredder.io.cli import InputError
from shredder.io.record import differences

LATEST, BEFORE = NAMES = "checkpoint.pt", "checkpoint-before.pt"


def write(folder: Path, key: str, state: dict[str, Any]) -> None:
    """Write a checkpoint to `folder`, and keep the latest one that is there."""
    buffer = io.BytesIO()
    torch.save(_on_cpu(state), buffer)  # whoever reads it may have no such device
    if (folder / LATEST).exists():
        os.replace(folder / LATEST, folder / BEFORE)
    kept.write(folder / LATEST, key, buffer.getvalue())


def read(folder: Path, key: str) -> tuple[Path, dict[str, Any]] | None:
    """The latest checkpoint in `folder` whose bytes are those that were written, and its state; None where there is none.

    Raises
    ------
    InputError
        If there are checkpoints and all are damaged, or it is of a run with another `key`; it is not touched then.
    """
    damaged = []
    for path in (folder / name for name in NAMES):
        if not path.exists():
            continue
        found = _state(path)
        if found is None:
            damaged.append(path)
            continue
        of_run, state = found
        if of_run != key:
            raise InputError(
                f"{path}: of an unfinished run with {differences(of_run, key)}; finish that one with its own command, choose "
                "another --output, or remove the file"
            )
        if damaged:
            tqdm.write(f"{damaged[0]}: damaged, for its SHA-256 differs; going on from the one before it, {path.name}")
            os.replace(path, folder / LATEST)
        return folder / LATEST, state
    if damaged:
        raise InputError(
            f"{damaged[0]}: not a checkpoint of this suite, or damaged, with none before it; remove it to begin anew"
        )
    return None


def _on_cpu(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _on_cpu(part) for name, part in state.items()}
    return state.detach().cpu() if isinstance(state, Tensor) else state


def remove(folder: Path) -> None:
    """Remove the checkpoints in `folder`."""
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)


def _state(path: Path) -> tuple[str, dict[str, Any]] | None:
    found = kept.read(path) if path.is_file() else None
    if found is None:
        return None
    try:
        return found.key, torch.load(io.BytesIO(found.content), weights_only=True)
    except Exception:  # torch.load fails with half a dozen exception types
        return None


# What a learner looks at before it goes on from a state.


def require_like(found: Any, expected: Any, name: str) -> None:
    """Raise ValueError where `found` is not of the kind of `expected`, naming the part.

    Dicts have the same keys, tuples as many elements, tensors the same type and, but for the first axis, shape; no number is
    NaN.
    """
    tensors, numbers = (all(map(is_one, (found, expected))) for is_one in (_is_tensor, _is_number))
    if type(found) is not type(expected) and not tensors and not numbers:
        raise ValueError(f"{name} is of type {type(found).__name__}, expected {type(expected).__name__}")
    if isinstance(expected, dict):
        if found.keys() != expected.keys():
            raise ValueError(f"{name} has {', '.join(map(str, found)) or 'nothing'}, expected {', '.join(map(str, expected))}")
        for key in expected:
            require_like(found[key], expected[key], f"{name}'s {key}")
    elif isinstance(expected, tuple):
        if len(found) != len(expected):
            raise ValueError(f"{name} has {len(found)} elements, expected {len(expected)}")
        for one, other in zip(found, expected, strict=True):
            require_like(one, other, name)
    elif isinstance(expected, Tensor):
        if (found.dtype, found.shape[1:], found.dim()) != (expected.dtype, expected.shape[1:], expected.dim()):
            raise ValueError(f"{name} is {found.dtype} {tuple(found.shape)}, expected {expected.dtype} {tuple(expected.shape)}")
        if found.isnan().any():
            raise ValueError(f"{name} holds NaN")
    elif _is_number(found) and math.isnan(found):
        raise ValueError(f"{name} is NaN")


def require_rows(found: list, width: int, name: str) -> None:
    """Raise ValueError where `found` is no list of tuples of `width` numbers."""
    require_like(found, [], name)
    for row in found:
        require_like(row, (0,) * width, f"a row of {name}")


def require_as_many(members: dict[str, Tensor], n: range, name: str) -> None:
    """Raise ValueError where the tensors of `members` have not all one first axis, whose length is in `n`."""
    lengths = {len(tensor) for tensor in members.values()}
    if len(lengths) != 1 or not lengths <= set(n):
        raise ValueError(f"{name} has {sorted(lengths)} members, expected {n.start} to {n.stop - 1}")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
