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
from shredder.io import folders
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
        files = open_files(args.output, images.shape, system.shape, n, stack)
        original = write_clean(system, images, files, n, n_judged)
        images.require_readable(args.skip_corrupt)
        networks = judges(system, channel, images, original)
        public = networks["public"]
        columns, n_right = judge(channel, files, networks, args.seed)
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
        results |= information(channel, files, system, args.seed)
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
    """Append the first `n` images, labels and what the edge sends for them to their files; return `n_judged` activations."""
    judged, n_seen = [], 0
    for rows, some, activations in edge_pass(system.split, images):
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
        own = torch.cat([activations for _, _, activations in edge_pass(split, images)])[: len(original)]
        found["private"] = Judged(split, sent_of(channel, own), system.private_of(classes).to(own.device))
    return found


def sent_of(channel: Channel, activations: Tensor) -> Tensor:
    """What is sent of activations but for noise, in their shape."""
    return channel.source.as_activation(channel.signal(activations))


def judge(
    channel: Channel, files: dict[str, RowFile], networks: dict[str, Judged], seed: int | None
) -> tuple[dict[str, Tensor], int]:
    """Write a noisy activation for each clean one, and judge as many draws, none of them a query's own.

    Returns
    -------
    (dict of str to Tensor, int)
        Columns of draws.csv, float64 (n,); how many of the queries the cloud answered as its labels say.
    """
    public, columns, n_right = networks["public"], [], 0
    moments, judging = ActivationMoments(public.activations), query_generator(seed, JUDGED)
    truth = torch.from_numpy(files["public_labels"].array()[:, 0].copy()).to(public.labels.device)
    with progress(len(truth), unit="draw", desc="noise") as bar:
        for rows, queries in write_noisy(channel, files, query_generator(seed), truth.device):
            n_right = n_right + (public.split.cloud(queries).argmax(1) == truth[rows]).sum()
            w, n = channel.source.tensors(channel.draws(len(queries), judging))
            for first in range(0, len(n), _DRAWS_AT_ONCE):
                noise = [tensor if tensor is None else tensor[first : first + _DRAWS_AT_ONCE] for tensor in (w, n)]
                accuracy = [noisy_accuracy(of.split, of.activations, of.labels, *noise) for of in networks.values()]
                columns.append(torch.stack([moments.snr(*noise), *accuracy]))
                watched = ", ".join(f"{name} {found.mean():.4f}" for name, found in zip(networks, accuracy, strict=True))
                bar.set_postfix_str(f"SNR {columns[-1][0].mean():.3g}, accuracy {watched}", refresh=False)
                bar.update(len(accuracy[0]))
    names = ("snr", *(f"{name}_accuracy" for name in networks))
    return dict(zip(names, torch.cat(columns, dim=1).cpu(), strict=True)), int(n_right)


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
    clean, file = files["original_activations"], files["noisy_activations"]
    at_once = max(1, _ELEMENTS_AT_ONCE // math.prod(channel.source.shape))
    for first in range(0, clean.rows, at_once):
        # A copy from a map of its own: what is mapped, and has been read, counts as memory in use.
        some = torch.from_numpy(clean.array()[first : first + at_once].copy()).to(device)
        queries = channel.sent(channel.signal(some), rng)
        file.append(queries.cpu().numpy())
        yield slice(first, first + len(queries)), queries
