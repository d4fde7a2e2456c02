"""Output folders: one run at a time, nothing of the user's touched, nothing of dead runs left."""

import contextlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import sample_mutual_info_lenet as sample
import train_noise_lenet as train
from shredder.io import folders
from shredder.io.cli import InputError
from shredder.io.files import RowFile, npy, write_together
from shredder.io.record import Record
from shredder.noise.flags import source_of

ROOT = Path(__file__).parents[2]
HOLDER = "process 123, which began 2026-11-27 11:45:46+01:00,"
NAMES = ("a.npy", "b.npy", "table.csv", "kept/entry.json")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@dataclass
class Args:
    """Arguments of a run without any."""


def write(folder, files, **results):
    """A finished run's results, with their record."""
    Record(Args()).write(folder / "run.json", {folder / name: content for name, content in files.items()}, results)


def claimed(folder):
    return folders.claimed(folder, NAMES)


# What lies there already.


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("train_noise_lenet", "orders.npy"),
        ("train_noise_lenet", "fresh-form.npy"),
        ("train_noise_lenet", "training.csv"),
        ("train_noise_lenet", "checkpoint.pt"),
        ("train_noise_lenet", "private-activations.f32"),
        ("train_noise_alexnet", "additive.npy"),
        ("train_noise_alexnet", "test-activations.kept"),
        ("train_noise", "train-activations.f32"),
        ("sample_mutual_info_lenet", "labels.npy"),
        ("sample_mutual_info_alexnet", "draws.csv"),
        ("sample_mutual_info", "public_labels.npy"),
        ("attack", "attacks.csv"),
        ("attack", "attacks/averaging-10.kept"),
        ("attack", "reconstruction.png"),
        ("pretrain", "lenet-digit.safetensors"),
        ("paper_figures", "figure-7.csv"),
        ("paper_figures", "attacks.md"),
    ],
)
def test_a_users_own_file_ends_the_run_before_it_begins(tmp_path, monkeypatch, script, name):
    monkeypatch.setattr(Record, "__init__", lambda *_: pytest.fail("work began"))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"the user's")
    fields = {"task": "lenet"} if script in ("train_noise", "sample_mutual_info", "attack", "pretrain") else {}
    script = importlib.import_module(script)
    with pytest.raises(InputError, match=re.escape(f"--output {tmp_path}: found {name}, which no run record there lists")):
        script.main(script.Arguments(output=tmp_path, **fields))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_bytes() == b"the user's"


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")], ids=["folder", "FIFO", "link"]
)
def test_what_is_no_file(tmp_path, make):
    make(tmp_path / "b.npy")
    with pytest.raises(InputError, match=r"found b\.npy"), claimed(tmp_path):
        pass
    assert names(tmp_path) == ["b.npy"]


@pytest.mark.parametrize(
    "content", [b"[]", b"{}", b"the user's", b"", b'{"arguments": 1, "results": {}}', b"[" * 10**5, b"\xff"]
)
def test_a_users_own_run_json(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=r"run\.json: not (a|readable as a) run record.*$"), claimed(tmp_path):
        pass
    assert names(tmp_path) == ["run.json"] and (tmp_path / "run.json").read_bytes() == content


def test_other_files_are_left_alone(tmp_path):
    others = {".probe", ".lock", ".lock.old", ".a.npy.partial", ".mine.npy.12.partial", "notes.txt"}
    for name in others:
        (tmp_path / name).write_text("the user's")
    for content in (b"1", b"2"):
        with claimed(tmp_path):
            write(tmp_path, {"a.npy": content})
    assert set(names(tmp_path)) == others | {"a.npy", "run.json"}
    assert all((tmp_path / name).read_text() == "the user's" for name in others)


def test_what_a_signal_leaves_aside_is_removed(tmp_path):
    """It fell before the `with` block of a growing file began. Another process's is that process's."""
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path):
        RowFile(tmp_path / "a.npy", (2,), np.float32)
        (tmp_path / ".b.npy.12.partial").write_text("another's")
        raise KeyboardInterrupt
    assert names(tmp_path) == [".b.npy.12.partial"]


def test_what_a_record_lists_is_replaced_or_removed(tmp_path):
    with claimed(tmp_path):
        write(tmp_path, {"a.npy": b"1", "b.npy": b"1"})
    with claimed(tmp_path):
        write(tmp_path, {"b.npy": None, "a.npy": b"2"})
    assert names(tmp_path) == ["a.npy", "run.json"] and (tmp_path / "a.npy").read_bytes() == b"2"


