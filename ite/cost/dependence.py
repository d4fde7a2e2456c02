"""I: dependence of the blocks of y, measured by distances, by Gram matrices of three blocks, or by ranks."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import ClassVar

import numpy as np
from scipy.spatial.distance import cdist, pdist
from scipy.special import gammaln
from torch import Tensor

from ite.cost.knn import RepeatedValues, warn_of_ties
from ite.cost.shared import Estimator, Rng, as_blocks, copula, signed_root
from ite.cost.x_kernel import Kernel, mean_over_pairs
from ite.distances import Distances

__all__ = ["BIDistCov", "BIDistCorr", "BI3WayJoint", "BI3WayLancaster", "BIHoeffding", "MIMMD_CopulaDMMD"]


class Information(Estimator):
    """A measure of dependence: zero for independent blocks."""

    keeps_float32 = False
    of_densities: ClassVar[bool] = False  # whether equal rows deny what is assumed of a block
    n_blocks: ClassVar[int | None] = None
    takes_distances: ClassVar[bool] = False  # though it does not keep float32

    def estimation(self, y: np.ndarray | Tensor | Distances, ds: Sequence[int] | None = None) -> float:
        """Dependence of the blocks of `y` (n, sum(ds)), whose columns stand side by side; in nats where it is an information.

        Without `ds` every column is a block; `ite.Distances` have blocks already. Raises ValueError for a sample or blocks it
        cannot be computed from.
        """
        if isinstance(y, Tensor) and y.device.type != "cpu" and (self.keeps_float32 or self.takes_distances):
            y = Distances(y, ds)  # where they are
        of_distances = self.takes_distances and isinstance(y, Distances)
        y, blocks = as_blocks(y, ds, self.keeps_float32 or of_distances)
        if self.n_blocks and len(blocks) != self.n_blocks:
            raise ValueError(f"ds: found {len(blocks)} blocks, expected {self.n_blocks} for {type(self).__name__}")
        if self.of_densities:
            warn_of_ties(blocks)
        with np.errstate(over="ignore"), warnings.catch_warnings():  # an infinite estimate raises
            # What the blocks were counted for above needs no saying again for each sample that is made of them.
            warnings.filterwarnings("ignore", r"\d+ of \d+ samples equal", RepeatedValues)
            return self._finite(self._estimate(y, blocks))


def some_rows(n: int) -> list[np.ndarray]:
    """The numbers of n rows in parts, so that a part of an n x n matrix takes about 64 MB."""
    return np.array_split(np.arange(n), -(-n * n // 8_000_000))


def centred(matrices: Sequence[Callable], n: int) -> Iterator[list[np.ndarray]]:
    """Rows of symmetric matrices (n, n), less the means of rows and of columns, plus the mean; a few at a time.

    Each of `matrices` makes the rows (m, n) of the numbers (m,) that it is given. It does so twice, for the means come first.
    """
    means = [np.concatenate([rows_of(rows).mean(axis=1) for rows in some_rows(n)]) for rows_of in matrices]
    for rows in some_rows(n):
        yield [rows_of(rows) - m - m[rows, None] + m.mean() for rows_of, m in zip(matrices, means, strict=True)]


class BIDistCov(Information):
    """Distance covariance of two blocks.

        dCov = sqrt( sum_ij A_ij B_ij ) / n

    A and B are the doubly centred matrices of the blocks' Euclidean distances to the power alpha. They are made a few rows at a
    time: n^2 takes time, not memory.

    Parameters
    ----------
    alpha : float
        Between 0 and 2.

    References: Szekely+ 2007; Szekely, Rizzo 2009.
    """

    n_blocks = 2

    alpha: float = 1

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.alpha < 2:
            raise ValueError(f"alpha: found {self.alpha}, expected a number between 0 and 2")

    def _estimate(self, y, blocks):
        distances = [lambda rows, block=block: cdist(block[rows], block) ** self.alpha for block in blocks]
        products = ([(a * b).sum(), (a**2).sum(), (b**2).sum()] for a, b in centred(distances, len(y)))
        return self._root(*np.sum(list(products), axis=0), len(y))

    def _root(self, both, own1, own2, n):
        return signed_root(both) / n


class BIDistCorr(BIDistCov):
    """Distance correlation of two blocks: sqrt( sum A B / sqrt( sum A^2 sum B^2 ) ), with A and B as in `BIDistCov`."""

    def _root(self, both, own1, own2, n):
        if not (own1 and own2):
            raise ValueError(f"y: block {int(own1 != 0)} is constant, expected one that varies")
        return signed_root(both / np.sqrt(own1) / np.sqrt(own2))


class ThreeWay(Information):
    """Interaction of three blocks, from Gram matrices of the RBF kernel.

    Parameters
    ----------
    sigma1, sigma2, sigma3 : float
        The kernel's widths; NaN means the median distance among the first 100 samples over sqrt(2).

    References: Sejdinovic+ 2013.
    """

    n_blocks = 3

    sigma1: float = 0.1
    sigma2: float = 0.1
    sigma3: float = 0.1

    def _estimate(self, y, blocks):
        sigmas = [self.sigma1, self.sigma2, self.sigma3]
        return self._interaction([self._gram(block, sigma) for block, sigma in zip(blocks, sigmas, strict=True)], len(y))

    @staticmethod
    def _gram(block, sigma):
        """What makes rows of the block's Gram matrix, by their numbers."""
        sigma = np.median(pdist(block[:100])) / np.sqrt(2) if np.isnan(sigma) else sigma
        if not sigma > 0:
            raise ValueError(f"sigma: found {sigma}, expected a positive width; is a block constant?")
        kernel = Kernel({"name": "RBF", "sigma": sigma})
        return lambda rows: kernel.gram_matrix2(block[rows], block)


