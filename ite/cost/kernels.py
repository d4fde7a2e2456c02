"""K: kernels on distributions, of which y1 (n1, d) and y2 (n2, d) are samples."""

from collections.abc import Sequence
from dataclasses import field

import numpy as np

from ite.cost.divergence import Divergence
from ite.cost.knn import log_d2, log_ia
from ite.cost.shared import Alpha, Estimator, Knn, Rng, mixture
from ite.cost.x_kernel import Kernel

__all__ = [
    "BKExpected", "BKProbProd_KnnK", "MKExpJR1_HR", "MKExpJT1_HT", "MKExpJR2_DJR", "MKExpJT2_DJT", "MKExpJS_DJS",
    "MKJS_DJS", "MKJT_HT",
]  # fmt: skip


class DistributionKernel(Divergence):
    """A similarity of two distributions: the Gram matrix of the true ones is positive semidefinite.

    That of estimates is only up to their errors, but for `BKExpected`, whose estimate is itself an inner product; and Renyi's
    two kernels are for alpha below 1 alone. Nothing is projected or clipped: look at `np.linalg.eigvalsh`.
    """

    def gram_matrix(self, ys: Sequence[np.ndarray]) -> np.ndarray:
        """K(ys_i, ys_j) of samples `ys`, each (n_i, d); symmetric (len(ys), len(ys)). Raises as `estimation` does.

        On the diagonal is K(p_i, p_i) as the theory has it for one sample: divergences of a distribution and itself are 0,
        entropies are the sample's own, and inner products leave each row's own copy out. The original lets each row meet its
        own copy at distance 0.
        """
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

    def _of_itself(self, y):
        return self._estimate(y, y)  # the squared norm of the sample's embedding, of all pairs


class BKProbProd_KnnK(Knn, DistributionKernel):
    """Probability product kernel int p1^rho p2^rho, from k-th nearest neighbours.

    Of a sample beside itself it is int p^(2 rho), as for an entropy; its mean exists for k > 2 rho - 1 only, so for a smaller k
    the neighbour floor(2 rho) is taken there.

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

    def _of_itself(self, y):
        return np.exp(log_ia(y, max(self.k, int(2 * self.rho)), 2 * self.rho))


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
        return self._of_itself(mixture(y1, y2, rng=self.rng))

    def _of_itself(self, y):
        return np.exp(-self.u * self._component.estimation(y))


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

    def _of_itself(self, y):
        return 1.0


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

    def _of_itself(self, y):
        return np.log(2)


class MKJT_HT(Alpha, DistributionKernel):
    """Jensen-Tsallis kernel.

        K = log_a 2 - [ H_T((p1 + p2) / 2) - 2^-a (H_T(p1) + H_T(p2)) ],   log_a 2 = (2^(1 - a) - 1) / (1 - a)

    That is 2^-a / (a - 1) int (p1 + p2)^a - p1^a - p2^a, so K(p, p) = log_a 2 - (1 - 2^(1 - a)) H_T(p): the bracket, whose
    weights sum to 2^(1 - a), is not 0 for equal distributions.

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
        h = self.tsallis_co.estimation
        return self._kernel(h(mixture(y1, y2, rng=self.rng)), h(y1), h(y2))

    def _of_itself(self, y):
        return self._kernel(*[self.tsallis_co.estimation(y)] * 3)

    def _kernel(self, mixed, h1, h2):
        a = self.alpha
        return (2 ** (1 - a) - 1) / (1 - a) - (mixed - 2**-a * (h1 + h2))
