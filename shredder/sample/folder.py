"""What step 2 left in a folder, as step 3 reads it: arrays, draws, run record, and how the noise was learned."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.recfunctions import rename_fields

from shredder.io.cli import InputError
from shredder.io.reading import RunRecord, in_parts, map_array, read_table
from shredder.io.record import require_intact
from shredder.noise.load import load_noise, names_of_files

# Files of one tensor for each member, and the flags that name them.
_STORED = ("distributions", "orders", "additive", "multiplicative")
# What records of old runs do not say: the task of a command, and the shape of an input of so many elements.
_OLD_TASKS = {"sample_mutual_info_lenet.py": "lenet", "sample_mutual_info_alexnet.py": "alexnet"}
_OLD_SHAPES = {1024: (1, 32, 32), 150_528: (3, 224, 224)}


@dataclass(frozen=True)
class Sample:
    """What step 2 wrote, a row for each of n queries. Arrays of floats are read-only memory maps.

    Attributes
    ----------
    images : ndarray, float32, (n, elements of an input)
    activations, noisy : ndarray, float32, (n, D)
        a and a'.
    labels, public_labels : ndarray, integer, (n,)
        The class, which is the private label where one is left; what the cloud answers.
    draws : structured ndarray, (n,)
        Column snr, linear, and public_accuracy and perhaps private_accuracy in [0, 1].
    record : RunRecord
    noise : mapping
        By flag: the files of the noise, or a folder (`fresh`; `folder` of other noise); None where it is no longer there.
    image_shape, shape : tuple of int
        Of one input and of one activation, which has D elements.
    """

    images: np.ndarray
    activations: np.ndarray
    noisy: np.ndarray
    labels: np.ndarray
    public_labels: np.ndarray
    draws: np.ndarray
    record: RunRecord
    noise: Mapping[str, Path | None]
    image_shape: tuple[int, ...]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def task(self) -> str:
        """Its name; empty where the record does not say."""
        return _task(self.record)

    @property
    def public_name(self) -> str:
        """What the public labels are called."""
        return _public_name(self.record)

    @property
    def private(self) -> bool:
        """Whether a private label is left beside the public one."""
        return "private_accuracy" in self.draws.dtype.names

    @property
    def clean_accuracy(self) -> float | None:
        """Public accuracy without noise, in [0, 1]; None where the record does not say."""
        clean = self.record.number("clean public accuracy")
        return self.record.number("clean accuracy") if clean is None else clean

    @property
    def formula(self) -> str:
        """What a' is."""
        if isinstance(found := self.record.results.get("a' is"), str):
            return found
        draw = self.record.argument("draw")  # all that old records say
        if "fresh" in self.noise or draw == "fresh":
            return "mu + Q y"
        if "multiplicative" in self.noise:
            return "w * a + n"
        return "a + n" if self.noise.keys() & {"additive", "distributions"} or draw == "elementwise-laplace" else "a + noise"


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
    def min_accuracy(self) -> float | None:
        """What a member's accuracy had to exceed, in [0, 1]; None where the record does not say. Raises InputError."""
        reached = self.record.number("accuracy to exceed")
        return self.record.argument("min_accuracy", float) if reached is None else reached  # there alone in old records

    @property
    def min_epochs(self) -> float | None:
        """The epoch after which members were accepted; None where the record does not say. Raises InputError."""
        return self.record.number("epochs before acceptance")


