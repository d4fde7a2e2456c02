"""How one query draws its noise from a collection."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shredder.noise import Collection
from shredder.runs import InputError

Draw = Literal["order-preserving", "elementwise-laplace", "verbatim"]


def draw_noise(collection: Collection, n_queries: int, how: Draw, rng: np.random.Generator) -> tuple[Tensor | None, Tensor]:
    """One draw for each query, by the rule of v1, v2 or v3.

    Parameters
    ----------
    collection : Collection
    n_queries : int
        Q.
    how : "order-preserving", "elementwise-laplace" or "verbatim"
        order-preserving: a member chosen uniformly, one of its tensors redrawn by `redraw_in_order`. With multiplicative
        tensors (v2) it is the multiplicative one, from the Normal fitted to it, and the additive one is used as stored;
        without (v3) it is the additive one, from a Laplace. elementwise-laplace: v1's rule, see `redraw_elements`, for
        additive tensors alone. verbatim: a stored member.
    rng : np.random.Generator
        Whoever can guess its state can subtract the noise: outside experiments let the operating system seed it.

    Returns
    -------
    (Tensor, Tensor), float32, (Q, *activation shape)
        Multiplicative w, or None if the collection has none; additive n.
    """
    if how == "elementwise-laplace":
        if collection.multiplicative is not None:
            raise InputError("--draw elementwise-laplace: for additive tensors alone; found multiplicative ones, too")
        if len(collection) < 2:
            raise InputError("--draw elementwise-laplace: a single tensor has no spread; expected two or more")
        return None, redraw_elements(collection.additive, n_queries, rng)
    members = torch.from_numpy(rng.integers(len(collection), size=n_queries))
    additive = collection.additive[members]
    if collection.multiplicative is None:
        return None, redraw_in_order(additive, "laplace", rng) if how == "order-preserving" else additive
    multiplicative = collection.multiplicative[members]
    return redraw_in_order(multiplicative, "normal", rng) if how == "order-preserving" else multiplicative, additive


def redraw_elements(tensors: Tensor, n_queries: int, rng: np.random.Generator) -> Tensor:
    """Fresh values for every element, from the Laplace distribution that the collection suggests for it (v1).

        n_i ~ Laplace(location = mean_i, scale = std_i),   mean and standard deviation of element i over the collection

    The standard deviation of such a draw is sqrt(2) times that of the collection. It is divided by N, as numpy's is.

    Parameters
    ----------
    tensors : Tensor, (N, *activation shape)
    n_queries : int
        Q.

    Returns
    -------
    Tensor, float32, (Q, *activation shape)
    """
    shape = (n_queries, *tensors.shape[1:])
    # The difference of two standard exponential variables has the standard Laplace distribution.
    first, second = (torch.from_numpy(rng.standard_exponential(shape, dtype=np.float32)) for _ in range(2))
    return first.sub_(second).mul_(tensors.std(0, correction=0)).add_(tensors.mean(0))


def redraw_in_order(tensors: Tensor, family: Literal["normal", "laplace"], rng: np.random.Generator) -> Tensor:
    """Fresh values from the distribution fitted to each tensor, placed in the order of its elements (v2: Normal; v3: Laplace).

        values ~ Normal(mean(w), std(w)) or Laplace(median(n), mean |n - median(n)|),   by maximum likelihood;
        the largest where the tensor was largest, and so on down

    Parameters
    ----------
    tensors : Tensor, (Q, *activation shape)
    family : "normal" or "laplace"

    Returns
    -------
    Tensor, float32, (Q, *activation shape)
    """
    flat = tensors.flatten(1).double().numpy()
    if family == "normal":
        location, scale = flat.mean(1, keepdims=True), flat.std(1, keepdims=True)
        standard = rng.normal(size=flat.shape)
    else:
        location = np.median(flat, axis=1, keepdims=True)
        scale = np.abs(flat - location).mean(1, keepdims=True)
        standard = rng.laplace(size=flat.shape)
    values = np.sort(standard, axis=1) * scale + location
    drawn = np.empty_like(flat)
    np.put_along_axis(drawn, flat.argsort(axis=1, kind="stable"), values, axis=1)
    return torch.from_numpy(drawn).float().view_as(tensors)
