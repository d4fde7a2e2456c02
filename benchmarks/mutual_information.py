"""Bias and spread of estimators of mutual information on Gaussians whose mutual information is known.

    python -m benchmarks.mutual_information

Two blocks of d1 and d2 columns share the given nats, evenly over min(d1, d2) pairs of canonical directions; each block is
then rotated at random. Writes the table that `ite/README.md` shows, and its figure; and a table of MIShannon_KSG on tasks
with long tails and in more columns, beside the same after what might help. About a quarter of an hour.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.special import digamma, gammaln
from scipy.stats import ortho_group
from tqdm import tqdm

import ite
from shredder import figures
from shredder.io.cli import require_at_least, script
from shredder.io.files import csv_table, prepare_output, write_together
from shredder.io.record import Record, report

BLOCKS = ((1, 1), (2, 2), (10, 10), (100, 100), (1024, 120))
TRUTHS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256]
NATS_PER_PAIR = 4  # beyond, 1 - correlation^2 nears rounding
FEW_COLUMNS = [(1, 1), (1, 2), (2, 2), (2, 3), (1, 4)]


@dataclass(frozen=True)
class Arguments:
    """Measure bias and spread."""

    n: int = 2000
    """Rows of each sample."""
    seeds: int = 5
    """Samples for each truth."""
    blocks: tuple[tuple[int, int], ...] = BLOCKS
    """Columns of the two blocks: at most five pairs of numbers."""
    n_few: int = 5000
    """Rows of each sample of up to five columns."""
    output: Path = Path("runs/benchmarks/mutual-information")
    """Folder for the table, the figure and the run record."""


def gaussian(rng: np.random.Generator, n: int, d1: int, d2: int, nats: float) -> np.ndarray:
    """Rows (n, d1 + d2) of two blocks with that mutual information: -1/2 log(1 - r^2) for each of min(d1, d2) pairs."""
    pairs = min(d1, d2)
    r2 = -np.expm1(-2 * nats / pairs)
    x, y = rng.normal(size=(n, d1)), rng.normal(size=(n, d2))
    y[:, :pairs] = np.sqrt(r2) * x[:, :pairs] + np.sqrt(1 - r2) * y[:, :pairs]
    return np.hstack([block @ rotation(rng, block.shape[1]) for block in (x, y)])


def rotation(rng: np.random.Generator, d: int) -> np.ndarray:
    """A random orthogonal matrix (d, d)."""
    return ortho_group.rvs(d, random_state=rng) if d > 1 else np.ones((1, 1))


def table(args: Arguments) -> Iterator[tuple]:
    """A row for each estimator, pair of blocks and truth."""
    cost = ite.cost
    estimators = {
        "MIShannon_DKL": cost.MIShannon_DKL(rng=args.seeds),  # not a seed of the samples
        "MIShannon_HS": cost.MIShannon_HS(),
        "MIShannon_KSG, algorithm 1": cost.MIShannon_KSG(),
        "MIShannon_KSG, algorithm 2": cost.MIShannon_KSG(algorithm=2),
        "MIShannon_GaussianCopula": cost.MIShannon_GaussianCopula(),
    }
    cases = [(d1, d2, nats) for d1, d2 in args.blocks for nats in TRUTHS if nats <= NATS_PER_PAIR * min(d1, d2)]
    for d1, d2, nats in tqdm(cases):
        samples = [gaussian(np.random.default_rng(seed), args.n, d1, d2, nats) for seed in range(args.seeds)]
        for name, co in estimators.items():
            estimates = np.array([co.estimation(y, [d1, d2]) for y in samples])
            yield name, d1, d2, args.n, float(nats), estimates.mean(), estimates.mean() - nats, estimates.std(ddof=1)


def error_in_few_columns(n: int, seeds: int) -> float:
    """Mean absolute error in nats of MIShannon_KSG up to five dimensions, after `standardize`, whatever the columns' units."""
    errors, co = [], ite.cost.MIShannon_KSG()
    for d1, d2 in FEW_COLUMNS:
        for nats in (0, 0.25, 0.5, 1, 2):
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                y = gaussian(rng, n, d1, d2, nats) * np.repeat(10 ** rng.uniform(-2, 2, size=2), [d1, d2])
                errors.append(abs(co.estimation(ite.standardize(y, [d1, d2]), [d1, d2]) - nats))
    return float(np.mean(errors))


