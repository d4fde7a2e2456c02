"""H: differential entropy of the distribution of a sample y (n, d)."""

from collections.abc import Callable

import numpy as np
from scipy.special import digamma, gammaln, logsumexp

from ite.cost.knn import log_distances, log_gamma, log_ia, log_mean, log_unit_ball_volume, nonzero, to_neighbors
from ite.cost.shared import Alpha, AlphaBeta, Estimator, Knn, Rng, as_blocks, as_sample, spread

__all__ = [
    "BHShannon_KnnK", "BHShannon_SpacingV", "BHPhi_Spacing", "BHShannon_MaxEnt1", "BHShannon_MaxEnt2", "BHRenyi_KnnK",
    "BHRenyi_KnnS", "BHTsallis_KnnK", "BHSharmaMittal_KnnK", "MHShannon_DKLN", "MHShannon_DKLU", "MHTsallis_HR",
    "BcondHShannon_HShannon",
]  # fmt: skip


class Entropy(Estimator):
    """An entropy of one sample."""

    keeps_float32 = False
    one_dimensional = False

    def estimation(self, y: np.ndarray) -> float:
        """Entropy of the sample `y` (n, d), Shannon's and Renyi's in nats. Raises ValueError where it cannot be computed."""
        y = as_sample(y, keep_float32=self.keeps_float32)
        if self.one_dimensional and y.shape[1] != 1:
            raise ValueError(f"y: found {y.shape[1]} columns, expected 1 for {type(self).__name__}")
        with np.errstate(over="ignore"):  # an infinite estimate raises
            return self._finite(self._estimate(y))


class BHShannon_KnnK(Knn, Entropy):
    """Shannon entropy from k-th nearest neighbours.

        H = log(n - 1) - psi(k) + log c + d * mean_i log rho_k(i)

    The original's c underflows for d >= 342, where its estimate is -inf; here it does not.

    References: Kozachenko, Leonenko 1987; Goria+ 2005.
    """

    def _estimate(self, y):
        n, d = y.shape
        log_rho = log_distances(y, self.k)
        return np.log(n - 1) - digamma(self.k) + log_unit_ball_volume(d) + d * log_rho.mean()


def spacings(y: np.ndarray, m: int) -> np.ndarray:
    """y_(i + m) - y_(i) of the sorted rows of `y` (n, 1), (n - m,). Raises ValueError if there are none, or one is zero."""
    if len(y) <= m:
        raise ValueError(f"y: found {len(y)} rows, expected more than {m} for a spacing of {m}")
    ordered = np.sort(y[:, 0])
    found = ordered[m:] - ordered[:-m]
    if not found.all():
        raise ValueError(f"y: {(found == 0).sum()} of {len(found)} spacings of {m} are zero; remove repeated rows")
    return found


class BHShannon_SpacingV(Entropy):
    """Shannon entropy in one dimension, from spacings of order m = floor(sqrt(n)).

        H = mean_i log( n / (2 m) (y_(i + m) - y_(i - m)) ),   y_(j) = y_(1) for j < 1, y_(n) for j > n

    References: Vasicek 1976.
    """

    one_dimensional = True

    def _estimate(self, y):
        n = len(y)
        m = int(np.sqrt(n))
        ordered = np.sort(y, axis=0)
        clamped = np.vstack([np.repeat(ordered[:1], m, axis=0), ordered, np.repeat(ordered[-1:], m, axis=0)])
        return np.log(n / (2 * m) * spacings(clamped, 2 * m)).mean()


class BHPhi_Spacing(Entropy):
    """Phi-entropy int w(x) p(x) phi(p(x)) dx in one dimension, from spacings of order m = floor(sqrt(n)).

        H = 1/2 mean_i phi( m / (n + 1) / (y_(i + m) - y_(i)) ) (w(y_(i)) + w(y_(i + m)))

    Parameters
    ----------
    w, phi : callable
        From arrays to arrays; by default 1 and x^2.

    References: van Es 1992.
    """

    one_dimensional = True

    w: Callable = lambda x: 1
    phi: Callable = lambda x: x**2

    def _estimate(self, y):
        n = len(y)
        m = int(np.sqrt(n))
        density = m / (n + 1) / spacings(y, m)
        ordered = np.sort(y[:, 0])
        return np.mean(self.phi(density) * (self.w(ordered[:-m]) + self.w(ordered[m:]))) / 2


class MaximumEntropy(Entropy):
    """Shannon entropy in one dimension as that of a Gaussian, less what two moments of the standardised sample z tell.

        H = log s + (1 + log 2 pi) / 2 - 36 / (8 sqrt 3 - 9) E[z exp(-z^2 / 2)]^2 - J(z)

    References: Hyvarinen 1997.
    """

    one_dimensional = True

    def _estimate(self, y):
        s = spread(y)[0]
        z = (y[:, 0] - y.mean()) / s
        skewed = 36 / (8 * np.sqrt(3) - 9) * np.mean(z * np.exp(-(z**2) / 2)) ** 2
        return np.log(s) + (1 + np.log(2 * np.pi)) / 2 - skewed - self._peaked(z)


class BHShannon_MaxEnt1(MaximumEntropy):
    """Maximum-entropy estimate with J = (E|z| - sqrt(2 / pi))^2 / (2 - 6 / pi): see `MaximumEntropy`."""

    def _peaked(self, z):
        return (np.abs(z).mean() - np.sqrt(2 / np.pi)) ** 2 / (2 - 6 / np.pi)


class BHShannon_MaxEnt2(MaximumEntropy):
    """Maximum-entropy estimate with J = 24 / (16 sqrt 3 - 27) (E exp(-z^2 / 2) - sqrt(1 / 2))^2: see `MaximumEntropy`."""

    def _peaked(self, z):
        return 24 / (16 * np.sqrt(3) - 27) * (np.exp(-(z**2) / 2).mean() - np.sqrt(1 / 2)) ** 2


