"""How one query draws its noise from a collection."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shredder.noise import Collection

Draw = Literal["order-preserving", "verbatim"]


def draw_noise(collection: Collection, n_queries: int, how: Draw, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """One draw for each query: a member chosen uniformly and, in v2, its multiplicative tensor drawn afresh.

    Parameters
    ----------
    collection : Collection
    n_queries : int
        Q.
    how : "order-preserving" or "verbatim"
        order-preserving: v2's rule, see `redraw_in_order`; the additive tensor is used as stored. verbatim: the stored pair.
    rng : np.random.Generator
        Whoever can guess its state can subtract the noise: outside experiments let the operating system seed it.

    Returns
    -------
    (Tensor, Tensor), float32, (Q, *activation shape)
        Multiplicative w, additive n.
    """
    members = torch.from_numpy(rng.integers(len(collection), size=n_queries))
    multiplicative, additive = collection.multiplicative[members], collection.additive[members]
    if how == "order-preserving":
        multiplicative = redraw_in_order(multiplicative, rng)
    return multiplicative, additive


def redraw_in_order(tensors: Tensor, rng: np.random.Generator) -> Tensor:
    """Fresh values from the Normal fitted to each tensor, placed in the order of its elements (v2).

        values ~ Normal(mean(w), std(w)),   the largest where w was largest, and so on down

    Parameters
    ----------
    tensors : Tensor, (Q, *activation shape)

    Returns
    -------
    Tensor, float32, (Q, *activation shape)
    """
    flat = tensors.flatten(1).double().numpy()
    mean, std = flat.mean(1, keepdims=True), flat.std(1, keepdims=True)  # the maximum-likelihood fit: divided by n
    values = np.sort(rng.normal(size=flat.shape), axis=1) * std + mean
    drawn = np.empty_like(flat)
    np.put_along_axis(drawn, flat.argsort(axis=1, kind="stable"), values, axis=1)
    return torch.from_numpy(drawn).float().view_as(tensors)