def load_sample(folder: Path) -> Sample:
    """Read what step 2 wrote for any task, today or of old, and check everything about it.

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
    paths = [folder / f"{name}.npy" for name in ("original_images", "original_activations", "noisy_activations")]
    images, clean, noisy = (_array(path, record, n) for path in paths)
    image_shape = _image_shape(record, paths[0], images)
    if noisy.shape != clean.shape:
        raise InputError(f"{paths[2]}: found {noisy.shape}, expected {clean.shape}, as clean activations have")
    labels = _labels(folder / "labels.npy", record, n)
    flat = (array.reshape(n, -1) for array in (images, clean, noisy))
    rows = labels, _public_labels(folder, record, labels), _draws(folder / "draws.csv", record, n)
    sample = Sample(*flat, *rows, record, _noise(record), image_shape, clean.shape[1:])
    _ = sample.clean_accuracy, sample.formula  # refused here if the record has something else there, before any work
    return sample


def load_learned(sample: Sample) -> Learned:
    """Read how the sample's noise was learned, as far as the files are where its record says.

    Raises
    ------
    InputError
        Where a file is there, and damaged or another one's.
    """
    record, places = sample.record, sample.noise
    gone = [flag for flag, place in places.items() if place is None]
    if gone or not places:
        named = record.argument("noise") or ", ".join(record.arguments[flag] for flag in gone) or "no noise"
        return Learned(missing=f"{record.path} names {named}, found nowhere: how the noise was learned is not shown")
    folder, tensors = places.get("fresh") or places.get("folder"), {}
    if folder is None:
        folder = next(iter(places.values())).parent
        for place in places.values():
            require_intact(place)
        files = [places.get(flag) for flag in ("additive", "multiplicative", "distributions", "orders")]
        noise = load_noise(*files, sample.shape, record.argument("skip_rows", int) or 0)
        if "additive" in places:
            tensors["additive"] = noise.additive.numpy()
            tensors["multiplicative"] = None if noise.multiplicative is None else noise.multiplicative.numpy()
    if not (folder / "curves.csv").exists() or not (folder / "run.json").exists():
        missing = (
            f"no curves.csv and run.json in {folder}: this noise was not learned by step 1, so there are no training curves"
        )
        return Learned(**tensors, missing=missing)
    of_step_1 = RunRecord.read(folder / "run.json")
    curves = read_table(of_step_1.verified(folder / "curves.csv"), ("member", "epoch", "accuracy", "snr"))
    learned = Learned(curves, of_step_1, **tensors)
    _ = learned.min_accuracy, learned.min_epochs  # refused here if they are no numbers, before any work
    return learned


def _task(record: RunRecord) -> str:
    return str(record.results.get("task") or record.argument("task") or _OLD_TASKS.get(record.command, ""))


def _public_name(record: RunRecord) -> str:
    return record.argument("public_labels") or ("gt5" if _task(record) == "lenet" else "class")


def _image_shape(record: RunRecord, path: Path, images: np.ndarray) -> tuple[int, ...]:
    n_elements = images[0].size
    shape = record.shape("image shape") or _OLD_SHAPES.get(n_elements)
    if shape is None:
        raise InputError(
            f"{record.path}: found no image shape, and {n_elements} elements an input in {path.name}, which do not tell it"
        )
    if images.ndim != 2 or math.prod(shape) != n_elements:
        raise InputError(f"{path}: found {images.shape}, expected {(len(images), math.prod(shape))}, images of {shape}")
    return shape


def _public_labels(folder: Path, record: RunRecord, labels: np.ndarray) -> np.ndarray:
    """What the cloud answers; in old runs a function of the class."""
    path = folder / "public_labels.npy"
    if path.name in record.files or record.argument("task") or (not record.files and path.exists()):
        return _labels(path, record, len(labels))
    return (labels > 5).astype(labels.dtype) if _public_name(record) == "gt5" else labels


def _draws(path: Path, record: RunRecord, n: int) -> np.ndarray:
    draws = read_table(record.verified(path), ("snr",))
    draws = draws if "public_accuracy" in draws.dtype.names else rename_fields(draws, {"accuracy": "public_accuracy"})
    names = [name for name in ("public_accuracy", "private_accuracy") if name in draws.dtype.names]
    if "public_accuracy" not in names:
        raise InputError(f"{path}: found columns {', '.join(draws.dtype.names)}, expected snr, public_accuracy")
    if len(draws) != n:
        raise InputError(f"{path}: found {len(draws)} rows, expected {n}, one for each query")
    if not (draws["snr"] >= 0).all() or not all(((draws[name] >= 0) & (draws[name] <= 1)).all() for name in names):
        raise InputError(f"{path}: found values out of range, expected snr from 0, accuracies from 0 to 1")
    return draws


def _noise(record: RunRecord) -> dict[str, Path | None]:
    """Where the noise is that the record names, by flag; None where it is no longer there."""
    if not record.argument("noise"):
        return {flag: record.path_of(flag) for flag in ("fresh", *_STORED) if record.argument(flag)}
    folder = record.path_of("noise")
    if folder is None or not folder.is_dir():
        return {"noise": None}
    listed = RunRecord.read(folder / "run.json").files if (folder / "run.json").exists() else {}
    names = set(listed) or {path.name for path in folder.iterdir()}
    if any(name.startswith("fresh-") for name in names):
        return {"fresh": folder}
    places = {flag: folder / f"{flag}.npy" for flag in _STORED if f"{flag}.npy" in names}
    if not places and names & set(names_of_files()):
        return {"folder": folder}
    return {flag: path if path.exists() else None for flag, path in places.items()} or {"noise": None}


def _labels(path: Path, record: RunRecord, n: int) -> np.ndarray:
    """Integers from 0, (n,)."""
    labels = _array(path, record, n, integer=True)
    if labels[0].size != 1 or labels.min() < 0:
        raise InputError(f"{path}: found {labels.shape}, least {labels.min()}, expected {(n, 1)}, from 0")
    return np.array(labels).reshape(n)


def _array(path: Path, record: RunRecord, n: int, integer: bool = False) -> np.ndarray:
    """An array of step 2, mapped: labels, or finite float32 values, for `n` queries."""
    array = map_array(record.verified(path))
    if array.dtype.kind not in "iu" if integer else array.dtype != np.float32:
        raise InputError(f"{path}: found {array.dtype}, expected {'int64' if integer else 'float32'}")
    if array.ndim < 2 or len(array) != n or array.size == 0:
        raise InputError(f"{path}: found {array.shape}, expected {n} rows, the queries of {record.path.name}")
    n_broken = sum(int((~np.isfinite(some)).sum()) for some in in_parts(array))
    if n_broken:
        raise InputError(f"{path}: found NaN or infinity in {n_broken} of {array.size} elements")
    return array
