"""What step 2 left is read whole, or refused in one line that names the file."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import sample_mutual_info_lenet as step_2
from shredder.io.cli import InputError
from shredder.io.files import sha256
from shredder.io.reading import RunRecord, read_table
from shredder.sample.folder import load_learned, load_sample

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "artifacts" / "lenet" / "sample"
HEADERS = ROOT / "../shared/cases/npy-headers"
N, PIXELS, SHAPE = 5, 6, (4, 1, 1)
ARRAYS = ("original_images", "original_activations", "noisy_activations", "labels")


def edit(folder: Path, part: str | None = None, **changes) -> None:
    """Replace entries of the folder's run record, or of a part of it."""
    record = json.loads((folder / "run.json").read_text())
    (record if part is None else record.setdefault(part, {})).update(changes)
    (folder / "run.json").write_text(json.dumps(record))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small sample, of a record that lists no digests."""
    rng, folder = np.random.default_rng(0), tmp_path / "sample"
    folder.mkdir()
    for name, shape in zip(ARRAYS, ((PIXELS,), SHAPE, SHAPE), strict=False):
        np.save(folder / f"{name}.npy", rng.normal(size=(N, *shape)).astype(np.float32))
    np.save(folder / "labels.npy", np.arange(N)[:, None])
    (folder / "draws.csv").write_text("snr,accuracy\n" + "0.5,0.9\n" * N)
    arguments = {"dataset": "mnist-5k", "additive": "../noise/additive.npy", "multiplicative": None, "skip_rows": 0}
    (folder / "run.json").write_text(json.dumps({"arguments": arguments, "results": {"queries": N, "members": 2}, "files": {}}))
    return folder


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Where the sample's noise was learned."""
    noise = tmp_path / "noise"
    noise.mkdir()
    np.save(noise / "additive.npy", np.ones((2, *SHAPE), np.float32))
    (noise / "curves.csv").write_text("member,epoch,loss,accuracy,snr\n0,1,0.3,0.91,0.5\n1,1,0.2,0.92,0.4\n")
    results = {"epochs before acceptance": 0, "accuracy to exceed": 0.9}
    (noise / "run.json").write_text(json.dumps({"arguments": {"min_accuracy": None}, "results": results, "files": {}}))
    return noise


def load(folder: Path, mapped: bool = False):
    return load_sample(folder, PIXELS, ["accuracy"], mapped)


def refusal(folder: Path, mapped: bool = False) -> str:
    """The one line that the sample is refused with."""
    with pytest.raises(InputError) as error:
        load(folder, mapped)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("mapped", [False, True])
def test_reads_what_step_2_wrote(folder, mapped):
    sample = load(folder, mapped)
    assert len(sample) == N
    assert (sample.images.shape, sample.activations.shape, sample.shape) == ((N, PIXELS), (N, 4), SHAPE)
    np.testing.assert_array_equal(sample.noisy, np.load(folder / "noisy_activations.npy").reshape(N, -1))
    np.testing.assert_array_equal(sample.labels, range(N))
    np.testing.assert_array_equal(sample.draws["accuracy"], [0.9] * N)
    assert isinstance(sample.images.base, np.memmap) is mapped
    assert sample.formula == "a + n"


def test_reads_the_shipped_sample_and_the_noise_beside_it(tmp_path):
    sample = load_sample(SHIPPED, 1024, ["public_accuracy"])
    learned = load_learned(sample)
    assert (len(sample), sample.formula, learned.missing) == (1000, "w * a + n", "")
    assert learned.multiplicative.shape == learned.additive.shape == (150, 120, 1, 1)
    assert learned.min_accuracy == 0.95
    assert learned.record.result("epochs before acceptance") == 27
    alone = load_learned(load_sample(shutil.copytree(SHIPPED, tmp_path / "elsewhere"), 1024, ["public_accuracy"]))
    assert "found nowhere" in alone.missing


def test_reads_what_today_s_step_2_writes(tmp_path, mnist_5k):
    step_2.main(step_2.Arguments(n_samples=1, seed=0, output=tmp_path))
    sample = load_sample(tmp_path, 1024, ["public_accuracy", "private_accuracy"])
    assert len(sample) == len(sample.draws) == 1
    assert load_learned(sample).missing == ""


