"""Damaged files of every kind that is read: how many are refused by name, how many accepted, and whether anything else happens.

    python -m benchmarks.hostile --seconds 600 --data-root data        or --files 20000

Each file is made by the steps themselves or taken from a data set at hand, damaged at random, and read as the steps read it,
in a process of limited memory and time (docs/reliability.md). Files whose checksum is known are *sealed*: of them none with
another content may be accepted. The status is 1 if there was anything else than a refusal that names the file, or an
acceptance; what did it is kept in `--output`.
"""

import hashlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.damages import damaged
from benchmarks.hostile_files import made
from benchmarks.hostile_runs import Kind
from models.weights import WeightsError
from shredder.io.cli import InputError, require_at_least, script
from shredder.io.files import write_together
from shredder.io.record import Record
from shredder.io.terminal import progress

REFUSED, SAME, ACCEPTED = "refused, with the file's name", "accepted, and says the same", "accepted, and says something else"
UNNOTICED, UNNAMED = "accepted, though its checksum differs", "refused, without the file's name"
FINE = (REFUSED, SAME, ACCEPTED)


@dataclass(frozen=True)
class Arguments:
    """Damage files, and count what becomes of them."""

    seconds: float | None = None
    """How long. Default: until --files are read."""
    files: int = 20_000
    """Damaged files at most, of all kinds in turn."""
    seed: int = 0
    """What is damaged, and how."""
    data_root: Path = Path("data")
    """Folder of MNIST and CIFAR-10; what is not there is left out."""
    kinds: str = ""
    """Only kinds with this in their name."""
    memory: float = 1.0
    """GB that reading a file may take."""
    timeout: float = 10.0
    """Seconds that reading a file may take."""
    output: Path = Path("runs/benchmarks/hostile")
    """Folder for the run record, and for files that ended in something else."""


def said(value: Any, found: "hashlib._Hash | None" = None) -> str:
    """A digest of a value and of all that is in it."""
    found = hashlib.sha256() if found is None else found
    if isinstance(value, Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        found.update(f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict | list | tuple):
        found.update(f"{type(value).__name__} {len(value)}".encode())
        for part in value.items() if isinstance(value, dict) else value:
            said(part, found)
    else:
        found.update(repr(value).encode())
    return found.hexdigest()


def verdict(kind: Kind, expected: str) -> str:
    """What reading a file of this kind comes to."""
    try:
        value = said(kind.read())
    except (InputError, WeightsError) as error:
        message = str(error)
        named = kind.path.name in message or str(kind.path.parent) in message
        return REFUSED if named and "\n" not in message else f"{UNNAMED}: {message[:200]}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    if value == expected:
        return SAME
    return UNNOTICED if kind.sealed else ACCEPTED


def reader(kinds: list[Kind], expected: list[str], args: Arguments, link: Connection) -> None:
    """Reads what it is told to, for ever, with memory and time limited."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(args.memory * 1e9),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    warnings.simplefilter("ignore")
    while (number := link.recv()) is not None:
        signal.setitimer(signal.ITIMER_REAL, args.timeout)  # its default is to end the process
        found = verdict(kinds[number], expected[number])
        signal.setitimer(signal.ITIMER_REAL, 0)
        link.send(found)


class Reader:
    """A process that reads, and another one when it has ended."""

    def __init__(self, *work: Any):
        self.work, self.process = work, None

    def read(self, number: int) -> str:
        """What reading the file of a kind comes to."""
        if self.process is None:
            self.link, theirs = multiprocessing.Pipe()
            self.process = multiprocessing.get_context("fork").Process(target=reader, args=(*self.work, theirs), daemon=True)
            self.process.start()
            theirs.close()
        self.link.send(number)
        try:
            return self.link.recv()
        except EOFError:
            self.process.join()
            status, self.process = self.process.exitcode, None
            return "no end" if status == -signal.SIGALRM else f"the process ended with status {status}"

    def end(self) -> None:
        """End the process."""
        if self.process is not None:
            self.link.send(None)
            self.process.join()


def campaign(args: Arguments, kinds: list[Kind], report: Callable[[str, str, bytes], None]) -> tuple[Counter, int]:
    """Damage and read; `report` is given the kind, the verdict and the content of what ended in something else."""
    contents = [kind.path.read_bytes() for kind in kinds]
    expected = [said(kind.read()) for kind in kinds]
    small = [content for content in contents if len(content) < 10**6]
    counts, begin, n = Counter(), time.monotonic(), 0
    process = Reader(kinds, expected, args)
    with progress(args.files, unit="file") as bar:
        while n < args.files and (args.seconds is None or time.monotonic() - begin < args.seconds):
            number = n % len(kinds)
            kind, content = kinds[number], contents[number]
            some = damaged(content, small, np.random.default_rng([args.seed, n]))
            n += 1
            bar.update()
            if some == content:
                counts[kind.name, SAME] += 1
                continue
            kind.path.write_bytes(some)
            found = process.read(number)
            kind.path.write_bytes(content)
            known = found if found in FINE else "anything else"
            counts[kind.name, known] += 1
            if known not in FINE:
                report(kind.name, found, some)
    process.end()
    return counts, n


def main(args: Arguments) -> None:
    """Print what became of the files, and write it down."""
    require_at_least(args, files=1, seconds=0, seed=0, memory=0.1, timeout=1)
    record = Record(args)
    args.output.mkdir(parents=True, exist_ok=True)
    others: list[str] = []

    def report(kind: str, found: str, content: bytes) -> None:
        others.append(f"{kind}: {found}")
        kept = args.output / f"{len(others):04}-{kind.replace(' ', '-').replace('/', '-')}"
        kept.write_bytes(content)
        print(f"{kept}: {found}")

    with tempfile.TemporaryDirectory() as folder:
        kinds = [kind for kind in made(Path(folder), args.data_root) if args.kinds in kind.name]
        counts, n = campaign(args, kinds, report)
    names = (*FINE, "anything else")
    width = max(len(kind.name) for kind in kinds)
    for kind in kinds:
        print(
            f"{kind.name:{width}}  {'sealed' if kind.sealed else '':6}  "
            + "  ".join(f"{counts[kind.name, name]:6}" for name in names)
        )
    results = {"kinds": len(kinds), "files": n} | {name: sum(counts[kind.name, name] for kind in kinds) for name in names}
    results |= {f"sealed: {name}": sum(counts[kind.name, name] for kind in kinds if kind.sealed) for name in names}
    for name, value in results.items():
        print(f"{name:42} {value:8}")
    write_together({args.output / "run.json": record.content(results)})
    if others:
        sys.exit(1)


if __name__ == "__main__":
    script(main, Arguments)
