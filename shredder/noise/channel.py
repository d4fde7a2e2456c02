"""What crosses the cut, as whoever knows the defence sees it: the drawing rule, its moments, and what it can carry at most."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from shredder.io.cli import InputError
from shredder.noise import bounds
from shredder.noise.bounds import ELEMENTS_WITH_COVARIANCE
from shredder.noise.draws import Draw, Draws, draw_noise
from shredder.noise.fresh import Fresh
from shredder.noise.order_statistics import laplace_order_covariance, order_statistics
from shredder.noise.rounding import to_grid
from shredder.noise.stored import Collection, Distributions
from shredder.noise.tensors import laplace_fit, noisy


@dataclass(frozen=True)
class Channel:
    """a' = w * t + n for each query, where t is what the device sends before noise: the activation, or what Fresh makes of it.

    Attributes
    ----------
    source : Collection, Distributions or Fresh
        What was learned.
    draw : str
        How a query draws its noise from it; see `draw_noise`.
    """

    source: Collection | Distributions | Fresh
    draw: Draw

    def __post_init__(self):
        self.draws(1, np.random.default_rng(0))  # complains of a rule that does not fit

    def signal(self, activations: Tensor) -> Tensor:
        """t, (n, *activation shape); of Fresh (n, r)."""
        return self.source.signal(activations) if isinstance(self.source, Fresh) else activations

    def draws(self, n_queries: int, rng: np.random.Generator) -> Draws:
        """One draw for each query."""
        if not isinstance(self.source, Fresh):
            return draw_noise(self.source, n_queries, self.draw, rng)
        if self.draw != "fresh":
            raise InputError(f"--draw {self.draw}: fresh is the rule of what --method fresh learned, and its only one")
        return Draws(None, self.source.noise(n_queries, rng), self.source.grid[None])

    def applied(self, signal: Tensor, draws: Draws) -> Tensor:
        """a' of each row of `signal` under a draw of its own, float32 (n, *activation shape): all that leaves the device.

        Where a bound is claimed it is a multiple of the draws' grid, or of Fresh made of such multiples alone.
        """
        if isinstance(self.source, Fresh):
            return self.source.embedded(self.source.released(signal, draws.additive))
        if draws.grid is None:
            return noisy(signal, draws.multiplicative, draws.additive)
        return to_grid(signal.double() + draws.additive, draws.grid).float()

    @property
    def bounded(self) -> bool:
        """Whether a bound is claimed of what is sent, which then lies on a grid."""
        return self.draws(1, np.random.default_rng(0)).grid is not None

    def sent(self, signal: Tensor, rng: np.random.Generator) -> Tensor:
        """a' of each row of `signal`, a fresh draw for each, float32 (n, *activation shape)."""
        return self.applied(signal, self.draws(len(signal), rng))

    def as_activation(self, signal: Tensor) -> Tensor:
        """t in the activation's shape, float32 (n, *activation shape): of Fresh Q t."""
        if isinstance(source := self.source, Fresh):
            return (signal @ source.directions.T).view(-1, *source.shape)
        return signal

    def tensors(self, draws: Draws) -> tuple[Tensor | None, Tensor]:
        """w and n, float32 (Q, *activation shape), to judge a draw on many activations: a' = w * t + n but for the grid."""
        if isinstance(self.source, Fresh):
            return None, self.source.embedded(draws.additive)
        return draws.multiplicative, draws.additive.float()

    def laplace_noise(self) -> "list[LaplaceNoise] | None":
        """The additive noise of each member, or one for all where members do not matter; None where it is not Laplace noise."""
        source = self.source
        if isinstance(source, Distributions):
            location, scale = source.parameters.double().unbind(1)
            return [LaplaceNoise(*member) for member in zip(location, scale, source.orders.flip(1), strict=True)]
        if isinstance(source, Fresh) or source.multiplicative is not None or self.draw == "verbatim":
            return None
        n = source.additive.double().flatten(1)
        if self.draw == "elementwise-laplace":
            return [LaplaceNoise(n.mean(0), n.std(0, correction=0), None)]
        return [LaplaceNoise(*member) for member in zip(*laplace_fit(n), n.argsort(1), strict=True)]

    def density(self) -> "Density | None":
        """The density of a' given t, where it is that of independent Laplace or Normal values."""
        if isinstance(source := self.source, Fresh):
            scales = source.scales
            return Density(lambda t: t / scales, lambda sent: source.received(sent) / scales, 2)
        if self.draw != "elementwise-laplace":
            return None
        (noise,) = self.laplace_noise()
        location, scale = noise.location.float(), noise.scale.float()
        return Density(lambda t: (t.flatten(1) + location) / scale, lambda sent: sent.flatten(1) / scale, 1)

    def components(self) -> "Components":
        """Moments of w and n given the member; one component where members do not matter.

        Of Fresh those of y, with r elements.
        """
        source, laplace = self.source, self.laplace_noise()
        if isinstance(source, Fresh):
            variance = source.scales.double().square()[None]
            return Components(torch.ones_like(variance), *[torch.zeros_like(variance)] * 2, variance)
        if laplace:
            n, variance = torch.stack([of.mean() for of in laplace]), torch.stack([of.variance() for of in laplace])
            return Components(torch.ones_like(n), torch.zeros_like(n), n, variance, laplace)
        n = source.additive.double().flatten(1)
        w = torch.ones_like(n) if source.multiplicative is None else source.multiplicative.double().flatten(1)
        zero = torch.zeros_like(n)
        if self.draw == "verbatim":
            return Components(w, zero, n, zero)
        mean, variance = (torch.from_numpy(values) for values in order_statistics(w.shape[1], "normal"))
        ranks, location, scale = w.argsort(1).argsort(1), w.mean(1, keepdim=True), w.std(1, correction=0, keepdim=True)
        return Components(location + scale * mean[ranks], scale.square() * variance[ranks], n, zero)

    def bits_at_most(self, signal: Tensor, rng: np.random.Generator, queries: int = 1) -> float | None:
        """Upper bound on the mutual information of input and `queries` a' of it, in bits; None where no theorem gives one.

        Fresh has bounds of its own. A member is independent of t, so that the mean over members of I(t; a' | member) bounds
        I(t; a').

        Parameters
        ----------
        signal : Tensor, (n, *activation shape); of Fresh (n, r)
            Rows that say the covariance of t, n > 9: held-out ones, for a bound that nothing was fitted to.
        rng : np.random.Generator
            Of the mixture that Laplace noise is.
        """
        if isinstance(self.source, Fresh):
            return self.source.bits(signal, queries)
        noise = self.laplace_noise()
        if noise is None:
            return None
        return float(np.mean([of.bits_at_most(signal, rng, queries) for of in noise]))


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
        return self.location + self.scale * torch.from_numpy(order_statistics(len(self.order), "laplace")[0])[self._ranks]

    def variance(self) -> Tensor:
        """Of each element, (D,)."""
        if self.order is None:
            return 2 * self.scale.square()
        return self.scale.square() * torch.from_numpy(order_statistics(len(self.order), "laplace")[1])[self._ranks]

    def covariance(self) -> Tensor:
        """Of all elements, (D, D)."""
        if self.order is None:
            return torch.diag(self.variance())
        standard = torch.from_numpy(laplace_order_covariance(len(self.order)))
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

    @property
    def _ranks(self) -> Tensor:
        return self.order.argsort()


class Density(NamedTuple):
    """p(a' | t) ~ exp(-sum_i |sent(a')_i - own(t)_i|^power / power).

    Attributes
    ----------
    own, sent : callable
        Of t and of a', (n, *activation shape): coordinates in which noise has unit scale, (n, F).
    power : int
        1 for Laplace noise, 2 for Normal.
    """

    own: Callable[[Tensor], Tensor]
    sent: Callable[[Tensor], Tensor]
    power: int


@dataclass(frozen=True)
class Components:
    """Moments of a draw given its member, element by element, each float64 (N, D); and the noise, if it is Laplace noise."""

    w_mean: Tensor
    w_variance: Tensor
    n_mean: Tensor
    n_variance: Tensor
    laplace: list[LaplaceNoise] | None = None

    def n_covariance(self, member: int) -> Tensor:
        """Of n, (D, D)."""
        return self.laplace[member].covariance() if self.laplace else torch.diag(self.n_variance[member])
