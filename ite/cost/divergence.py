"""D: divergence between the distributions p1 and p2 of two samples, y1 (n1, d) and y2 (n2, d), from nearest neighbours."""

import numpy as np

from ite.cost.knn import log_d1, log_d2, log_d3, log_distances, log_ia
from ite.cost.shared import Alpha, AlphaBeta, Estimator, Knn, as_samples, require_search, same_rows, signed_root

__all__ = [
    "BDKL_KnnK", "BDKL_KnnKiTi", "BDBhattacharyya_KnnK", "BDHellinger_KnnK", "BDChi2_KnnK", "BDL2_KnnK", "BDRenyi_KnnK",
    "BDTsallis_KnnK", "BDSharmaMittal_KnnK", "BDBregman_KnnK", "BDSymBregman_KnnK",
]  # fmt: skip


class Divergence(Estimator):
    """A quantity of two samples; a divergence is zero where they have one distribution.

    A sample beside itself, the same rows in the same order, is one sample and not two: each row would meet its own copy at
    distance 0. A divergence is then 0 without an estimate, a cross-entropy the entropy, and a kernel what `gram_matrix` has on
    its diagonal.
    """

    keeps_float32 = False

    def estimation(self, y1: np.ndarray, y2: np.ndarray) -> float:
        """The quantity, in nats where it is an information, from `y1` (n1, d) of p1 and `y2` (n2, d) of p2.

        Raises ValueError for samples it cannot be computed from.
        """
        y1, y2 = as_samples(y1, y2, self.keeps_float32)
        with np.errstate(over="ignore"):  # an infinite estimate raises
            return self._finite(self._of_itself(y1) if same_rows(y1, y2) else self._estimate(y1, y2))

    def _of_itself(self, y):
        return 0.0


class BDKL_KnnK(Knn, Divergence):
    """Kullback-Leibler divergence from k-th nearest neighbours.

        D = d * mean_i log( nu_i / rho_i ) + log( n2 / (n1 - 1) )

    References: Perez-Cruz 2008; Leonenko+ 2008; Wang+ 2009.
    """

    def _estimate(self, y1, y2):
        (n1, d), n2 = y1.shape, len(y2)
        log_rho, log_nu = log_distances(y1, self.k), log_distances(y2, self.k, y1)
        return d * (log_nu - log_rho).mean() + np.log(n2 / (n1 - 1))


class BDKL_KnnKiTi(Divergence):
    """Kullback-Leibler divergence with a neighbour for each sample's size, k_i = floor(sqrt(n_i)).

        D = d * mean_i log( nu_i / rho_i ) + log( k1 n2 / (k2 (n1 - 1)) )

    References: Wang+ 2009.
    """

    keeps_float32 = True

    knn_method: str = "cKDTree"
    eps: float = 0

    def __post_init__(self):
        super().__post_init__()
        require_search(self.knn_method, self.eps)

    def _estimate(self, y1, y2):
        (n1, d), n2 = y1.shape, len(y2)
        k1, k2 = int(np.sqrt(n1)), int(np.sqrt(n2))
        log_rho, log_nu = log_distances(y1, k1), log_distances(y2, k2, y1)
        return d * (log_nu - log_rho).mean() + np.log(k1 * n2 / (k2 * (n1 - 1)))


class ByRatio(Knn, Divergence):
    """Parameter of an estimator of an integral of p1^a p2^b that can be written over either distribution.

    Parameters
    ----------
    pxdx : bool
        Whether the mean is over p1's samples; else it is over p2's.
    """

    pxdx: bool = True

    def _in_order(self, y1, y2):
        return (y1, y2) if self.pxdx else (y2, y1)


class BDBhattacharyya_KnnK(ByRatio):
    """Bhattacharyya distance -log int sqrt(p1 p2), from k-th nearest neighbours.

    References: Poczos+ 2012a.
    """

    def _estimate(self, y1, y2):
        return -log_d2(*self._in_order(y1, y2), self.k, -1 / 2, 1 / 2)