def equicorrelated(rng: np.random.Generator, n: int, d: int, freedom: float = np.inf) -> np.ndarray:
    """Rows (n, d) of Gaussians with correlations of 1/2; of Student's t of that many degrees of freedom, if finite."""
    y = (rng.normal(size=(n, d)) + rng.normal(size=(n, 1))) / np.sqrt(2)
    return y if np.isinf(freedom) else y / np.sqrt(rng.chisquare(freedom, size=(n, 1)) / freedom)


def equicorrelated_nats(d1: int, d2: int, freedom: float = np.inf) -> float:
    """Mutual information of the first d1 of such columns and the other d2.

    Of Gaussians 1/2 log(det_1 det_2 / det), where det = (d + 1) / 2^d. Student's entropy has f(v) - f(v + d) beyond them, with
    f(v) = log G(v / 2) - v / 2 psi(v / 2).
    """
    nats = np.log((d1 + 1) * (d2 + 1) / (d1 + d2 + 1)) / 2
    if np.isfinite(freedom):
        half = (freedom + np.array([0, d1 + d2, d1, d2])) / 2
        nats += (gammaln(half) - half * digamma(half)) @ [1, 1, -1, -1]
    return float(nats)


def tasks() -> dict[str, tuple[Callable, int, int, float]]:
    """Name: what draws rows from a generator and n, the columns of both blocks, nats. Columns stretched keep their nats."""
    found = {}
    stretches = {"": np.asarray, ", half-cube": lambda y: y * np.sqrt(np.abs(y)), ", cube": lambda y: y**3}
    for d1, d2 in ((1, 1), (2, 2), (3, 3), (5, 5)):
        for name, stretch in stretches.items():
            draw = lambda rng, n, d=d1 + d2, stretch=stretch: stretch(equicorrelated(rng, n, d))  # noqa: E731
            found[f"Gaussian, all columns correlated{name}, {d1} + {d2}"] = draw, d1, d2, equicorrelated_nats(d1, d2)
        for freedom in (1, 2, 5):
            draw = lambda rng, n, d=d1 + d2, freedom=freedom: equicorrelated(rng, n, d, freedom)  # noqa: E731
            found[f"Student, {freedom} degrees, {d1} + {d2}"] = draw, d1, d2, equicorrelated_nats(d1, d2, freedom)
    for d in (3, 5):
        found[f"Gaussian, two pairs of columns, {d} + {d}"] = lambda rng, n, d=d: two_pairs(rng, n, d), d, d, 1.6
    return found


