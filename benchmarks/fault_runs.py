"""Runs of the steps, each in a process of its own that something happens to: what `benchmarks.faults` is made of."""

import builtins
import contextlib
import errno
import hashlib
import io
import json
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

# Every run is a fork of a process that has imported them.
import attack  # noqa: F401
import sample_mutual_info  # noqa: F401
import train_noise  # noqa: F401

ROOT = Path(__file__).parents[1]
# What no finished run leaves in its folder.
LEFT = ("checkpoint.pt", "checkpoint-before.pt", ".claim.json", ".run.lock")
# Seconds after which a run is said to hang.
PATIENCE = 600


@dataclass(frozen=True)
class Command:
    """A step of a task.

    Attributes
    ----------
    name : str
    script : str
    flags : tuple of str
        But for `--output`.
    """

    name: str
    script: str
    flags: tuple[str, ...]

    def start(self, output: Path, log: Path, prepare: Callable[[], Any] = lambda: None) -> int:
        """Start it in a process of its own, which calls `prepare` first; the process's number."""
        # A signal that fell before the `try` would let the process go on as its parent does.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        if pid := os.fork():
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return pid
        status = 70
        try:
            for number in (signal.SIGTERM, signal.SIGHUP):  # the campaign, a script itself, has set what they do
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(written, 1)
            os.dup2(written, 2)
            # By lines, for _exit writes nothing that is left.
            sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
            sys.argv = [self.script, *self.flags, "--output", str(output)]
            prepare()
            runpy.run_path(str(ROOT / self.script), run_name="__main__")
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
            os.write(2, f"{end.code}\n".encode())
        except KeyboardInterrupt:  # before the script has begun
            status = 130
        except BaseException:
            import traceback

            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)

    def run(self, output: Path, log: Path, prepare: Callable[[], Any] = lambda: None) -> int:
        """Run it to its end; its status."""
        return status_of(self.start(output, log, prepare))


def status_of(pid: int) -> int:
    """The status with which a process ends, negative for a signal."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise TimeoutError(f"process {pid} has not ended after {PATIENCE} seconds")


def bits(folder: Path) -> dict[str, str]:
    """Files of a folder and their SHA-256; of a record the files that it lists."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "run.json":
            content = json.dumps(json.loads(content)["files"], sort_keys=True).encode()
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def left(folder: Path) -> list[str]:
    """What a run has left in its folder that is no result."""
    return [path.name for path in folder.rglob("*") if path.name in LEFT or path.name.endswith(".partial")]


def one_line(log: Path) -> bool:
    """Whether a run has ended without a traceback."""
    return "Traceback" not in log.read_text(errors="replace")


