"""Sampling AlexNet: what is written is what the network saw and sent, and a draw's row is what that draw does."""

import dataclasses
import functools
import json
import math
import os
import re
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

import ite
import sample_mutual_info_alexnet as sample
from models.alexnet import CUTTING_POINTS, pretrained_alexnet
from models.weights import WeightsError
from shredder.inputs.images import imagenet_images
from shredder.io.cli import InputError, script
from shredder.noise.channel import Channel
from shredder.noise.draws import JUDGED
from shredder.noise.rounding import to_grid
from shredder.noise.stored import Collection
from shredder.sample import step
from shredder.split import SplitNetwork
from tasks.alexnet import digits, task

ARRAYS = ("noisy_activations", "original_activations", "original_images", "labels", "public_labels")
RESULTS = sorted([*(f"{name}.npy" for name in ARRAYS), "draws.csv", "run.json"])
SHAPE = (256, 6, 6)
# More queries than are drawn at once, than are judged at once, and than a batch has; fewer images that draws are judged on.
N, JUDGED_ON = 24, 16
DRAWN_AT_ONCE, JUDGED_AT_ONCE, EDGE_BATCH = 10, 4, 20
SCALE = 12


@pytest.fixture(scope="module", autouse=True)
def few_in_a_batch(quick_digits):
    """So that a second batch needs no more than a few digits: the edge takes ten milliseconds for each."""

    def load(data_root, parts):
        found = digits("mnist-5k", data_root, parts)
        return {part: dataclasses.replace(images, batch_size=EDGE_BATCH) for part, images in found.items()}

    datasets = task.datasets | {"mnist-5k": dataclasses.replace(task.datasets["mnist-5k"], load=load)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.alexnet.task", dataclasses.replace(task, datasets=datasets))
        yield


def tensors(n=4, shape=SHAPE, seed=0):
    """Additive tensors that cost the network some of its answers; within each no two elements are equal."""
    size = math.prod(shape)
    quantiles = stats.laplace(0.6, SCALE).ppf((np.arange(size) + 0.5) / size)
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(quantiles, (n, 1)), axis=1).reshape(n, *shape).astype(np.float32)


@pytest.fixture(scope="module")
def additive(tmp_path_factory):
    path = tmp_path_factory.mktemp("collection") / "additive.npy"
    np.save(path, tensors())
    return path


@pytest.fixture(scope="module")
def split():
    return SplitNetwork(pretrained_alexnet("digits"), "pool5")


def run(output, additive, **fields):
    sample.main(sample.Arguments(output=output, additive=additive, **{"n_samples": 3, "judged_on": 3, "seed": 0} | fields))
    return arrays(output)


def arrays(output):
    return {name: np.load(output / f"{name}.npy") for name in ARRAYS}


def contents(output):
    return {path.name: path.read_bytes() for path in output.iterdir()}


def results(output):
    return json.loads((output / "run.json").read_text())["results"]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory, quick_digits, additive):
    """One run, looked at from many sides."""
    output = tmp_path_factory.mktemp("sampled")
    with pytest.MonkeyPatch.context() as patch:
        few_at_once(patch)
        run(output, additive, n_samples=N, judged_on=JUDGED_ON)
    return output


def few_at_once(patch, drawn=DRAWN_AT_ONCE, judged=JUDGED_AT_ONCE):
    patch.setattr(step, "_ELEMENTS_AT_ONCE", drawn * math.prod(SHAPE))
    patch.setattr(step, "_DRAWS_AT_ONCE", judged)


def draws(additive, n, how="elementwise-laplace", seed=0):
    """The additive noise of `n` queries, as the script draws it: some at a time, from one generator."""
    collection, rng = Collection(None, torch.from_numpy(np.load(additive))), np.random.default_rng(seed)
    sizes = [min(DRAWN_AT_ONCE, n - first) for first in range(0, n, DRAWN_AT_ONCE)]
    found = [collection.draw(size, how, rng) for size in sizes]
    return torch.cat([some.additive for some in found]), found[0].grid


