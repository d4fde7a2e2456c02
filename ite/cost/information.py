"""I: mutual information of the blocks of y, from entropies, from divergences, and directly."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.special import digamma, ndtri
from scipy.stats import rankdata

from ite.cost.dependence import Information
from ite.cost.knn import nonzero
from ite.cost.shared import Alpha, Knn, Rng, copula, spread
from ite.neighbors import max_norm_neighbors, n_within

__all__ = [
    "UnsupportedEstimate", "MIShannon_DKL", "MIChi2_DChi2", "MIL2_DL2", "MIRenyi_DR", "MITsallis_DT", "MIShannon_HS",
    "MIRenyi_HR", "BcondIShannon_HShannon", "MIShannon_KSG", "MIShannon_GaussianCopula",
]  # fmt: skip


class UnsupportedEstimate(UserWarning):
    """A mutual information above what its samples can support.

    No distribution-free lower bound from n samples exceeds about log n nats: an estimate above that rests on what the method
    assumes of the distribution, not on the samples alone.

    Attributes
    ----------
    estimate, limit : float
        Nats; the limit is log n.
    n : int
        Rows.

    References: McAllester, Stratos 2020.
    """

    def __init__(self, estimate: float, n: int):
        self.estimate, self.n, self.limit = estimate, n, float(np.log(n))
        super().__init__(f"{estimate:.4g} nats is more than {n} samples support without assumptions, log n = {self.limit:.3g}")


class ShannonInformation(Information):
    """Shannon's mutual information, with a warning where n samples cannot support the estimate."""

    def estimation(self, y: np.ndarray, ds: Sequence[int] | None = None) -> float:
        """Mutual information in nats of the blocks of `y` (n, sum(ds)), whose columns stand side by side.

        Without `ds` every column is a block. Raises ValueError for a sample or blocks it cannot be computed from; warns with
        `UnsupportedEstimate` above log n.
        """
        estimate = super().estimation(y, ds)
        if estimate > np.log(len(y)):
            warnings.warn(UnsupportedEstimate(estimate, len(y)), stacklevel=2)
        return estimate


# As a divergence


