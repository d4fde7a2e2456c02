"""Work in processes side by side."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from shredder.io.cli import end_on_signals

Task, Result = TypeVar("Task"), TypeVar("Result")


def side_by_side(work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    """What `work` returns for each of some tasks, as it comes, from processes that share torch's threads among them.

    With a single thread or task nothing is started, and the order is that of the tasks. An exception ends all of them.
    """
    n_threads = torch.get_num_threads()
    n = min(len(tasks), n_threads)
    if n <= 1:
        yield from map(work, tasks)
        return
    usual = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "TQDM_DISABLE")}
    os.environ["OMP_NUM_THREADS"] = str(n_threads // n)  # which libraries read when they are imported
    if sys.stderr.isatty():
        os.environ["TQDM_DISABLE"] = "1"  # bars of several processes would write over each other
    try:
        pool = multiprocessing.get_context("spawn").Pool(n, end_on_signals)  # a fork would have no threads of OpenMP
    finally:
        for name, value in usual.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    with pool:
        yield from pool.imap_unordered(work, tasks)