# What is written.


def test_files(sampled):
    assert sorted(path.name for path in sampled.iterdir()) == RESULTS
    found = arrays(sampled)
    assert {name: array.shape for name, array in found.items()} == {
        "noisy_activations": (N, *SHAPE),
        "original_activations": (N, *SHAPE),
        "original_images": (N, 3 * 224 * 224),
        "labels": (N, 1),
        "public_labels": (N, 1),
    }
    assert found.pop("labels").dtype == found.pop("public_labels").dtype == np.int64
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    table = (sampled / "draws.csv").read_text().splitlines()
    assert table[0] == "snr,public_accuracy" and len(table) == 1 + N


def test_images_and_labels_are_the_networks_inputs(sampled):
    found, images = arrays(sampled), digits("mnist-5k", Path("data"), {"test": N})["test"]
    np.testing.assert_array_equal(found["original_images"], images.make(list(range(N))).flatten(1))
    np.testing.assert_array_equal(found["labels"][:, 0], images.labels)
    np.testing.assert_array_equal(found["public_labels"], found["labels"])  # all of the class is public here


def test_activations_are_what_the_edge_sends_for_them(sampled, split):
    found = arrays(sampled)
    activations = split.activations(torch.from_numpy(found["original_images"]).view(N, 3, 224, 224))
    # Convolutions may sum in another order for another batch size.
    np.testing.assert_allclose(found["original_activations"], activations, rtol=1e-4, atol=1e-4)


def test_noisy_activations_are_the_draws_on_top(sampled, additive):
    found = arrays(sampled)
    noise, grid = draws(additive, N)
    np.testing.assert_array_equal(
        found["noisy_activations"], to_grid(torch.from_numpy(found["original_activations"]) + noise, grid)
    )
    # What an adversary has to subtract, up to half a step of the grid.
    left = found["noisy_activations"].astype(float) - found["original_activations"] - noise.numpy()
    assert (np.abs(left) <= 1.0001 * grid.numpy() / 2).all()


def test_draws_are_judged_one_by_one(sampled, additive, split):
    """SNR by its definition and accuracy by counting, over the queries that are judged on, from the files alone."""
    found, table = arrays(sampled), np.genfromtxt(sampled / "draws.csv", delimiter=",", names=True)
    a = torch.from_numpy(found["original_activations"][:JUDGED_ON])
    labels = torch.from_numpy(found["labels"][:JUDGED_ON, 0])
    snr, accuracy = [], []
    for n in draws(additive, N, seed=[0, JUDGED])[0].float():
        exact = a.double()
        snr.append((exact.square().mean() / (exact - (exact + n)).var(correction=0)).item())
        with torch.no_grad():
            accuracy.append((split.cloud(a + n).argmax(1) == labels).double().mean().item())
    # Written to nine digits, of float64.
    np.testing.assert_allclose(table["snr"], snr, rtol=1e-8)
    np.testing.assert_allclose(table["public_accuracy"], accuracy, atol=1e-8)
    assert len(set(accuracy)) > 2  # or it would not matter which draw met which row
    summary = results(sampled)
    assert summary["average SNR"] == pytest.approx(np.mean(snr), rel=1e-5)
    assert summary["average public accuracy"] == pytest.approx(np.mean(accuracy), rel=1e-5)
    assert summary["spread of public accuracy"] == pytest.approx(np.std(accuracy, ddof=1), rel=1e-5)
    with torch.no_grad():
        clean = (split.cloud(a).argmax(1) == labels).double().mean().item()
    assert summary["clean public accuracy"] == pytest.approx(clean, rel=1e-5)
    assert (summary["queries"], summary["judged on"], summary["members"], summary["left out"]) == (N, JUDGED_ON, 4, 0)


def test_the_seed_decides_every_bit(sampled, additive, tmp_path, monkeypatch):
    few_at_once(monkeypatch)
    run(tmp_path, additive, n_samples=N, judged_on=JUDGED_ON)
    found, expected = contents(tmp_path), contents(sampled)
    for name in RESULTS:
        assert name == "run.json" or found[name] == expected[name]


