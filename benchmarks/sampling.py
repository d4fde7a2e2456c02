"""Seconds of step 2, in one process: LeNet's beside the naive loop that judges draws, AlexNet's beside its bare edge.

    python -m benchmarks.sampling --data-root data

LeNet: all of step 2 for `--draws` queries, divided by them. The naive loop sends every test image through both networks, edge
included, for each draw.

AlexNet: all of step 2 for `--images` queries, each draw judged on a single one of them. Images are enlarged to 3x224x224, the
edge runs, noise is drawn for each, the cloud answers, and 676 kB a query are written, synced. It stands beside the edge alone
on the same images, ready in memory, in the same batches; with torch's usual order of channels in memory, too. Each round runs
all three; medians over the rounds.

Queries draw from ChaCha20. What that costs stands beside numpy's own generator, which is for seeds.
"""

import contextlib
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

import sample_mutual_info_alexnet as alexnet
import sample_mutual_info_lenet as lenet
from models.alexnet import pretrained_alexnet
from models.lenet import pretrained_lenet
from shredder.inputs.digits import digit_gt5, load_digits, to_network_input
from shredder.inputs.images import BATCH_SIZE
from shredder.io.cli import require_at_least, script
from shredder.io.files import prepare_output, write_together
from shredder.io.record import Record
from shredder.noise.draws import query_generator
from shredder.split import SplitNetwork
from tasks.alexnet import digits as alexnet_digits
from tasks.lenet import task as lenet_task


@dataclass(frozen=True)
class Arguments:
    """Time step 2, and what it is measured by."""

    dataset: Literal["mnist", "mnist-5k"] = "mnist"
    """LeNet's test digits: mnist has 10,000, mnist-5k, from a PyPI wheel, 1,000."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST."""
    draws: int = 1000
    """LeNet's queries, a draw each."""
    naive_draws: int = 3
    """Draws that the naive loop judges; their median counts."""
    images: int = 1000
    """AlexNet's queries, up to the 1,000 test digits of mnist-5k."""
    rounds: int = 5
    """Rounds of AlexNet's sampling and its bare edge."""
    output: Path = Path("runs/benchmarks/sampling.json")
    """Run record."""


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of `work`, whose report is not printed."""
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        work()
    return time.perf_counter() - started


def sampling_lenet(args: Arguments, folder: Path) -> dict[str, float]:
    """Seconds for a draw, by step 2 and by the naive loop."""
    digits = load_digits(args.dataset, args.data_root)
    images, labels = to_network_input(digits.test_images), digits.test_labels
    networks = [(pretrained_lenet(2), digit_gt5(labels)), (pretrained_lenet(10), labels)]
    tensors = [torch.from_numpy(np.load(lenet_task.shipped["gt5"] / f"{name}.npy")) for name in ("multiplicative", "additive")]

    def naive(w: torch.Tensor, n: torch.Tensor) -> None:
        for network, truth in networks:
            for some, their_labels in zip(images.split(256), truth.split(256), strict=True):
                noisy = w * network.convnet(some) + n
                (network.fc(noisy.flatten(1)).argmax(1) == their_labels).sum()

    with torch.no_grad():
        pairs = list(zip(*tensors, strict=True))[: args.naive_draws]
        by_naive = statistics.median([seconds_of(lambda pair=pair: naive(*pair)) for pair in pairs])
    flags = lenet.Arguments(
        dataset=args.dataset, data_root=args.data_root, n_samples=args.draws, seed=0, output=folder / "lenet"
    )
    ours = seconds_of(lambda: lenet.main(flags)) / args.draws
    return {"naive (s per draw)": by_naive, "ours (s per draw)": ours, "ratio": by_naive / ours}


def sampling_alexnet(args: Arguments, folder: Path) -> dict[str, float]:
    """Times and memory, with their units, of step 2 and of the bare edge."""
    n = args.images
    networks = [pretrained_alexnet("digits"), pretrained_alexnet("digits").to(memory_format=torch.contiguous_format)]
    ours, usual = (SplitNetwork(network, "pool5") for network in networks)
    flags = alexnet.Arguments(n_samples=n, judged_on=1, seed=0, output=folder / "alexnet")

    def bare(network: SplitNetwork) -> None:
        with torch.no_grad():
            for batch in ready.split(BATCH_SIZE):
                network.edge(batch)

    seconds_of(lambda: alexnet.main(flags))  # warm up, and the peak of memory before the images are all held for the bare edge
    peak = json.loads((flags.output / "run.json").read_text())["peak memory (MB)"]
    images = alexnet_digits("mnist-5k", Path("data"), {"test": n})["test"]
    ready, times = torch.cat([batch for _, batch in images.batches()]), []
    for _ in range(args.rounds):
        os.sync()
        times.append([seconds_of(lambda: alexnet.main(flags)), *[seconds_of(lambda of=of: bare(of)) for of in (ours, usual)]])
    sampled, edge, usual_edge = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        f"AlexNet, bare edge of {n:,} images (s)": edge,
        "AlexNet, bare edge, torch's usual order of channels (s)": usual_edge,
        f"AlexNet, step 2 of {n:,} images, draws judged on one (s)": sampled,
        "AlexNet, step 2 as multiple of the bare edge": statistics.median(time[0] / time[1] for time in times),
        "AlexNet, peak memory of step 2 (MB)": peak,
    }


def generators(repeats: int = 5, values: int = 10**6) -> dict[str, float]:
    """Nanoseconds for a value of noise, from the generator of queries and, with a seed, from numpy's: the median of some."""
    found = {}
    for name, seed in (("ChaCha20", None), ("PCG64, with a seed", 0)):
        rng = query_generator(seed)
        for family, draw in (("Normal", rng.normal), ("Laplace", rng.laplace)):
            times = [seconds_of(lambda draw=draw: draw(size=values)) for _ in range(repeats)]
            found[f"a {family} value from {name} (ns)"] = 1e9 * statistics.median(times) / values
    return found


def main(args: Arguments) -> None:
    """Print all times and their ratios, and write them down."""
    require_at_least(args, draws=1, naive_draws=1, images=1, rounds=1)
    record = Record(args)
    prepare_output(args.output.parent)
    with tempfile.TemporaryDirectory(dir=args.output.parent) as folder:
        results = sampling_alexnet(args, Path(folder)) | sampling_lenet(args, Path(folder)) | generators()
    for name, value in results.items():
        print(f"{name:58} {value:9.4f}")
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