def small_network() -> nn.Module:
    """Of the task `arrays`: 8 x 8 pixels, two labels."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 2))


def write_arrays(folder: Path) -> tuple[str, ...]:
    """Arrays, and the weights of a network that tells which half is brighter; the flags that name them."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 400), ("test", 100)):
        images = rng.normal(size=(n, 1, 8, 8)).astype(np.float32)
        quarter = rng.integers(0, 4, n)
        for image, where in zip(images, quarter, strict=True):
            image[0, 4 * (where // 2) :, 4 * (where % 2) :][:4, :4] += 2
        np.savez(folder / f"{part}.npz", images=images, public=quarter // 2, private=quarter)
    network = small_network()
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.zero_()
        network[0].weight[:, :, 1, 1] = 1
        network[3].weight.view(2, 4, 6, 6)[0, :, :3] = network[3].weight.view(2, 4, 6, 6)[1, :, 3:] = 0.1
    torch.save(network.state_dict(), folder / "weights.pth")
    return (
        "--task",
        "arrays:benchmarks.fault_runs:small_network",
        "--data-root",
        str(folder),
        "--weights",
        str(folder / "weights.pth"),
    )


class Disk:
    """Counts what a process does to files in a folder, and lets one of these calls go wrong.

    Parameters
    ----------
    folder : Path
    counted : Path
        Outside of it: receives a line for each call.
    at : int
        Which call, from 0; of -1 none.
    fault : str
        error: the disk says that it is full, and nothing is done. kill: the process is killed before the call. torn: half is
        written, then it is killed. short: half is written, which the call says. The last two are of writing alone; other calls
        are made.
    """

    def __init__(self, folder: Path, counted: Path, at: int = -1, fault: str = ""):
        self.folder, self.at, self.fault, self.n = str(folder.resolve()) + os.sep, at, fault, 0
        self.counted = os.open(counted, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.write = os.write

    def __call__(self) -> None:
        """From now on, in this process."""
        for name in ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "truncate", "link", "symlink"):
            setattr(os, name, self.watched(name, getattr(os, name)))
        for name in ("fsync", "ftruncate", "posix_fallocate"):
            setattr(os, name, self.watched(name, getattr(os, name)))
        opened, os.open = os.open, lambda path, flags, *more, **named: self.opened(opened, path, flags, *more, **named)
        builtins.open = io.open = self.file_opened(io.open)

    def ours(self, path: Any) -> bool:
        """Whether a path, or an open file, is in the folder."""
        if isinstance(path, int):
            with contextlib.suppress(OSError):
                return (os.readlink(f"/proc/self/fd/{path}") + os.sep).startswith(self.folder)
            return False
        return (os.path.realpath(os.path.dirname(os.path.abspath(os.fspath(path)))) + os.sep).startswith(self.folder) or (
            os.path.abspath(os.fspath(path)) + os.sep == self.folder
        )

    def call(self, name: str, path: Any) -> bool:
        """Count a call; whether it goes wrong in a way that is left to whoever makes it."""
        self.write(self.counted, f"{name} {path}\n".encode())
        number, self.n = self.n, self.n + 1
        if number != self.at:
            return False
        if self.fault == "error":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return name == "write"

    def watched(self, name: str, usual: Callable) -> Callable:
        """A function of `os` that is counted."""

        def called(path: Any, *more: Any, **named: Any) -> Any:
            if self.ours(path):
                self.call(name, path)
            return usual(path, *more, **named)

        return called

    def opened(self, usual: Callable, path: Any, flags: int, *more: Any, **named: Any) -> int:
        """`os.open`."""
        if flags & (os.O_WRONLY | os.O_RDWR) and self.ours(path):
            self.call("open", path)
        return usual(path, flags, *more, **named)

    def file_opened(self, usual: Callable) -> Callable:
        """`open`, whose files are counted when they are written."""
        disk = self

        class Raw(io.FileIO):
            def write(self, content: Any) -> int:
                if disk.call("write", self.name):
                    half = memoryview(content).cast("B")[: max(1, memoryview(content).nbytes // 2)]
                    written = super().write(half)
                    if disk.fault == "torn":
                        os.kill(os.getpid(), signal.SIGKILL)
                    return written
                return super().write(content)

        def opened(path: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
                   newline: Any = None, closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
            if isinstance(path, int) or not set(mode) & set("wax+") or not disk.ours(path):
                return usual(path, mode, buffering, encoding, errors, newline, closefd, opener)
            disk.call("open", path)
            raw = Raw(os.fspath(path), mode.replace("b", "").replace("t", ""), closefd, opener)
            buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

        return opened


def mixed(found: Mapping[str, str], old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Whether a folder's results are old, new or mixed; or half-written, which they must never be."""
    found, old, new = ({name: of[name] for name in of if name not in LEFT} for of in (found, old, new))
    results = {name: content for name, content in found.items() if name in old or name in new}
    half = [name for name, content in results.items() if content not in (old.get(name), new.get(name))]
    if half:
        return f"half-written: {', '.join(half)}"
    return "old" if results == old else "new" if results == new else "mixed"