def test_without_a_seed_nobody_knows_the_noise(additive, tmp_path):
    one, other = (run(tmp_path / name, additive, seed=None, n_samples=1) for name in ("one", "other"))
    # Values on a grid of a three hundredth of the noise meet by chance.
    assert (one["noisy_activations"] == other["noisy_activations"]).mean() < 0.01
    np.testing.assert_array_equal(one["original_activations"], other["original_activations"])


def test_how_many_are_judged_at_once_changes_nothing(sampled, additive, tmp_path, monkeypatch):
    few_at_once(monkeypatch, judged=3)
    run(tmp_path, additive, n_samples=N, judged_on=JUDGED_ON)
    tables = [np.genfromtxt(folder / "draws.csv", delimiter=",", names=True) for folder in (sampled, tmp_path)]
    np.testing.assert_allclose(tables[0]["snr"], tables[1]["snr"], rtol=1e-8)
    np.testing.assert_allclose(tables[0]["public_accuracy"], tables[1]["public_accuracy"], atol=1e-8)


def test_fewer_queries_than_images_that_draws_are_judged_on(sampled, additive, tmp_path, split):
    """The first test images, whether they are queries or not."""
    found = run(tmp_path, additive, n_samples=1, judged_on=JUDGED_ON)
    assert {len(array) for array in found.values()} == {1}
    assert results(tmp_path)["judged on"] == JUDGED_ON and results(tmp_path)["spread of public accuracy"] is None
    all_of_them = arrays(sampled)
    a, labels = (torch.from_numpy(all_of_them[name][:JUDGED_ON]) for name in ("original_activations", "labels"))
    noise = draws(additive, 1, seed=[0, JUDGED])[0].float()
    with torch.no_grad():
        expected = (split.cloud(a + noise).argmax(1) == labels[:, 0]).double().mean().item()
    assert results(tmp_path)["average public accuracy"] == pytest.approx(expected, abs=1e-8)


def test_verbatim(additive, tmp_path):
    """Each query's noise is a stored tensor; twenty queries hardly all drew the same."""
    found, stored = run(tmp_path, additive, draw="verbatim", n_samples=20), np.load(additive)
    candidates = found["original_activations"][:, None] + stored
    equal = (found["noisy_activations"][:, None] == candidates).reshape(20, 4, -1).all(2)
    assert (equal.sum(1) == 1).all() and len(set(equal.argmax(1))) > 1


def test_order_preserving(additive, tmp_path):
    """Each query's noise rises where one of the stored tensors rises, up to a step of the grid; its values are fresh."""
    found, stored = run(tmp_path, additive, draw="order-preserving", n_samples=20), np.load(additive).reshape(4, -1)
    noise = (found["noisy_activations"] - found["original_activations"]).reshape(20, -1)
    step = 1.5 * SCALE / 256  # of scales that are near the one that the tensors were drawn with
    rises = np.stack([np.diff(noise[:, order], axis=1).min(1) > -step for order in stored.argsort(axis=1)], axis=1)
    assert (rises.sum(1) == 1).all() and len(set(rises.argmax(1))) > 1
    member = stored[rises.argmax(1)]
    assert (np.abs(noise - member) > 1e-3).mean() > 0.9
    # Where the tensor is and as wide: of 9,216 values median and mean distance from it err by a hundredth of the scale.
    assert np.abs(np.median(noise, axis=1) - np.median(member, axis=1)).max() < 0.05 * SCALE
    widths = [np.abs(rows - np.median(rows, axis=1, keepdims=True)).mean(1) for rows in (noise, member)]
    np.testing.assert_allclose(*widths, rtol=0.05)


