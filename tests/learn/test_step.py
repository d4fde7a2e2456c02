"""Step 1 for a task of a user's own: what it writes, what it goes on from, and that named scripts are the same step."""

import json
import shutil

import numpy as np
import pytest
import torch

import train_noise
import train_noise_alexnet
import train_noise_lenet
from shredder.inputs.activations import note_of
from shredder.io.cli import InputError
from shredder.io.files import sha256
from shredder.learn import step
from shredder.learn.flags import METHODS
from shredder.learn.members import Learning
from tasks import alexnet, lenet

LOGS = {"training.csv", "curves.csv", "run.json"}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def own(tiny_task, tmp_path):
    """The task in a folder of this test's own, which may change it."""
    shutil.copytree(tiny_task.parent, tmp_path / "own", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "own" / tiny_task.name


@pytest.fixture
def mapped(monkeypatch):
    """Activations go to a file."""
    monkeypatch.setattr("shredder.inputs.activations._BYTES_IN_MEMORY", 0)


def interrupted(monkeypatch, args, call=2):
    """Somebody presses Ctrl-C in this epoch, counted from 1."""
    usual, calls = Learning.epoch, []

    def epoch(self):
        calls.append(self)
        if len(calls) == call:
            raise KeyboardInterrupt
        usual(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shredder.learn.run._SECONDS_BETWEEN_CHECKPOINTS", -1)
        patch.setattr(Learning, "epoch", epoch)
        train_noise.main(args)


def test_the_record_says_what_it_was_learned_for(tiny_noise, tiny_task):
    """What step 2 and the attack are handed over: no more than the folder."""
    record = json.loads((tiny_noise / "run.json").read_text())
    arguments, results = record["arguments"], record["results"]
    assert (tiny_noise / arguments["task"]).samefile(tiny_task)
    found = [arguments[name] for name in ("dataset", "public_labels", "cutting_point", "method", "recipe", "scale", "members")]
    assert found == ["quarters", "half", "relu", "additive", "suite", 2.0, 3]
    assert results["task"] == "tiny" and results["draw"] == "elementwise-laplace"
    assert results["weights (SHA-256)"] == sha256(tiny_task.with_name("half.pt"))
    assert record["files"].keys() == {"additive.npy"} | LOGS - {"run.json"}


def test_the_first_tenth_is_held_out_and_decides_what_is_exceeded(tiny_noise):
    """The clean network reads the half of all of them; the task allows 0.9 less."""
    results = json.loads((tiny_noise / "run.json").read_text())["results"]
    assert results["accuracy to exceed"] == pytest.approx(0.1)
    log = np.genfromtxt(tiny_noise / "training.csv", delimiter=",", names=True)
    assert {round(20 * accuracy, 6) % 1 for accuracy in log["accuracy"]} == {0}  # of twenty of 200 images


# Named scripts.


def test_a_named_script_is_the_same_step(tmp_path, quick_digits):
    fields = {"members": 2, "parallel": 2, "epochs": 2, "min_epochs": 0, "min_accuracy": 0.0}
    train_noise_lenet.main(train_noise_lenet.Arguments(output=tmp_path / "named", **fields))
    train_noise.main(train_noise.Arguments(task="lenet", output=tmp_path / "any", **fields))
    assert files(tmp_path / "named") == files(tmp_path / "any")
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("named", "any")]
    assert records[0]["arguments"] == records[1]["arguments"] and records[0]["results"] == records[1]["results"]


@pytest.mark.parametrize("method", [None, *METHODS])
@pytest.mark.parametrize(("script", "task"), [(train_noise_lenet, lenet.task), (train_noise_alexnet, alexnet.task)])
def test_a_named_script_has_the_same_defaults(script, task, method):
    named, any_task = script.Arguments(method=method), train_noise.Arguments(task=task.name, method=method)
    assert vars(step.with_defaults(task, named)) == vars(step.with_defaults(task, any_task))


# One folder, another method.


def test_what_another_method_has_left_does_not_stay(own, tmp_path, monkeypatch):
    monkeypatch.setattr("shredder.learn.defences._UPDATES", 50)
    of_fresh = ("form", "readings", "directions", "additive", "offsets", "limits", "scales")
    expected = {
        "self-supervised": {"additive.npy", "multiplicative.npy"},
        "distribution": {"distributions.npy", "orders.npy"},
        "fresh": {f"fresh-{name}.npy" for name in of_fresh},
        "additive": {"additive.npy"},
        **{method: {"gaussian-scales.npy", "gaussian-additive.npy"} for method in ("isotropic", "cloak")},
        "isotropic-laplace": {"additive.npy"},
        "pac": {f"fresh-{name}.npy" for name in of_fresh},
        **{method: {"dropout-kept.npy"} for method in ("dropout", "none")},
    }
    assert expected.keys() == METHODS.keys()
    for method in expected:
        small = {"members": 2} if method in ("self-supervised", "distribution", "additive") else {"members": 1}
        small |= {"directions": 2, "max_accuracy_loss": 0.99} if method == "fresh" else {}
        more = {"max_sse": 1e3, "max_accuracy_loss": 0.99} if method == "distribution" else {}
        train_noise.main(train_noise.Arguments(task=own, method=method, output=tmp_path / "noise", **small | more))
        assert names(tmp_path / "noise") == expected[method] | LOGS


# Interrupted.


def test_private_activations_are_found_again_and_removed(own, tmp_path, monkeypatch, mapped, edge):
    """With mapped activations of both networks, and a checkpoint: the bits of a run without a break."""
    fields = {"method": "distribution", "private_labels": True, "cutting_point": "conv", "max_sse": 1e3, "min_epochs": 2}
    whole = train_noise.Arguments(task=own, output=tmp_path / "whole", **fields)
    train_noise.main(whole)
    assert sum(edge) == 200 + 50 + 200
    args = train_noise.Arguments(task=own, output=tmp_path / "noise", **fields)
    interrupted(monkeypatch, args)
    mine = {*step.ACTIVATIONS, *(note_of(tmp_path / name).name for name in step.ACTIVATIONS)}
    assert names(tmp_path / "noise") == mine | {"checkpoint.pt", ".claim.json"}
    edge.clear()
    train_noise.main(args)
    assert edge == [] and files(tmp_path / "noise") == files(tmp_path / "whole")
    assert names(tmp_path / "noise") == {"distributions.npy", "orders.npy"} | LOGS


@pytest.mark.parametrize("changed", ["half.pt", "my_task.py"])
def test_nothing_is_gone_on_from_after_the_task_has_changed(own, tmp_path, monkeypatch, mapped, edge, changed):
    """Its weights or its own file: activations are computed anew, and a checkpoint is refused."""
    args = train_noise.Arguments(task=own, min_epochs=2, output=tmp_path / "noise")
    interrupted(monkeypatch, args)
    path = own.with_name(changed)
    if changed == "my_task.py":
        path.write_text(path.read_text() + "# changed\n")
    else:
        state = torch.load(path, weights_only=True)
        state["fc.bias"][0] += 1e-3
        torch.save(state, path)
    edge.clear()
    with pytest.raises(InputError, match="of an unfinished run with other weights or inputs; finish"):
        train_noise.main(args)
    assert sum(edge) == 250


def test_an_accuracy_out_of_reach_leaves_the_logs_alone(own, tmp_path, mapped):
    args = train_noise.Arguments(task=own, scale=1e4, min_accuracy=0.999, epochs=1, output=tmp_path / "noise")
    with pytest.raises(InputError, match=r"^--min-accuracy 0\.999: \d members missed it within 1 epochs"):
        train_noise.main(args)
    assert names(tmp_path / "noise") == {"training.csv", "curves.csv", ".claim.json"}
