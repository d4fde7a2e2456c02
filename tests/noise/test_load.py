"""A folder that step 1 hands over: what its record lists is read, and what does not fit is refused in a line."""

import json
import re
from pathlib import Path

import pytest
import torch

from shredder.io.cli import InputError
from shredder.io.files import sha256, write_together
from shredder.io.record import RECORD
from shredder.noise.flags import NoiseArguments, handed, noise_files, source_of
from shredder.noise.load import KINDS, load_folder, names_of_files
from shredder.noise.protocol import Stored
from shredder.noise.stored import Collection, Distributions
from tests.noise.test_stored import SHAPE, STORED, N

every_kind = pytest.mark.parametrize("name", STORED)


def folder_of(folder: Path, stored: Stored, arguments: dict | None = None, command: str = "train_noise.py", **results) -> Path:
    """`stored` as step 1 writes it, with its record."""
    files = stored.files(folder)
    write_together(files)
    record = {
        "command": command,
        "arguments": {"task": "lenet", "public_labels": "gt5", "cutting_point": "relu5"} if arguments is None else arguments,
        "results": {"draw": stored.rules[0], "weights (SHA-256)": "ab"} | results,
        "files": {path.name: sha256(path) for path in files},
    }
    (folder / RECORD).write_text(json.dumps(record))
    return folder


def edit(folder: Path, **changes) -> None:
    record = json.loads((folder / RECORD).read_text()) | changes
    (folder / RECORD).write_text(json.dumps({name: value for name, value in record.items() if value is not None}))


def assert_same(found: Stored, expected: Stored) -> None:
    assert type(found) is type(expected) and found.files(Path()) == expected.files(Path())


def test_every_kind_has_a_file_that_tells_it_apart():
    names = names_of_files()
    assert len(set(names)) == len(names)
    assert {kind.NAMES[0] for kind in KINDS} == {
        *("fresh-form.npy", "distributions.npy", "additive.npy"),
        *("gaussian-scales.npy", "dropout-kept.npy"),
    }


@every_kind
def test_a_folder_is_all_that_is_needed(name, tmp_path):
    """As flags that name its files one by one, where there are such flags."""
    folder = folder_of(tmp_path / "noise", STORED[name])
    assert_same(source_of(NoiseArguments(noise=folder), SHAPE), STORED[name])
    files = sorted(folder.glob("*.npy"))
    assert noise_files(NoiseArguments(noise=folder)) == files
    single = {"fresh": folder} if STORED[name].rules == ("fresh",) else {path.stem: path for path in files}
    if name in ("gaussian", "dropout"):  # they come in a folder alone
        return
    assert_same(source_of(NoiseArguments(**single), SHAPE), STORED[name])
    assert sorted(noise_files(NoiseArguments(**single))) == files


@every_kind
def test_what_the_record_says(name, tmp_path):
    found = handed(folder_of(tmp_path, STORED[name]))
    assert (found.task, found.public_labels, found.cutting_point, found.weights) == ("lenet", "gt5", "relu5", "ab")
    assert found.rule == STORED[name].rules[0]
    assert found.names == {path.name: sha256(path) for path in tmp_path.glob("*.npy")}


def test_a_task_of_ones_own_is_found_from_the_folder(tmp_path):
    folder = folder_of(tmp_path / "runs" / "noise", STORED["tensors"], {"task": "../../mine.py"})
    assert handed(folder).task.resolve() == tmp_path / "mine.py"


@pytest.mark.parametrize("script", ["lenet", "alexnet"])
def test_records_of_before_tasks(tmp_path, script):
    """They name a script, list no files, and say nothing of the rule."""
    folder = folder_of(tmp_path, STORED["pairs"], {}, f"train_noise_{script}.py")
    edit(folder, files=None, results={})
    found = handed(folder)
    assert (found.task, found.public_labels, found.cutting_point, found.weights, found.rule) == (script, *[None] * 4)
    assert set(found.names) == {"additive.npy", "multiplicative.npy"}
    assert_same(source_of(NoiseArguments(noise=folder), SHAPE), STORED["pairs"])


def test_a_stray_file_is_not_the_runs(tmp_path):
    """Multiplicative tensors that lie beside what the record lists would be noise that nobody has learned."""
    folder = folder_of(tmp_path, STORED["tensors"])
    write_together({path: content for path, content in STORED["pairs"].files(folder).items() if "multi" in path.name})
    write_together({path: content for path, content in STORED["linear"].files(folder).items() if "form" in path.name})
    assert_same(source_of(NoiseArguments(noise=folder), SHAPE), STORED["tensors"])


