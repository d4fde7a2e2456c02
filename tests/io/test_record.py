"""Run records: what they say of paths, commit and machine, and that they say it anywhere."""

import importlib
import inspect
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

import pretrain
import sample_mutual_info_lenet as sample
import train_noise_lenet as train
from shredder.attack import step as attack_step
from shredder.io import provenance
from shredder.io.cli import InputError
from shredder.io.files import npy, sha256
from shredder.io.record import Record, differences, digest, key, path_in, read_record, require_intact, require_whole
from shredder.learn import step as learn_step
from shredder.sample import step as sample_step

ROOT = Path(__file__).parents[2]


# Paths.


@dataclass(frozen=True)
class Arguments:
    task: str | Path = "lenet"
    noise: Path | None = None
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
@pytest.mark.parametrize("flag", ["noise", "additive", "fresh"])
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


def test_a_folder_of_runs_may_be_moved(tmp_path):
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "additive.npy").touch()
    found = written(tmp_path / "sample", additive=tmp_path / "noise" / "additive.npy")["arguments"]
    assert found["additive"] == "../noise/additive.npy" and found["output"] == "."


def test_a_task_of_ones_own_is_followed_and_a_name_stays_one(tmp_path):
    (tmp_path / "my_task.py").touch()
    found = written(tmp_path / "runs" / "noise", task=tmp_path / "my_task.py")["arguments"]
    assert found["task"] == "../../my_task.py"
    assert path_in(tmp_path / "runs" / "noise" / "run.json", found["task"]).samefile(tmp_path / "my_task.py")
    assert written(tmp_path / "runs" / "sample")["arguments"]["task"] == "lenet"


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


def test_no_repositorys_folder_from_outside(tmp_path):
    """A record that lies elsewhere says nothing of where the repository is, but for what a later step follows."""
    noise = ROOT / "artifacts" / "lenet" / "noise" / "additive.npy"
    found = written(tmp_path / "sample", additive=noise)["arguments"]
    assert found["weights"] == ".../lenet-digit.safetensors" and found["output"] == "."
    assert path_in(tmp_path / "sample" / "run.json", found["additive"]).samefile(noise)


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


