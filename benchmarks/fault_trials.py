"""A step that something happens to: what lay in its folder before, what it leaves there, and whether it goes on."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.fault_runs import Command, bits, left, mixed, one_line, status_of
from shredder.io.cli import InputError
from shredder.io.record import require_whole
from shredder.learn import run as learning


@dataclass
class Trial:
    """A step of a task, with what it writes: from seed 0, which is asked for, and from seed 1, which lies there before.

    Attributes
    ----------
    old, new : dict of str to str
        As from `bits`.
    seconds : float
        That it takes.
    unstable : set of str
        Files that differ between two runs without a fault, since they hold seconds; they are not compared.
    """

    command: Command
    folder: Path
    rng: np.random.Generator
    old: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    unstable: set[str] = field(default_factory=set)

    def __post_init__(self):
        self.folder.mkdir(parents=True)
        self.output, self.log = self.folder / "output", self.folder / "log"
        for name, seed in (("old", 1), ("new", 0), ("again", 0)):
            other = Command(self.command.name, self.command.script, (*self.command.flags, "--seed", str(seed)))
            begin = time.monotonic()
            if status := other.run(self.folder / name, self.log, often):
                raise InputError(f"{self.command.name}: ended with {status}: {self.log.read_text()[-500:]}")
            self.seconds = time.monotonic() - begin
        self.command = other
        self.old, self.new, again = (bits(self.folder / name) for name in ("old", "new", "again"))
        self.unstable = {name for name in self.new if self.new[name] != again[name]}
        if self.unstable:
            self.unstable.add("run.json")
        self.old, self.new = self.stable(self.old), self.stable(self.new)

    def stable(self, found: dict[str, str]) -> dict[str, str]:
        """Without what differs from run to run."""
        return {name: content for name, content in found.items() if name not in self.unstable}

    def fresh(self, old: bool = False) -> Path:
        """The output folder, empty or with old results."""
        shutil.rmtree(self.output, ignore_errors=True)
        if old:
            shutil.copytree(self.folder / "old", self.output)
        return self.output

    def start(self, prepare: Callable[[], object] = lambda: None) -> int:
        """Start the run."""
        return self.command.start(self.output, self.log, lambda: (often(), prepare()))

    def goes_on(self) -> str:
        """Start it again: "" if it ends with the bits of a run that nothing happened to."""
        if status := status_of(self.start()):
            return f"again: status {status}: {self.log.read_text(errors='replace')[-300:]}"
        found = self.stable(bits(self.output))
        other = sorted(name for name in {*found, *self.new} if found.get(name) != self.new.get(name))
        return f"again: other bits in {', '.join(other)}" if other else ""

    def after_a_fault(self, status: int, expected: tuple[int, ...], tidy: bool = True) -> str:
        """What was left is old, or new, or mixed and refused; a run that ended by itself said so in a line; then `goes_on`.

        `tidy`: a run that ended by itself removes what it has written aside, too.
        """
        if status not in expected:
            return f"status {status}: {self.log.read_text(errors='replace')[-300:]}"
        if not one_line(self.log):
            return f"a traceback: {self.log.read_text()[-300:]}"
        aside = [name for name in left(self.output) if name.endswith(".partial") or name == ".run.lock"]
        if tidy and status != -9 and aside:
            return f"left behind: {', '.join(aside)}"
        state = mixed(self.stable(bits(self.output)), self.old, self.new) if self.output.exists() else "old"
        if state == "mixed" and (self.output / "run.json").exists():
            with contextlib.suppress(InputError):
                require_whole(self.output)
                return "mixed, and the next step is not told"
        return state if state.startswith("half") else self.goes_on()


def often() -> None:
    """Let every epoch write a checkpoint."""
    learning._SECONDS_BETWEEN_CHECKPOINTS = -1
    torch.set_num_threads(1)


@contextlib.contextmanager
def file_system(folder: Path, size: int) -> Iterator[None]:
    """A file system of `size` bytes at `folder`. Raises CalledProcessError of whoever may not make one."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