@pytest.mark.parametrize("name", ["pairs", "tensors", "distributions"])
def test_leading_rows_may_be_left_out(name, tmp_path):
    folder = folder_of(tmp_path, STORED[name])
    found, whole = source_of(NoiseArguments(noise=folder, skip_rows=2), SHAPE), STORED[name]
    assert len(found) == N - 2
    expected = (
        Distributions(whole.parameters[2:], whole.orders[2:], SHAPE)
        if name == "distributions"
        else Collection(None if whole.multiplicative is None else whole.multiplicative[2:], whole.additive[2:])
    )
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("tensors", {"skip_rows": N}, f"--skip-rows: found {N}, expected 0 to {N - 1}, for .*additive.npy has {N} rows"),
        ("distributions", {"skip_rows": -1}, f"--skip-rows: found -1, expected 0 to {N - 1}"),
        ("linear", {"skip_rows": 1}, "--skip-rows: found 1, expected 0, for this noise has no members"),
        ("tensors", {"additive": Path("x.npy")}, "--noise: found --additive beside it; expected one or the other"),
        ("tensors", {"fresh": Path("x")}, "--noise: found --fresh beside it; expected one or the other"),
    ],
)
def test_flags_beside_a_folder(tmp_path, name, arguments, message):
    with pytest.raises(InputError, match=f"^{message}"):
        source_of(NoiseArguments(noise=folder_of(tmp_path, STORED[name]), **arguments), SHAPE)


@pytest.mark.parametrize("beside", [{"additive": Path("x.npy")}, {"skip_rows": 1}])
def test_fresh_noise_beside_other_noise(tmp_path, beside):
    folder = folder_of(tmp_path, STORED["linear"])
    with pytest.raises(InputError, match=r"^--fresh: found other noise or --skip-rows beside it; expected one or the other"):
        source_of(NoiseArguments(fresh=folder, **beside), SHAPE)


@every_kind
def test_damage_is_noticed(name, tmp_path):
    """A byte that changed, or a file that is gone; in each of the files."""
    for number, file in enumerate(sorted(STORED[name].files(Path()))):
        folder = folder_of(tmp_path / str(number), STORED[name])
        content = bytearray((folder / file).read_bytes())
        content[-1] ^= 1
        (folder / file).write_bytes(content)
        for args in (NoiseArguments(noise=folder), NoiseArguments(fresh=folder) if name == "linear" else None):
            if args is not None:
                with pytest.raises(InputError, match=f"^{re.escape(str(folder / file))}: not the file that .*SHA-256 differs"):
                    source_of(args, SHAPE)
        (folder / file).unlink()
        with pytest.raises(InputError, match=f"^{re.escape(str(folder / file))}: no such file, though .*{RECORD} lists it"):
            source_of(NoiseArguments(noise=folder), SHAPE)


@every_kind
def test_noise_of_another_shape(name, tmp_path):
    folder = folder_of(tmp_path, STORED[name])
    with pytest.raises(InputError, match=r"--(additive|multiplicative|orders|fresh|noise) .*: found .*, expected"):
        source_of(NoiseArguments(noise=folder), (3, 2, 2))


def test_folders_that_hold_no_noise(tmp_path):
    with pytest.raises(InputError, match=f"^{tmp_path / RECORD}: no such file, expected a run record"):
        source_of(NoiseArguments(noise=tmp_path), SHAPE)
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(InputError, match=f"^{tmp_path / RECORD}: not readable as a run record"):
        source_of(NoiseArguments(noise=tmp_path), SHAPE)
    # What step 2 has written has a record, and no noise.
    (tmp_path / RECORD).write_text(json.dumps({"arguments": {}, "results": {}, "files": {}}))
    message = f"^--noise {tmp_path}: found no noise .*, expected one of fresh-form.npy, distributions.npy, additive.npy"
    with pytest.raises(InputError, match=message):
        source_of(NoiseArguments(noise=tmp_path), SHAPE)
    with pytest.raises(InputError, match=message):
        load_folder(tmp_path, {"draws.csv": ""}, SHAPE)


def bad(name: str, **changes) -> Stored:
    """Fresh noise with other fields."""
    return type(STORED[name])(**vars(STORED[name]) | changes)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (bad("linear", form="cubic"), "fresh-form.npy: found 'cubic', expected one of linear, saturated, quantised, flipped"),
        (bad("linear", limits=torch.ones(3)), "fresh-limits.npy: found finite limits, expected infinite ones"),
        (bad("saturated", limits=torch.full((3,), torch.inf)), "fresh-limits.npy: found NaN or infinity, expected finite"),
        (bad("quantised", limits=torch.tensor([1.0, 0, 1])), "fresh-limits.npy: found 0.0, expected numbers above 0"),
        (bad("linear", scales=torch.tensor([1.0, -2, 1])), "fresh-scales.npy: found -2.0, expected numbers above 0"),
        (bad("linear", scales=torch.ones(2)), r"fresh-scales.npy: found float32 \(2,\), expected float32 \(3,\)"),
        (bad("linear", offsets=torch.ones(3).double()), r"fresh-offsets.npy: found float64 \(3,\), expected float32 \(3,\)"),
        (bad("linear", directions=torch.ones(8, 3)), "fresh-directions.npy: found other columns, expected orthonormal ones"),
        (bad("linear", readings=torch.ones(7, 3)), r"fresh-readings.npy: found float32 \(7, 3\), expected float32 \(8, 3\)"),
        (bad("linear", additive=torch.full(SHAPE, torch.nan)), "fresh-additive.npy: found NaN or infinity, expected finite"),
    ],
)
def test_fresh_noise_that_makes_no_sense(tmp_path, stored, message):
    write_together(stored.files(tmp_path))
    for args in (NoiseArguments(fresh=tmp_path), NoiseArguments(noise=folder_of(tmp_path, stored))):
        with pytest.raises(InputError, match=f"^--fresh {tmp_path}/{message}"):
            source_of(args, SHAPE)
