import random
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.neighbors import NearestNeighbors

from ite import max_norm, neighbors
from ite.max_norm import max_norm_neighbors, n_within
from ite.neighbors import TREE_COLUMNS, knn_distances
from tests.accelerator import DEVICE, Accelerator

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
    monkeypatch.setattr(neighbors, "tree_search", lambda *args, **kwargs: used.append(True) or [(np.ones((1, 1)), None)])
    monkeypatch.setattr(neighbors._Ranking, "distances", lambda self, part: used.append(False) or torch.ones(1, 1))
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
    points, trees, search = np.random.default_rng(0).normal(size=(100, 4)), [], neighbors.tree_search
    monkeypatch.setattr(neighbors, "tree_search", lambda *args, **kwargs: trees.append(1) or search(*args, **kwargs))
    with_tree, without = (knn_distances(points, 3, memory_limit=limit) for limit in (16 * 400, 16 * 400 - 1))
    assert trees == [1]
    assert_allclose(with_tree, without, rtol=RTOL)


# torch's settings: those of precision are heeded, all others are neither used nor changed.
BACKENDS = torch.backends


@pytest.fixture
def precisions():
    """Puts back what a test sets."""
    yield
    torch.set_float32_matmul_precision("highest")
    for backend in (BACKENDS, BACKENDS.mkldnn, BACKENDS.mkldnn.matmul, BACKENDS.cuda.matmul, BACKENDS.cudnn):
        backend.fp32_precision = "none"


@pytest.mark.parametrize(
    "backend, precision, expected",
    [
        (None, "high", torch.float64),
        (None, "medium", torch.float64),
        (BACKENDS, "tf32", torch.float64),
        (BACKENDS.mkldnn, "bf16", torch.float64),
        (BACKENDS.mkldnn.matmul, "bf16", torch.float64),
        (BACKENDS, "ieee", torch.float32),
        (BACKENDS.cuda.matmul, "tf32", torch.float32),  # not of this device
        (BACKENDS.cudnn, "tf32", torch.float32),
    ],
)
def test_products_of_shorter_numbers_are_not_trusted(monkeypatch, precisions, backend, precision, expected):
    """torch may then multiply float32 as bfloat16 or TF32, whose rounding is not bounded here."""
    used, rank = [], neighbors._Ranking._rank
    monkeypatch.setattr(
        neighbors._Ranking, "_rank", lambda self, rows, dtype, *args: used.append(dtype) or rank(self, rows, dtype, *args)
    )
    if backend is None:
        torch.set_float32_matmul_precision(precision)
    else:
        backend.fp32_precision = precision
    points = np.random.default_rng(0).normal(size=(50, 30))
    assert_allclose(knn_distances(points, 3), brute_force(points, 3), rtol=RTOL)
    assert used[0] is expected
    assert (torch.get_float32_matmul_precision() if backend is None else backend.fp32_precision) == precision


def test_older_torch_is_asked_the_older_question(monkeypatch):
    """Where there is no `fp32_precision`, nor a `matmul` of that backend."""
    for backend in ("cuda", "mkldnn"):
        monkeypatch.setattr(torch.backends, backend, SimpleNamespace())
    for precision, exact in (("highest", True), ("high", False), ("medium", False)):
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda precision=precision: precision)
        assert neighbors.float32_is_exact(torch.device("cpu")) == neighbors.float32_is_exact(torch.device("cuda")) == exact


def every_search():
    """Trees, tiles with and without a projection, counts by both; of rows that need each stage."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(2100, 520))
    found = [knn_distances(kind(rng, 300, d), 3) for kind in (gaussian, crowded_clusters) for d in (3, 40)]
    found += [knn_distances(y, 3), max_norm_neighbors(y[:200, :40], 3)[0]]
    return [*found, *(n_within(y[:200, :d], np.full(200, 1.5)) for d in (3, 40))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_the_default_dtype_does_not_matter(dtype):
    expected, before = every_search(), torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        assert all(map(np.array_equal, every_search(), expected))
        assert torch.get_default_dtype() is dtype
    finally:
        torch.set_default_dtype(before)


def test_the_default_device_does_not_matter():
    expected = every_search()
    try:
        torch.set_default_device("meta")
        assert all(map(np.array_equal, every_search(), expected))
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)


def test_the_number_of_threads_is_left_as_it_is():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        every_search()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_global_generators_are_neither_used_nor_changed():
    """torch's, numpy's and Python's."""
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        results.append(every_search())
        assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[2]
        assert_array_equal(np.random.get_state()[1], before[1])
    assert all(map(np.array_equal, *results))


@pytest.mark.parametrize("scale", [1e-19, 1e-24, 1e-40, 1e-60, 1e-140])
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


