"""Neighbours and counts in the maximum norm: by a k-d tree in low dimension, from all distances, in tiles, in high."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from tqdm import tqdm

from ite.distances import Distances
from ite.neighbors import BAR, TREE_COLUMNS_OF_MANY, require_enough, tree_search

_NUMBERS, _DISTANCES = 100_000, 4_000_000  # at once: of points, between them


def max_norm_neighbors(points: np.ndarray | Distances, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances in the maximum norm from each of `points` (n, d) to its k nearest others, ascending, and which these are.

    Returns
    -------
    distances : ndarray, float64, (n, k)
    neighbors : ndarray, int, (n, k)

    Raises
    ------
    ValueError
        If there are fewer points than k asks for.
    """
    require_enough(points, k, own=True)
    in_tiles = isinstance(points, Distances) or points.shape[1] > TREE_COLUMNS_OF_MANY
    search = _tile_search(points, k) if in_tiles else tree_search(points, k, True, points, np.inf)
    distances, neighbors = zip(*search, strict=True)
    return np.vstack(distances), np.vstack(neighbors)


def n_within(points: np.ndarray | Distances, radius: np.ndarray) -> np.ndarray:
    """How many others are no farther than `radius` (n,) in the maximum norm from each of `points` (n, d); int (n,)."""
    if not isinstance(points, Distances) and points.shape[1] <= TREE_COLUMNS_OF_MANY:
        return cKDTree(points).query_ball_point(points, radius, p=np.inf, workers=-1, return_length=True) - 1
    counts = [(distances <= radius[rows, None]).sum(axis=1) for rows, distances in _max_norm_tiles(points)]
    return np.concatenate(counts) - 1  # itself


def farthest_of(points: np.ndarray | Distances, others: np.ndarray) -> np.ndarray:
    """Of each of `points` (n, d) the distance in the maximum norm to the farthest of its `others` (n, k), by number; (n,)."""
    if isinstance(points, Distances):
        return points.farthest(others)
    return np.abs(points[others] - points[:, None]).max(axis=(1, 2))


def _tile_search(points: np.ndarray | Distances, k: int) -> Iterator[tuple]:
    for rows, distances in _max_norm_tiles(points):
        distances[np.arange(len(rows)), rows] = np.inf  # none is its own neighbour
        nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
        found = np.take_along_axis(distances, nearest, axis=1)
        order = found.argsort(axis=1)
        yield np.take_along_axis(found, order, axis=1), np.take_along_axis(nearest, order, axis=1)


def _max_norm_tiles(points: np.ndarray | Distances) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For a few rows at a time their numbers (m,) and the distances from them to all of `points` (n, d), (m, n)."""
    if isinstance(points, Distances):
        yield from points.max_norm_tiles()
        return
    n, d = points.shape
    at_once = max(1, _NUMBERS // d)  # which stay in the cache while all of the rows are compared with them
    with tqdm(total=n, **BAR) as bar:
        for rows in np.array_split(np.arange(n), -(-n * n // _DISTANCES)):
            some = points[rows]
            tiles = [cdist(some, points[start : start + at_once], "chebyshev") for start in range(0, n, at_once)]
            yield rows, np.hstack(tiles)
            bar.update(len(rows))
