"""What crosses the cut, as whoever knows the defence sees it: the drawing rule, its moments, and what it can carry at most."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy import special, stats
from torch import Tensor

from shredder.fresh import Fresh
from shredder.noise import Collection, Distributions, laplace_fit, noisy
from shredder.sampling import Draw, Family, draw_noise

# Elements of an activation, and of all members' covariances; where there are more, elements count as independent.
ELEMENTS_WITH_COVARIANCE = 4000
_COVARIANCE_ELEMENTS = 3e8
# Of the largest eigenvalue: what is smaller counts as zero.
_SINGULAR = 1e-10


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
        """Upper bound on the mutual information of input and a single a', in bits; None where no theorem gives one.

            I(x; a') <= I(t; a') <= h(a') - h(a' | t) <= 1/2 log2 det(2 pi e Cov(a')) - h(n)

        since the Normal distribution has the largest entropy at a given covariance (Cover and Thomas 2006, Theorem 8.6.5). It
        needs noise that is independent of t and has a density: Fresh, and additive noise drawn anew. A member is
        independent of t, too, so that the mean over members of I(t; a' | member) bounds I(t; a').

        Parameters
        ----------
        signal : Tensor, (n, *activation shape)
            Whose covariance counts: held-out, for a bound that nothing was fitted to. The bound holds for inputs with it.
        """
        if isinstance(self.source, Fresh):
            return self.source.bits(signal)
        if isinstance(self.source, Collection) and (self.source.multiplicative is not None or self.draw == "verbatim"):
            return None
        d, bits = signal[0].numel(), []
        c = torch.cov(signal.flatten(1).double().T).view(d, d)
        for covariance, entropy in self._laplace_noise(d):
            log_det = torch.linalg.slogdet(c + covariance).logabsdet.item()
            bits.append((d / 2 * math.log(2 * math.pi * math.e) + log_det / 2 - entropy) / math.log(2))
        return float(np.mean(bits))

    def _laplace_noise(self, d: int) -> list[tuple[Tensor, float]]:
        """Covariance, (D, D), and entropy (nats) of the additive Laplace noise of each member, or of the draws of all.

        A Laplace value has the entropy ln(2 e b); D values placed in a known order have ln D! less than D times that.
        """
        if self.draw == "elementwise-laplace":
            b = self.source.additive.flatten(1).double().std(0, correction=0)
            return [(torch.diag(2 * b.square()), torch.log(2 * math.e * b).sum().item())]
        if isinstance(self.source, Distributions):
            scale, orders = self.source.parameters[:, 1].double(), self.source.orders.flip(1)
        else:
            scale, orders = laplace_fit(self.source.additive)[1], self.source.additive.flatten(1).argsort(1)
        standard = torch.from_numpy(_order_covariance(d))
        found = []
        for b, order in zip(scale.tolist(), orders, strict=True):
            ranks = order.argsort()
            entropy = d * math.log(2 * math.e * b) - math.lgamma(d + 1)
            found.append((b * b * standard[ranks][:, ranks], entropy))
        return found


@dataclass(frozen=True)
class Components:
    """Moments of a draw given its member, element by element; each float64 (N, D)."""

    w_mean: Tensor
    w_variance: Tensor
    n_mean: Tensor
    n_variance: Tensor


class Undo:
    """Guesses the member and undoes the noise by its expectation.

        member = argmax_m N(a'; mean_m, Cov_m),   mean_m = w_m * E[t] + n_m
        estimate = E[t] + C diag(w_m) Cov_m^-1 (a' - mean_m)
        Cov_m = diag(w_m) C diag(w_m) + diag(Var(w_i) E[t_i^2] + Var(n_i))

    the linear estimate of least mean square error, for the covariance C of the signal t; w_m and n_m are expectations of
    the draw. Exact for Normal t and n, an approximation for others.

    Parameters
    ----------
    components : Components
    signal : Tensor, (n, *activation shape)
        Of the adversary's own data: its mean and covariance are all that is known of the input.
    """

    def __init__(self, components: Components, signal: Tensor):
        flat, c = signal.flatten(1).double(), components
        self.mean = flat.mean(0)
        d = flat.shape[1]
        few = d <= ELEMENTS_WITH_COVARIANCE and d * d * len(c.w_mean) <= _COVARIANCE_ELEMENTS
        covariance = torch.cov(flat.T).view(d, d) if few else None
        self.means = c.w_mean * self.mean + c.n_mean  # (N, D)
        spread = c.w_variance * flat.square().mean(0) + c.n_variance  # (N, D)
        self.whole = covariance is not None
        if not self.whole:
            variance = flat.var(0)
            self.variance = c.w_mean.square() * variance + spread
            # Without noise in an element that never varies a' says nothing of it, and any positive number will do.
            self.variance += 1e-9 * self.variance.mean(1, keepdim=True)
            self.gains = c.w_mean * variance / self.variance
            return
        self.whiten, self.gain, self.log_det = [], [], []
        for w, extra in zip(c.w_mean, spread, strict=True):
            of_member = w[:, None] * covariance * w + torch.diag(extra)
            of_member += torch.eye(len(w), dtype=torch.float64) * 1e-9 * of_member.diagonal().mean()
            lower = torch.linalg.cholesky(of_member)
            inverse = torch.linalg.solve_triangular(lower, torch.eye(len(w), dtype=torch.float64), upper=False)
            self.whiten.append(inverse.float())
            self.gain.append((covariance * w @ inverse.T).float())
            self.log_det.append(lower.diagonal().log().sum().item())

    def members(self, sent: Tensor) -> Tensor:
        """The likeliest member of each row, int64 (n,)."""
        flat = sent.flatten(1)
        if not self.whole:
            precision = 1 / self.variance
            squares = flat.double().square() @ precision.T - 2 * flat.double() @ (self.means * precision).T
            score = squares + (self.means.square() * precision).sum(1) + self.variance.log().sum(1)
            return score.argmin(1)
        score = torch.stack([self._whitened(flat, m).square().sum(1) / 2 + self.log_det[m] for m in range(len(self.whiten))])
        return score.argmin(0)

    def __call__(self, sent: Tensor) -> Tensor:
        """Estimates of t, float32 (n, D)."""
        members, flat = self.members(sent), sent.flatten(1)
        if not self.whole:
            return (self.mean + self.gains[members] * (flat.double() - self.means[members])).float()
        estimate = torch.empty(len(flat), len(self.mean))
        for m in members.unique().tolist():
            rows = members == m
            estimate[rows] = self.mean.float() + self._whitened(flat[rows], m) @ self.gain[m].T
        return estimate

    def _whitened(self, flat: Tensor, m: int) -> Tensor:
        return (flat - self.means[m].float()) @ self.whiten[m].T


class Whiten:
    """a' in coordinates in which the noise is uncorrelated and of unit spread.

    Without it the loudest directions of the noise drown the quiet ones, and a network fails to train. Where noise is absent
    and the signal is not, coordinates are of unit spread of the signal; where both are absent there are none.

    Parameters
    ----------
    signal, sent : Tensor, (n, *activation shape)
        The same rows before and after noise.

    Attributes
    ----------
    rank : int
        Of the noise's covariance.
    """

    def __init__(self, signal: Tensor, sent: Tensor):
        clean, noise = signal.flatten(1).double(), (sent - signal).flatten(1).double()
        values, vectors = torch.linalg.eigh(torch.cov(noise.T))
        loud = values > _SINGULAR * values.max().clamp(min=torch.finfo(torch.float64).tiny)
        self.rank = int(loud.sum())
        scales = values.clamp(min=0).sqrt()
        quiet = ~loud
        if quiet.any():
            scales[quiet] = ((clean - clean.mean(0)) @ vectors[:, quiet]).std(0)
        kept = loud | (scales > _SINGULAR * scales.max())
        self.matrix = (vectors[:, kept] / scales[kept]).float()  # (D, kept)
        self.offset = noise.mean(0).float()

    def __call__(self, sent: Tensor) -> Tensor:
        """Coordinates, float32 (n, rank or more)."""
        return (sent.flatten(1) - self.offset) @ self.matrix


def _placed_moments(orders: Tensor, location: Tensor, scale: Tensor, family: Family) -> tuple[Tensor, Tensor]:
    """Mean and variance of each element of D draws placed by `orders`, (N, D), smallest first; each float64 (N, D)."""
    mean, variance = (torch.from_numpy(values) for values in order_statistics(orders.shape[1], family))
    placed = torch.empty(2, *orders.shape, dtype=torch.float64)
    for target, values in zip(placed, (mean, variance), strict=True):
        target.scatter_(1, orders, values.expand(len(orders), -1))
    return location[:, None] + scale[:, None] * placed[0], scale[:, None].square() * placed[1]


@cache
def order_statistics(d: int, family: Family) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of the order statistics of `d` standard draws, smallest first.

        E[X_(i)^k] = integral of F^-1(u)^k over Beta(u; i, d + 1 - i)

    (David and Nagaraja 2003, section 2.1), by Gauss and Legendre's rule in the Beta distribution's own probability
    p = 3 v^2 - 2 v^3, which bends the infinite ends away.

    Returns
    -------
    (ndarray, ndarray), float64, (d,)
    """
    points, weights = np.polynomial.legendre.leggauss(200)
    i = np.arange(1, d + 1)[:, None]
    v = (points + 1) / 2
    u = special.betaincinv(i, d + 1 - i, v * v * (3 - 2 * v))
    weights = weights * 3 * v * (1 - v)
    values = (stats.norm if family == "normal" else stats.laplace).ppf(u)
    mean = values @ weights
    return mean, values**2 @ weights - mean**2


@cache
def _order_covariance(d: int) -> np.ndarray:
    """Covariance of the order statistics of `d` standard Laplace draws, (d, d), from 20,000 samples of a fixed seed."""
    return np.cov(np.sort(np.random.default_rng(0).laplace(size=(20_000, d)), axis=1).T).reshape(d, d)