@pytest.mark.parametrize("far", [1e6, 1e15, 1e25])
def test_one_far_row_keeps_the_others_at_float32(monkeypatch, far):
    """Centre and scale are the others'; only the far row itself is uncertain, from where all others are equally far."""
    uncertain, rank = [], neighbors._Ranking._rank

    def spy(self, rows, dtype, *args):
        certain = rank(self, rows, dtype, *args)
        uncertain.append((dtype, int((~certain).sum())))
        return certain

    monkeypatch.setattr(neighbors._Ranking, "_rank", spy)
    points = np.random.default_rng(0).normal(size=(300, 40))
    points[7] *= far
    assert_allclose(knn_distances(points, 3), brute_force(points, 3), rtol=RTOL)
    assert uncertain == [(torch.float32, 1), (torch.float64, 0)]


def test_columns_of_unlike_scales():
    """In one of two columns rows differ by 1e-170 of what they do in the other: they are not the same rows."""
    small = np.random.default_rng(0).normal(size=(60, 1))
    points = np.hstack([np.repeat([0.0, 1.0], 30)[:, None], 1e-170 * small])
    expected = np.vstack([brute_force(some, 3) for some in np.split(small, 2)])
    assert_allclose(knn_distances(points, 3), 1e-170 * expected, rtol=RTOL)


@pytest.mark.parametrize("d", [3, 40])
def test_arrays_as_they_lie_in_memory(d):
    """A field of records, whose rows are no whole number of floats apart; the other byte order; reversed."""
    records = np.zeros(50, np.dtype([("label", "u1"), ("values", "f8", (d,))]))
    records["values"] = np.random.default_rng(0).normal(size=(50, d))
    expected = brute_force(records["values"], 3)
    for points in (records["values"], records["values"].astype(">f8"), records["values"][:, ::-1]):
        assert_allclose(knn_distances(points, 3), expected, rtol=RTOL)


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(max_norm, "_NUMBERS", 300)
    monkeypatch.setattr(max_norm, "_DISTANCES", 1000)


@pytest.mark.parametrize("d", [1, 12, 13, 100])
@pytest.mark.parametrize("k", [1, 4, 89])
def test_neighbours_in_the_maximum_norm(small_tiles, d, k):
    """By a tree up to twelve columns, by tiles beyond."""
    points = np.random.default_rng(0).normal(size=(90, d))
    apart = np.abs(points[:, None] - points).max(axis=2)
    distances, nearest = max_norm_neighbors(points, k)
    np.fill_diagonal(apart, np.inf)
    assert_array_equal(distances, np.sort(apart, axis=1)[:, :k])
    assert_array_equal(nearest, np.argsort(apart, axis=1)[:, :k])
    with pytest.raises(ValueError, match="k: found 90, expected 1 to 89"):
        max_norm_neighbors(points, 90)


@pytest.mark.parametrize("d", [1, 12, 13, 100])
@pytest.mark.parametrize("radius", [0.0, 1.0, 3.0, 100.0])
def test_counts_in_the_maximum_norm(small_tiles, d, radius):
    """By a tree up to twelve columns, by tiles beyond; some rows are repeated."""
    points = np.random.default_rng(0).normal(size=(90, d))
    points[:20] = points[20:40]
    radii = radius * np.random.default_rng(1).uniform(0.8, 1.2, size=90)
    apart = np.abs(points[:, None] - points).max(axis=2)
    radii[3] = apart[3, 50]  # which counts
    assert_array_equal(n_within(points, radii), (apart <= radii[:, None]).sum(axis=1) - 1)


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


@pytest.mark.parametrize("scale", [1e-290, 1e-170, 1e-100, 1e-25, 1e25, 1e100, 1e170, 1e290])
@pytest.mark.parametrize("d", [1, 8, 40])
def test_extreme_scales_are_no_limit(scale, d):
    # Squares of such numbers leave the range of floats; a power of ten times the data is that power times the distances.
    rows = np.random.default_rng(5).normal(size=(200, d)) + 5 * np.repeat([-1, 1], 100)[:, None]
    np.testing.assert_allclose(knn_distances(scale * rows, 3), scale * knn_distances(rows, 3), rtol=1e-9)


# Tensors. tests/accelerator.py is a device that refuses what is not on it.


@pytest.mark.parametrize(("n", "d"), [(60, 3), (700, 40), (2100, 520)], ids=["few columns", "tiles", "a projection"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tensors_on_an_accelerator_are_searched_there(n, d, dtype):
    rng = np.random.default_rng(0)
    points, queries = (rng.normal(size=(m, d)).astype(dtype) for m in (n, 50))
    with Accelerator():
        there, asked = (torch.from_numpy(y).to(DEVICE) for y in (points, queries))
        own, of_queries = knn_distances(there, 3), knn_distances(there, 3, asked)
        with pytest.raises(ValueError, match="points are on meta, queries on cpu; expected them in one place"):
            knn_distances(there, 3, queries)
    assert_allclose(own, brute_force(points, 3), rtol=RTOL)
    assert_allclose(of_queries, knn_distances(points, 3, queries), rtol=RTOL)


def test_tensors_of_the_processor_are_arrays():
    points = np.random.default_rng(0).normal(size=(300, 30))
    assert_array_equal(knn_distances(torch.from_numpy(points).requires_grad_(), 3), knn_distances(points, 3))
