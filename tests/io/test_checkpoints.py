"""Checkpoints: what a run goes on from is what was written, by a run with the same arguments and inputs."""

import dataclasses
import io
import re
import shutil

import numpy as np
import pytest
import torch

import train_noise_lenet as train
from models.lenet import pretrained_lenet
from shredder.inputs.images import random_order
from shredder.io import checkpoints, provenance
from shredder.io.cli import InputError
from shredder.learn.fresh import FreshLearning
from shredder.learn.members import Learning

pytestmark = pytest.mark.usefixtures("quick_digits")
SMALL = {
    "self-supervised": {"images": 400, "members": 2, "parallel": 2, "epochs": 9, "min_epochs": 3, "min_accuracy": 0.0},
    "fresh": {"images": 400, "form": "saturated", "directions": 4, "epochs": 9, "min_epochs": 3, "min_accuracy": 0.0},
}


@pytest.fixture(autouse=True)
def a_checkpoint_an_epoch(monkeypatch):
    monkeypatch.setattr("shredder.learn.run._SECONDS_BETWEEN_CHECKPOINTS", -1)


def arguments(output, method="self-supervised", **fields):
    return train.Arguments(method=method, output=output, **SMALL[method] | fields)


def interrupt(args, epoch=4):
    """Somebody presses Ctrl-C in this epoch, counted from 1."""
    owner, calls = FreshLearning if args.method == "fresh" else Learning, []
    usual = owner.epoch

    def interrupted(self):
        calls.append(self)
        if len(calls) == epoch:
            raise KeyboardInterrupt
        usual(self)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, "epoch", interrupted)
        train.main(args)


def results(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".npy", ".csv")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, quick_digits):
    """What runs without a break write."""
    found = {}
    for method in SMALL:
        folder = tmp_path_factory.mktemp(method)
        train.main(arguments(folder, method))
        found[method] = results(folder)
    return found


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory, quick_digits):
    """Folders of interrupted runs, with two checkpoints each; for tests to copy."""
    folders = {method: tmp_path_factory.mktemp(method) for method in SMALL}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shredder.learn.run._SECONDS_BETWEEN_CHECKPOINTS", -1)
        for method, folder in folders.items():
            interrupt(arguments(folder, method))
    return folders


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"damaged", saved({}), saved([1]), b"kept by the Shredder suite, SHA-256 "])
def test_no_checkpoint_that_can_be_read(tmp_path, unfinished, content):
    shutil.copytree(unfinished["self-supervised"], tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoint-before.pt").unlink()
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'checkpoint.pt'}: not a checkpoint of this suite, or dam")):
        train.main(arguments(tmp_path))
    assert (tmp_path / "checkpoint.pt").read_bytes() == content


