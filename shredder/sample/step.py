"""Step 2 for any task: noisy and clean activations, a draw of noise for each query, in files that grow as it goes."""

import dataclasses
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from shredder.inputs.activations import edge_pass
from shredder.inputs.images import Images
from shredder.io import folders, ranks
from shredder.io.cli import InputError, in_float32, require_at_least
from shredder.io.files import RowFile, csv_table, require_space
from shredder.io.record import RECORD, Record, report
from shredder.io.terminal import progress
from shredder.metrics import ActivationMoments, clean_accuracy, mean_and_spread, noisy_accuracy
from shredder.noise import bracket
from shredder.noise.channel import Channel
from shredder.noise.draws import JUDGED, MEASURED, query_generator
from shredder.noise.flags import NoiseArguments
from shredder.split import SplitNetwork
from shredder.system import System, TaskArguments, with_noise
from shredder.task import Task

ARRAYS = ("noisy_activations.npy", "original_activations.npy", "original_images.npy", "labels.npy", "public_labels.npy")
# All that is written, but for the record.
WRITTEN = (*ARRAYS, "draws.csv")
# Elements of the noise that is drawn at once, and draws that are judged at once: one matrix product serves them all.
_ELEMENTS_AT_ONCE = 2**21
_DRAWS_AT_ONCE = 100


@dataclass(frozen=True)
class Arguments(NoiseArguments, TaskArguments):
    """Sample noisy and clean activations, and judge draws."""

    n_samples: int | None = None
    """Queries: the first so many test images. Default: the task's, or all of them."""
    judged_on: int | None = None
    """Test images whose clean activations each draw is judged on, the first so many. Default: the task's, or all of them. A
    hundred images leave a standard error of five points, beside the spread over draws."""
    seed: int | None = None
    """Seed of the draws, for experiments alone: whoever guesses it subtracts the noise. Default: a strong generator (ChaCha20),
    keyed by the operating system."""
    output: Path | None = None
    """Folder for the results. Default: runs/TASK/sample."""


class Judged(NamedTuple):
    """A network's activations of test images, as they are sent but for noise, and what it should answer."""

    split: SplitNetwork
    activations: Tensor
    labels: Tensor


def run(args: Arguments) -> None:
    """Draw, judge, write."""
    task, args, channel = with_noise(args)
    of_task = task.datasets[args.dataset].sample
    missing = {name: value for name, value in of_task.items() if getattr(args, name) is None}
    output = Path("runs") / task.name / "sample" if args.output is None else args.output
    args = dataclasses.replace(args, **missing, output=output)
    require_at_least(args, seed=0, judged_on=1)
    with folders.claimed(args.output, WRITTEN):
        _run(task, args, channel)


@in_float32
def _run(task: Task, args: Arguments, channel: Channel) -> None:
    record, system = Record(args), System(task, args)
    (images,) = system.images(test=None)
    n, n_judged = (_number(args, name, len(images)) for name in ("n_samples", "judged_on"))
    images = images.first(max(n, n_judged))

    with ExitStack() as stack:
        files = {} if ranks.rank() else open_files(args.output, images.shape, system.shape, n, stack)
        original = write_clean(system, images, files, n, n_judged)
        images.require_readable(args.skip_corrupt)
        networks = judges(system, channel, images, original)
        public = networks["public"]
        n_right = serve(channel, files, public.split, args.seed) if files else None
        measured = information(channel, files, system, args.seed) if files else None  # while other processes judge
        columns = judge(channel, networks, min(n, len(images) - len(images.unreadable)), args.seed)
        if not files:  # the first process writes what all have found
            return
        results = {
            "task": task.name,
            "queries": files["labels"].rows,
            "left out": len(images.unreadable),
            "members": len(channel.source),
            "judged on": len(public.labels),
            "a' is": channel.source.formula,
            "image shape": images.shape,
            "average SNR": columns["snr"].mean().item(),
            "clean public accuracy": clean_accuracy(system.split, original, public.labels),
        }
        for name in networks:
            average, spread = mean_and_spread(columns[f"{name}_accuracy"])
            results |= {f"average {name} accuracy": average, f"spread of {name} accuracy": spread}
        results["public accuracy of the queries as served"] = n_right / files["labels"].rows
        results |= measured
        table = csv_table(columns, zip(*(values.tolist() for values in columns.values()), strict=True))
        written = {file.path: file for file in files.values()} | {args.output / "draws.csv": table}
        record.write(args.output / RECORD, written, results)
    report(args.output, results)


def _number(args: Arguments, name: str, available: int) -> int:
    """How many of the available images a flag asks for, or all of None. Raises InputError of more than there are."""
    found = available if getattr(args, name) is None else getattr(args, name)
    if not 1 <= found <= available:
        flag = "--" + name.replace("_", "-")
        raise InputError(f"{flag}: found {found}, expected 1 to {available}, the test images of {args.dataset}")
    return found


def open_files(
    folder: Path, image: tuple[int, ...], activation: tuple[int, ...], n: int, stack: ExitStack
) -> dict[str, RowFile]:
    """The arrays to be, without a row, on `stack`, after a look at whether `folder` has room for `n` rows of each."""
    shapes = (activation, activation, (math.prod(image),), (1,), (1,))
    kinds = (np.float32,) * 3 + (np.int64,) * 2
    rows = {name: (shape, kind) for name, shape, kind in zip(ARRAYS, shapes, kinds, strict=True)}
    require_space(folder, n * sum(np.dtype(kind).itemsize * math.prod(row) for row, kind in rows.values()))
    return {name.removesuffix(".npy"): stack.enter_context(RowFile(folder / name, *row)) for name, row in rows.items()}


