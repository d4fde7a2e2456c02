"""`ite.Distances` in place of rows: every value beside that of the rows themselves."""

import random
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import ite
from ite import distances, matrices, neighbors, parts, sums
from ite.cost import MIShannon_DKL, MIShannon_HS, MIShannon_KSG
from ite.distances import Distances
from ite.neighbors import knn_distances
from tests.accelerator import DEVICE, Accelerator

RTOL = 1e-9


def dependent(rng, n, *ds):
    """Blocks of Gaussian columns which share some directions."""
    common = rng.normal(size=(n, 3))
    return [common @ rng.normal(size=(3, d)) + 0.3 * rng.normal(size=(n, d)) for d in ds]


def gaussian(rng, n, *ds):
    return [rng.normal(size=(n, d)) for d in ds]


def offset(rng, n, *ds):
    return [1e4 + block for block in gaussian(rng, n, *ds)]


def heavy_tails(rng, n, *ds):
    return [rng.standard_cauchy(size=(n, d)) for d in ds]


def far_clusters(rng, n, *ds):
    """Three clusters whose rows differ by 1e-3 of the distance between them; float32 products cannot tell them apart."""
    return [400 * rng.normal(size=(3, d))[np.arange(n) % 3] + 1e-1 * rng.normal(size=(n, d)) for d in ds]


def tight_clusters(rng, n, *ds):
    """The same, by 1e-9: neither can float64 products."""
    return [400 * rng.normal(size=(3, d))[np.arange(n) % 3] + 1e-7 * rng.normal(size=(n, d)) for d in ds]


def tight_beside_wide(rng, n, *ds):
    """Rows that products cannot tell apart in the first block, but others of which can."""
    return [*tight_clusters(rng, n, *ds[:1]), *dependent(rng, n, *ds[1:])]


def far_row(rng, n, *ds):
    blocks = dependent(rng, n, *ds)
    blocks[0][1] *= 1e15
    return blocks


def unlike_scales(rng, n, *ds):
    return [block * 10.0 ** (40 * m) for m, block in enumerate(dependent(rng, n, *ds))]


def with_constant_columns(rng, n, *ds):
    blocks = dependent(rng, n, *ds)
    for block in blocks:
        block[:, ::2] = 7
    return blocks


KINDS = [
    dependent,
    gaussian,
    offset,
    heavy_tails,
    far_clusters,
    tight_clusters,
    tight_beside_wide,
    far_row,
    unlike_scales,
    with_constant_columns,
]


@pytest.fixture(params=["float64", "float32", "lists"])
def way(request, monkeypatch):
    """In which matrices are kept, and whether lists of the nearest are looked into first; all with small tiles."""
    monkeypatch.setattr(matrices, "_COLUMNS", 1)
    monkeypatch.setattr(matrices, "_LEAST_COLUMNS", 7)
    monkeypatch.setattr(sums, "_QUERIES", 50)
    monkeypatch.setattr(parts, "_CACHED", 9000)
    monkeypatch.setattr(sums, "_DIFFERENCES", 500)
    if request.param != "float64":
        fit = matrices.Matrices.fit
        monkeypatch.setattr(matrices.Matrices, "fit", lambda self, of, kind: kind != "float64" and fit(self, of, kind))
    if request.param == "lists":
        monkeypatch.setattr(matrices, "_LISTED", 5)
        monkeypatch.setattr(sums, "_LEAST_LISTED", 1)
    return request.param


def same(found, expected, d):
    """Within 1e-9 of the value, or of the mean logarithm of distances of which it is d times a small difference."""
    assert_allclose(found, expected, rtol=RTOL, atol=1e-11 * d)


def rows_of(blocks, orders=None):
    return np.hstack(blocks if orders is None else [block[order] for block, order in zip(blocks, orders, strict=True)])


# Neighbours


@pytest.mark.parametrize("ds", [(9, 5), (40, 1), (100, 300), (7, 8, 30), (12,)])
@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_those_of_rows(way, kind, ds):
    """Own ones, and those of other rows; in some order of each block."""
    rng = np.random.default_rng(len(ds))
    blocks = kind(rng, 300, *ds)
    y = Distances(blocks)
    orders = [rng.permutation(300) for _ in ds]
    for some, rows in ((y, rows_of(blocks)), (y.rows(*orders), rows_of(blocks, orders))):
        equal, found = some.to_neighbors([1, 3])
        assert_allclose(found, knn_distances(rows, 3)[:, [0, 2]], rtol=RTOL)
        assert not equal.any()
        points, queries = np.arange(200), np.arange(200, 300)
        _, found = some.rows(points).to_neighbors([2, 5], some.rows(queries))
        assert_allclose(found, knn_distances(rows[:200], 5, rows[200:])[:, [1, 4]], rtol=RTOL)


