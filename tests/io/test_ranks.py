"""Processes that share a run: the bits of one, whatever their number; one that dies ends it, and it goes on from there."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shredder.io import ranks
from shredder.learn.learner import Settings
from shredder.learn.members import Learning
from shredder.learn.shares import ONLY, Share, names, shares
from tests import steps_by_ranks

ROOT = Path(__file__).parents[2]


def torchrun(n: int, *arguments: object) -> subprocess.CompletedProcess:
    """`tests/steps_by_ranks.py` in so many processes of one thread."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--monitor-interval=0.1", f"--nproc-per-node={n}"]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "TQDM_DISABLE": "1"}
    command = [*launch, str(ROOT / "tests" / "steps_by_ranks.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def results(folder: Path) -> dict:
    """Of a run record: what it says but for time and place."""
    return json.loads((folder / "run.json").read_text())["results"]


def rows(path: Path) -> list[dict[str, str]]:
    """Of a table, but for seconds."""
    with open(path, newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def one_and_two(tiny_task, tmp_path_factory) -> tuple[Path, Path, str]:
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    steps_by_ranks.steps(tiny_task, one)
    run = torchrun(2, tiny_task, two)
    assert run.returncode == 0, run.stderr[-3000:]
    return one, two, run.stdout


def test_two_processes_write_the_bits_of_one(one_and_two):
    one, two, _ = one_and_two
    written = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert written == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file() and path.suffix != ".npz")
    same = [path for path in written if path.suffix == ".npy" or path.name in ("training.csv", "curves.csv", "draws.csv")]
    assert len(same) == 2 * 3 + 6
    assert [path for path in same if (one / path).read_bytes() != (two / path).read_bytes()] == []
    for name in ("attacks/reconstruction.csv", "attacks/attacks.csv", "networks/attacks.csv"):
        assert rows(one / name) == rows(two / name)
    steps = ("noise", "mapped", "sample", "attacks", "networks")
    assert [results(one / name) == results(two / name) for name in steps] == [True] * len(steps)
    assert "in each of 2 processes" in json.loads((two / "noise" / "run.json").read_text())["device"]


def test_only_the_first_speaks(one_and_two):
    said = one_and_two[2]
    assert said.count("written to") == 5 and "rank 1" not in said


def test_activations_in_a_file_are_those_in_memory(one_and_two):
    one, _, _ = one_and_two
    assert (one / "noise" / "additive.npy").read_bytes() == (one / "mapped" / "additive.npy").read_bytes()


def test_neighbours_are_those_of_one_process(one_and_two):
    alone = steps_by_ranks.distances()
    for rank in (0, 1):
        with np.load(one_and_two[1] / f"distances-{rank}.npz") as found:
            assert set(found) == set(alone)
            for name, values in alone.items():
                np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_a_process_that_is_killed_ends_the_run_and_one_process_goes_on(one_and_two, tiny_task, tmp_path, monkeypatch):
    run = torchrun(2, tiny_task, tmp_path, "killed")
    assert run.returncode != 0 and "Signal 9 (SIGKILL)" in run.stderr
    assert re.search(r"rank 0: .*another process of this run has ended, .*the same command goes on", run.stderr)
    kept = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("checkpoint.pt")}
    assert kept and not (tmp_path / "noise" / "run.json").exists()
    epochs, usual = [], Learning.epoch
    monkeypatch.setattr(Learning, "epoch", lambda self: (epochs.append(self), usual(self)))
    import train_noise

    train_noise.main(train_noise.Arguments(task=tiny_task, output=tmp_path / "noise", **steps_by_ranks.SHARES))
    whole = one_and_two[0] / "noise"
    for name in ("additive.npy", "training.csv", "curves.csv"):
        assert (tmp_path / "noise" / name).read_bytes() == (whole / name).read_bytes()
    assert len({id(learning) for learning in epochs}) <= 3 - len(kept)  # what was finished is not learned again
    assert sorted(path.name for path in (tmp_path / "noise").iterdir()) == sorted(path.name for path in whole.iterdir())


def test_shares_by_hand():
    settings = Settings(7, 3, 9, 2, 0.0, 50)
    assert [share.settings(settings).members for share in shares(settings)] == [2, 2, 3]
    assert shares(Settings(3, 3, 9, 2, 0.0, 50)) == [ONLY]
    assert names([Share(0, 2), Share(1, 2)])[::2] == ("checkpoint.pt", "share-1/checkpoint.pt")
    # The first share of a seed learns what an undivided run of its size does.
    assert ONLY.rng(7).integers(2**60) == np.random.default_rng(7).integers(2**60)
    assert len({Share(number, 3).rng(seed).integers(2**60) for seed in (0, 1, 2) for number in range(3)}) == 9


def test_a_process_that_was_started_by_itself_is_alone(monkeypatch):
    made = object()
    assert ranks.each(lambda item: made, [1, 2]) == [made, made]  # as it is, not as JSON has it
    assert (ranks.world(), ranks.rank(), ranks.name(), ranks.silent()) == (1, 0, "", False)
    monkeypatch.setenv("WORLD_SIZE", "2")  # of another launcher, which says nothing else
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with ranks.joined():
        assert ranks.world() == 1
