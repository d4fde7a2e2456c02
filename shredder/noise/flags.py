"""Flags that name learned noise and how queries draw from it; and what the folder that step 1 hands over says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shredder.io.cli import InputError
from shredder.io.files import sha256
from shredder.io.record import RECORD, path_in, read_record, require_intact, require_whole
from shredder.noise.load import load_folder, load_fresh, load_noise
from shredder.noise.protocol import Stored

# Flags of single files, and of the folder of fresh noise, from elsewhere.
SINGLE = ("additive", "multiplicative", "distributions", "orders", "fresh")


@dataclass(frozen=True)
class NoiseArguments:
    """Flags that name what step 1 has learned, and how queries draw from it."""

    noise: Path | None = None
    """The folder that step 1 has written: its run.json says task, labels, cutting point and draw. Default: the task's shipped
    one."""
    additive: Path | None = None
    """From elsewhere: additive tensors, float32 (N, *activation shape); alone (v1) or with --multiplicative (v2)."""
    multiplicative: Path | None = None
    """Multiplicative tensors, as many (v2)."""
    distributions: Path | None = None
    """Location and scale of learned Laplace distributions, float32 (N, 2); instead of tensors, and with --orders (v3)."""
    orders: Path | None = None
    """For each distribution the elements of the activation, from the one that receives the largest value down, int64 (N, D)."""
    fresh: Path | None = None
    """A folder of fresh-*.npy; instead of all of the above."""
    skip_rows: int = 0
    """Leading rows of the files to leave out; the authors' own files need 1."""
    draw: str | None = None
    """elementwise-laplace: each element from Laplace(its mean, its standard deviation over the tensors), v1's rule.
    order-preserving: a tensor redrawn from the distribution fitted to it, in the order of its elements (v2: w, v3: n).
    verbatim: a stored member. fresh: anew. Default: the rule of what is named above."""


@dataclass(frozen=True)
class Handed:
    """What the run.json in step 1's folder says; None where it does not say, as those of old runs.

    Attributes
    ----------
    task : str, Path or None
        A name in tasks/, or the Python file.
    name : str or None
        What the task calls itself.
    public_labels, cutting_point : str or None
    weights : str or None
        SHA-256 of the served network's.
    rule : str or None
        How queries draw.
    names : mapping of str to str
        Files of the run, to their SHA-256.
    """

    task: str | Path | None
    name: str | None
    public_labels: str | None
    cutting_point: str | None
    weights: str | None
    rule: str | None
    names: Mapping[str, str]


def handed(folder: Path) -> Handed:
    """Read what step 1 hands over in `folder`. Raises InputError."""
    record = read_record(folder / RECORD)
    require_whole(folder)

    def text(part: str, name: str) -> str | None:
        value = record[part].get(name)
        if value is not None and (not isinstance(value, str) or "\0" in value):
            raise InputError(f"{folder / RECORD}: found {value!r:.100} as {name}, expected text")
        return value

    task, command = text("arguments", "task"), str(record.get("command"))
    if task is None and command.startswith("train_noise_"):  # of before tasks
        task = command.removeprefix("train_noise_").removesuffix(".py")
    name = text("results", "task") or task
    if str(task).endswith(".py"):
        task = path_in(folder / RECORD, task)
    names = record.get("files") or {path.name: "" for path in folder.glob("*.npy")}
    cut = text("arguments", "public_labels"), text("arguments", "cutting_point")
    weights, path = text("results", "weights (SHA-256)"), text("arguments", "weights")
    if weights is None and path:  # of before it was recorded, if it still lies there
        path = path_in(folder / RECORD, path)
        weights = sha256(path) if path.is_file() else None
    return Handed(task, name, *cut, weights, text("results", "draw"), names)


def source_of(args: Any, shape: tuple[int, ...]) -> Stored:
    """What `args`, of a class with NoiseArguments' flags, name; checked against the activation's shape. Raises InputError."""
    singles = {name: getattr(args, name) for name in SINGLE if getattr(args, name) is not None}
    if args.noise:
        if singles:
            raise InputError(f"--noise: found --{next(iter(singles))} beside it; expected one or the other")
        return load_folder(args.noise, handed(args.noise).names, shape, args.skip_rows)
    for path in noise_files(args):
        require_intact(path)
    if "fresh" not in singles:
        return load_noise(args.additive, args.multiplicative, args.distributions, args.orders, shape, args.skip_rows)
    if len(singles) > 1 or args.skip_rows:
        raise InputError("--fresh: found other noise or --skip-rows beside it; expected one or the other")
    return load_fresh(args.fresh, shape)


def noise_files(args: Any) -> list[Path]:
    """The files that `args`, of a class with NoiseArguments' flags, name."""
    single = [getattr(args, name) for name in SINGLE[:-1]]
    return [path for path in single if path] + [
        path for folder in (args.noise, args.fresh) if folder for path in sorted(folder.glob("*.npy"))
    ]