@pytest.mark.parametrize("kind", [dependent, gaussian, offset, heavy_tails, with_constant_columns])
def test_matrices_decide_what_is_not_too_close(way, monkeypatch, kind):
    """From rows come only those that differ by less than rounding shows."""
    from_rows = []
    monkeypatch.setattr(distances, "knn_distances", lambda *args: from_rows.append(args[2]) or knn_distances(*args))
    y = Distances(kind(np.random.default_rng(0), 300, 30, 20))
    y.to_neighbors([3])
    assert not from_rows
    clusters = Distances(tight_clusters(np.random.default_rng(0), 300, 30, 20))
    clusters.to_neighbors([3])
    assert len(from_rows) == 1 and len(from_rows[0]) == 300


@pytest.mark.parametrize("n", [2, 3, 5, 33, 64, 65])
def test_as_many_neighbours_as_there_are(way, n):
    blocks = gaussian(np.random.default_rng(n), n, 10, 4)
    y, rows = Distances(blocks), rows_of(blocks)
    assert_allclose(y.to_neighbors([n - 1])[1], knn_distances(rows, n - 1)[:, -1:], rtol=RTOL)
    if n > 2:
        found = y.rows(np.arange(1, n)).to_neighbors([n - 1], y.rows([0]))[1]
        assert_allclose(found, knn_distances(rows[1:], n - 1, rows[:1])[:, -1:], rtol=RTOL)
    with pytest.raises(ValueError, match=f"k: found {n}, expected 1 to {n - 1}"):
        y.to_neighbors([n])


def test_repeated_rows_are_at_distance_zero_exactly(way):
    """Each row three times: two others at 0, the third neighbour farther."""
    blocks = [np.tile(1e4 + block, (3, 1)) for block in gaussian(np.random.default_rng(0), 40, 20, 30)]
    y, expected = Distances(blocks), knn_distances(rows_of(blocks), 3)
    equal, found = y.to_neighbors([1, 2, 3])
    assert equal.all()
    assert_array_equal(found[:, :2], 0)
    assert_allclose(found[:, 2], expected[:, 2], rtol=RTOL)
    equal, found = y.rows(np.arange(80)).to_neighbors([2], y.rows(np.arange(80, 120)))
    assert equal.all() and not found.any()
    order = np.random.default_rng(1).permutation(120)  # equal in a block only
    equal, found = y.rows(None, order).to_neighbors([3])
    assert_allclose(found[:, 0], knn_distances(rows_of(blocks, [np.arange(120), order]), 3)[:, 2], rtol=RTOL)


def test_near_ties(way):
    """Corners of a simplex, all sqrt(2) apart, and integers, which many are equally far from."""
    corners = np.eye(100)
    assert_allclose(Distances(corners, [60, 40]).to_neighbors([1, 7])[1], np.sqrt(2), rtol=1e-12)
    y = np.random.default_rng(0).integers(0, 3, size=(200, 14)).astype(float)
    equal, found = Distances(y, [4, 10]).to_neighbors([1, 3])
    expected = knn_distances(y, 3)
    assert_allclose(found, expected[:, [0, 2]], rtol=RTOL)
    assert_array_equal(equal, expected[:, 0] == 0)


def test_rows_that_are_chosen_twice(way):
    """Then two rows are one row of the matrix; they are searched from rows."""
    blocks = gaussian(np.random.default_rng(0), 60, 10, 12)
    order = np.random.default_rng(1).integers(0, 60, 100)
    equal, found = Distances(blocks).rows(order).to_neighbors([1, 4])
    expected = knn_distances(rows_of(blocks)[order], 4)
    assert_allclose(found, expected[:, [0, 3]], rtol=RTOL)
    assert_array_equal(equal, expected[:, 0] == 0)
    y = Distances(blocks)
    equal, found = y.to_neighbors([1, 2], y)  # each row is its own nearest
    assert equal.all()
    assert_allclose(found[:, 1], knn_distances(rows_of(blocks), 1)[:, 0], rtol=RTOL)


