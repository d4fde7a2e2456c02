"""How one query draws its noise from a collection."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shredder.fresh import Fresh
from shredder.noise import Collection, Distributions, laplace_fit
from shredder.runs import InputError

Draw = Literal["order-preserving", "elementwise-laplace", "verbatim", "fresh"]
Family = Literal["normal", "laplace"]


def draw_noise(
    collection: Collection | Distributions | Fresh, n_queries: int, how: Draw, rng: np.random.Generator
) -> tuple[Tensor | None, Tensor]:
    """One draw for each query, by the rule of v1, v2 or v3, or anew.

    Parameters
    ----------
    collection : Collection, Distributions or Fresh
    n_queries : int
        Q.
    how : "order-preserving", "elementwise-laplace", "verbatim" or "fresh"
        order-preserving: a member chosen uniformly, one of its tensors redrawn by `redraw_in_order`. With multiplicative
        tensors (v2) it is the multiplicative one, from the Normal fitted to it, and the additive one is used as stored;
        without (v3) it is the additive one, from a Laplace. For distributions (v3) it is the only rule.
        elementwise-laplace: v1's rule, see `redraw_elements`, for additive tensors alone. verbatim: a stored member. fresh: the
        only rule of Fresh, see there.
    rng : np.random.Generator
        Whoever can guess its state can subtract the noise: outside experiments let the operating system seed it.

    Returns
    -------
    (Tensor, Tensor), float32, (Q, *activation shape)
        Multiplicative w, or None if the collection has none; additive n.
    """
    if isinstance(collection, Fresh) or how == "fresh":
        if not isinstance(collection, Fresh) or how != "fresh":
            raise InputError(f"--draw {how}: fresh is the rule of what --method fresh learned, and its only one")
        return None, collection.draw(n_queries, rng)
    if isinstance(collection, Distributions):
        if how != "order-preserving":
            raise InputError(
                f"--draw {how}: needs tensors; distributions are drawn order-preserving, for their tensors are gone"
            )
        members = torch.from_numpy(rng.integers(len(collection), size=n_queries))
        location, scale = collection.parameters[members].double().unsqueeze(-1).unbind(1)
        orders = collection.orders[members].flip(1).numpy()
        return None, _placed(orders, location, scale, "laplace", rng).unflatten(1, collection.shape)
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


def redraw_in_order(tensors: Tensor, family: Family, rng: np.random.Generator) -> Tensor:
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
        Its gradient goes to `tensors` as if it were them: a tensor is learned through its draws by following the gradient at
        the draw (the straight-through estimator; Bengio, Leonard, Courville 2013), which moves location, scale and order.
    """
    flat = tensors.detach().flatten(1).double()
    location, scale = (flat.mean(1), flat.std(1, correction=0)) if family == "normal" else laplace_fit(tensors)
    orders = flat.numpy().argsort(axis=1, kind="stable")
    drawn = _placed(orders, location[:, None], scale[:, None], family, rng).view_as(tensors)
    return tensors + (drawn - tensors).detach() if tensors.requires_grad else drawn


def _placed(orders: np.ndarray, location: Tensor, scale: Tensor, family: Family, rng: np.random.Generator) -> Tensor:
    """Draws, float32 (Q, D): of each row's location and scale, (Q, 1), the smallest at the element its order names first."""
    standard = rng.normal(size=orders.shape) if family == "normal" else rng.laplace(size=orders.shape)
    drawn = np.empty_like(standard)
    np.put_along_axis(drawn, orders, np.sort(standard, axis=1) * scale.numpy() + location.numpy(), axis=1)
    return torch.from_numpy(drawn).float()
