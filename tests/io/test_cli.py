"""Whole files, plain errors and run records."""

import contextlib
import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from shredder.inputs.activations import reserve
from shredder.io import files
from shredder.io.cli import InputError, require_at_least, require_one_of, script
from shredder.io.files import csv_table, npy, prepare_output, read_array, require_space, write_together
from shredder.io.record import Record


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
    write_together({first: b"1", second: b"2"})
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
        write_together({first: b"new", second: b"new"})
    assert error.value.errno == errno.ENOSPC
    # The first file was complete already; had it been renamed at once, old and new would now stand side by side.
    assert first.read_bytes() == b"old"
    assert names(tmp_path) == ["first"]


# Files that grow.


def rows_of(n, shape=(2, 3), dtype=np.float32, seed=0):
    return (100 * np.random.default_rng(seed).normal(size=(n, *shape))).astype(dtype)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (5, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
@pytest.mark.parametrize("sizes", [(), (1,), (0,), (4, 1), (100, 0, 23), (9, *[10] * 1000)])
def test_row_file_is_read_back(tmp_path, shape, dtype, sizes):
    """Whatever the number of rows, the header says it, and where they begin: numpy reads what was appended."""
    parts = [rows_of(size, shape, dtype, seed) for seed, size in enumerate(sizes)]
    with files.RowFile(tmp_path / "rows.npy", shape, dtype) as file:
        for part in parts:
            file.append(part)
        write_together({tmp_path / "rows.npy": file})
    expected = np.concatenate([np.empty((0, *shape), dtype), *parts])
    found = np.load(tmp_path / "rows.npy", allow_pickle=False)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    # And byte for byte what numpy writes, or the two could differ in what no test reads.
    np.save(tmp_path / "whole.npy", expected)
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_row_file_takes_rows_that_lie_apart(tmp_path):
    """Slices and transposes, whose elements are not in a row in memory."""
    whole = rows_of(8, (4, 6))
    with files.RowFile(tmp_path / "rows.npy", (4, 3), np.float32) as file:
        file.append(whole[::2, :, 1::2])
        file.append(rows_of(4, (3, 4)).transpose(0, 2, 1))
        write_together({tmp_path / "rows.npy": file})
    expected = np.concatenate([whole[::2, :, 1::2], rows_of(4, (3, 4)).transpose(0, 2, 1)])
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), expected)


@pytest.mark.parametrize("unsynced", [0, 200])
def test_row_file_that_is_synced_as_it_grows(tmp_path, monkeypatch, unsynced):
    monkeypatch.setattr(files, "_UNSYNCED_BYTES", unsynced)
    parts = [rows_of(5, seed=seed) for seed in range(10)]
    with files.RowFile(tmp_path / "rows.npy", (2, 3), np.float32) as file:
        for part in parts:
            file.append(part)
        write_together({tmp_path / "rows.npy": file})
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), np.concatenate(parts))


def test_row_file_maps_the_rows_so_far(tmp_path):
    """Between appends, as often as one likes; what is written to the map stays out of the file."""
    first, second = rows_of(3), rows_of(2, seed=1)
    with files.RowFile(tmp_path / "rows.npy", (2, 3), np.float32) as file:
        assert file.array().shape == (0, 2, 3)
        file.append(first)
        mapped = file.array()
        np.testing.assert_array_equal(mapped, first)
        mapped[:] = 0
        file.append(second)
        np.testing.assert_array_equal(file.array(), np.concatenate([first, second]))
        write_together({tmp_path / "rows.npy": file})
        # The map of a file that has its name by now is of the same file.
        assert mapped.shape == (3, 2, 3)
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), np.concatenate([first, second]))


