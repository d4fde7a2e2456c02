"""Learning additive noise for AlexNet: what it writes, that it repeats itself to the bit, and v1's formulas."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import train_noise_alexnet as train
from models.alexnet import CUTTING_POINTS, WEIGHTS, pretrained_alexnet
from models.lenet import CUTTING_POINTS as LENET_CUTTING_POINTS
from models.lenet import pretrained_lenet
from models.weights import WeightsError
from shredder.io.cli import InputError
from shredder.learn.learner import Settings
from shredder.learn.members import Learning
from shredder.learn.methods import Additive
from shredder.split import SplitNetwork
from tasks.alexnet import task

RESULTS = ("additive.npy", "training.csv", "curves.csv")
SHAPE = (256, 6, 6)
# The edge takes ten milliseconds for an image; two batches of those that are learned from, for the edge and for an update.
IMAGES, HELD_OUT, TEST = 20, 2, 10
EDGE_BATCH, BATCH = 15, 10


def load_images(dataset, data_root, part, n_images):
    """One part of what the task itself loads."""
    return task.datasets[dataset].load(data_root, {part: n_images})[part]


def loading(load, dataset="mnist-5k"):
    """The task with other images: `load` is asked for each part by itself."""

    def load_all(data_root, parts):
        return {part: load(data_root, part, n) for part, n in parts.items()}

    replaced = dataclasses.replace(task.datasets[dataset], load=load_all)
    return dataclasses.replace(task, datasets=task.datasets | {dataset: replaced})


def few(data_root, part, n_images):
    """As many images to learn from as a test asks for, ten to report on, and fewer at a time than the edge is given else."""
    images = load_images("mnist-5k", data_root, part, TEST if part == "test" else n_images)
    return dataclasses.replace(images, batch_size=EDGE_BATCH)


@pytest.fixture(autouse=True)
def few_images(quick_digits, monkeypatch):
    monkeypatch.setattr("tasks.alexnet.task", loading(few))


def arguments(output, **fields):
    small = {
        "images": IMAGES,
        "members": 2,
        "parallel": 2,
        "epochs": 9,
        "min_epochs": 1,
        "min_accuracy": 0.0,
        "batch_size": BATCH,
    }
    return train.Arguments(output=output, **small | fields)


def run(output, **fields):
    train.main(arguments(output, **fields))
    return contents(output)


def contents(output):
    return {name: (output / name).read_bytes() for name in RESULTS}


def record(output):
    return json.loads((output / "run.json").read_text())["results"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def whole(tmp_path_factory, quick_digits):
    """A run that nothing interrupts: three members, two at a time at most, so that there are two shares."""
    output = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.alexnet.task", loading(few))
        run(output, members=3)
    return output


# The script.


def test_files(whole):
    assert names(whole) == sorted([*RESULTS, "run.json"])
    tensors = np.load(whole / "additive.npy")
    assert tensors.dtype == np.float32 and tensors.shape == (3, *SHAPE) and np.isfinite(tensors).all()
    log = (whole / "training.csv").read_text().splitlines()
    assert log[0] == "snr,accuracy,epoch" and len(log) == 1 + 3
    # Accepted after more epochs than min_epochs, so after the second.
    assert {line.split(",")[2] for line in log[1:]} == {"2"}
    curves = [line.split(",") for line in (whole / "curves.csv").read_text().splitlines()]
    assert curves[0] == ["member", "epoch", "loss", "accuracy", "snr"]
    # A share of one member, then one of two side by side.
    assert [row[:2] for row in curves[1:]] == [["0", "1"], ["0", "2"], ["1", "1"], ["2", "1"], ["1", "2"], ["2", "2"]]


def test_learned_tensors_are_near_where_they_began(whole):
    """Laplace(0.6, 1.2), and four updates of at most about 1e-4 each: Adam's first updates are of the learning rate."""
    rng = np.random.default_rng(0)
    start = rng.laplace(0.6, 1.2, size=(1, *SHAPE)).astype(np.float32)  # the first share's
    moved = np.abs(np.load(whole / "additive.npy")[:1] - start)
    # Adam's update is at most sqrt(1 - beta2) / (1 - beta1) ~ 3.2 learning rates at the first, and less later.
    assert 1e-4 < moved.max() < 4 * 3.2 * 1e-4 and moved.mean() > 1e-5


