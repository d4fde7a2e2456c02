"""What is known of noise without drawing it: moments, densities, Laplace values in a known order."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shredder.io.device import moved
from shredder.noise import bounds
from shredder.noise.bounds import ELEMENTS_WITH_COVARIANCE
from shredder.noise.densities import PairDensity, laplace_in_order
from shredder.noise.order_statistics import laplace_order_covariance, order_statistics


@dataclass(frozen=True)
class LaplaceNoise:
    """D Laplace values, each of its own location and scale, or all of the same and placed in a known order.

    Attributes
    ----------
    location, scale : Tensor, float64, (D,) or, if there is an order, ()
    order : Tensor or None, int64, (D,)
        The element of the smallest value first.
    """

    location: Tensor
    scale: Tensor
    order: Tensor | None

    def mean(self) -> Tensor:
        """Of each element, (D,)."""
        if self.order is None:
            return self.location
        return self.location + self.scale * self._order_statistics[0]

    def variance(self) -> Tensor:
        """Of each element, (D,)."""
        if self.order is None:
            return 2 * self.scale.square()
        return self.scale.square() * self._order_statistics[1]

    def covariance(self) -> Tensor:
        """Of all elements, (D, D)."""
        if self.order is None:
            return torch.diag(self.variance())
        standard = moved(laplace_order_covariance(len(self.order)), self.scale.device)
        return self.scale.square() * standard[self._ranks][:, self._ranks]

    def entropy(self) -> float:
        """In nats: ln(2 e b) of each value; that D of them are in a known order takes ln D! away."""
        if self.order is None:
            return torch.log(2 * math.e * self.scale).sum().item()
        d = len(self.order)
        return d * math.log(2 * math.e * self.scale) - math.lgamma(d + 1)

    def bits_at_most(self, signal: Tensor, rng: np.random.Generator, queries: int = 1) -> float:
        """What it lets through of `signal`, (n, *activation shape), at most, in bits.

        The smaller of `entropy_bits_at_most`, of one query, and `laplace_bits_at_most`, of independent elements. Infinite where
        an element has no noise, or neither says anything.
        """
        if not (self.scale > 0).all():
            return math.inf
        flat, found = signal.flatten(1).double(), []
        if queries == 1:
            whole = flat.shape[1] <= ELEMENTS_WITH_COVARIANCE
            found.append(bounds.entropy_bits_at_most(flat, self.covariance() if whole else self.variance(), self.entropy()))
        if self.order is None:
            found.append(bounds.laplace_bits_at_most(flat, self.scale, rng, queries))
        return min(found, default=math.inf)

    def prepared(self, signal: Tensor) -> PairDensity:
        """The density of a' for these signals, (K, ...), of noise that has an order."""
        return laplace_in_order(signal, self.location, self.scale, self.order)

    @property
    def _order_statistics(self) -> list[Tensor]:
        """Mean and variance of each element's standard value, (D,)."""
        found = order_statistics(len(self.order), "laplace")
        return [moved(values, self.scale.device)[self._ranks] for values in found]

    @property
    def _ranks(self) -> Tensor:
        return self.order.argsort()


@dataclass(frozen=True)
class Moments:
    """Moments of a draw given its member, element by element, each float64 (N, D); and the noise, if it is Laplace noise."""

    w_mean: Tensor
    w_variance: Tensor
    n_mean: Tensor
    n_variance: Tensor
    laplace: list[LaplaceNoise] | None = None

    @classmethod
    def of_laplace(cls, noise: list[LaplaceNoise]) -> "Moments":
        """Of a' = a + n, where n is one of these for each member."""
        mean, variance = torch.stack([of.mean() for of in noise]), torch.stack([of.variance() for of in noise])
        return cls(torch.ones_like(mean), torch.zeros_like(mean), mean, variance, noise)

    def n_covariance(self, member: int) -> Tensor:
        """Of n, (D, D)."""
        return self.laplace[member].covariance() if self.laplace else torch.diag(self.n_variance[member])
