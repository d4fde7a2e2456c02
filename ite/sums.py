"""Nearest neighbours from the matrices of blocks: the squared distance of two rows is the sum of those in their blocks.

A search first looks among each query's nearest rows in the block in which rows differ most, then in the others, too: what is in
none of these lists is no nearer than the sum of what is last in them. Sums of whole rows of the matrices settle the rest.

Rounding is bounded as in `ite.neighbors`. What it could have misplaced is decided by float64 differences of the rows.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from ite.matrices import Kind, Matrix, Part
from ite.parts import in_threads, least_of, picked, rows_in_cache

_QUERIES = 500  # at once, of which lists are compared
_LEAST_LISTED = 64  # rows, for lists to be worth their while
_GROUP = 32  # points, of which at first only the nearest counts
_CANDIDATES_BEYOND_K = 3
_DIFFERENCES = 300_000  # at once
_C = 8.0  # standard deviations of rounding errors
_ACCURACY = 1e-10  # relative, of sums that are good enough as they are


def are_apart(points: Sequence[Part], queries: Sequence[Part] | None) -> bool:
    """Whether, in each block, the points are different rows, and the queries others than these."""
    for m, part in enumerate(points):
        times = np.bincount(part.rows, minlength=len(part.block.y))
        if times.max() > 1 or (queries is not None and times[queries[m].rows].any()):
            return False
    return True


def weights_of(parts: Sequence[Part]) -> tuple[float, np.ndarray]:
    """The largest of the blocks' units, multiplied by their factors, and the weights of squared distances in that unit."""
    units = np.array([part.factor * part.block.unit for part in parts])
    constant = [part.block.is_constant for part in parts]  # whatever their unit is
    return float(units.max()), np.where(constant, 1, (units / units.max()) ** 2)


def can_be_added(parts: Sequence[Part], kind: Kind) -> bool:
    """Whether no weight of a block underflows."""
    return weights_of(parts)[1].min() > np.finfo(kind).tiny