def test_skip_rows(tmp_path):
    """The authors' own file begins with a placeholder: no query may draw it."""
    stored = np.stack([np.full(SHAPE, 1e6, np.float32), tensors()[0]])
    np.save(tmp_path / "additive.npy", stored)
    found = run(tmp_path / "output", tmp_path / "additive.npy", skip_rows=1, draw="verbatim", n_samples=9)
    np.testing.assert_array_equal(found["noisy_activations"], found["original_activations"] + stored[1])
    assert results(tmp_path / "output")["members"] == 1


@pytest.mark.parametrize("cutting_point", ["pool1", "relu4"])
def test_other_cutting_points(tmp_path, cutting_point):
    shape = CUTTING_POINTS[cutting_point]
    np.save(tmp_path / "additive.npy", tensors(2, shape))
    found = run(tmp_path / "output", tmp_path / "additive.npy", cutting_point=cutting_point)
    assert found["noisy_activations"].shape == (3, *shape)
    noise, grid = draws(tmp_path / "additive.npy", 3)
    sent = to_grid(torch.from_numpy(found["original_activations"]) + noise, grid)
    np.testing.assert_array_equal(found["noisy_activations"], sent.float())  # two tensors may nearly agree in an element


def test_shipped_tensors(tmp_path):
    run(tmp_path, None, n_samples=20)
    assert results(tmp_path)["members"] == 20 and results(tmp_path)["average public accuracy"] > 0.9


def test_defaults_are_the_tasks(additive, tmp_path, monkeypatch):
    """Of digits; ImageNet's cloud is larger, and each draw judged on a hundred. What the edge sends does not matter here."""
    monkeypatch.setattr(SplitNetwork, "activations", lambda self, images, *_: torch.zeros(len(images), *SHAPE))
    run(tmp_path, additive, n_samples=1, judged_on=None)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["results"]["judged on"] == record["arguments"]["judged_on"] == 1000
    assert record["arguments"]["public_labels"] == "digits" and record["arguments"]["draw"] == "elementwise-laplace"
    assert task.datasets["imagenet"].sample == {"n_samples": 1000, "judged_on": 100}


# Bad input.


@pytest.fixture(scope="module")
def earlier(tmp_path_factory, quick_digits, additive):
    output = tmp_path_factory.mktemp("earlier")
    run(output, additive, seed=1)
    return output


@pytest.fixture
def old(earlier, tmp_path):
    """A folder with the results of an earlier run."""
    return Path(shutil.copytree(earlier, tmp_path / "output"))


@pytest.fixture
def no_edge(monkeypatch):
    """What must be noticed before the work starts."""

    def activations(*args):
        raise AssertionError("the edge ran")

    monkeypatch.setattr(SplitNetwork, "activations", activations)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"skip_rows": 4}, "--skip-rows: found 4, expected 0 to 3"),
        ({"skip_rows": -1}, "--skip-rows: found -1, expected 0 to 3"),
        ({"judged_on": 0}, "--judged-on: found 0, expected at least 1"),
        ({"seed": -1}, "--seed: found -1, expected at least 0"),
        ({"cutting_point": "conv1"}, "--cutting-point: found 'conv1', expected pool1, pool2, relu3, relu4, pool5"),
        ({"cutting_point": "relu4"}, "found float32 (4, 256, 6, 6), expected float32 (N, 256, 13, 13)"),
        ({"dataset": "imagenet", "additive": None}, "--noise: not named, and the task alexnet ships none for"),
        ({"additive": Path("missing.npy")}, "--additive missing.npy: no such file"),
        ({"judged_on": 1001}, "--judged-on: found 1001, expected 1 to 1000, the test images of mnist-5k"),
    ],
)
def test_flags(additive, tmp_path, no_edge, fields, message):
    with pytest.raises(InputError, match=re.escape(message)):
        run(tmp_path / "output", **{"additive": additive} | fields)
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("n_samples", [-1, 0, 1001])
def test_number_of_samples(additive, tmp_path, no_edge, n_samples):
    """As LeNet's script says it."""
    with pytest.raises(InputError, match=f"--n-samples.*found {n_samples}.*expected 1 to 1000"):
        run(tmp_path / "output", additive, n_samples=n_samples)
    assert not (tmp_path / "output").exists()