# Arrays


@pytest.mark.parametrize("name", [f"{name}.npy" for name in ARRAYS] + ["draws.csv", "run.json"])
def test_a_missing_file_or_a_pipe_is_named(folder, name):
    (folder / name).unlink()
    assert refusal(folder).startswith(f"{folder / name}: no such file, expected ")
    os.mkfifo(folder / name)  # whoever opened it would wait for ever
    assert refusal(folder).startswith(f"{folder / name}: no such file, expected ")


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("name", ARRAYS)
def test_a_truncated_array_is_named(folder, name, mapped):
    path = folder / f"{name}.npy"
    os.truncate(path, path.stat().st_size - 1)
    assert refusal(folder, mapped).startswith(f"{path}: not a readable .npy array of numbers (")


@pytest.mark.skipif(not HEADERS.is_dir(), reason="shared/cases is absent")
def test_damaged_headers_are_named_where_arrays_are_mapped(folder):
    path = folder / "noisy_activations.npy"
    headers = sorted(HEADERS.glob("*.npy"))
    assert len(headers) == 18
    for header in headers:
        shutil.copy(header, path)
        assert refusal(folder, mapped=True).startswith(f"{path}: "), header


ARRAY = np.zeros((N, *SHAPE), np.float32)


@pytest.mark.parametrize(
    "name, array, message",
    [
        ("noisy_activations", ARRAY.astype(np.float64), "found float64, expected float32"),
        ("noisy_activations", ARRAY[:-1], "found (4, 4, 1, 1), expected 5 rows, the queries of run.json"),
        ("noisy_activations", ARRAY[:, :3], "found (5, 3, 1, 1), expected (5, 4, 1, 1), as clean activations have"),
        ("noisy_activations", np.where(np.arange(4)[:, None, None] == 2, np.nan, ARRAY), "found NaN or infinity in 5 of 20 "),
        ("original_activations", np.where(np.eye(5, 4)[:, :, None, None] > 0, np.inf, ARRAY), "found NaN or infinity in 4 of "),
        ("original_images", np.zeros((N, 7), np.float32), "found (5, 7), expected (5, 6)"),
        ("original_images", np.zeros((N, PIXELS), np.int32), "found int32, expected float32"),
        ("original_images", np.float32(1), "found (), expected 5 rows, the queries of run.json"),
        ("labels", np.zeros((N, 1), np.float32), "found float32, expected int64"),
        ("labels", np.zeros((N, 2), int), "found (5, 2), least 0, expected (5, 1), from 0"),
        ("labels", np.full((N, 1), -3), "found (5, 1), least -3, expected (5, 1), from 0"),
    ],
)
def test_foreign_arrays_are_named(folder, name, array, message):
    array = array.astype(np.float32) if message.startswith("found NaN") else array
    np.save(folder / f"{name}.npy", array)
    for mapped in (False, True):
        assert refusal(folder, mapped).startswith(f"{folder / name}.npy: {message}")


def test_bytes_behind_a_mapped_array_are_named(folder):
    with open(folder / "labels.npy", "ab") as file:
        file.write(b"\0" * 8)
    assert "labels.npy: not a readable .npy array of numbers (its header says 168 bytes, and it has 176)" in refusal(
        folder, True
    )


def test_an_archive_is_no_array(folder):
    with open(folder / "noisy_activations.npy", "wb") as file:
        np.savez(file, ARRAY)
    assert "noisy_activations.npy: not a readable .npy array" in refusal(folder, mapped=True)


# Digests


@pytest.mark.parametrize("name", [f"{name}.npy" for name in ARRAYS] + ["draws.csv"])
def test_changed_files_are_named_where_the_record_has_digests(folder, name):
    edit(folder, "files", **{path.name: sha256(path) for path in folder.iterdir() if path.name != "run.json"})
    load(folder)
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1  # nothing but a digest shows it
    (folder / name).write_bytes(content)
    for mapped in (False, True):
        assert refusal(folder, mapped).startswith(
            f"{folder / name}: not the file that {folder / 'run.json'} lists, for its SHA-256"
        )


