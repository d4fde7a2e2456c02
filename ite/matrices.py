"""Distances of all pairs of rows within blocks of columns: a matrix for each block, made once and kept while there is room.

Squared Euclidean distances come from products of centred rows, |x|^2 - 2 x.y + |y|^2, added up over columns; distances in the
maximum norm from all differences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor
from tqdm import tqdm

from ite.arrays import as_tensor, centre_of, unit_of
from ite.cost.shared import row_codes
from ite.neighbors import BAR, float32_is_exact
from ite.parts import in_threads, least_of, parts_of, picked, rows_in_cache

Kind = Literal["float32", "float64", "max"]  # squared distances in either precision; the maximum norm's, in float64

_COLUMNS, _LEAST_COLUMNS = 2 * 10**7, 1000  # that are multiplied at once: bytes, and as many in any case
_STRIPS, _STRIP = 16, 200  # of a symmetric matrix, and rows of each at least; what is left of its diagonal is not computed
_LISTED = 50  # one row in so many is listed as near
_BAR = {**BAR, "desc": "distances", "unit": " parts"}


class Block:
    """Rows of one block, (n, d), and what is known of them."""

    def __init__(self, y: np.ndarray):
        self.y, self._codes = y, {}
        extremes = [(some.min(axis=0), some.max(axis=0)) for some in parts_of(y)]
        self.low, self.high = np.min([low for low, _ in extremes], axis=0), np.max([high for _, high in extremes], axis=0)
        self.largest = max(-float(self.low.min()), float(self.high.max()))

    @property
    def is_constant(self) -> bool:
        """Whether all rows are the same."""
        return bool((self.low == self.high).all())

    def codes(self, columns: int) -> np.ndarray:
        """Numbers of the rows, int (n,), equal where their first columns are."""
        if columns not in self._codes:
            self._codes[columns] = row_codes(self.y[:, :columns])
        return self._codes[columns]

    @cached_property
    def centre(self) -> np.ndarray:
        """Float64 (d,)."""
        return centre_of(self.y)

    @cached_property
    def unit(self) -> float:
        """A power of two by which centred rows are divided."""
        return unit_of(max(np.abs(self.low - self.centre).max(), np.abs(self.high - self.centre).max()))

    def columns(self, first: int, stop: int) -> np.ndarray:
        """Columns of all rows, (n, stop - first), read of a memory map a few rows at a time."""
        return np.concatenate([np.array(some[:, first:stop]) for some in parts_of(self.y)])

    def centred(self, numbers: np.ndarray, out: Tensor) -> Tensor:
        """Columns of these numbers of all rows, less the centre and in the unit, in `out` (n, len(numbers)), float64."""
        first, stop = int(numbers[0]), int(numbers[-1]) + 1
        y = as_tensor(self.columns(first, stop))
        out.copy_(y if stop - first == len(numbers) else y.index_select(1, torch.from_numpy(numbers - first)))
        return out.sub_(torch.from_numpy(self.centre[numbers])).mul_(1 / self.unit)


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of the first columns of a block, multiplied by a factor."""

    block: Block
    columns: int
    rows: np.ndarray
    factor: float = 1.0

    def array(self) -> np.ndarray:
        """The rows themselves, (len(rows), columns)."""
        found = self.block.y[:, : self.columns][self.rows]
        return found if self.factor == 1 else self.factor * found.astype(np.float64)

    def scale(self) -> float:
        """Root mean variance of the columns; 0 if all of them are constant."""
        total, varies = 0.0, False
        n_parts = min(self.columns, -(-8 * len(self.rows) * self.columns // _COLUMNS))
        for numbers in np.array_split(np.arange(self.columns), n_parts):
            some = self.factor * self.block.columns(numbers[0], numbers[-1] + 1)[self.rows].astype(np.float64)
            total += some.var(axis=0, ddof=1).sum()
            varies = varies or bool((some != some[0]).any())
        return np.sqrt(total / self.columns) if varies else 0.0


class Matrix:
    """Distances of all rows of a block in its first columns.

    Attributes
    ----------
    values : ndarray, (n, n + 16)
        Squared distances, in the block's unit: no row is near itself, or those beyond the last, from which it is infinitely
        far. Or distances in the maximum norm, in the data's unit, 0 from a row to itself.
    squared_norms : ndarray, float64, (n,)
        Of the centred rows, in the unit.
    """

    def __init__(self, values: np.ndarray, squared_norms: np.ndarray):
        self.values, self.squared_norms = values, squared_norms

    def copy(self) -> "Matrix":
        """Another one, with memory of its own."""
        return Matrix(self.values.copy(), self.squared_norms.copy())

    @cached_property
    def least(self) -> np.ndarray:
        """Each row's least distance, (n,)."""
        return torch.from_numpy(self.values).amin(1).numpy()

    @cached_property
    def spread(self) -> float:
        """How much farther most others are than the nearest, of most of some rows."""
        some = self.values[:: max(1, len(self.values) // 50), : len(self.values)]
        return float(np.median(np.median(some, axis=1) - some.min(axis=1)))

    @property
    def n_listed(self) -> int:
        """How many of each row's nearest are listed."""
        return len(self.values) // _LISTED

    @cached_property
    def lists(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The nearest of each row in any order, their numbers and distances (n, c), and what no other is nearer than (n,)."""
        n = len(self.values)

        def nearest(rows):
            values = self.values[rows[0] : rows[-1] + 1]
            numbers, beyond = least_of(values[:, :n], self.n_listed)
            distances = picked(values, numbers)
            distances[distances >= beyond[:, None]] = np.inf  # what is listed is what is nearer
            return numbers.astype(np.intp), distances, beyond

        return in_threads(lambda: nearest, np.arange(n), rows_in_cache(n))


class Matrices:
    """Those of blocks of n rows; as many are kept as the memory limit lets."""

    def __init__(self, n: int, memory_limit: int, device: torch.device):
        self.n, self.memory_limit, self.device = n, memory_limit, device
        self._kept: dict[tuple[Block, int, Kind], Matrix] = {}

    def kind(self, parts: Sequence[Part]) -> Kind | None:
        """The more exact kind of squared distances of which the matrices of all these parts fit, if one does."""
        kinds = ("float64", "float32") if float32_is_exact(self.device) else ("float64",)
        return next((kind for kind in kinds if self.fit(parts, kind)), None)

    def fit(self, parts: Sequence[Part], kind: Kind) -> bool:
        """Whether the matrices of all these parts do; a block by itself, as if there was another one, which there mostly is."""
        n_matrices = max(2, len({(part.block, part.columns) for part in parts}))
        return n_matrices * self._size(kind) + self._working <= self.memory_limit

    def of(self, parts: Sequence[Part], kind: Kind) -> list[Matrix]:
        """For each part the matrix of its block."""
        keys = [(part.block, part.columns, kind) for part in parts]
        for key in keys:
            if key not in self._kept:
                self._make(key, needed=keys)
        return [self._kept[key] for key in keys]

    def _make(self, key: tuple[Block, int, Kind], needed: Sequence[tuple]) -> None:
        block, columns, kind = key
        start = max((c for b, c, k in self._kept if (b, k) == (block, kind) and c < columns), default=0)
        fewer = (block, start, kind)  # columns, of which there is a matrix already
        matrix = self._kept.get(fewer)
        for spare in sorted(set(self._kept) - set(needed), key=lambda spare: spare == fewer):  # that one last
            if self._free() >= self._size(kind) + self._working:
                break
            del self._kept[spare]
        if matrix is None:
            matrix = Matrix(np.zeros((self.n, self.n + 16), _dtype(kind)), np.zeros(self.n))
        else:
            matrix = matrix.copy() if fewer in self._kept else Matrix(matrix.values, matrix.squared_norms)
        self._kept[key] = matrix
        numbers = np.flatnonzero(block.low[:columns] != block.high[:columns])  # others add nothing
        numbers = numbers[numbers >= start]
        if len(numbers):
            self._compare(matrix, block, numbers) if kind == "max" else self._multiply(matrix, block, numbers)
        values = torch.from_numpy(matrix.values)
        for rows in self._strips():
            values[rows, rows.start : self.n].clamp_(min=0)  # less is by rounding only
            values[rows.stop : self.n, rows].copy_(values[rows, rows.stop : self.n].T)
        values[:, self.n :] = torch.inf
        values[:, : self.n].fill_diagonal_(0 if kind == "max" else torch.inf)

    def _multiply(self, matrix: Matrix, block: Block, numbers: np.ndarray) -> None:
        """Add squared distances in the columns of these numbers to the upper half."""
        n, dtype = self.n, matrix.values.dtype
        rounded_too = dtype != np.float64
        bytes_each = n * (8 + rounded_too * dtype.itemsize)
        at_once = min(len(numbers), max(_LEAST_COLUMNS, _COLUMNS // bytes_each), self._free() // bytes_each - 2)
        # Written over again and again: new memory would take as long as the products.
        exact = torch.from_numpy(np.empty((n, at_once + 2)))
        rounded = torch.from_numpy(np.empty((n, at_once + 2), dtype)) if rounded_too else exact
        for some in tqdm(np.array_split(numbers, -(-len(numbers) // at_once)), **_BAR):
            d = len(some)
            x = block.centred(some, exact[:, :d])
            squared_norms = np.einsum("ij,ij->i", x.numpy(), x.numpy())  # no other array of its size is made
            rounded[:, :d] = x
            right = rounded[:, : d + 2].numpy()
            right[:, d], right[:, d + 1] = 1, squared_norms
            for rows in self._strips():
                left = -2 * right[rows]
                left[:, d], left[:, d + 1] = squared_norms[rows], 1
                self._add_product(matrix, rows, left, right[rows.start :].T)
            matrix.squared_norms += squared_norms

    def _add_product(self, matrix: Matrix, rows: slice, left: np.ndarray, right: np.ndarray) -> None:
        values = matrix.values[rows, rows.start : self.n]
        if self.device.type == "cpu" and not matrix.squared_norms.any():
            np.matmul(left, right, out=values)  # by OpenBLAS, which takes less time than torch's MKL
        elif self.device.type == "cpu":
            values += left @ right
        else:
            values += (torch.from_numpy(left).to(self.device) @ torch.from_numpy(right).to(self.device)).cpu().numpy()

    def _compare(self, matrix: Matrix, block: Block, numbers: np.ndarray) -> None:
        """Raise the upper half to the largest differences in the columns of these numbers."""
        for some in tqdm(np.array_split(numbers, min(len(numbers), -(-8 * self.n * len(numbers) // _COLUMNS))), **_BAR):
            y = block.columns(some[0], some[-1] + 1)[:, some - some[0]].astype(np.float64)
            for rows in self._strips():
                values = matrix.values[rows, rows.start : self.n]
                np.maximum(values, cdist(y[rows], y[rows.start :], "chebyshev"), out=values)

    def _strips(self) -> list[slice]:
        ends = np.linspace(0, self.n, max(1, min(_STRIPS, self.n // _STRIP)) + 1).astype(int)
        return [slice(*pair) for pair in pairwise(ends.tolist())]

    @property
    def _working(self) -> int:
        """Bytes for a hundred columns to be multiplied, and for rows of matrices to be added."""
        return 24 * 100 * self.n

    def _size(self, kind: Kind) -> int:
        return self.n * (self.n + 16) * _dtype(kind).itemsize

    def _free(self) -> int:
        return self.memory_limit - sum(matrix.values.nbytes for matrix in self._kept.values())


def _dtype(kind: Kind) -> np.dtype:
    return np.dtype(np.float32 if kind == "float32" else np.float64)
