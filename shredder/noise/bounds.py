"""How much noise lets through at most, in bits: Gaussian channels, two levels, limited amplitudes, Laplace noise.

A bound that rests on the covariance of what is sent is a one-sided 99 % confidence bound on what the covariance of the
population gives: `LogDet` says how.
"""

import math
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from shredder.io.cli import InputError
from shredder.io.device import moved

# Standard errors above an estimate; a Normal estimate stays below its quantile by more in one case of a hundred.
_QUANTILE = float(ndtri(0.99))
# Rows for each direction in which the signal is not drowned by the noise, from which on correlations count.
_ROWS_FOR_A_DIRECTION = 10
# Elements of a covariance; where there are more, they count as independent.
ELEMENTS_WITH_COVARIANCE = 4000
# Noise variances that Laplace noise is averaged over: so many, or as many as so many operations are enough for.
_MIXED, _FEWEST_MIXED, _OPERATIONS = 400, 48, 6e10


class LogDet(NamedTuple):
    """ln det(C + N) of the covariance C of a population, from a sample of it.

        f = ln det(C_n + N) + (mean(h^2) - tr G^2) / 2n + n ((1 - x) ln(1 - x) + x - x^2 / 2),   x = tr G / n
        h_i = x_i^T (C_n + N)^-1 x_i,   G = (C_n + N)^-1 C_n

    The second term is what the sample's determinant misses in the first order of 1 / n, for any distribution (of Normal
    samples it is ((tr G)^2 + tr G^2) / 2n); the third is what Normal samples miss in all higher ones where each direction
    counts whole or not at all (Wishart's determinant, a product of chi-square variables). f moves by (h_i - mean(h)) / n with
    row i, so that its standard error is std(h) / sqrt(n) (the delta method).

    Attributes
    ----------
    value : float
        f.
    moves : Tensor, float64, (n,)
        h.
    """

    value: float
    moves: Tensor

    def at_most(self) -> float:
        """The one-sided 99 % confidence bound."""
        return self.value + _QUANTILE * self.moves.std().item() / math.sqrt(len(self.moves))