def test_record(whole):
    """Recomputed from the network itself, and from the files."""
    found = record(whole)
    network, noise = pretrained_alexnet("digits"), torch.from_numpy(np.load(whole / "additive.npy"))
    log = np.genfromtxt(whole / "training.csv", delimiter=",", names=True)
    assert found["members"] == 3 and found["members rejected"] == 0
    assert found["epochs at most"] == 9 and found["epochs before acceptance"] == 1
    assert found["average epochs"] == 2
    assert found["average held-out SNR"] == pytest.approx(log["snr"].mean(), rel=1e-5)
    assert found["average held-out accuracy"] == pytest.approx(log["accuracy"].mean(), rel=1e-5)
    # Of a Laplace distribution of scale 1.2 the variance is 2 * 1.2^2, and its 9,216 values for a member estimate that
    # within sqrt(5 / 9216) = 2.3 %.
    images, split = load_images("mnist-5k", "data", "train", HELD_OUT), SplitNetwork(network, "pool5")
    held_out = split.activations(images.make(list(range(HELD_OUT)))).double()
    before = held_out.square().mean().item() / (2 * 1.2**2)
    assert found["average held-out SNR before learning"] == pytest.approx(before, rel=0.1)
    test = load_images("mnist-5k", "data", "test", TEST)
    pixels = test.make(list(range(TEST)))
    activations = split.activations(pixels).double()
    assert found["mean square activation"] == pytest.approx(activations.square().mean().item(), rel=1e-4)
    snr = [activations.square().mean() / (activations - (activations + n)).var(correction=0) for n in noise.double()]
    assert found["average SNR"] == pytest.approx(np.mean(snr), rel=1e-4)
    with torch.no_grad():
        clean = (network(pixels).argmax(1) == test.labels).double().mean().item()
        accuracy = [(split.cloud(activations.float() + n).argmax(1) == test.labels).double().mean().item() for n in noise]
    assert found["clean test accuracy"] == pytest.approx(clean, abs=1e-6)
    assert found["average test accuracy"] == pytest.approx(np.mean(accuracy), abs=1e-6)
    assert found["spread of test accuracy"] == pytest.approx(np.std(accuracy, ddof=1), abs=1e-6)


def test_no_weight_changes(tmp_path, monkeypatch):
    networks = []

    def kept(*args):
        networks.append(pretrained_alexnet(*args))
        return networks[-1]

    watched, few_images = dataclasses.replace(task.labels["digits"], network=lambda path: kept("digits", path)), loading(few)
    monkeypatch.setattr("tasks.alexnet.task", dataclasses.replace(few_images, labels=task.labels | {"digits": watched}))
    run(tmp_path, members=1)
    (network,), untouched = networks, pretrained_alexnet("digits").state_dict()
    assert network.state_dict().keys() == untouched.keys()
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, untouched[name])
        assert not network.get_parameter(name).requires_grad and network.get_parameter(name).grad is None


def test_the_seed_decides_every_bit(whole, tmp_path):
    again, other = (run(tmp_path / str(seed), members=3, seed=seed) for seed in (0, 1))
    assert again == contents(whole)
    assert all(other[name] != again[name] for name in RESULTS)


def interrupt(monkeypatch, owner, name, call):
    """Somebody presses Ctrl-C in the call of `owner.name` with this number, counted from 1."""
    usual, calls = getattr(owner, name), []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return usual(*args)

    monkeypatch.setattr(owner, name, interrupted)


def test_interrupted_while_the_edge_runs(whole, mapped, tmp_path, monkeypatch, edge):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, SplitNetwork, "activations", 2)
        run(tmp_path, members=3)
    edge.clear()
    assert run(tmp_path, members=3) == contents(whole)
    assert edge == [IMAGES - EDGE_BATCH, TEST]
    assert names(tmp_path) == names(whole)


def test_default_accuracy_to_exceed(tmp_path, monkeypatch):
    """The clean network's on the held-out tenth, which is the first, less the authors' 1.95 points."""
    network = pretrained_alexnet("digits")

    def relabelled(data_root, part, n_images):
        images = few(data_root, part, n_images)
        if part == "test":
            return images
        with torch.no_grad():
            answers = network(images.make(list(range(IMAGES)))).argmax(1)
        wrong = [0, *range(HELD_OUT, IMAGES, 2)]  # one of two, and half of those that are learned from
        answers[wrong] = (answers[wrong] + 1) % 10
        return dataclasses.replace(images, labels=answers)

    monkeypatch.setattr("tasks.alexnet.task", loading(relabelled))
    run(tmp_path, min_accuracy=None, members=1, min_epochs=0, scale=0.01, location=0)
    assert record(tmp_path)["accuracy to exceed"] == pytest.approx(1 / 2 - 0.0195, abs=1e-6)
    assert np.genfromtxt(tmp_path / "training.csv", delimiter=",", names=True)["accuracy"] > 1 / 2 - 0.0195


