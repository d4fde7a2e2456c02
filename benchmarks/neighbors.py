"""Seconds and peak memory of exact neighbours, beside a k-d tree, scikit-learn's brute force and the bare matrix product.

    python -m benchmarks.neighbors --data-root data

Each case runs in a process of its own, for its peak memory. LeNet's case is the 10,000 test digits and their clean
activations, 1,024 + 120 columns; AlexNet's has its shape, 150,528 + 9,216 columns, and 30 components under noise. About
twelve minutes, of which the original's k-d tree takes most.
"""

import math
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy.spatial import cKDTree

import ite
from ite import neighbors
from ite.cost.information import joint_and_product
from shredder.inputs.digits import load_digits, to_network_input
from shredder.io.cli import require_at_least, script
from shredder.io.files import write_together
from shredder.io.provenance import peak_memory
from shredder.io.record import Record
from shredder.split import SplitNetwork


@dataclass(frozen=True)
class Arguments:
    """Time exact neighbours."""

    dataset: Literal["mnist", "mnist-5k"] = "mnist"
    """Whose test digits are LeNet's case: mnist has 10,000, mnist-5k, from a PyPI wheel, 1,000."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST."""
    wide_rows: int = 1000
    """Rows of AlexNet's shape, 640 kB each."""
    many_rows: int = 1_000_000
    """Rows of 4 dimensions."""
    rows: int = 100_000
    """Rows of 120 dimensions."""
    tree_rows: tuple[int, ...] = (1000, 10_000, 50_000)
    """Rows for which a k-d tree stands beside the matrix product."""
    repeats: int = 5
    """Runs of which the median counts, after one that does not."""
    output: Path = Path("runs/benchmarks/neighbors.json")
    """Run record."""


def median_seconds(work: Callable[[], object], repeats: int, warm_up: bool = True) -> float:
    """Median wall time of `work`, after one call that does not count."""
    if warm_up:
        work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def kl_divergence(rho: np.ndarray, nu: np.ndarray, d: int) -> float:
    """The k-nearest-neighbour divergence of samples of one size, from the distances to neighbour k."""
    return float(d * np.log(nu / rho).mean() + np.log(len(rho) / (len(rho) - 1)))


def original(joint: np.ndarray, product: np.ndarray, k: int = 3) -> float:
    """As the original searches: a k-d tree, one thread."""
    rho = cKDTree(joint).query(joint, k + 1)[0][:, -1]
    return kl_divergence(rho, cKDTree(product).query(joint, k)[0][:, -1], joint.shape[1])


def scikit_learn(joint: np.ndarray, product: np.ndarray, k: int = 3) -> float:
    """With scikit-learn's brute force, all threads."""
    from sklearn.neighbors import NearestNeighbors

    searches = [NearestNeighbors(n_neighbors=k, algorithm="brute", n_jobs=-1).fit(y) for y in (joint, product)]
    return kl_divergence(searches[0].kneighbors()[0][:, -1], searches[1].kneighbors(joint)[0][:, -1], joint.shape[1])


def differences(joint: np.ndarray, product: np.ndarray, k: int = 3) -> float:
    """From every float64 difference, without a product."""
    x, y = torch.from_numpy(joint).double(), torch.from_numpy(product).double()
    plain = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    rho = torch.cdist(x, x, **plain).kthvalue(k + 1, dim=1).values  # each row is its own first neighbour
    return kl_divergence(rho.numpy(), torch.cdist(x, y, **plain).kthvalue(k, dim=1).values.numpy(), joint.shape[1])


def lenet_rows(dataset: str, data_root: Path) -> tuple[np.ndarray, list[int]]:
    """LeNet's inputs and clean activations side by side, and their widths."""
    from models.lenet import pretrained_lenet

    images = to_network_input(load_digits(dataset, data_root).test_images)
    activations = SplitNetwork(pretrained_lenet(2), "relu5").activations(images)
    return np.hstack([images.flatten(1).numpy(), activations.flatten(1).numpy()]), [1024, 120]


def alexnet_rows(path: Path, n: int) -> list[int]:
    """A file of rows of AlexNet's inputs' and activations' sizes, 30 components under noise; their widths."""
    rng, widths = np.random.default_rng(0), [150_528, 9_216]
    rows, components = np.lib.format.open_memmap(path, "w+", np.float32, (n, sum(widths))), rng.normal(size=(n, 30))
    for columns in np.split(np.arange(sum(widths)), 16):
        noise = rng.normal(size=(n, len(columns)))
        rows[:, columns[0] : columns[-1] + 1] = components @ rng.normal(size=(30, len(columns))) + noise
    rows.flush()
    return widths


