"""A: association of columns through their empirical copula u, ranks over n; blocks of one column each."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ite.cost.shared import Estimator, as_blocks, copula

__all__ = [
    "BASpearman1", "BASpearman2", "BASpearman3", "BASpearman4", "BASpearmanCondLT", "BASpearmanCondUT", "MASpearmanLT",
    "MASpearmanUT", "BABlomqvist",
]  # fmt: skip


class Association(Estimator):
    """A measure of association: zero for independent columns."""

    def estimation(self, y: np.ndarray, ds: Sequence[int] | None = None) -> float:
        """Association of the columns of `y` (n, d), a number without unit; `ds` may only be d ones. Raises ValueError."""
        return self._finite(self._estimate(copula(as_blocks(y, ds)[1])))


class Spearman(Association):
    """Multivariate version of Spearman's rho.

        rho = h (2^d E prod_j v_j - 1),   h = (d + 1) / (2^d - d - 1)

    Both factors are divided by 2^d here, which float64 does not hold for many columns.

    References: Schmid, Schmidt 2007a; Nelsen 1996, 2002.
    """

    @staticmethod
    def _rho(v):
        d = v.shape[1]
        return (d + 1) / (1 - (d + 1) * 2.0**-d) * (v.prod(axis=1).mean() - 2.0**-d)


class BASpearman1(Spearman):
    """Spearman's rho by lower orthants, v = 1 - u: see `Spearman`."""

    def _estimate(self, u):
        return self._rho(1 - u)


class BASpearman2(Spearman):
    """Spearman's rho by upper orthants, v = u: see `Spearman`."""

    def _estimate(self, u):
        return self._rho(u)


class BASpearman3(Spearman):
    """Spearman's rho as the mean of both kinds: see `Spearman`."""

    def _estimate(self, u):
        return (self._rho(1 - u) + self._rho(u)) / 2


class BASpearman4(Association):
    """Mean of Spearman's rho over all pairs of columns: 12 mean_{i < j} E (1 - u_i)(1 - u_j) - 3.

    References: Kendall 1970.
    """

    def _estimate(self, u):
        v, d = 1 - u, u.shape[1]
        pairs = (v.sum(axis=1) ** 2 - (v**2).sum(axis=1)).mean() / (d * (d - 1))  # each counted twice
        return 12 * pairs - 3


class Tail(Association):
    """Spearman's rho in one tail: (s - c1) / (c2 - c1), with s = c1 for independent columns and c2 for comonotone ones.

    All three are divided by p^d here, which float64 does not hold for many columns.

    Parameters
    ----------
    p : float
        Part of each column that is the tail, above 0, at most 1.

    References: Schmid, Schmidt 2007b.
    """

    p: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.p <= 1:
            raise ValueError(f"p: found {self.p}, expected a number above 0, at most 1")


class BASpearmanCondLT(Tail):
    """Lower tail: s = E prod max(p - u, 0), c1 = (p^2 / 2)^d, c2 = p^(d + 1) / (d + 1): see `Tail`."""

    def _estimate(self, u):
        p, d = self.p, u.shape[1]
        c1, c2 = (p / 2) ** d, p / (d + 1)
        return ((np.maximum(p - u, 0) / p).prod(axis=1).mean() - c1) / (c2 - c1)


class BASpearmanCondUT(Tail):
    """Upper tail: s = E prod(1 - max(u, 1 - p)), c1 = (p (2 - p) / 2)^d, c2 = p^d (d + 1 - p d) / (d + 1): see `Tail`.

    Here u is (rank - 1/2) / n. With rank / n the mean of 1 - u is too small by 1 / (2 n), and c2 - c1 is so small against c1
    that this shows: -0.33 for independent columns at p = 1/10, n = 100.
    """

    def _estimate(self, u):
        p, d = self.p, u.shape[1]
        c1, c2 = ((2 - p) / 2) ** d, (d + 1 - p * d) / (d + 1)
        centred = u - 0.5 / len(u)
        return ((np.minimum(1 - centred, p) / p).prod(axis=1).mean() - c1) / (c2 - c1)


class TailDependence(Association):
    """The conditional rho of a tail at p = floor(sqrt(n)) / n.

    References: Schmid, Schmidt 2007b.
    """

    def _estimate(self, u):
        return replace(self._component, p=int(np.sqrt(len(u))) / len(u)).estimation(u)


class MASpearmanLT(TailDependence):
    """Lower tail dependence: see `TailDependence`."""

    spearman_cond_lt_co_name: str = "BASpearmanCondLT"
    spearman_cond_lt_co_pars: dict | None = None


class MASpearmanUT(TailDependence):
    """Upper tail dependence: see `TailDependence`."""

    spearman_cond_ut_co_name: str = "BASpearmanCondUT"
    spearman_cond_ut_co_pars: dict | None = None


class BABlomqvist(Association):
    """Multivariate version of Blomqvist's beta.

        beta = 2^(d - 1) / (2^(d - 1) - 1) (P(all u <= 1/2) + P(all u > 1/2) - 2^(1 - d))

    References: Ubeda-Flores 2005.
    """

    def _estimate(self, u):
        by_chance = 2.0 ** (1 - u.shape[1])
        low = u <= 1 / 2
        return (low.all(axis=1).mean() + (~low).all(axis=1).mean() - by_chance) / (1 - by_chance)