@pytest.mark.parametrize(
    ("n", "shape", "dtype"),
    [(2, (2, 3), np.float64), (2, (2, 3), np.int64), (2, (3, 2), np.float32), (2, (2, 3, 1), np.float32), (2, (), np.float32)],
)
def test_row_file_refuses_other_rows(tmp_path, n, shape, dtype):
    with files.RowFile(tmp_path / "rows.npy", (2, 3), np.float32) as file:
        file.append(rows_of(1))
        with pytest.raises(ValueError, match=r"rows\.npy.*among rows of float32 \(2, 3\)"):
            file.append(rows_of(n, shape, dtype))
        write_together({tmp_path / "rows.npy": file})
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), rows_of(1))


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, None])
def test_row_file_that_is_not_finished_leaves_nothing_behind(tmp_path, error):
    (tmp_path / "rows.npy").write_bytes(b"old")
    with contextlib.suppress(error or OSError), files.RowFile(tmp_path / "rows.npy", (2, 3), np.float32) as file:
        file.append(rows_of(1000))
        assert names(tmp_path) == [f".rows.npy.{os.getpid()}.partial", "rows.npy"]
        if error:
            raise error
    assert names(tmp_path) == ["rows.npy"] and (tmp_path / "rows.npy").read_bytes() == b"old"


def test_row_file_is_written_with_others_or_not_at_all(tmp_path, monkeypatch):
    rows, table = tmp_path / "rows.npy", tmp_path / "table.csv"
    real, synced, full_at = os.fsync, [], 2

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) == full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    for order in (1, -1):
        rows.write_bytes(b"old")
        table.write_bytes(b"old")
        synced.clear()
        with files.RowFile(rows, (2, 3), np.float32) as file:
            file.append(rows_of(4))
            with pytest.raises(OSError) as error:
                write_together(dict([(rows, file), (table, b"new")][::order]))
        assert error.value.errno == errno.ENOSPC and error.value.filename == str((table, rows)[order == -1])
        assert names(tmp_path) == ["rows.npy", "table.csv"] and rows.read_bytes() == table.read_bytes() == b"old"
    synced.clear()
    full_at = 0
    with files.RowFile(rows, (2, 3), np.float32) as file:
        file.append(rows_of(4))
        write_together({rows: file, table: b"new"})
    assert names(tmp_path) == ["rows.npy", "table.csv"] and table.read_bytes() == b"new"
    np.testing.assert_array_equal(np.load(rows), rows_of(4))


@contextlib.contextmanager
def no_file_larger_than(n_bytes):
    """Writing beyond is an error of the system's own, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("rows_at_once", [10_000, 1], ids=["large rows", "rows smaller than the file's buffer"])
def test_row_file_on_a_full_disk(tmp_path, rows_at_once):
    """The thread's error comes to light, and nothing stays."""
    with pytest.raises(OSError) as error, no_file_larger_than(10_000):  # noqa: SIM117
        with files.RowFile(tmp_path / "rows.npy", (2, 3), np.float32) as file:
            for _ in range(2000):
                file.append(rows_of(rows_at_once))
    assert error.value.errno == errno.EFBIG
    assert names(tmp_path) == []


@pytest.fixture
def full_disk(monkeypatch):
    """For all rows, in the thread that writes them."""

    def write(self, rows):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.RowFile, "_write", write)


# The error comes to light with whatever comes after the rows.
NEXT = {
    "append": lambda file, path: file.append(rows_of(4)),
    "array": lambda file, path: file.array(),
    "write_together": lambda file, path: write_together({path / "table.csv": b"new", path / "rows.npy": file}),
}


@pytest.mark.parametrize("then", NEXT)
def test_row_file_raises_what_its_thread_met(tmp_path, full_disk, then):
    (tmp_path / "rows.npy").write_bytes(b"old")
    with files.RowFile(tmp_path / "rows.npy", (2, 3), np.float32) as file:
        file.append(rows_of(4))
        with pytest.raises(OSError) as error:
            NEXT[then](file, tmp_path)
    assert error.value.errno == errno.ENOSPC
    assert names(tmp_path) == ["rows.npy"] and (tmp_path / "rows.npy").read_bytes() == b"old"


@pytest.mark.parametrize("then", NEXT)
def test_row_file_says_which_file_the_disk_has_no_room_for(tmp_path, full_disk, then):
    with files.RowFile(tmp_path / "rows.npy", (2, 3), np.float32) as file:
        file.append(rows_of(4))
        with pytest.raises(OSError) as error:
            NEXT[then](file, tmp_path)
    assert "rows.npy" in str(error.value.filename)


