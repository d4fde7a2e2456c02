"""Moments of sorted random draws: what is left to chance where the order of noise is known."""

from functools import cache
from typing import Literal

import numpy as np
from scipy import special


@cache
def order_statistics(d: int, family: Literal["normal", "laplace"]) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of the order statistics of `d` standard draws, smallest first.

        E[X_(i)^k] = integral of F^-1(u)^k over Beta(u; i, d + 1 - i)

    (David and Nagaraja 2003, section 2.1), by Gauss and Legendre's rule in the Beta distribution's own probability
    p = 3 v^2 - 2 v^3, which bends the infinite ends away.

    Returns
    -------
    (ndarray, ndarray), float64, (d,)
    """
    from scipy import stats  # takes most of a second to import, so only where it is asked for

    points, weights = np.polynomial.legendre.leggauss(200)
    i = np.arange(1, d + 1)[:, None]
    v = (points + 1) / 2
    u = special.betaincinv(i, d + 1 - i, v * v * (3 - 2 * v))
    weights = weights * 3 * v * (1 - v)
    values = (stats.norm if family == "normal" else stats.laplace).ppf(u)
    mean = values @ weights
    return mean, values**2 @ weights - mean**2


@cache
def laplace_order_covariance(d: int) -> np.ndarray:
    """Covariance of the order statistics of `d` standard Laplace draws, smallest first, float64 (d, d).

    Of the draws k are positive, k ~ Binomial(d, 1/2). Given k, they are the order statistics E of k exponential variables, the
    others mirrored ones of d - k (Govindarajulu 1966), for which (Renyi 1953)

        mean of the i-th of k = sum_{j <= i} 1 / (k + 1 - j)
        covariance with the l-th = sum_{j <= min(i, l)} 1 / (k + 1 - j)^2
    """
    from scipy import stats

    moments, means = np.zeros((d, d)), np.zeros(d)
    first, last = stats.binom.interval(1 - 1e-12, d, 0.5)
    possible = np.arange(int(first), int(last) + 1)
    weights = stats.binom.pmf(possible, d, 0.5)
    for k, weight in zip(possible, weights / weights.sum(), strict=True):
        (negative, of_negative), (positive, of_positive) = (_exponential_order_moments(n) for n in (d - k, k))
        mean = np.concatenate([-negative[::-1], positive])
        moments[: d - k, : d - k] += weight * of_negative[::-1, ::-1]
        moments[d - k :, d - k :] += weight * of_positive
        moments += weight * np.outer(mean, mean)
        means += weight * mean
    return moments - np.outer(means, means)


def _exponential_order_moments(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Means, (n,), and covariance, (n, n), of the order statistics of `n` standard exponential draws, smallest first."""
    steps, ranks = 1 / np.arange(n, 0, -1), np.arange(n)
    return np.cumsum(steps), np.cumsum(steps**2)[np.minimum.outer(ranks, ranks)]