def test_a_folder_is_whole_or_refused(tmp_path):
    written(tmp_path)
    require_whole(tmp_path)
    (tmp_path / "array.npy").write_bytes(npy(np.arange(4)))
    with pytest.raises(InputError, match=r"array\.npy: not the file that .*run\.json lists, for its SHA-256 differs"):
        require_whole(tmp_path)
    (tmp_path / "array.npy").unlink()
    with pytest.raises(InputError, match=r"array\.npy: no such file, though .*run\.json lists it"):
        require_whole(tmp_path)
    require_whole(tmp_path, but=["array.npy"])


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
        import filelock, torch, torchvision  # which look by themselves
        for name in ("resource", "fcntl", "pwd", "termios"):
            sys.modules[name] = None
        import paper_figures, pretrain, train_noise, sample_mutual_info, attack
        from shredder.io import provenance
        assert provenance.peak_memory() is None
    """
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


# What tells a run from others.


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Small sources in place of the suite's own, and what is said of them."""
    for name in ("shredder/io/a.py", "models/b.py", "tasks/c.py", "ite/d.py", "tests/e.py", "f.py", "shredder/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"of {name}")
    monkeypatch.setattr(provenance, "REPOSITORY", tmp_path)
    return tmp_path, provenance.code.__wrapped__  # found once by a process


@pytest.mark.parametrize("name", ["shredder/io/a.py", "models/b.py", "tasks/c.py", "ite/d.py"])
@pytest.mark.parametrize("change", ["changed", "removed", "renamed", "added"])
def test_other_code_has_another_digest(sources, name, change):
    folder, code = sources
    before, path = code(), folder / name
    if change == "changed":
        path.write_text("of something else")
    elif change == "removed":
        path.unlink()
    elif change == "renamed":
        path.rename(path.with_name("z.py"))
    else:
        path.with_name("z.py").touch()
    assert code() != before


@pytest.mark.parametrize("name", ["tests/e.py", "f.py", "shredder/notes.txt", "shredder/io/a.pyc"])
def test_what_decides_about_no_result_is_no_code(sources, name):
    folder, code = sources
    before = code()
    (folder / name).write_text("something else")
    assert code() == before


def test_a_key_names_arguments_contents_and_code(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"weights")
    second.write_bytes(b"other weights")

    @dataclass(frozen=True)
    class Run:
        seed: int = 0
        method: str = "fresh"
        weights: Path = first
        output: Path = tmp_path

    expected = key(Run(), [first], "inputs")
    found = json.loads(expected)
    assert found["flags"] == {"seed": 0, "method": "fresh"}
    assert found["weights and inputs"] == [sha256(first), "inputs"]
    assert found["code"] == provenance.code() and len(found["code"]) == 64
    # Not where files are, but what they hold.
    copy = tmp_path / "copy"
    copy.write_bytes(b"weights")
    assert key(Run(weights=copy, output=tmp_path / "elsewhere"), [copy], "inputs") == expected
    for other in (
        key(Run(seed=1), [first], "inputs"),
        key(Run(), [second], "inputs"),
        key(Run(), [first, first], "inputs"),
        key(Run(), [first], "other inputs"),
        key(Run(), [first], "inputs", only=["seed"]),
    ):
        assert other != expected
    assert key(Run(seed=1), [first], only=["method"]) == key(Run(), [first], only=["method"])
    monkeypatch.setattr(provenance, "code", lambda: "another's")
    assert key(Run(), [first], "inputs") != expected


def test_a_digest_is_of_all_elements():
    images, labels = torch.arange(12).view(3, 4), torch.tensor([1, 2, 3])
    expected = digest(images, labels)
    assert digest(images.clone(), labels) == expected == digest(images.T.contiguous().T, labels)
    for place in range(12):
        other = images.clone()
        other.view(-1)[place] += 1
        assert digest(other, labels) != expected
    assert digest(images, labels.flip(0)) != expected


# torch's default.


def test_the_default_dtype_decides_nothing(tmp_path, quick_digits):
    """Step 1, fresh noise, and step 2 with it: the same bits whatever the caller's default is, which stays."""
    found = []
    for dtype in (torch.float32, torch.float64):
        folder, callers = tmp_path / str(dtype), torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            small = {"images": 400, "epochs": 2, "min_epochs": 0, "min_accuracy": 0.0, "directions": 2}
            train.main(train.Arguments(method="fresh", form="saturated", output=folder / "noise", **small))
            sample.main(sample.Arguments(fresh=folder / "noise", n_samples=5, judged_on=50, seed=0, output=folder / "sample"))
            assert torch.get_default_dtype() == dtype
        finally:
            torch.set_default_dtype(callers)
        found.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.npy")})
    assert len(found[0]) == 7 + 5 and found[0] == found[1]


SCRIPTS = {
    "train_noise": [{"task": "lenet"}, {"task": "alexnet"}],
    "train_noise_lenet": [{}],
    "train_noise_alexnet": [{}],
    "sample_mutual_info": [{"task": "lenet"}, {"task": "alexnet"}],
    "sample_mutual_info_lenet": [{}],
    "sample_mutual_info_alexnet": [{}],
    "attack": [{"task": "lenet"}, {"task": "alexnet"}],
    "pretrain": [{"task": "lenet"}, {"task": "alexnet"}],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_main_claims_its_folder(tmp_path, monkeypatch, name):
    """A file of the user's under the name of each script's record is refused, before anything is read."""
    monkeypatch.setattr(Record, "__init__", lambda *_: pytest.fail("work began"))
    script = importlib.import_module(name)
    for record in ("run.json", "lenet-digit.json", "lenet-gt5.json", "alexnet-digit.json"):
        (tmp_path / record).write_text("the user's")
    for fields in SCRIPTS[name]:
        with pytest.raises(InputError, match=r"\.json: not readable as a run record"):
            script.main(script.Arguments(output=tmp_path, **fields))


@pytest.mark.parametrize("module", [learn_step, sample_step, attack_step, pretrain], ids=lambda module: module.__name__)
def test_all_work_is_in_float32(module, monkeypatch):
    """What runs inside the claimed folder sets it, whatever the caller's default is, which comes back."""
    seen = []

    def begun(*_):
        seen.append(torch.get_default_dtype())
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "Record", begun)
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(KeyboardInterrupt):
            module._run(*[None] * len(inspect.signature(module._run).parameters))
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert seen == [torch.float32]


# Keys.


def test_in_what_keys_differ(monkeypatch):
    args = Arguments(task="lenet")
    of_run, here = key(args, [args.weights], "a"), key(Arguments(task="alexnet"), [args.weights], "b")
    assert differences(of_run, here) == "--task lenet (here alexnet), other weights or inputs"
    monkeypatch.setattr(provenance, "code", lambda: "of tomorrow")
    assert differences(of_run, key(args, [args.weights], "a")) == "other code"
    assert differences("of another program", here) == differences(of_run, f"{of_run} ") == "another key"
