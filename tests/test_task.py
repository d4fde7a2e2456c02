"""Tasks: the files in tasks/ and a user's own, what they promise of their networks, and every way in which a file is none."""

import os
import re
from pathlib import Path

import pytest
import torch

from shredder.attack import step as attack
from shredder.io.cli import InputError
from shredder.io.files import sha256
from shredder.learn import step as learn
from shredder.noise.flags import handed
from shredder.sample import step as sample
from shredder.split import SplitNetwork
from shredder.task import Task, grey, read_task, same

ROOT = Path(__file__).parents[1]
NAMES = ["alexnet", "cifar10", "lenet", "newsgroups", "speech", "svhn"]
FOR_ANY_NETWORK = ["imagenet:resnet18", "imagenet:mobilenet_v2"]


def test_all_of_them_are_asked():
    files = {path.stem for path in (ROOT / "tasks").glob("*.py")} - {"__init__"}
    assert files == {name.partition(":")[0] for name in NAMES + FOR_ANY_NETWORK} | {"arrays"}  # of tests/test_arrays.py


# What a task promises.


@pytest.mark.parametrize("name", NAMES + FOR_ANY_NETWORK)
def test_names_lead_somewhere(name):
    """From one part of a task to another, to flags that steps have, and to the folder of its file."""
    task = read_task(name)
    assert task.name == name.replace(":", "-") and set(task.shipped) <= set(task.labels)
    for dataset in task.datasets.values():
        assert dataset.labels and set(dataset.labels) <= set(task.labels) and dataset.input_bits > 0
        assert dataset.sample.keys() <= vars(sample.Arguments()).keys()
        assert dataset.attack.keys() <= vars(attack.Arguments()).keys()
    for labels in task.labels.values():
        assert labels.private is None or task.labels[labels.private].private is None
    preset = learn.Arguments(task=name, method=task.method, dataset=next(iter(task.datasets)))
    assert task.learn(preset).keys() <= vars(preset).keys()


@pytest.mark.parametrize("name", NAMES)
def test_networks_send_what_the_task_says(name, quick_digits, request):
    task = read_task(name)
    dataset = next(iter(task.datasets.values()))
    root = Path("data") if name in ("alexnet", "lenet") else request.getfixturevalue(f"small_{name}")
    images = dataset.load(root, {"test": 2})["test"]
    pixels = torch.as_tensor(images.make([0, 1]))
    assert tuple(pixels.shape[1:]) == images.shape
    for labels in (task.labels[label] for label in dataset.labels):
        network = labels.network(labels.weights())
        assert set(labels.public(images.labels).tolist()) <= set(range(network(pixels).shape[1]))
        for cutting_point, shape in task.cutting_points.items():
            split = SplitNetwork(network, cutting_point)
            assert tuple(split.activations(pixels).shape[1:]) == shape
    if task.pictures is None:
        return
    pictures = task.pictures(pixels)
    assert pictures.dtype == torch.float32 and pictures.dim() == 3 and 0 <= pictures.min() <= pictures.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shipped_was_learned_for_the_task(name):
    task = read_task(name)
    for label, folder in task.shipped.items():
        found = handed(folder)
        assert found.name in (None, name) and found.public_labels in (None, label)  # as old records leave open
        assert found.cutting_point in task.cutting_points
        assert found.weights in (None, sha256(task.labels[label].weights()))


# A file of one's own.


@pytest.mark.parametrize("spelled", [Path, str])
def test_a_file_of_ones_own(tiny_task, spelled):
    task = read_task(spelled(tiny_task))
    assert task.name == "tiny" and task.labels["half"].weights() == tiny_task.with_name("half.pt")


def test_dataclasses_and_postponed_annotations_work_in_it(tmp_path):
    (tmp_path / "a.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from shredder.task import Task\n"
        "@dataclass\n"
        "class Setting:\n"
        "    name: str = 'mine'\n"
        "task = Task(Setting().name, {}, {}, {})\n"
    )
    assert read_task(tmp_path / "a.py").name == "mine"