# Run records and tables


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not "),
        (b'{"results": {"queries": 5', "not "),
        (b"\xff\xfe{}", "not "),
        (b"[" * 100_000, "not "),
        (b"9" * 5000, "not "),
        (b"[1, 2]", "not a run record"),
        (b'{"arguments": [], "results": {}}', "not a run record"),
        (b'{"arguments": {}, "results": {}, "files": 3}', "not a run record"),
        (b'{"arguments": {}, "results": {}}', "found None as the result 'queries', expected a number"),
        (
            b'{"arguments": {}, "results": {"queries": "5", "members": 2}}',
            "found '5' as the result 'queries', expected a number",
        ),
        (b'{"arguments": {}, "results": {"queries": 5.0, "members": 2}}', "found 5.0 queries, expected at least one"),
        (b'{"arguments": {}, "results": {"queries": -1, "members": 2}}', "found -1 queries, expected at least one"),
        (b'{"arguments": {}, "results": {"queries": 5, "members": 0}}', "found 0 members, expected at least one"),
        (b'{"arguments": {}, "results": {"queries": 5, "members": NaN}}', "found nan members, expected at least one"),
        (
            b'{"arguments": {}, "results": {"queries": 5, "members": true}}',
            "found True as the result 'members', expected a number",
        ),
    ],
)
def test_damaged_run_records_are_named(folder, content, message):
    (folder / "run.json").write_bytes(content)
    assert refusal(folder).startswith(f"{folder / 'run.json'}: {message}")


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "not a readable CSV table of numbers ("),
        ("snr,accuracy\n", "found 0 rows of snr, accuracy, expected rows of snr, accuracy"),
        ("snr\n" + "0.5\n" * N, "found 5 rows of snr, expected rows of snr, accuracy"),
        ("snr,accuracy\n" + "0.5,0.9\n" * (N - 1), "found 4 rows, expected 5, one for each query"),
        ("snr,accuracy\n" + "0.5,0.9\n" * (N - 1) + "0.5\n", "not a readable CSV table of numbers ("),
        ("snr,accuracy\n" + "0.5,0.9\n" * (N - 1) + "0.5,x\n", "not a readable CSV table of numbers (could not convert"),
        ("snr,snr\n" + "0.5,0.9\n" * N, "not a readable CSV table of numbers ("),
        ("snr,accuracy\n" + "0.5,nan\n" * N, "found values out of range, expected snr from 0, accuracies from 0 to 1"),
        ("snr,accuracy\n" + "nan,0.9\n" * N, "found values out of range, expected snr from 0, accuracies from 0 to 1"),
        ("snr,accuracy\n" + "0.5,90\n" * N, "found values out of range, expected snr from 0, accuracies from 0 to 1"),
        ("snr,accuracy\n\0" + "\udcff" * 3, "not a readable CSV table of numbers ("),
    ],
)
def test_damaged_tables_are_named(folder, content, message):
    (folder / "draws.csv").write_bytes(content.encode(errors="surrogateescape"))
    assert refusal(folder).startswith(f"{folder / 'draws.csv'}: {message}")