def write_clean(system: System, images: Images, files: dict[str, RowFile], n: int, n_judged: int) -> Tensor:
    """Append the first `n` images, labels and what the edge sends for them to `files`; return `n_judged` activations.

    Of several processes only the first has files.
    """
    judged, n_seen = [], 0
    for rows, some, activations in edge_pass(system.split, images):
        if files:
            left, labels = max(0, n - files["labels"].rows), images.labels[rows, None]
            files["original_images"].append(some[:left].flatten(1).numpy())
            files["original_activations"].append(activations[:left].cpu().numpy())
            files["labels"].append(system.private_of(labels[:left]).numpy())
            files["public_labels"].append(system.labels.public(labels[:left]).numpy())
        judged.append(activations[: max(0, n_judged - n_seen)].clone())
        n_seen += len(rows)
    return torch.cat(judged)


def judges(system: System, channel: Channel, images: Images, original: Tensor) -> dict[str, Judged]:
    """The public network on `original` activations, and, where a private label is left, the private one on its own."""
    readable = torch.ones(len(images), dtype=torch.bool)
    readable[images.unreadable] = False
    classes = images.labels[readable][: len(original)]
    labels = system.labels.public(classes).to(original.device)
    found = {"public": Judged(system.split, sent_of(channel, original), labels)}
    if split := system.private_split:
        own = torch.cat([activations for _, _, activations in edge_pass(split, images, pixels=False)])[: len(original)]
        found["private"] = Judged(split, sent_of(channel, own), system.private_of(classes).to(own.device))
    return found


def sent_of(channel: Channel, activations: Tensor) -> Tensor:
    """What is sent of activations but for noise, in their shape."""
    return channel.source.as_activation(channel.signal(activations))


def serve(channel: Channel, files: dict[str, RowFile], split: SplitNetwork, seed: int | None) -> int:
    """Write a noisy activation for each clean one; how many of them the cloud answers as its labels say."""
    truth, n_right = torch.from_numpy(files["public_labels"].array()[:, 0].copy()).to(split.device), 0
    for rows, queries in write_noisy(channel, files, query_generator(seed), truth.device):
        n_right = n_right + (split.cloud(queries).argmax(1) == truth[rows]).sum()
    return int(n_right)


def judge(channel: Channel, networks: dict[str, Judged], n: int, seed: int | None) -> dict[str, Tensor]:
    """Judge `n` draws, none of them a query's own; columns of draws.csv, float64 (n,).

    Processes divide them, some draws at a time. Each draws all from the same seed: what is drawn does not depend on who judges.
    """
    public, some = networks["public"], some_noise(channel, n, query_generator(seed, JUDGED))
    moments = ActivationMoments(public.activations)
    with progress(n, unit="draw", desc="noise") as bar:

        def judged(number: int) -> list[list[float]]:
            noise = next(noise for of, noise in some if of == number)
            accuracy = [noisy_accuracy(of.split, of.activations, of.labels, *noise) for of in networks.values()]
            columns = torch.stack([moments.snr(*noise), *accuracy])
            watched = ", ".join(f"{name} {found.mean():.4f}" for name, found in zip(networks, accuracy, strict=True))
            bar.set_postfix_str(f"SNR {columns[0].mean():.3g}, accuracy {watched}", refresh=False)
            bar.update(len(accuracy[0]))
            return columns.tolist()

        n_parts = sum(-(-min(_at_once(channel), n - first) // _DRAWS_AT_ONCE) for first in range(0, n, _at_once(channel)))
        columns = ranks.each(judged, range(n_parts))
    names = ("snr", *(f"{name}_accuracy" for name in networks))
    return dict(zip(names, torch.cat([torch.tensor(of, dtype=torch.float64) for of in columns], dim=1), strict=True))


def some_noise(channel: Channel, n: int, rng: np.random.Generator) -> Iterator[tuple[int, list[Tensor | None]]]:
    """`n` draws, some at a time: their number, from 0, and w and n, (`_DRAWS_AT_ONCE` or fewer, *activation shape)."""
    number = 0
    for first in range(0, n, _at_once(channel)):
        tensors = channel.source.tensors(channel.draws(min(_at_once(channel), n - first), rng))
        for start in range(0, len(tensors[1]), _DRAWS_AT_ONCE):
            yield number, [tensor if tensor is None else tensor[start : start + _DRAWS_AT_ONCE] for tensor in tensors]
            number += 1


def _at_once(channel: Channel) -> int:
    """Draws that are made at once."""
    return max(1, _ELEMENTS_AT_ONCE // math.prod(channel.source.shape))


def information(channel: Channel, files: dict[str, RowFile], system: System, seed: int | None) -> dict[str, Any]:
    """What a query says, measured on the first queries' activations with draws of their own."""
    clean, private, public = (
        torch.from_numpy(files[name].array()[: bracket.INPUTS].copy()).to(system.split.device)
        for name in ("original_activations", "labels", "public_labels")
    )
    labels = public[:, 0], private[:, 0] if system.labels.private else None
    return bracket.measured(channel, channel.signal(clean), query_generator(seed, MEASURED), *labels)


def write_noisy(
    channel: Channel, files: dict[str, RowFile], rng: np.random.Generator, device: torch.device
) -> Iterator[tuple[slice, Tensor]]:
    """Append a noisy activation for each clean one to its file; yield their rows and them, a few at a time."""
    clean, file, at_once = files["original_activations"], files["noisy_activations"], _at_once(channel)
    for first in range(0, clean.rows, at_once):
        # A copy from a map of its own: what is mapped, and has been read, counts as memory in use.
        some = torch.from_numpy(clean.array()[first : first + at_once].copy()).to(device)
        queries = channel.sent(channel.signal(some), rng)
        file.append(queries.cpu().numpy())
        yield slice(first, first + len(queries)), queries