def test_two_files_of_one_name_are_two_tasks(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(
            f"from shredder.task import Task\ntask = Task('{folder}', {{}}, {{}}, {{}})\n"
        )
    assert [read_task(tmp_path / folder / "mine.py").name for folder in ("a", "b", "a")] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"found .*/a\.py, no such file, expected .*alexnet, .*lenet.* or a Python file with a task"),
        ("", "found NoneType as its `task`, expected a shredder.task.Task"),
        ("task = 'lenet'", "found str as its `task`, expected a shredder.task.Task"),
        ("from shredder.task import Task as task", "found type as its `task`, expected a shredder.task.Task"),
        ("import no_such_module", "the file raised ModuleNotFoundError: No module named 'no_such_module'"),
        ("task = (", r"the file raised SyntaxError: '\(' was never closed"),
        ("raise ValueError('two\\nlines')", "the file raised ValueError: two lines$"),
        ("raise ValueError('x' * 10**5)", "the file raised ValueError: x{200,300}$"),
        ("1 / 0", "the file raised ZeroDivisionError: division by zero"),
        ("from shredder.task import Task\ntask = Task()", "the file raised TypeError: .* missing 4 required"),
        (b"\xff\xfe", "the file raised SyntaxError"),
    ],
)
def test_a_file_that_is_no_task(tmp_path, content, message):
    path = tmp_path / "a.py"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"^--task.*{message}") as error:
        read_task(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["Lenet", "", "__init__", "../tasks/lenet", "lenet.txt", "two\nlines"])
def test_no_such_name(name):
    expected = "expected alexnet, arrays, cifar10, imagenet, lenet, newsgroups, speech, svhn, or a Python file with a task"
    with pytest.raises(InputError) as error:
        read_task(name)
    assert str(error.value) == f"--task: found {name!r}, {expected}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "fifo.py")
    (tmp_path / "folder.py").mkdir()
    for name in ("fifo.py", "folder.py"):
        with pytest.raises(InputError, match=rf"--task: found .*{name}, no such file"):
            read_task(tmp_path / name)


# Defaults.


def test_defaults_of_a_task():
    task = Task("mine", {}, {}, {})
    assert task.learn(None) == {} and task.method == "self-supervised" and task.shipped == {}
    labels = torch.tensor([3, 1, 2])
    assert same(labels) is labels


@pytest.mark.parametrize(
    ("shape", "side"), [((1, 4, 6), (4, 4)), ((3, 100, 80), (56, 56)), ((3, 56, 57), (56, 56)), ((5, 1, 9), (1, 1))]
)
def test_grey_pictures(shape, side):
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    found = grey(images)
    assert found.shape == (3, *side) and found.min() >= 0 and found.max() <= 1
    if side != (1, 1):
        assert torch.equal(found.amin((1, 2)), torch.zeros(3)) and torch.allclose(found.amax((1, 2)), torch.ones(3))
    # Neither brightness nor contrast decide, and channels count alike.
    torch.testing.assert_close(grey(3 * images.flip(1) + 7), found, atol=1e-5, rtol=0)


def test_grey_of_a_uniform_picture():
    assert torch.equal(grey(torch.full((2, 3, 8, 8), 5.0)), torch.zeros(2, 8, 8))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise SystemExit(0)", "the file raised SystemExit: 0"),
        ("labels = {'a': Labels(None, None, private='b')}; datasets = {'d': Dataset(None, ('a',), 8)}", "found the labels b"),
        (
            "labels = {'a': Labels(None, None)}; datasets = {'d': Dataset(None, ('c',), 8)}",
            "found the labels c",
        ),
    ],
)
def test_a_task_that_contradicts_itself(tmp_path, source, said):
    path = tmp_path / "own.py"
    task = "task = Task('own', {'cut': (1,)}, datasets, labels)"
    path.write_text(f"from shredder.task import Dataset, Labels, Task\n{source}\n{task}\n")
    with pytest.raises(InputError, match=re.escape(said)):
        read_task(path)