class Search:
    """Distances from queries to the neighbours of some ranks among points.

    Parameters
    ----------
    matrices : sequence of Matrix
        Of squared distances, one for each block.
    points, queries : sequence of Part
        Rows of each block, which `are_apart` and `can_be_added`. Without queries the points are their own, and none is its
        own neighbour.
    ranks : sequence of int
        From 1.
    """

    def __init__(
        self, matrices: Sequence[Matrix], points: Sequence[Part], queries: Sequence[Part] | None, ranks: Sequence[int]
    ):
        own = queries is None
        self.unit, weights = weights_of(points)
        spreads = [weight * matrix.spread for weight, matrix in zip(weights, matrices, strict=True)]
        blocks = np.argsort(spreads)[::-1]
        weights = weights[blocks]
        self.weights, self.parts, self.matrices = weights.tolist(), [points[m] for m in blocks], [matrices[m] for m in blocks]
        # In the order of the first block's rows, the points often are a whole stretch of its matrix.
        order = np.argsort(self.parts[0].rows, kind="stable")
        self.points = [part.rows[order] for part in self.parts]
        self.queries = [(points if own else queries)[m].rows for m in blocks]
        self.ranks, self.n_candidates = np.array(ranks) - 1, min(max(ranks) + _CANDIDATES_BEYOND_K, len(order) - own)
        # A sum is off by less than a share of the squared norms of query and point, the latter of which is at most twice the
        # query's and twice the squared distance. Products can underflow.
        self.dtype = self.matrices[0].values.dtype
        limits, widths = np.finfo(self.dtype), np.array([part.columns for part in self.parts])
        shares = (_C * np.sqrt(widths) + 8) * limits.eps / 2
        terms = zip(3 * shares * weights, self.matrices, self.queries, strict=True)
        self.error = limits.tiny * widths.sum() + sum(share * matrix.squared_norms[rows] for share, matrix, rows in terms)
        self.share = shares.max()

    def distances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether the nearest is at 0, bool (m,); distances, float64 (m, len(ranks)); whether they are certain, bool (m,)."""
        m = len(self.queries[0])
        equal, squared, certain = np.zeros(m, bool), np.zeros((m, len(self.ranks))), np.zeros(m, bool)
        for worker, at_once in self._stages():
            uncertain = np.flatnonzero(~certain)
            if not len(uncertain):
                break
            found = in_threads(worker, uncertain, at_once)
            equal[uncertain], squared[uncertain], certain[uncertain] = self._decided(uncertain, *found)
        return equal, self.unit * np.sqrt(squared), certain

    def _stages(self) -> Iterator[tuple[Callable, int]]:
        """What makes workers that find candidates, and how many queries these take at once: from lists, from all points."""
        matrices, n = self.matrices, len(self.matrices[0].values)
        if len(matrices) > 1 and matrices[0].n_listed >= max(_LEAST_LISTED, 8 * self.ranks.max()):
            points = np.stack([self._by_row(m, np.arange(len(self.points[0]))) for m in range(len(matrices))])
            others = [[self._by_row(m, self.points[b]) for b in range(len(matrices))] for m in range(len(matrices))]
            for n_lists in range(1, len(matrices) + 1):
                lists = [matrix.lists for matrix in matrices[:n_lists]]
                lasts = [last for _, _, last in lists] + [matrix.least for matrix in matrices[n_lists:]]
                yield partial(self._from_lists, lists, lasts, points, others), _QUERIES
        yield self._from_all, rows_in_cache(n)

    def _by_row(self, block: int, values: np.ndarray) -> np.ndarray:
        """Values of the points (p,) by their row in a block (n,); n for rows of none, and in column n all is infinitely far."""
        n = len(self.matrices[0].values)
        found = np.full(n, n)
        found[self.points[block]] = values
        return found

    def _from_lists(self, lists: list[tuple], lasts: list[np.ndarray], points: np.ndarray, others: list[list]) -> Callable:
        """A worker that finds the least sums among the points that are listed as near a query in one of the first blocks.

        Of some queries (q,) these are the sums, in any order (q, c), of which points they are (q, c), and what the sums of all
        other points are no less than (q,).
        """
        n_listed = lists[0][0].shape[1]
        # Written over again and again: new memory would take as long as what is computed.
        numbers, there = np.empty((_QUERIES, len(lists) * n_listed), np.intp), np.empty((_QUERIES, n_listed), np.intp)
        all_sums, spare = np.empty((2, _QUERIES, len(lists) * n_listed), self.dtype)
        terms = np.empty((_QUERIES, n_listed), self.dtype)

        def least(some):
            q, rows = len(some), [queries[some] for queries in self.queries]
            for m, (near, distances, _) in enumerate(lists):
                listed = (slice(q), slice(m * n_listed, (m + 1) * n_listed))
                # All numbers are valid. To clip those that aren't is how numpy takes without a copy.
                near.take(rows[m], axis=0, out=numbers[listed], mode="clip")
                sums = distances.take(rows[m], axis=0, out=all_sums[listed], mode="clip")
                sums *= self.weights[m]
                for b, other in enumerate(self.matrices):
                    if b != m:
                        others[m][b].take(numbers[listed], out=there[:q], mode="clip")
                        there[:q] += other.values.shape[1] * rows[b][:, None]
                        found = other.values.reshape(-1).take(there[:q], out=terms[:q], mode="clip")
                        if b < m:  # what is in that list, too, counts there
                            found[found < lasts[b][rows[b], None]] = np.inf
                        found *= self.weights[b]
                        sums += found
            chosen, beyond = least_of(all_sums[:q], self.n_candidates, spare[:q])
            of_points = points[chosen // n_listed, picked(numbers[:q], chosen)]
            not_listed = sum(
                w * last[of_block].astype(float) for w, last, of_block in zip(self.weights, lasts, rows, strict=True)
            )
            return picked(all_sums[:q], chosen), of_points, np.minimum(beyond, not_listed)

        return least

    def _from_all(self) -> Callable:
        """A worker like that of `_from_lists`, among all points."""
        n_points, (n, width) = len(self.points[0]), self.matrices[0].values.shape
        n_groups, at_once = -(-n_points // _GROUP), rows_in_cache(n)
        padded = np.full((at_once, _GROUP * n_groups), np.inf, self.dtype)
        whole_rows, terms = np.empty((at_once, width), self.dtype), np.empty((at_once, n_points), self.dtype)
        first, last = self.points[0][[0, -1]]
        stretch = slice(first, last + 1) if last - first == n_points - 1 else None  # for they are different, and ascend

        def least(some):
            q = len(some)
            sums = padded[:q, :n_points]
            for m, (matrix, weight) in enumerate(zip(self.matrices, self.weights, strict=True)):
                rows = matrix.values.take(self.queries[m][some], axis=0, out=whole_rows[:q], mode="clip")
                if m == 0 and stretch:
                    np.multiply(rows[:, stretch], weight, out=sums)
                else:
                    found = rows.take(self.points[m], axis=1, out=terms[:q], mode="clip")
                    found *= weight
                    np.add(sums if m else 0, found, out=sums)
            groups, beyond = least_of(padded[:q].reshape(q, _GROUP, n_groups).min(axis=1), self.n_candidates)
            members = (groups[:, None] + n_groups * np.arange(_GROUP)[:, None]).reshape(q, -1)
            of_members = picked(padded[:q], members)
            chosen, also_beyond = least_of(of_members, self.n_candidates)
            return picked(of_members, chosen), picked(members, chosen), np.minimum(beyond, also_beyond)

        return least

    def _decided(
        self, some: np.ndarray, sums: np.ndarray, points: np.ndarray, beyond: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `distances`, but squared and in the unit, for some queries (q,), from what a worker found of them."""
        order = sums.argsort(axis=1)
        sums, points = picked(sums, order).astype(float), picked(points, order)
        wanted = sums[:, self.ranks]
        found = np.isfinite(wanted).all(axis=1)  # fewer may have been listed
        error = 1.1 * (self.error[some] + 2 * self.share * np.where(found, np.abs(wanted).max(axis=1), 0))[:, None]
        coarse = error > _ACCURACY * wanted
        settled = found[:, None] & (beyond[:, None] > np.where(coarse, wanted + 2 * error, (1 - _ACCURACY) * wanted))
        close = sums <= error  # may be 0
        for rank, decided in zip(self.ranks, (coarse & settled).T, strict=True):
            with np.errstate(invalid="ignore"):  # inf - inf
                close |= decided[:, None] & (np.abs(sums - sums[:, [rank]]) <= 2 * error)
        query, candidate = close.nonzero()
        sums[query, candidate] = self._squared_distances(some[query], points[query, candidate])
        equal = (close & (sums == 0)).any(axis=1)
        squared = np.sort(sums, axis=1)[:, self.ranks]
        certain = (settled | (squared == 0)).all(axis=1) & (equal | (beyond > error[:, 0]))
        return equal, squared, certain

    def _squared_distances(self, queries: np.ndarray, points: np.ndarray) -> np.ndarray:
        """By differences, for pairs of query and point; float64 (pairs,)."""
        squared = np.zeros(len(queries))
        for part, weight, of_queries, of_points in zip(self.parts, self.weights, self.queries, self.points, strict=True):
            if len(queries):
                at_once = max(1, _DIFFERENCES // part.columns)
                worker = partial(_differences, part, of_queries[queries], of_points[points], at_once)
                squared += weight * in_threads(worker, np.arange(len(queries)), at_once)[0]
        return squared


def _differences(part: Part, left: np.ndarray, right: np.ndarray, at_once: int) -> Callable:
    """A worker that finds squared distances of some pairs of a block's rows, in its unit, by differences."""
    y = part.block.y[:, : part.columns]
    rows, others = np.empty((2, at_once, y.shape[1]), y.dtype)
    differences = np.empty((at_once, y.shape[1]))

    def taken(numbers, out):
        if y.flags.c_contiguous:  # otherwise it would be copied first
            return y.take(numbers, axis=0, out=out, mode="clip")
        out[:] = y[numbers]
        return out

    def squared(some):
        q = len(some)
        found = np.subtract(taken(left[some], rows[:q]), taken(right[some], others[:q]), out=differences[:q], dtype=float)
        found *= 1 / part.block.unit
        return (np.vecdot(found, found),)

    return squared
