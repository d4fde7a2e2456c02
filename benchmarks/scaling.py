"""How cost grows: exponents of seconds in members, activation size, rows n and columns d, fitted from runs.

    python -m benchmarks.scaling

    log seconds = exponent * log x + constant,   by least squares over the sizes that were run

Learning: an epoch of v1 and of v2, of random activations; the cloud is one linear map onto ten classes. Draws: v1's, as step 2
makes and judges them. The estimator: MIShannon_DKL of Normal rows. Each time is the least of a few. Three minutes.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

import ite
from shredder.io.cli import require_at_least, script
from shredder.io.files import write_together
from shredder.io.record import Record
from shredder.learn.learner import MemberMethod, Settings
from shredder.learn.members import Learning
from shredder.learn.methods import RECIPES, Additive, SelfSupervised
from shredder.metrics import noisy_accuracy
from shredder.noise.draws import redraw_elements
from shredder.split import SplitNetwork

METHODS = {"v1": Additive(0.0, 2.0, 1e-2), "v2": SelfSupervised(20.0, RECIPES["suite"], "normalised", 0.3)}
CLASSES = 10


@dataclass(frozen=True)
class Arguments:
    """Time sizes, and fit exponents."""

    members: tuple[int, ...] = (10, 20, 40, 80)
    """Learned side by side, at the middle of the other sizes."""
    elements: tuple[int, ...] = (256, 1024, 4096, 16384)
    """Of an activation."""
    learning_rows: tuple[int, ...] = (500, 1000, 2000, 4000)
    """That members learn from."""
    rows: tuple[int, ...] = (2000, 4000, 8000, 16000)
    """Of the estimator."""
    columns: tuple[int, ...] = (128, 512, 2048, 8192)
    """Of the estimator."""
    repeats: int = 3
    """Of each time."""
    output: Path = Path("runs/benchmarks/scaling.json")
    """Run record."""


class Linear(nn.Module):
    """An edge that passes everything on, and a cloud of one linear map."""

    def __init__(self, n_elements: int):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.fc = nn.Linear(n_elements, CLASSES)

    def layers(self) -> dict[str, nn.Module]:
        """As `SplitNetwork` asks for them."""
        return {"edge": nn.Identity(), "flatten": nn.Flatten(), "fc": self.fc, "log_softmax": nn.LogSoftmax(-1)}


def least_seconds(work: Callable[[], object], repeats: int) -> float:
    """Of `work`, after a first time that does not count."""
    work()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def epoch(method: MemberMethod, members: int, elements: int, rows: int) -> Callable[[], None]:
    """An epoch of members that are never accepted."""
    rng = np.random.default_rng(0)
    activations = torch.from_numpy(rng.standard_normal((rows + 100, elements, 1, 1), np.float32))
    labels = torch.from_numpy(rng.integers(CLASSES, size=rows + 100))
    settings = Settings(members, members, 10**6, 10**5, 0.0, 100)
    sides = (activations[100:], labels[100:]), (activations[:100], labels[:100])
    return Learning(SplitNetwork(Linear(elements), "edge"), *sides, method, settings, rng).epoch


def draws(elements: int) -> Callable[[], object]:
    """A hundred draws of v1, each judged on a hundred activations."""
    rng, split = np.random.default_rng(0), SplitNetwork(Linear(elements), "edge")
    tensors, activations = (torch.from_numpy(rng.standard_normal((n, elements, 1, 1), np.float32)) for n in (20, 100))
    labels = torch.from_numpy(rng.integers(CLASSES, size=100))
    return lambda: noisy_accuracy(split, activations, labels, None, redraw_elements(tensors, 100, rng).additive.float())


def estimate(rows: int, columns: int) -> Callable[[], object]:
    """Of halves of Normal columns."""
    y = np.random.default_rng(0).standard_normal((rows, columns), np.float32)
    return lambda: ite.cost.MIShannon_DKL(rng=0).estimation(y, [columns // 2, columns - columns // 2])


def exponent(times: Mapping[int, float]) -> tuple[float, float]:
    """The slope of log seconds over log x, and by how much times lie beside the line, as a factor at most."""
    x, y = np.log(list(times)), np.log(list(times.values()))
    slope, constant = np.polyfit(x, y, 1)
    return float(slope), float(np.exp(np.abs(y - slope * x - constant).max()))


def cases(args: Arguments) -> dict[str, tuple[tuple[int, ...], Callable[[int], Callable[[], object]]]]:
    """What grows, its sizes, and the work at a size; all else is at its middle."""
    members, elements, learned = (middle(sizes) for sizes in (args.members, args.elements, args.learning_rows))
    found = {}
    for name, method in METHODS.items():
        found[f"learning, {name}: members"] = args.members, lambda n, of=method: epoch(of, n, elements, learned)
        found[f"learning, {name}: elements"] = args.elements, lambda n, of=method: epoch(of, members, n, learned)
        found[f"learning, {name}: rows"] = args.learning_rows, lambda n, of=method: epoch(of, members, elements, n)
    found["draws, v1: elements"] = args.elements, draws
    found["MIShannon_DKL: n"] = args.rows, lambda n: estimate(n, middle(args.columns))
    found["MIShannon_DKL: d"] = args.columns, lambda n: estimate(middle(args.rows), n)
    return found


def middle(sizes: tuple[int, ...]) -> int:
    """The size that others are measured at."""
    return statistics.median_low(sizes)


def main(args: Arguments) -> None:
    """Print times and exponents, and write them down."""
    require_at_least(args, repeats=1)
    record, results = Record(args), {}
    for name, (sizes, work) in cases(args).items():
        times = {size: least_seconds(work(size), args.repeats) for size in sizes}
        slope, beside = exponent(times)
        results |= {f"{name} {size:,} (s)": seconds for size, seconds in times.items()}
        results |= {f"{name}: exponent": slope, f"{name}: a time lies beside the fit by a factor of at most": beside}
        print(f"{name:28} {slope:6.2f}   " + ", ".join(f"{size:,}: {time:.3g} s" for size, time in times.items()), flush=True)
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
