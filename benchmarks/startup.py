"""Seconds until a script knows its arguments: `--help` of each, beside the import of torch alone.

python -m benchmarks.startup
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.neighbors import median_seconds
from shredder.io.cli import require_at_least, script
from shredder.io.files import write_together
from shredder.io.record import Record

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Arguments:
    """Time the start of scripts."""

    scripts: tuple[str, ...] = (
        "train_noise.py",
        "train_noise_lenet.py",
        "train_noise_alexnet.py",
        "sample_mutual_info.py",
        "attack.py",
        "pretrain.py",
        "paper_figures.py",
    )
    """Of the repository's top folder."""
    repeats: int = 5
    """Starts of which the median counts, after one that does not."""
    output: Path = Path("runs/benchmarks/startup.json")
    """Run record."""


def seconds_of(arguments: list[str], repeats: int) -> float:
    """Median wall time of a Python process."""
    command = [sys.executable, *arguments]
    return median_seconds(lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL), repeats)


def main(args: Arguments) -> None:
    """Print the times and write them down."""
    require_at_least(args, repeats=1)
    record = Record(args)
    results = {"import torch (s)": seconds_of(["-c", "import torch"], args.repeats)}
    for name in args.scripts:
        results[f"{name} --help (s)"] = seconds_of([name, "--help"], args.repeats)
    for name, seconds in results.items():
        print(f"{name:34} {seconds:6.2f}")
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
