"""I: dependence of the blocks of y, measured in a kernel's feature space by incomplete Cholesky factors."""

from dataclasses import field
from itertools import combinations

import numpy as np

from ite.cost.dependence import Information
from ite.cost.shared import Estimator, signed_root
from ite.cost.x_kernel import Kernel

__all__ = ["BIHSIC_IChol", "BIKGV", "BIKCCA", "MIDistCov_HSIC"]


class IncompleteCholesky(Estimator):
    """Parameters of an estimator that works with an incomplete Cholesky factor of the Gram matrix, K = G G^T.

    Parameters
    ----------
    kernel : Kernel
    eta : float
        Trace that is left out, over n.
    """

    kernel: Kernel = field(default_factory=Kernel)
    eta: float = 1e-2

    def __post_init__(self):
        super().__post_init__()
        if not self.eta >= 0:
            raise ValueError(f"eta: found {self.eta}, expected a number from 0")

    def factor(self, y: np.ndarray) -> np.ndarray:
        """G (n, rank) of the sample `y` (n, d)."""
        return self.kernel.ichol(y, tol=len(y) * self.eta)

    def centred_factors(self, blocks: list[np.ndarray]) -> list[np.ndarray]:
        """G of each block, less its columns' means."""
        return [g - g.mean(axis=0) for g in map(self.factor, blocks)]


class BIHSIC_IChol(IncompleteCholesky, Information):
    """Hilbert-Schmidt independence criterion, summed over pairs of blocks.

        HSIC = sum_{i < j} || G_i^T G_j ||_F^2 / n^2

    References: Gretton+ 2005.
    """

    def _estimate(self, y, blocks):
        pairs = combinations(self.centred_factors(blocks), 2)
        return sum(((g.T @ h) ** 2).sum() for g, h in pairs) / len(blocks[0]) ** 2


class Correlation(IncompleteCholesky, Information):
    """Regularised correlation of blocks in feature space.

    R has identity blocks on its diagonal and r(K_i) r(K_j) off it, with r(K) = K (K + n kappa / 2)^-1, K centred; it is written
    here in the bases of the K_i, where it has the same determinant and the same eigenvalues but for ones.

    Parameters
    ----------
    kappa : float
        Regularisation.

    References: Bach, Jordan 2002.
    """

    kappa: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        if not self.kappa > 0:
            raise ValueError(f"kappa: found {self.kappa}, expected a positive number")

    def _r(self, blocks):
        scaled = []
        for g in self.centred_factors(blocks):
            u, s, _ = np.linalg.svd(g, full_matrices=False)
            scaled.append(u * (s**2 / (s**2 + len(g) * self.kappa / 2)))
        ranks = np.repeat(np.arange(len(blocks)), [v.shape[1] for v in scaled])
        r = np.hstack(scaled).T @ np.hstack(scaled)
        return np.where(ranks == ranks[:, None], np.eye(len(r)), r)


class BIKGV(Correlation):
    """Kernel generalised variance: -1/2 log det R; R as in `Correlation`."""

    def _estimate(self, y, blocks):
        return -np.linalg.slogdet(self._r(blocks))[1] / 2


class BIKCCA(Correlation):
    """Kernel canonical correlation: -1/2 log of the smallest eigenvalue of R; R as in `Correlation`."""

    def _estimate(self, y, blocks):
        return -np.log(np.linalg.eigvalsh(self._r(blocks))[0]) / 2


class MIDistCov_HSIC(Information):
    """Distance covariance from the Hilbert-Schmidt independence criterion: 2 sqrt(HSIC).

    HSIC is the squared norm that `BIHSIC_IChol` returns, and dCov^2 = 4 HSIC for kernels that distances induce. The original
    leaves the root out.

    References: Sejdinovic+ 2013.
    """

    n_blocks = 2

    hsic_co_name: str = "BIHSIC_IChol"
    hsic_co_pars: dict | None = None

    def _estimate(self, y, blocks):
        return 2 * signed_root(self.hsic_co.estimation(y, [block.shape[1] for block in blocks]))