def test_weights_of_another_head(additive, tmp_path, no_edge, imagenet_weights):
    with pytest.raises(WeightsError, match=r"classifier.1.weight: found \(4096, 9216\), expected \(256, 9216\)"):
        run(tmp_path / "output", additive, weights=imagenet_weights)
    assert not (tmp_path / "output").exists()


def test_neither_weights_nor_a_network(additive, tmp_path, monkeypatch, no_edge):
    """One line: which file to fetch, and where to put it."""

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    flags = ["--dataset=imagenet", f"--additive={additive}", f"--output={tmp_path / 'output'}"]
    monkeypatch.setattr(sys, "argv", ["sample_mutual_info_alexnet.py", *flags])
    with pytest.raises(SystemExit) as end:
        script(sample.main, sample.Arguments)
    message = end.value.code
    assert message.startswith("error: ") and "\n" not in message
    place = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    for part in (str(place), "no route to host", f"https://download.pytorch.org/models/{place.name}", "--weights"):
        assert part in message
    assert not (tmp_path / "output").exists()


def test_as_a_script(tmp_path, monkeypatch):
    """One line, which Python prints on stderr, and no traceback."""
    path = Path(sample.__file__)
    monkeypatch.setattr(sys, "argv", [path.name, "--additive=missing.npy", "--output", str(tmp_path / "output")])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert end.value.code == "error: --additive missing.npy: no such file, expected a .npy array"
    assert not (tmp_path / "output").exists()


def test_a_disk_too_small_is_noticed_before_the_edge_runs(additive, old, monkeypatch, no_edge):
    """600 kB of pixels, twice 37 kB of activations and two labels for each query: to the byte."""
    before, needed = contents(old), 3 * (4 * 3 * 224 * 224 + 2 * 4 * 9216 + 2 * 8)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed - 1))
    with pytest.raises(InputError, match=f"{old}: 0.00 GB are to be written, and the disk has 0.00 GB left"):
        run(old, additive)
    assert contents(old) == before
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed))
    with pytest.raises(AssertionError, match="the edge ran"):
        run(old, additive)


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        pytest.param(SplitNetwork, "activations", 2, id="while the edge runs"),
        pytest.param(Channel, "applied", 2, id="while noise is drawn"),
        pytest.param(os, "fsync", 3, id="while files are synced"),
    ],
)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["Ctrl-C", "full disk"])
def test_interrupted_while_writing(additive, old, monkeypatch, owner, name, call, error):
    """The old files stay, and nothing else."""
    before, usual, calls = contents(old), getattr(owner, name), []
    few_at_once(monkeypatch, drawn=2)

    def interrupted(*args):
        calls.append(name)
        if len(calls) == call:
            raise error
        return usual(*args)

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(type(error)):
        run(old, additive, n_samples=N)
    assert len(calls) == call and contents(old) == before


def test_queries_as_served(additive, tmp_path, monkeypatch):
    """Each query's own answer against its own label, also where nobody watches the bar and it does not count."""
    few_at_once(monkeypatch, drawn=3)
    monkeypatch.setattr(step, "progress", functools.partial(step.progress, disable=True))
    run(tmp_path, additive, n_samples=8)
    queries, labels = (torch.from_numpy(np.load(tmp_path / f"{name}.npy")) for name in ("noisy_activations", "labels"))
    answers = SplitNetwork(pretrained_alexnet("digits"), "pool5").cloud(queries).argmax(1)
    found = json.loads((tmp_path / "run.json").read_text())["results"]["public accuracy of the queries as served"]
    assert found == pytest.approx((answers == labels[:, 0]).double().mean().item(), abs=1e-6)


# ImageNet.


def of_imagenet(weights, additive):
    """Arguments for the real images."""
    return {"dataset": "imagenet", "weights": weights, "additive": additive, "judged_on": 5}