def test_another_steps_results_keep_their_record(tmp_path):
    with claimed(tmp_path):
        write(tmp_path, {"a.npy": b"1"})
    other = folders.claimed(tmp_path, ("c.npy",))
    with pytest.raises(InputError, match=r"found another step's results there, a\.npy, whose record"), other:
        pass


def test_a_run_without_record_owns_what_it_has_written(tmp_path):
    """Out of reach, or interrupted between its files; the next one with other arguments may write there."""
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), claimed(tmp_path):
            write_together({tmp_path / "table.csv": b"1", tmp_path / "kept" / "entry.json": b"1"})
            raise KeyboardInterrupt
    assert set(json.loads((tmp_path / ".claim.json").read_text())["files"]) == {"table.csv", "kept/entry.json"}
    with claimed(tmp_path):
        write(tmp_path, {"table.csv": b"2", "kept/entry.json": b"2"})
    assert names(tmp_path) == ["kept", "run.json", "table.csv"]


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("the user's"),
        lambda path: path.write_text(HOLDER + " says the user"),
        os.mkfifo,
        Path.mkdir,
    ],
    ids=["file", "longer file", "FIFO", "folder"],
)
def test_a_users_own_file_in_the_locks_place(tmp_path, make):
    def found():
        status = (tmp_path / ".run.lock").lstat()  # but for the time of the last look at it
        return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns

    make(tmp_path / ".run.lock")
    before = found()
    with pytest.raises(InputError, match=r"found \.run\.lock, which"), claimed(tmp_path):
        pass
    assert names(tmp_path) == [".run.lock"] and found() == before


@pytest.mark.parametrize("written", ["", "pro", "process 12", "process 12, which began 2026-11-", HOLDER[:-1], HOLDER])
def test_a_lock_that_a_killed_run_has_half_written(tmp_path, written):
    (tmp_path / ".run.lock").write_text(written)
    with claimed(tmp_path):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b'{"files": 3}', b"[]", b"", b'{"files": [3]}', None])
def test_a_damaged_claim(tmp_path, content):
    if content is None:
        os.mkfifo(tmp_path / ".claim.json")
    else:
        (tmp_path / ".claim.json").write_bytes(content)
    with (
        pytest.raises(InputError, match=r"\.claim\.json: not readable as a run's claim"),
        claimed(tmp_path),
    ):
        pass


@pytest.mark.parametrize("fields", [{"members": 0}, {"cutting_point": "conv1"}])
def test_a_mistake_makes_no_folder(tmp_path, fields):
    with pytest.raises(InputError):
        train.main(train.Arguments(output=tmp_path / "some" / "new" / "folder", **fields))
    assert names(tmp_path) == []


# Two runs.

PROGRAM = """if True:
    import os, sys, time
    from dataclasses import dataclass
    from pathlib import Path
    import numpy as np
    from shredder.io import folders
    from shredder.io.cli import script
    from shredder.io.files import RowFile

    @dataclass
    class Arguments:
        output: Path
        fork: int = 0

    @folders.claims("rows.npy")
    def main(args):
        with RowFile(args.output / "rows.npy", (1000,), np.float32) as file:
            file.append(np.ones((1000, 1000), np.float32))
            file.finished()
            if args.fork and os.fork() == 0:
                time.sleep(30)
                os._exit(0)
            print("ready", flush=True)
            time.sleep(30)

    script(main, Arguments)
"""


@pytest.fixture
def start(tmp_path):
    """Starts a run that writes to the folder, and waits until it does."""
    begun = []

    def start(*flags, before=""):
        command = ["sh", "-c", f'{before} exec "$@"', "sh", sys.executable, "-c", PROGRAM, "--output", str(tmp_path), *flags]
        usual = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests themselves run under nohup
        try:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
            )
        finally:
            signal.signal(signal.SIGHUP, usual)
        begun.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in begun:
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_the_second_run_is_refused_and_a_dead_one_holds_nothing(tmp_path, start):
    """Not even by a child that it has forked, as torch's loaders do; what it has left aside is removed."""
    process = start("--fork", "1")
    partial = f".rows.npy.{process.pid}.partial"
    assert names(tmp_path) == [".claim.json", partial, ".run.lock"]
    message = rf"process {process.pid}, which began 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\S*, is writing there; wait"
    with pytest.raises(InputError, match=message), folders.claimed(tmp_path, ("rows.npy",)):
        pass
    assert names(tmp_path) == [".claim.json", partial, ".run.lock"]
    process.kill()
    process.wait()
    assert (tmp_path / partial).stat().st_size > 3_900_000
    with folders.claimed(tmp_path, ("rows.npy",)):
        assert names(tmp_path) == [".claim.json", ".run.lock"]
    assert names(tmp_path) == []


