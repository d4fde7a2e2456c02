"""What is stored of learned noise, and read again."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shredder.io.cli import InputError
from shredder.io.files import npy, read_array
from shredder.noise.tensors import laplace_fit


@dataclass(frozen=True)
class Collection:
    """Learned noise tensors: N pairs of multiplicative w and additive n, each float32 (N, *activation shape).

    Methods that learn no w, as v1, have None for it.
    """

    multiplicative: Tensor | None
    additive: Tensor

    def __len__(self) -> int:
        return len(self.additive)

    def files(self, folder: Path) -> dict[Path, bytes]:
        """The collection as one `.npy` file in `folder` for each kind of tensor, to be written together."""
        tensors = {"additive.npy": self.additive, "multiplicative.npy": self.multiplicative}
        return {folder / name: npy(tensor.numpy()) for name, tensor in tensors.items() if tensor is not None}


@dataclass(frozen=True)
class Distributions:
    """Learned Laplace distributions of additive noise, as v3 stores them.

    Attributes
    ----------
    parameters : Tensor, float32, (N, 2)
        Location and scale, in units of the activation.
    orders : Tensor, int64, (N, D)
        Elements of the flattened activation, from the one that receives the largest value down: the tensor
        [3.2, 4.8, 7.3, 1.5] is kept as [2, 1, 0, 3].
    shape : tuple of int
        Of one activation; D elements.
    """

    parameters: Tensor
    orders: Tensor
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.parameters)

    @classmethod
    def fitted(cls, tensors: Tensor) -> "Distributions":
        """What is kept of `tensors`, (N, *activation shape): the Laplace fitted to each, and the order of its elements."""
        location, scale = laplace_fit(tensors)
        orders = tensors.flatten(1).sort(dim=1, descending=True, stable=True).indices
        return cls(torch.stack([location, scale], 1).float(), orders, tuple(tensors.shape[1:]))

    def files(self, folder: Path) -> dict[Path, bytes]:
        """The distributions as two `.npy` files in `folder`, to be written together."""
        arrays = {"distributions.npy": self.parameters, "orders.npy": self.orders}
        return {folder / name: npy(array.numpy()) for name, array in arrays.items()}


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
