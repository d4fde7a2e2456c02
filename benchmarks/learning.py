"""Seconds for one member-epoch of learning: the naive loop beside ours, in one process.

    python -m benchmarks.learning --data-root data

The naive loop is the plain reading of the method: a loader that resizes every digit with PIL, the edge on the batch and on the
random second batch, then edge and cloud for the answer, one member at a time, and validation on the held-out tenth after
the epoch. It runs for `--naive-batches` batches and is scaled to the epoch, of 211 with full MNIST; ours runs whole epochs of
v2, which learns w and n, and of v1, which learns n alone. Matrix products are counted, for their share of the machine's limit.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torchvision
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Subset

from benchmarks.limit import product_rate
from models.lenet import LeNet, pretrained_lenet
from shredder.inputs.digits import digit_gt5, load_digits, to_network_input
from shredder.inputs.images import random_order
from shredder.io.cli import require_at_least, script
from shredder.io.files import write_together
from shredder.io.record import Record
from shredder.learn.learner import MemberMethod, Rows, Settings
from shredder.learn.members import Learning
from shredder.learn.methods import RECIPES, Additive, SelfSupervised
from shredder.noise.tensors import initial_noise
from shredder.split import SplitNetwork

BATCH_SIZE = 256


@dataclass(frozen=True)
class Arguments:
    """Time the naive loop and ours."""

    dataset: Literal["mnist", "mnist-5k"] = "mnist"
    """mnist: 60,000 training digits. mnist-5k: 4,000, from a PyPI wheel, for a quick look."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST."""
    parallel: int = 50
    """Members that ours learns side by side."""
    epochs: int = 5
    """Epochs of ours; their median counts."""
    naive_batches: int = 60
    """Batches of the naive loop, at most an epoch's."""
    output: Path = Path("runs/benchmarks/learning.json")
    """Run record."""


class PilDigits(Dataset):
    """Digits resized one at a time, as a torchvision pipeline does."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor):
        self.images, self.labels = images, labels
        self.transform = torchvision.transforms.Compose(
            [torchvision.transforms.ToPILImage(), torchvision.transforms.Resize(32), torchvision.transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[row]), self.labels[row]


def naive_epoch(network: LeNet, learning: Dataset, held_out: Dataset, n_batches: int, batch_size: int) -> float:
    """Seconds for one epoch of one member, from `n_batches` batches and a whole validation."""
    w, n = (tensor[0].requires_grad_() for tensor in initial_noise(1, (120, 1, 1), 20, np.random.default_rng(0)))
    optimizer = torch.optim.Adam([w, n], lr=1e-3)
    batches = DataLoader(learning, batch_size, shuffle=True)
    partners = iter(DataLoader(learning, batch_size, shuffle=True))
    started = time.perf_counter()
    for _, (images, labels) in zip(range(n_batches), batches, strict=False):
        partner_images, partner_labels = next(partners)
        ours, theirs = (w * network.convnet(x) + n for x in (images, partner_images))
        distances = (ours - theirs).abs().flatten(1).sum(1)
        same = labels == partner_labels
        pos, neg = distances[same].sum(), distances[~same].sum()
        answers = network.fc((w * network.convnet(images) + n).flatten(1))
        loss = functional.nll_loss(answers, labels) + 1.01 * (pos - neg) / (pos + neg)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    learned = (time.perf_counter() - started) * len(batches) / n_batches
    started = time.perf_counter()
    with torch.no_grad():
        for images, labels in DataLoader(held_out, batch_size):
            (network.fc((w * network.convnet(images) + n).flatten(1)).argmax(1) == labels).sum()
    return learned + time.perf_counter() - started


def our_epoch(split: SplitNetwork, learning_set: Rows, held_out: Rows, method: MemberMethod, args: Arguments) -> float:
    """Seconds for one epoch of one of `args.parallel` members: the median of some epochs."""
    settings = Settings(args.parallel, args.parallel, 10**6, 27, min_accuracy=2.0, batch_size=BATCH_SIZE)
    learning = Learning(split, learning_set, held_out, method, settings, np.random.default_rng(0))
    learning.epoch()  # warm up
    seconds = []
    for _ in range(args.epochs):
        started = time.perf_counter()
        learning.epoch()
        seconds.append((time.perf_counter() - started) / args.parallel)
    return statistics.median(seconds)


def products(n_rows: int, network: LeNet) -> float:
    """Operations of the matrix products of a member-epoch with w and n: a forward and a backward one of each linear map.

    The gradient of the first map leads to w and n, those of the maps that follow by their inputs.
    """
    return 4 * n_rows * sum(layer.weight.numel() for layer in network.fc if isinstance(layer, torch.nn.Linear))


def main(args: Arguments) -> None:
    """Print times and their ratio, and write them down."""
    require_at_least(args, parallel=1, epochs=1, naive_batches=1)
    record = Record(args)
    digits = load_digits(args.dataset, args.data_root)
    labels = digit_gt5(digits.train_labels)
    order = random_order(len(labels))
    held_out_rows, learning_rows = order[: len(order) // 10], order[len(order) // 10 :]
    network = pretrained_lenet(2)
    everything = PilDigits(digits.train_images, labels)
    n_batches = -(-len(learning_rows) // BATCH_SIZE)
    timed = min(args.naive_batches, n_batches)
    naive = naive_epoch(network, Subset(everything, learning_rows), Subset(everything, held_out_rows), timed, BATCH_SIZE)

    split = SplitNetwork(network, "relu5")
    activations = split.activations(to_network_input(digits.train_images))
    sides = [(activations[rows], labels[rows]) for rows in (learning_rows, held_out_rows)]
    v2 = our_epoch(split, *sides, SelfSupervised(20.0, RECIPES["suite"], "normalised", 0.3), args)
    v1 = our_epoch(split, *sides, Additive(0.0, 2.0, 1e-2), args)
    operations, limit = products(len(learning_rows), network), product_rate()
    results = {
        "naive (s per member-epoch)": naive,
        "ours (s per member-epoch)": v2,
        "ratio": naive / v2,
        "ours, n alone (s per member-epoch)": v1,
        "matrix products, w and n (GFLOP per member-epoch)": operations / 1e9,
        "the machine's float32 matrix product (GFLOP/s)": limit / 1e9,
        "share of the limit, w and n": operations / v2 / limit,
    }
    print(f"naive: {timed} of {n_batches} batches timed; ours: {args.parallel} members, median of {args.epochs} epochs")
    for name, value in results.items():
        print(f"{name:52} {value:10.4g}")
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
