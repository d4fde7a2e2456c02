"""The edge runs once over the images; what it sends is kept, in memory or, past a size, in a file that is mapped."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from shredder import runs
from shredder.images import Images
from shredder.split import SplitNetwork

# Activations of this many bytes are kept in memory; more go to a file.
_BYTES_IN_MEMORY = 4 * 2**30
# Batches between two notes of how far the file is whole.
_BATCHES_BETWEEN_NOTES = 200


def edge_pass(split: SplitNetwork, images: Images, first: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows (b,), images (b, 3, 224, 224) and activations (b, *activation shape), batch by batch from row `first` on."""
    with tqdm(total=len(images), initial=first, unit="image", desc="edge") as bar:
        for rows, some in images.batches(first):
            yield rows, some, split.activations(some)
            bar.update(len(some))


def cached_activations(
    split: SplitNetwork, images: Images, shape: tuple[int, ...], path: Path, fingerprint: str, skip_corrupt: bool
) -> tuple[Tensor, Tensor]:
    """What the edge sends for `images`, and their labels, computed once.

    Parameters
    ----------
    shape : tuple of int
        Of one activation.
    path : Path
        Where activations go that are too many for memory, with a note beside them (`.json`) that an interrupted pass is
        continued from, and a finished one found again by. The caller removes both when they are of no use any more.
    fingerprint : str
        Dataset, weights and cutting point, as text. A file of another fingerprint is written anew.
    skip_corrupt : bool
        Leave out images that cannot be decoded.

    Returns
    -------
    (Tensor, Tensor)
        Activations, float32 (n, *shape), in memory or mapped from `path`; labels, int64 (n,).

    Raises
    ------
    InputError
        If the disk is too small; or, after the whole pass, if images could not be decoded and are not to be skipped.
    """
    full_shape, note = (len(images), *shape), path.with_suffix(".json")
    mapped = 4 * math.prod(full_shape) > _BYTES_IN_MEMORY
    n = 0  # rows kept so far; with the unreadable ones, those that were seen
    if not mapped:
        kept = torch.empty(full_shape)
    elif path.exists() and _noted(note, fingerprint):
        kept = torch.from_numpy(np.memmap(path, np.float32, "r+", shape=full_shape))
        state = json.loads(note.read_text())
        images.unreadable.extend(state["unreadable"])
        n = state["kept"]
    else:
        note.unlink(missing_ok=True)
        runs.require_space(path.parent, 4 * math.prod(full_shape))
        kept = torch.from_numpy(np.memmap(path, np.float32, "w+", shape=full_shape))

    for batch, (rows, _, activations) in enumerate(edge_pass(split, images, n + len(images.unreadable)), start=1):
        kept[n : n + len(rows)] = activations
        n += len(rows)
        if mapped and (batch % _BATCHES_BETWEEN_NOTES == 0 or n + len(images.unreadable) == len(images)):
            with open(path, "r+b") as file:  # the rows have to be on disk before the note says so
                os.fsync(file.fileno())
            state = {"fingerprint": fingerprint, "kept": n, "unreadable": images.unreadable}
            runs.write_together({note: json.dumps(state).encode()})
    images.require_readable(skip_corrupt)
    readable = torch.ones(len(images), dtype=torch.bool)
    readable[images.unreadable] = False
    return kept[:n], images.labels[readable]


def _noted(note: Path, fingerprint: str) -> bool:
    """Whether `note` speaks of a pass with this fingerprint."""
    try:
        return json.loads(note.read_text())["fingerprint"] == fingerprint
    except (OSError, ValueError, KeyError, TypeError):
        return False
