"""Seconds of a network as it is, and cut in two: by its graph of operations, and as a chain of layers.

    python -m benchmarks.splitting

Random weights. The two are timed in turn, and the median of the ratios counts. One minute.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.neighbors import median_seconds
from models.alexnet import AlexNet
from models.classifiers import classifier
from models.lenet import LeNet
from shredder.io.cli import require_at_least, script
from shredder.io.files import write_together
from shredder.io.record import Record
from shredder.split import SplitNetwork, chain_of


@dataclass(frozen=True)
class Arguments:
    """Time whole networks and halves."""

    images: int = 32
    """Given at once; ten times as many to LeNet."""
    rounds: int = 15
    """Of both, after one that does not count."""
    output: Path = Path("runs/benchmarks/splitting.json")
    """Run record."""


# By name: how a network is made, where it is cut, and its input's shape.
CASES = {
    "ResNet-18": (lambda: classifier("resnet18"), "layer3", (3, 224, 224)),
    "SqueezeNet 1.1": (lambda: classifier("squeezenet1_1"), "features.8", (3, 224, 224)),
    "AlexNet": (lambda: AlexNet(10), "pool5", (3, 224, 224)),
    "LeNet": (lambda: LeNet(10), "relu5", (1, 32, 32)),
}


def ratio(network: nn.Module, cut: str, images: Tensor, rounds: int) -> tuple[float, float]:
    """Seconds of both halves over those of the whole, the median of some rounds, and those of the whole."""
    whole, split, found = network.eval().requires_grad_(False), SplitNetwork(network, cut), []
    for _ in range(rounds + 1):
        of_whole = median_seconds(lambda: whole(images), 1, warm_up=False)
        found.append((median_seconds(lambda: split.cloud(split.edge(images)), 1, warm_up=False) / of_whole, of_whole))
    ratios, seconds = zip(*found[1:], strict=True)
    return statistics.median(ratios), statistics.median(seconds)


def main(args: Arguments) -> None:
    """Time the cases, print them, write the record."""
    require_at_least(args, images=1, rounds=1)
    record, results = Record(args), {}
    for name, (made, cut, shape) in CASES.items():
        network, n = made(), args.images * (10 if name == "LeNet" else 1)
        kind = "a graph" if chain_of(network) is None else "a chain"
        found, seconds = ratio(network, cut, torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)), args.rounds)
        results |= {f"{name}, {kind}: whole (s)": seconds, f"{name}, {kind}: halves over whole": found}
        print(f"{name}, {kind}, {n} images: whole {seconds:.3f} s, halves {found:.3f} times that", flush=True)
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