def lenet(args: Arguments) -> dict[str, float]:
    """MIShannon_DKL on LeNet's inputs and activations."""
    rows, widths = lenet_rows(args.dataset, args.data_root)
    joint, product = joint_and_product(rows, np.split(rows, [1024], axis=1), np.random.default_rng(0))
    estimator = ite.cost.MIShannon_DKL(rng=0)
    value, exact = estimator.estimation(rows, widths), differences(joint, product)
    left, right = torch.from_numpy(joint), torch.from_numpy(product).T.contiguous()
    ours = median_seconds(lambda: estimator.estimation(rows, widths), args.repeats)
    products = 2 * median_seconds(lambda: left @ right, args.repeats)
    sklearn = median_seconds(lambda: scikit_learn(joint, product), args.repeats)
    least, neighbors._LEAST_COLUMNS = neighbors._LEAST_COLUMNS, np.inf
    unprojected = median_seconds(lambda: estimator.estimation(rows, widths), args.repeats)
    neighbors._LEAST_COLUMNS = least
    tree = median_seconds(lambda: original(joint.astype(float), product.astype(float)), args.repeats, warm_up=False)
    return {
        "ours (s)": ours,
        "without projection (s)": unprojected,
        "its two float32 products alone (s)": products,
        "scikit-learn, brute force (s)": sklearn,
        "the original's k-d tree (s)": tree,
        "tree / ours": tree / ours,
        "scikit-learn / ours": sklearn / ours,
        "products / ours": products / ours,
        "products / without projection": products / unprojected,
        "relative difference from float64": abs(value / exact - 1),
    }


def alexnet(args: Arguments) -> dict[str, float]:
    """MIShannon_DKL on rows of AlexNet's inputs' and activations' sizes, from a memory map."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        widths = in_own_process(alexnet_rows, path, args.wide_rows)
        return measured_in_own_process(mapped, path, widths, args.repeats)


def mapped(path: Path, widths: list[int], repeats: int) -> dict[str, float]:
    """The part of `alexnet` that counts."""
    rows, estimator = np.load(path, mmap_mode="r"), ite.cost.MIShannon_DKL(rng=0)
    return {"ours (s)": median_seconds(lambda: estimator.estimation(rows, widths), repeats)}


def million(args: Arguments) -> dict[str, float]:
    """Neighbours of a million points in four dimensions."""
    points = np.random.default_rng(0).normal(size=(args.many_rows, 4))
    return {"ours (s)": median_seconds(lambda: neighbors.knn_distances(points, 3), args.repeats)}


def hundred_thousand(args: Arguments) -> dict[str, float]:
    """Neighbours of a hundred thousand points in 120 dimensions."""
    points = np.random.default_rng(0).normal(size=(args.rows, 120)).astype(np.float32)
    return {"ours (s)": median_seconds(lambda: neighbors.knn_distances(points, 3), args.repeats)}


def tree_or_product(args: Arguments) -> dict[str, str]:
    """Where a tree stops paying."""
    found, rng = {}, np.random.default_rng(0)
    for n in args.tree_rows:
        for d in (4, 8, 10, 12, 14):
            points, seconds = rng.normal(size=(n, d)), []
            for limit in (d, 0):
                neighbors.TREE_COLUMNS = neighbors.TREE_COLUMNS_OF_MANY = limit
                seconds.append(median_seconds(lambda points=points: neighbors.knn_distances(points, 3), args.repeats))
            found[f"n = {n}, d = {d}: tree, product (s)"] = f"{seconds[0]:.4f}, {seconds[1]:.4f}"
    return found


def measured(work: Callable, *args: object) -> dict[str, object]:
    """What `work` returns, and the peak memory of this process."""
    warnings.simplefilter("ignore", ite.UnsupportedEstimate)
    results = work(*args)
    return {"peak memory (GB)": (peak_memory() or math.nan) * 2**20 / 1e9} | results


def in_own_process(work: Callable, *args: object) -> object:
    """What `work` returns, in a new process, which inherits the peak memory of this one."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, args)


def measured_in_own_process(work: Callable, *args: object) -> dict[str, object]:
    """`measured`, in a new process."""
    return in_own_process(measured, work, *args)


def main(args: Arguments) -> None:
    """Print the results and write them down."""
    require_at_least(args, repeats=1)
    record, results = Record(args), {}
    cases = {
        f"LeNet, n = {10_000 if args.dataset == 'mnist' else 1000:,}, d = 1,144": lenet,
        f"AlexNet, n = {args.wide_rows:,}, d = 159,744": alexnet,
        f"n = {args.many_rows:,}, d = 4": million,
        f"n = {args.rows:,}, d = 120": hundred_thousand,
        "k-d tree or matrix product, k = 3": tree_or_product,
    }
    for name, work in cases.items():
        found = work(args) if work is alexnet else measured_in_own_process(work, args)
        for quantity, value in found.items():
            print(f"{name}: {quantity}: {value if isinstance(value, str) else f'{value:.3g}'}", flush=True)
            results[f"{name}: {quantity}"] = value
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
