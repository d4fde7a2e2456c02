"""Whole files, plain errors and run records."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from shredder import runs


@dataclass(frozen=True)
class Arguments:
    seed: int = 7
    rate: float = 0.1 + 0.2
    members: int = 3
    output: Path = Path("somewhere")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_write_together_writes_all(tmp_path):
    first, second = tmp_path / "a" / "first", tmp_path / "b" / "second"
    runs.write_together({first: b"1", second: b"2"})
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert names(tmp_path / "a") == ["first"] and names(tmp_path / "b") == ["second"]


def test_write_together_writes_none_when_the_disk_is_full(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"old")
    real, synced = os.fsync, []

    def full_at_the_second(descriptor):
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_the_second)
    with pytest.raises(OSError) as error:
        runs.write_together({first: b"new", second: b"new"})
    assert error.value.errno == errno.ENOSPC
    # The first file was complete already; had it been renamed at once, old and new would now stand side by side.
    assert first.read_bytes() == b"old"
    assert names(tmp_path) == ["first"]


def test_csv_table():
    content = runs.csv_table(("name", "value"), [("a,b", 0.1 + 0.2), ("c", 1 / 3), ("d", 5)])
    assert content == b'name,value\n"a,b",0.3\nc,0.333333333\nd,5\n'


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_npy_round_trip(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / "array.npy"
    runs.write_together({path: runs.npy(array)})
    found = runs.read_array(path)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_npy_writes_no_pickle():
    with pytest.raises(ValueError):
        runs.npy(np.array([{}], dtype=object))


def test_read_array_refuses_what_is_not_an_array_of_numbers(tmp_path):
    pickled, truncated, empty = (tmp_path / f"{name}.npy" for name in ("pickled", "truncated", "empty"))
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    truncated.write_bytes(runs.npy(np.ones((50, 4)))[:-100])
    empty.touch()
    for path in (pickled, truncated, empty, tmp_path / "missing.npy", tmp_path):
        with pytest.raises(runs.InputError) as error:
            runs.read_array(path, "--additive")
        assert str(error.value).startswith(f"--additive {path}: ")
    with pytest.raises(runs.InputError, match=r"missing\.npy: no such file"):
        runs.read_array(tmp_path / "missing.npy")


def test_record_content():
    record = json.loads(runs.Record(Arguments()).content({"accuracy": 0.1 + 0.2, "members": np.int64(3)}))
    assert record["arguments"] == {"seed": 7, "rate": 0.3, "members": 3, "output": "somewhere"}
    assert {"python", "torch", "torchvision", "numpy", "scipy", "mlxtend"} <= record["versions"].keys()
    assert record["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert f"{torch.get_num_threads()} threads" in record["device"]
    assert record["seconds"] >= 0
    assert record["results"]["accuracy"] == 0.3
    # None where the suite was unpacked without its history.
    assert record["commit"] is None or len(record["commit"]) == 40


def test_require_at_least():
    runs.require_at_least(Arguments(), seed=7, members=3)

    @dataclass
    class Batch:
        batch_size: int = 0

    with pytest.raises(runs.InputError, match="--batch-size: found 0, expected at least 1"):
        runs.require_at_least(Batch(), batch_size=1)


def test_prepare_output_leaves_nothing_behind(tmp_path):
    runs.prepare_output(tmp_path / "new" / "folder")
    assert names(tmp_path / "new" / "folder") == []


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (runs.InputError("--members: found 0"), "error: --members: found 0"),
        (OSError(errno.ENOSPC, "No space left on device"), "error: .*No space left on device"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_script_exits_with_one_line(monkeypatch, mistake, message):
    def main(args):
        raise mistake

    monkeypatch.setattr(sys, "argv", ["script.py"])
    # A text as the exit code: Python prints it on stderr and exits with status 1.
    with pytest.raises(SystemExit, match=message) as end:
        runs.script(main, Arguments)
    assert isinstance(end.value.code, str) and "\n" not in end.value.code


def test_script_as_a_process():
    program = """if True:
        from dataclasses import dataclass
        from shredder import runs

        @dataclass
        class Arguments:
            members: int = 1

        runs.script(lambda args: runs.require_at_least(args, members=1), Arguments)
    """
    command = [sys.executable, "-c", program, "--members", "0"]
    ended = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "error: --members: found 0, expected at least 1\n"


def test_script_lets_a_bug_be_seen(monkeypatch):
    def main(args):
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["script.py"])
    with pytest.raises(ZeroDivisionError):
        runs.script(main, Arguments)
