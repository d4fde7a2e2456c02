"""I: mutual information of the blocks of y, from entropies and from divergences."""

import warnings
from collections.abc import Sequence

import numpy as np

from ite.cost.dependence import Information
from ite.cost.shared import Alpha, Rng, copula
from ite.distances import Distances

__all__ = [
    "UnsupportedEstimate", "MIShannon_DKL", "MIChi2_DChi2", "MIL2_DL2", "MIRenyi_DR", "MITsallis_DT", "MIShannon_HS",
    "MIRenyi_HR", "BcondIShannon_HShannon",
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

    of_densities = True

    def estimation(self, y: np.ndarray, ds: Sequence[int] | None = None) -> float:
        """Mutual information in nats of the blocks of `y` (n, sum(ds)), whose columns stand side by side.

        Without `ds` every column is a block. Raises ValueError for a sample or blocks it cannot be computed from; warns with
        `UnsupportedEstimate` above log n, and with `RepeatedValues` where a density is assumed of blocks that have none.
        """
        estimate = super().estimation(y, ds)
        if estimate > np.log(len(y)):
            warnings.warn(UnsupportedEstimate(estimate, len(y)), stacklevel=2)
        return estimate


# As a divergence


def joint_and_product(
    y: np.ndarray | Distances, blocks: list, rng: Rng, order: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray] | tuple[Distances, Distances]:
    """A sample of the joint distribution and one of the product of the marginals, both (n // 2, d), from `y` (n, d).

    The first half of the rows (in `order`, if given) is the joint sample. In the second half the rows of every block are
    permuted independently. An odd last row is left out. Of `Distances`, both are `Distances`.
    """
    rng, half = np.random.default_rng(rng), len(y) // 2
    if half == 0:
        raise ValueError("y: found one row, expected at least two, to split them")
    second = np.arange(half, 2 * half) if order is None else order[half : 2 * half]
    if isinstance(y, Distances):
        joint = y.rows(np.arange(half) if order is None else order[:half])
        return joint, y.rows(*(second[rng.permutation(half)] for _ in blocks))
    joint = y[:half] if order is None else y[order[:half]]
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
    of_densities = True

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

    of_densities = True

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
        of_distances = isinstance(y, Distances)
        pairs = (y.blocks(m, -1) if of_distances else np.hstack([part, z]) for m, part in enumerate(parts))
        return sum(map(h, pairs)) - h(y) - (len(parts) - 1) * h(z)
