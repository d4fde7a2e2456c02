"""Runs that are killed, starved of disk, raced or fed other inputs: whether they leave old or new, and whether they go on.

    python -m benchmarks.faults --data-root data                    all of it: hours
    python -m benchmarks.faults --tasks arrays --moments 3          minutes

What happens to a run is real, but for single disk calls and clocks, which are replaced inside it; see docs/reliability.md.
Checkpoints are written after every epoch. A run that was hit is started again with the same command, and has to end with the
bits of a run that was not. The status is 1 if one did not.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.fault_runs import Command, Disk, bits, status_of, write_arrays
from benchmarks.fault_trials import Trial, file_system, often
from shredder.inputs.digits import load_digits
from shredder.io.cli import InputError, require_at_least, require_one_of, script
from shredder.io.files import write_together
from shredder.io.record import Record
from shredder.io.terminal import progress

# Flags that make a run of each task short, by step: learning, sampling, attacking. What an attack keeps is one file, whichever
# it is: three of them, of the label, of the input and of its picture.
_FEW, _ATTACKS = "--epochs 9 --min-epochs 2 --min-accuracy 0", "--epochs 2 --attacks trained rounding reconstruction"
QUICK = {
    "lenet": (f"--images 600 --members 2 {_FEW}", "--n-samples 100", f"--images 300 {_ATTACKS}"),
    "alexnet": (f"--images 60 --members 2 {_FEW}", "--n-samples 50 --judged-on 50", f"--images 60 {_ATTACKS}"),
    "arrays": (f"--scale 0.5 --members 3 {_FEW} --cutting-point 1", "", _ATTACKS),
}
QUICK["cifar10"] = QUICK["lenet"]
STEPS = ("train_noise.py", "sample_mutual_info.py", "attack.py")
SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 1, signal.SIGHUP: 129}
NOBODY = 65534


@dataclass(frozen=True)
class Arguments:
    """Let things go wrong, and count how runs take it."""

    tasks: tuple[str, ...] = ("arrays", "lenet", "alexnet")
    """Of arrays (made here), lenet, alexnet, cifar10."""
    steps: tuple[str, ...] = STEPS
    """Of them these scripts."""
    faults: tuple[str, ...] = ("signals", "disk", "full", "readonly", "two", "clock", "inputs", "flipped", "threads")
    """Which of them."""
    moments: int = 20
    """Random moments of each signal, of two runs in one folder, and flipped bits."""
    every: int = 1
    """Every so many disk calls."""
    seed: int = 0
    """Of moments and bits."""
    data_root: Path = Path("data")
    """Folder of CIFAR-10."""
    output: Path = Path("runs/benchmarks/faults.json")
    """Run record."""


def signals(trial: Trial, args: Arguments) -> Iterator[tuple[str, str]]:
    """Signals at random moments of a run without old results, and of one with some."""
    for number, status in SIGNALS.items():
        for moment in range(args.moments):
            trial.fresh(old=moment % 2 == 1)
            pid = trial.start()
            time.sleep(trial.rng.uniform(0, trial.seconds))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            early = (-number, 130)  # before the script has set what it does
            yield signal.Signals(number).name, trial.after_a_fault(status_of(pid), (status, 0, *early))


def disk(trial: Trial, args: Arguments) -> Iterator[tuple[str, str]]:
    """Each disk call goes wrong, in each way."""
    counted = trial.folder / "counted"
    counted.unlink(missing_ok=True)
    trial.fresh(old=True)
    status_of(trial.start(Disk(trial.output, counted)))
    calls = counted.read_text().splitlines()
    for at in range(0, len(calls), args.every):
        name = calls[at].split()[0]
        for fault, statuses in {"error": (1, 0), "kill": (-9,), "torn": (-9,), "short": (0,)}.items():
            if fault in ("torn", "short") and name != "write":
                continue
            counted.unlink(missing_ok=True)
            trial.fresh(old=True)
            status = status_of(trial.start(Disk(trial.output, counted, at, fault)))
            found = trial.after_a_fault(status, statuses, tidy=name not in ("unlink", "remove"))  # which was not allowed
            yield f"disk call, {fault}", f"{calls[at]}: {found}" if found else ""


def full(trial: Trial, args: Arguments) -> Iterator[tuple[str, str]]:
    """A disk that is full after so many bytes, and a limit on the size of files, from none to enough."""
    size = sum(path.stat().st_size for path in (trial.folder / "new").rglob("*") if path.is_file())
    usual, trial.output = trial.output, trial.folder / "mounted" / "output"
    for room in np.linspace(0, 3 * size + 2**18, args.moments + 1).astype(int):
        with contextlib.suppress(subprocess.CalledProcessError), file_system(trial.output.parent, size * 8 + 2**22):
            trial.fresh(old=True)
            free = shutil.disk_usage(trial.output).free
            with open(trial.output.parent / "filler", "wb") as filler:
                os.posix_fallocate(filler.fileno(), 0, max(1, free - int(room)))
            status = status_of(trial.start())
            (trial.output.parent / "filler").unlink()
            yield "full disk", trial.after_a_fault(status, (0, 1))
    trial.output = usual
    largest = max(path.stat().st_size for path in (trial.folder / "new").rglob("*") if path.is_file())
    for most in np.linspace(0, largest * 1.1, args.moments + 1).astype(int):
        trial.fresh(old=True)
        limit = (int(most), resource.RLIM_INFINITY)
        status = status_of(trial.start(lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, limit)))
        yield "file-size limit", trial.after_a_fault(status, (0, 1))


def readonly(trial: Trial, args: Arguments) -> Iterator[tuple[str, str]]:
    """A folder that cannot be written: as another user, and, where this one is root, on a file system that is read-only."""
    if os.getuid():
        trial.fresh(old=True).chmod(0o555)
        status = status_of(trial.start())
        trial.output.chmod(0o755)
        yield "read-only folder", trial.after_a_fault(status, (1,))
        return
    trial.fresh(old=True)
    status = status_of(trial.start(lambda: os.setuid(NOBODY)))
    yield "read-only folder, another user", trial.after_a_fault(status, (1,))
    usual, trial.output = trial.output, trial.folder / "mounted" / "output"
    with contextlib.suppress(subprocess.CalledProcessError), file_system(trial.output.parent, 2**28):
        trial.fresh(old=True)
        subprocess.run(["mount", "-o", "remount,ro", str(trial.output.parent)], check=True)
        status = status_of(trial.start())
        subprocess.run(["mount", "-o", "remount,rw", str(trial.output.parent)], check=True)
        yield "read-only folder, root", trial.after_a_fault(status, (1,))
    trial.output = usual


def two(trial: Trial, args: Arguments) -> Iterator[tuple[str, str]]:
    """A second run in the same folder, at a random moment: it is refused, or comes after the first."""
    for _ in range(args.moments):
        trial.fresh(old=True)
        first = trial.start()
        time.sleep(trial.rng.uniform(0, trial.seconds))
        log = trial.folder / "second log"
        second = trial.command.run(trial.output, log, often)
        found = trial.after_a_fault(status_of(first), (0, 1) if second == 0 else (0,))
        if second not in (0, 1) or (second == 1 and "is writing there" not in log.read_text()):
            found = f"the second ended with {second}: {log.read_text()[-300:]}"
        yield "two runs in a folder", found


def clock(trial: Trial, args: Arguments) -> Iterator[tuple[str, str]]:
    """A clock that goes back by an hour whenever it is looked at, in a run that is killed and started again."""
    for _ in range(args.moments):
        trial.fresh()
        pid = trial.start(backwards)
        time.sleep(trial.rng.uniform(0, trial.seconds))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        yield "clock going back", trial.after_a_fault(status_of(pid), (-9, 0))


def backwards() -> None:
    """Let the wall clock go back."""
    begin, looked = time.time(), iter(range(10**9))
    time.time = lambda: begin - 3600 * next(looked)
    time.time_ns = lambda: int(time.time() * 1e9)


def inputs(trial: Trial, args: Arguments) -> Iterator[tuple[str, str]]:
    """One pixel of the arrays changes between a killed run of step 1 and the next one, which has to notice."""
    if trial.command.script != STEPS[0] or "--data-root" not in trial.command.flags:
        return
    path = Path(trial.command.flags[trial.command.flags.index("--data-root") + 1]) / "train.npz"
    if not path.exists():
        return
    content, arrays = path.read_bytes(), dict(np.load(path))
    for _ in range(args.moments):
        trial.fresh()
        pid = trial.start()
        while not (trial.output / "checkpoint.pt").exists():
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        status_of(pid)
        other = arrays["images"].copy()
        other.flat[trial.rng.integers(other.size)] += 1
        np.savez(path, **arrays | {"images": other})
        status, said = status_of(trial.start()), trial.log.read_text()
        path.write_bytes(content)
        named = status == 1 and "of an unfinished run with other weights or inputs" in said
        wrong = "" if named else f"not noticed: {status}: {said[-300:]}"
        yield "inputs that change", wrong or trial.goes_on()


def flipped(trial: Trial, args: Arguments) -> Iterator[tuple[str, str]]:
    """One bit of what an unfinished run has kept: named and made anew, or gone on from the checkpoint before."""
    for _ in range(args.moments):
        trial.fresh()
        pid = trial.start()
        time.sleep(trial.rng.uniform(0.3, 0.9) * trial.seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        status = status_of(pid)
        found = sorted(path for path in trial.output.rglob("*") if path.name == "checkpoint.pt" or path.suffix == ".kept")
        if status == 0 or not found:
            continue
        path = found[trial.rng.integers(len(found))]
        content = bytearray(path.read_bytes())
        content[trial.rng.integers(len(content))] ^= 1 << int(trial.rng.integers(8))
        path.write_bytes(content)
        again = trial.goes_on()
        said = trial.log.read_text()
        if "remove it to begin anew" in said:  # the first checkpoint, with none before it
            path.unlink()
            again = trial.goes_on()
        yield "flipped bit", again or ("" if "damaged" in said else f"{path.name}: not said")


def threads(trial: Trial, args: Arguments) -> Iterator[tuple[str, str]]:
    """Two threads in place of one: not promised to give the same bits. Which files differ is counted, not judged."""
    trial.fresh()
    status = status_of(trial.start(lambda: torch.set_num_threads(2)))
    found = trial.stable(bits(trial.output))
    other = [name for name in found if found[name] != trial.new.get(name) and name != "run.json"]
    yield (
        f"two threads: {'the same bits' if not other else 'other bits in ' + ', '.join(other)}",
        "" if status == 0 else "failed",
    )


FAULTS = {found.__name__: found for found in (signals, disk, full, readonly, two, clock, inputs, flipped, threads)}


def commands(args: Arguments, folder: Path) -> Iterator[Command]:
    """The steps of each task; the later ones use what the first has written."""
    for task in args.tasks:
        flags, noise = ("--task", task), folder / task / "noise"
        if task == "arrays":
            (folder / task).mkdir(parents=True)
            flags = write_arrays(folder / task)
        elif task == "cifar10":
            flags = (*flags, "--data-root", str(args.data_root.resolve()))
        learn, *others = (tuple(more.split()) for more in QUICK[task])
        step_1 = Command(f"{task}, {STEPS[0]}", STEPS[0], (*flags, *learn))
        if step_1.run(noise, folder / "log", often):
            raise InputError(f"{step_1.name}: {(folder / 'log').read_text()[-500:]}")
        if step_1.script in args.steps:
            yield step_1
        for name, more in zip(STEPS[1:], others, strict=True):
            if name in args.steps:
                yield Command(f"{task}, {name}", name, (*flags, "--noise", str(noise), *more))


def main(args: Arguments) -> None:
    """Print how runs took it, and write it down."""
    require_at_least(args, moments=1, every=1, seed=0)
    for name in args.tasks:
        require_one_of(type("", (), {"tasks": name}), tasks=QUICK)
    torch.set_num_threads(1)
    load_digits("mnist-5k")  # once for all processes
    record, counts, wrong = Record(args), Counter(), []
    with tempfile.TemporaryDirectory() as place, progress(unit="run") as bar:
        for number, command in enumerate(commands(args, Path(place) / "made")):
            trial = Trial(command, Path(place) / str(number), np.random.default_rng([args.seed, number]))
            for fault in args.faults:
                for name, found in FAULTS[fault](trial, args):
                    counts[f"{command.name}: {name}"] += 1
                    bar.update()
                    if found:
                        wrong.append(f"{command.name}: {name}: {found}")
                        print(wrong[-1], flush=True)
    for name, n in counts.items():
        print(f"{name:70} {n:6}")
    print(f"{sum(counts.values())} runs that something happened to, {len(wrong)} that took it otherwise than promised")
    write_together({args.output: record.content(dict(counts) | {"otherwise than promised": len(wrong)})})
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    script(main, Arguments)
