"""Seconds, peak memory and width of the bracket of measured information, beside a double loop over pairs.

    python -m benchmarks.bracket

Fresh noise on Normal inputs of known information, at LeNet's size and at many inputs; Laplace noise on as many elements as
AlexNet sends. Each case runs in a process of its own, for its peak memory. About five minutes.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.neighbors import measured_in_own_process
from shredder.io.cli import require_at_least, script
from shredder.io.files import write_together
from shredder.io.record import Record
from shredder.noise.bounds import gaussian_bits
from shredder.noise.bracket import bracket
from shredder.noise.channel import Channel
from shredder.noise.fresh import Fresh
from shredder.noise.stored import Collection


@dataclass(frozen=True)
class Arguments:
    """Time the bracket."""

    inputs: int = 10_000
    """Of LeNet's size, one direction; and of AlexNet's, with Laplace noise."""
    many_inputs: int = 50_000
    """With 64 directions."""
    elements: int = 9216
    """That Laplace noise is drawn for."""
    naive_inputs: int = 300
    """Of the double loop, whose time grows with their square."""
    output: Path = Path("runs/benchmarks/bracket.json")
    """Run record."""


def fresh(n: int, r: int) -> dict[str, float]:
    """Fresh noise of unit scale on Normal inputs that carry two bits."""
    power, zero, eye = (2 ** (4 / r) - 1), torch.zeros(r), torch.eye(r)
    channel = Channel(Fresh("linear", eye, eye, zero, zero, torch.full((r,), math.inf), torch.ones(r)), "fresh")
    signal = math.sqrt(power) * torch.from_numpy(np.random.default_rng(0).standard_normal((n, r))).float()
    started = time.perf_counter()
    found = bracket(channel, signal, np.random.default_rng(1))
    seconds = time.perf_counter() - started
    exact = gaussian_bits(power * torch.eye(r).double(), torch.ones(r).double()).item()
    return {"s": seconds, "bits, lower": found.lower, "upper": found.upper, "standard error": found.error, "exact": exact}


def naive(n: int) -> dict[str, float]:
    """One direction, pair by pair."""
    rng = np.random.default_rng(0)
    t = math.sqrt(15) * rng.standard_normal(n)
    y, started, nats = t + rng.standard_normal(n), time.perf_counter(), 0.0
    for i in range(n):
        density = [math.exp(-((y[i] - t[j]) ** 2) / 2) for j in range(n)]
        nats += math.log(density[i] / (sum(density) / n)) / n
    return {"s": time.perf_counter() - started, "bits, lower": nats / math.log(2)}


def laplace(n: int, d: int) -> dict[str, float]:
    """v1's draws, as loud as the activation."""
    rng = np.random.default_rng(0)
    members = torch.from_numpy(rng.laplace(size=(20, d, 1, 1))).float()
    signal = torch.from_numpy(rng.standard_normal((n, d, 1, 1), dtype=np.float32))
    started = time.perf_counter()
    found = bracket(Channel(Collection(None, members), "elementwise-laplace"), signal, np.random.default_rng(1))
    return {"s": time.perf_counter() - started, "bits, lower": found.lower}


def main(args: Arguments) -> None:
    """Run the cases, print them, write the record."""
    require_at_least(args, inputs=10, many_inputs=10, elements=1, naive_inputs=2)
    record, results = Record(args), {}
    for name, work, sizes in (
        (f"fresh, {args.inputs} inputs, 1 direction", fresh, (args.inputs, 1)),
        (f"fresh, {args.many_inputs} inputs, 64 directions", fresh, (args.many_inputs, 64)),
        (f"Laplace, {args.inputs} inputs, {args.elements} elements", laplace, (args.inputs, args.elements)),
        (f"a double loop, {args.naive_inputs} inputs, 1 direction", naive, (args.naive_inputs,)),
    ):
        for quantity, value in measured_in_own_process(work, *sizes).items():
            results[f"{name}: {quantity}"] = value
            print(f"{name + ': ' + quantity:70} {value:.4g}")
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
