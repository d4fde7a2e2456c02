"""A task with its choices made: defaults, what the handed folder says, and every choice that does not fit."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import attack
import sample_mutual_info as sample
import train_noise as train
from models.cifar10 import WEIGHTS
from models.weights import WeightsError
from shredder.io.cli import InputError
from shredder.io.files import sha256
from shredder.system import System, chosen, with_noise
from shredder.task import read_task
from tasks import alexnet, lenet

ROOT = Path(__file__).parents[1]
SHIPPED = lenet.task.shipped


def line(error) -> str:
    """What a user reads; it is one line."""
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture
def tiny(tiny_task):
    return read_task(tiny_task)


# Choices and their defaults.


def test_defaults_are_the_first_dataset_its_first_labels_and_the_last_cutting_point(tiny, tiny_task):
    args = chosen(tiny, sample.Arguments(task=str(tiny_task)))
    assert (args.dataset, args.public_labels, args.cutting_point) == ("quarters", "half", "relu")
    assert (args.weights, args.private_weights) == (tiny_task.with_name("half.pt"), tiny_task.with_name("quarter.pt"))
    assert args.task == tiny_task  # a path, which records follow


def test_without_a_private_label_there_is_no_private_network(tiny, tiny_task):
    args = chosen(tiny, sample.Arguments(task=tiny_task, public_labels="quarter"))
    assert args.weights == tiny_task.with_name("quarter.pt") and args.private_weights is None
    system = System(tiny, args)
    assert system.private_split is None
    assert system.files == [args.weights, tiny_task]


def test_what_is_given_stays(tiny, tiny_task, tmp_path):
    given = {"dataset": "more", "public_labels": "quarter", "cutting_point": "conv", "weights": tmp_path / "mine.pt"}
    args = chosen(tiny, sample.Arguments(task=tiny_task, **given))
    assert {name: getattr(args, name) for name in given} == given


def test_weights_are_asked_for_only_where_none_are_given(tiny, tiny_task, tmp_path):
    """They may be downloaded."""

    def never():
        pytest.fail("asked for")

    labels = {name: dataclasses.replace(of, weights=never) for name, of in tiny.labels.items()}
    args = sample.Arguments(task=tiny_task, weights=tmp_path / "mine.pt", private_weights=tmp_path / "private.pt")
    assert chosen(dataclasses.replace(tiny, labels=labels), args).private_weights == tmp_path / "private.pt"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": "mnist"}, "--dataset: found 'mnist', expected quarters, more"),
        ({"cutting_point": "fc"}, "--cutting-point: found 'fc', expected conv, relu"),
        ({"public_labels": "digits"}, "--public-labels: found 'digits', expected half, quarter"),
        (
            {"dataset": "more", "public_labels": "half"},
            "--public-labels: found 'half', expected quarter with --dataset more; --dataset quarters has half",
        ),
        (
            {"public_labels": "quarter", "private_weights": Path("a.pt")},
            "--private-weights: with --public-labels quarter no private label is left in tiny",
        ),
    ],
)
@pytest.mark.parametrize("script", [train, sample, attack], ids=lambda script: script.__name__)
def test_choices_that_the_task_does_not_have(tiny_task, tmp_path, script, fields, message):
    noise = {} if script is train else {"additive": tmp_path / "additive.npy"}
    with pytest.raises(InputError) as error:
        script.main(script.Arguments(task=tiny_task, output=tmp_path / "output", **noise, **fields))
    assert line(error).startswith(message) and not (tmp_path / "output").exists()


def test_a_private_label_is_asked_for_where_none_is_left(tiny_task, tmp_path):
    with pytest.raises(InputError) as error:
        train.main(
            train.Arguments(
                task=tiny_task, public_labels="quarter", method="distribution", private_labels=True, output=tmp_path / "output"
            )
        )
    expected = "no private label is left in tiny on quarters beside --public-labels quarter, or none that has a network"
    assert line(error) == f"--private-labels: {expected}"
    np.save(tmp_path / "additive.npy", np.zeros((3, 2, 4, 4), np.float32))
    with pytest.raises(InputError, match="--attacks trained: no private label is left beside the public one") as error:
        attack.main(
            attack.Arguments(
                task=tiny_task,
                public_labels="quarter",
                attacks=("trained",),
                additive=tmp_path / "additive.npy",
                output=tmp_path / "output",
            )
        )
    assert line(error) and not (tmp_path / "output").exists()


# The system.


def test_a_system_cuts_both_networks_and_loads_what_is_asked_for(tiny, tiny_task):
    system = System(tiny, chosen(tiny, sample.Arguments(task=tiny_task)))
    assert system.private_split is not None and system.shape == (2, 4, 4)
    assert system.files == [tiny_task.with_name("half.pt"), tiny_task.with_name("quarter.pt"), tiny_task]
    test, train_images = system.images(test=7, train=None)
    assert (len(test), len(train_images)) == (7, 200)
    pixels = test.make(list(range(7)))
    sent = system.split.activations(pixels)
    assert sent.shape == (7, 2, 4, 4) and (sent >= 0).all()
    assert torch.equal(system.split.cloud(sent).argmax(1), system.labels.public(test.labels))
    assert torch.equal(system.private_split.cloud(system.private_split.activations(pixels)).argmax(1), test.labels)


def test_a_network_without_the_cutting_point(tiny, tiny_task):
    wrong = dataclasses.replace(tiny, cutting_points={"pool": (2, 4, 4)})
    with pytest.raises(InputError) as error:
        System(wrong, chosen(wrong, sample.Arguments(task=tiny_task)))
    assert line(error) == "--cutting-point: found 'pool', expected one of conv, relu, flatten, fc"


def test_a_network_that_sends_another_shape(tiny, tiny_task):
    wrong = dataclasses.replace(tiny, cutting_points={"relu": (32,)})
    system = System(wrong, chosen(wrong, sample.Arguments(task=tiny_task)))
    with pytest.raises(InputError) as error:
        system.images(test=1)
    assert line(error) == "--task tiny: the network sends (2, 4, 4) at relu, the task says (32,)"


@pytest.mark.parametrize(("part", "n", "flag"), [("test", 51, "--n-samples"), ("train", 201, "--images"), ("test", 0, "--n-s")])
def test_more_images_than_there_are(tiny, tiny_task, part, n, flag):
    system = System(tiny, chosen(tiny, sample.Arguments(task=tiny_task)))
    with pytest.raises(InputError, match=rf"{flag}.*: found {n}, expected 1 to (50|200), the {part} images of quarters"):
        system.images(**{part: n})


# Noise that is handed over.


def test_a_folder_says_all(tiny_noise, tiny_task):
    task, args, channel = with_noise(sample.Arguments(noise=tiny_noise))
    assert task.name == "tiny" and Path(args.task).samefile(tiny_task)
    assert (args.public_labels, args.cutting_point, args.draw) == ("half", "relu", "elementwise-laplace")
    assert channel.rule == "elementwise-laplace" and len(channel.source) == 3 and channel.source.shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("fields", "folder", "labels", "draw"),
    [
        ({}, "gt5", "gt5", "order-preserving"),
        ({"public_labels": "digits"}, "digits", "digits", "order-preserving"),
        ({"dataset": "mnist"}, "gt5", "gt5", "order-preserving"),
        ({"draw": "verbatim"}, "gt5", "gt5", "verbatim"),
        ({"noise": SHIPPED["digits"]}, "digits", "digits", "order-preserving"),
    ],
)
def test_shipped_noise_where_none_is_named(fields, folder, labels, draw):
    task, args, channel = with_noise(sample.Arguments(task="lenet", **fields))
    assert task is lenet.task and args.noise == SHIPPED[folder]
    assert (args.public_labels, args.draw, channel.rule) == (labels, draw, draw)


def test_the_rule_is_the_record_s_or_what_suits_single_files():
    folder = alexnet.task.shipped["digits"]
    assert with_noise(sample.Arguments(task="alexnet"))[1].draw == "elementwise-laplace"
    assert with_noise(sample.Arguments(task="alexnet", additive=folder / "additive.npy"))[1].draw == "elementwise-laplace"
    assert with_noise(sample.Arguments(task="alexnet", noise=folder, draw="order-preserving"))[2].rule == "order-preserving"


def replaced(folder, tmp_path, **arguments):
    """A copy of step 1's folder whose record has other arguments; None removes one."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    record = json.loads((copy / "run.json").read_text())
    record["arguments"] |= arguments
    record["arguments"] = {name: value for name, value in record["arguments"].items() if value is not None}
    (copy / "run.json").write_text(json.dumps(record))
    return copy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "lenet"}, "--task lenet: the noise in {noise} was learned for tiny; expected noise for lenet, or tiny here"),
        (
            {"cutting_point": "conv"},
            "--cutting-point conv: the noise in {noise} was learned for relu; expected noise for conv, or relu here",
        ),
        (
            {"public_labels": "quarter"},
            "--public-labels quarter: the noise in {noise} was learned for half; expected noise for quarter, or half here",
        ),
        ({"cutting_point": "fc"}, "--cutting-point: found 'fc', expected conv, relu"),
        ({"public_labels": "digits"}, "--public-labels: found 'digits', expected half, quarter"),
        ({"dataset": "mnist"}, "--dataset: found 'mnist', expected quarters, more"),
        (
            {"dataset": "more"},
            "--public-labels: found 'half', expected quarter with --dataset more; --dataset quarters has half",
        ),
        ({"additive": Path("a.npy")}, "--noise: found --additive beside it; expected one or the other"),
        ({"fresh": Path("a")}, "--noise: found --fresh beside it; expected one or the other"),
        ({"draw": "fresh"}, "--draw fresh: not a rule of this noise; expected elementwise-laplace or"),
        ({"skip_rows": 3}, "--skip-rows: found 3, expected 0 to 2"),
    ],
)
@pytest.mark.parametrize("script", [sample, attack], ids=lambda script: script.__name__)
def test_noise_learned_for_something_else(tiny_noise, tmp_path, script, fields, message):
    with pytest.raises(InputError) as error:
        script.main(script.Arguments(noise=tiny_noise, output=tmp_path / "output", **fields))
    assert line(error).startswith(message.format(noise=tiny_noise)) and not (tmp_path / "output").exists()