@pytest.mark.parametrize("cutting_point", ["relu4", "pool2"])
def test_other_cutting_points(tmp_path, cutting_point):
    run(tmp_path, cutting_point=cutting_point, members=1, min_epochs=0, images=10)
    assert np.load(tmp_path / "additive.npy").shape == (1, *CUTTING_POINTS[cutting_point])


# Formulas.


class DoubleAdditive(Additive):
    """The same in float64, where rounding does not hide what is compared."""

    def initial(self, *args):
        return {"additive": super().initial(*args)["additive"].double()}


def test_members_learn_as_by_torchs_adam_with_a_step_decay():
    """One by one, in plain loops: cross-entropy of cloud(a + n), Adam(1e-4), a tenth of it after every 30 epochs."""
    n, members, batch_size, epochs, rate = 24, 2, 16, 62, 1e-2
    generator = torch.Generator().manual_seed(0)
    shape, split = LENET_CUTTING_POINTS["relu5"], SplitNetwork(pretrained_lenet(10), "relu5").double()  # whose cloud is small
    activations = torch.rand(n, *shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (n,), generator=generator)  # none that the network would say: gradients stay large
    method, settings = DoubleAdditive(0.6, 1.2, rate), Settings(members, members, epochs, epochs - 1, 0.0, batch_size)
    held_out = activations[:10], split.cloud(activations[:10]).argmax(1)
    learning = Learning(split, (activations, labels), held_out, method, settings, np.random.default_rng(3))
    for _ in range(epochs):
        learning.epoch()
    found = torch.cat([learning.accepted["additive"], learning.active["additive"]])

    rng = np.random.default_rng(3)
    tensors = list(torch.from_numpy(rng.laplace(0.6, 1.2, size=(members, *shape)).astype(np.float32)).double())
    optimisers = [torch.optim.Adam([tensor.requires_grad_()], lr=rate) for tensor in tensors]
    schedules = [torch.optim.lr_scheduler.StepLR(optimiser, 30, 0.1) for optimiser in optimisers]
    for _ in range(epochs):
        order = torch.from_numpy(rng.permutation(n))
        rng.permutation(n)  # v2's pairs, which v1 has no use for
        for rows in order.split(batch_size):
            for tensor, optimiser in zip(tensors, optimisers, strict=True):
                optimiser.zero_grad()
                functional.nll_loss(split.cloud(activations[rows] + tensor), labels[rows]).backward()
                optimiser.step()
        for schedule in schedules:
            schedule.step()
    moved = torch.stack(tensors).detach()
    # Rates are float32's, and 1 / 2^24 of them for each of 124 updates is the most that may be lost; a decay that came one
    # epoch early or late would change two updates by nine tenths of the rate, or by nine hundredths.
    assert (found - moved).abs().max() < 1e-4 * rate


def test_rates_fall_to_a_tenth_after_every_thirty_epochs():
    rates = Additive(0.6, 1.2, 1e-4).rates(torch.tensor([0, 29, 30, 59, 60, 90]), torch.zeros(6))
    assert rates.keys() == {"additive"}
    torch.testing.assert_close(rates["additive"], torch.tensor([1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-7]))


def test_initial_tensors_are_laplace():
    """Location 0.6 is the mean, scale 1.2 the mean distance from it, each with its own standard error times four."""
    tensors = Additive(0.6, 1.2, 1e-4).initial(50, SHAPE, np.random.default_rng(0))["additive"].double()
    assert tensors.shape == (50, *SHAPE)
    assert tensors.mean().item() == pytest.approx(0.6, abs=4 * 1.2 * (2 / tensors.numel()) ** 0.5)
    assert (tensors - 0.6).abs().mean().item() == pytest.approx(1.2, abs=4 * 1.2 / tensors.numel() ** 0.5)


