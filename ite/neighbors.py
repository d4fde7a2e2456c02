"""Exact distances to the k nearest neighbours, in low and in high dimension.

In low dimension a k-d tree finds them. In high dimension a tree visits every point, so tiles of a float32 matrix product
|y|^2 - 2 x.y rank the points, and float64 differences decide among all that the rounding of the product could have misplaced.
With many columns the tiles first come from an orthogonal projection and the norm of what it leaves out. Distances can only
shrink by that, so what is too far there is too far.

Rounding is bounded as in N. Higham and T. Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput.
41(5), 2019: if rounding errors are random, an inner product of length d is off by more than c sqrt(d) u |x||y| with a
probability below 2 d exp(-c^2 / 2). Rows for which float32 is too coarse are ranked in float64.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from tqdm import tqdm

from ite.arrays import as_array, as_tensor, centre_of, extremes_of, unit_of

# What the estimators work with; bytes, and where products are computed.
MEMORY_LIMIT = 10**9
DEVICE = "cpu"
# Of torch.distributed, on the processor: its processes, which all call the same estimators, divide the queries.
GROUP = None

# Up to so many columns a tree is faster, on Gaussian points, which are hard for it (benchmarks/neighbors.py).
TREE_COLUMNS = 8
TREE_COLUMNS_OF_MANY, MANY = 12, 30_000
_QUERIES, _POINTS = 512, 16_384  # of a tile; larger ones leave the cache, smaller ones slow the product
_CANDIDATES_BEYOND_K = 13
_BASIS, _CANDIDATES_IN_BASIS = 128, 45
_LEAST_COLUMNS, _LEAST_POINTS = 512, 2048  # for a projection to be worth its while
_DIFFERENCES = 300_000  # at once; they stay in the cache
_C = 8.0  # 2 d exp(-32): 3e-11 for a pair of 1,144 columns
_RELATIVE_ACCURACY = 1e-7
BAR = {"desc": "neighbours", "unit": " queries", "delay": 3, "mininterval": 1, "leave": False}


def knn_distances(
    points: np.ndarray | Tensor,
    k: int,
    queries: np.ndarray | Tensor | None = None,
    memory_limit: int | None = None,
    device: str | torch.device | None = None,
) -> np.ndarray:
    """Euclidean distances from each query to its k nearest points, ascending.

    Parameters
    ----------
    points : ndarray or Tensor, float32 or float64, (n, d)
        It may be a memory map; a tile is read at a time. Of tensors on an accelerator all is computed there.
    k : int
        At least 1; at most n, or n - 1 without `queries`.
    queries : ndarray or Tensor, float32 or float64, (m, d), optional
        Where the points are. Without them the points are their own queries, and none is its own neighbour.
    memory_limit : int, optional
        Bytes to work in, beside the arrays that are given and returned; `MEMORY_LIMIT` unless given. A tree that would need
        more is not made.
    device : str or torch.device, optional
        Where products are computed; where tensors are, or else `DEVICE`, unless given. It has to have float64.

    Returns
    -------
    ndarray, float64, (m, k)
        Equal to brute force in float64 within a relative 1e-7.

    Raises
    ------
    ValueError
        If there are fewer points than k asks for, dimensions or devices differ, or something is masked.
    """
    own = queries is None
    points = as_array(points)
    queries = points if own else as_array(queries)
    refuse_masked(points, "points")
    refuse_masked(queries, "queries")
    if points.shape[1] != queries.shape[1]:
        raise ValueError(f"points have {points.shape[1]} columns, queries {queries.shape[1]}; expected the same")
    require_enough(points, k, own)
    memory_limit = memory_limit or MEMORY_LIMIT
    if isinstance(points, Tensor) or isinstance(queries, Tensor):
        places = [str(as_tensor(y).device) for y in (points, queries)]
        if places[0] != places[1]:
            raise ValueError(f"points are on {places[0]}, queries on {places[1]}; expected them in one place")
        device = device or points.device
    elif tree_is_faster(*points.shape) and 16 * points.size <= memory_limit:
        part, found = own_part(len(queries)), [np.empty((0, k))]
        if part.start < part.stop:
            found += [distances for distances, _ in tree_search(points, k, own, queries[part], norm=2)]
        return of_all(np.vstack(found), part, len(queries))
    with torch.device("cpu"):  # whatever torch's default is
        ranking, part = _Ranking(points, queries, k, own, memory_limit, torch.device(device or DEVICE)), own_part(len(queries))
        return of_all(ranking.distances(part).cpu().numpy(), part, len(queries))


def own_part(n: int) -> slice:
    """Which of `n` queries are this process's: all, unless there is a `GROUP`."""
    if GROUP is None:
        return slice(0, n)
    import torch.distributed as dist

    rank, size = dist.get_rank(GROUP), dist.get_world_size(GROUP)
    return slice(n * rank // size, n * (rank + 1) // size)


def of_all(found: np.ndarray, part: slice, n: int) -> np.ndarray:
    """What the processes of `GROUP` have found of their parts of `n` queries, float64 (n, k); to add 0 changes no bit."""
    if GROUP is None:
        return found
    import torch.distributed as dist

    together = torch.zeros(n, found.shape[1], dtype=torch.float64, device="cpu")
    together[part] = torch.from_numpy(found)
    dist.all_reduce(together, group=GROUP)
    return together.numpy()


def tree_is_faster(n: int, d: int) -> bool:
    """Whether a k-d tree of `n` points in `d` dimensions is faster than matrix products."""
    return d <= (TREE_COLUMNS_OF_MANY if n >= MANY else TREE_COLUMNS)


def refuse_masked(y: np.ndarray, name: str) -> None:
    """Raise ValueError where elements of `y` are masked: numpy would give what stands below the mask."""
    if np.ma.is_masked(y):
        raise ValueError(
            f"{name}: found {np.ma.count_masked(y)} masked of {np.size(y)} elements, expected none: drop their rows"
        )


def require_enough(points: np.ndarray, k: int, own: bool) -> None:
    """Raise ValueError unless there are k of `points` to be neighbours, beside itself if the queries are their `own`."""
    if not 1 <= k <= len(points) - own:
        raise ValueError(f"k: found {k}, expected 1 to {len(points) - own}, for there are {len(points)} points")


def tree_search(points: np.ndarray, k: int, own: bool, queries: np.ndarray, norm: float) -> Iterator[tuple]:
    """By a k-d tree, for some queries at a time: distances (m, k), and which of `points` these are to. `norm` is 2 or inf."""
    # All is multiplied by a power of two that leaves squares a range of 10^300 below the largest: none under- or overflows.
    largest = max(abs(float(extreme())) for y in (points, queries) for extreme in (y.min, y.max))
    shift = 500 - int(np.frexp(largest)[1])
    tree, ranks = cKDTree(np.ldexp(points, shift, dtype=np.float64)), np.arange(1, k + 1) + own
    with tqdm(total=len(queries), **BAR) as bar:
        for rows in np.array_split(queries, -(-len(queries) // 50_000)):
            distances, found = tree.query(np.ldexp(rows, shift, dtype=np.float64), ranks, p=norm, workers=-1)
            yield np.ldexp(distances, -shift), found
            bar.update(len(rows))


class _Ranking:
    """Distances from queries (m, d) to their k nearest points (n, d), by matrix products.

    All is centred, and divided by a power of two: see `centre_of` and `unit_of`. Products are computed on `device`, all else
    where the points are, at `home`.
    """

    def __init__(
        self,
        points: np.ndarray | Tensor,
        queries: np.ndarray | Tensor,
        k: int,
        own: bool,
        memory_limit: int,
        device: torch.device,
    ):
        self.points, self.queries, self.k, self.own = as_tensor(points), as_tensor(queries), k, own
        self.memory_limit, self.device, self.home = memory_limit, device, self.points.device
        centre = centre_of(points)
        extremes = [extreme - centre for y in (points, queries) for extreme in extremes_of(y)]
        self.centre, self.unit = torch.from_numpy(centre).to(self.home), unit_of(np.abs(extremes).max())
        self.n_others = len(points) - own

    def distances(self, part: slice) -> Tensor:
        """Of a part of the queries, ascending, float64 (m, k)."""
        squared = torch.empty(len(self.queries), self.k, dtype=torch.float64, device=self.home)
        rows = self._numbers(len(self.queries))[part]
        n, d = self.points.shape
        exact = float32_is_exact(self.device)
        basis_fits = 8 * 8 * d * _BASIS <= self.memory_limit  # eight times, while it is made
        if exact and d >= _LEAST_COLUMNS and n >= _LEAST_POINTS and basis_fits:
            rows = rows[~self._rank(rows, torch.float32, squared, self._basis())]
        for dtype in (torch.float32, torch.float64) if exact else (torch.float64,):
            rows = rows[~self._rank(rows, dtype, squared)]
        for row in rows:  # more near-ties than candidates: every difference, one query at a time
            every = self._squared_distances(row.expand(n), self._numbers(n))
            if self.own:
                every[row] = torch.inf
            squared[row] = every.topk(self.k, largest=False).values
        return self.unit * squared[part].sqrt()

    def _basis(self) -> Tensor:
        """Orthonormal columns (d, _BASIS) that span the largest principal components of a few points; float64."""
        some = self._numbers(len(self.points))[:: -(-len(self.points) // (4 * _BASIS))]
        centred = self.points[some].double().sub_(self.centre).mul_(1 / self.unit)
        _, vectors = torch.linalg.eigh(centred @ centred.T)  # ascending
        return torch.linalg.qr(centred.T @ vectors[:, -_BASIS:]).Q

    def _rank(self, rows: Tensor, dtype: torch.dtype, squared: Tensor, basis: Tensor | None = None) -> Tensor:
        """Fill `squared` for `rows` of the queries from products in `dtype`; which are certain, bool (len(rows),).

        With a basis, scores are lower bounds; once they leave most queries of a tile uncertain, the rest are not tried.
        """
        certain = torch.zeros(len(rows), dtype=torch.bool, device=self.home)
        if not len(rows):
            return certain
        n_candidates = min(self.n_others, self.k + (_CANDIDATES_BEYOND_K if basis is None else _CANDIDATES_IN_BASIS))
        # A quarter of the memory each for the rows of a tile and for its scores.
        tile_rows = max(2, self.memory_limit // (4 * dtype.itemsize * self.points.shape[1]))
        tile_queries = min(_QUERIES, max(1, 3 * tile_rows // 4))  # points are read anew for each tile of queries
        tile_points = min(_POINTS, tile_rows - tile_queries, self.memory_limit // (4 * dtype.itemsize * tile_queries))
        tiles = self._numbers(len(self.points)).split(max(1, tile_points))
        load = lru_cache(maxsize=1)(
            lambda tile: self._load(self.points, tiles[tile], dtype, basis)
        )  # read once if it is the only one
        with tqdm(total=len(rows), **BAR) as bar:
            for positions in self._numbers(len(rows)).split(tile_queries):
                some = rows[positions]
                x, squared_x = self._load(self.queries, some, dtype, basis)
                best = torch.empty(len(some), 0, dtype=dtype, device=self.home)
                nearest = torch.empty(len(some), 0, dtype=torch.int64, device=self.home)
                for tile, columns in enumerate(tiles):
                    y, squared_y = load(tile)
                    scores = torch.addmm(squared_y.to(y), x, y.T, alpha=-2)
                    if self.own:
                        itself = some - columns[0]
                        here = ((itself >= 0) & (itself < len(y))).nonzero()[:, 0]
                        scores[here, itself[here]] = torch.inf
                    found = scores.topk(min(n_candidates, len(y)), largest=False)
                    scores, candidates = (some_of.to(self.home) for some_of in found)
                    best, nearest = torch.hstack([best, scores]), torch.hstack([nearest, columns[candidates]])
                    best, order = best.topk(min(n_candidates, best.shape[1]), largest=False)  # ascending
                    nearest = nearest.gather(1, order)
                certain[positions] = self._decide(some, squared_x, best, nearest, squared, basis)
                if basis is not None and certain[positions].double().mean() < 0.5:
                    break
                bar.update(len(some))
        return certain

    def _decide(
        self, rows: Tensor, squared_x: Tensor, scores: Tensor, candidates: Tensor, squared: Tensor, basis: Tensor | None
    ) -> Tensor:
        """Fill `squared` for `rows` by float64 differences to their candidates; which are certain, bool (len(rows),)."""
        k, squared_x, n_terms = self.k, squared_x[:, None], self.points.shape[1] if basis is None else basis.shape[1] + 1
        limits = torch.finfo(scores.dtype)
        relative_error = (_C * n_terms**0.5 + 4) * limits.eps / 2
        scores = scores.double() + squared_x
        exact = torch.full_like(scores, torch.inf)
        exact[:, :k] = self._squared_distances(rows.repeat_interleave(k), candidates[:, :k].flatten()).view(-1, k)
        bound = exact[:, :k].max(1, keepdim=True).values
        # A point within the bound has |y| <= |x| + sqrt(bound), and 2|x||y| <= |x|^2 + |y|^2. Products can underflow.
        error = relative_error * (squared_x + (squared_x.sqrt() + bound.sqrt()).square())
        error += n_terms * limits.tiny
        query, column = ((scores <= bound + error) & exact.isinf()).nonzero(as_tuple=True)
        exact[query, column] = self._squared_distances(rows[query], candidates[query, column])

        squared[rows] = exact.topk(k, largest=False).values
        kth, error = squared[rows, -1], error[:, 0]
        certain = (scores[:, -1] > kth + error) | (kth == 0) | (scores.shape[1] == self.n_others)
        return certain | (2 * error <= _RELATIVE_ACCURACY * kth) if basis is None else certain

    def _load(self, y: Tensor, rows: Tensor, dtype: torch.dtype, basis: Tensor | None) -> tuple[Tensor, Tensor]:
        """Rows of y, centred, (len(rows), d) in `dtype` on the device; and their squared norms, float64.

        With a basis: their coordinates in it and the norm of the rest, (len(rows), 1 + columns of the basis).
        """
        n_columns = y.shape[1] if basis is None else basis.shape[1] + 1
        loaded = torch.empty(len(rows), n_columns, dtype=dtype, device=self.device)
        squared_norms = torch.empty(len(rows), dtype=torch.float64, device=self.home)
        for some in self._numbers(len(rows)).split(self._n_at_once()):
            centred = y[rows[some]].double().sub_(self.centre).mul_(1 / self.unit)
            squared_norms[some] = torch.linalg.vecdot(centred, centred)
            if basis is not None:
                projected = centred @ basis
                rest = squared_norms[some] - torch.linalg.vecdot(projected, projected)
                centred = torch.hstack([projected, rest.clamp(min=0).sqrt()[:, None]])  # below 0 by rounding only
            loaded[some] = centred.to(loaded)
        return loaded, squared_norms

    def _squared_distances(self, rows: Tensor, columns: Tensor) -> Tensor:
        """|query_i - point_j|^2 by differences, for the pairs of `rows` i and `columns` j; float64 (len(rows),)."""
        squared = torch.empty(len(rows), dtype=torch.float64, device=self.home)
        for some in self._numbers(len(rows)).split(self._n_at_once()):
            difference = self.points[columns[some]].double().sub_(self.queries[rows[some]]).mul_(1 / self.unit)
            squared[some] = torch.linalg.vecdot(difference, difference)
        return squared

    def _numbers(self, n: int) -> Tensor:
        return torch.arange(n, device=self.home)

    def _n_at_once(self) -> int:
        at_once = _DIFFERENCES if self.home.type == "cpu" else self.memory_limit // 32  # four of them, of eight bytes
        return max(1, at_once // self.points.shape[1])


def float32_is_exact(device: torch.device) -> bool:
    """Whether products of float32 matrices are of float32, as torch is set; otherwise they may be of shorter numbers."""
    backend = getattr(torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn, "matmul", None)
    if hasattr(backend, "fp32_precision"):  # once it is set, the older question raises
        return backend.fp32_precision in ("none", "ieee")
    return torch.get_float32_matmul_precision() == "highest"