def test_noise_learned_for_other_weights(tiny_noise, tiny_task, tmp_path):
    """And for the same ones, wherever they lie."""
    copy = Path(shutil.copy(tiny_task.with_name("half.pt"), tmp_path / "copy.pt"))
    assert with_noise(sample.Arguments(noise=tiny_noise, weights=copy))[1].weights == copy
    state = torch.load(copy, weights_only=True)
    state["fc.bias"][0] += 1e-3
    torch.save(state, copy)
    with pytest.raises(InputError) as error:
        with_noise(sample.Arguments(noise=tiny_noise, weights=copy))
    found, expected = (sha256(path)[:12] for path in (copy, tiny_task.with_name("half.pt")))
    assert line(error) == (
        f"--weights {copy}: the noise in {tiny_noise} was learned for other weights; found SHA-256 {found}..., "
        f"expected {expected}..."
    )


def test_weights_that_are_not_there(tiny_noise, tiny_task, tmp_path):
    for noise in ({"noise": tiny_noise}, {"additive": tiny_noise / "additive.npy", "task": tiny_task}):
        with pytest.raises(WeightsError, match=r"missing\.pt: no such weights file"):
            sample.main(sample.Arguments(weights=tmp_path / "missing.pt", output=tmp_path / "output", **noise))


