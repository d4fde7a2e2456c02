import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.neighbors import NearestNeighbors

from ite import neighbors
from ite.neighbors import TREE_COLUMNS, knn_distances

# The docstring promises 1e-7 for the ranking; centring the points may round away as much again where the differences are
# 1e-8 of the coordinates. 1e-6 covers both and still rules out float32, whose squares are off by 1e-5 and more here.
RTOL = 1e-6


def brute_force(points, k, queries=None):
    """Every difference in float64, no expansion of the square, no centring."""
    points = points.astype(np.float64)
    own = queries is None
    queries = points if own else queries.astype(np.float64)
    squared = np.stack([np.square(points - query).sum(1) for query in queries])
    if own:
        np.fill_diagonal(squared, np.inf)
    return np.sqrt(np.sort(squared, axis=1)[:, :k])


def gaussian(rng, n, d):
    return rng.normal(size=(n, d))


def offset(rng, n, d):
    return 1e4 + rng.normal(size=(n, d))


def nearly_equal(rng, n, d):
    return 1e4 * (1 + 1e-6 * rng.normal(size=(n, d)))


def far_clusters(rng, n, d):
    """Two members to a cluster: 150 clusters of n = 300, at distance 400 from one another and of size 1e-3."""
    centres = rng.normal(size=(n // 2, d))
    centres *= 400 / np.sqrt(2) / np.linalg.norm(centres, axis=1, keepdims=True)
    return np.repeat(centres, 2, axis=0) + 1e-3 * rng.normal(size=(n, d))


def crowded_clusters(rng, n, d):
    """Three clusters of a hundred: more near-ties around each point than candidates are kept."""
    return 400 * rng.normal(size=(3, d))[np.arange(n) % 3] + 1e-6 * rng.normal(size=(n, d))


def integers_with_ties(rng, n, d):
    return rng.integers(0, 2, size=(n, d))


def heavy_tails(rng, n, d):
    return rng.standard_cauchy(size=(n, d))


def simplex(rng, n, d):
    """The corners e_1 ... e_n, all sqrt(2) apart: nothing but ties."""
    return np.eye(n)


KINDS = [gaussian, offset, nearly_equal, far_clusters, crowded_clusters, integers_with_ties, heavy_tails]


@pytest.mark.parametrize("d", [1, 3, TREE_COLUMNS, TREE_COLUMNS + 1, 120])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_brute_force(kind, d):
    rng = np.random.default_rng(d)
    points = kind(rng, 300, d)
    assert_allclose(knn_distances(points, 3), brute_force(points, 3), rtol=RTOL, atol=0)
    rows = rng.permutation(300)
    points, queries = points[rows[:200]], points[rows[200:]]
    assert_allclose(knn_distances(points, 5, queries), brute_force(points, 5, queries), rtol=RTOL, atol=0)


@pytest.mark.parametrize("d", [2, 200])
@pytest.mark.parametrize("k", [1, 3, 25])
def test_agrees_with_sklearn(d, k):
    points, queries = np.random.default_rng(0).normal(size=(2, 400, d))
    oracle = NearestNeighbors(n_neighbors=k, algorithm="kd_tree").fit(points)
    assert_allclose(knn_distances(points, k), oracle.kneighbors()[0], rtol=RTOL)
    assert_allclose(knn_distances(points, k, queries), oracle.kneighbors(queries)[0], rtol=RTOL)


@pytest.mark.parametrize("n, d, tree", [(400, 8, True), (400, 9, False), (30_000, 12, True), (30_000, 13, False)])
def test_tree_or_product(monkeypatch, n, d, tree):
    used = []
    monkeypatch.setattr(neighbors, "_tree_search", lambda *args, **kwargs: used.append(True) or [(np.ones((1, 1)), None)])
    monkeypatch.setattr(neighbors._Ranking, "distances", lambda self: used.append(False) or torch.ones(1, 1))
    knn_distances(np.zeros((n, d)), 1)
    assert used == [tree]


@pytest.mark.parametrize("d", [2, 50])
def test_as_many_neighbours_as_there_are(d):
    points = np.random.default_rng(0).normal(size=(4, d))
    assert_allclose(knn_distances(points, 3), brute_force(points, 3), rtol=RTOL)
    assert_allclose(knn_distances(points, 4, points[:1] + 1), brute_force(points, 4, points[:1] + 1), rtol=RTOL)


@pytest.mark.parametrize("d", [2, 50])
def test_duplicates_are_at_distance_zero_exactly(d):
    """Each row occurs three times, so each has two others at exactly 0, and the third neighbour farther."""
    rows = 1e4 + np.random.default_rng(0).normal(size=(40, d))
    points = np.tile(rows, (3, 1))
    found = knn_distances(points, 3)
    assert_array_equal(found[:, :2], 0)
    assert_allclose(found[:, 2], np.tile(brute_force(rows, 1)[:, 0], 3), rtol=RTOL)
    assert_array_equal(knn_distances(points, 3, rows), 0)


@pytest.mark.parametrize("d", [3, 30])
def test_all_points_the_same(d):
    assert_array_equal(knn_distances(np.full((50, d), 0.1), 3), np.zeros((50, 3)))


def test_regular_simplex():
    assert_allclose(knn_distances(simplex(None, 100, 100), 7), np.sqrt(2), rtol=1e-12)


@pytest.mark.parametrize("queries_at_once, points_at_once", [(512, 7), (9, 16_384), (7, 9), (30, 40)])
def test_tiles_do_not_show(monkeypatch, queries_at_once, points_at_once):
    """The least tile has fewer points than candidates are kept."""
    points, queries = np.random.default_rng(0).normal(size=(2, 100, 40))
    own, other = knn_distances(points, 3), knn_distances(points, 3, queries)
    monkeypatch.setattr(neighbors, "_QUERIES", queries_at_once)
    monkeypatch.setattr(neighbors, "_POINTS", points_at_once)
    monkeypatch.setattr(neighbors, "_DIFFERENCES", 500)
    assert_allclose(knn_distances(points, 3), own, rtol=1e-12)
    assert_allclose(knn_distances(points, 3, queries), other, rtol=1e-12)


@pytest.mark.parametrize("limit", [1, 16 * 5000 * 20])
def test_memory_is_limited(monkeypatch, limit):
    """A tile of 15 queries and 5 points takes a quarter of the limit in float32; under the least limit it is one and one."""
    points, loaded, load = np.random.default_rng(0).normal(size=(60, 5000)), [], neighbors._Ranking._load
    whole = knn_distances(points, 3)
    monkeypatch.setattr(
        neighbors._Ranking, "_load", lambda self, y, rows, *args: loaded.append(len(rows)) or load(self, y, rows, *args)
    )
    assert_allclose(knn_distances(points, 3, memory_limit=limit), whole, rtol=1e-12)
    assert max(loaded) <= max(1, 0.75 * limit / (16 * 5000))


@pytest.mark.parametrize("d", [3, 30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_map(tmp_path, d, dtype):
    points = (100 + np.random.default_rng(0).normal(size=(80, d))).astype(dtype)
    np.save(tmp_path / "points.npy", points)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_allclose(knn_distances(mapped, 3), brute_force(points, 3), rtol=RTOL)
        assert_allclose(knn_distances(mapped, 3, mapped[::-2]), brute_force(points, 3, points[::-2]), rtol=RTOL)
    assert_array_equal(mapped, points)


def test_a_tree_that_fits(monkeypatch):
    """16 bytes a number, or none."""
    points, trees, search = np.random.default_rng(0).normal(size=(100, 4)), [], neighbors._tree_search
    monkeypatch.setattr(neighbors, "_tree_search", lambda *args, **kwargs: trees.append(1) or search(*args, **kwargs))
    with_tree, without = (knn_distances(points, 3, memory_limit=limit) for limit in (16 * 400, 16 * 400 - 1))
    assert trees == [1]
    assert_allclose(with_tree, without, rtol=RTOL)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_products_of_shorter_numbers_are_not_trusted(monkeypatch, precision):
    """torch may then multiply float32 as bfloat16 or TF32, whose rounding is not bounded here."""
    used, rank = [], neighbors._Ranking._rank
    monkeypatch.setattr(
        neighbors._Ranking, "_rank", lambda self, rows, dtype, *args: used.append(dtype) or rank(self, rows, dtype, *args)
    )
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        points = np.random.default_rng(0).normal(size=(50, 30))
        assert_allclose(knn_distances(points, 3), brute_force(points, 3), rtol=1e-12)
    finally:
        torch.set_float32_matmul_precision(before)
    assert used == [torch.float64]


@pytest.mark.parametrize("scale", [1e-19, 1e-24])
def test_clusters_beside_far_outliers(scale):
    """Where float32 products underflow, scores of zero decide nothing."""
    rng = np.random.default_rng(0)
    points = scale * (rng.normal(size=(100, 40)) + 5 * np.repeat([-1, 1], 50)[:, None])
    points[:2] = [[1.0] * 40, [-1.0] * 40]
    assert_allclose(knn_distances(points, 3), brute_force(points, 3), rtol=RTOL)


def test_device(monkeypatch):
    """Products happen on the device that is asked for. "meta" computes nothing, so it fails at the first number read."""
    points = np.random.default_rng(0).normal(size=(40, 30))
    assert_array_equal(knn_distances(points, 3, device="cpu"), knn_distances(points, 3))
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        knn_distances(points, 3, device="meta")
    monkeypatch.setattr(neighbors, "DEVICE", "meta")
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        knn_distances(points, 3)


@pytest.mark.parametrize(
    "kind, reached",
    [  # rows that arrive at float32, at float64, and beyond both
        (gaussian, (300, 0, 0)),  # no near-ties: float32 decides all
        (simplex, (300, 300, 0)),  # all ties: float32 cannot tell how near they are, float64 can
        (crowded_clusters, (300, 300, 300)),  # |x|^2 u = 2e7 * 1e-16 exceeds the squared distances, 2e-10
    ],
)
def test_precision_rises_as_far_as_needed(monkeypatch, kind, reached):
    arrived, rank = {torch.float32: 0, torch.float64: 0, None: 0}, neighbors._Ranking._rank

    def spy(self, rows, dtype, squared, basis=None):
        certain = rank(self, rows, dtype, squared, basis)
        arrived[dtype] += len(rows)
        arrived[None] = int((~certain).sum())
        return certain

    monkeypatch.setattr(neighbors._Ranking, "_rank", spy)
    points = kind(np.random.default_rng(0), 300, 120)
    found = knn_distances(points, 3)
    assert tuple(arrived.values()) == reached
    assert_allclose(found, brute_force(points, 3), rtol=RTOL, atol=0)


@pytest.mark.parametrize("d", [4, 40])
def test_each_fallback_alone_is_right(monkeypatch, d):
    """With nothing ever certain, every row goes through every stage to the last."""
    points = np.random.default_rng(0).normal(size=(60, d))
    rank = neighbors._Ranking._rank
    monkeypatch.setattr(neighbors._Ranking, "_rank", lambda *args: torch.zeros_like(rank(*args)))
    assert_allclose(knn_distances(points, 3), brute_force(points, 3), rtol=1e-12)


def low_rank(rng, n, d):
    return rng.normal(size=(n, 5)) @ rng.normal(size=(5, d)) + 0.01 * rng.normal(size=(n, d))


@pytest.fixture
def always_projected(monkeypatch):
    monkeypatch.setattr(neighbors, "_LEAST_COLUMNS", 1)
    monkeypatch.setattr(neighbors, "_LEAST_POINTS", 1)
    monkeypatch.setattr(neighbors, "_BASIS", 12)


@pytest.mark.parametrize("kind", [*KINDS, low_rank])
def test_projection_equals_brute_force(always_projected, kind):
    rng = np.random.default_rng(0)
    points = kind(rng, 300, 120)
    assert_allclose(knn_distances(points, 3), brute_force(points, 3), rtol=RTOL, atol=0)
    rows = rng.permutation(300)
    points, queries = points[rows[:200]], points[rows[200:]]
    assert_allclose(knn_distances(points, 5, queries), brute_force(points, 5, queries), rtol=RTOL, atol=0)


@pytest.mark.parametrize("kind, decided", [(low_rank, 1500), (gaussian, 0)])
def test_projection_decides_what_lies_in_few_dimensions(monkeypatch, always_projected, kind, decided):
    """Where it doesn't, the first tile shows it and the others are spared."""
    certain, rank = [], neighbors._Ranking._rank

    def spy(self, rows, dtype, squared, basis=None):
        found = rank(self, rows, dtype, squared, basis)
        certain.append((basis is not None, len(rows), int(found.sum())))
        return found

    monkeypatch.setattr(neighbors._Ranking, "_rank", spy)
    points = kind(np.random.default_rng(0), 1500, 120)
    assert_allclose(knn_distances(points, 3), brute_force(points, 3), rtol=RTOL)
    projected, n_rows, n_certain = certain[0]
    assert projected and n_rows == 1500 and n_certain == pytest.approx(decided, abs=50)


samples = st.tuples(st.integers(0, 10**6), st.integers(5, 60), st.sampled_from([1, 2, 7, 11, 33]))


@settings(max_examples=40, deadline=None)
@given(samples, st.integers(1, 4), st.floats(-100, 100))
def test_invariances(sample, k, shift):
    seed, n, d = sample
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, d))
    found = knn_distances(points, k)
    assert found.shape == (n, k) and found.dtype == np.float64
    assert (np.diff(found, axis=1) >= 0).all() and (found > 0).all()

    # A shift by 100 rounds coordinates by 1e-14, so pairs closer than 1e-8 would show it: hence the absolute tolerance.
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    order = rng.permutation(n)
    assert_allclose(knn_distances(points + shift, k), found, rtol=RTOL, atol=1e-12)
    assert_allclose(knn_distances(points @ rotation, k), found, rtol=RTOL, atol=1e-12)
    assert_allclose(knn_distances(points[order], k), found[order], rtol=RTOL, atol=1e-12)
    assert_allclose(knn_distances(4 * points, k), 4 * found, rtol=RTOL)
    # A point is its own nearest neighbour once it is a query.
    assert_allclose(knn_distances(points, k + 1, points)[:, 1:], found, rtol=RTOL, atol=1e-12)


@pytest.mark.parametrize("d", [2, 20])
def test_errors(d):
    points = np.zeros((5, d))
    with pytest.raises(ValueError, match="k: found 5, expected 1 to 4, for there are 5 points"):
        knn_distances(points, 5)
    with pytest.raises(ValueError, match="k: found 6, expected 1 to 5"):
        knn_distances(points, 6, points)
    with pytest.raises(ValueError, match="k: found 0"):
        knn_distances(points, 0)
    with pytest.raises(ValueError, match=f"points have {d} columns, queries {d + 1}"):
        knn_distances(points, 1, np.zeros((5, d + 1)))


@pytest.mark.parametrize("scale", [1e-100, 1e-25, 1e25, 1e100])
def test_extreme_scales_are_no_limit(scale):
    # Squares of such numbers leave float32's range; a power of ten times the data is that power times the distances.
    rows = np.random.default_rng(5).normal(size=(200, 40)) + 5 * np.repeat([-1, 1], 100)[:, None]
    np.testing.assert_allclose(knn_distances(scale * rows, 3), scale * knn_distances(rows, 3), rtol=1e-9)
