"""K: kernels on distributions, of which y1 (n1, d) and y2 (n2, d) are samples."""

from collections.abc import Sequence
from dataclasses import field

import numpy as np

from ite.cost.divergence import Divergence
from ite.cost.knn import log_d2
from ite.cost.shared import Alpha, Estimator, Knn, Rng, mixture
from ite.cost.x_kernel import Kernel

__all__ = [
    "BKExpected", "BKProbProd_KnnK", "MKExpJR1_HR", "MKExpJT1_HT", "MKExpJR2_DJR", "MKExpJT2_DJT", "MKExpJS_DJS",
    "MKJS_DJS", "MKJT_HT",
]  # fmt: skip


class DistributionKernel(Divergence):
    """A similarity of two distributions: the Gram matrix of the true ones is positive semidefinite."""

    def gram_matrix(self, ys: Sequence[np.ndarray]) -> np.ndarray:
        """K(ys_i, ys_j) of samples `ys`, each (n_i, d); symmetric (len(ys), len(ys)). Raises as `estimation` does."""
        gram = np.empty((len(ys), len(ys)))
        for i, j in zip(*np.tril_indices(len(ys)), strict=True):
            gram[i, j] = gram[j, i] = self.estimation(ys[j], ys[i])
        return gram


class BKExpected(DistributionKernel):
    """Expected kernel: the mean of k(y1_i, y2_j) over all pairs, the inner product of the mean embeddings.

    Parameters
    ----------
    kernel : Kernel
        On points.

    References: Gretton+ 2012; Muandet+ 2012.
    """

    kernel: Kernel = field(default_factory=Kernel)

    def _estimate(self, y1, y2):
        return self.kernel.mean(y1, y2)


class BKProbProd_KnnK(Knn, DistributionKernel):
    """Probability product kernel int p1^rho p2^rho, from k-th nearest neighbours.

    Parameters
    ----------
    rho : float
    pxdx : bool
        Whether the mean is over p1's samples; else it is over p2's.

    References: Jebara+ 2004; Poczos+ 2012a.
    """

    rho: float = 2
    pxdx: bool = True

    def _estimate(self, y1, y2):
        samples = (y1, y2) if self.pxdx else (y2, y1)
        return np.exp(log_d2(*samples, self.k, self.rho - 1, self.rho))


class Rate(Estimator):
    """Parameter of an exponential kernel.

    Parameters
    ----------
    u : float
        Positive.
    """

    u: float = 1

    def __post_init__(self):
        super().__post_init__()
        if not self.u > 0:
            raise ValueError(f"u: found {self.u}, expected a positive number")


class ExponentialOfMixture(Rate, DistributionKernel):
    """exp(-u H((p1 + p2) / 2)) with the component's entropy H: the exponentiated Jensen kernels of the first kind.

    References: Martins+ 2009.
    """

    def _estimate(self, y1, y2):
        return np.exp(-self.u * self._component.estimation(mixture(y1, y2, rng=self.rng)))


class MKExpJR1_HR(ExponentialOfMixture, Alpha):
    """Exponentiated Jensen-Renyi kernel, with Renyi's entropy: see `ExponentialOfMixture`."""

    renyi_co_name: str = "BHRenyi_KnnK"
    renyi_co_pars: dict | None = None
    rng: Rng = None


class MKExpJT1_HT(ExponentialOfMixture, Alpha):
    """Exponentiated Jensen-Tsallis kernel, with Tsallis' entropy: see `ExponentialOfMixture`."""

    tsallis_co_name: str = "BHTsallis_KnnK"
    tsallis_co_pars: dict | None = None
    rng: Rng = None


class ExponentialOfDivergence(Rate, DistributionKernel):
    """exp(-u D(p1, p2)) with the component's divergence D, weights equal: the exponentiated Jensen kernels of the second kind.

    References: Martins+ 2008; Martins+ 2009.
    """

    w = (0.5, 0.5)

    def _estimate(self, y1, y2):
        return np.exp(-self.u * self._component.estimation(y1, y2))


class MKExpJR2_DJR(ExponentialOfDivergence, Alpha):
    """Exponentiated Jensen-Renyi kernel, with that divergence: see `ExponentialOfDivergence`."""

    jr_co_name: str = "MDJR_HR"
    jr_co_pars: dict | None = None
    rng: Rng = None


class MKExpJT2_DJT(ExponentialOfDivergence, Alpha):
    """Exponentiated Jensen-Tsallis kernel, with that divergence: see `ExponentialOfDivergence`."""

    jt_co_name: str = "MDJT_HT"
    jt_co_pars: dict | None = None
    rng: Rng = None


class MKExpJS_DJS(ExponentialOfDivergence):
    """Exponentiated Jensen-Shannon kernel, with that divergence: see `ExponentialOfDivergence`."""

    js_co_name: str = "MDJS_HS"
    js_co_pars: dict | None = None
    rng: Rng = None


class MKJS_DJS(DistributionKernel):
    """Jensen-Shannon kernel: log 2 - D_JS(p1, p2), with equal weights.

    References: Martins+ 2008; Martins+ 2009.
    """

    w = (0.5, 0.5)

    js_co_name: str = "MDJS_HS"
    js_co_pars: dict | None = None
    rng: Rng = None

    def _estimate(self, y1, y2):
        return np.log(2) - self.js_co.estimation(y1, y2)


class MKJT_HT(Alpha, DistributionKernel):
    """Jensen-Tsallis kernel.

        K = log_a 2 - [ H_T((p1 + p2) / 2) - 2^-a (H_T(p1) + H_T(p2)) ],   log_a 2 = (2^(1 - a) - 1) / (1 - a)

    Parameters
    ----------
    alpha : float
        a above 0, at most 2, not 1.

    References: Martins+ 2009.
    """

    tsallis_co_name: str = "BHTsallis_KnnK"
    tsallis_co_pars: dict | None = None
    rng: Rng = None

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.alpha <= 2:
            raise ValueError(f"alpha: found {self.alpha}, expected a number above 0, at most 2")

    def _estimate(self, y1, y2):
        a, h = self.alpha, self.tsallis_co.estimation
        mixed = mixture(y1, y2, rng=self.rng)
        return (2 ** (1 - a) - 1) / (1 - a) - (h(mixed) - 2**-a * (h(y1) + h(y2)))