@pytest.mark.parametrize("scale", [1e-149, 1e-60, 1e-25, 1e25, 1e60, 1e140])
def test_units(way, scale):
    blocks = dependent(np.random.default_rng(0), 200, 12, 20)
    expected = knn_distances(rows_of(blocks), 3)[:, 2]
    assert_allclose(Distances([scale * block for block in blocks]).to_neighbors([3])[1][:, 0], scale * expected, rtol=RTOL)
    assert_allclose(Distances(blocks).scaled(scale, scale).to_neighbors([3])[1][:, 0], scale * expected, rtol=RTOL)
    apart = rows_of([blocks[0], scale * blocks[1]])
    assert_allclose(Distances(blocks).scaled(1, scale).to_neighbors([3])[1], knn_distances(apart, 3)[:, 2:], rtol=RTOL)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mapped", [False, True])
def test_arrays_as_they_lie_in_memory(way, tmp_path, dtype, mapped):
    """In a file or not, side by side or not, reversed, in the other byte order; none is written to."""
    blocks = [(100 + block).astype(dtype) for block in dependent(np.random.default_rng(0), 80, 13, 31)]
    y, expected = rows_of(blocks), knn_distances(rows_of(blocks), 3)[:, 2:]
    if mapped:
        np.save(tmp_path / "y.npy", y)
        y = np.load(tmp_path / "y.npy", mmap_mode="r")
    before = y.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for form in (y, y[:, ::-1], y.astype(y.dtype.newbyteorder()), np.asfortranarray(y)):
            assert_allclose(Distances(form, [20, 24]).to_neighbors([3])[1], expected, rtol=RTOL)
        assert_allclose(Distances([y[:, :13], y[:, 13:]]).to_neighbors([3])[1], expected, rtol=RTOL)
        assert_allclose(Distances(y[::-1], [13, 31]).to_neighbors([3])[1], expected[::-1], rtol=RTOL)
    assert_array_equal(y, before)


def test_a_private_map_keeps_what_was_written_to_it(tmp_path):
    """Only what can be read again is released."""
    np.save(tmp_path / "y.npy", np.random.default_rng(0).normal(size=(50, 20)))
    y = np.load(tmp_path / "y.npy", mmap_mode="c")
    y += 1
    before = np.array(y)
    Distances(y, [10, 10]).to_neighbors([1])
    assert_array_equal(y, before)
    assert parts._map_of(y) is None and parts._map_of(np.load(tmp_path / "y.npy", mmap_mode="r")[3:, 2:]) is not None


# Estimates


ESTIMATORS = ["MIShannon_DKL", "MIChi2_DChi2", "MIL2_DL2", "MIRenyi_DR", "MITsallis_DT", "MIShannon_HS", "MIShannon_KSG"]
quiet = pytest.mark.filterwarnings("ignore::ite.UnsupportedEstimate", "ignore::ite.FewEffectiveSamples")


