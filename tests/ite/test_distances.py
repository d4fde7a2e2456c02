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


KINDS = [dependent, gaussian, offset, heavy_tails, far_clusters, tight_clusters, far_row, unlike_scales, with_constant_columns]


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
