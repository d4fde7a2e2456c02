"""Processes side by side: each has its share of the threads, and what they are given leaves no trace here."""

import math
import os

import pytest
import torch

from paper.processes import side_by_side


def test_processes_share_the_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = list(side_by_side(os.getenv, ["OMP_NUM_THREADS", "TQDM_DISABLE", "OMP_NUM_THREADS"]))
    finally:
        torch.set_num_threads(n_threads)
    assert sorted(map(str, found)) == ["1", "1", "None"]  # bars are left out on a terminal alone
    assert os.environ["OMP_NUM_THREADS"] == "2" and "TQDM_DISABLE" not in os.environ


@pytest.mark.parametrize(("n_threads", "tasks"), [(1, [4, 9]), (2, [4]), (2, [])])
def test_a_single_one_is_this_one(monkeypatch, n_threads, tasks):
    monkeypatch.setattr("torch.get_num_threads", lambda: n_threads)
    here = side_by_side(lambda number: (os.getpid(), math.sqrt(number)), tasks)
    assert list(here) == [(os.getpid(), math.sqrt(number)) for number in tasks]


def test_an_exception_reaches_whoever_asked(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    found = side_by_side(math.sqrt, [4, -1, 9])
    assert next(found) == 2
    with pytest.raises(ValueError, match="math domain"):
        next(found)