class BHRenyi_KnnK(Alpha, Knn, Entropy):
    """Renyi entropy log(int p^alpha) / (1 - alpha), from k-th nearest neighbours; finite for d >= 342, unlike the original's.

    References: Leonenko+ 2008; Yukich 1998.
    """

    def _estimate(self, y):
        return log_ia(y, self.k, self.alpha) / (1 - self.alpha)


class BHRenyi_KnnS(Alpha, Knn, Entropy):
    """Renyi entropy from several nearest neighbours, j in S; finite for d >= 342, unlike the original's.

        H = log( L / (C n^alpha) ) / (1 - alpha),   L = sum_i sum_j rho_j(i)^(d (1 - alpha)),
        C = ((n - 1) c / n)^(alpha - 1) sum_j G(j + 1 - alpha) / G(j)

    Parameters
    ----------
    k : list of int, optional
        S; [1, 2, 4] unless given.

    References: Pal+ 2010.
    """

    k_ndim = 1

    k: list[int] | None = None

    def __post_init__(self):
        self.k = [1, 2, 4] if self.k is None else np.sort(self.k, axis=None).tolist()
        super().__post_init__()

    def _estimate(self, y):
        (n, d), a, s = y.shape, self.alpha, np.array(self.k)
        _, rho = to_neighbors(y, s)
        nonzero(rho[:, 0], s[0])
        log_l = log_mean(logsumexp(d * (1 - a) * np.log(rho), axis=1)) + np.log(n)
        moments = [log_gamma(j, 1 - a) - gammaln(j) for j in self.k]
        log_c = (a - 1) * (np.log((n - 1) / n) + log_unit_ball_volume(d)) + logsumexp(moments)
        return (log_l - log_c - a * np.log(n)) / (1 - a)


class BHTsallis_KnnK(Alpha, Knn, Entropy):
    """Tsallis entropy (1 - int p^alpha) / (alpha - 1), from k-th nearest neighbours.

    References: Leonenko+ 2008.
    """

    def _estimate(self, y):
        return np.expm1(log_ia(y, self.k, self.alpha)) / (1 - self.alpha)


class BHSharmaMittal_KnnK(AlphaBeta, Knn, Entropy):
    """Sharma-Mittal entropy ((int p^alpha)^((1 - beta) / (1 - alpha)) - 1) / (1 - beta), from k-th nearest neighbours.

    References: Sharma, Mittal 1975; Akturk+ 2007.
    """

    def _estimate(self, y):
        order = (1 - self.beta) / (1 - self.alpha)
        return np.expm1(order * log_ia(y, self.k, self.alpha)) / (1 - self.beta)


class MHShannon_DKLN(Entropy):
    """Shannon entropy as a Gaussian's of the same mean and covariance, less the divergence from it.

        H = log det(2 pi e C) / 2 - D_KL( y || N(mean, C) )

    References: Wang+ 2009.
    """

    kl_co_name: str = "BDKL_KnnK"
    kl_co_pars: dict | None = None
    rng: Rng = None

    def _estimate(self, y):
        n, d = y.shape
        spread(y)  # rounding can leave a constant column some variance
        covariance = np.atleast_2d(np.cov(y, rowvar=False))
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            raise ValueError(f"y: {n} samples in {d} dimensions have a singular covariance, expected a regular one") from None
        normal = y.mean(axis=0) + np.random.default_rng(self.rng).standard_normal((n, d)) @ factor.T
        return d / 2 * np.log(2 * np.pi * np.e) + np.log(np.diag(factor)).sum() - self.kl_co.estimation(y, normal)


class MHShannon_DKLU(Entropy):
    """Shannon entropy as the divergence from a uniform distribution on the sample's bounding box, [a_j, b_j] in coordinate j.

    H = sum_j log(b_j - a_j) - D_KL( y scaled to the unit cube || uniform )
    """

    kl_co_name: str = "BDKL_KnnK"
    kl_co_pars: dict | None = None
    rng: Rng = None

    def _estimate(self, y):
        spread(y)  # a constant column has no box
        low, width = y.min(axis=0), np.ptp(y, axis=0)
        uniform = np.random.default_rng(self.rng).random(y.shape)
        return np.log(width).sum() - self.kl_co.estimation((y - low) / width, uniform)


class MHTsallis_HR(Alpha, Entropy):
    """Tsallis entropy from Renyi's: (exp((1 - alpha) H_R) - 1) / (1 - alpha)."""

    renyi_co_name: str = "BHRenyi_KnnK"
    renyi_co_pars: dict | None = None

    def _estimate(self, y):
        return np.expm1((1 - self.alpha) * self.renyi_co.estimation(y)) / (1 - self.alpha)


class BcondHShannon_HShannon(Estimator):
    """Conditional Shannon entropy by the chain rule: H(y1 | y2) = H(y1, y2) - H(y2)."""

    h_shannon_co_name: str = "BHShannon_KnnK"
    h_shannon_co_pars: dict | None = None

    def estimation(self, y: np.ndarray, dim1: int) -> float:
        """Entropy in nats of the first `dim1` columns of `y` (n, d) given the others. Raises ValueError."""
        y = as_sample(y, keep_float32=True)
        if not isinstance(dim1, int | np.integer) or not 0 < dim1 < y.shape[1]:
            raise ValueError(f"dim1: found {dim1!r}, expected an integer from 1 to {y.shape[1] - 1}")
        y, (_, given) = as_blocks(y, [dim1, y.shape[1] - dim1], keep_float32=True)
        return self.h_shannon_co.estimation(y) - self.h_shannon_co.estimation(given)
