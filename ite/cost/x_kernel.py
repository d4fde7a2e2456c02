"""Kernels between points."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from ite.neighbors import refuse_masked


def _matern(s: np.ndarray, quadratic: float) -> np.ndarray:
    return (1 + s + quadratic * s**2) * np.exp(-s)


# Of the distance r: names of the parameters, formula.
RADIAL: dict[str, tuple[tuple[str, ...], Callable]] = {
    "RBF": (("sigma",), lambda r, sigma: np.exp(-(r**2) / (2 * sigma**2))),
    "exponential": (("sigma",), lambda r, sigma: np.exp(-r / (2 * sigma**2))),
    "Cauchy": (("sigma",), lambda r, sigma: 1 / (1 + r**2 / sigma**2)),
    "student": (("d",), lambda r, d: 1 / (1 + r**d)),
    "Matern3p2": (("l",), lambda r, length: _matern(np.sqrt(3) * r / length, 0)),
    "Matern5p2": (("l",), lambda r, length: _matern(np.sqrt(5) * r / length, 1 / 3)),
    "ratquadr": (("c",), lambda r, c: 1 - r**2 / (r**2 + c)),
    "invmquadr": (("c",), lambda r, c: 1 / np.sqrt(r**2 + c**2)),
}
# Of the inner product s.
POLYNOMIAL = (("c", "exponent"), lambda s, c, exponent: (s + c) ** exponent)


def _require_semidefinite(c: float, exponent: int) -> None:
    if not 0 <= c < np.inf:
        raise ValueError(f"c: found {c}, expected a number from 0: below, the kernel is not positive semidefinite")
    if not (exponent >= 0 and float(exponent).is_integer()):
        raise ValueError(
            f"exponent: found {exponent}, expected a whole number from 0, or the kernel is not positive semidefinite"
        )


class Kernel:
    """A positive semidefinite function k(x, y) of points in R^d.

    With the distance r: RBF exp(-r^2 / 2 sigma^2), exponential exp(-r / 2 sigma^2), Cauchy 1 / (1 + r^2 / sigma^2),
    student 1 / (1 + r^d), Matern3p2 (1 + s) exp(-s) with s = sqrt(3) r / l, Matern5p2 (1 + s + s^2 / 3) exp(-s) with
    s = sqrt(5) r / l, ratquadr 1 - r^2 / (r^2 + c), invmquadr 1 / sqrt(r^2 + c^2); and polynomial (x.y + c)^exponent.

    Parameters
    ----------
    par : dict, optional
        {"name": one of these, and its parameters}; {"name": "RBF", "sigma": 1} unless given. All become attributes.

    Raises
    ------
    ValueError
        For another name, for parameters that are not the kernel's, or that leave it not positive semidefinite: student's d is
        at most 2 (beyond, 1 / (1 + r^d) is flat at 0, which no such function but a constant is), the polynomial's c is not
        negative and its exponent whole.
    """

    def __init__(self, par: dict[str, Any] | None = None):
        par = {"name": "RBF", "sigma": 1} if par is None else dict(par)
        kernels = RADIAL | {"polynomial": POLYNOMIAL}
        if par.get("name") not in kernels:
            raise ValueError(f"name: found {par.get('name')!r}, expected one of {', '.join(kernels)}")
        expected, self._formula = kernels[par["name"]]
        if set(par) != {"name", *expected}:
            raise ValueError(f"{par['name']}: found parameters {sorted(set(par) - {'name'})}, expected {sorted(expected)}")
        for name in expected:
            if par["name"] in RADIAL and not 0 < par[name] < np.inf:
                raise ValueError(f"{name}: found {par[name]}, expected a positive number")
        if par["name"] == "student" and par["d"] > 2:
            raise ValueError(f"d: found {par['d']}, expected at most 2: beyond, the kernel is not positive semidefinite")
        if par["name"] == "polynomial":
            _require_semidefinite(par["c"], par["exponent"])
        self._parameters = [par[name] for name in expected]
        vars(self).update(par)

    def __repr__(self) -> str:
        return f"Kernel -> { {name: value for name, value in vars(self).items() if name[0] != '_'} }"

    def _of(self, distance_or_product: np.ndarray) -> np.ndarray:
        return self._formula(distance_or_product, *self._parameters)

    def gram_matrix1(self, y: np.ndarray) -> np.ndarray:
        """k(y_i, y_j) for the rows of `y` (n, d), (n, n)."""
        return self.gram_matrix2(y, y)

    def gram_matrix2(self, y1: np.ndarray, y2: np.ndarray) -> np.ndarray:
        """k(y1_i, y2_j) for the rows of `y1` (n1, d) and `y2` (n2, d), (n1, n2). Raises ValueError for masked ones."""
        refuse_masked(y1, "y1")
        refuse_masked(y2, "y2")
        return self._of(y1 @ y2.T if self.name == "polynomial" else cdist(y1, y2))

    def gram_matrix_diagonal(self, y: np.ndarray) -> np.ndarray:
        """k(y_i, y_i) for the rows of `y` (n, d), (n,)."""
        return self._pairs(y, y)

    def sum(self, y1: np.ndarray, y2: np.ndarray) -> float:
        """sum_i k(y1_i, y2_i) over the rows of `y1` and `y2`, both (n, d). Raises ValueError unless n is the same."""
        if y1.shape != y2.shape:
            raise ValueError(f"found shapes {y1.shape} and {y2.shape}, expected the same")
        return float(self._pairs(y1, y2).sum())

    def _pairs(self, y1: np.ndarray, y2: np.ndarray) -> np.ndarray:
        refuse_masked(y1, "y1")
        refuse_masked(y2, "y2")
        return self._of((y1 * y2).sum(axis=1) if self.name == "polynomial" else np.linalg.norm(y1 - y2, axis=1))

    def mean(self, y1: np.ndarray, y2: np.ndarray) -> float:
        """Mean of k(y1_i, y2_j) over all pairs, without holding the whole matrix."""
        return mean_over_pairs(self.gram_matrix2, y1, y2)

    def ichol(self, y: np.ndarray, tol: float) -> np.ndarray:
        """Incomplete Cholesky factor of the Gram matrix K of `y` (n, d), always by the largest remaining pivot.

        Returns
        -------
        ndarray, (n, rank)
            L with trace(K - L L^T) <= `tol`.

        References: Fine, Scheinberg 2001; Bach, Jordan 2002.
        """
        remaining = self.gram_matrix_diagonal(y).astype(float)
        factor = np.empty((0, len(y)))  # L^T
        while remaining.sum() > tol and len(factor) < len(y):
            pivot = remaining.argmax()
            row = self.gram_matrix2(y[pivot : pivot + 1], y)[0] - factor[:, pivot] @ factor
            row /= np.sqrt(remaining[pivot])
            factor = np.vstack([factor, row])
            remaining = np.maximum(remaining - row**2, 0)  # rounding, of what is zero
            remaining[pivot] = 0
        return factor.T


def mean_over_pairs(function: Callable, y1: np.ndarray, y2: np.ndarray) -> float:
    """Mean of `function(rows of y1, y2)` (rows, n2), taken over blocks of rows of about 64 MB."""
    n_blocks = -(-len(y1) * len(y2) // 8_000_000)
    return sum(function(rows, y2).sum() for rows in np.array_split(y1, n_blocks)) / (len(y1) * len(y2))
