"""D: divergence between the distributions of two samples, built from other estimators; and C, the cross-entropy."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, field

import numpy as np
from scipy.special import digamma

from ite.cost.divergence import Divergence
from ite.cost.knn import log_distances, log_unit_ball_volume
from ite.cost.shared import Alpha, Knn, Rng, mixture, signed_root

__all__ = [
    "BCCE_KnnK", "MDKL_HSCE", "MDJDist_DKL", "MDSymBregman_DB", "MDf_DChi2", "MDEnergyDist_DMMD", "MDBlockMMD", "MDJS_HS",
    "MDJR_HR", "MDJT_HT", "MDK_DKL", "MDL_DKL",
]  # fmt: skip


class BCCE_KnnK(Knn, Divergence):
    """Cross-entropy -int p1 log p2, from k-th nearest neighbours; finite for d >= 342, unlike the original's.

        CE = log c + log n2 - psi(k) + d * mean_i log nu_i

    Of a sample beside itself it is the entropy, by the same formula with log(n - 1) and the distances to other rows.

    References: Leonenko+ 2008.
    """

    def _estimate(self, y1, y2):
        return self._cross_entropy(len(y2), y2.shape[1], log_distances(y2, self.k, y1))

    def _of_itself(self, y):
        return self._cross_entropy(len(y) - 1, y.shape[1], log_distances(y, self.k))

    def _cross_entropy(self, n, d, log_nu):
        return log_unit_ball_volume(d) + np.log(n) - digamma(self.k) + d * log_nu.mean()


class MDKL_HSCE(Divergence):
    """Kullback-Leibler divergence as cross-entropy less entropy: CE(p1, p2) - H(p1)."""

    keeps_float32 = True

    shannon_co_name: str = "BHShannon_KnnK"
    shannon_co_pars: dict | None = None
    ce_co_name: str = "BCCE_KnnK"
    ce_co_pars: dict | None = None

    def _estimate(self, y1, y2):
        return self.ce_co.estimation(y1, y2) - self.shannon_co.estimation(y1)


class MDJDist_DKL(Divergence):
    """J-distance, the symmetrised Kullback-Leibler divergence: D(p1, p2) + D(p2, p1)."""

    keeps_float32 = True

    kl_co_name: str = "BDKL_KnnK"
    kl_co_pars: dict | None = None

    def _estimate(self, y1, y2):
        return self.kl_co.estimation(y1, y2) + self.kl_co.estimation(y2, y1)


class MDSymBregman_DB(Alpha, Divergence):
    """Symmetric Bregman divergence from Bregman's: (B(p1, p2) + B(p2, p1)) / alpha.

    References: Leonenko+ 2008.
    """

    keeps_float32 = True

    bregman_co_name: str = "BDBregman_KnnK"
    bregman_co_pars: dict | None = None

    def _estimate(self, y1, y2):
        return (self.bregman_co.estimation(y1, y2) + self.bregman_co.estimation(y2, y1)) / self.alpha


class MDf_DChi2(Divergence):
    """f-divergence to second order: f''(1) / 2 times Pearson's chi-square divergence.

    Parameters
    ----------
    hess : float
        f''(1), positive. As in the original it comes first; here every other parameter has to be named.

    References: Nielsen, Nock 2014; Barnett+ 2002.
    """

    keeps_float32 = True

    mult: bool = field(default=True, kw_only=True)
    hess: float = 2
    _: KW_ONLY
    chi_square_co_name: str = "BDChi2_KnnK"
    chi_square_co_pars: dict | None = None

    def __post_init__(self):
        super().__post_init__()
        if not self.hess > 0:
            raise ValueError(f"hess: found {self.hess}, expected a positive number")

    def _estimate(self, y1, y2):
        return self.hess / 2 * self.chi_square_co.estimation(y1, y2)


class MDEnergyDist_DMMD(Divergence):
    """Energy distance as twice a squared maximum mean discrepancy, with its sign.

    References: Sejdinovic+ 2012; Lyons 2013.
    """

    mmd_co_name: str = "BDMMD_UStat_IChol"
    mmd_co_pars: dict | None = None

    def _estimate(self, y1, y2):
        mmd = self.mmd_co.estimation(y1, y2)
        return 2 * mmd * abs(mmd)


class MDBlockMMD(Divergence):
    """Maximum mean discrepancy from blocks of rows: the root, with its sign, of the mean MMD^2.

    There are floor(n / b) blocks of b = floor(sqrt(n)) rows. Squares are averaged, for they are unbiased; the original averages
    roots, which are too small for distributions that differ a little.

    References: Zaremba+ 2013.
    """

    mmd_co_name: str = "BDMMD_UStat"
    mmd_co_pars: dict | None = None

    def _estimate(self, y1, y2):
        n = len(y1)
        if len(y2) != n:
            raise ValueError(f"found {n} and {len(y2)} rows, expected the same number")
        b = int(np.sqrt(n))
        starts = range(0, n // b * b, b)
        roots = np.array([self.mmd_co.estimation(y1[start : start + b], y2[start : start + b]) for start in starts])
        return signed_root((roots * np.abs(roots)).mean())


# Of a mixture


class Jensen(Divergence):
    """Entropy of a mixture, less the mixture of entropies: H(w_1 p1 + w_2 p2) - w_1 H(p1) - w_2 H(p2)."""

    def _jensen(self, h, w, y1, y2):
        return h.estimation(mixture(y1, y2, w, self.rng)) - w[0] * h.estimation(y1) - w[1] * h.estimation(y2)


class MDJS_HS(Jensen):
    """Jensen-Shannon divergence: see `Jensen`.

    Parameters
    ----------
    w : pair of float
        Positive weights that sum to 1.

    References: Lin 1991.
    """

    w: Sequence[float] = (0.5, 0.5)
    shannon_co_name: str = "BHShannon_KnnK"
    shannon_co_pars: dict | None = None
    rng: Rng = None

    def _estimate(self, y1, y2):
        return self._jensen(self.shannon_co, self.w, y1, y2)


class MDJR_HR(Alpha, Jensen):
    """Jensen-Renyi divergence: see `Jensen`.

    Parameters
    ----------
    w : pair of float
        Positive weights that sum to 1.

    References: Hamza, Krim 2003.
    """

    w: Sequence[float] = (0.5, 0.5)
    renyi_co_name: str = "BHRenyi_KnnK"
    renyi_co_pars: dict | None = None
    rng: Rng = None

    def _estimate(self, y1, y2):
        return self._jensen(self.renyi_co, self.w, y1, y2)


class MDJT_HT(Alpha, Jensen):
    """Jensen-Tsallis divergence, with weights of one half: see `Jensen`.

    References: Burbea, Rao 1982.
    """

    tsallis_co_name: str = "BHTsallis_KnnK"
    tsallis_co_pars: dict | None = None
    rng: Rng = None

    def _estimate(self, y1, y2):
        return self._jensen(self.tsallis_co, (0.5, 0.5), y1, y2)


class MDK_DKL(Divergence):
    """K divergence: Kullback-Leibler's of p1 from (p1 + p2) / 2, of the first half of y1 from both second halves mixed.

    References: Lin 1991.
    """

    kl_co_name: str = "BDKL_KnnK"
    kl_co_pars: dict | None = None
    rng: Rng = None

    def _estimate(self, y1, y2):
        return self._k(y1, y2)

    def _k(self, y1, y2):
        half1, half2 = len(y1) // 2, len(y2) // 2
        return self.kl_co.estimation(y1[:half1], mixture(y1[half1:], y2[half2:], rng=self.rng))


class MDL_DKL(MDK_DKL):
    """L divergence, the symmetrised K divergence: K(p1, p2) + K(p2, p1).

    Each sample is cut at its own half; the original cuts both at y1's, which goes wrong for samples of different sizes.

    References: Lin 1991.
    """

    def _estimate(self, y1, y2):
        return self._k(y1, y2) + self._k(y2, y1)
