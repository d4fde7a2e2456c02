"""Step 0: what is learned from, what is judged on, what is written; and settings that do not fit."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import pretrain
from shredder.inputs.images import held_out, random_order
from shredder.io.cli import InputError
from shredder.task import Dataset, Labels, Pretraining, Task, tensors

CLASSES = 3


def read(folder, part):
    """Grey 4 x 4 pixels, as bright as their class."""
    classes = torch.arange({"train": 120, "test": 30}[part]) % CLASSES
    return (classes.float() / CLASSES).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous(), classes


def rows(folder):
    inputs, classes = read(folder, "train")
    learned = random_order(len(classes))[held_out(len(classes)) :]
    return (255 * inputs[learned]).to(torch.uint8), classes[learned]


def network():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES), nn.LogSoftmax(1)
    )


@pytest.fixture
def task(tmp_path, monkeypatch):
    how = Pretraining(
        network,
        rows,
        lambda pixels: pixels / 255,
        settings={"epochs": 30, "batch_size": 20, "learning_rate": 0.05, "weight_decay": 0.0},
    )
    labels = {"shade": Labels(lambda path: network(), lambda: tmp_path / "shade.safetensors")}
    task = Task("shades", {"1": (16,)}, {"grey": Dataset(tensors(read), ("shade",), 128)}, labels, pretraining={"shade": how})
    monkeypatch.setattr(pretrain, "read_task", lambda name: task)
    return task


def run(folder, **flags):
    pretrain.main(pretrain.Arguments("shades", output=folder, **flags))
    return json.loads((folder / "shade.json").read_text())["results"], load_file(folder / "shade.safetensors")


def test_learns_and_keeps_half_precision(tmp_path, task):
    results, weights = run(tmp_path / "a")
    assert results == {"training images": 108, "parameters": 16 * 17 + 32 + 17 * 3, "accuracy on grey's test set": 1.0}
    assert weights["1.weight"].dtype == torch.float16 and weights["2.num_batches_tracked"] == 30 * 6
    assert all(torch.equal(value, run(tmp_path / "a")[1][name]) for name, value in weights.items())  # same seed, same bits


def test_judges_on_held_out_rows(tmp_path, task):
    results, _ = run(tmp_path / "a", judge_held_out=True, epochs=1)
    assert list(results)[-1] == "accuracy on grey's held-out images"


def test_some_images(tmp_path, task):
    assert run(tmp_path / "a", images=40, epochs=1)[0]["training images"] == 40


def test_the_callers_generator_is_left_alone(tmp_path, task):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    run(tmp_path / "a", epochs=1)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"public_labels": "colour"}, "--public-labels: found colour, expected shade"),
        ({"epochs": 0}, "--epochs: found 0, expected at least 1"),
        ({"label_smoothing": -0.1}, "--label-smoothing: found -0.1, expected at least 0"),
    ],
)
def test_what_does_not_fit(tmp_path, task, flags, message):
    with pytest.raises(InputError, match=message):
        run(tmp_path / "a", **flags)


def test_a_task_without_weights_of_its_own(tmp_path):
    with pytest.raises(InputError, match="--task imagenet-resnet18: it says nothing of pretraining"):
        pretrain.main(pretrain.Arguments("imagenet:resnet18", output=tmp_path))


@pytest.mark.parametrize(
    "name, labels",
    [
        ("lenet", "gt5"),
        ("alexnet", "imagenette"),
        ("cifar10", "classes"),
        ("speech", "speaker"),
        ("newsgroups", "group"),
    ],
)
def test_every_task_of_ours_says_how(name, labels):
    """A batch of pixels becomes what its network takes."""
    task = pretrain.read_task(name)
    how = task.pretraining[labels]
    shapes = {"lenet": (28, 28), "alexnet": (3, 160, 160), "cifar10": (3, 32, 32), "speech": (64, 64), "newsgroups": (8192,)}

    batch = how.augment(how.inputs(torch.zeros(2, *shapes[name], dtype=torch.uint8)), rng=np.random.default_rng(0))
    with torch.no_grad():
        assert how.network().eval()(batch).exp().sum(1).allclose(torch.ones(2))
    assert how.settings.keys() <= vars(pretrain.Arguments(name)).keys() and labels in task.labels
