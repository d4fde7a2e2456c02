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
from shredder.io.reading import read_table
from shredder.sample.folder import load_learned, load_sample

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "artifacts" / "lenet" / "sample"
HEADERS = ROOT / "../shared/cases/npy-headers"
N, IMAGE, SHAPE = 5, (3, 1, 2), (4, 1, 1)
ARRAYS = ("original_images", "original_activations", "noisy_activations", "labels", "public_labels")


def edit(folder: Path, part: str | None = None, **changes) -> None:
    """Replace entries of the folder's run record, or of a part of it."""
    record = json.loads((folder / "run.json").read_text())
    (record if part is None else record.setdefault(part, {})).update(changes)
    (folder / "run.json").write_text(json.dumps(record))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small sample of a task of its own, of a record that lists no digests."""
    rng, folder = np.random.default_rng(0), tmp_path / "sample"
    folder.mkdir()
    for name, shape in zip(ARRAYS, ((6,), SHAPE, SHAPE), strict=False):
        np.save(folder / f"{name}.npy", rng.normal(size=(N, *shape)).astype(np.float32))
    np.save(folder / "labels.npy", np.arange(N)[:, None])
    np.save(folder / "public_labels.npy", np.arange(N)[:, None] % 2)
    (folder / "draws.csv").write_text("snr,public_accuracy\n" + "0.5,0.9\n" * N)
    arguments = {"task": "tasks/dots.py", "public_labels": "odd", "noise": "../noise", "draw": "verbatim", "additive": None}
    results = {"task": "dots", "queries": N, "members": 2, "image shape": IMAGE, "clean public accuracy": 0.95}
    (folder / "run.json").write_text(json.dumps({"arguments": arguments, "results": results, "files": {}}))
    return folder


@pytest.fixture
def old(folder: Path) -> Path:
    """The same as step 2 of AlexNet wrote it before tasks had names, but for its shapes."""
    (folder / "public_labels.npy").unlink()
    (folder / "draws.csv").write_text("snr,accuracy\n" + "0.5,0.9\n" * N)
    arguments = {"dataset": "mnist-5k", "additive": "../noise/additive.npy", "multiplicative": None, "skip_rows": 0}
    content = {"arguments": arguments, "results": {"queries": N, "members": 2, "clean accuracy": 0.97}, "files": {}}
    (folder / "run.json").write_text(json.dumps({"command": "sample_mutual_info_alexnet.py"} | content))
    np.save(folder / "original_images.npy", np.random.default_rng(0).random((N, 150_528), np.float32))
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


def refusal(folder: Path) -> str:
    """The one line that the sample is refused with."""
    with pytest.raises(InputError) as error:
        load_sample(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_reads_what_step_2_wrote(folder):
    sample = load_sample(folder)
    assert len(sample) == N
    assert (sample.images.shape, sample.activations.shape) == ((N, 6), (N, 4))
    assert (sample.image_shape, sample.shape) == (IMAGE, SHAPE)
    np.testing.assert_array_equal(sample.noisy, np.load(folder / "noisy_activations.npy").reshape(N, -1))
    np.testing.assert_array_equal(sample.labels, range(N))
    np.testing.assert_array_equal(sample.public_labels, [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(sample.draws["public_accuracy"], [0.9] * N)
    assert (sample.task, sample.public_name, sample.private, sample.clean_accuracy) == ("dots", "odd", False, 0.95)
    assert all(isinstance(array.base, np.memmap) for array in (sample.images, sample.activations, sample.noisy))
    assert not any(array.flags.writeable for array in (sample.images, sample.activations, sample.noisy))


def test_reads_what_step_2_of_alexnet_wrote_before_tasks_had_names(old, noise):
    sample = load_sample(old)
    assert (sample.task, sample.public_name, sample.formula) == ("alexnet", "class", "a + n")
    assert (sample.image_shape, sample.private, sample.clean_accuracy) == ((3, 224, 224), False, 0.97)
    np.testing.assert_array_equal(sample.public_labels, sample.labels)
    np.testing.assert_array_equal(sample.draws["public_accuracy"], [0.9] * N)
    assert load_learned(sample).additive.shape == (2, *SHAPE)


@pytest.mark.parametrize("name, expected", [("gt5", [0, 0, 1]), (None, [0, 0, 1]), ("digits", [0, 5, 9])])
def test_reads_what_step_2_of_lenet_wrote_before_tasks_had_names(old, name, expected):
    edit(old, command="sample_mutual_info_lenet.py")
    edit(old, "arguments", public_labels=name)
    edit(old, "results", queries=3)
    for array, content in (("original_images", np.zeros((3, 1024), np.float32)), ("labels", np.array([[0], [5], [9]]))):
        np.save(old / f"{array}.npy", content)
    for array in ("original_activations", "noisy_activations"):
        np.save(old / f"{array}.npy", np.zeros((3, *SHAPE), np.float32))
    (old / "draws.csv").write_text("snr,public_accuracy,private_accuracy\n" + "0.5,0.9,0.1\n" * 3)
    sample = load_sample(old)
    assert (sample.task, sample.public_name, sample.image_shape) == ("lenet", name or "gt5", (1, 32, 32))
    assert (sample.private, sample.clean_accuracy) == (True, 0.97)
    np.testing.assert_array_equal(sample.public_labels, expected)


def test_reads_the_shipped_sample_and_the_noise_beside_it(tmp_path):
    sample = load_sample(SHIPPED)
    learned = load_learned(sample)
    n_members = sample.record.result("members")
    assert (len(sample), sample.task, sample.public_name, sample.formula) == (1000, "lenet", "gt5", "w * a + n")
    np.testing.assert_array_equal(sample.public_labels, sample.labels > 5)
    assert learned.missing == ""
    assert learned.multiplicative.shape == learned.additive.shape == (n_members, 120, 1, 1)
    assert learned.min_accuracy == 0.95
    assert learned.min_epochs == learned.record.result("epochs before acceptance")
    alone = load_learned(load_sample(shutil.copytree(SHIPPED, tmp_path / "elsewhere")))
    assert "found nowhere" in alone.missing


def test_reads_what_today_s_step_2_writes(tmp_path, mnist_5k):
    step_2.main(step_2.Arguments(n_samples=1, seed=0, output=tmp_path))
    sample = load_sample(tmp_path)
    assert len(sample) == len(sample.draws) == 1
    assert (sample.task, sample.public_name, sample.image_shape, sample.private) == ("lenet", "gt5", (1, 32, 32), True)
    assert (sample.formula, sample.clean_accuracy) == ("w * a + n", pytest.approx(0.997))
    np.testing.assert_array_equal(sample.public_labels, sample.labels > 5)
    assert load_learned(sample).missing == ""


@pytest.mark.parametrize(
    "shape, message",
    [
        (None, "run.json: found no image shape, and 6 elements an input in original_images.npy, which do not tell it"),
        ([3, 2, 2], "original_images.npy: found (5, 6), expected (5, 12), images of (3, 2, 2)"),
        ([], "run.json: found [] as the result 'image shape', expected a list of positive integers"),
        ([6, 0], "run.json: found [6, 0] as the result 'image shape', expected a list of positive integers"),
        ([True, 6], "run.json: found [True, 6] as the result 'image shape', expected a list of positive integers"),
        ("6", "run.json: found '6' as the result 'image shape', expected a list of positive integers"),
    ],
)
def test_an_image_shape_that_does_not_fit_is_named(folder, shape, message):
    edit(folder, "results", **{"image shape": shape})
    assert refusal(folder).endswith(message)


@pytest.mark.parametrize(
    "arguments, formula",
    [
        ({"additive": "n.npy"}, "a + n"),
        ({"additive": "n.npy", "multiplicative": "w.npy"}, "w * a + n"),
        ({"distributions": "d.npy", "orders": "o.npy"}, "a + n"),
        ({"fresh": "folder"}, "mu + Q y"),
        ({"noise": "gone", "draw": "fresh"}, "mu + Q y"),
        ({"noise": "gone", "draw": "elementwise-laplace"}, "a + n"),
        ({"noise": "gone", "draw": "order-preserving"}, "a + noise"),
        ({"noise": "../noise"}, "w * a + n"),
    ],
)
def test_the_formula_is_that_of_the_noise(folder, noise, arguments, formula):
    np.save(noise / "multiplicative.npy", np.ones((2, *SHAPE), np.float32))
    edit(folder, arguments={"task": "tasks/dots.py"} | arguments)
    assert load_sample(folder).formula == formula


# Arrays


@pytest.mark.parametrize("name", [f"{name}.npy" for name in ARRAYS] + ["draws.csv", "run.json"])
def test_a_missing_file_or_a_pipe_is_named(folder, name):
    (folder / name).unlink()
    assert refusal(folder).startswith(f"{folder / name}: no such file, expected ")
    os.mkfifo(folder / name)  # whoever opened it would wait for ever
    assert refusal(folder).startswith(f"{folder / name}: no such file, expected ")


@pytest.mark.parametrize("name", ARRAYS)
def test_a_truncated_array_is_named(folder, name):
    path = folder / f"{name}.npy"
    os.truncate(path, path.stat().st_size - 1)
    assert refusal(folder).startswith(f"{path}: not a readable .npy array of numbers (")


@pytest.mark.skipif(not HEADERS.is_dir(), reason="shared/cases is absent")
def test_damaged_headers_are_named(folder):
    path = folder / "noisy_activations.npy"
    headers = sorted(HEADERS.glob("*.npy"))
    assert len(headers) == 18
    for header in headers:
        shutil.copy(header, path)
        assert refusal(folder).startswith(f"{path}: "), header


ARRAY = np.zeros((N, *SHAPE), np.float32)


@pytest.mark.parametrize(
    "name, array, message",
    [
        ("noisy_activations", ARRAY.astype(np.float64), "found float64, expected float32"),
        ("noisy_activations", ARRAY[:-1], "found (4, 4, 1, 1), expected 5 rows, the queries of run.json"),
        ("noisy_activations", ARRAY[:, :3], "found (5, 3, 1, 1), expected (5, 4, 1, 1), as clean activations have"),
        ("noisy_activations", np.where(np.arange(4)[:, None, None] == 2, np.nan, ARRAY), "found NaN or infinity in 5 of 20 "),
        ("original_activations", np.where(np.eye(5, 4)[:, :, None, None] > 0, np.inf, ARRAY), "found NaN or infinity in 4 of "),
        ("original_images", np.zeros((N, 7), np.float32), "found (5, 7), expected (5, 6), images of (3, 1, 2)"),
        ("original_images", np.zeros((N, *IMAGE), np.float32), "found (5, 3, 1, 2), expected (5, 6), images of (3, 1, 2)"),
        ("original_images", np.zeros((N, 6), np.int32), "found int32, expected float32"),
        ("original_images", np.float32(1), "found (), expected 5 rows, the queries of run.json"),
        ("labels", np.zeros((N, 1), np.float32), "found float32, expected int64"),
        ("labels", np.zeros((N, 2), int), "found (5, 2), least 0, expected (5, 1), from 0"),
        ("labels", np.full((N, 1), -3), "found (5, 1), least -3, expected (5, 1), from 0"),
        ("public_labels", np.full((N, 1), -3), "found (5, 1), least -3, expected (5, 1), from 0"),
        ("public_labels", np.zeros((N, 1), np.float32), "found float32, expected int64"),
    ],
)
def test_foreign_arrays_are_named(folder, name, array, message):
    array = array.astype(np.float32) if message.startswith("found NaN") else array
    np.save(folder / f"{name}.npy", array)
    assert refusal(folder).startswith(f"{folder / name}.npy: {message}")


def test_bytes_behind_a_mapped_array_are_named(folder):
    with open(folder / "labels.npy", "ab") as file:
        file.write(b"\0" * 8)
    message = "labels.npy: not a readable .npy array of numbers (its header says 168 bytes, and it has 176)"
    assert message in refusal(folder)


def test_an_archive_is_no_array(folder):
    with open(folder / "noisy_activations.npy", "wb") as file:
        np.savez(file, ARRAY)
    assert "noisy_activations.npy: not a readable .npy array" in refusal(folder)


# Digests


@pytest.mark.parametrize("name", [f"{name}.npy" for name in ARRAYS] + ["draws.csv"])
def test_changed_files_are_named_where_the_record_has_digests(folder, name):
    edit(folder, "files", **{path.name: sha256(path) for path in folder.iterdir() if path.name != "run.json"})
    load_sample(folder)
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1  # nothing but a digest shows it
    (folder / name).write_bytes(content)
    assert refusal(folder).startswith(f"{folder / name}: not the file that {folder / 'run.json'} lists, for its SHA-256")


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
        ("snr,accuracy\n", "found 0 rows of snr, accuracy, expected rows of snr"),
        ("accuracy\n" + "0.5\n" * N, "found 5 rows of accuracy, expected rows of snr"),
        ("snr\n" + "0.5\n" * N, "found columns snr, expected snr, public_accuracy"),
        ("snr,accuracy\n" + "0.5,0.9\n" * (N - 1), "found 4 rows, expected 5, one for each query"),
        ("snr,accuracy\n" + "0.5,0.9\n" * (N - 1) + "0.5\n", "not a readable CSV table of numbers ("),
        ("snr,accuracy\n" + "0.5,0.9\n" * (N - 1) + "0.5,x\n", "not a readable CSV table of numbers (could not convert"),
        ("snr,snr\n" + "0.5,0.9\n" * N, "not a readable CSV table of numbers ("),
        ("snr,accuracy\n" + "0.5,nan\n" * N, "found values out of range, expected snr from 0, accuracies from 0 to 1"),
        (
            "snr,public_accuracy,private_accuracy\n" + "0.5,0.9,1.1\n" * N,
            "found values out of range, expected snr from 0, accuracies from 0 to 1",
        ),
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
                load_sample(folder)
            except InputError as error:
                refused += 1
                assert str(folder) in str(error)
                assert "\n" not in str(error)
        (folder / name).write_bytes(whole)
    assert refused > 100


# How the noise was learned


@pytest.mark.parametrize("single", [False, True])
def test_noise_is_found_beside_the_record_wherever_both_are(folder, noise, tmp_path, monkeypatch, single):
    if single:
        edit(folder, "arguments", noise=None, additive="../noise/additive.npy")
    shutil.move(tmp_path, moved := tmp_path.with_name(tmp_path.name + "-moved"))
    monkeypatch.chdir("/")
    learned = load_learned(load_sample(moved / "sample"))
    assert learned.missing == ""
    assert learned.additive.shape == (2, *SHAPE)
    assert learned.multiplicative is None
    assert (learned.min_accuracy, learned.min_epochs) == (0.9, 0)
    assert learned.curves["accuracy"].tolist() == [0.91, 0.92]
    shutil.move(moved, tmp_path)


def test_of_a_folder_the_files_that_its_record_lists_are_read(folder, noise):
    np.save(noise / "multiplicative.npy", np.full((2, *SHAPE), 2, np.float32))
    assert load_learned(load_sample(folder)).multiplicative.max() == 2
    edit(noise, files={"additive.npy": sha256(noise / "additive.npy"), "curves.csv": sha256(noise / "curves.csv")})
    assert load_learned(load_sample(folder)).multiplicative is None  # another run's
    (noise / "additive.npy").unlink()
    path = folder / "run.json"
    assert load_learned(load_sample(folder)).missing.startswith(f"{path} names ../noise, found nowhere: ")


@pytest.mark.parametrize("name", ["additive.npy", "curves.csv"])
def test_changed_noise_is_named(folder, noise, name):
    edit(noise, files={file: sha256(noise / file) for file in ("additive.npy", "curves.csv")})
    load_learned(load_sample(folder))
    content = bytearray((noise / name).read_bytes())
    content[-2] ^= 1
    (noise / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"noise/{name}: not the file that .*run\.json lists"):
        load_learned(load_sample(folder))


def test_an_absolute_path_is_followed(folder, noise, tmp_path):
    shutil.move(folder, moved := tmp_path / "a" / "b" / "sample")
    assert "../noise, found nowhere" in load_learned(load_sample(moved)).missing
    edit(moved, "arguments", noise=str(noise))
    assert load_learned(load_sample(moved)).additive is not None


def test_noise_that_is_no_longer_there_is_said(folder, tmp_path):
    path = folder / "run.json"
    learned = load_learned(load_sample(folder))
    assert learned.missing == f"{path} names ../noise, found nowhere: how the noise was learned is not shown"
    assert learned.additive is learned.curves is None
    (tmp_path / "noise").touch()  # no folder
    assert "../noise, found nowhere" in load_learned(load_sample(folder)).missing
    edit(folder, "arguments", noise=None, additive="n.npy", multiplicative="w.npy")
    learned = load_learned(load_sample(folder))
    assert learned.missing.startswith(f"{path} names n.npy, w.npy, found nowhere: ")
    edit(folder, "arguments", additive=None, multiplicative=None)
    learned = load_learned(load_sample(folder))
    assert learned.missing == f"{path} names no noise, found nowhere: how the noise was learned is not shown"
    for flag in ("additive", "noise"):
        for value in ("x" * 5000, "\0", "~"):  # no file's name anywhere
            edit(folder, "arguments", **{flag: value})
            assert "found nowhere" in load_learned(load_sample(folder)).missing


def test_arrays_from_elsewhere_have_no_curves(folder, noise):
    (noise / "curves.csv").unlink()
    learned = load_learned(load_sample(folder))
    assert learned.additive is not None
    assert learned.missing == (
        f"no curves.csv and run.json in {folder / '../noise'}: "
        "this noise was not learned by step 1, so there are no training curves"
    )
    (noise / "run.json").unlink()
    assert load_learned(load_sample(folder)).additive is not None


def test_what_step_1_did_not_record_is_none(folder, noise):
    edit(noise, results={})
    learned = load_learned(load_sample(folder))
    assert learned.min_accuracy is learned.min_epochs is None
    edit(noise, arguments={"min_accuracy": 0.8})  # where records of before have it
    assert load_learned(load_sample(folder)).min_accuracy == 0.8


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
        (
            lambda noise: edit(noise, "results", **{"accuracy to exceed": "high"}),
            "run.json: found 'high' as the result 'accuracy to exceed', expected a number",
        ),
    ],
)
def test_damaged_noise_is_named(folder, noise, damage, named):
    damage(noise)
    with pytest.raises(InputError, match=re.escape(named)):
        load_learned(load_sample(folder))


def test_arguments_of_another_kind_are_named(folder, noise):
    for flag, value, kind in (("additive", 3, "str"), ("fresh", [], "str"), ("skip_rows", "1", "int"), ("noise", True, "str")):
        edit(folder, "arguments", noise=None, additive="../noise/additive.npy")
        edit(folder, "arguments", **{flag: value})
        with pytest.raises(InputError, match=re.escape(f"run.json: found {value!r} as the argument {flag}, expected {kind}")):
            load_learned(load_sample(folder))
        edit(folder, "arguments", **{flag: None})


@pytest.mark.parametrize("folder_alone", [False, True])
@pytest.mark.parametrize("method, names", [("fresh", ["fresh-form"]), ("distribution", ["distributions", "orders"])])
def test_methods_that_keep_no_tensors(folder, noise, method, names, folder_alone):
    (noise / "additive.npy").unlink()
    arrays = {
        "distributions": np.array([[0, 1], [0, 2]], np.float32),
        "orders": np.array([[0, 1, 2, 3], [3, 2, 1, 0]]),
        "fresh-form": np.array("linear"),
    }
    for name in names:
        np.save(noise / f"{name}.npy", arrays[name])
    flags = {"fresh": "../noise"} if method == "fresh" else {name: f"../noise/{name}.npy" for name in names}
    edit(folder, "arguments", **({} if folder_alone else {"noise": None} | flags))
    sample = load_sample(folder)
    learned = load_learned(sample)
    assert (learned.additive, learned.missing, learned.min_accuracy) == (None, "", 0.9)
    assert sample.formula == {"fresh": "mu + Q y", "distribution": "a + n"}[method]


@pytest.mark.parametrize("name", ["gaussian-scales", "dropout-kept"])
def test_a_defence_s_folder_is_found_with_its_curves(folder, noise, name):
    """Of any noise that a folder may hold: what it was learned by is shown."""
    (noise / "additive.npy").unlink()
    np.save(noise / f"{name}.npy", np.ones(4, np.float32))
    edit(folder, "results", **{"a' is": "w * a"})
    sample = load_sample(folder)
    learned = load_learned(sample)
    assert (learned.additive, learned.missing, learned.min_accuracy) == (None, "", 0.9) and sample.formula == "w * a"


def test_a_notebook_shows_one_line():
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    shell, shown = InteractiveShell(), []
    shell._showtraceback = lambda kind, error, lines: shown.extend(lines)
    shell.run_cell("from shredder.io.cli import InputError; raise InputError('x.npy: found this, expected that')")
    assert shown == ["error: x.npy: found this, expected that"]