@pytest.fixture
def imagenet(narrow_weights, additive):
    return of_imagenet(narrow_weights, additive)


@pytest.mark.filterwarnings("ignore::ite.UnsupportedEstimate")  # twelve samples cannot show so much, and are not asked to
def test_imagenet_to_mutual_information(imagenet_weights, imagenet_sample, additive, tmp_path):
    """From JPEGs to nats. Untrained weights, so the numbers mean nothing; but they are numbers. Of torchvision's network."""
    found = run(tmp_path, data_root=imagenet_sample, n_samples=12, **of_imagenet(imagenet_weights, additive))
    images = imagenet_images(imagenet_sample, "test", 12)
    np.testing.assert_array_equal(found["labels"][:, 0], images.labels)
    np.testing.assert_array_equal(found["original_images"], torch.stack(images.make(list(range(12)))).flatten(1))
    split = SplitNetwork(pretrained_alexnet("imagenet", imagenet_weights), "pool5")
    expected = split.activations(torch.from_numpy(found["original_images"]).view(12, 3, 224, 224))
    np.testing.assert_allclose(found["original_activations"], expected, rtol=1e-3, atol=1e-4)
    table = np.genfromtxt(tmp_path / "draws.csv", delimiter=",", names=True)
    assert len(table) == 12 and (table["snr"] > 0).all() and np.isin(table["public_accuracy"], np.arange(6) / 5).all()
    for kind in ("original", "noisy"):
        activations = found[f"{kind}_activations"].reshape(12, -1)
        y, ds = np.hstack([found["original_images"], activations]), np.array([3 * 224 * 224, math.prod(SHAPE)])
        assert math.isfinite(ite.cost.MIShannon_DKL().estimation(y, ds))


def test_an_image_that_cannot_be_decoded(imagenet, linked_sample, tmp_path, replace_image, capsys):
    """It ends the run in a message that names it, and the old files stay; or it is left out, and the rest keep their labels."""
    images = imagenet_images(linked_sample, "test", 6)
    path = Path(images.names[2])
    expected = run(tmp_path / "whole", data_root=linked_sample, n_samples=6, **imagenet)
    replace_image(path, path.read_bytes()[:1000])
    output = tmp_path / "output"
    shutil.copytree(tmp_path / "whole", output)
    earlier = contents(output)
    with pytest.raises(InputError, match=f"1 of 6 images cannot be decoded: {path}.*--skip-corrupt"):
        run(output, data_root=linked_sample, n_samples=6, **imagenet)
    assert contents(output) == earlier
    found = run(output, data_root=linked_sample, n_samples=6, skip_corrupt=True, **imagenet)
    assert f"left out: 1 of 6 images cannot be decoded: {path}" in capsys.readouterr().out
    for name in ("labels", "original_images"):
        np.testing.assert_array_equal(found[name], np.delete(expected[name], 2, axis=0))
    assert found["noisy_activations"].shape == found["original_activations"].shape == (5, *SHAPE)
    np.testing.assert_allclose(
        found["original_activations"], np.delete(expected["original_activations"], 2, axis=0), rtol=1e-3, atol=1e-4
    )
    assert results(output)["queries"] == 5 and results(output)["left out"] == 1


def test_not_one_image_that_can_be_decoded(imagenet, linked_sample, tmp_path, replace_image):
    """Even where they may be left out, nothing is then left to sample."""
    for path in imagenet_images(linked_sample, "test", 2).names:
        replace_image(path, b"damaged")
    with pytest.raises(InputError, match="2 of 2 images cannot be decoded"):
        run(tmp_path / "output", data_root=linked_sample, n_samples=2, skip_corrupt=True, **imagenet | {"judged_on": 2})


def test_no_folder_of_test_images(imagenet, tmp_path, no_edge):
    with pytest.raises(InputError, match=f"--data-root: {tmp_path / 'val'}: .*expected <WordNet id>"):
        run(tmp_path / "output", data_root=tmp_path, **imagenet)
    assert not (tmp_path / "output").exists()
