"""D: divergence between the distributions of two samples, y1 (n1, d) and y2 (n2, d)."""

import numpy as np

from ite.cost.shared import KnnEstimator, as_sample, kth_distances


class BDKL_KnnK(KnnEstimator):
    """Kullback-Leibler divergence from k-th nearest neighbours.

        D = d * mean_i log( nu_k(i) / rho_k(i) ) + log( n2 / (n1 - 1) )

    nu_k(i) is the distance of y1_i to its k-th nearest neighbour in y2, rho_k(i) to that in y1 without itself.

    References
    ----------
    F. Perez-Cruz, "Estimation of information theoretic measures for continuous random variables", NIPS 2008.
    N. Leonenko, L. Pronzato, V. Savani, Annals of Statistics 36(5), 2008.
    Q. Wang, S. Kulkarni, S. Verdu, IEEE Trans. Information Theory 55(5), 2009.
    """

    def estimation(self, y1: np.ndarray, y2: np.ndarray) -> float:
        """D(p1 || p2) in nats, from `y1` (n1, d) of p1 and `y2` (n2, d) of p2; n1 > k, n2 >= k. Raises ValueError."""
        y1, y2 = as_sample(y1, "y1"), as_sample(y2, "y2")
        (n1, d), n2 = y1.shape, len(y2)
        rho, nu = kth_distances(y1, self.k), kth_distances(y2, self.k, queries=y1)
        return float(d * np.log(nu / rho).mean() + np.log(n2 / (n1 - 1)))