class BDHellinger_KnnK(ByRatio):
    """Hellinger distance sqrt(1 - int sqrt(p1 p2)), from k-th nearest neighbours.

    The estimated integral can exceed 1; the original then takes the root of the absolute value, here the sign is kept. It warns
    with `FewEffectiveSamples` where a few decide the integral, as happens in high dimension.

    References: Poczos+ 2012a.
    """

    def _estimate(self, y1, y2):
        return signed_root(-np.expm1(log_d2(*self._in_order(y1, y2), self.k, -1 / 2, 1 / 2)))


class BDChi2_KnnK(ByRatio):
    """Pearson's chi-square divergence int p1^2 / p2 - 1, from k-th nearest neighbours.

    Warns with `FewEffectiveSamples` where a few decide the integral, as happens in high dimension.

    References: Pearson 1900; Poczos+ 2012a.
    """

    def _estimate(self, y1, y2):
        powers = (1, -1) if self.pxdx else (-2, 2)
        return np.expm1(log_d2(*self._in_order(y1, y2), self.k, *powers))


class BDL2_KnnK(Knn, Divergence):
    """L2 distance sqrt( int p1^2 - 2 int p1 p2 + int p2^2 ), from k-th nearest neighbours; k > 2, and any d.

    The means are over p1's samples, so p2 is seen only where p1 is positive; k > 4 gives the last term a finite variance. The
    estimated square can be negative; the original then takes the root of the absolute value, here the sign is kept.

    References: Poczos+ 2011.
    """

    def _estimate(self, y1, y2):
        k = self.k
        return signed_root(np.exp(log_ia(y1, k, 2)) - 2 * np.exp(log_d3(y1, y2, k, 2)) + np.exp(log_d2(y1, y2, k, -1, 2)))


class BDRenyi_KnnK(Alpha, Knn, Divergence):
    """Renyi divergence log(int p1^alpha p2^(1 - alpha)) / (alpha - 1), from k-th nearest neighbours.

    References: Poczos, Schneider 2011.
    """

    def _estimate(self, y1, y2):
        return log_d1(y1, y2, self.k, self.alpha) / (self.alpha - 1)


class BDTsallis_KnnK(Alpha, Knn, Divergence):
    """Tsallis divergence (int p1^alpha p2^(1 - alpha) - 1) / (alpha - 1), from k-th nearest neighbours.

    References: Poczos, Schneider 2011.
    """

    def _estimate(self, y1, y2):
        return np.expm1(log_d1(y1, y2, self.k, self.alpha)) / (self.alpha - 1)


class BDSharmaMittal_KnnK(AlphaBeta, Knn, Divergence):
    """Sharma-Mittal divergence ((int p1^alpha p2^(1 - alpha))^((1 - beta) / (1 - alpha)) - 1) / (beta - 1).

    References: Masi 2005.
    """

    def _estimate(self, y1, y2):
        order = (1 - self.beta) / (1 - self.alpha)
        return np.expm1(order * log_d1(y1, y2, self.k, self.alpha)) / (self.beta - 1)


class BDBregman_KnnK(Alpha, Knn, Divergence):
    """Bregman divergence of order alpha, from k-th nearest neighbours.

        D = int p2^alpha + 1 / (alpha - 1) int p1^alpha - alpha / (alpha - 1) int p1 p2^(alpha - 1)

    References: Leonenko+ 2008; Bregman 1967.
    """

    def _estimate(self, y1, y2):
        k, a = self.k, self.alpha
        i1, i2, i12 = np.exp([log_ia(y1, k, a), log_ia(y2, k, a), log_d3(y1, y2, k, a)])
        return i2 + i1 / (a - 1) - a / (a - 1) * i12


class BDSymBregman_KnnK(Alpha, Knn, Divergence):
    """Symmetric Bregman divergence of order alpha, from k-th nearest neighbours.

        D = 1 / (alpha - 1) ( int p1^alpha + int p2^alpha - int p1 p2^(alpha - 1) - int p2 p1^(alpha - 1) )

    References: Leonenko+ 2008; Bregman 1967.
    """

    def _estimate(self, y1, y2):
        k, a = self.k, self.alpha
        own = np.exp(log_ia(y1, k, a)) + np.exp(log_ia(y2, k, a))
        return (own - np.exp(log_d3(y1, y2, k, a)) - np.exp(log_d3(y2, y1, k, a))) / (a - 1)