def test_no_folder_of_step_1(tmp_path):
    for make in (lambda: None, (tmp_path / "noise").mkdir):
        make()
        with pytest.raises(InputError) as error:
            with_noise(sample.Arguments(noise=tmp_path / "noise"))
        assert line(error) == f"{tmp_path / 'noise' / 'run.json'}: no such file, expected a run record"
    (tmp_path / "noise" / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"run\.json: not a run record of this suite; expected arguments, results and files"):
        with_noise(sample.Arguments(noise=tmp_path / "noise"))


def test_another_step_s_folder(tiny_noise, tmp_path):
    sample.main(sample.Arguments(noise=tiny_noise, n_samples=5, seed=0, output=tmp_path))
    with pytest.raises(InputError) as error:
        with_noise(sample.Arguments(noise=tmp_path))
    assert line(error) == (
        f"--noise {tmp_path}: found no noise among the files of its run.json, expected one of fresh-form.npy, "
        "distributions.npy, additive.npy, gaussian-scales.npy, dropout-kept.npy"
    )


@pytest.mark.parametrize("then", ["changed", "removed"])
def test_a_folder_that_is_not_whole(tiny_noise, tmp_path, then):
    copy = replaced(tiny_noise, tmp_path)
    if then == "changed":
        np.save(copy / "additive.npy", np.zeros((3, 2, 4, 4), np.float32))
    else:
        (copy / "additive.npy").unlink()
    message = {"changed": "not the file that .* lists, for its SHA-256 differs", "removed": "no such file, though .* lists it"}
    with pytest.raises(InputError, match=rf"copy/additive\.npy: {message[then]}") as error:
        with_noise(sample.Arguments(noise=copy))
    assert line(error)