class BI3WayJoint(ThreeWay):
    """Squared distance || mu_123 - mu_1 x mu_2 x mu_3 ||^2 of the joint embedding from the product's: see `ThreeWay`."""

    def _interaction(self, grams, n):
        own, means = 0.0, []
        for rows in some_rows(n):
            parts = [rows_of(rows) for rows_of in grams]
            own += prod(parts).sum() / n**2
            means.append([part.mean(axis=1) for part in parts])
        means = np.concatenate(means, axis=1)  # (3, n)
        return own - 2 * means.prod(axis=0).mean() + means.mean(axis=1).prod()


class BI3WayLancaster(ThreeWay):
    """Squared norm of the Lancaster interaction's embedding, mean_ij of the product of centred matrices: see `ThreeWay`."""

    def _interaction(self, grams, n):
        return sum(prod(parts).sum() for parts in centred(grams, n)) / n**2


class BIHoeffding(Information):
    """Multivariate version of Hoeffding's Phi: the distance of the copula C_n from independence, for blocks of one column.

        Phi^2 = h int (C_n(u) - prod_j u_j)^2 du

    The integral is over the unit cube, or for small samples over the grid 0, 1/n, ..., (n - 1)/n; 1 / h is its value for
    comonotone columns if `mult`, else 1.

    Parameters
    ----------
    small_sample_adjustment : bool
        Whether to sum over the grid.

    References: Gaiser+ 2010.
    """

    small_sample_adjustment: bool = True

    def _estimate(self, y, blocks):
        u = copula(blocks)
        n, d = u.shape
        square = self._square(u)
        if self.mult and self.small_sample_adjustment:
            square /= self._square(np.tile(np.arange(1, n + 1)[:, None] / n, d))
        elif self.mult:
            cross = np.exp(
                gammaln(d + 1) - d * np.log(2) + gammaln(1 / 2) - gammaln(d + 3 / 2)
            )  # d! / 2^d / prod_0^d (i + 1/2)
            square /= 2 / ((d + 1) * (d + 2)) - cross + 3.0**-d
        return signed_root(square)

    def _square(self, u):
        n, d = u.shape
        if self.small_sample_adjustment:  # int of 1[u_j <= v] v, and of v^2, over the grid
            once, twice = (n - 1 - u * (n * u - 1)) / (2 * n), (n - 1) * (2 * n - 1) / (6 * n**2)
        else:
            once, twice = (1 - u**2) / 2, 1 / 3
        both = mean_over_pairs(lambda v, w: prod(1 - np.maximum.outer(v[:, j], w[:, j]) for j in range(d)), u, u)
        return both - 2 * once.prod(axis=1).mean() + twice**d


class MIMMD_CopulaDMMD(Information):
    """Maximum mean discrepancy of the empirical copula from a uniform sample, for blocks of one column.

    References: Poczos+ 2012b.
    """

    mmd_co_name: str = "BDMMD_UStat"
    mmd_co_pars: dict | None = None
    rng: Rng = None

    def _estimate(self, y, blocks):
        u = copula(blocks)
        return self.mmd_co.estimation(u, np.random.default_rng(self.rng).random(u.shape))
