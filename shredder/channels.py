"""What crosses the cut, as whoever knows the defence sees it: the drawing rule, its moments, and what it can carry at most."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shredder.fresh import Fresh
from shredder.noise import Collection, Distributions, laplace_fit, noisy
from shredder.order_statistics import laplace_order_covariance, order_statistics
from shredder.sampling import Draw, Family, draw_noise

# Elements of an activation; where there are more, they count as independent.
ELEMENTS_WITH_COVARIANCE = 4000
# Rows of a sample for each element; of fewer the determinant of their covariance would be too small for a bound.
_ROWS_FOR_AN_ELEMENT = 5


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

    def signal(self, activations: Tensor) -> Tensor:
        """t, (n, *activation shape)."""
        return self.source.signal(activations) if isinstance(self.source, Fresh) else activations

    def sent(self, signal: Tensor, rng: np.random.Generator) -> Tensor:
        """a' of each row of `signal`, a fresh draw for each, (n, *activation shape)."""
        return noisy(signal, *draw_noise(self.source, len(signal), self.draw, rng))

    def components(self) -> "Components":
        """Means and spreads of w and n given the member; one component where members do not matter.

        Of fresh noise those of `Fresh.received`, with r elements.
        """
        source = self.source
        if isinstance(source, Fresh):
            variance = source.scales.double().square()[None]
            return Components(torch.ones_like(variance), *[torch.zeros_like(variance)] * 2, variance)
        if isinstance(source, Distributions):
            location, scale = source.parameters.double().unbind(1)
            n, spread = _placed_moments(source.orders.flip(1), location, scale, "laplace")
            return Components(torch.ones_like(n), torch.zeros_like(n), n, spread)
        n = source.additive.double().flatten(1)
        w = torch.ones_like(n) if source.multiplicative is None else source.multiplicative.double().flatten(1)
        zero = torch.zeros_like(n)
        if self.draw == "elementwise-laplace":  # Laplace(mean, std) has twice the variance of std
            return Components(one := torch.ones_like(n[:1]), 0 * one, n.mean(0)[None], 2 * n.var(0, correction=0)[None])
        if self.draw == "verbatim":
            return Components(w, zero, n, zero)
        if source.multiplicative is None:
            return Components(w, zero, *_placed_moments(n.argsort(1), *laplace_fit(n), "laplace"))
        return Components(*_placed_moments(w.argsort(1), w.mean(1), w.std(1, correction=0), "normal"), n, zero)

    def bits_at_most(self, signal: Tensor) -> float | None:
        """Upper bound on the mutual information of input and one a', in bits; None where no theorem gives one.

            I(x; a') <= I(t; a') <= h(a') - h(a' | t) <= 1/2 log2 det(2 pi e Cov(a')) - h(n)

        since the Normal distribution has the largest entropy at a given covariance (Cover and Thomas 2006, Theorem 8.6.5). It
        needs noise that is independent of t and has a density, as additive noise drawn anew; Fresh has bounds of its own. A
        member is independent of t, too, so that the mean over members of I(t; a' | member) bounds I(t; a').

        Parameters
        ----------
        signal : Tensor, (n, *activation shape)
            Whose covariance counts: held-out, for a bound that nothing was fitted to. The bound holds for inputs with it. Of
            many elements or few rows only variances count, which gives a larger bound (Hadamard's inequality).
        """
        if isinstance(self.source, Fresh):
            return self.source.bits(signal)
        if isinstance(self.source, Collection) and (self.source.multiplicative is not None or self.draw == "verbatim"):
            return None
        flat = signal.flatten(1).double()
        d, bits = flat.shape[1], []
        whole = d <= ELEMENTS_WITH_COVARIANCE and len(flat) >= _ROWS_FOR_AN_ELEMENT * d
        covariance = torch.cov(flat.T).view(d, d) if whole else None
        for b, order, entropy in self._laplace_noise(d):
            if whole:
                log_det = torch.linalg.slogdet(covariance + _noise_covariance(b, order)).logabsdet.item()
            else:
                log_det = (flat.var(0) + _noise_variance(b, order)).log().sum().item()
            bits.append((d / 2 * math.log(2 * math.pi * math.e) + log_det / 2 - entropy) / math.log(2))
        return float(np.mean(bits))

    def _laplace_noise(self, d: int) -> list[tuple[Tensor, Tensor | None, float]]:
        """For each member, or once for the draws of all: scales b, order of its values, smallest first, and entropy in nats.

        A Laplace value has the entropy ln(2 e b); D values placed in a known order have ln D! less than D times that.
        """
        if self.draw == "elementwise-laplace":
            b = self.source.additive.flatten(1).double().std(0, correction=0)
            return [(b, None, torch.log(2 * math.e * b).sum().item())]
        if isinstance(self.source, Distributions):
            scales, orders = self.source.parameters[:, 1].double(), self.source.orders.flip(1)
        else:
            scales, orders = laplace_fit(self.source.additive)[1], self.source.additive.flatten(1).argsort(1)
        entropies = d * torch.log(2 * math.e * scales) - math.lgamma(d + 1)
        return list(zip(scales, orders, entropies.tolist(), strict=True))


def _noise_covariance(b: Tensor, order: Tensor | None) -> Tensor:
    """Covariance, (D, D), of Laplace values of scales b, independent or placed in an order."""
    if order is None:
        return torch.diag(2 * b.square())
    ranks = order.argsort()
    return b.square() * torch.from_numpy(laplace_order_covariance(len(order)))[ranks][:, ranks]


def _noise_variance(b: Tensor, order: Tensor | None) -> Tensor:
    """Its diagonal, (D,)."""
    if order is None:
        return 2 * b.square()
    return b.square() * torch.from_numpy(order_statistics(len(order), "laplace")[1])[order.argsort()]


@dataclass(frozen=True)
class Components:
    """Moments of a draw given its member, element by element; each float64 (N, D)."""

    w_mean: Tensor
    w_variance: Tensor
    n_mean: Tensor
    n_variance: Tensor


def _placed_moments(orders: Tensor, location: Tensor, scale: Tensor, family: Family) -> tuple[Tensor, Tensor]:
    """Mean and variance of each element of D draws placed by `orders`, (N, D), smallest first; each float64 (N, D)."""
    mean, variance = (torch.from_numpy(values) for values in order_statistics(orders.shape[1], family))
    placed = torch.empty(2, *orders.shape, dtype=torch.float64)
    for target, values in zip(placed, (mean, variance), strict=True):
        target.scatter_(1, orders, values.expand(len(orders), -1))
    return location[:, None] + scale[:, None] * placed[0], scale[:, None].square() * placed[1]