def two_pairs(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Rows (n, 2 d): 1.6 nats in the first two columns of two blocks, and none in the others."""
    informed, noise = gaussian(rng, n, 2, 2, 1.6), rng.normal(size=(n, 2, d - 2))
    return np.hstack([informed[:, :2], noise[:, 0], informed[:, 2:], noise[:, 1]])


def errors_on_tasks(n: int = 5000) -> Iterator[tuple]:
    """A row for each task, as `TASK_COLUMNS` names it: its nats, and errors of MIShannon_KSG after `standardize`, in nats."""
    co, second = ite.cost.MIShannon_KSG(), ite.cost.MIShannon_KSG(algorithm=2)
    for name, (draw, d1, d2, nats) in tqdm(tasks().items()):
        y, ds = draw(np.random.default_rng(0), n), [d1, d2]
        blocks, scores = ite.standardize(y, ds), ite.standardize(y, ds, "scores")
        rounded = blocks.astype(np.float32)
        estimates = (
            co.estimation(blocks, ds),
            co.estimation(rounded, ds),
            second.estimation(blocks, ds),
            co.estimation(scores, ds),
        )
        yield name, nats, *(estimate - nats for estimate in estimates)


TASK_COLUMNS = ("task", "truth_nats", "error_nats", "as_float32", "algorithm_2", "on_normal_scores")


def estimate_against_truth(rows: list[tuple], n: int) -> Figure:
    """A panel for each pair of blocks: the estimators' means by truth, the diagonal, log n. What lies far below zero is cut."""
    names = list(dict.fromkeys(row[0] for row in rows if row[0] != "MIShannon_KSG, algorithm 2"))
    looks = zip((figures.BLUE, figures.SKY, figures.RED, figures.GREY), "osv^", strict=True)
    looks = dict(zip(names, looks, strict=True))
    figure, axes = plt.subplots(2, 3, figsize=(figures.WIDTH, 5.2))
    for axis, (d1, d2) in zip(axes.flat, dict.fromkeys(row[1:3] for row in rows), strict=False):
        for name, (colour, marker) in looks.items():
            points = np.array([(row[4], row[5], row[7]) for row in rows if row[:3] == (name, d1, d2)])
            axis.errorbar(*points.T, color=colour, marker=marker, markersize=4, linewidth=1, label=name)
        top = points[-1, 0]
        axis.plot([0, top], [0, top], color="black", linewidth=0.8, linestyle="--", label="truth")
        axis.axhline(np.log(n), color="black", linewidth=0.8, linestyle=":", label=f"log n, n = {n:,}")
        axis.set(title=f"{d1} + {d2} columns", xlabel="mutual information (nats)", ylabel="estimate (nats)")
        axis.set_ylim(-0.2 * top, 1.15 * max(top, np.log(n)))
    axes.flat[-1].axis("off")
    axes.flat[-1].legend(*axes.flat[0].get_legend_handles_labels(), loc="center")
    return figure


def markdown(rows: list[tuple]) -> str:
    """Bias +- spread in nats: a row for each estimator and some truths, a column for each pair of blocks."""
    found = {(*row[:3], row[4]): f"{row[6]:+.2f} +- {row[7]:.2f}" for row in rows}
    blocks = dict.fromkeys(row[1:3] for row in rows)
    lines = ["| | truth | " + " | ".join(f"{d1}+{d2}" for d1, d2 in blocks) + " |", "|---" * (len(blocks) + 2) + "|"]
    for name in dict.fromkeys(row[0] for row in rows):
        for nats in (0, 1, 4, 32, 256):
            cells = [found.get((name, d1, d2, float(nats)), "") for d1, d2 in blocks]
            lines.append(f"| {name} | {nats} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(args: Arguments) -> None:
    """Write table, figure and run record."""
    require_at_least(args, n=8, seeds=2, n_few=8)
    warnings.simplefilter("ignore", ite.UnsupportedEstimate)  # it is what the figure shows
    record = Record(args)
    prepare_output(args.output)
    error = error_in_few_columns(args.n_few, args.seeds)
    results = {f"MIShannon_KSG, n = {args.n_few:,}, up to 5 dimensions: mean absolute error (nats)": error}
    task_rows = list(errors_on_tasks(args.n_few))
    for i, name in enumerate(TASK_COLUMNS[2:], start=2):
        error = float(np.mean([abs(row[i]) for row in task_rows]))
        results[f"MIShannon_KSG, n = {args.n_few:,}, {len(task_rows)} tasks, {name}: mean absolute error (nats)"] = error
    rows = list(table(args))
    header = ("estimator", "d1", "d2", "n", "truth_nats", "mean_nats", "bias_nats", "spread_nats")
    write_together(
        {
            args.output / "estimates.csv": csv_table(header, rows),
            args.output / "tasks.csv": csv_table(TASK_COLUMNS, task_rows),
            args.output / "estimates.md": markdown(rows).encode(),
            args.output / "estimate-against-truth.png": figures.png(estimate_against_truth(rows, args.n)),
            args.output / "run.json": record.content(results),
        }
    )
    print(markdown(rows))
    report(args.output, results)


if __name__ == "__main__":
    script(main, Arguments)
