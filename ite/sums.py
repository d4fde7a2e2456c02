"""Nearest neighbours from matrices of squared distances, one for each block of columns, whose sums are those of whole rows.

A search first looks among each query's nearest rows in the block that weighs most, then also in the others: what is in none of
these lists is no nearer than the sum of what is last in them. Sums of whole rows of the matrices settle the rest.

Rounding is bounded as in `ite.neighbors`. What it could have misplaced is decided by float64 differences of the rows.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ite.cost.shared import row_codes
from ite.neighbors import as_tensor, centre_of, float32_is_exact, unit_of

_COLUMNS = 10**8  # bytes, of columns that are multiplied at once
_STRIPS = 32  # of a symmetric product, of which only the upper half is computed
_QUERIES = 64  # at once; what is computed of them stays in the cache
_GROUP = 32  # points of which at first only the nearest counts
_LISTED, _LEAST_LISTED = 40, 64  # one row in so many is listed as near, if these are enough for it to be worth while
_CANDIDATES_BEYOND_K = 3
_DIFFERENCES = 60_000  # at once; they stay in the cache
_C = 8.0  # standard deviations of rounding errors
_ACCURACY = 1e-10  # relative, of sums that are good enough as they are


class Block:
    """Rows of one block, (n, d), and what is known of them."""

    def __init__(self, y: np.ndarray):
        self.y, self._codes = y, {}
        self.low, self.high = y.min(axis=0), y.max(axis=0)
        self.largest = max(-float(self.low.min()), float(self.high.max()))

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

    def centred(self, numbers: np.ndarray, out: Tensor) -> Tensor:
        """Some columns of all rows, less the centre and in the unit, float64 (n, len(numbers)), in `out`."""
        first, last, y = numbers[0], numbers[-1] + 1, as_tensor(self.y)
        some = y[:, first:last] if last - first == len(numbers) else y.index_select(1, torch.from_numpy(numbers))
        return out.copy_(some).sub_(torch.from_numpy(self.centre[numbers])).mul_(1 / self.unit)


@dataclass(frozen=True)
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
        for numbers in np.array_split(np.arange(self.columns), -(-8 * len(self.rows) * self.columns // (_COLUMNS // 4))):
            some = self.factor * self.block.y[:, numbers[0] : numbers[-1] + 1][self.rows].astype(np.float64)
            total += some.var(axis=0, ddof=1).sum()
            varies = varies or bool((some != some[0]).any())
        return np.sqrt(total / self.columns) if varies else 0.0


class Matrix:
    """Squared distances within the first columns of a block, in its unit.

    Attributes
    ----------
    values : ndarray, float32 or float64, (n, n + 16)
        No row is near to itself, or to those beyond the last: these are infinite.
    squared_norms : ndarray, float64, (n,)
        Of the centred rows.
    """

    def __init__(self, values: np.ndarray, squared_norms: np.ndarray):
        self.values, self.squared_norms = values, squared_norms

    def copy(self) -> "Matrix":
        return Matrix(self.values.copy(), self.squared_norms.copy())

    @cached_property
    def least(self) -> np.ndarray:
        """Each row's least distance, (n,)."""
        return self.values.min(axis=1)

    @cached_property
    def spread(self) -> float:
        """How much farther others are than the nearest, for most of some rows."""
        some = self.values[:: max(1, len(self.values) // 50), : len(self.values)]
        return float(np.median(np.median(some, axis=1) - some.min(axis=1)))

    @cached_property
    def lists(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The nearest rows of each, in any order, int32 (n, c), distances to them (n, c), and what all others are no nearer than."""
        n = len(self.values)

        def nearest(rows):
            values = self.values[rows, :n]
            numbers, beyond = least_of(values, n // _LISTED)
            values = np.take_along_axis(values, numbers, 1)
            values[values >= beyond[:, None]] = np.inf  # so that what is listed is what is nearer
            return numbers.astype(np.int32), values, beyond

        return in_parts(nearest, n)


class Matrices:
    """Those of some blocks with n rows; as many are kept as the memory limit lets."""

    def __init__(self, n: int, memory_limit: int, device: torch.device):
        self.n, self.memory_limit, self.device = n, memory_limit, device
        self._kept: dict[tuple[Block, int, np.dtype], Matrix] = {}

    def dtype(self, parts: Sequence[Part]) -> np.dtype | None:
        """The most exact one in which the matrices of all these parts fit, if there is one."""
        n_matrices = len({(part.block, part.columns) for part in parts})
        for dtype in (np.float64, np.float32)[: 1 + float32_is_exact(self.device)]:
            dtype = np.dtype(dtype)
            if n_matrices * self._size(dtype) + 100 * 24 * self.n <= self.memory_limit:  # and a hundred columns
                return dtype
        return None

    def of(self, parts: Sequence[Part], dtype: np.dtype) -> list[Matrix]:
        """For each part the matrix of its block, in which its rows are."""
        keys = [(part.block, part.columns, dtype) for part in parts]
        for key in keys:
            if key not in self._kept:
                self._make(key, needed=keys)
        return [self._kept[key] for key in keys]

    def _make(self, key: tuple[Block, int, np.dtype], needed: Sequence[tuple]) -> None:
        block, columns, dtype = key
        start = max((c for b, c, t in self._kept if (b, t) == (block, dtype) and c < columns), default=0)
        fewer = (block, start, dtype)  # columns, whose matrix is a part of the sum
        matrix = self._kept.get(fewer)
        for spare in sorted(set(self._kept) - set(needed), key=lambda spare: spare == fewer):  # that one last
            if self._free() >= self._size(dtype) + 100 * 24 * self.n:
                break
            del self._kept[spare]
        if matrix is None:
            matrix = Matrix(np.zeros((self.n, self.n + 16), dtype), np.zeros(self.n))
        elif fewer in self._kept:
            matrix = matrix.copy()
        else:
            matrix = Matrix(matrix.values, matrix.squared_norms)
        self._kept[key] = matrix
        varying = np.flatnonzero(block.low[:columns] != block.high[:columns])
        self._add(matrix, block, varying[varying >= start])

    def _add(self, matrix: Matrix, block: Block, numbers: np.ndarray) -> None:
        """Add squared distances in the columns of these numbers: |x|^2 - 2 x.y + |y|^2 for all rows x, y at once."""
        n, dtype = self.n, matrix.values.dtype
        at_once = min(len(numbers), max(1, min(_COLUMNS, self._free()) // ((8 + 2 * dtype.itemsize) * n) - 2))
        # Written over again and again: new memory would take as long as the products.
        centred = torch.from_numpy(np.empty((n, at_once)))
        left, right = (torch.from_numpy(np.ones((n, at_once + 2), dtype)) for _ in range(2))
        values = torch.from_numpy(matrix.values)
        strips = [(int(rows[0]), int(rows[-1]) + 1) for rows in np.array_split(np.arange(n), min(n, _STRIPS))]
        for start in range(0, len(numbers), max(1, at_once)):
            some = numbers[start : start + at_once]
            x, d = block.centred(some, centred[:, : len(some)]), len(some)
            squared_norms = torch.linalg.vecdot(x, x)
            matrix.squared_norms += squared_norms.numpy()
            left[:, d] = right[:, d + 1] = squared_norms.to(left.dtype)
            left[:, d + 1] = right[:, d] = 1
            right[:, :d] = x
            torch.mul(right[:, :d], -2, out=left[:, :d])
            for first, last in strips:
                _add_product(values[first:last, first:n], left[first:last, : d + 2], right[first:, : d + 2].T, self.device)
        for start, stop in strips:
            values[stop:n, start:stop] = values[start:stop, stop:n].T
        values[:, n:] = torch.inf
        values[:, :n].fill_diagonal_(torch.inf)

    def _size(self, dtype: np.dtype) -> int:
        return self.n * (self.n + 16) * dtype.itemsize

    def _free(self) -> int:
        return self.memory_limit - sum(matrix.values.nbytes for matrix in self._kept.values())


def _add_product(to: Tensor, left: Tensor, right: Tensor, device: torch.device) -> None:
    if device.type == "cpu":
        to.addmm_(left, right)
    else:
        to.add_((left.to(device) @ right.to(device)).cpu())


def are_apart(points: Sequence[Part], queries: Sequence[Part] | None) -> bool:
    """Whether in each block no row occurs twice among the points, or in points and queries: only those are 0 for certain."""
    for m, part in enumerate(points):
        among = np.bincount(part.rows, minlength=len(part.block.y))
        if among.max() > 1 or (queries is not None and among[queries[m].rows].any()):
            return False
    return True


class Search:
    """Distances from queries to the neighbours of some ranks among points, both of them rows of the blocks.

    Parameters
    ----------
    matrices : sequence of Matrix
        One for each block.
    points, queries : sequence of Part
        One for each block; without queries the points are their own, and none is its own neighbour.
    ranks : sequence of int
        From 1, ascending.
    """

    def __init__(self, matrices: Sequence[Matrix], points: Sequence[Part], queries: Sequence[Part] | None, ranks: Sequence[int]):
        own = queries is None
        # Squared distances are in the largest of the blocks' units, which are multiplied by the blocks' factors.
        units = np.array([part.factor * part.block.unit for part in points])
        weights = (units / units.max()) ** 2
        order = sorted(range(len(points)), key=lambda m: -weights[m] * matrices[m].spread)
        self.unit, self.weights = float(units.max()), weights[order].tolist()
        self.matrices, self.parts = [matrices[m] for m in order], [points[m] for m in order]
        self.queries = [(points if own else queries)[m].rows for m in order]
        self.points = [part.rows for part in self.parts]
        # In this order they often are a whole stretch of the first matrix.
        order = np.argsort(self.points[0], kind="stable")
        self.points = [rows[order] for rows in self.points]
        self.stretches = [stretch_of(rows) for rows in self.points]
        self.ranks = np.array(ranks) - 1
        self.n_candidates = min(max(ranks) + _CANDIDATES_BEYOND_K, len(order) - own)
        # A sum is off by less than a share of the squared norms of query and point, the latter of which is at most twice that
        # of the query and twice the squared distance. Products and weights can underflow.
        limits = np.finfo(self.matrices[0].values.dtype)
        shares = [(_C * part.columns**0.5 + 8) * limits.eps / 2 for part in self.parts]
        shares = np.where(np.array(self.weights) > limits.tiny, shares, 1)
        terms = zip(shares, self.weights, self.matrices, self.queries, strict=True)
        self.error = sum(3 * share * weight * matrix.squared_norms[rows] for share, weight, matrix, rows in terms)
        self.error += limits.tiny * sum(part.columns for part in self.parts)
        self.share = shares.max()

    def distances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether the nearest is at 0, bool (m,); distances, float64 (m, len(ranks)); whether they are certain, bool (m,)."""
        m = len(self.queries[0])
        equal, squared, certain = np.zeros(m, bool), np.zeros((m, len(self.ranks))), np.zeros(m, bool)
        for among in self._stages():
            uncertain = np.flatnonzero(~certain)
            if not len(uncertain):
                break
            found = in_parts(lambda some, among=among, rows=uncertain: among(rows[some]), len(uncertain))
            equal[uncertain], squared[uncertain], certain[uncertain] = self._decided(uncertain, *found)
        return equal, self.unit * np.sqrt(squared), certain

    def _stages(self) -> Iterator[Callable]:
        """What finds candidates: lists of the first block, then of two, and so on; whole rows at last."""
        n = len(self.matrices[0].values)
        if len(self.matrices) > 1 and n // _LISTED >= max(_LEAST_LISTED, 8 * self.ranks.max()):
            translated = [[self._translated(rows, others) for others in self.points] for rows in self.points]
            points = np.stack([self._translated(rows, np.arange(len(rows))) for rows in self.points])
            for n_lists in range(1, len(self.matrices) + 1):
                lists = [matrix.lists for matrix in self.matrices[:n_lists]]
                rest = [matrix.least for matrix in self.matrices[n_lists:]]
                yield lambda some, lists=lists, rest=rest: self._among_listed(some, lists, rest, translated, points)
        yield self._among_all

    def _among_listed(self, some: np.ndarray, lists: list, rest: list, translated: list, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of `some` queries (q,) the least sums (q, c), in any order; of which points; what those of all others are no less than."""
        rows = [queries[some] for queries in self.queries]
        sums, candidates = [], []
        for m, (numbers, values, _) in enumerate(lists):
            numbers, total = numbers[rows[m]], self.weights[m] * values[rows[m]]
            for b, other in enumerate(self.matrices):
                if b != m:
                    there = translated[m][b].take(numbers)
                    there += other.values.shape[1] * rows[b][:, None]
                    values = other.values.reshape(-1).take(there)
                    if b < m:  # what is in that list, too, counts there
                        values[values < lists[b][2][rows[b], None]] = np.inf
                    values *= self.weights[b]
                    total += values
            sums.append(total)
            candidates.append(numbers)
        sums, candidates = np.hstack(sums), np.hstack(candidates)
        chosen, also_beyond = least_of(sums, self.n_candidates)
        found = points[chosen // numbers.shape[1], picked(candidates, chosen)]
        lasts = [last for _, _, last in lists] + rest
        beyond = sum(w * last[of_block].astype(float) for w, last, of_block in zip(self.weights, lasts, rows, strict=True))
        return picked(sums, chosen), found, np.minimum(beyond, also_beyond)

    def _among_all(self, some: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `_among_listed`, among all points."""
        q, n_points = len(some), len(self.points[0])
        n_groups = -(-n_points // _GROUP)
        padded = np.full((q, _GROUP * n_groups), np.inf, self.matrices[0].values.dtype)
        sums = padded[:, :n_points]
        for b, (matrix, weight, queries) in enumerate(zip(self.matrices, self.weights, self.queries, strict=True)):
            rows = matrix.values[queries[some]]
            terms = rows[:, self.stretches[b]] if self.stretches[b] else rows.take(self.points[b], axis=1)
            np.multiply(terms, weight, out=sums) if b == 0 else np.add(sums, weight * terms, out=sums)
        groups, beyond = least_of(padded.reshape(q, _GROUP, n_groups).min(axis=1), self.n_candidates)
        members = (groups[:, None] + n_groups * np.arange(_GROUP)[:, None]).reshape(q, -1)
        sums = picked(padded, members)
        chosen, also_beyond = least_of(sums, self.n_candidates)
        return picked(sums, chosen), picked(members, chosen), np.minimum(beyond, also_beyond)

    def _translated(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """By number of a point's row in one block, the number in `others`; n, as of no point, where there is none; (n,)."""
        n = len(self.matrices[0].values)
        found = np.full(n, n)
        found[rows] = others
        return found

    def _decided(
        self, some: np.ndarray, sums: np.ndarray, candidates: np.ndarray, beyond: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `distances`, squared and in the unit, for `some` queries: float64 differences stand in for sums that are too coarse."""
        order = sums.argsort(axis=1)
        sums, candidates = picked(sums, order).astype(float), picked(candidates, order)
        wanted = sums[:, self.ranks]
        with np.errstate(invalid="ignore"):  # where fewer candidates were found than are wanted, inf is nothing's equal
            error = 1.1 * (self.error[some] + 2 * self.share * np.abs(wanted).max(axis=1))[:, None]
            coarse = error > _ACCURACY * wanted
            settled = beyond[:, None] > wanted + np.where(coarse, 2 * error, -_ACCURACY * wanted)
            close = sums <= error  # may be 0
            for rank, of_rank in zip(self.ranks, (coarse & settled).T, strict=True):
                close |= of_rank[:, None] & (np.abs(sums - sums[:, [rank]]) <= 2 * error)
        query, candidate = close.nonzero()
        sums[query, candidate] = self._squared_distances(some[query], candidates[query, candidate])
        equal = (close & (sums == 0)).any(axis=1)
        squared = np.sort(sums, axis=1)[:, self.ranks]
        certain = (settled | (squared == 0)).all(axis=1) & (equal | (beyond > error[:, 0]))
        return equal, squared, certain

    def _squared_distances(self, queries: np.ndarray, points: np.ndarray) -> np.ndarray:
        """By differences, for pairs of query and point; float64 (pairs,)."""
        squared = np.zeros(len(queries))
        if not len(queries):
            return squared
        for part, weight, of_queries, of_points in zip(self.parts, self.weights, self.queries, self.points, strict=True):
            y, unit, left, right = part.block.y[:, : part.columns], part.block.unit, of_queries[queries], of_points[points]

            def within(some, y=y, unit=unit, left=left, right=right):
                difference = np.subtract(y[left[some]], y[right[some]], dtype=np.float64)
                difference *= 1 / unit
                return (np.vecdot(difference, difference),)

            squared += weight * in_parts(within, len(queries), max(1, _DIFFERENCES // part.columns))[0]
        return squared


def least_of(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which are the least `count` of each row of floats (q, n), in any order (q, count), and what all others are no less than (q,).

    Integers are sorted, which is fast: those that order floats, with the column's number in place of their last bits.
    """
    n = values.shape[1]
    if n <= count:
        return np.tile(np.arange(n), (len(values), 1)), np.full(len(values), np.inf)
    bits = int(n - 1).bit_length()
    integers = values.view(f"i{values.itemsize}") >> bits << bits
    integers |= np.arange(n, dtype=integers.dtype)
    integers.partition(count, axis=1)
    beyond = (integers[:, count] >> bits << bits).view(values.dtype)
    return integers[:, :count] & ((1 << bits) - 1), beyond


def picked(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Of each row (q, n) the columns of its own numbers (q, c)."""
    return rows.reshape(-1).take(columns + rows.shape[1] * np.arange(len(rows))[:, None])


def in_parts(work: Callable, n: int, at_once: int = _QUERIES) -> tuple[np.ndarray, ...]:
    """What `work` finds of the numbers to n, a few at a time and in as many threads as torch has, concatenated."""
    parts = np.array_split(np.arange(n), -(-n // at_once))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return tuple(map(np.concatenate, zip(*pool.map(work, parts), strict=True)))


def stretch_of(numbers: np.ndarray) -> slice | None:
    """Numbers as a slice, if they are successive."""
    return slice(numbers[0], numbers[-1] + 1) if (np.diff(numbers) == 1).all() else None
