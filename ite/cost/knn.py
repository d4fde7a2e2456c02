"""What k-th nearest neighbours say about integrals of densities: the functionals that the kNN estimators are made of.

rho_i is the Euclidean distance of y1_i to its k-th nearest neighbour in y1 without itself, nu_i that to its k-th in y2, c the
volume of the unit ball. n p(y_i) c rho_i^d is about Gamma(k, 1), whose moments give the constants. All is computed in
logarithms: powers of distances leave float64's range in high dimension, and c underflows from d = 342 on.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln, logsumexp

from ite.cost.shared import row_codes
from ite.distances import Distances
from ite.neighbors import knn_distances


class FewEffectiveSamples(UserWarning):
    """A mean over samples that a few of them decide, as powers of distances let them in high dimension.

    It is given where Kish's effective number, (sum w)^2 / sum w^2 of the terms w, is less than a fifth of the samples.
    """


class RepeatedValues(UserWarning):
    """Samples, or blocks of them, with equal rows, or equally far neighbours, where a density is assumed.

    Of a density no two are equal. Labels, counts, pixels, rounded or rectified values, rows drawn with replacement and float32
    beside a large offset have many, and then an estimate from neighbours is wrong without any other sign. It is given where
    more than a hundredth of the rows are concerned; rounding to float32 alone makes far fewer.
    """


FOR_INFORMATION = "use MIShannon_Mixed, or ite.jitter and MIShannon_KSG, and drop rows that were only repeated"


def n_tied(y: np.ndarray | Distances) -> int:
    """How many rows of `y` (n, d) equal another one."""
    counts = np.bincount(y.codes()[:, 0] if isinstance(y, Distances) else row_codes(y))
    return int(counts[counts > 1].sum())


def warn_of_ties(blocks: Sequence[np.ndarray | Distances]) -> None:
    """Warn with `RepeatedValues` where more than a hundredth of a block's rows (n, d) equal others."""
    n, tied = len(blocks[0]), list(map(n_tied, blocks))
    found = [f"{count} of {n} rows in block {m}" for m, count in enumerate(tied) if count > n / 100]
    if found:
        warnings.warn(RepeatedValues(f"equal to others are {', '.join(found)}; {FOR_INFORMATION}"), stacklevel=4)


def log_unit_ball_volume(d: int) -> float:
    """Logarithm of the volume of the d-dimensional unit ball, finite for every d."""
    return d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)


