"""Squared distances of all pairs of rows, made once, block by block, for many estimates from the same rows.

The squared distance of two rows is the sum of their blocks' squared distances. So one n x n matrix for each block serves every
split, permutation, choice of blocks and of first columns, which pick its rows and columns, and every rescaling, which is a
factor. What is left of a search for neighbours is to add and to compare.

A matrix comes from products of centred rows, in float64 if the memory limit has room for it, else in float32. Differences in
float64 then decide among all that rounding, bounded as in `ite.neighbors`, could have misplaced.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ite import neighbors
from ite.cost.shared import as_blocks, as_sample
from ite.neighbors import knn_distances, require_enough, tree_is_faster
from ite.sums import Block, Matrices, Part, Search, are_apart


class Distances:
    """Rows of several blocks, known by their distances: in place of rows, wherever an estimator asks for nearest neighbours only.

    Those are `MIShannon_DKL`, `MIShannon_HS`, `MIChi2_DChi2`, `MIL2_DL2`, `MIRenyi_DR` and `MITsallis_DT`, alone or in
    `ite.independence_test` and `ite.scale_sensitivity`. Values are those of the rows themselves, up to float64's rounding. The
    methods return other rows, blocks or scales of the same matrices, which are made when they are first needed.

    Parameters
    ----------
    y : ndarray, float32 or float64, (n, sum(ds)), or sequence of ndarray (n, d_m)
        Blocks side by side, or a list of them. They may be memory maps, and have to stay as they are.
    ds : sequence of int, optional
        Widths of the blocks in an array; every column is one unless given.
    memory_limit : int, optional
        Bytes to work in, beside `y`; `ite.neighbors.MEMORY_LIMIT` unless given. n^2 numbers of 4 bytes for each block have to
        fit, or each search is made anew from rows, as without distances. Up to a few columns it is, too: a tree is faster.

    Raises
    ------
    ValueError
        For blocks no estimator could take.

    Examples
    --------
    >>> both = ite.Distances([images, clean, noisy])
    >>> before, after = both.blocks(0, 1), both.blocks(0, 2)
    >>> ite.cost.MIShannon_DKL(rng=0, n_splits=5).estimation(before)
    """

    def __init__(self, y: np.ndarray | Sequence[np.ndarray], ds: Sequence[int] | None = None, memory_limit: int | None = None):
        if isinstance(y, list | tuple) and all(np.ndim(block) == 2 for block in y):
            blocks = [as_sample(block, f"y[{m}]", keep_float32=True) for m, block in enumerate(y)]
            n_rows = [len(block) for block in blocks]
            if ds is not None or len(set(n_rows)) != 1:
                raise ValueError(f"y: found blocks of {n_rows} rows, ds: {ds}; expected blocks of as many rows, and no ds")
        else:
            _, blocks = as_blocks(y, ds, keep_float32=True)
        n = len(blocks[0])
        self._matrices = Matrices(n, memory_limit or neighbors.MEMORY_LIMIT, torch.device(neighbors.DEVICE))
        self._parts = [Part(Block(block), block.shape[1], np.arange(n)) for block in blocks]

    # What it stands for

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and columns of all blocks."""
        return len(self), sum(self.ds)

    @property
    def ds(self) -> list[int]:
        """Widths of the blocks."""
        return [part.columns for part in self._parts]

    def __len__(self) -> int:
        return len(self._parts[0].rows)

    def __repr__(self) -> str:
        return f"Distances of {len(self)} rows in blocks of {self.ds} columns"

    # Others of the same matrices

    def blocks(self, *numbers: int) -> "Distances":
        """Only the blocks of these numbers, from 0, in this order."""
        return self._of([self._parts[m] for m in numbers])

    def rows(self, *orders: np.ndarray | None) -> "Distances":
        """The rows of these numbers, int (m,): one order for all blocks, or one for each, or None for all rows as they are."""
        orders = orders * len(self._parts) if len(orders) == 1 else orders
        rows = [np.arange(len(self)) if order is None else np.asarray(order) for order in orders]
        if len(rows) != len(self._parts) or len({len(some) for some in rows}) != 1:
            raise ValueError(f"orders: found {[len(some) for some in rows]} rows, expected as many in each of {len(self.ds)} blocks")
        return self._of([replace(part, rows=part.rows[some]) for part, some in zip(self._parts, rows, strict=True)])

    def columns(self, block: int, n: int) -> "Distances":
        """Only the first `n` columns of a block. Asked for before the whole block, they are a part of its sum."""
        if not 1 <= n <= self.ds[block]:
            raise ValueError(f"n: found {n}, expected 1 to {self.ds[block]} columns of block {block}")
        return self._of([replace(part, columns=n) if m == block else part for m, part in enumerate(self._parts)])

    def scaled(self, *factors: float) -> "Distances":
        """The blocks multiplied by a positive factor each."""
        if len(factors) != len(self._parts) or not all(0 < factor < np.inf for factor in factors):
            raise ValueError(f"factors: found {factors}, expected a positive one for each of {len(self._parts)} blocks")
        parts = [replace(part, factor=factor * part.factor) for part, factor in zip(self._parts, factors, strict=True)]
        largest = max(part.factor * part.block.largest for part in parts)
        if largest and not 1e-150 <= largest <= 1e150:
            raise ValueError(f"factors: they make the largest number {largest:.3g}, expected 1e-150 to 1e150")
        return self._of(parts)

    def standardized(self) -> "Distances":
        """The blocks divided by the root mean variance of their columns, as `ite.standardize(y, ds)` has them."""
        scales = [part.scale() for part in self._parts]
        constant = [m for m, scale in enumerate(scales) if not scale]
        if constant:
            raise ValueError(f"y: block {constant[0]} is constant, or its squares underflow; expected one that varies")
        return self.scaled(*(1 / scale for scale in scales))

    def array(self) -> np.ndarray:
        """The rows themselves, (n, sum(ds))."""
        return np.hstack([part.array() for part in self._parts])

    # What estimators ask

    def split(self, ds: Sequence[int] | None = None) -> list["Distances"]:
        """Each block by itself. Raises ValueError for a single one, or other widths than `ds`."""
        if len(self._parts) < 2 or (ds is not None and list(ds) != self.ds):
            raise ValueError(f"ds: found {self.ds if ds is None else list(ds)}, expected two or more blocks, of {self.ds}")
        return [self.blocks(m) for m in range(len(self._parts))]

    def codes(self) -> np.ndarray:
        """Numbers that are the same for equal rows of a block, int (n, blocks)."""
        return np.stack([part.block.codes(part.columns)[part.rows] for part in self._parts], axis=1)

    def equals(self, other: "Distances") -> bool:
        """Whether the other has equal rows in the same order."""
        pairs = list(zip(self._parts, other._parts, strict=True))
        same = all((one.block, one.columns, one.factor) == (two.block, two.columns, two.factor) for one, two in pairs)
        return same and np.array_equal(self.codes(), other.codes())

    def to_neighbors(self, ranks: Sequence[int], queries: "Distances | None" = None) -> tuple[np.ndarray, np.ndarray]:
        """Whether the nearest row equals each query, bool (m,), and distances to the neighbours of `ranks`, float64 (m, len(ranks)).

        Without `queries` the rows are their own, and none is its own neighbour. Raises ValueError if there are too few rows.
        """
        require_enough(self, max(ranks), queries is None)
        limit, device = self._matrices.memory_limit, self._matrices.device
        parts, of_queries = self._parts, None if queries is None else queries._parts
        dtype = self._matrices.dtype(parts)
        if dtype is None or tree_is_faster(*self.shape) or not are_apart(parts, of_queries):
            found = knn_distances(self.array(), max(ranks), None if queries is None else queries.array(), limit, device)
            return found[:, 0] == 0, found[:, np.array(ranks) - 1]
        equal, distances, certain = Search(self._matrices.of(parts, dtype), parts, of_queries, ranks).distances()
        if not certain.all():
            uncertain, own = np.flatnonzero(~certain), queries is None  # a row is first among its own neighbours
            some = (self if own else queries).rows(uncertain).array()
            found = knn_distances(self.array(), max(ranks) + own, some, limit, device)[:, own:]
            equal[uncertain], distances[uncertain] = found[:, 0] == 0, found[:, np.array(ranks) - 1]
        return equal, distances

    def _of(self, parts: list[Part]) -> "Distances":
        other = object.__new__(Distances)
        other._matrices, other._parts = self._matrices, parts
        return other