def test_require_space(tmp_path, monkeypatch):
    asked = []

    def disk_usage(folder):
        asked.append(folder)
        return SimpleNamespace(total=10**12, used=10**12 - 2_500_000_000, free=2_500_000_000)

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    require_space(tmp_path, 2_500_000_000)
    with pytest.raises(InputError) as error:
        require_space(tmp_path, 2_500_000_001)
    assert str(error.value) == f"{tmp_path}: 2.50 GB are to be written, and the disk has 2.50 GB left"
    assert asked == [tmp_path, tmp_path]


def test_require_space_of_a_real_disk(tmp_path):
    require_space(tmp_path, 1)
    with pytest.raises(InputError, match=r"1000000000\.00 GB are to be written"):
        require_space(tmp_path, 10**18)


def test_csv_table():
    content = csv_table(("name", "value"), [("a,b", 0.1 + 0.2), ("c", 1 / 3), ("d", 5)])
    assert content == b'name,value\n"a,b",0.3\nc,0.333333333\nd,5\n'


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_npy_round_trip(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / "array.npy"
    write_together({path: npy(array)})
    found = read_array(path)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_npy_writes_no_pickle():
    with pytest.raises(ValueError):
        npy(np.array([{}], dtype=object))


def test_read_array_refuses_what_is_not_an_array_of_numbers(tmp_path):
    pickled, truncated, empty = (tmp_path / f"{name}.npy" for name in ("pickled", "truncated", "empty"))
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    truncated.write_bytes(npy(np.ones((50, 4)))[:-100])
    empty.touch()
    for path in (pickled, truncated, empty, tmp_path / "missing.npy", tmp_path):
        with pytest.raises(InputError) as error:
            read_array(path, "--additive")
        assert str(error.value).startswith(f"--additive {path}: ")
    with pytest.raises(InputError, match=r"missing\.npy: no such file"):
        read_array(tmp_path / "missing.npy")


def test_record_content():
    record = json.loads(Record(Arguments()).content({"accuracy": 0.1 + 0.2, "members": np.int64(3)}))
    assert record["arguments"] == {"seed": 7, "rate": 0.3, "members": 3, "output": "somewhere"}
    assert {"python", "torch", "torchvision", "numpy", "scipy", "mlxtend"} <= record["versions"].keys()
    assert record["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert f"{torch.get_num_threads()} threads" in record["device"]
    assert record["seconds"] >= 0
    assert record["results"]["accuracy"] == 0.3
    # None where the suite was unpacked without its history.
    assert record["commit"] is None or len(record["commit"]) == 40


def test_require_at_least():
    require_at_least(Arguments(), seed=7, members=3)

    @dataclass
    class Batch:
        batch_size: int = 0

    with pytest.raises(InputError, match="--batch-size: found 0, expected at least 1"):
        require_at_least(Batch(), batch_size=1)


def test_require_one_of():
    require_one_of(Arguments(), members=(2, 3))
    with pytest.raises(InputError, match="--output: found 'elsewhere', expected somewhere, nowhere"):
        require_one_of(SimpleNamespace(output="elsewhere"), output={"somewhere": 1, "nowhere": 2})
    with pytest.raises(InputError, match="--cutting-point: found None, expected s2"):
        require_one_of(SimpleNamespace(cutting_point=None), cutting_point=["s2"])


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, "interrupted: no file is half-written, .* SHA-256")],
)
def test_a_signal_while_a_class_is_made(monkeypatch, number, code):
    """Python makes a RuntimeError of what is raised there, as in a package that is being imported."""

    @dataclass
    class NoArguments:
        pass

    class Field:
        def __set_name__(self, owner, name):
            signal.raise_signal(number)

    monkeypatch.setattr(sys, "argv", ["script"])
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, default)
    try:
        with pytest.raises(SystemExit) as end:
            script(lambda args: type("Made", (), {"field": Field()}), NoArguments)
    finally:
        signal.signal(number, before)
    assert end.value.code == code or re.fullmatch(code, end.value.code)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_script_leaves_its_callers_signals_alone(monkeypatch, number):
    """They are handled while it runs; a process that goes on, or forks, then ends by them as any."""

    @dataclass
    class NoArguments:
        pass

    monkeypatch.setattr(sys, "argv", ["script"])
    before = signal.signal(number, signal.SIG_DFL)
    found = []
    script(lambda args: found.append(signal.getsignal(number)), NoArguments)
    found.append(signal.signal(number, before))
    assert callable(found[0]) and found[0] != signal.SIG_DFL and found[1] == signal.SIG_DFL


