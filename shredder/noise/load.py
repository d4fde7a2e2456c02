"""Stored noise read from disk, and everything about it checked: single files, or the folder that step 1 has written."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from shredder.io.cli import InputError
from shredder.io.files import read_array
from shredder.noise.dropout import ChannelDropout
from shredder.noise.flipped import Flipped
from shredder.noise.fresh import Form, Fresh
from shredder.noise.gaussian import Gaussian
from shredder.noise.protocol import Stored
from shredder.noise.stored import Collection, Distributions


def load_folder(folder: Path, names: Mapping[str, str], shape: tuple[int, ...], skip_rows: int = 0) -> Stored:
    """What step 1 has written to `folder`, of which its record lists `names`. Raises InputError."""
    for kind, load in KINDS.items():
        if kind.NAMES[0] in names:
            return load(folder, names, shape, skip_rows)
    known = ", ".join(kind.NAMES[0] for kind in KINDS)
    raise InputError(f"--noise {folder}: found no noise among the files of its run.json, expected one of {known}")


def names_of_files() -> tuple[str, ...]:
    """All files that noise may be stored in."""
    return tuple(name for kind in KINDS for name in kind.NAMES)


def load_noise(
    additive: Path | None,
    multiplicative: Path | None,
    distributions: Path | None,
    orders: Path | None,
    shape: tuple[int, ...],
    skip_rows: int = 0,
) -> Collection | Distributions:
    """Read what was learned: tensors (v1, v2), or distributions and orders (v3). Raises InputError, also if both are named."""
    if distributions is None and orders is None:
        if additive is None:
            raise InputError("--additive: not named; expected it beside --multiplicative, with which it was learned")
        return load_collection(additive, multiplicative, shape, skip_rows)
    if distributions is None or orders is None:
        missing = "--orders" if orders is None else "--distributions"
        raise InputError(f"{missing}: not named; expected both --distributions and --orders, which step 1 wrote together")
    if additive is not None or multiplicative is not None:
        raise InputError("--distributions, --orders: found tensors beside them; expected one or the other")
    return load_distributions(distributions, orders, shape, skip_rows)


def load_distributions(distributions: Path, orders: Path, shape: tuple[int, ...], skip_rows: int = 0) -> Distributions:
    """Read learned distributions and check everything about them.

    Parameters
    ----------
    distributions, orders : Path
        `.npy` files: location and scale, floating point (N, 2); a permutation of the D elements for each, integer (N, D).
    shape, skip_rows
        As for `load_collection`.

    Raises
    ------
    InputError
        Names the file, what was found and what was expected.
    """
    parameters, order = read_array(distributions, "--distributions"), read_array(orders, "--orders")
    n_elements = math.prod(shape)
    if parameters.dtype.kind != "f" or parameters.shape[1:] != (2,) or len(parameters) == 0:
        raise InputError(
            f"--distributions {distributions}: found {parameters.dtype} {parameters.shape}, expected float32 (N, 2), "
            "location and scale"
        )
    if order.dtype.kind not in "iu" or order.shape != (len(parameters), n_elements):
        raise InputError(
            f"--orders {orders}: found {order.dtype} {order.shape}, expected int64 {(len(parameters), n_elements)}: "
            f"for each of the {len(parameters)} distributions an order of {' x '.join(map(str, shape))} elements"
        )
    with np.errstate(over="ignore"):
        parameters = parameters.astype(np.float32)  # where a scale may become 0 or infinite
    broken = np.flatnonzero(~np.isfinite(parameters).all(1) | ~(parameters[:, 1] > 0))
    if len(broken):
        location, scale = parameters[broken[0]]
        raise InputError(
            f"--distributions {distributions}: row {broken[0]} has location {location:g} and scale {scale:g}, "
            "expected finite numbers and a scale above 0"
        )
    broken = np.flatnonzero((np.sort(order, axis=1) != np.arange(n_elements)).any(1))
    if len(broken):
        raise InputError(f"--orders {orders}: row {broken[0]} is not a permutation of 0 to {n_elements - 1}")
    _check_rows_to_skip(skip_rows, distributions, len(parameters))
    order = order[skip_rows:].astype(np.int64)
    return Distributions(torch.from_numpy(parameters[skip_rows:]), torch.from_numpy(order), shape)


def load_collection(additive: Path, multiplicative: Path | None, shape: tuple[int, ...], skip_rows: int = 0) -> Collection:
    """Read a collection and check everything about it.

    Parameters
    ----------
    additive, multiplicative : Path
        `.npy` files, float32, (N, *shape); None where the method learns no multiplicative tensor.
    shape : tuple of int
        Of one activation at the cutting point.
    skip_rows : int
        Leading rows to leave out: 1 for the authors' files, whose row 0 is a placeholder.

    Raises
    ------
    InputError
        Names the file, what was found and what was expected.
    """
    w = None if multiplicative is None else _load_tensors(multiplicative, "--multiplicative", shape)
    n = _load_tensors(additive, "--additive", shape)
    if w is not None and len(w) != len(n):
        raise InputError(
            f"--additive {additive} holds {len(n)} tensors, --multiplicative {multiplicative} {len(w)}; "
            "expected as many of each, since they were learned in pairs"
        )
    _check_rows_to_skip(skip_rows, additive, len(n))
    return Collection(None if w is None else w[skip_rows:], n[skip_rows:])


def _check_rows_to_skip(skip_rows: int, path: Path, n: int) -> None:
    if skip_rows < 0 or skip_rows >= n:
        raise InputError(f"--skip-rows: found {skip_rows}, expected 0 to {n - 1}, for {path} has {n} rows")


def _load_tensors(path: Path, flag: str, shape: tuple[int, ...]) -> Tensor:
    array = read_array(path, flag)
    expected = f"expected float32 (N, {', '.join(map(str, shape))})"
    if array.dtype != np.float32 or array.shape[1:] != shape or len(array) == 0:
        raise InputError(f"{flag} {path}: found {array.dtype} {array.shape}, {expected}")
    n_broken = int((~np.isfinite(array)).sum())
    if n_broken:
        raise InputError(f"{flag} {path}: found NaN or infinity in {n_broken} of {array.size} elements")
    return torch.from_numpy(array)


def load_fresh(folder: Path, shape: tuple[int, ...]) -> Fresh:
    """Read what `--method fresh` has written to `folder`, and check everything about it. Raises InputError."""
    paths = {field.name: folder / f"fresh-{field.name}.npy" for field in fields(Fresh)}
    if not (with_hidden := paths["hidden"].exists()):  # readings are linear
        del paths["hidden"]
    arrays = {name: read_array(path, "--fresh") for name, path in paths.items()}
    form = str(arrays.pop("form"))
    _require_fresh(form in get_args(Form), folder, "form", repr(form), f"one of {', '.join(get_args(Form))}")
    r = arrays["directions"].shape[-1] if arrays["directions"].ndim else 0
    d = math.prod(shape)
    units = arrays["hidden"].shape[-1] if with_hidden and arrays["hidden"].ndim else d
    expected = {"additive": shape, "directions": (d, r), "readings": (units, r), "hidden": (d + 1, units)}
    for name, array in arrays.items():
        found = f"{array.dtype} {array.shape}"
        of_shape = expected.get(name, (r,))
        _require_fresh(
            array.dtype == np.float32 and array.shape == of_shape and array.size, folder, name, found, f"float32 {of_shape}"
        )
        if name == "limits" and form == "linear":
            _require_fresh((array == np.inf).all(), folder, name, "finite limits", "infinite ones, for the form is linear")
            continue
        _require_fresh(np.isfinite(array).all(), folder, name, "NaN or infinity", "finite numbers")
    for name in ("limits", "scales"):
        _require_fresh((arrays[name] > 0).all(), folder, name, arrays[name].min(), "numbers above 0")
    q = arrays["directions"].astype(np.float64)
    _require_fresh(np.allclose(q.T @ q, np.eye(r), atol=1e-4), folder, "directions", "other columns", "orthonormal ones")
    _require_fresh(form != "flipped" or r == 1, folder, "form", f"flipped with {r} directions", "one direction")
    return OF_FORM[form](form, **{name: torch.from_numpy(array) for name, array in arrays.items()})


def _require_fresh(condition: bool, folder: Path, name: str, found: object, expected: str) -> None:
    if not condition:
        raise InputError(f"--fresh {folder / f'fresh-{name}.npy'}: found {found}, expected {expected}")


def _collection(folder: Path, names: Mapping[str, str], shape: tuple[int, ...], skip_rows: int) -> Collection:
    additive, multiplicative = (folder / name if name in names else None for name in Collection.NAMES)
    return load_collection(additive, multiplicative, shape, skip_rows)


def _distributions(folder: Path, names: Mapping[str, str], shape: tuple[int, ...], skip_rows: int) -> Distributions:
    return load_distributions(*(folder / name for name in Distributions.NAMES), shape, skip_rows)


def _fresh(folder: Path, names: Mapping[str, str], shape: tuple[int, ...], skip_rows: int) -> Fresh:
    _require_no_rows_to_skip(skip_rows)
    return load_fresh(folder, shape)


def _gaussian(folder: Path, names: Mapping[str, str], shape: tuple[int, ...], skip_rows: int) -> Gaussian:
    _require_no_rows_to_skip(skip_rows)
    scales, additive = (read_array(folder / name, "--noise") for name in Gaussian.NAMES)
    for name, array in zip(Gaussian.NAMES, (scales, additive), strict=True):
        _require_like(folder / name, array, shape)
    _require(np.isfinite(additive).all(), folder / Gaussian.NAMES[1], "NaN or infinity", "finite numbers")
    _require((scales > 0).all(), folder / Gaussian.NAMES[0], scales.min(), "numbers above 0; infinity where nothing is sent")
    return Gaussian(torch.from_numpy(additive), torch.from_numpy(scales))


def _dropout(folder: Path, names: Mapping[str, str], shape: tuple[int, ...], skip_rows: int) -> ChannelDropout:
    _require_no_rows_to_skip(skip_rows)
    path = folder / ChannelDropout.NAMES[0]
    kept = read_array(path, "--noise")
    _require_like(path, kept, shape[:1])
    _require(((kept > 0) & (kept <= 1)).all(), path, f"{kept.min()} to {kept.max()}", "shares above 0, and at most 1")
    return ChannelDropout(torch.from_numpy(kept), shape)


def _require_like(path: Path, array: np.ndarray, shape: tuple[int, ...]) -> None:
    _require(array.dtype == np.float32 and array.shape == shape, path, f"{array.dtype} {array.shape}", f"float32 {shape}")


def _require(condition: bool, path: Path, found: object, expected: str) -> None:
    if not condition:
        raise InputError(f"--noise {path}: found {found}, expected {expected}")


def _require_no_rows_to_skip(skip_rows: int) -> None:
    if skip_rows:
        raise InputError(f"--skip-rows: found {skip_rows}, expected 0, for this noise has no members")


# What noise of a form is.
OF_FORM: dict[str, type[Fresh]] = dict.fromkeys(get_args(Form), Fresh) | {"flipped": Flipped}
# What methods may store, and how it is read from a folder. The first file of a kind tells it from the others.
KINDS: dict[type[Stored], Callable[[Path, Mapping[str, str], tuple[int, ...], int], Stored]] = {
    Fresh: _fresh,
    Distributions: _distributions,
    Collection: _collection,
    Gaussian: _gaussian,
    ChannelDropout: _dropout,
}
