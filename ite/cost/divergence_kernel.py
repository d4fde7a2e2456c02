"""D: divergence between the distributions p1 and p2 of two samples, y1 (n1, d) and y2 (n2, d), from distances and kernels."""

from dataclasses import field

import numpy as np
from scipy.spatial.distance import cdist

from ite.cost.dependence_kernel import IncompleteCholesky
from ite.cost.divergence import Divergence
from ite.cost.shared import signed_root
from ite.cost.x_kernel import Kernel, mean_over_pairs

__all__ = [
    "BDEnergyDist", "BDMMD_VStat", "BDMMD_UStat", "BDMMD_Online", "BDMMD_VStat_IChol", "BDMMD_UStat_IChol",
]  # fmt: skip


class BDEnergyDist(Divergence):
    """Energy distance 2 E|y1 - y2| - E|y1 - y1'| - E|y2 - y2'|, with all pairs in each mean.

    References: Szekely, Rizzo 2004, 2005; Baringhaus, Franz 2004.
    """

    def _estimate(self, y1, y2):
        return 2 * mean_over_pairs(cdist, y1, y2) - mean_over_pairs(cdist, y1, y1) - mean_over_pairs(cdist, y2, y2)


class MaximumMeanDiscrepancy(Divergence):
    """Distance of the kernel's mean embeddings of two distributions.

        MMD^2 = E k(y1, y1') + E k(y2, y2') - 2 E k(y1, y2)

    The unbiased estimates of the square can be negative. The original then takes the root of the absolute value; here the sign
    is kept.

    References: Gretton+ 2012.
    """

    def _estimate(self, y1, y2):
        return signed_root(self._square(y1, y2))


def without_diagonal(mean: float, diagonal: np.ndarray) -> float:
    """Mean over the pairs i != j of n points, from that over all n^2 and from the (n,) values at i = j."""
    n = len(diagonal)
    if n < 2:
        raise ValueError("found a sample of one row, expected two or more: its pairs are compared")
    return (n * mean - diagonal.mean()) / (n - 1)


class WithKernel(MaximumMeanDiscrepancy):
    """Parameter of an estimator with a kernel on points.

    Parameters
    ----------
    kernel : Kernel
    """

    kernel: Kernel = field(default_factory=Kernel)


class BDMMD_VStat(WithKernel):
    """Maximum mean discrepancy with all pairs in each mean, a V-statistic: see `MaximumMeanDiscrepancy`."""

    def _square(self, y1, y2):
        mean = self.kernel.mean
        return mean(y1, y1) + mean(y2, y2) - 2 * mean(y1, y2)


class BDMMD_UStat(WithKernel):
    """Maximum mean discrepancy without the pairs of a point with itself, a U-statistic: see `MaximumMeanDiscrepancy`."""

    def _square(self, y1, y2):
        mean = self.kernel.mean
        own = [without_diagonal(mean(y, y), self.kernel.gram_matrix_diagonal(y)) for y in (y1, y2)]
        return sum(own) - 2 * mean(y1, y2)


class BDMMD_Online(WithKernel):
    """Maximum mean discrepancy from n / 2 pairs of neighbouring rows, in linear time: see `MaximumMeanDiscrepancy`.

        MMD^2 = 2 / n sum_i k(y1_2i, y1_2i+1) + k(y2_2i, y2_2i+1) - k(y1_2i, y2_2i+1) - k(y1_2i+1, y2_2i)

    The original returns the square; here it is the (signed) root as from the other estimators of this distance.
    """

    def _square(self, y1, y2):
        if len(y1) != len(y2) or len(y1) % 2:
            raise ValueError(f"found {len(y1)} and {len(y2)} rows, expected the same even number")
        total = self.kernel.sum
        even, odd = slice(0, None, 2), slice(1, None, 2)
        own = total(y1[even], y1[odd]) + total(y2[even], y2[odd])
        return (own - total(y1[even], y2[odd]) - total(y1[odd], y2[even])) / (len(y1) / 2)


class LowRank(IncompleteCholesky, MaximumMeanDiscrepancy):
    """Maximum mean discrepancy with K = G G^T, G the incomplete Cholesky factor of both samples together."""

    def _square(self, y1, y2):
        g = self.factor(np.vstack([y1, y2]))
        g1, g2 = g[: len(y1)], g[len(y1) :]
        return self._own(g1) + self._own(g2) - 2 * g1.mean(axis=0) @ g2.mean(axis=0)


class BDMMD_VStat_IChol(LowRank):
    """`BDMMD_VStat` in linear time: see `LowRank`."""

    def _own(self, g):
        return (g.mean(axis=0) ** 2).sum()


class BDMMD_UStat_IChol(LowRank):
    """`BDMMD_UStat` in linear time: see `LowRank`."""

    def _own(self, g):
        return without_diagonal((g.mean(axis=0) ** 2).sum(), (g**2).sum(axis=1))
