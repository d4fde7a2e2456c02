"""Step 1 interrupted, or on activations in a file: the bits of a run without a break, and nothing of other inputs."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

import train_noise_lenet as train
from shredder.inputs.images import Images
from shredder.io.cli import InputError
from shredder.learn.members import Learning
from tasks.lenet import task

RESULTS = ("additive.npy", "training.csv", "curves.csv")
IMAGES, TEST = 60, 20


def load_images(data_root, part, n_images):
    """One part of what the task itself loads."""
    return task.datasets["mnist-5k"].load(data_root, {part: n_images})[part]


def few(data_root, part, n_images):
    """As many images to learn from as a test asks for, and twenty to report on."""
    return load_images(data_root, part, TEST if part == "test" else n_images)


def loading(load):
    """The task with other images: `load` is asked for each part by itself."""

    def load_all(data_root, parts):
        return {part: load(data_root, part, n) for part, n in parts.items()}

    replaced = dataclasses.replace(task.datasets["mnist-5k"], load=load_all)
    return dataclasses.replace(task, datasets=task.datasets | {"mnist-5k": replaced})


@pytest.fixture(autouse=True)
def few_images(quick_digits, monkeypatch):
    monkeypatch.setattr("tasks.lenet.task", loading(few))


def run(output, **fields):
    small = {"images": IMAGES, "members": 2, "parallel": 2, "epochs": 9, "min_epochs": 1, "min_accuracy": 0.0, "batch_size": 50}
    train.main(train.Arguments(method="additive", output=output, **small | fields))
    return contents(output)


def contents(output):
    return {name: (output / name).read_bytes() for name in RESULTS}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def whole(tmp_path_factory, quick_digits):
    """A run that nothing interrupts: three members, two at a time, so that a place is filled again."""
    output = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.lenet.task", loading(few))
        run(output, members=3)
    return output


def test_mapped_activations_give_the_same_bits(whole, mapped, tmp_path):
    """And nothing of the map is left behind."""
    assert run(tmp_path, members=3) == contents(whole)
    assert names(tmp_path) == names(whole)


def interrupt(monkeypatch, owner, name, call):
    """Somebody presses Ctrl-C in the call of `owner.name` with this number, counted from 1."""
    usual, calls = getattr(owner, name), []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return usual(*args)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize("in_file", [False, True], ids=["in memory", "mapped"])
@pytest.mark.parametrize("call", [1, 2, 4])
def test_interrupted_while_learning(whole, tmp_path, monkeypatch, request, edge, in_file, call):
    """Before the first epoch, before a member is accepted, and when two are: to the bits of a run without a break."""
    if in_file:
        request.getfixturevalue("mapped")
    monkeypatch.setattr("shredder.learn.run._SECONDS_BETWEEN_CHECKPOINTS", -1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, Learning, "epoch", call)
        run(tmp_path, members=3)
    assert not any((tmp_path / name).exists() for name in (*RESULTS, "run.json"))
    assert (tmp_path / "checkpoint.pt").exists() == (call > 1)
    edge.clear()
    assert run(tmp_path, members=3) == contents(whole)
    # Mapped activations are found again.
    assert sum(edge) == (0 if in_file else IMAGES + TEST)
    assert names(tmp_path) == names(whole)


@pytest.fixture
def folder_with(monkeypatch):
    """Lets the training images be files of these numbers, in this order."""

    def set_rows(rows):
        def load_some(data_root, part, n_images):
            if part == "test":
                return few(data_root, part, n_images)
            images, kept = load_images(data_root, part, IMAGES + 1), torch.tensor(rows)
            file_names = [f"{row}.JPEG" for row in rows]
            return Images(images.labels[kept], file_names, lambda some: images.make(kept[some].tolist()), (1, 32, 32))

        monkeypatch.setattr("tasks.lenet.task", loading(load_some))

    return set_rows


# The images' order depends on their number, so that of those that stay changes, too.
CHANGED = {"fewer": range(9, IMAGES), "as many others": range(IMAGES, 0, -1)}


@pytest.mark.parametrize("change", CHANGED)
def test_images_that_have_changed_since_the_edge_ran(mapped, tmp_path, monkeypatch, folder_with, change):
    """Between an unfinished run and the next, somebody removes images: no label may meet another image's activation."""
    folder_with(CHANGED[change])
    expected = run(tmp_path / "expected", images=None)
    folder_with(range(IMAGES))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, Learning, "epoch", 1)
        run(tmp_path / "found", images=None)
    folder_with(CHANGED[change])
    assert run(tmp_path / "found", images=None) == expected


def test_images_that_have_changed_since_the_checkpoint(tmp_path, monkeypatch, folder_with):
    """Half learned from some images, half from others, a tensor has no record that tells how it was made."""
    monkeypatch.setattr("shredder.learn.run._SECONDS_BETWEEN_CHECKPOINTS", -1)
    folder_with(range(IMAGES))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, Learning, "epoch", 2)
        run(tmp_path, images=None)
    folder_with(CHANGED["as many others"])
    with pytest.raises(InputError, match="of an unfinished run with other weights or inputs; finish"):
        run(tmp_path, images=None)


def test_a_checkpoint_of_other_arguments_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr("shredder.learn.run._SECONDS_BETWEEN_CHECKPOINTS", -1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, Learning, "epoch", 2)
        run(tmp_path)
    unfinished = (tmp_path / "checkpoint.pt").read_bytes()
    for other in ({"seed": 1}, {"images": 30}, {"location": 0.6}, {"learning_rate": 1e-3}):
        ((name, value),) = other.items()
        with pytest.raises(InputError, match=rf"of an unfinished run with --{name.replace('_', '-')} .+ \(here {value}\)"):
            run(tmp_path, **other)
        assert (tmp_path / "checkpoint.pt").read_bytes() == unfinished


def test_a_disk_too_small_is_noticed_before_the_edge_runs(mapped, tmp_path, edge, monkeypatch):
    """Both files have to fit, of training and of test images, half a kB for each of them."""
    needed = 4 * 120 * (IMAGES + TEST)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed - 1))
    with pytest.raises(InputError, match="GB are to be written, and the disk has"):
        run(tmp_path)
    assert edge == [] and not list(tmp_path.iterdir())
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed))
    run(tmp_path)


def test_too_few_images_in_the_folder_to_hold_a_tenth_out(tmp_path, folder_with):
    folder_with(range(9))
    with pytest.raises(InputError, match="--images: found 9 training images, expected at least 10, for a tenth is held out"):
        run(tmp_path / "output", images=None)
    assert not (tmp_path / "output").exists()
