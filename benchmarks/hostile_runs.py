"""What unfinished runs leave, and what reads it: a part of what `benchmarks.hostile` damages."""

import json
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from shredder.inputs import activations
from shredder.inputs.images import tensor_images
from shredder.io import checkpoints, folders, kept
from shredder.learn.learner import Settings, learner
from shredder.learn.methods import Additive
from shredder.learn.run import resume
from shredder.split import SplitNetwork


@dataclass(frozen=True)
class Kind:
    """A file that is read.

    Attributes
    ----------
    name : str
        What it is called in the results.
    path : Path
        Where it lies, whole.
    read : callable
        Reads it, checks it as the steps do, and returns what it holds.
    sealed : bool
        Whether a checksum says what it holds, so that no other content may ever be accepted.
    """

    name: str
    path: Path
    read: Callable[[], Any]
    sealed: bool = False


def of_unfinished_runs(folder: Path) -> Iterator[Kind]:
    """Checkpoints, activations in a file and their note, what is kept, claims; and a checkpoint and a note with new digests."""
    unfinished, key = folder / "unfinished", "this run"
    unfinished.mkdir()
    learning = a_learner()
    for _ in range(2):
        learning.epoch()
        checkpoints.write(unfinished, key, learning.state())
    for name in checkpoints.NAMES:
        yield Kind(name, unfinished / name, partial(checkpoint_in, unfinished, key), True)
    alone = folder / "content"
    alone.mkdir()
    (alone / checkpoints.LATEST).write_bytes(kept.read(unfinished / checkpoints.LATEST).content)
    yield Kind("checkpoint with a new digest", alone / checkpoints.LATEST, partial(restored, alone / checkpoints.LATEST, key))
    kept.write(folder / "one.kept", key, b'{"accuracy": 0.5}')
    yield Kind(
        "finished attack", folder / "one.kept", partial(kept.once, folder / "one.kept", key, lambda: {"accuracy": 0.5}), True
    )
    mapped = folder / "mapped"
    mapped.mkdir()
    rows = mapped / "train-activations.f32"
    edge_once(rows, key)
    for path in (rows, activations.note_of(rows)):
        yield Kind(f"cache, {path.name}", path, partial(edge_of, mapped, key), True)
    (alone / "note.kept").write_bytes(kept.read(activations.note_of(rows)).content)
    yield Kind("cache, note with a new digest", alone / "note.kept", partial(edge_of, mapped, key, alone / "note.kept"))
    (unfinished / folders.CLAIM).write_text(json.dumps({"files": ["additive.npy"]}, indent=2))
    yield Kind("claim", unfinished / folders.CLAIM, partial(claimed, unfinished))


def a_learner() -> Any:
    """v1's, of two tensors of six elements."""
    rng = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(
        OrderedDict(relu=torch.nn.ReLU(), fc=torch.nn.Linear(6, 3), log_softmax=torch.nn.LogSoftmax(1))
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    inputs = torch.randn(40, 6, generator=rng)
    rows = inputs, network(inputs).argmax(1)
    return learner(Additive(0.0, 1.0, 1e-3), SplitNetwork(network, "relu"), rows, rows, Settings(2, 2, 9, 1, 0.0, 20), 0)


def checkpoint_in(folder: Path, key: str) -> Any:
    """The state that a run would go on from; the one before it where the latest is damaged."""
    with tempfile.TemporaryDirectory() as copy:
        for name in checkpoints.NAMES:
            shutil.copy(folder / name, copy)
        _, state = checkpoints.read(Path(copy), key)
        return state["curves"][:2]


def restored(path: Path, key: str) -> Any:
    """A learner's state after a checkpoint of this content, as if it had been written so."""
    with tempfile.TemporaryDirectory() as copy:
        kept.write(Path(copy) / checkpoints.LATEST, key, path.read_bytes())
        learning = a_learner()
        resume(learning, Path(copy), key)
        learning.epoch()
        return learning.state()


def edge_once(rows: Path, key: str) -> torch.Tensor:
    """Activations of some images, in a file."""
    digits_ = torch.arange(12 * 16, dtype=torch.float32).view(12, 1, 4, 4)
    images = tensor_images(digits_, torch.arange(12), torch.arange(12), torch.Tensor.float, batch_size=5)
    network = torch.nn.Sequential(OrderedDict(relu=torch.nn.ReLU(), flatten=torch.nn.Flatten(), fc=torch.nn.Linear(16, 2)))
    usual, activations._BYTES_IN_MEMORY = activations._BYTES_IN_MEMORY, 0
    try:
        return activations.cached_activations(SplitNetwork(network, "relu"), images, (1, 4, 4), rows, key, True)[0].clone()
    finally:
        activations._BYTES_IN_MEMORY = usual


def edge_of(folder: Path, key: str, note: Path | None = None) -> torch.Tensor:
    """The same from a copy of the file and its note, or a note of other content."""
    with tempfile.TemporaryDirectory() as copy:
        rows = Path(shutil.copy(folder / "train-activations.f32", copy))
        shutil.copy(activations.note_of(folder / "train-activations.f32"), copy)
        if note is not None:
            kept.write(activations.note_of(rows), key, note.read_bytes())
        return edge_once(rows, key)


def claimed(folder: Path) -> None:
    """Whether a run may work in a folder with this claim."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copy(folder / folders.CLAIM, copy)
        with folders.claimed(Path(copy), ("additive.npy",)):
            pass