@quiet
@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("n, ds", [(200, (20, 14)), (201, (5, 8, 9)), (100, (2, 2))])
def test_estimators_take_them(way, name, n, ds):
    rng = np.random.default_rng(n)
    blocks, pars = dependent(rng, n, *ds), {} if name in ("MIShannon_HS", "MIShannon_KSG") else {"rng": 3}
    co, y = ite.cost.co_factory(name, **pars), Distances(blocks)
    same(co.estimation(y), co.estimation(rows_of(blocks), ds), sum(ds))
    orders = [rng.permutation(n) for _ in ds]
    same(co.estimation(y.rows(*orders), ds), co.estimation(rows_of(blocks, orders), ds), sum(ds))
    factors = 10.0 ** rng.uniform(-2, 2, len(ds))
    scaled = rows_of([factor * block for factor, block in zip(factors, blocks, strict=True)])
    same(co.estimation(y.scaled(*factors)), co.estimation(scaled, ds), sum(ds))
    same(co.estimation(y.standardized()), co.estimation(ite.standardize(rows_of(blocks), ds), ds), sum(ds))
    cut = rows_of([blocks[0][:, : ds[0] // 2], *blocks[1:]])
    same(co.estimation(y.columns(0, ds[0] // 2)), co.estimation(cut, [ds[0] // 2, *ds[1:]]), sum(ds))


@quiet
@pytest.mark.parametrize(
    "name, pars",
    [
        ("MIShannon_DKL", {"rng": 0, "kl_co_pars": {"k": 5}}),
        ("MIShannon_DKL", {"rng": 0, "kl_co_name": "BDKL_KnnKiTi"}),
        ("MIShannon_HS", {"shannon_co_name": "BHShannon_KnnK", "shannon_co_pars": {"k": 7}}),
        ("MIRenyi_DR", {"rng": 0, "alpha": 0.5}),
        ("MIShannon_KSG", {"algorithm": 2}),
        ("MIShannon_KSG", {"k": 199}),
        ("BcondIShannon_HShannon", {}),
    ],
)
def test_parameters(way, name, pars):
    blocks, co = dependent(np.random.default_rng(0), 200, 6, 9, 10), ite.cost.co_factory(name, **pars)
    same(co.estimation(Distances(blocks)), co.estimation(rows_of(blocks), [6, 9, 10]), 25)


@quiet
@pytest.mark.parametrize("name", ["BHShannon_KnnK", "BHRenyi_KnnK", "BHRenyi_KnnS", "BHTsallis_KnnK", "BHSharmaMittal_KnnK"])
def test_entropies(way, name):
    """From Euclidean neighbours, too; several of them with KnnS."""
    blocks, co = dependent(np.random.default_rng(0), 200, 6, 9), ite.cost.co_factory(name)
    assert_allclose(co.estimation(Distances(blocks)), co.estimation(rows_of(blocks)), rtol=RTOL)
    conditional = ite.cost.BcondHShannon_HShannon()
    assert_allclose(conditional.estimation(Distances(blocks), 6), conditional.estimation(rows_of(blocks), 6), rtol=RTOL)


@quiet
@pytest.mark.parametrize("name", ["BDKL_KnnK", "BDKL_KnnKiTi", "BDRenyi_KnnK", "MDJDist_DKL", "MDKL_HSCE", "BCCE_KnnK"])
def test_divergences_of_rows_from_others(way, name):
    blocks, co = dependent(np.random.default_rng(0), 200, 6, 9), ite.cost.co_factory(name)
    y, rows = Distances(blocks), rows_of(blocks)
    first, second = np.arange(0, 200, 2), np.arange(1, 200, 2)
    assert_allclose(co.estimation(y.rows(first), y.rows(second)), co.estimation(rows[first], rows[second]), rtol=RTOL)
    itself = y.rows(first), y.rows(first)
    assert_allclose(co.estimation(*itself), co.estimation(rows[first], rows[first]), rtol=RTOL)
    with pytest.raises(ValueError, match="of other blocks, columns or factors"):
        co.estimation(y, y.scaled(1, 2))


@quiet
def test_splits(way):
    """The same rows by the same generator."""
    blocks = dependent(np.random.default_rng(0), 151, 12, 30)
    of_rows, of_distances = (MIShannon_DKL(rng=5, n_splits=4) for _ in range(2))
    same(of_distances.estimation(Distances(blocks)), of_rows.estimation(rows_of(blocks), [12, 30]), 42)
    same(of_distances.last_run, of_rows.last_run, 42)
    rngs = [np.random.default_rng(1) for _ in range(2)]
    for _ in range(3):
        same(
            MIShannon_DKL(rng=rngs[0]).estimation(Distances(blocks)),
            MIShannon_DKL(rng=rngs[1]).estimation(rows_of(blocks), [12, 30]),
            42,
        )
    assert rngs[0].bit_generator.state == rngs[1].bit_generator.state


@quiet
@pytest.mark.parametrize("co", [MIShannon_DKL(rng=2), MIShannon_HS(), MIShannon_KSG()])
@pytest.mark.parametrize("ds", [(15, 20), (7, 4, 8)])
def test_checks(way, co, ds):
    blocks = dependent(np.random.default_rng(0), 120, *ds)
    y, rows = Distances(blocks), rows_of(blocks)
    of_distances, of_rows = ite.independence_test(co, y, None, 9, 4), ite.independence_test(co, rows, ds, 9, 4)
    same([of_distances.estimate, *of_distances.null], [of_rows.estimate, *of_rows.null], sum(ds))
    assert of_distances.p_value == of_rows.p_value
    factors = [0.01, 1, 30]
    same(ite.scale_sensitivity(co, y, ds, factors), ite.scale_sensitivity(co, rows, ds, factors), sum(ds))
    with pytest.raises(ValueError, match="factors: found"):
        ite.scale_sensitivity(co, y, ds, [1, 0])


@quiet
@pytest.mark.parametrize("memory_limit", [10**9, 300 * 10**6])
def test_as_many_rows_as_lists_are_made_for(memory_limit):
    """With nothing set: n = 3,300 in float64, n = 4,800 in float32."""
    n = 3300 if memory_limit == 10**9 else 4800
    blocks = [block.astype(np.float32) for block in dependent(np.random.default_rng(0), n, 40, 30)]
    y, rows, co = Distances(blocks, memory_limit=memory_limit), rows_of(blocks), MIShannon_DKL(rng=0, n_splits=2)
    assert y._matrices.kind(y._parts) == ("float64" if n == 3300 else "float32")
    same(co.estimation(y), co.estimation(rows, [40, 30]), 70)
    assert all("lists" in vars(matrix) for matrix in y._matrices._kept.values())
    order = np.random.default_rng(1).permutation(n)
    permuted = rows_of(blocks, [np.arange(n), order])
    same(co.estimation(y.rows(None, order)), co.estimation(permuted, [40, 30]), 70)


@quiet
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_samples(way, kind):
    """Of n = 120: 60 rows in each half."""
    blocks, co = kind(np.random.default_rng(3), 120, 12, 30), MIShannon_DKL(rng=0)
    same(co.estimation(Distances(blocks)), co.estimation(rows_of(blocks), [12, 30]), 42)


samples = st.tuples(st.integers(0, 10**6), st.integers(8, 70), st.lists(st.sampled_from([1, 3, 9, 40]), min_size=2, max_size=4))


@quiet
@settings(max_examples=60, deadline=None)
@given(samples, st.floats(-100, 100), st.integers(-60, 60))
def test_invariances(sample, shift, power):
    seed, n, ds = sample
    rng = np.random.default_rng(seed)
    blocks, co = dependent(rng, n, *ds), MIShannon_DKL(rng=seed, kl_co_pars={"k": 2})
    y = Distances(blocks)
    found = co.estimation(y)
    tolerance = {"rtol": RTOL, "atol": 1e-11 * sum(ds)}
    assert_allclose(found, co.estimation(rows_of(blocks), ds), **tolerance)
    assert_allclose(co.estimation(y.scaled(*[2.0**power] * len(ds))), found, **tolerance)
    assert_allclose(co.estimation(Distances([block + shift for block in blocks])), found, rtol=1e-7, atol=1e-9 * sum(ds))
    order = rng.permutation(n)
    assert_allclose(co.estimation(y.rows(order).rows(np.argsort(order))), found, **tolerance)
    assert_allclose(co.estimation(y.rows(order)), co.estimation(Distances([block[order] for block in blocks])), **tolerance)
    rotated = [block @ np.linalg.qr(rng.normal(size=(d, d)))[0] for block, d in zip(blocks, ds, strict=True)]
    assert_allclose(co.estimation(Distances(rotated)), found, rtol=1e-7, atol=1e-9 * sum(ds))
    standardized = y.standardized()
    assert_allclose(co.estimation(standardized.standardized()), co.estimation(standardized), **tolerance)


# What they are


def test_others_of_the_same_matrices():
    rng = np.random.default_rng(0)
    blocks = gaussian(rng, 30, 4, 5, 6)
    y, rows = Distances(blocks), rows_of(blocks)
    assert (len(y), y.shape, y.ds, str(y)) == (30, (30, 15), [4, 5, 6], "Distances of 30 rows in blocks of [4, 5, 6] columns")
    order, other = rng.permutation(30)[:10], rng.permutation(30)[:10]
    assert_array_equal(y.array(), rows)
    assert_array_equal(y.blocks(2, 0).array(), rows_of([blocks[2], blocks[0]]))
    assert_array_equal(y.rows(order).array(), rows[order])
    assert_array_equal(y.rows(order, other, order).rows(None).array(), rows_of(blocks, [order, other, order]))
    assert_array_equal(y.rows(order).rows([3, 1]).array(), rows[order[[3, 1]]])
    assert_array_equal(y.columns(1, 2).array(), rows_of([blocks[0], blocks[1][:, :2], blocks[2]]))
    assert_array_equal(y.scaled(1, 2, 3).scaled(1, 1, 5).array(), rows_of([blocks[0], 2 * blocks[1], 15 * blocks[2]]))
    standardized = y.rows(order).standardized().array()
    assert_allclose(standardized - standardized.mean(axis=0), ite.standardize(rows[order], [4, 5, 6]), rtol=1e-12, atol=1e-12)
    assert_array_equal(y.array(), rows)


@quiet
def test_matrices_are_made_once(monkeypatch):
    """Of a block by itself, beside others, in any order and scale; a part of its columns becomes a part of the sum."""
    made, multiply = [], matrices.Matrices._multiply
    monkeypatch.setattr(
        matrices.Matrices,
        "_multiply",
        lambda self, matrix, block, numbers: made.append(len(numbers)) or multiply(self, matrix, block, numbers),
    )
    blocks = dependent(np.random.default_rng(0), 60, 40, 20, 21)
    y, co = Distances(blocks), MIShannon_DKL(rng=0)
    before, after = y.blocks(0, 1), y.blocks(0, 2)
    assert made == []
    for both in (before, after):
        co.estimation(both.columns(0, 15))
        ite.independence_test(co, both, None, 3)
        ite.scale_sensitivity(co, both.rows(np.arange(60)[::-1]))
        co.estimation(both.standardized())
    assert sorted(made) == [15, 20, 21, 25]


@quiet
@pytest.mark.parametrize("room", [2, 4])
def test_matrices_of_blocks_serve_the_joint_rows(monkeypatch, room):
    """In float32, too, where one block by itself would fit in float64."""
    made, make = [], matrices.Matrices._make
    monkeypatch.setattr(matrices.Matrices, "_make", lambda self, key, needed: made.append(key[1:]) or make(self, key, needed))
    y = Distances(dependent(np.random.default_rng(0), 60, 40, 20), memory_limit=24 * 100 * 60 + room * 60 * 76 * 4)
    MIShannon_HS().estimation(y)
    kind = "float32" if room == 2 else "float64"
    assert made == [(40, kind), (20, kind)]


@pytest.mark.parametrize(
    "work, message",
    [
        (lambda y: y.rows([0, 1], [2]), r"orders: found \[2, 1\] rows, expected as many in each of 3 blocks"),
        (lambda y: y.rows([0, 1], None, None), "orders: found"),
        (lambda y: y.columns(1, 6), "n: found 6, expected 1 to 5 columns of block 1"),
        (lambda y: y.columns(1, 0), "n: found 0"),
        (lambda y: y.scaled(1, 2), r"factors: found \(1, 2\), expected a positive one for each of 3 blocks"),
        (lambda y: y.scaled(1, 2, 0), "factors: found"),
        (lambda y: y.scaled(1, 2, np.inf), "factors: found"),
        (lambda y: y.scaled(1, 2, 1e160), "factors: the largest number becomes .*e.160, expected 1e-150 to 1e150"),
        (lambda y: MIShannon_DKL().estimation(y, [4, 11]), r"ds: found \[4, 11\], expected two or more blocks, of \[4, 5, 6\]"),
        (lambda y: MIShannon_DKL().estimation(y.blocks(1)), r"ds: found \[5\], expected two or more"),
        (lambda y: MIShannon_DKL().estimation(y.rows([0])), "y: found one row"),
        (lambda y: MIShannon_DKL().estimation(y.rows([0, 1, 2])), "k: found 3, expected"),
        (lambda y: ite.independence_test(ite.cost.BcondIShannon_HShannon(), y), "co: found a conditional information"),
        (lambda y: ite.standardize(y), "y: found Distances of 30 rows.*expected rows"),
        (lambda y: ite.jitter(y), "y: found Distances of 30 rows.*expected rows"),
        (lambda y: Distances([y.array(), y.array()[1:]]), r"y: found blocks of \[30, 29\] rows"),
        (lambda y: Distances([y.array(), y.array()], [15, 15]), r"y: found blocks of \[30, 30\] rows, ds: \[15, 15\]"),
        (lambda y: Distances([y.array(), np.nan * y.array()]), r"y\[1\]: found NaN or infinity"),
        (lambda y: Distances(y.array(), [7, 7]), r"ds: found \[7, 7\]"),
        (lambda y: Distances(np.ma.masked_less(y.array(), 0), [7, 8]), "masked"),
    ],
)
def test_errors(work, message):
    y = Distances(gaussian(np.random.default_rng(0), 30, 4, 5, 6))
    with pytest.raises(ValueError, match=message):
        work(y)


def test_constant_blocks():
    y = Distances([np.full((40, 12), 0.1), *gaussian(np.random.default_rng(0), 40, 5)])
    assert_allclose(y.to_neighbors([2])[1][:, 0], knn_distances(y.array(), 2)[:, 1], rtol=RTOL)
    assert not Distances(np.zeros((40, 20)), [10, 10]).to_neighbors([3])[1].any()
    with pytest.raises(ValueError, match="y: block 0 is constant"):
        y.standardized()


REFUSING = sorted(
    name
    for name in ite.cost.__all__
    if name[:2] in ("BI", "MI", "BA", "MA") and isinstance(getattr(ite.cost, name), type) and name not in ESTIMATORS
)


@pytest.mark.parametrize("name", REFUSING)
def test_other_estimators_say_so(name):
    assert len(REFUSING) > 15
    y = Distances(gaussian(np.random.default_rng(0), 30, 1, 1, 1))
    with pytest.raises(
        ValueError, match=r"y: found Distances of 30 rows in blocks of .*, expected rows, for more than nearest"
    ):
        ite.cost.co_factory(name).estimation(y)


@pytest.mark.parametrize("name", ["MHShannon_DKLN", "MHShannon_DKLU", "BHShannon_SpacingV", "BHShannon_MaxEnt1"])
def test_other_entropies_say_so(name):
    with pytest.raises(ValueError, match="y: found Distances of 30 rows"):
        ite.cost.co_factory(name).estimation(Distances(gaussian(np.random.default_rng(0), 30, 1, 1)))


@pytest.mark.parametrize("name", ["BDMMD_UStat", "BDEnergyDist", "MDK_DKL", "MDJS_HS", "BKExpected"])
def test_other_divergences_say_so(name):
    y = Distances(gaussian(np.random.default_rng(0), 30, 1, 1))
    with pytest.raises(ValueError, match="y1: found Distances of 15 rows"):
        ite.cost.co_factory(name).estimation(y.rows(np.arange(15)), y.rows(np.arange(15, 30)))


# Warnings


def test_warnings_are_those_of_rows(way):
    rng = np.random.default_rng(0)
    informed = dependent(rng, 300, 40, 50)
    repeated = [rng.normal(size=(200, 10)), rng.integers(0, 2, size=(200, 3))]
    same_rows = [np.repeat(block, 2, axis=0) for block in gaussian(rng, 100, 10, 11)]
    for blocks, co in ((informed, MIShannon_DKL(rng=0)), (repeated, MIShannon_DKL(rng=0)), (repeated, MIShannon_KSG()),
                       (same_rows, MIShannon_DKL(rng=0)), (gaussian(rng, 90, 10, 10), MIShannon_HS())):  # fmt: skip
        ds, found = [block.shape[1] for block in blocks], []
        for y in (Distances(blocks), rows_of(blocks)):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                co.estimation(y, ds)
            assert all(warning.filename == __file__ for warning in caught)
            found.append([(warning.category, str(warning.message)[:20]) for warning in caught])
        assert found[0] == found[1]
    blocks = [np.repeat(block, 3, axis=0) for block in gaussian(rng, 30, 10, 11)]
    for y in (Distances(blocks), rows_of(blocks)):
        warns = pytest.warns(ite.RepeatedValues, match="90 of 90 samples equal each other")
        with warns, pytest.raises(ValueError, match="90 of 90 samples equal 2 or more others"):
            ite.cost.BHShannon_KnnK(k=2).estimation(y)


# Memory


@quiet
def test_memory_limit(monkeypatch):
    """Float64 while it fits, float32 at half of it, rows at less; always the same value."""
    blocks, co = dependent(np.random.default_rng(0), 100, 30, 20), MIShannon_DKL(rng=0)
    expected, size, working = co.estimation(rows_of(blocks), [30, 20]), 2 * 100 * 116 * 8, 24 * 100 * 100
    used, search = [], distances.Search.__init__
    monkeypatch.setattr(
        distances.Search, "__init__", lambda self, of, *args: used.append(of[0].values.dtype) or search(self, of, *args)
    )
    for limit, kind in ((size, "float64"), (size - 1, "float32"), (size // 2, "float32"), (size // 2 - 1, None)):
        y = Distances(blocks, memory_limit=working + limit)
        used.clear()
        same(co.estimation(y), expected, 50)
        assert used == ([] if kind is None else [kind, kind])
        assert sum(matrix.values.nbytes for matrix in y._matrices._kept.values()) <= limit
    monkeypatch.setattr(neighbors, "MEMORY_LIMIT", working + size - 1)
    used.clear()
    same(co.estimation(Distances(blocks)), expected, 50)
    assert used == ["float32", "float32"]
    same(MIShannon_KSG().estimation(Distances(blocks)), MIShannon_KSG().estimation(rows_of(blocks), [30, 20]), 50)


@quiet
def test_as_many_matrices_as_fit():
    """Those that are not needed make room, those that are a part of the sum become it."""
    blocks, co = dependent(np.random.default_rng(0), 100, 30, 20, 25), MIShannon_DKL(rng=0)
    size, working = 100 * 116 * 8, 24 * 100 * 100
    for room in (2, 3, 4):
        y = Distances(blocks, memory_limit=working + room * size)
        for m, columns in ((1, 10), (2, 10), (2, 25), (1, 25), (1, 30), (2, 30)):
            some = [blocks[0][:, :columns], blocks[m]]
            found = co.estimation(y.blocks(0, m).columns(0, columns))
            same(found, co.estimation(rows_of(some), [columns, blocks[m].shape[1]]), 50)
            assert len(y._matrices._kept) <= room


# torch's settings


def every_estimate():
    blocks = dependent(np.random.default_rng(0), 300, 30, 20)
    y = Distances(blocks)
    return np.array([MIShannon_HS().estimation(y), MIShannon_KSG().estimation(y), MIShannon_DKL(rng=0).estimation(y)])


@quiet
@pytest.mark.parametrize("setting", ["dtype", "device"])
def test_defaults_do_not_matter(way, setting):
    expected = every_estimate()
    try:
        torch.set_default_dtype(torch.float16) if setting == "dtype" else torch.set_default_device("meta")
        assert_array_equal(every_estimate(), expected)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


@quiet
def test_threads_do_not_show(way):
    before, expected = torch.get_num_threads(), every_estimate()
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            assert_allclose(every_estimate(), expected, rtol=1e-12)
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)


@quiet
def test_products_of_shorter_numbers_are_not_trusted():
    blocks = dependent(np.random.default_rng(0), 60, 30, 20)
    y = Distances(blocks, memory_limit=24 * 100 * 60 + 2 * 60 * 76 * 4)
    assert y._matrices.kind(y._parts) == "float32"
    try:
        torch.set_float32_matmul_precision("medium")
        assert y._matrices.kind(y._parts) is None
    finally:
        torch.set_float32_matmul_precision("highest")


def test_products_on_the_device(monkeypatch):
    """ "meta" computes nothing, so it fails at the first number read."""
    monkeypatch.setattr(neighbors, "DEVICE", "meta")
    y = Distances(dependent(np.random.default_rng(0), 60, 30, 20))
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        y.to_neighbors([1])


@quiet
def test_tensors_on_an_accelerator_are_compared_there():
    y = np.hstack(dependent(np.random.default_rng(0), 200, 30, 20))
    estimators = [ite.cost.MIShannon_DKL(rng=0), ite.cost.MIShannon_KSG(), ite.cost.BIDistCov()]
    expected = [co.estimation(y, [30, 20]) for co in estimators]
    with Accelerator():
        there = torch.from_numpy(y).to(DEVICE)
        assert Distances([there[:, :30], there[:, 30:]])._matrices.device.type == DEVICE
        assert_allclose([co.estimation(there, [30, 20]) for co in estimators], expected, rtol=1e-7)
    assert_array_equal([co.estimation(torch.from_numpy(y), [30, 20]) for co in estimators], expected)


@quiet
def test_global_generators_are_neither_used_nor_changed():
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        results.append(every_estimate())
        assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[2]
        assert_array_equal(np.random.get_state()[1], before[1])
    assert_array_equal(*results)


# Pieces


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 70), st.integers(1, 12), st.sampled_from([np.float32, np.float64]))
def test_least_of(seed, n, count, dtype):
    rng = np.random.default_rng(seed)
    values = rng.choice([1e-30, 1.0, 1e30]) * rng.normal(size=(9, n)).astype(dtype) ** 2
    values = np.round(values, 1) if seed % 2 else values
    values[:, rng.random(n) < 0.2] = np.inf
    chosen, beyond = parts.least_of(values, count)
    assert chosen.shape == (9, min(n, count))
    for row, columns, bound in zip(values, chosen, beyond, strict=True):
        assert len(set(columns)) == len(columns)
        rest = np.delete(row, columns)
        assert (rest >= bound).all()
        largest = row[columns].max()
        assert bound >= largest * (1 - 2.0 ** (7 - np.finfo(dtype).nmant)) or np.isinf(largest)


def test_inner_products_are_those_of_centred_rows():
    """Also of some rows, first columns and a scale; and none of two blocks, or beyond the memory limit."""
    rng = np.random.default_rng(0)
    blocks, order = dependent(rng, 40, 6, 30), rng.permutation(40)[:25]
    y = Distances(blocks)
    centred = blocks[1] - blocks[1].mean(axis=0)
    assert_allclose(y.blocks(1).inner_products(), centred @ centred.T, atol=1e-12 * np.square(centred).sum())
    some = 3 * blocks[1][order, :7]
    some -= some.mean(axis=0)
    found = y.columns(1, 7).scaled(1, 3).rows(order).blocks(1).inner_products()
    assert_allclose(found, some @ some.T, atol=1e-12 * np.square(some).sum())
    for refused in (y, Distances(blocks[:1], memory_limit=100_000)):
        with pytest.raises(ValueError, match="expected one block, and a memory limit with room"):
            refused.inner_products()