@pytest.mark.parametrize("method", SMALL)
@pytest.mark.parametrize("place", [0.0, 0.5, None], ids=str)
def test_one_flipped_bit(tmp_path, capsys, unfinished, whole, method, place):
    """Anywhere in the latest checkpoint: it is named, and the one before it leads to the bits of a run without a break."""
    shutil.copytree(unfinished[method], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    if place is None:
        content = content[:-100]
    else:
        content[int(place * len(content))] ^= 4
    path.write_bytes(content)
    train.main(arguments(tmp_path, method))
    assert f"{path}: damaged, for its SHA-256 differs; going on from the one before it" in capsys.readouterr().out
    assert results(tmp_path) == whole[method]
    assert not list(tmp_path.glob("*.pt")) and not (tmp_path / ".claim.json").exists()


def with_nan(state):
    """A state with NaN in one of its tensors."""
    members = state.get("active") or state["parameters"]
    next(tensor for tensor in members.values() if tensor.is_floating_point()).view(-1)[3] = np.nan
    return state


BROKEN = {
    "empty": lambda state, other: {},
    "a number": lambda state, other: 3,
    "a tensor": lambda state, other: torch.zeros(3),
    "another method's": lambda state, other: other,
    "NaN": lambda state, other: with_nan(state),
    "NaN in the curves": lambda state, other: state | {"curves": [(np.nan,) * len(row) for row in state["curves"]]},
    "rows of another width": lambda state, other: state | {"curves": [(1, 2)]},
    "no generator": lambda state, other: state | {"rng": "{}"},
    "no JSON": lambda state, other: state | {"rng": "PCG64"},
    "members of another shape": lambda state, other: {
        name: {k: v[..., None] if isinstance(v, torch.Tensor) else v for k, v in part.items()}
        if isinstance(part, dict)
        else part
        for name, part in state.items()
    },
    "fewer of some tensors": lambda state, other: (
        state | {name: dict(list(part.items())[:-1]) for name, part in state.items() if isinstance(part, dict)}
    ),
}


@pytest.mark.parametrize("method", SMALL)
@pytest.mark.parametrize("kind", BROKEN)
def test_another_state_of_the_right_arguments(tmp_path, unfinished, method, kind):
    shutil.copytree(unfinished[method], tmp_path, dirs_exist_ok=True)
    found = {name: checkpoints._state(folder / "checkpoint.pt") for name, folder in unfinished.items()}
    key, state = found[method]
    ((_, other),) = (found[name] for name in SMALL if name != method)
    folder = tmp_path
    (folder / "checkpoint.pt").unlink()
    checkpoints.write(folder, key, BROKEN[kind](state, other))
    before = (folder / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match=r"checkpoint\.pt: not the state of such a run \(.+\); remove it") as error:
        train.main(arguments(folder, method))
    assert "\n" not in str(error.value) and (folder / "checkpoint.pt").read_bytes() == before


def test_other_arguments(tmp_path, unfinished):
    shutil.copytree(unfinished["self-supervised"], tmp_path, dirs_exist_ok=True)
    unfinished = (tmp_path / "checkpoint.pt").read_bytes()
    default = {"seed": 0, "min_accuracy": 0.0, "batch_size": 256}
    for other in ({"seed": 1}, {"min_accuracy": 0.5}, {"batch_size": 40, "seed": 1}):
        with pytest.raises(InputError) as error:
            train.main(arguments(tmp_path, **other))
        named = [f"--{name.replace('_', '-')} {default[name]} (here {value})" for name, value in other.items()]
        assert f"{tmp_path / 'checkpoint.pt'}: of an unfinished run with {', '.join(named)}; finish" in str(error.value)
        assert "--output" in str(error.value)
        # The other run's work is not lost.
        assert (tmp_path / "checkpoint.pt").read_bytes() == unfinished


@pytest.mark.parametrize("changed", ["train_images", "train_labels"])
def test_other_inputs(tmp_path, unfinished, mnist_5k, monkeypatch, changed):
    """One pixel, or one label, of the digits that are learned from: of the first in their order."""
    shutil.copytree(unfinished["self-supervised"], tmp_path, dirs_exist_ok=True)
    tensor = getattr(mnist_5k, changed).clone()
    tensor[random_order(len(tensor))[0]].view(-1)[0] += 1
    monkeypatch.setattr("tasks.lenet.load_digits", lambda *_: dataclasses.replace(mnist_5k, **{changed: tensor}))
    with pytest.raises(InputError, match="of an unfinished run with other weights or inputs; finish"):
        train.main(arguments(tmp_path))


def test_other_weights(tmp_path, unfinished):
    """Of the same name in another folder, one of them changed by a millionth."""
    shutil.copytree(unfinished["self-supervised"], tmp_path, dirs_exist_ok=True)
    weights = pretrained_lenet(2).state_dict()
    weights["fc.f6.bias"][0] += 1e-6
    torch.save(weights, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="of an unfinished run with other weights or inputs; finish"):
        train.main(arguments(tmp_path, weights=tmp_path / "weights.pt"))


@pytest.mark.parametrize("method", SMALL)
def test_other_code(tmp_path, unfinished, monkeypatch, method):
    """What one version has half learned, another does not finish."""
    shutil.copytree(unfinished[method], tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(provenance, "code", lambda: "of tomorrow")
    with pytest.raises(InputError, match="of an unfinished run with other code; finish") as error:
        train.main(arguments(tmp_path, method))
    assert "\n" not in str(error.value)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_killed_between_two_checkpoints(tmp_path, unfinished, whole):
    """Where the latest has become the one before it, and the new one has no name yet."""
    shutil.copytree(unfinished["self-supervised"], tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoint.pt").replace(tmp_path / "checkpoint-before.pt")
    train.main(arguments(tmp_path))
    assert results(tmp_path) == whole["self-supervised"]