def to_neighbors(
    points: np.ndarray | Distances, ranks: Sequence[int], queries: np.ndarray | Distances | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the nearest point equals each query, bool (m,), and distances to the neighbours of `ranks`, (m, len(ranks))."""
    if isinstance(points, Distances):
        return points.to_neighbors(ranks, queries)
    distances = knn_distances(points, max(ranks), queries)
    return distances[:, 0] == 0, distances[:, np.array(ranks) - 1]


def log_distances(points: np.ndarray | Distances, k: int, queries: np.ndarray | Distances | None = None) -> np.ndarray:
    """Logarithm of each query's (or point's, itself excluded) distance to its k-th nearest point, float64 (m,).

    Raises
    ------
    ValueError
        If there are too few points, or if repeated rows make a distance zero. Warns with `RepeatedValues` before.
    """
    equal, distances = to_neighbors(points, [k], queries)
    n_zero = int(equal.sum())
    if n_zero > len(distances) / 100:
        where = "each other" if queries is None else "some of the other sample"
        message = f"{n_zero} of {len(distances)} samples equal {where}, as no density has it: drop repeated rows, or ite.jitter"
        warnings.warn(RepeatedValues(message), stacklevel=4)
    return np.log(nonzero(distances[:, 0], k))


def nonzero(distances: np.ndarray, k: int) -> np.ndarray:
    """`distances` (m,) to neighbour k, all positive. Raises ValueError that counts those which are not."""
    n_zero = int((distances == 0).sum())
    if n_zero:
        raise ValueError(
            f"{n_zero} of {len(distances)} samples equal {k} or more others, so their distance to neighbour k = {k} is zero; "
            "remove repeated rows, or choose a larger k"
        )
    return distances


def log_ia(y: np.ndarray, k: int, a: float) -> float:
    """Log of int p^a, from `y` (n, d).

        Ia = ((n - 1) c)^(1 - a) G(k) / G(k + 1 - a) mean_i rho_i^(d (1 - a))

    N. Leonenko, L. Pronzato, V. Savani, Annals of Statistics 36(5), 2008.
    """
    return _log_integral(y.shape[1], len(y) - 1, log_distances(y, k), k, a)


def log_d3(y1: np.ndarray, y2: np.ndarray, k: int, a: float) -> float:
    """Log of int p q^(a - 1), from `y1` (n1, d) of p and `y2` (n2, d) of q.

        D3 = (n2 c)^(1 - a) G(k) / G(k + 1 - a) mean_i nu_i^(d (1 - a))

    N. Leonenko, L. Pronzato, V. Savani, Annals of Statistics 36(5), 2008.
    """
    return _log_integral(y1.shape[1], len(y2), log_distances(y2, k, y1), k, a)


def _log_integral(d: int, n: int, log_distance: np.ndarray, k: int, a: float) -> float:
    constant = (1 - a) * (np.log(n) + log_unit_ball_volume(d)) + gammaln(k) - log_gamma(k, 1 - a)
    return constant + log_mean(d * (1 - a) * log_distance)


def log_d1(y1: np.ndarray, y2: np.ndarray, k: int, a: float) -> float:
    """Log of int p^a q^(1 - a), from `y1` (n1, d) of p and `y2` (n2, d) of q.

        D1 = G(k)^2 / (G(k + 1 - a) G(k + a - 1)) mean_i ( (n1 - 1) / n2 (rho_i / nu_i)^d )^(1 - a)

    B. Poczos, J. Schneider, "On the estimation of alpha-divergences", AISTATS 2011.
    """
    return log_d2(y1, y2, k, a - 1, 1 - a)


def log_d2(y1: np.ndarray, y2: np.ndarray, k: int, a: float, b: float) -> float:
    """Log of int p^a q^b p, from `y1` (n1, d) of p and `y2` (n2, d) of q.

        D2 = (n1 - 1)^-a n2^-b c^-(a + b) G(k)^2 / (G(k - a) G(k - b)) mean_i rho_i^(-d a) nu_i^(-d b)

    B. Poczos, L. Xiong, D. Sutherland, J. Schneider, "Nonparametric kernel estimators for image classification", CVPR 2012.
    """
    (n1, d), n2 = y1.shape, len(y2)
    log_rho, log_nu = log_distances(y1, k), log_distances(y2, k, y1)
    constant = 2 * gammaln(k) - log_gamma(k, -a) - log_gamma(k, -b)
    constant -= a * np.log(n1 - 1) + b * np.log(n2) + (a + b) * log_unit_ball_volume(d)
    return constant + log_mean(-d * (a * log_rho + b * log_nu))


def log_gamma(k: int, shift: float) -> float:
    """log G(k + shift); the moment of order `shift` of a Gamma(k, 1) variable exists for k + shift > 0 only."""
    if k + shift <= 0:
        raise ValueError(f"k: found {k}, expected more than {-shift:g}, the power in which a density is estimated")
    return gammaln(k + shift)


def log_mean(logarithms: np.ndarray) -> float:
    """log mean_i exp(l_i), with a warning where few terms outweigh all the others."""
    total, n = logsumexp(logarithms), len(logarithms)
    effective = np.exp(2 * total - logsumexp(2 * logarithms))
    if effective < n / 5:
        message = f"of {n} samples, {effective:.1f} in effect decide the estimated integral"
        warnings.warn(message, FewEffectiveSamples, stacklevel=2)
    return total - np.log(n)