def joint_and_product(
    y: np.ndarray, blocks: list[np.ndarray], rng: Rng, order: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A sample of the joint distribution and one of the product of the marginals, both (n // 2, d), from `y` (n, d).

    The first half of the rows (in `order`, if given) is the joint sample. In the second half the rows of every block are
    permuted independently. An odd last row is left out.
    """
    rng, half = np.random.default_rng(rng), len(y) // 2
    if half == 0:
        raise ValueError("y: found one row, expected at least two, to split them")
    joint = y[:half] if order is None else y[order[:half]]
    second = np.arange(half, 2 * half) if order is None else order[half : 2 * half]
    product, start = np.empty_like(joint), 0
    for block in blocks:
        rows = second[rng.permutation(half)]
        for some in np.array_split(np.arange(half), -(-block[:half].nbytes // 10**7)):  # no second copy of a large block
            product[some, start : start + block.shape[1]] = block[rows[some]]
        start += block.shape[1]
    return joint, product


class SplitInformation(Information):
    """Information as the divergence of the joint distribution's sample from the product's."""

    keeps_float32 = True

    def _estimate(self, y, blocks):
        return self._component.estimation(*joint_and_product(y, blocks, self.rng))


class MIShannon_DKL(ShannonInformation):
    """Shannon mutual information as a Kullback-Leibler divergence: I = D_KL( joint || product ).

    The first half of the rows is the joint sample; the second, with each block's rows permuted, one of the product. The
    estimate depends on the relative scale of the blocks, which mutual information does not: see `ite.standardize`.

    Parameters
    ----------
    n_splits : int, optional
        Take the mean over this many random splits of the rows in halves, instead of the one split in the given order. The
        values are kept in `last_run`, (n_splits,) nats.
    rng : None, int or np.random.Generator
        Splits and permutes. An int gives the same value at each call.
    """

    keeps_float32 = True

    kl_co_name: str = "BDKL_KnnK"
    kl_co_pars: dict | None = None
    rng: Rng = None
    n_splits: int | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.n_splits is not None and (not isinstance(self.n_splits, int | np.integer) or self.n_splits < 1):
            raise ValueError(f"n_splits: found {self.n_splits!r}, expected a positive integer or None")

    def _estimate(self, y, blocks):
        rng = np.random.default_rng(self.rng)
        orders = [None] if self.n_splits is None else (rng.permutation(len(y)) for _ in range(self.n_splits))
        self.last_run = np.array([self.kl_co.estimation(*joint_and_product(y, blocks, rng, order)) for order in orders])
        return self.last_run.mean()


class MIChi2_DChi2(SplitInformation):
    """Chi-square mutual information: the chi-square divergence of the joint distribution from the product."""

    chi2_co_name: str = "BDChi2_KnnK"
    chi2_co_pars: dict | None = None
    rng: Rng = None


class MIL2_DL2(SplitInformation):
    """L2 mutual information: the L2 divergence of the joint distribution from the product.

    References: Poczos, Schneider 2011; Poczos+ 2011.
    """

    l2_co_name: str = "BDL2_KnnK"
    l2_co_pars: dict | None = None
    rng: Rng = None


class MIRenyi_DR(Alpha, SplitInformation):
    """Renyi mutual information: Renyi's divergence of the joint distribution from the product.

    References: Poczos, Schneider 2011.
    """

    renyi_co_name: str = "BDRenyi_KnnK"
    renyi_co_pars: dict | None = None
    rng: Rng = None


class MITsallis_DT(Alpha, SplitInformation):
    """Tsallis mutual information: Tsallis' divergence of the joint distribution from the product.

    References: Poczos, Schneider 2011.
    """

    tsallis_co_name: str = "BDTsallis_KnnK"
    tsallis_co_pars: dict | None = None
    rng: Rng = None


# From entropies, over all rows


class MIShannon_HS(ShannonInformation):
    """Shannon mutual information as a sum of entropies: I = sum_m H(y_m) - H(y).

    References: Cover, Thomas 1991.
    """

    keeps_float32 = True

    shannon_co_name: str = "BHShannon_KnnK"
    shannon_co_pars: dict | None = None

    def _estimate(self, y, blocks):
        return sum(map(self.shannon_co.estimation, blocks)) - self.shannon_co.estimation(y)


class MIRenyi_HR(Alpha, Information):
    """Renyi mutual information of blocks of one column: minus the Renyi entropy of their empirical copula.

    References: Pal+ 2010; Poczos+ 2010.
    """

    renyi_co_name: str = "BHRenyi_KnnK"
    renyi_co_pars: dict | None = None

    def _estimate(self, y, blocks):
        return -self.renyi_co.estimation(copula(blocks))


class BcondIShannon_HShannon(ShannonInformation):
    """Conditional mutual information of all blocks but the last, z, given it, by the chain rule.

    I = sum_m H(y_m, z) - H(y) - (M - 1) H(z)
    """

    keeps_float32 = True

    h_shannon_co_name: str = "BHShannon_KnnK"
    h_shannon_co_pars: dict | None = None

    def _estimate(self, y, blocks):
        if len(blocks) < 3:
            raise ValueError(f"ds: found {len(blocks)} blocks, expected three or more, the last of which is the condition")
        h, (*parts, z) = self.h_shannon_co.estimation, blocks
        return sum(h(np.hstack([part, z])) for part in parts) - h(y) - (len(parts) - 1) * h(z)


# Beyond ITE


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

    algorithm: int = 1

    def __post_init__(self):
        super().__post_init__()
        if self.algorithm not in (1, 2):
            raise ValueError(f"algorithm: found {self.algorithm!r}, expected 1 or 2")

    def _estimate(self, y, blocks):
        n, n_blocks, k = len(y), len(blocks), self.k
        distances, neighbors = max_norm_neighbors(y, k)
        radius = nonzero(distances[:, -1], k)
        if self.algorithm == 1:
            nearer = np.nextafter(radius, 0)
            marginal = sum(digamma(n_within(block, nearer) + 1).mean() for block in blocks)
            return digamma(k) + (n_blocks - 1) * digamma(n) - marginal
        marginal = 0
        for block in blocks:
            farthest = np.abs(block[neighbors] - block[:, None]).max(axis=(1, 2))
            marginal += digamma(n_within(block, farthest)).mean()
        return digamma(k) - (n_blocks - 1) / k + (n_blocks - 1) * digamma(n) - marginal


class MIShannon_GaussianCopula(ShannonInformation):
    """Shannon mutual information of the Gaussian copula that the ranks suggest: a cheap reference in high dimension.

        I = 1/2 (sum_m log det R_m - log det R)

    R is the correlation matrix of the normal scores Phi^-1(rank / (n + 1)), R_m that of block m. Each log det is freed of the
    bias it has for Gaussian samples, sum_{j=1}^d psi((n - j) / 2) up to a constant that cancels. Exact for Gaussian dependence,
    whatever the marginals; of any other dependence it sees what pairs of columns show.

    References: Ince+ 2017; Misra+ 2005.
    """

    def _estimate(self, y, blocks):
        n = len(y)
        for block in blocks:
            spread(block)  # a constant column has no ranks
        scores = [ndtri(rankdata(block, axis=0) / (n + 1)) for block in blocks]
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
