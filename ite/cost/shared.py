"""What every estimator has: attributes that print, and samples that are checked before anything is computed."""

from collections.abc import Sequence

import numpy as np

from ite.neighbors import knn_distances


class Estimator:
    """Prints as ITE's cost objects do: `ClassName -> {attributes}`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__} -> {vars(self)}"


class KnnEstimator(Estimator):
    """An estimator on distances to the k-th nearest neighbour.

    Parameters
    ----------
    mult : bool
        Whether multiplicative constants matter; they are always computed.
    knn_method : str
        Accepted for ITE's sake: neighbours are exact whatever it says.
    k : int
        Which neighbour.
    eps : float
        Accepted for ITE's sake, where neighbours may be farther by this fraction: exact ones satisfy any.
    """

    def __init__(self, mult: bool = True, knn_method: str = "cKDTree", k: int = 3, eps: float = 0):
        self.mult, self.knn_method, self.k, self.eps = mult, knn_method, k, eps


def as_sample(y: np.ndarray, name: str = "y") -> np.ndarray:
    """`y` as float64 (n, d). Raises ValueError unless it is a real, finite, two-dimensional, non-empty array."""
    y = np.asarray(y)
    if y.ndim != 2 or y.size == 0 or y.dtype.kind not in "biuf":
        raise ValueError(f"{name}: found {y.dtype} of shape {y.shape}, expected real numbers (samples, dimensions)")
    n_broken = int((~np.isfinite(y)).sum())
    if n_broken:
        raise ValueError(f"{name}: found NaN or infinity in {n_broken} of {y.size} elements")
    return y.astype(np.float64)


def as_blocks(y: np.ndarray, ds: Sequence[int]) -> list[np.ndarray]:
    """The columns of `y` (n, sum(ds)) as blocks of `ds` columns each. Raises ValueError where these do not add up."""
    y, ds = as_sample(y), np.asarray(ds)
    if ds.ndim != 1 or ds.dtype.kind not in "iu" or len(ds) < 2 or ds.min() < 1 or ds.sum() != y.shape[1]:
        raise ValueError(
            f"ds: found {ds.tolist()}, expected two or more positive integers that sum to {y.shape[1]}, y's columns"
        )
    return np.split(y, np.cumsum(ds)[:-1], axis=1)


def kth_distances(points: np.ndarray, k: int, queries: np.ndarray | None = None) -> np.ndarray:
    """Distance of each query (or point, itself excluded) to its k-th nearest point, float64 (m,).

    Raises
    ------
    ValueError
        If there are too few points, or if repeated rows make a distance zero: its logarithm would be infinite.
    """
    distances = knn_distances(points, k, queries)[:, -1]
    n_zero = int((distances == 0).sum())
    if n_zero:
        raise ValueError(
            f"{n_zero} of {len(distances)} samples equal {k} or more others, so their distance to neighbour k = {k} is zero; "
            "remove repeated rows, or choose a larger k"
        )
    return distances
