"""Squared distances of all pairs of rows, made once, block by block, for many estimates from the same rows.

The squared distance of two rows is the sum of their blocks' squared distances. So one n x n matrix for each block serves every
split, permutation, choice of blocks and of first columns, which pick its rows and columns, and every rescaling, which is a
factor. What is left of a search for neighbours is to add and to compare.

A matrix comes from products of centred rows, in float64 if the memory limit has room for it, else in float32. Differences in
float64 then decide among all that rounding, bounded as in `ite.neighbors`, could have misplaced.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ite import neighbors
from ite.cost.shared import as_blocks, as_sample
from ite.matrices import Block, Matrices, Part
from ite.neighbors import TREE_COLUMNS_OF_MANY, knn_distances, require_enough, tree_is_faster
from ite.parts import rows_in_cache
from ite.sums import Search, are_apart, can_be_added


class Distances:
    """Rows of blocks, known by their distances: in place of `y` where nearest neighbours are all that is asked of it.

    So it is with `MIShannon_DKL`, `MIChi2_DChi2`, `MIL2_DL2`, `MIRenyi_DR`, `MITsallis_DT`, `MIShannon_HS` and `MIShannon_KSG`,
    also in `ite.independence_test` and `ite.scale_sensitivity`; others refuse it. Estimates are those of the rows, but for
    float64's rounding. Its methods give other rows, blocks and scales of the same matrices, which are made at first need.

    Parameters
    ----------
    y : ndarray or Tensor, float32 or float64, (n, sum(ds)), or sequence of them (n, d_m)
        Blocks side by side, or a list of them. They may be memory maps. They have to stay as they are. Of tensors on an
        accelerator products are computed there.
    ds : sequence of int, optional
        Widths of the blocks in an array; every column is one unless given.
    memory_limit : int, optional
        Bytes to work in, beside `y`; `ite.neighbors.MEMORY_LIMIT` unless given. If n^2 float32 numbers for each block do not
        fit, neighbours are found from rows, as without distances. So are they in a few columns, where a tree is faster.

    Raises
    ------
    ValueError
        For bad samples or blocks.

    Examples
    --------
    >>> distances = ite.Distances([images, clean, noisy])
    >>> before, after = distances.blocks(0, 1), distances.blocks(0, 2)
    >>> ite.cost.MIShannon_DKL(rng=0, n_splits=5).estimation(before)
    >>> ite.independence_test(ite.cost.MIShannon_DKL(rng=0), after.rows(order), n_permutations=19, rng=0)
    """

    def __init__(
        self,
        y: np.ndarray | Tensor | Sequence[np.ndarray | Tensor],
        ds: Sequence[int] | None = None,
        memory_limit: int | None = None,
    ):
        given = y if isinstance(y, list | tuple) else [y]
        device = next((block.device for block in given if isinstance(block, Tensor)), torch.device(neighbors.DEVICE))
        if isinstance(y, list | tuple) and all(np.ndim(block) == 2 for block in y):
            blocks = [as_sample(block, f"y[{m}]", keep_float32=True) for m, block in enumerate(y)]
            n_rows = [len(block) for block in blocks]
            if ds is not None or len(set(n_rows)) != 1:
                raise ValueError(f"y: found blocks of {n_rows} rows, ds: {ds}; expected blocks of as many rows, and no ds")
        else:
            _, blocks = as_blocks(y, ds, keep_float32=True)
        n = len(blocks[0])
        self._matrices = Matrices(n, memory_limit or neighbors.MEMORY_LIMIT, device)
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

    @property
    def largest(self) -> float:
        """The largest number of the rows, of either sign, or more: of rows and columns that are left out, too."""
        return max(part.factor * part.block.largest for part in self._parts)

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
            raise ValueError(
                f"orders: found {[len(some) for some in rows]} rows, expected as many in each of {len(self.ds)} blocks"
            )
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
        scaled = self._of(parts)
        if scaled.largest and not 1e-150 <= scaled.largest <= 1e150:
            raise ValueError(f"factors: the largest number becomes {scaled.largest:.3g}, expected 1e-150 to 1e150")
        return scaled

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
        self._refuse_others(other)
        return np.array_equal(self.codes(), other.codes())

    def to_neighbors(self, ranks: Sequence[int], queries: "Distances | None" = None) -> tuple[np.ndarray, np.ndarray]:
        """Whether the nearest row equals each query, bool (m,), and distances to neighbours, float64 (m, len(ranks)).

        Without `queries` the rows are their own, and none is its own neighbour. Raises ValueError if there are too few rows for
        the ranks, or for queries of other blocks, columns or factors.
        """
        own = queries is None
        queries = self if own else queries
        self._refuse_others(queries)
        require_enough(self, max(ranks), own)
        parts, certain = self._parts, np.zeros(len(queries), dtype=bool)
        equal, distances = certain.copy(), np.empty((len(queries), len(ranks)))
        kind = None if tree_is_faster(*self.shape) else self._matrices.kind(parts)
        if kind and can_be_added(parts, kind) and are_apart(parts, None if own else queries._parts):
            search = Search(self._matrices.of(parts, kind), parts, None if own else queries._parts, ranks)
            equal, distances, certain = search.distances()
        if not certain.all():  # from rows, each of which is first among its own neighbours
            rest = np.flatnonzero(~certain)
            limit, device = self._matrices.memory_limit, self._matrices.device
            found = knn_distances(self.array(), max(ranks) + own, queries.rows(rest).array(), limit, device)[:, own:]
            equal[rest], distances[rest] = found[:, 0] == 0, found[:, np.array(ranks) - 1]
        return equal, distances

    def inner_products(self) -> np.ndarray:
        """Of each two centred rows of a single block, float64 (n, n): what principal components of few rows are found from.

        From squared distances, by taking the means off rows and columns (Torgerson, Psychometrika 17, 1952). Raises ValueError
        for more blocks, or where n^2 float64 numbers do not fit the memory limit.
        """
        if len(self._parts) != 1 or not self._matrices.fit(self._parts, "float64"):
            raise ValueError(f"found {self}, expected one block, and a memory limit with room for all pairs of its rows")
        ((part,), (matrix,)) = self._parts, self._matrices.of(self._parts, "float64")
        squared = matrix.values[part.rows].take(part.rows, axis=1)
        squared[part.rows[:, None] == part.rows] = 0  # a row is not near itself there
        squared -= squared.mean(axis=0)
        squared -= squared.mean(axis=1, keepdims=True)
        return squared * (-0.5 * (part.factor * part.block.unit) ** 2)

    def in_max_norm(self) -> "Distances | np.ndarray":
        """These, where they are of use in the maximum norm; else the rows, float64 (n, sum(ds))."""
        few = self.shape[1] <= TREE_COLUMNS_OF_MANY
        return self.array().astype(np.float64) if few or not self._matrices.fit(self._parts, "max") else self

    def max_norm_tiles(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For a few rows at a time their numbers (m,) and the distances from them to all in the maximum norm, (m, n)."""
        n = len(self)
        for rows in np.array_split(np.arange(n), -(-n // rows_in_cache(n))):
            found = [part.factor * values[part.rows[rows]].take(part.rows, axis=1) for part, values in self._in_max_norm()]
            yield rows, np.maximum.reduce(found)

    def farthest(self, others: np.ndarray) -> np.ndarray:
        """Of each row the largest distance in the maximum norm to its others (n, k), given by their numbers; (n,)."""
        found = [part.factor * values[part.rows[:, None], part.rows[others]] for part, values in self._in_max_norm()]
        return np.maximum.reduce(found).max(axis=1)

    def _in_max_norm(self) -> list[tuple[Part, np.ndarray]]:
        matrices = self._matrices.of(self._parts, "max")
        return [(part, matrix.values) for part, matrix in zip(self._parts, matrices, strict=True)]

    def _refuse_others(self, queries: "Distances") -> None:
        def kinds(distances):
            return [(part.block, part.columns, part.factor) for part in distances._parts]

        if kinds(self) != kinds(queries):
            raise ValueError(f"found {self} beside {queries} of other blocks, columns or factors, expected the same")

    def _of(self, parts: list[Part]) -> "Distances":
        other = object.__new__(Distances)
        other._matrices, other._parts = self._matrices, parts
        return other
