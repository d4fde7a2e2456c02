"""The edge runs once over the images; what it sends is kept, in memory or, past a size, in a file that is mapped."""

import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shredder.inputs.images import Images
from shredder.io import kept, ranks
from shredder.io.cli import InputError
from shredder.io.files import named_errors, require_space
from shredder.io.terminal import progress
from shredder.split import SplitNetwork

# Activations of this many bytes are kept in memory; more go to a file.
_BYTES_IN_MEMORY = 4 * 2**30
# Batches between two notes of how far the file is whole.
_BATCHES_BETWEEN_NOTES = 200


def edge_pass(
    split: SplitNetwork, images: Images, first: int = 0, pixels: bool = True
) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
    """Rows (b,), images (b, *input shape) and activations (b, *activation shape), batch by batch from row `first` on.

    Several processes compute a batch each at a time, and all of them get all: without `pixels` none of the images, which may be
    many times larger than what is sent.
    """
    with progress(len(images), initial=first, unit="image", desc="edge") as bar:
        found = _computed(split, images, first) if ranks.world() == 1 else _divided(split, images, first, pixels)
        for rows, some, activations in found:
            yield rows, some if pixels else None, activations
            bar.update(len(rows))


def _computed(split: SplitNetwork, images: Images, first: int, every: slice = slice(None)) -> Iterator[tuple]:
    for rows, some in images.batches(first, every):
        yield rows, some, split.activations(some)


def _divided(split: SplitNetwork, images: Images, first: int, pixels: bool) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    world, own = ranks.world(), _computed(split, images, first, slice(ranks.rank(), None, ranks.world()))
    images.unreadable[:] = unreadable = [row for row in images.unreadable if row < first]
    for _ in range(first, len(images), world * images.batch_size):
        rows, some, *activations = next(own, (None, None))  # of the last round not every process has one
        batch = [rows, some if pixels else rows, *activations] if activations else []
        of_each = ranks.gathered(images.unreadable[len(unreadable) :]), ranks.exchanged(batch)
        for theirs, found in zip(*of_each, strict=True):
            unreadable = images.unreadable[:] = [*unreadable, *theirs]
            if found:
                rows, some, activations = found
                yield rows, some, activations.to(split.device)


def reserve(shape: tuple[int, ...], files: Mapping[Path, Images]) -> None:
    """Take the disk space for activations of `shape` of each file's images, of those that are too many for memory.

    Raises
    ------
    InputError, OSError
        If the disk has not enough left for all of them.
    """
    if ranks.rank():  # the first process does it for all
        return
    sizes = {path: 4 * math.prod(shape) * len(images) for path, images in files.items()}
    new = {path: size for path, size in sizes.items() if size > _BYTES_IN_MEMORY and _size(path) != size}
    if new:
        require_space(next(iter(new)).parent, sum(new.values()))
    for path, size in new.items():
        if path.exists() and not path.is_file():  # opening a FIFO would wait for ever
            raise InputError(f"{path}: not a regular file, expected activations there, or nothing")
        note_of(path).unlink(missing_ok=True)
        with open(path, "wb") as file, named_errors(path):
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):  # writing to a hole of a mapped file on a full disk would kill the process
                os.posix_fallocate(file.fileno(), 0, size)


def cached_activations(
    split: SplitNetwork, images: Images, shape: tuple[int, ...], path: Path, key: str, skip_corrupt: bool
) -> tuple[Tensor, Tensor]:
    """What the edge sends for `images`, and their labels, computed once.

    Parameters
    ----------
    shape : tuple of int
        Of one activation.
    path : Path
        Where activations go that are too many for memory, with a note beside them (`.kept`) that an interrupted pass is
        continued from, and a finished one found again by; it has their SHA-256, which is compared then. See `remove`.
    key : str
        As from `shredder.io.record.key`. A file of another key is written anew.
    skip_corrupt : bool
        Leave out images that cannot be decoded.

    Returns
    -------
    (Tensor, Tensor)
        Activations, float32 (n, *shape), where the network is, or mapped from `path`; labels, int64 (n,), on the processor.

    Raises
    ------
    InputError
        If the disk is too small, or what stands at `path` is no file; or, after the whole pass, if images could not be decoded
        and are not to be skipped.
    """
    reserve(shape, {path: images})
    full_shape, note = (len(images), *shape), note_of(path)
    mapped = 4 * math.prod(full_shape) > _BYTES_IN_MEMORY
    ranks.wait()  # until the file is there
    if mapped:
        rows_kept = torch.from_numpy(np.memmap(path, np.float32, "r+", shape=full_shape))
    else:
        rows_kept = torch.empty(full_shape, device=split.device)
    writes = mapped and not ranks.rank()
    # Rows kept so far, and their digest; with the unreadable ones, those that were seen.
    n, unreadable, digest = _noted(note, key, images, rows_kept) if writes else (0, [], None)
    n, images.unreadable[:] = ranks.gathered((n, unreadable))[0]

    for batch, (rows, _, activations) in enumerate(edge_pass(split, images, n + len(images.unreadable), pixels=False), start=1):
        if writes or not mapped:
            rows_kept[n : n + len(rows)] = activations
        if writes:
            digest.update(rows_kept[n : n + len(rows)].numpy())
        n += len(rows)
        if writes and (batch % _BATCHES_BETWEEN_NOTES == 0 or n + len(images.unreadable) == len(images)):
            with open(path, "r+b") as file, named_errors(path):  # the rows have to be on disk before the note says so
                os.fsync(file.fileno())
            state = {"kept": n, "unreadable": images.unreadable, "sha256": digest.hexdigest()}
            kept.write(note, key, json.dumps(state).encode())
    ranks.wait()  # until the file is whole
    images.require_readable(skip_corrupt)
    readable = torch.ones(len(images), dtype=torch.bool)
    readable[images.unreadable] = False
    return rows_kept[:n], images.labels[readable]


def note_of(path: Path) -> Path:
    """Where it is noted how far the activations at `path` are whole."""
    return path.with_suffix(".kept")


def remove(path: Path) -> None:
    """Remove the activations at `path` and their note, if they were written."""
    path.unlink(missing_ok=True)
    note_of(path).unlink(missing_ok=True)


def _noted(note: Path, key: str, images: Images, rows_kept: Tensor) -> tuple[int, list[int], Any]:
    """Rows kept and rows unreadable, as `note` says, and SHA-256 of the former's activations.

    None of either, if the note is of another pass, or an image has been replaced since; or if a bit of it, or of those
    activations, is another one than was written, which is said.
    """
    nothing = 0, [], hashlib.sha256()
    content = kept.found(note, key)
    if content is None:
        return nothing
    state = _understood(content, len(images))
    digest = hashlib.sha256(rows_kept[: state["kept"]].numpy()) if state else None
    if digest is None or digest.hexdigest() != state["sha256"]:
        print(f"{note}: does not fit what is kept beside it; all activations are computed anew", file=sys.stderr)
        return nothing
    if any(images.make([row])[0] is not None for row in state["unreadable"]):
        return nothing
    return state["kept"], state["unreadable"], digest


def _understood(content: bytes, n: int) -> dict[str, Any] | None:
    """What a note of `n` images says; None where it says nothing of such images."""
    try:
        state = json.loads(content)
        rows = [state["kept"], *state["unreadable"]]
        possible = all(type(row) is int and 0 <= row <= n for row in rows) and n not in rows[1:]
        return state if possible and len(rows) - 1 + rows[0] <= n and state["sha256"] else None
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None
