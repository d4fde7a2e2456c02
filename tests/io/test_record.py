"""Run records: what they say of paths, commit and machine, and that they say it anywhere."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import sample_mutual_info_lenet as sample
import train_noise_lenet as train
from shredder.io import provenance
from shredder.io.cli import InputError
from shredder.io.files import npy, sha256
from shredder.io.record import Record, path_in, read_record, require_intact

ROOT = Path(__file__).parents[2]


# Paths.


@dataclass(frozen=True)
class Arguments:
    additive: Path | None = None
    fresh: Path | None = None
    weights: Path = ROOT / "models" / "lenet-digit.safetensors"
    data_root: Path = Path("/data of this machine/mnist")
    output: Path = Path("out")


def written(folder, **fields):
    """The record of a run that wrote one array to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(Arguments(output=folder, **fields))
    record.write(folder / "run.json", {folder / "array.npy": npy(np.arange(3))}, {"rows": 3})
    return read_record(folder / "run.json")


@pytest.mark.parametrize("inside", [True, False], ids=["noise in the repository", "noise elsewhere"])
@pytest.mark.parametrize("flag", ["additive", "fresh"])
def test_a_path_leads_to_what_the_next_step_needs(tmp_path, monkeypatch, inside, flag):
    noise = (ROOT / "artifacts" if inside else tmp_path) / "lenet" / "noise"
    noise.mkdir(parents=True, exist_ok=True)
    named = noise / "additive.npy" if flag == "additive" else noise
    if not inside:
        (noise / "additive.npy").touch()
    found = written(tmp_path / "runs" / "sample", **{flag: named})["arguments"]
    assert not Path(found[flag]).is_absolute()
    monkeypatch.chdir(tmp_path)  # it does not matter where the next step is run
    path = path_in(tmp_path / "runs" / "sample" / "run.json", found[flag])
    assert path.samefile(named)
    assert path_in(tmp_path / "runs" / "sample" / "run.json", found["weights"]).samefile(Arguments.weights)


def test_a_folder_of_runs_may_be_moved(tmp_path):
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "additive.npy").touch()
    found = written(tmp_path / "sample", additive=tmp_path / "noise" / "additive.npy")["arguments"]
    assert found["additive"] == "../noise/additive.npy" and found["output"] == "."


def test_a_path_through_a_link(tmp_path):
    (tmp_path / "far" / "away" / "sample").mkdir(parents=True)
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "additive.npy").touch()
    (tmp_path / "near").symlink_to(tmp_path / "far" / "away")
    found = written(tmp_path / "near" / "sample", additive=tmp_path / "noise" / "additive.npy")["arguments"]
    assert path_in(tmp_path / "near" / "sample" / "run.json", found["additive"]).samefile(tmp_path / "noise" / "additive.npy")


def test_no_machines_folders():
    """Of what is in the repository, and of data sets wherever they are."""
    noise, sampled = ROOT / "artifacts" / "lenet" / "noise" / "additive.npy", ROOT / "artifacts" / "lenet" / "sample"
    text = Record(Arguments(additive=noise, output=sampled)).content({}, sampled, {}).decode()
    found = json.loads(text)["arguments"]
    assert found["additive"] == "../noise/additive.npy" and found["weights"] == "../../../models/lenet-digit.safetensors"
    assert found["data_root"] == ".../mnist" and str(ROOT) not in text and "this machine" not in text


def test_records_of_old_runs_are_relative_to_the_repository(tmp_path):
    record, noise = tmp_path / "run.json", "artifacts/lenet/noise/additive.npy"
    record.write_text(json.dumps({"arguments": {"additive": noise}, "results": {}}))
    assert path_in(record, noise) == ROOT / noise
    record.write_text(json.dumps({"arguments": {"additive": noise}, "results": {}, "files": {}}))
    assert path_in(record, noise) == tmp_path / noise


# Files.


def test_files_are_listed_with_their_digest(tmp_path):
    assert written(tmp_path)["files"] == {"array.npy": sha256(tmp_path / "array.npy")}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"3", b"[]", b"{}", b'{"arguments": {}, "results": [], "files": {}}', b"\xff\xfe{}"]
)
def test_a_damaged_record(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=r"run\.json: not (a|readable as a) run record") as error:
        read_record(tmp_path / "run.json")
    assert "\n" not in str(error.value)


