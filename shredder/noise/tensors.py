"""Noise tensors: how they start, how they are applied, the Laplace distribution that fits them."""

import math

import numpy as np
import torch
from torch import Tensor

from shredder.io.device import moved


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
        Of one activation, channels first. Xavier's fans count it like a weight's: for 120x1x1 and for 120, std = sqrt(2 / 121).
    scale : float
        b of the Laplace density exp(-|n| / b) / (2 b), in units of the activation.
    rng : np.random.Generator

    Returns
    -------
    (Tensor, Tensor), float32, (R, *shape)
        Multiplicative w, additive n.
    """
    field, rows = math.prod(shape[2:]), math.prod(shape[1:2])
    std = math.sqrt(2 / (rows * field + shape[0] * field))
    multiplicative = rng.normal(0, std, size=(n_members, *shape))
    return torch.from_numpy(multiplicative).float(), laplace_noise(n_members, shape, 0, scale, rng)


def laplace_fit(tensors: Tensor) -> tuple[Tensor, Tensor]:
    """The Laplace distribution that fits each tensor's elements best, by maximum likelihood.

        location = median(n),   scale = mean |n - location|

    Parameters
    ----------
    tensors : Tensor, (N, *activation shape)

    Returns
    -------
    (Tensor, Tensor), float64, (N,)
        As scipy.stats.laplace.fit: of an even number of elements the median is the mean of the middle two.
    """
    flat = tensors.detach().flatten(1).double()
    if flat.device.type == "cpu":  # numpy does not sort all of them, and sums them in an order of its own
        array = flat.numpy()
        location = np.median(array, axis=1)
        return torch.from_numpy(location), torch.from_numpy(np.abs(array - location[:, None]).mean(1))
    ascending, d = flat.sort(1).values, flat.shape[1]
    location = (ascending[:, (d - 1) // 2] + ascending[:, d // 2]) / 2
    return location, (flat - location[:, None]).abs().mean(1)


def laplace_fit_error(tensors: Tensor) -> Tensor:
    """How far each tensor's histogram is from the Laplace density fitted to it (v3's second rule of acceptance).

        SSE = sum over bins of (share of the elements / width - exp(-|centre|) / 2)^2

    of elements (n - location) / scale, in bins of width 1/2 from -8 to 8. The paper names neither bins nor units; in these,
    a sample of 120 Laplace values has about 0.02, one of 9,216 less than 0.001; Normal values have 0.02 to 0.06, and values
    spread evenly 0.13.

    Parameters
    ----------
    tensors : Tensor, (N, *activation shape)

    Returns
    -------
    Tensor, float64, (N,)
    """
    flat = tensors.detach().flatten(1).double().cpu()
    location, scale = (values[:, None] for values in laplace_fit(flat))
    standard = ((flat - location) / scale).numpy()
    edges = np.linspace(-8, 8, 33)
    shares = np.stack([np.histogram(row, edges)[0] / len(row) for row in standard]) if len(standard) else np.zeros((0, 32))
    density = np.exp(-np.abs(edges[:-1] + edges[1:]) / 2) / 2
    return moved(((shares / (edges[1] - edges[0]) - density) ** 2).sum(1), tensors.device)