def test_the_same_process_is_refused_as_well(tmp_path):
    with claimed(tmp_path):
        with pytest.raises(InputError, match=f"process {os.getpid()}, which began"), claimed(tmp_path):
            pass
        assert names(tmp_path) == [".claim.json", ".run.lock"]


def ended(process, by):
    """The exit status of a run after this signal, which leaves no traceback."""
    process.send_signal(by)
    _, errors = process.communicate()
    assert "Traceback" not in errors
    return process.returncode


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_terminated_run_leaves_nothing(tmp_path, start, name):
    assert ended(start(), getattr(signal, name)) == 128 + getattr(signal, name) and names(tmp_path) == []


def test_nohup_still_works(tmp_path, start):
    """And Ctrl-C ends such a run, as any, without anything left."""
    process = start(before="trap '' HUP;")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    assert ended(process, signal.SIGINT) == 1 and names(tmp_path) == []


# A kill between two renames.


def tensors(seed):
    return npy(np.random.default_rng(seed).normal(size=(3, 120, 1, 1)).astype(np.float32))


@pytest.mark.parametrize("handed", ["files", "folder"])
@pytest.mark.parametrize(("then", "number"), [("v2", 0), ("v2", 1), ("v2", 2), ("v2", 3), ("v1", 0), ("v1", 1), ("v1", 2)])
def test_files_of_two_runs_are_never_read_as_one(tmp_path, monkeypatch, then, number, handed):
    """Killed in place of the rename with this number, counted from 0: what is there is refused, or all of one run."""
    old, new = ({f"{name}.npy": tensors(seed + i) for i, name in enumerate(("additive", "multiplicative"))} for seed in (0, 9))
    if then == "v1":
        new["multiplicative.npy"] = None
    write(tmp_path, old)
    usual, done = os.replace, []

    def counted(*paths):
        if len(done) == number:
            raise SystemExit
        done.append(paths)
        usual(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted)
        try:
            write(tmp_path, new)
            finished = True
        except SystemExit:
            finished = False
    args = sample.Arguments(additive=tmp_path / "additive.npy", multiplicative=tmp_path / "multiplicative.npy")
    if finished and then == "v1":
        assert not args.multiplicative.exists()
        args = sample.Arguments(additive=args.additive)
    if handed == "folder":
        args = sample.Arguments(noise=tmp_path)
    if number > 0 and not finished:
        with pytest.raises(InputError, match=rf"{tmp_path}/\w+\.npy: (not the file that .*/run\.json lists|no such file)"):
            source_of(args, (120, 1, 1))
        return
    found = source_of(args, (120, 1, 1))
    for name, content in (new if finished else old).items():
        value = getattr(found, name.removesuffix(".npy"))
        assert value is None if content is None else npy(value.numpy()) == content


def test_a_changed_array_is_not_read(tmp_path):
    """And the same array where nothing lists it, or in a folder of an old run, is."""
    write(tmp_path, {"additive.npy": tensors(0)})
    args, folder = sample.Arguments(additive=tmp_path / "additive.npy"), sample.Arguments(noise=tmp_path)
    for some in (args, folder):
        source_of(some, (120, 1, 1))
    content = bytearray(tensors(0))
    content[-1] ^= 1
    (tmp_path / "additive.npy").write_bytes(content)
    for some in (args, folder):
        with pytest.raises(InputError, match=r"additive\.npy: not the file that .*run\.json lists, for its SHA-256 differs"):
            source_of(some, (120, 1, 1))
    record = json.loads((tmp_path / "run.json").read_text())
    del record["files"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    for some in (args, folder):
        source_of(some, (120, 1, 1))
    (tmp_path / "run.json").write_text("damaged")
    for some in (args, folder):
        with pytest.raises(InputError, match=r"run\.json: not readable as a run record"):
            source_of(some, (120, 1, 1))
    (tmp_path / "run.json").unlink()
    source_of(args, (120, 1, 1))
    with pytest.raises(InputError, match=r"run\.json: no such file, expected a run record"):
        source_of(folder, (120, 1, 1))