def test_a_record_with_any_bit_flipped(tmp_path):
    """Read, or refused in one line; and an array that it lists is not taken for another."""
    written(tmp_path)
    content = (tmp_path / "run.json").read_bytes()
    for place in range(len(content)):
        (tmp_path / "run.json").write_bytes(content[:place] + bytes([content[place] ^ 2]) + content[place + 1 :])
        for read in (read_record, lambda path: require_intact(path.parent / "array.npy")):
            try:
                read(tmp_path / "run.json")
            except InputError as error:
                assert str(tmp_path) in str(error) and "\n" not in str(error)


def test_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(InputError, match=r"run\.json: no such file"):
        read_record(tmp_path / "run.json")


# Where a result comes from.


def git(*command, cwd):
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a"}
    subprocess.run(["git", *command], cwd=cwd, check=True, capture_output=True, env=os.environ | names)


@pytest.fixture
def users(tmp_path):
    """A repository of the user's own, with a commit."""
    git("init", cwd=tmp_path)
    git("commit", "--allow-empty", "-m", "theirs", cwd=tmp_path)
    return tmp_path


def test_sources_inside_another_repository(users, monkeypatch):
    (users / "suite").mkdir()
    monkeypatch.setattr(provenance, "REPOSITORY", users / "suite")
    assert provenance.commit() == (None, None)
    monkeypatch.setattr(provenance, "REPOSITORY", users.resolve())
    commit, dirty = provenance.commit()
    assert len(commit) == 40 and dirty is False


@pytest.mark.parametrize("variables", [("GIT_DIR",), ("GIT_DIR", "GIT_WORK_TREE")])
def test_git_is_told_of_another_repository(users, monkeypatch, variables):
    expected = provenance.commit()
    for name in variables:
        monkeypatch.setenv(name, str({"GIT_DIR": users / ".git", "GIT_WORK_TREE": ROOT}[name]))
    assert provenance.commit() == expected


@pytest.mark.parametrize(("platform", "ru_maxrss"), [("linux", 300 * 2**10), ("darwin", 300 * 2**20)])
def test_peak_memory_is_in_megabytes(monkeypatch, platform, ru_maxrss):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("resource.getrusage", lambda who: SimpleNamespace(ru_maxrss=ru_maxrss))
    assert provenance.peak_memory() == 300


def test_systems_without_resource(monkeypatch):
    """As Windows: nothing of Unix is imported before it is needed, and there is no peak then."""
    program = """if True:
        import sys
        import filelock, torch, torchvision, skimage.metrics  # which look by themselves
        for name in ("resource", "fcntl", "pwd", "termios"):
            sys.modules[name] = None
        import paper_figures, pretrain_alexnet
        from shredder import provenance
        assert provenance.peak_memory() is None
    """
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


# torch's default.


def test_the_default_dtype_decides_nothing(tmp_path):
    """Step 1, fresh noise, and step 2 with it: the same bits whatever the caller's default is, which stays."""
    found = []
    for dtype in (torch.float32, torch.float64):
        folder, callers = tmp_path / str(dtype), torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            small = {"epochs": 2, "min_epochs": 0, "min_accuracy": 0.0, "directions": 2}
            train.main(train.Arguments(method="fresh", form="saturated", output=folder / "noise", **small))
            sample.main(sample.Arguments(fresh=folder / "noise", n_samples=5, seed=0, output=folder / "sample"))
            assert torch.get_default_dtype() == dtype
        finally:
            torch.set_default_dtype(callers)
        found.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.npy")})
    assert len(found[0]) == 11 and found[0] == found[1]


@pytest.mark.parametrize("name", ["train_noise", "sample_mutual_info", "attack", "pretrain"])
def test_every_main_is_in_float32_and_claims_its_folder(tmp_path, name):
    """A file of the user's under the name of each script's record is refused, before anything is read."""
    for network in ("lenet", "alexnet"):
        script = __import__(f"{name}_{network}")
        for record in ("run.json", "lenet-digit.json", "alexnet-digit.json"):
            (tmp_path / record).write_text("the user's")
        with pytest.raises(InputError, match=r"\.json: not readable as a run record"):
            script.main(script.Arguments(output=tmp_path))
        assert script.main.__wrapped__.__wrapped__.__module__ == script.__name__