class Sample:
    """Rows of what is sent before noise, (n, d), n > 9: all that is known of their covariance.

    Raises
    ------
    InputError
        Of fewer than ten rows.
    """

    def __init__(self, rows: Tensor):
        self.n, self.d = rows.shape
        if self.n < 10:
            raise InputError(f"found {self.n} activations, expected 10 or more, for a bound in bits rests on their spread")
        self.centred = rows.double() - rows.double().mean(0)
        self.few = self.d > ELEMENTS_WITH_COVARIANCE
        self.covariance = None if self.few else self.centred.T @ self.centred / (self.n - 1)

    def log_det(self, noise: Tensor) -> LogDet:
        """ln det(C + N); `noise` is N, (d, d), or its diagonal, (d,).

        Where fewer than ten rows are there for each direction that is louder than the noise (their number is tr G), only
        variances count, whose product is larger (Hadamard's inequality).
        """
        if not self.few:
            both = self.covariance + (torch.diag(noise) if noise.dim() == 1 else noise)
            inverse = torch.linalg.inv(both)
            g = inverse @ self.covariance
            if g.trace() * _ROWS_FOR_A_DIRECTION <= self.n:
                moves = ((self.centred @ inverse) * self.centred).sum(1)
                x = g.trace().item() / self.n
                missed = (moves.square().mean() - (g * g.T).sum()) / (2 * self.n)
                missed += self.n * ((1 - x) * math.log1p(-x) + x - x * x / 2)
                # Rows look too much alike through a covariance of their own.
                return LogDet((torch.linalg.slogdet(both).logabsdet + missed).item(), moves / (1 - x))
        squares, fourth, variance = self._powers
        both = variance + (noise if noise.dim() == 1 else noise.diagonal())
        missed = ((fourth - variance.square()) / both.square()).sum() / (2 * self.n)
        return LogDet((both.log().sum() + missed).item(), squares @ (1 / both))

    @cached_property
    def _powers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Squares of the centred rows, (n, d); means of their fourth powers, and variances, (d,)."""
        squares = self.centred.square()
        return squares, squares.square().mean(0), self.centred.var(0)


def gaussian_bits(covariance: Tensor, scales: Tensor, queries: int = 1) -> Tensor:
    """What a Gaussian channel carries at most, in bits.

        I(x; a') <= I(t; t + s * e) <= 1/2 log2 det(I + q S^-1 C S^-1),   S = diag(s)

    The first step is the data processing inequality, the second that at a given covariance the Normal distribution has the
    largest entropy (Cover and Thomas 2006, Theorems 2.8.1, 8.6.5). The mean of q draws for one input carries all that they
    say, and has noise of variance s^2 / q.

    Parameters
    ----------
    covariance : Tensor, (r, r)
        C, of t. It may be singular.
    scales : Tensor, (r,)
        s, above 0.
    queries : int
        q.

    Returns
    -------
    Tensor, ()
    """
    ratio = queries * covariance / (scales[:, None] * scales)
    identity = torch.eye(len(scales), dtype=ratio.dtype, device=ratio.device)
    return torch.linalg.slogdet(identity + ratio).logabsdet / (2 * math.log(2))


def gaussian_bits_at_most(signal: Tensor, scales: Tensor, queries: int = 1) -> float:
    """`gaussian_bits` of the covariance that `signal`, (n, r), was drawn with: a one-sided 99 % confidence bound."""
    standard = signal.double() * math.sqrt(queries) / scales.double()
    return Sample(standard).log_det(torch.ones_like(standard[0])).at_most() / (2 * math.log(2))


def two_level_bits(limits: Tensor, scales: Tensor, queries: int = 1) -> Tensor:
    """What Gaussian channels carry at most whose inputs are -c or c, in bits, for whatever distribution of inputs.

        I(x; a') <= sum over directions of 1 - E[log2(1 + exp(-2 g (g + e)))],   g = sqrt(q) c / s,   e standard normal

    Each term is the capacity of a two-level Gaussian channel, reached where both levels are equally frequent (Richardson and
    Urbanke 2008, section 4.1), and at most 1 however many queries there are; noise is independent in each direction, so that
    capacities add up (Cover and Thomas 2006, section 9.4). By Gauss and Hermite's rule.

    Parameters
    ----------
    limits, scales : Tensor, (r,)
        c and s, above 0.
    queries : int
        q.

    Returns
    -------
    Tensor, ()
    """
    points, weights = (torch.from_numpy(values).to(scales) for values in _hermite())
    g = (math.sqrt(queries) * limits / scales)[:, None]
    lost = torch.nn.functional.softplus(-2 * g * (g + points)) @ weights / math.log(2)
    return (1 - lost).sum()


@cache
def _hermite() -> tuple[np.ndarray, np.ndarray]:
    """Points and weights, (100,), that integrate over the standard Normal distribution."""
    points, weights = np.polynomial.hermite_e.hermegauss(100)
    return points, weights / weights.sum()


def limited_bits(limits: Tensor, scales: Tensor, queries: int = 1) -> Tensor:
    """What Gaussian channels carry at most whose inputs lie between -c and c, in bits, whatever they are.

        I(x; a') <= sum over directions of min(1/2 log2(1 + g^2), log2(1 + 2 g / sqrt(2 pi e))),   g = sqrt(q) c / s

    By the power that such inputs can have, and by their amplitude (McKellips 2004, "Simple tight bounds on capacity for the
    peak-limited discrete-time channel"). Arguments and result as for `two_level_bits`.
    """
    g = math.sqrt(queries) * limits / scales
    return torch.minimum(torch.log2(1 + g.square()) / 2, torch.log2(1 + 2 * g / math.sqrt(2 * math.pi * math.e))).sum()


def entropy_bits_at_most(signal: Tensor, covariance: Tensor, entropy: float) -> float:
    """What noise of a density lets through at most, in bits, since the Normal distribution has the largest entropy.

        I(x; a') <= h(a') - h(a' | t) <= 1/2 log2 det(2 pi e (C + N)) - h(n)

    (Cover and Thomas 2006, Theorem 8.6.5), for noise n that is independent of t.

    Parameters
    ----------
    signal : Tensor, (n, d)
        Rows of t; C is bounded as in `LogDet`.
    covariance : Tensor, float64, (d, d) or (d,)
        N, or its diagonal.
    entropy : float
        h(n), in nats.
    """
    found = Sample(signal).log_det(covariance)
    return (signal.shape[1] / 2 * math.log(2 * math.pi * math.e) + found.at_most() / 2 - entropy) / math.log(2)


def laplace_bits_at_most(signal: Tensor, scales: Tensor, rng: np.random.Generator, queries: int = 1) -> float:
    """What independent Laplace noise lets through at most, in bits, as a mixture of Gaussians.

        I(x; a') <= I(t; a', V) = I(t; a' | V) <= E[1/2 log2 det(I + diag(L) C)],   L_i = sum over queries of 1 / V_iq

    A Laplace value of scale b is a Normal one of variance V, where V is exponential with mean 2 b^2 (Andrews and Mallows 1974).
    V is independent of t, so that whoever is told V learns no less; given V the channel is Gaussian. The expectation is a mean
    over draws of V, whose own standard error is in the bound.

    Parameters
    ----------
    signal : Tensor, (n, d)
        Rows of t.
    scales : Tensor, float64, (d,)
        b, above 0.
    rng : np.random.Generator
        Draws V.
    queries : int
        q.
    """
    sample, (n, d) = Sample(signal), signal.shape
    cost = n * d if sample.few else d * d * (n + d)
    values, moves = [], torch.zeros(n, dtype=torch.float64, device=scales.device)
    n_mixed = int(min(_MIXED, max(_FEWEST_MIXED, _OPERATIONS / cost)))
    for _ in range(n_mixed):
        drawn = moved((1 / rng.standard_exponential((queries, d))).sum(0), scales.device)
        precision = drawn / (2 * scales.square())
        found = sample.log_det(1 / precision)
        values.append(found.value + precision.log().sum().item())
        moves += found.moves / n_mixed
    error = math.hypot(float(np.std(values)) / math.sqrt(n_mixed), moves.std().item() / math.sqrt(n))
    return (float(np.mean(values)) + _QUANTILE * error) / (2 * math.log(2))
