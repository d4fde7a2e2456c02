"""Seconds for judging draws on 10,000 test activations: one at a time beside ours, in one process.

    python -m benchmarks.sampling

The naive loop sends the test images through both networks, edge included, for every draw. Images are the 5,000 embedded
digits, twice; only their number matters for the time.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.lenet import pretrained_lenet
from sample_mutual_info_lenet import judge_draws
from shredder import runs
from shredder.datasets import digit_gt5, load_digits, to_network_input
from shredder.noise import Collection, initial_noise
from shredder.sampling import draw_noise
from shredder.split import SplitNetwork


@dataclass(frozen=True)
class Arguments:
    """Time both ways to judge a draw."""

    draws: int = 1000
    """Draws that ours judges."""
    naive_draws: int = 3
    """Draws that the naive loop judges; their median counts."""
    output: Path = Path("runs/benchmarks/sampling.json")
    """Run record."""


def main(args: Arguments) -> None:
    """Print both times and their ratio, and write them down."""
    record = runs.Record(args)
    rng = np.random.default_rng(0)
    digits = load_digits("mnist-5k")
    images = to_network_input(torch.cat([digits.train_images, digits.test_images])).repeat(2, 1, 1, 1)
    labels = torch.cat([digits.train_labels, digits.test_labels]).repeat(2)
    public, private = (SplitNetwork(pretrained_lenet(n_classes), "relu5") for n_classes in (2, 10))
    noise = draw_noise(Collection(*initial_noise(150, (120, 1, 1), 20.0, rng)), args.draws, "order-preserving", rng)

    seconds = []
    for w, n in zip(noise[0][: args.naive_draws], noise[1], strict=False):
        started = time.perf_counter()
        with torch.no_grad():
            for split, truth in ((public, digit_gt5(labels)), (private, labels)):
                for some, their_labels in zip(images.split(256), truth.split(256), strict=True):
                    (split.cloud(w * split.edge(some) + n).argmax(1) == their_labels).sum()
        seconds.append(time.perf_counter() - started)
    naive = statistics.median(seconds)
    started = time.perf_counter()
    judge_draws(public, private, images, labels, noise)
    ours = (time.perf_counter() - started) / args.draws
    print(f"naive  {naive:8.3f} s per draw (median of {args.naive_draws})")
    print(f"ours   {ours:8.4f} s per draw ({args.draws} draws, both edge passes included)")
    print(f"ratio  {naive / ours:8.0f}")
    results = {"naive (s per draw)": naive, "ours (s per draw)": ours, "ratio": naive / ours}
    runs.write_together({args.output: record.content(results)})


if __name__ == "__main__":
    runs.script(main, Arguments)
