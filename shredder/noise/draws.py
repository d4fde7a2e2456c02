"""How one query draws its noise: generators, new values in the order of a tensor's elements, element-wise values."""

import secrets
from typing import Literal, NamedTuple

import numpy as np
import torch
from randomgen import ChaCha
from torch import Tensor

from shredder.io.cli import InputError
from shredder.io.device import moved
from shredder.noise.rounding import grid_of
from shredder.noise.tensors import laplace_fit

# Purpose of draws that are judged. They are not the queries': the SNR of a query's own noise, beside what was sent, would tell
# its input, which no bound counts.
JUDGED = 1
# Of draws by which information is measured.
MEASURED = 2
Family = Literal["normal", "laplace"]


class Draws(NamedTuple):
    """One draw of noise for each of Q queries.

    Attributes
    ----------
    multiplicative : Tensor or None, float32, (Q, *activation shape)
        w, if there is one.
    additive : Tensor, float32 or, with a grid, float64, (Q, *activation shape); of Fresh (Q, r)
        n.
    grid : Tensor or None, float64, (Q or 1, ...)
        What is sent is a multiple of it, where a bound is claimed of the draw (see `shredder.noise.rounding`); it broadcasts.
    """

    multiplicative: Tensor | None
    additive: Tensor
    grid: Tensor | None = None


def query_generator(seed: int | None, *purpose: int) -> np.random.Generator:
    """Where the noise of queries comes from; another generator for each `purpose`.

    Without a seed it is ChaCha20 (Bernstein 2008) with a key of 256 bits from the operating system: draws that were seen say
    nothing of others. numpy's own generators can be predicted from what they gave, so with a seed, which repeats an experiment,
    nothing is hidden from whoever guesses it.
    """
    return np.random.Generator(ChaCha(key=secrets.randbits(256))) if seed is None else np.random.default_rng([seed, *purpose])


def on_a_grid(additive: Tensor, scale: Tensor) -> Draws:
    """Draws of `additive`, (Q, *activation shape), whose scales are (Q, 1)."""
    return Draws(None, additive, grid_of(scale).view(-1, *[1] * (additive.dim() - 1)))


def redraw_elements(tensors: Tensor, n_queries: int, rng: np.random.Generator) -> Draws:
    """New values for every element, from the Laplace distribution that the collection suggests for it (v1).

        n_i ~ Laplace(location = mean_i, scale = std_i),   mean and standard deviation of element i over the collection

    The standard deviation of such a draw is sqrt(2) times that of the collection. It is divided by N, as numpy's is. Values are
    float64, by the inverse distribution function of a uniform variable on a grid of 2^-53, as numpy draws them.

    Parameters
    ----------
    tensors : Tensor, (N, *activation shape)
    n_queries : int
        Q.
    """
    location, scale = tensors.double().mean(0), tensors.double().std(0, correction=0)
    standard = moved(rng.laplace(size=(n_queries, *tensors.shape[1:])), tensors.device)
    return Draws(None, standard.mul_(scale).add_(location), grid_of(scale)[None])


def redraw_in_order(tensors: Tensor, family: Family, rng: np.random.Generator) -> Tensor:
    """New values from the distribution fitted to each tensor, placed in the order of its elements (v2: Normal; v3: Laplace).

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
    drawn = Fitted.to(tensors.detach(), family).redrawn(slice(None), rng).view_as(tensors).float()
    return tensors + (drawn - tensors).detach() if tensors.requires_grad else drawn


class Fitted(NamedTuple):
    """Distributions fitted to N tensors of D elements by maximum likelihood, and the orders of their elements, smallest first.

    Attributes
    ----------
    family : "normal" or "laplace"
    orders : Tensor, int64, (N, D)
    location, scale : Tensor, float64, (N, 1)
    """

    family: Family
    orders: Tensor
    location: Tensor
    scale: Tensor

    @classmethod
    def to(cls, tensors: Tensor, family: Family) -> "Fitted":
        """Fit to `tensors`, (N, *activation shape)."""
        flat = tensors.flatten(1).double()
        location, scale = (flat.mean(1), flat.std(1, correction=0)) if family == "normal" else laplace_fit(tensors)
        return cls(family, flat.argsort(dim=1, stable=True), location[:, None], scale[:, None])

    def redrawn(self, rows: Tensor | slice, rng: np.random.Generator) -> Tensor:
        """New values of some of the tensors in their orders, float64 (Q, D)."""
        return placed(self.orders[rows], self.location[rows], self.scale[rows], self.family, rng)


def placed(orders: Tensor, location: Tensor, scale: Tensor, family: Family, rng: np.random.Generator) -> Tensor:
    """Draws, float64 (Q, D): of each row's location and scale, (Q, 1), the smallest at the element its order names first."""
    standard = rng.normal(size=orders.shape) if family == "normal" else rng.laplace(size=orders.shape)
    standard.sort(axis=1)  # where they were drawn: numpy sorts faster than torch does
    values = moved(standard, orders.device) * scale + location
    return torch.empty_like(values).scatter_(1, orders, values)


def require_rule(rule: str, rules: tuple[str, ...], why: str = "") -> None:
    """Raise InputError where a noise has no such rule."""
    if rule not in rules:
        expected = f"expected {' or '.join(rules)}" + (f", for {why}" if why else "")
        raise InputError(f"--draw {rule}: not a rule of this noise; {expected}")
