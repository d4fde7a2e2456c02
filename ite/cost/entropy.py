"""H: entropy of a sample y (n, d)."""

import numpy as np
from scipy.special import digamma, gammaln

from ite.cost.shared import KnnEstimator, as_sample, kth_distances


def log_unit_ball_volume(d: int) -> float:
    """Logarithm of the volume of the d-dimensional unit ball, finite for every d."""
    return d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)


class BHShannon_KnnK(KnnEstimator):
    """Shannon differential entropy from k-th nearest neighbours.

        H = log(n - 1) - psi(k) + log c + d * mean_i log rho_k(i)

    rho_k(i) is the distance of y_i to its k-th nearest neighbour, c the volume of the unit ball. The original's c underflows
    for d >= 342, where its estimate is -inf; here its logarithm is computed.

    References
    ----------
    L. Kozachenko and N. Leonenko, "Sample estimate of the entropy of a random vector", Problems of Information Transmission
    23, 1987. M. Goria, N. Leonenko, V. Mergel, P. Novi Inverardi, J. Nonparametric Statistics 17, 2005.
    """

    def estimation(self, y: np.ndarray) -> float:
        """Entropy in nats of the sample `y` (n, d); n > k. Raises ValueError."""
        y = as_sample(y)
        n, d = y.shape
        rho = kth_distances(y, self.k)
        return float(np.log(n - 1) - digamma(self.k) + log_unit_ball_volume(d) + d * np.log(rho).mean())
