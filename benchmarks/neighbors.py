"""Seconds for exact neighbours: `MIShannon_DKL` in LeNet's case, and where a k-d tree stops paying.

    python -m benchmarks.neighbors

The case of LeNet is n = 10,000 rows, d = 1,024 + 120. Its rows are the 5,000 embedded digits and their clean activations,
twice, with a little noise so that no row repeats.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import ite
from ite import neighbors
from models.lenet import pretrained_lenet
from shredder import runs
from shredder.datasets import load_digits, to_network_input
from shredder.split import SplitNetwork


@dataclass(frozen=True)
class Arguments:
    """Time exact neighbours."""

    output: Path = Path("runs/benchmarks/neighbors.json")
    """Run record."""


def median_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time of `work`, after one call that does not count."""
    work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def float64_estimate(rows: np.ndarray, ds: list[int], seed: int, k: int = 3) -> float:
    """The same estimate from every float64 difference, without a product."""
    rng, half = np.random.default_rng(seed), len(rows) // 2
    blocks = np.split(rows, np.cumsum(ds)[:-1], axis=1)
    joint = torch.from_numpy(rows[:half])
    product = torch.from_numpy(np.hstack([rng.permutation(block[half:]) for block in blocks]))
    plain = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    rho = torch.cdist(joint, joint, **plain).kthvalue(k + 1, dim=1).values  # each row is its own first neighbour
    nu = torch.cdist(joint, product, **plain).kthvalue(k, dim=1).values
    return float(rows.shape[1] * (nu / rho).log().mean() + np.log(half / (half - 1)))


def main(args: Arguments) -> None:
    """Print the times and write them down."""
    record = runs.Record(args)
    rng = np.random.default_rng(0)
    digits = load_digits("mnist-5k")
    images = to_network_input(torch.cat([digits.train_images, digits.test_images]))
    activations = SplitNetwork(pretrained_lenet(2), "relu5").activations(images)
    rows = np.hstack([images.flatten(1).numpy(), activations.flatten(1).numpy()]).astype(np.float64)
    rows = np.vstack([rows, rows]) + rng.normal(0, 0.01, size=(10_000, 1144))
    estimator = ite.cost.MIShannon_DKL(rng=0)
    seconds = median_seconds(lambda: estimator.estimation(rows, [1024, 120]))
    print(f"MIShannon_DKL, n = 10,000, d = 1,144: {seconds:.2f} s")
    value = estimator.estimation(rows, [1024, 120])
    difference = abs(value / float64_estimate(rows, [1024, 120], seed=0) - 1)
    print(f"relative difference from float64 differences alone: {difference:.1e}")

    left, right = torch.randn(5000, 1144), torch.randn(1144, 5000)
    product = median_seconds(lambda: left @ right)
    print(f"its two float32 matrix products alone: {2 * product:.2f} s")

    print("d    tree (s)   product (s)   for n = 5,000, k = 3")
    limit = neighbors.TREE_MAX_DIMENSION
    for d in (2, 4, 6, 8, 10, 12, 16):
        points = rng.normal(size=(5000, d))
        columns = []
        for neighbors.TREE_MAX_DIMENSION in (d, 0):
            columns.append(median_seconds(lambda points=points: neighbors.knn_distances(points, 3), repeats=3))
        print(f"{d:<4} {columns[0]:8.3f}   {columns[1]:11.3f}")
    neighbors.TREE_MAX_DIMENSION = limit
    results = {
        "MIShannon_DKL, n = 10,000, d = 1,144 (s)": seconds,
        "two float32 matrix products of that size (s)": 2 * product,
        "relative difference from float64": difference,
    }
    runs.write_together({args.output: record.content(results)})


if __name__ == "__main__":
    runs.script(main, Arguments)
