"""Bias and spread of estimators of mutual information on Gaussians whose mutual information is known.

    python -m benchmarks.mutual_information

Two blocks of d1 and d2 columns share the given nats, evenly over min(d1, d2) pairs of canonical directions; each block is
then rotated at random. Writes the table that `ite/README.md` shows, and its figure. About a quarter of an hour.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import ortho_group
from tqdm import tqdm

import ite
from shredder import figures, runs

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
    runs.require_at_least(args, n=8, seeds=2, n_few=8)
    warnings.simplefilter("ignore", ite.UnsupportedEstimate)  # it is what the figure shows
    record = runs.Record(args)
    runs.prepare_output(args.output)
    error = error_in_few_columns(args.n_few, args.seeds)
    rows = list(table(args))
    results = {f"MIShannon_KSG, n = {args.n_few:,}, up to 5 dimensions: mean absolute error (nats)": error}
    header = ("estimator", "d1", "d2", "n", "truth_nats", "mean_nats", "bias_nats", "spread_nats")
    runs.write_together(
        {
            args.output / "estimates.csv": runs.csv_table(header, rows),
            args.output / "estimates.md": markdown(rows).encode(),
            args.output / "estimate-against-truth.png": figures.png(estimate_against_truth(rows, args.n)),
            args.output / "run.json": record.content(results),
        }
    )
    print(markdown(rows))
    runs.report(args.output, results)


if __name__ == "__main__":
    runs.script(main, Arguments)
