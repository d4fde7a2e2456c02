"""Noise tensors: how they start, how they are applied, and a collection of them on disk."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shredder import runs
from shredder.runs import InputError


def noisy(activations: Tensor, multiplicative: Tensor | None, additive: Tensor) -> Tensor:
    """The noisy activation a' = w * a + n, element by element; shapes broadcast. None stands for w = 1, as in v1."""
    return activations + additive if multiplicative is None else multiplicative * activations + additive


def laplace_noise(n_members: int, shape: tuple[int, ...], location: float, scale: float, rng: np.random.Generator) -> Tensor:
    """Additive tensors before learning, float32 (n_members, *shape), from the density exp(-|n - location| / scale) / (2 scale).

    Location and scale are in units of the activation.
    """
    return torch.from_numpy(rng.laplace(location, scale, size=(n_members, *shape))).float()


def initial_noise(n_members: int, shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Noise tensors before learning, as in v2: w Xavier-normal (Glorot and Bengio 2010), n from Laplace(0, scale).

    Parameters
    ----------
    n_members : int
        R, the number of pairs.
    shape : tuple of int
        Of one activation, channels first. Xavier's fans count it like a weight's: for 120x1x1, std = sqrt(2 / 121).
    scale : float
        b of the Laplace density exp(-|n| / b) / (2 b), in units of the activation.
    rng : np.random.Generator

    Returns
    -------
    (Tensor, Tensor), float32, (R, *shape)
        Multiplicative w, additive n.
    """
    field = math.prod(shape[2:])
    std = math.sqrt(2 / (shape[1] * field + shape[0] * field))
    multiplicative = rng.normal(0, std, size=(n_members, *shape))
    return torch.from_numpy(multiplicative).float(), laplace_noise(n_members, shape, 0, scale, rng)


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
        return {folder / name: runs.npy(tensor.numpy()) for name, tensor in tensors.items() if tensor is not None}


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
    if skip_rows < 0 or skip_rows >= len(n):
        raise InputError(f"--skip-rows: found {skip_rows}, expected 0 to {len(n) - 1}, for {additive} has {len(n)} rows")
    return Collection(None if w is None else w[skip_rows:], n[skip_rows:])


def _load_tensors(path: Path, flag: str, shape: tuple[int, ...]) -> Tensor:
    array = runs.read_array(path, flag)
    expected = f"expected float32 (N, {', '.join(map(str, shape))})"
    if array.dtype != np.float32 or array.shape[1:] != shape or len(array) == 0:
        raise InputError(f"{flag} {path}: found {array.dtype} {array.shape}, {expected}")
    n_broken = int((~np.isfinite(array)).sum())
    if n_broken:
        raise InputError(f"{flag} {path}: found NaN or infinity in {n_broken} of {array.size} elements")
    return torch.from_numpy(array)