def test_a_task_s_file_that_is_gone(tiny_noise, tmp_path):
    copy = replaced(tiny_noise, tmp_path, task="../gone.py")
    with pytest.raises(InputError, match=r"--task: found .*gone\.py, no such file, expected .*lenet") as error:
        with_noise(sample.Arguments(noise=copy))
    assert line(error)


def test_a_task_is_named_or_handed_over(tiny_noise, tiny_task, tmp_path):
    with pytest.raises(InputError) as error:
        with_noise(sample.Arguments())
    assert line(error) == "--task: not named; expected it, or --noise with a folder whose run.json names a task"
    copy = replaced(tiny_noise, tmp_path, task=None)
    with pytest.raises(InputError, match="--task: not named"):
        with_noise(sample.Arguments(noise=copy))
    assert with_noise(sample.Arguments(noise=copy, task=tiny_task))[0].name == "tiny"
    with pytest.raises(InputError, match="--task: found ''"):
        train.main(train.Arguments(output=tmp_path / "output"))


@pytest.mark.parametrize(
    ("fields", "labels"), [({}, "half"), ({"public_labels": "quarter"}, "quarter"), ({"dataset": "more"}, "quarter")]
)
def test_a_task_that_ships_no_noise(tiny_task, fields, labels):
    with pytest.raises(InputError) as error:
        with_noise(sample.Arguments(task=tiny_task, **fields))
    assert line(error) == (
        f"--noise: not named, and the task tiny ships none for the labels {labels}; expected a folder that step 1 has written "
        "for them"
    )


def test_records_of_before_tasks_name_a_script(tmp_path):
    """Shipped noise has such records: the command says the task, and what they do not say is not compared."""
    for name, task in (("lenet", lenet.task), ("alexnet", alexnet.task)):
        copy = Path(shutil.copytree(next(iter(task.shipped.values())), tmp_path / name))
        record = json.loads((copy / "run.json").read_text())
        assert record["command"] == f"train_noise_{name}.py" and "task" not in record["arguments"]
        assert with_noise(sample.Arguments(noise=copy))[0] is task


def test_labels_of_one_network_share_the_weights_that_are_named(tmp_path):
    """Whoever names the cloud's need not name the adversary's, if the task says that they are the same file."""
    file = tmp_path / "own.safetensors"
    file.write_bytes(WEIGHTS.read_bytes())
    args = train.Arguments(task="cifar10", public_labels="animal", weights=file)
    assert chosen(read_task("cifar10"), args).private_weights == file
    assert chosen(read_task("cifar10"), dataclasses.replace(args, weights=None)).private_weights == WEIGHTS
    lenet = train.Arguments(task="lenet", public_labels="gt5", weights=file)
    assert chosen(read_task("lenet"), lenet).private_weights.name == "lenet-digit.safetensors"
