"""What step 2 left in a folder, as step 3 reads it: arrays, draws, run record, and how the noise was learned."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shredder.io.cli import InputError
from shredder.io.files import read_array
from shredder.io.reading import RunRecord, map_array, read_table
from shredder.noise.stored import Distributions, load_noise

# Rows whose elements are looked at together, so that a memory map is never in memory as a whole.
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Sample:
    """What step 2 wrote, a row for each of n queries.

    Attributes
    ----------
    images : ndarray, float32, (n, pixels)
    activations, noisy : ndarray, float32, (n, D)
        a and a'.
    labels : ndarray, integer, (n,)
    draws : structured ndarray, (n,)
        Column snr, linear, and accuracies in [0, 1], as in draws.csv.
    record : RunRecord
    shape : tuple of int
        Of one activation; D elements.
    """

    images: np.ndarray
    activations: np.ndarray
    noisy: np.ndarray
    labels: np.ndarray
    draws: np.ndarray
    record: RunRecord
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def formula(self) -> str:
        """What a' is."""
        if self.record.argument("multiplicative"):
            return "w * a + n"
        return "mu + Q y, y = t + s e on a grid" if self.record.argument("fresh") else "a + n"


@dataclass(frozen=True)
class Learned:
    """What is known of how a sample's noise was learned.

    Attributes
    ----------
    curves : structured ndarray or None
        As in step 1's curves.csv.
    record : RunRecord or None
        Step 1's, where there are curves.
    multiplicative, additive : ndarray or None, float32, (N, *activation shape)
        The tensors; None of a method that keeps none.
    missing : str
        What is not there, in a sentence; empty if everything is.
    """

    curves: np.ndarray | None = None
    record: RunRecord | None = None
    multiplicative: np.ndarray | None = None
    additive: np.ndarray | None = None
    missing: str = ""

    @property
    def min_accuracy(self) -> float:
        """What a member's accuracy had to exceed. Raises InputError."""
        name = "accuracy to exceed"
        given = self.record.argument("min_accuracy", float)  # records of before have it here alone
        return self.record.result(name) if given is None or name in self.record.results else given


def load_sample(folder: Path, pixels: int, columns: Iterable[str], mapped: bool = False) -> Sample:
    """Read what step 2 wrote, and check everything about it.

    Parameters
    ----------
    folder : Path
        Step 2's `--output`.
    pixels : int
        Columns of its images.
    columns : iterable of str
        What draws.csv has at least besides snr.
    mapped : bool
        Leave the arrays on disk, as read-only memory maps.

    Raises
    ------
    InputError
        In one line: the file, what was found and what was expected.
    """
    record = RunRecord.read(folder / "run.json")
    n = record.result("queries")
    if not isinstance(n, int) or n < 1:
        raise InputError(f"{record.path}: found {n} queries, expected at least one")
    if not (members := record.result("members")) >= 1:
        raise InputError(f"{record.path}: found {members} members, expected at least one")
    names = ("original_images", "original_activations", "noisy_activations", "labels")
    images, clean, noisy, labels = (_array(folder / f"{name}.npy", record, n, mapped) for name in names)
    if images.shape[1:] != (pixels,):
        raise InputError(f"{folder / names[0]}.npy: found {images.shape}, expected {(n, pixels)}")
    if noisy.shape != clean.shape:
        raise InputError(f"{folder / names[2]}.npy: found {noisy.shape}, expected {clean.shape}, as clean activations have")
    if labels[0].size != 1 or labels.min() < 0:
        raise InputError(f"{folder / names[3]}.npy: found {labels.shape}, least {labels.min()}, expected {(n, 1)}, from 0")
    draws = read_table(record.verified(folder / "draws.csv"), ("snr", *columns))
    accuracies = [draws[name] for name in draws.dtype.names if name != "snr"]
    if len(draws) != n:
        raise InputError(f"{folder / 'draws.csv'}: found {len(draws)} rows, expected {n}, one for each query")
    if not (draws["snr"] >= 0).all() or not all(((column >= 0) & (column <= 1)).all() for column in accuracies):
        raise InputError(f"{folder / 'draws.csv'}: found values out of range, expected snr from 0, accuracies from 0 to 1")
    flat = (array.reshape(n, -1) for array in (images, clean, noisy))
    return Sample(*flat, labels.reshape(n), draws, record, clean.shape[1:])


def load_learned(sample: Sample) -> Learned:
    """Read how the sample's noise was learned, as far as the files are where its record says.

    Raises
    ------
    InputError
        Where a file is there, and damaged or another one's.
    """
    record = sample.record
    flags = [flag for flag in ("fresh", "distributions", "orders", "additive", "multiplicative") if record.argument(flag)]
    places = {flag: record.path_of(flag) for flag in flags}
    gone = [record.arguments[flag] for flag in flags if places[flag] is None]
    if gone or not flags:
        named = ", ".join(gone) or "no noise"
        return Learned(missing=f"{record.path} names {named}, found nowhere: how the noise was learned is not shown")
    tensors = {}
    if "fresh" not in flags:
        files = [places.get(flag) for flag in ("additive", "multiplicative", "distributions", "orders")]
        noise = load_noise(*files, sample.shape, record.argument("skip_rows", int) or 0)
        if not isinstance(noise, Distributions):
            tensors["additive"] = noise.additive.numpy()
            tensors["multiplicative"] = None if noise.multiplicative is None else noise.multiplicative.numpy()
    folder = places["fresh"] if "fresh" in flags else places[flags[0]].parent
    if not (folder / "curves.csv").exists() or not (folder / "run.json").exists():
        missing = (
            f"no curves.csv and run.json in {folder}: this noise was not learned by step 1, so there are no training curves"
        )
        return Learned(**tensors, missing=missing)
    curves = read_table(folder / "curves.csv", ("member", "epoch", "accuracy", "snr"))
    return Learned(curves, RunRecord.read(folder / "run.json"), **tensors)


def _array(path: Path, record: RunRecord, n: int, mapped: bool) -> np.ndarray:
    """An array of step 2: integer labels, or finite float32 values, for `n` queries."""
    record.verified(path)
    labels = path.name == "labels.npy"
    array = map_array(path) if mapped else read_array(path)
    if array.dtype.kind not in "iu" if labels else array.dtype != np.float32:
        raise InputError(f"{path}: found {array.dtype}, expected {'int64' if labels else 'float32'}")
    if array.ndim < 2 or len(array) != n or array.size == 0:
        raise InputError(f"{path}: found {array.shape}, expected {n} rows, the queries of {record.path.name}")
    n_broken = sum(int((~np.isfinite(array[i : i + _ROWS_AT_ONCE])).sum()) for i in range(0, n, _ROWS_AT_ONCE))
    if n_broken:
        raise InputError(f"{path}: found NaN or infinity in {n_broken} of {array.size} elements")
    return array
