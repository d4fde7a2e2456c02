"""Much data, a little at a time: rows of memory maps, numbers that stay in the cache, work for a few threads."""

import mmap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import torch

_MAPPED = 5 * 10**7  # bytes, of a memory map at once
_CACHED = 400_000  # numbers, that stay in the cache


def parts_of(y: np.ndarray) -> Iterator[np.ndarray]:
    """`y` (n, d); of a read-only memory map some rows at a time, which leave memory when the next are asked for."""
    if (mapped := _map_of(y)) is None:
        yield y
        return
    for rows in np.array_split(np.arange(len(y)), min(len(y), -(-y.nbytes // _MAPPED))):
        yield y[rows[0] : rows[-1] + 1]
        mapped.madvise(mmap.MADV_DONTNEED)


def _map_of(y: np.ndarray) -> mmap.mmap | None:
    """The map that lies below an array, if nothing can have been written to it, and the system lets it be released."""
    read_only = False
    while y is not None and hasattr(mmap, "MADV_DONTNEED"):
        if isinstance(y, mmap.mmap):
            return y if read_only else None
        read_only = read_only or getattr(y, "mode", None) == "r"
        y = getattr(y, "base", None)
    return None


def rows_in_cache(n: int) -> int:
    """How many rows of `n` numbers stay in the cache, at least one."""
    return max(1, _CACHED // n)


def in_threads(worker: Callable[[], Callable], numbers: np.ndarray, at_once: int) -> tuple[np.ndarray, ...]:
    """What is found of numbers, some at a time, by a worker in each of torch's threads; concatenated.

    `worker` makes one, with memory of its own, which returns a tuple of arrays for some of the numbers.
    """

    def found(of_numbers):
        work = worker()
        return [work(some) for some in np.array_split(of_numbers, -(-len(of_numbers) // at_once))]

    n_threads = min(torch.get_num_threads(), -(-len(numbers) // at_once))
    if n_threads == 1:
        return tuple(map(np.concatenate, zip(*found(numbers), strict=True)))
    with ThreadPoolExecutor(n_threads) as threads:
        parts = chain.from_iterable(threads.map(found, np.array_split(numbers, n_threads)))
        return tuple(map(np.concatenate, zip(*parts, strict=True)))


def least_of(values: np.ndarray, count: int, spare: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Which are the least `count` of each row (q, n) in any order, (q, count), and what all others are no less than, (q,).

    The numbers are floats from 0.

    Integers are sorted, which is fast: those that order floats as they are, with the column's number in place of their last
    bits. They are written to `spare` (q, n), if given.
    """
    n = values.shape[1]
    if n <= count:
        return np.tile(np.arange(n), (len(values), 1)), np.full(len(values), np.inf)
    integer, last_bits = np.dtype(f"i{values.itemsize}").type, (1 << int(n - 1).bit_length()) - 1
    integers = np.bitwise_and(values.view(integer), integer(~last_bits), out=None if spare is None else spare.view(integer))
    integers |= np.arange(n, dtype=integer)
    integers.partition(count, axis=1)
    return integers[:, :count] & last_bits, (integers[:, count] & ~last_bits).view(values.dtype)


def picked(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Of each row (q, n) the columns of its own numbers (q, c)."""
    return rows.reshape(-1).take(columns + rows.shape[1] * np.arange(len(rows))[:, None])
