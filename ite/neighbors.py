"""Exact distances to the k nearest neighbours, in low and in high dimension.

In low dimension a k-d tree finds them. In high dimension trees visit every point, so blocks of a float32 matrix product
|y|^2 - 2 x.y rank the points, and float64 differences decide among all points that the rounding of the product could have
misplaced. Rounding is bounded as in N. Higham and T. Mary, "A new approach to probabilistic rounding error analysis",
SIAM J. Sci. Comput. 41(5), 2019: an inner product of length d is off by more than c sqrt(d) u |x||y| with a probability
below 2 exp(-c^2 / 2). Rows for which float32 is too coarse are ranked in float64.
"""

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

# Up to here a tree is faster (benchmarks/neighbors.py).
TREE_MAX_DIMENSION = 8
_CANDIDATES_BEYOND_K = 13
_SCORES_AT_ONCE = 8_000_000
_DIFFERENCES_AT_ONCE = 4_000_000
_C = 8.0  # 2 exp(-32): 3e-14 for each pair
_RELATIVE_ACCURACY = 1e-7


def knn_distances(points: np.ndarray, k: int, queries: np.ndarray | None = None) -> np.ndarray:
    """Euclidean distances from each query to its k nearest points, ascending.

    Parameters
    ----------
    points : ndarray, (n, d)
    k : int
        At least 1; at most n, or n - 1 without `queries`.
    queries : ndarray, (m, d), optional
        Without them the points are their own queries, and none is its own neighbour.

    Returns
    -------
    ndarray, float64, (m, k)
        Equal to brute force in float64 within a relative 1e-7.

    Raises
    ------
    ValueError
        If there are fewer points than k asks for, or the dimensions differ.
    """
    exclude_self = queries is None
    queries = points if exclude_self else queries
    if points.shape[1] != queries.shape[1]:
        raise ValueError(f"points have {points.shape[1]} columns, queries {queries.shape[1]}; expected the same")
    available = len(points) - exclude_self
    if not 1 <= k <= available:
        raise ValueError(f"k: found {k}, expected 1 to {available}, for there are {len(points)} points")
    if points.shape[1] <= TREE_MAX_DIMENSION:
        found, _ = cKDTree(points).query(queries, k=np.arange(1, k + 1) + exclude_self, workers=-1)
        return found
    centre = points.mean(axis=0, dtype=np.float64)
    centred = points - centre
    unit = np.abs(centred).max() or 1.0  # keeps float32 squares from under- and overflowing
    centred /= unit
    x = centred if exclude_self else (queries - centre) / unit
    return unit * _Ranking(torch.from_numpy(centred), k, exclude_self).distances(torch.from_numpy(x)).sqrt().numpy()


class _Ranking:
    """Squared distances to the k nearest of `points`, float64 (n, d), already centred."""

    def __init__(self, points: Tensor, k: int, exclude_self: bool):
        self.points, self.k, self.exclude_self = points, k, exclude_self
        self.n_candidates = min(len(points) - exclude_self, k + _CANDIDATES_BEYOND_K)

    def distances(self, queries: Tensor) -> Tensor:
        """Ascending, float64 (m, k)."""
        found = torch.empty(len(queries), self.k, dtype=torch.float64)
        rows = torch.arange(len(queries))
        for dtype in (torch.float32, torch.float64):
            certain = self._rank(queries, rows, dtype, found)
            rows = rows[~certain]
        for row in rows:  # more near-ties than candidates: every difference, one query at a time
            squared = (self.points - queries[row]).square().sum(1)
            if self.exclude_self:
                squared[row] = torch.inf
            found[row] = squared.topk(self.k, largest=False).values
        return found

    def _rank(self, queries: Tensor, rows: Tensor, dtype: torch.dtype, found: Tensor) -> Tensor:
        """Fill `found` for `rows` of the queries from products in `dtype`; which of them are certain, bool (len(rows),)."""
        points, squared_norms = self.points.to(dtype), self.points.square().sum(1).to(dtype)
        relative_error = (_C * self.points.shape[1] ** 0.5 + 4) * torch.finfo(dtype).eps / 2
        every_point = self.n_candidates == len(self.points) - self.exclude_self
        certain = []
        for some in rows.split(max(1, _SCORES_AT_ONCE // len(points))):
            x = queries[some]
            scores = torch.addmm(squared_norms, x.to(dtype), points.T, alpha=-2)
            if self.exclude_self:
                scores[torch.arange(len(some)), some] = torch.inf
            scores, candidates = scores.topk(self.n_candidates, largest=False)  # ascending
            squared_x = x.square().sum(1, keepdim=True)
            scores = scores.double() + squared_x

            squared = torch.full_like(scores, torch.inf)
            squared[:, : self.k] = self._squared_distances(x, candidates[:, : self.k])
            bound = squared[:, : self.k].max(1, keepdim=True).values
            # A point within the bound has |y| <= |x| + sqrt(bound), and 2|x||y| <= |x|^2 + |y|^2.
            error = relative_error * (squared_x + (squared_x.sqrt() + bound.sqrt()).square())
            in_doubt = (scores <= bound + error) & squared.isinf()
            query, column = in_doubt.nonzero(as_tuple=True)
            squared[query, column] = self._squared_distances(x[query], candidates[query, column, None])[:, 0]

            found[some] = squared.topk(self.k, largest=False).values
            kth = found[some, -1]
            unseen_are_farther = scores[:, -1] > (bound + error)[:, 0]
            certain.append(unseen_are_farther | (2 * error[:, 0] <= _RELATIVE_ACCURACY * kth) | (kth == 0) | every_point)
        return torch.cat(certain) if certain else torch.empty(0, dtype=torch.bool)

    def _squared_distances(self, x: Tensor, columns: Tensor) -> Tensor:
        """|x_i - points_j|^2 by differences for j in row i of `columns` (m, c); float64 (m, c)."""
        n_at_once = max(1, _DIFFERENCES_AT_ONCE // (x.shape[1] * columns.shape[1]))
        parts = zip(x.split(n_at_once), columns.split(n_at_once), strict=True)
        return torch.cat([(self.points[js] - some[:, None]).square().sum(2) for some, js in parts])
