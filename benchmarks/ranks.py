"""Seconds of the steps in one process of one thread, and in several that torchrun starts; and whether they write the same.

    python -m benchmarks.ranks --data-root data

LeNet: members of v2 in shares, draws of step 2, and the attack. Seconds are those of the run records, from the step's
arguments to its results; starting Python, torch and torchrun is not in them, and stands beside them. Five minutes. What as
many processes gain that only multiply matrices, and share nothing, is the machine's own ratio: two threads of one core gain
little.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from shredder.io.cli import InputError, require_at_least, script
from shredder.io.files import prepare_output, write_together
from shredder.io.provenance import REPOSITORY
from shredder.io.record import RECORD, Record, read_record


@dataclass(frozen=True)
class Arguments:
    """Time one process and several."""

    dataset: Literal["mnist", "mnist-5k"] = "mnist"
    """Digits of step 2. Steps 1 and the attack take mnist-5k."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST."""
    processes: int = 2
    """How many divide the work."""
    members: int = 100
    """To learn."""
    parallel: int = 50
    """Of a share."""
    epochs: int = 60
    """Of each member."""
    draws: int | None = None
    """Queries of step 2. Default: all test digits."""
    attacks: tuple[str, ...] = ("trained", "member", "reconstruction")
    """Of the attack."""
    images: int | None = None
    """Training digits of the attack. Default: all."""
    reading_epochs: int = 15
    """Of each network of the attack."""
    output: Path = Path("runs/benchmarks/ranks.json")
    """Run record."""


def commands(args: Arguments) -> dict[str, list[Any]]:
    """Each step's script and flags."""
    epochs = ["--epochs", args.epochs, "--min-epochs", args.epochs - 1, "--min-accuracy", 0]
    draws = [] if args.draws is None else ["--n-samples", args.draws]
    data = ["--dataset", args.dataset, "--data-root", args.data_root]
    images = [] if args.images is None else ["--images", args.images]
    return {
        "step 1": ["train_noise.py", "--task", "lenet", "--members", args.members, "--parallel", args.parallel, *epochs],
        "step 2": ["sample_mutual_info.py", "--task", "lenet", *data, *draws, "--seed", 0],
        "attack": ["attack.py", "--task", "lenet", *images, "--epochs", args.reading_epochs, "--attacks", *args.attacks],
    }


def run(command: list[Any], processes: int, output: Path) -> tuple[float, float]:
    """Seconds of the step, as its record has them, and of the whole command. Raises InputError where it fails."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    whole = [sys.executable, *launch, *map(str, command), "--output", str(output)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "TQDM_DISABLE": "1"}
    begin = time.perf_counter()
    done = subprocess.run(whole, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{' '.join(whole)}: ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads((output / RECORD).read_text())["seconds"], time.perf_counter() - begin


def products(n: int = 2000, times: int = 20) -> float:
    """Seconds of products of two float32 (n, n) matrices on one thread."""
    torch.set_num_threads(1)
    matrix, begin = torch.ones(n, n), time.perf_counter()
    for _ in range(times):
        matrix @ matrix
    return time.perf_counter() - begin


def of_machine(processes: int) -> float:
    """How much more so many processes multiply than one does, in the same time."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for _ in range(2):  # the first time they start
            together = max(of.result() for of in [pool.submit(products) for _ in range(processes)])
        return processes * pool.submit(products).result() / together


def same(one: Path, other: Path) -> bool:
    """Whether two runs have the same results; and files, but for an attack's, whose tables and figures have its seconds."""
    records = [read_record(folder / RECORD) for folder in (one, other)]
    files = [{name: digest for name, digest in record["files"].items() if not name.startswith("attacks")} for record in records]
    return records[0]["results"] == records[1]["results"] and files[0] == files[1]


def main(args: Arguments) -> None:
    """Print times and ratios, and write them down."""
    require_at_least(args, processes=2, members=1, parallel=1, epochs=1, reading_epochs=1)
    record, bare = Record(args), of_machine(args.processes)
    results = {"the machine's own ratio": bare}
    print(f"the machine's own ratio: {bare:.2f}", flush=True)
    prepare_output(args.output.parent)
    with tempfile.TemporaryDirectory(dir=args.output.parent.resolve()) as folder:
        for name, command in commands(args).items():
            one, many = (Path(folder) / f"{name} {n}" for n in (1, args.processes))
            times = run(command, 1, one), run(command, args.processes, many)
            for n, (seconds, whole) in zip((1, args.processes), times, strict=True):
                results |= {f"{name}, processes: {n} (s)": seconds, f"{name}, processes: {n}, with start-up (s)": whole}
            results[f"{name}: ratio"] = times[0][0] / times[1][0]
            results[f"{name}: same results"] = "yes" if same(one, many) else "no"
            print(f"{name}: {times[0][0]:.2f} s, {times[1][0]:.2f} s, ratio {results[f'{name}: ratio']:.2f}", flush=True)
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