# Bad input.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cutting_point": "conv1"}, "--cutting-point: found 'conv1', expected pool1, pool2, relu3, relu4, pool5"),
        ({"members": 0}, "--members: found 0, expected at least 1"),
        ({"parallel": 0}, "--parallel: found 0, expected at least 1"),
        ({"batch_size": 0}, "--batch-size: found 0, expected at least 1"),
        ({"epochs": 0}, "--epochs: found 0, expected at least 1"),
        ({"epochs": 5, "min_epochs": 5}, "--epochs: found 5, expected more than --min-epochs 5"),
        ({"min_epochs": -1}, "--min-epochs: found -1, expected at least 0"),
        ({"scale": -1.0}, "--scale: found -1.0, expected at least 0"),
        ({"scale": float("inf")}, "--scale: found inf, expected at least 0"),
        ({"location": float("nan")}, "--location: found nan"),
        ({"location": float("-inf")}, "--location: found -inf"),
        ({"learning_rate": float("nan")}, "--learning-rate: found nan, expected at least 0"),
        ({"learning_rate": -1e-4}, "--learning-rate: found -0.0001, expected at least 0"),
        ({"seed": -1}, "--seed: found -1, expected at least 0"),
        ({"min_accuracy": 1.0}, "--min-accuracy: found 1.0, expected less than 1"),
        ({"min_accuracy": -0.1}, "--min-accuracy: found -0.1, expected at least 0"),
        ({"min_accuracy": float("nan")}, "--min-accuracy: found nan, expected at least 0"),
    ],
)
def test_flags(tmp_path, fields, message):
    with pytest.raises(InputError, match=re.escape(message)):
        train.main(arguments(tmp_path / "output", **fields))
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("images", "expected"), [(-1, "at least 10"), (0, "at least 10"), (4001, "1 to 4000, the train images of mnist-5k")]
)
def test_number_of_images(tmp_path, edge, images, expected):
    with pytest.raises(InputError, match=f"--images: found {images}, expected {expected}"):
        run(tmp_path / "output", images=images)
    assert edge == [] and not (tmp_path / "output").exists()


@pytest.mark.parametrize("images", [1, 9])
def test_too_few_images_to_hold_a_tenth_out(tmp_path, edge, images):
    with pytest.raises(InputError, match=f"--images: found {images}, expected at least 10"):
        train.main(arguments(tmp_path, images=images, min_accuracy=None))
    assert edge == []


def test_accuracy_out_of_reach(tmp_path):
    message = r"--min-accuracy 0\.99: 3 members missed it within 1 epochs, 0 reached it; the best .* seen was 0\.\d{4}$"
    with pytest.raises(InputError, match=message):
        run(tmp_path, members=1, parallel=3, scale=1e3, epochs=1, min_epochs=0, min_accuracy=0.99)
    assert not list(tmp_path.glob("*.npy")) and not (tmp_path / "run.json").exists()


def test_weights_of_another_head(tmp_path, imagenet_weights):
    with pytest.raises(WeightsError, match=r"classifier.1.weight: found \(4096, 9216\), expected \(256, 9216\)"):
        run(tmp_path / "output", weights=imagenet_weights)
    with pytest.raises(WeightsError, match=r"classifier.1.weight: found \(256, 9216\), expected \(4096, 9216\)"):
        run(tmp_path / "output", dataset="imagenet", weights=WEIGHTS["digits"])
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("weights", ["missing.pth", "missing.safetensors"])
def test_missing_weights(tmp_path, weights):
    with pytest.raises(WeightsError, match=f"{weights}: no such weights file"):
        run(tmp_path / "output", weights=tmp_path / weights)


# ImageNet.


def test_no_folder_of_training_images(tmp_path, narrow_weights):
    with pytest.raises(InputError, match=f"--data-root: {tmp_path / 'train'}: .*expected <WordNet id>"):
        run(tmp_path / "output", dataset="imagenet", weights=narrow_weights, data_root=tmp_path)
    assert not (tmp_path / "output").exists()


def test_imagenet_with_an_image_that_cannot_be_decoded(
    linked_sample, replace_image, narrow_weights, tmp_path, monkeypatch, capsys
):
    """It ends the run in a message that names it; with --skip-corrupt tensors are learned from the others."""
    (linked_sample / "train").symlink_to(linked_sample / "val")

    def load(root, part, n):
        return load_images("imagenet", root, part, 3 if part == "test" else n)

    monkeypatch.setattr("tasks.alexnet.task", loading(load, "imagenet"))
    path = Path(load_images("imagenet", linked_sample, "train", 12).names[5])
    replace_image(path, path.read_bytes()[:1000])
    fields = {"dataset": "imagenet", "data_root": linked_sample, "weights": narrow_weights, "images": 12, "members": 1}
    output = tmp_path / "output"
    with pytest.raises(InputError, match=f"1 of 12 images cannot be decoded: {path}.*--skip-corrupt"):
        run(output, **fields)
    assert not output.exists()
    run(output, **fields, min_accuracy=None, min_epochs=0, skip_corrupt=True)
    assert f"left out: 1 of 12 images cannot be decoded: {path}" in capsys.readouterr().out
    assert np.load(output / "additive.npy").shape == (1, *SHAPE)
    # A tenth of eleven is held out: the first image, and these weights answer with its class.
    assert record(output)["accuracy to exceed"] == pytest.approx(1 - 0.0195)