def test_prepare_output_leaves_nothing_behind(tmp_path):
    """Nor does it touch a file of the name that it once tried folders with."""
    prepare_output(tmp_path / "new" / "folder")
    assert names(tmp_path / "new" / "folder") == []
    (tmp_path / ".probe").write_text("the user's")
    prepare_output(tmp_path)
    assert (tmp_path / ".probe").read_text() == "the user's"


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (InputError("--members: found 0"), "error: --members: found 0"),
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
        script(main, Arguments)
    assert isinstance(end.value.code, str) and "\n" not in end.value.code


def test_script_lets_a_bug_be_seen(monkeypatch):
    def main(args):
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["script.py"])
    with pytest.raises(ZeroDivisionError):
        script(main, Arguments)


# The terminal.

PRINTS = """if True:
    import sys, time
    from dataclasses import dataclass
    from pathlib import Path
    from tqdm import tqdm
    from shredder.io.cli import script
    from shredder.io.files import write_together
    from shredder.io.record import report

    @dataclass
    class Arguments:
        output: Path = Path("results")

    def main(args):
        for _ in tqdm(range(3)):
            print("x" * 100_000, "caf\\udce9")
            sys.stdout.flush()
        print("error", file=sys.stderr)
        write_together({args.output: b"whole"})
        report(args.output, {"accuracy": 0.5})

    script(main, Arguments)
"""


# The same without what takes a second to import.
STREAMS_ALONE = """if True:
    import sys
    from pathlib import Path
    from tqdm import tqdm
    from shredder.io.terminal import unimportant

    unimportant()
    for _ in tqdm(range(3)):
        print("x" * 100_000, "caf\\udce9")
        sys.stdout.flush()
    print("error", file=sys.stderr)
    Path(sys.argv[2]).write_bytes(b"whole")
    print("accuracy 0.5")
"""
ENDS = ("| head -c1 >&3", "2>&1 | true", ">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full 2>&1")


@pytest.mark.parametrize(
    ("program", "end"),
    [
        *(pytest.param(STREAMS_ALONE, end, id=end) for end in ENDS),
        *(pytest.param(PRINTS, end, id=f"script {end}") for end in ("2>&1 | head -c1 >&3", "<&- >&- 2>&-")),
    ],
)
def test_results_and_exit_status_do_not_depend_on_what_is_printed(tmp_path, program, end):
    """The reader goes away, the stream is closed, the disk of a log is full; and no stream's place is taken by a file."""
    command = f'{{ "$@" ; echo $? > {tmp_path}/status; }} {end}'
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    subprocess.run(
        ["sh", "-c", f"exec 3>&1; {command}", "sh", sys.executable, "-c", program, "--output", str(tmp_path / "results")],
        cwd=Path(__file__).parents[2], env=environment, capture_output=True,
    )  # fmt: skip
    assert (tmp_path / "status").read_text() == "0\n"
    assert (tmp_path / "results").read_bytes() == b"whole"


def test_a_full_disk_is_named_whatever_is_written(tmp_path, monkeypatch):
    """One of several files; and activations that are to be mapped."""
    with pytest.raises(OSError) as error, no_file_larger_than(1000):
        write_together({tmp_path / "small": b"1", tmp_path / "large": bytes(2000)})
    assert error.value.errno == errno.EFBIG and error.value.filename == str(tmp_path / "large")
    monkeypatch.setattr("shredder.inputs.activations._BYTES_IN_MEMORY", 0)
    with pytest.raises(OSError) as error, no_file_larger_than(1000):
        reserve((250,), {tmp_path / "map": range(2)})
    assert error.value.errno == errno.EFBIG and error.value.filename == str(tmp_path / "map")