def test_a_table_of_one_row_has_one_row(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,inf\n")
    table = read_table(tmp_path / "x.csv", ["b"])
    assert (table["a"].tolist(), table["b"].tolist()) == ([1.0], [np.inf])


@pytest.mark.filterwarnings("ignore:invalid escape")  # in what a damaged header says
def test_no_damage_ends_in_a_traceback(folder):
    """Each file with a byte or two changed at random is read, or refused in one line that names it."""
    rng, refused = np.random.default_rng(0), 0
    for name in (*(f"{name}.npy" for name in ARRAYS), "draws.csv", "run.json"):
        whole = (folder / name).read_bytes()
        for _ in range(60):
            content = bytearray(whole)
            for place in rng.integers(min(len(whole), 128), size=rng.integers(1, 3)):
                content[place] = rng.integers(256)
            (folder / name).write_bytes(content)
            try:
                load(folder, mapped=True)
            except InputError as error:
                refused += 1
                assert str(folder) in str(error)
                assert "\n" not in str(error)
        (folder / name).write_bytes(whole)
    assert refused > 100


# How the noise was learned


def test_noise_is_found_beside_the_record_wherever_both_are(folder, noise, tmp_path, monkeypatch):
    shutil.move(tmp_path, moved := tmp_path.with_name(tmp_path.name + "-moved"))
    monkeypatch.chdir("/")
    learned = load_learned(load(moved / "sample"))
    assert learned.missing == ""
    assert learned.additive.shape == (2, *SHAPE)
    assert learned.multiplicative is None
    assert learned.min_accuracy == 0.9
    assert learned.curves["accuracy"].tolist() == [0.91, 0.92]
    shutil.move(moved, tmp_path)


def test_an_absolute_path_is_followed(folder, noise, tmp_path):
    shutil.move(folder, moved := tmp_path / "a" / "b" / "sample")
    assert "additive.npy, found nowhere" in load_learned(load(moved)).missing
    edit(moved, "arguments", additive=str(noise / "additive.npy"))
    assert load_learned(load(moved)).additive is not None


def test_noise_that_is_no_longer_there_is_said(folder):
    path = folder / "run.json"
    learned = load_learned(load(folder))
    assert learned.missing == f"{path} names ../noise/additive.npy, found nowhere: how the noise was learned is not shown"
    assert learned.additive is learned.curves is None
    edit(folder, "arguments", additive=None)
    assert load_learned(load(folder)).missing == f"{path} names no noise, found nowhere: how the noise was learned is not shown"
    for value in ("x" * 5000, "\0", "~"):  # no file's name anywhere
        edit(folder, "arguments", additive=value)
        assert "found nowhere" in load_learned(load(folder)).missing


def test_arrays_from_elsewhere_have_no_curves(folder, noise):
    (noise / "curves.csv").unlink()
    learned = load_learned(load(folder))
    assert learned.additive is not None
    assert learned.missing == (
        f"no curves.csv and run.json in {folder / '../noise'}: "
        "this noise was not learned by step 1, so there are no training curves"
    )


@pytest.mark.parametrize(
    "damage, named",
    [
        (lambda noise: np.save(noise / "additive.npy", np.ones((2, 3, 1, 1), np.float32)), "additive.npy: found float32 (2, 3"),
        (lambda noise: os.truncate(noise / "additive.npy", 130), "additive.npy: not a readable .npy array"),
        (
            lambda noise: (noise / "curves.csv").write_text("member\n1\n"),
            "curves.csv: found 1 rows of member, expected rows of",
        ),
        (lambda noise: (noise / "run.json").write_text("null"), "run.json: not a run record"),
    ],
)
def test_damaged_noise_is_named(folder, noise, damage, named):
    damage(noise)
    with pytest.raises(InputError, match=re.escape(named)):
        load_learned(load(folder))


def test_arguments_of_another_kind_are_named(folder, noise):
    for flag, value, kind in (("additive", 3, "str"), ("fresh", [], "str"), ("skip_rows", "1", "int")):
        edit(folder, "arguments", **{flag: value})
        with pytest.raises(InputError, match=re.escape(f"run.json: found {value!r} as the argument {flag}, expected {kind}")):
            load_learned(load(folder))
        edit(folder, "arguments", **{flag: {"additive": "../noise/additive.npy"}.get(flag)})


def test_methods_that_keep_no_tensors(tmp_path):
    sample = load_sample(SHIPPED, 1024, ["public_accuracy"])
    for arguments, method in (
        ({"fresh": "artifacts/lenet/fresh"}, "fresh"),
        ({name: f"artifacts/lenet/v3/{name}.npy" for name in ("distributions", "orders")}, "distribution"),
    ):
        (tmp_path / "run.json").write_text(json.dumps({"arguments": arguments, "results": {}}))
        of_method = type(sample)(*[*vars(sample).values()][:5], RunRecord.read(tmp_path / "run.json"), sample.shape)
        learned = load_learned(of_method)
        assert (learned.additive, learned.missing) == (None, "")
        assert learned.record.arguments["method"] == method
        assert 0.9 < learned.min_accuracy < 1


def test_a_notebook_shows_one_line():
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    shell, shown = InteractiveShell(), []
    shell._showtraceback = lambda kind, error, lines: shown.extend(lines)
    shell.run_cell("from shredder.runs import InputError; raise InputError('x.npy: found this, expected that')")
    assert shown == ["error: x.npy: found this, expected that"]
