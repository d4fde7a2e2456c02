"""Seconds of step 2, in one process each: judging LeNet's draws beside the naive loop, AlexNet's sampling beside its bare edge.

    python -m benchmarks.sampling

LeNet: the naive loop sends 10,000 test images through both networks, edge included, for every draw. Images are the 5,000
embedded digits, twice; only their number matters for the time.

AlexNet: sampling, without the judging of draws, enlarges 1,000 test digits to 3x224x224, runs the edge, draws noise for each,
and writes 676 MB, synced. It stands beside the edge alone on the same images, ready in memory, in the same batches; with
torch's usual order of channels in memory, too. Each round runs all three; medians over the rounds.
"""

import os
import resource
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import sample_mutual_info_alexnet as alexnet
from models.alexnet import CUTTING_POINTS, pretrained_alexnet
from models.lenet import pretrained_lenet
from sample_mutual_info_lenet import judge_draws
from shredder import runs
from shredder.datasets import digit_gt5, load_digits, to_network_input
from shredder.images import BATCH_SIZE, load_images
from shredder.noise import Collection, initial_noise, laplace_noise
from shredder.sampling import draw_noise
from shredder.split import SplitNetwork


@dataclass(frozen=True)
class Arguments:
    """Time both ways to judge a draw."""

    draws: int = 1000
    """Draws that ours judges."""
    naive_draws: int = 3
    """Draws that the naive loop judges; their median counts."""
    rounds: int = 5
    """Rounds of AlexNet's sampling and its bare edge."""
    output: Path = Path("runs/benchmarks/sampling.json")
    """Run record."""


def sampling_alexnet(rounds: int, disk: Path) -> dict[str, float]:
    """Times and memory, with their units, of all of step 2 but the judging of its draws."""
    images = load_images("mnist-5k", "data", "test", 1000)
    split = SplitNetwork(pretrained_alexnet("digits"), "pool5")
    usual = SplitNetwork(pretrained_alexnet("digits").to(memory_format=torch.contiguous_format), "pool5")
    collection = Collection(None, laplace_noise(20, CUTTING_POINTS["pool5"], 0.6, 1.2, np.random.default_rng(0)))

    def sample(folder: Path) -> None:
        with ExitStack() as stack:
            files = alexnet.open_files(folder, CUTTING_POINTS["pool5"], len(images), stack)
            alexnet.write_clean(split, images, files)
            clean, noisy = files["original_activations"], files["noisy_activations"]
            for _ in alexnet.write_noisy(collection, "elementwise-laplace", clean, noisy, np.random.default_rng(0)):
                pass
            runs.write_together({file.path: file for file in files.values()})

    def bare(network: SplitNetwork) -> None:
        with torch.no_grad():
            for batch in ready.split(BATCH_SIZE):
                network.edge(batch)

    times = []
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        sample(Path(folder))  # warm up, and the peak of memory before the images are all held for the bare edge
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ready = torch.cat([batch for _, batch in images.batches()])
        for _ in range(rounds):
            os.sync()
            times.append([seconds_of(sample, Path(folder)), seconds_of(bare, split), seconds_of(bare, usual)])
    ours, edge, usual_edge = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(time[0] / time[1] for time in times)
    return {
        "AlexNet, bare edge of 1,000 images (s)": edge,
        "AlexNet, bare edge, torch's usual order of channels (s)": usual_edge,
        "AlexNet, sampling 1,000 images (s)": ours,
        "AlexNet, sampling as multiple of the bare edge": ratio,
        "AlexNet, peak memory of sampling (MB)": peak,
    }


def seconds_of(function, *arguments) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def main(args: Arguments) -> None:
    """Print all times and their ratios, and write them down."""
    record = runs.Record(args)
    runs.prepare_output(args.output.parent)
    of_alexnet = sampling_alexnet(args.rounds, args.output.parent)
    for name, value in of_alexnet.items():
        print(f"{name:55} {value:8.3f}")
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
    results = {"naive (s per draw)": naive, "ours (s per draw)": ours, "ratio": naive / ours} | of_alexnet
    runs.write_together({args.output: record.content(results)})


if __name__ == "__main__":
    runs.script(main, Arguments)
