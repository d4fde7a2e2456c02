"""I: Shannon's mutual information of the blocks of y, directly from neighbours or from ranks; beyond the toolbox."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.special import digamma

from ite.cost.information import ShannonInformation
from ite.cost.knn import FOR_INFORMATION, RepeatedValues, nonzero
from ite.cost.shared import Knn, Rng, as_blocks, jitter, normal_scores
from ite.distances import Distances
from ite.max_norm import farthest_of, max_norm_neighbors, n_within

__all__ = ["MIShannon_KSG", "MIShannon_Mixed", "MIShannon_GaussianCopula"]


class MIShannon_KSG(Knn, ShannonInformation):
    """Shannon mutual information from neighbours in the joint space and counts in each block's own, in the maximum norm.

        algorithm 1:  I = psi(k) + (M - 1) psi(n) - sum_m mean_i psi(n_m(i) + 1)
        algorithm 2:  I = psi(k) - (M - 1) / k + (M - 1) psi(n) - sum_m mean_i psi(n_m(i))

    n_m(i) counts the other samples that in block m are nearer to sample i than its k-th neighbour is in all blocks together
    (1), or no farther than the farthest of its k neighbours is in block m (2). The errors of the M + 1 entropies nearly cancel.

    Parameters
    ----------
    algorithm : int
        1 or 2.

    References: Kraskov+ 2004, eqs. (8), (9), (23), (24).
    """

    keeps_float32 = False
    takes_distances = True

    algorithm: int = 1

    def __post_init__(self):
        super().__post_init__()
        if self.algorithm not in (1, 2):
            raise ValueError(f"algorithm: found {self.algorithm!r}, expected 1 or 2")

    def _estimate(self, y, blocks):
        n, n_blocks, k = len(y), len(blocks), self.k
        if isinstance(y, Distances):  # of all blocks, or of none, lest the same distance is rounded in two ways
            y, blocks = as_blocks(y.in_max_norm(), y.ds, keep_float32=True)
        largest = y.largest if isinstance(y, Distances) else np.abs(y).max()
        distances, neighbors = max_norm_neighbors(y, min(k + 1, max(k, n - 1)))
        warn_of_equal_distances(distances, k, rounding=4 * np.finfo(float).eps * largest)
        radius, neighbors = nonzero(distances[:, k - 1], k), neighbors[:, :k]
        if self.algorithm == 1:
            nearer = np.nextafter(radius, 0)
            marginal = sum(digamma(n_within(block, nearer) + 1).mean() for block in blocks)
            return digamma(k) + (n_blocks - 1) * digamma(n) - marginal
        marginal = 0
        for block in blocks:
            marginal += digamma(n_within(block, farthest_of(block, neighbors))).mean()
        return digamma(k) - (n_blocks - 1) / k + (n_blocks - 1) * digamma(n) - marginal


class MIShannon_Mixed(Knn, ShannonInformation):
    """Shannon mutual information of blocks that are continuous, discrete, or both: labels, counts, pixels, rectified values.

        I = mean_i psi(k_i) + (M - 1) psi(n) - sum_m mean_i psi(n_m(i))

    Where sample i equals k others or more in all blocks, k_i counts these and itself, and n_m(i) those equal to it in block m.
    Elsewhere it is algorithm 1 of `MIShannon_KSG`: k_i = k, and n_m(i) counts itself and the others that in block m are nearer
    than its k-th neighbour, with equal distances put in a random order by `ite.jitter`. So it is that estimator for continuous
    blocks, Ross's for one discrete block, and close to the plug-in estimate for discrete ones. Gao and others take logarithms
    in place of two digammas, and leave equal distances as they are, of which pixels and other grids of values have many.

    A label is far from another only if its number is: name such blocks as `discrete`, or the other blocks' unit decides. Rows
    that were only repeated, as a bootstrap does, are dependence to this estimator; drop them.

    Parameters
    ----------
    discrete : sequence of int
        Numbers of the blocks, from 0, whose values are labels, equal or not, whatever the numbers: neighbours are then sought
        among samples of the same label.
    rng : None, int or np.random.Generator
        Orders what is equally far. An int gives the same value at each call.

    References: Gao+ 2017; Ross 2014; Kraskov+ 2004.
    """

    keeps_float32 = False
    of_densities = False

    discrete: Sequence[int] = ()
    rng: Rng = None

    def _estimate(self, y, blocks):
        n, k = len(y), self.k
        wrong = [m for m in self.discrete if not (isinstance(m, int | np.integer) and 0 <= m < len(blocks))]
        if wrong:
            raise ValueError(f"discrete: found {wrong[0]!r}, expected numbers of blocks, from 0 to {len(blocks) - 1}")
        extent = max([np.ptp(block) for m, block in enumerate(blocks) if m not in self.discrete], default=0) or 1
        codes = [np.unique(block, axis=0, return_inverse=True)[1].reshape(n, 1) for block in blocks]
        blocks = [2 * extent * codes[m] if m in self.discrete else block for m, block in enumerate(blocks)]
        y = np.hstack(blocks)
        equal = max_norm_neighbors(y, k)[0][:, -1] == 0
        warn_of_repeated_rows(np.hstack(codes))
        labels = np.repeat([m in self.discrete for m in range(len(blocks))], [block.shape[1] for block in blocks])
        y = np.where(labels, y, jitter(y, rng=self.rng))
        nearer = np.nextafter(max_norm_neighbors(y, k)[0][:, -1], 0)
        marginal = 0
        for block, code in zip(np.split(y, np.cumsum([b.shape[1] for b in blocks])[:-1], axis=1), codes, strict=True):
            marginal += digamma(np.where(equal, n_equal(code), n_within(block, nearer) + 1)).mean()
        together = np.where(equal, n_equal(np.hstack(codes)), k)
        return digamma(together).mean() + (len(blocks) - 1) * digamma(n) - marginal


def n_equal(y: np.ndarray) -> np.ndarray:
    """How many rows of `y` (n, d) equal each one, itself included; int (n,)."""
    _, number, counts = np.unique(y, axis=0, return_inverse=True, return_counts=True)
    return counts[number.reshape(-1)]


def warn_of_repeated_rows(codes: np.ndarray) -> None:
    """Warn where rows repeat, of the values that `codes` (n, M) stand for, which are too many for labels, zeros or grids."""
    counts = np.unique(codes, axis=0, return_counts=True)[1]
    many = codes.max() > 0.4 * len(codes)  # values of a block
    if (n_groups := int((counts > 1).sum())) > len(codes) / 5 and many:
        warnings.warn(
            RepeatedValues(f"{counts[counts > 1].sum()} of {len(codes)} rows equal another in all blocks, of {n_groups} "
                           "different kinds; drop rows that were only repeated, which count as dependence"),
            stacklevel=4,
        )  # fmt: skip


def warn_of_equal_distances(distances: np.ndarray, k: int, rounding: float) -> None:
    """Warn where neighbours k and k + 1 are equally far from more than a hundredth of the samples; `distances` (n, k + 1).

    Up to `rounding`: steps of 1 / 255 are not quite equal.
    """
    kth, next_one = distances[:, k - 1], distances[:, -1]
    n_equal = int(((distances.shape[1] > k) & (next_one <= kth + rounding)).sum())
    if n_equal > len(distances) / 100:
        message = f"neighbours {k} and {k + 1} are equally far from {n_equal} of {len(distances)} samples; {FOR_INFORMATION}"
        warnings.warn(RepeatedValues(message), stacklevel=5)


class MIShannon_GaussianCopula(ShannonInformation):
    """Shannon mutual information of the Gaussian copula that the ranks suggest: a cheap reference in high dimension.

        I = 1/2 (sum_m log det R_m - log det R)

    R is the correlation matrix of the normal scores Phi^-1(rank / (n + 1)), R_m that of block m. Each log det is freed of the
    bias it has for Gaussian samples, sum_{j=1}^d psi((n - j) / 2) up to a constant that cancels. It is for Gaussian dependence,
    whatever the marginals; of any other dependence it sees what pairs of columns show.

    Ranks have a bias of their own, downward, which grows with the nats in each pair of directions and falls with n: at n = 400
    -0.04 of 2 nats in one pair of columns and -1.5 of 32 in ten pairs; -8.3 of these 32 where each block is rotated, for then
    the ranks' errors in ten columns add up in each direction.

    References: Ince+ 2017; Misra+ 2005.
    """

    def _estimate(self, y, blocks):
        scores = list(map(normal_scores, blocks))
        return (sum(map(self._log_det, scores)) - self._log_det(np.hstack(scores))) / 2

    @staticmethod
    def _log_det(scores):
        n, d = scores.shape
        if n <= d:
            raise ValueError(f"y: found {n} samples in {d} dimensions, expected more samples than dimensions")
        eigenvalues = np.linalg.eigvalsh(np.atleast_2d(np.corrcoef(scores, rowvar=False)))
        if eigenvalues[0] <= d * np.finfo(float).eps * eigenvalues[-1]:
            raise ValueError(f"y: {d} columns have linearly dependent normal scores, expected independent ones")
        return np.log(eigenvalues).sum() - digamma((n - np.arange(1, d + 1)) / 2).sum()
