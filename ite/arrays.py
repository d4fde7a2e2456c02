"""Rows to look for neighbours among, numpy's and torch's alike: each as the other, their centre, extremes and unit."""

import warnings

import numpy as np
import torch
from torch import Tensor

_CENTRED_BY = 33  # rows


def as_array(y: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """Of a tensor an array with its memory, where it has such; `y` as it is otherwise."""
    return y.detach().numpy() if isinstance(y, Tensor) and y.device.type == "cpu" else y


def as_tensor(y: np.ndarray | Tensor) -> Tensor:
    """`y` as a tensor, with its memory where torch can."""
    if isinstance(y, Tensor):
        return y.detach()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nothing writes to it
        in_torch = all(stride >= 0 and stride % y.itemsize == 0 for stride in y.strides) and y.dtype.isnative
        return torch.from_numpy(y if in_torch else y.astype(y.dtype.newbyteorder("=")))


def centre_of(points: np.ndarray | Tensor) -> np.ndarray:
    """The median of some rows, float64 (d,), which a few far ones do not move away from all the others."""
    some = points[:: -(-len(points) // _CENTRED_BY)]
    return np.median((some.cpu().numpy() if isinstance(some, Tensor) else some).astype(np.float64), axis=0)


def extremes_of(y: np.ndarray | Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest number of each column, (d,)."""
    return (y.amin(0).cpu().numpy(), y.amax(0).cpu().numpy()) if isinstance(y, Tensor) else (y.min(axis=0), y.max(axis=0))


def unit_of(largest: float) -> float:
    """A power of two to divide coordinates up to `largest` by, lest float32 squares under- or overflow.

    The largest becomes 2^50, so that in float32 ordinary rows may be 2^-100 of a far one.
    """
    return 2.0 ** ((np.frexp(largest)[1] if largest else -900) - 50)
