"""Sampling LeNet: what a private network reads of each draw, what is public, and what the noise's folder says."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import sample_mutual_info as any_task
import sample_mutual_info_lenet as sample
from models.lenet import WEIGHTS, pretrained_lenet
from shredder.inputs.digits import digit_gt5, to_network_input
from shredder.io.cli import InputError
from shredder.io.files import sha256
from shredder.noise.draws import JUDGED, query_generator
from shredder.noise.flags import NoiseArguments, source_of
from shredder.noise.tensors import noisy
from shredder.split import SplitNetwork

SHIPPED = Path(sample.__file__).parent / "artifacts" / "lenet"
N = 12

pytestmark = pytest.mark.usefixtures("quick_digits")


def results(output: Path) -> dict:
    return json.loads((output / "run.json").read_text())["results"]


def test_what_is_written_of_draws_says_nothing_of_a_querys_own(tmp_path):
    """The SNR of a query's own noise, beside what was sent, would tell which input it was."""
    np.save(tmp_path / "additive.npy", np.random.default_rng(0).laplace(0, 2, (5, 120, 1, 1)).astype(np.float32))
    for seed in (0, None):
        output = tmp_path / f"{seed}"
        sample.main(sample.Arguments(additive=tmp_path / "additive.npy", public_labels="digits", seed=seed, output=output))
        sent, clean = (np.load(output / f"{name}_activations.npy").reshape(1000, 120) for name in ("noisy", "original"))
        own = np.square(clean).mean() / (sent - clean).var(1)
        written = np.genfromtxt(output / "draws.csv", delimiter=",", names=True)["snr"]
        # Two samples of the same distribution, and nothing more: a correlation's standard error is 1 / sqrt(1,000).
        assert stats.ks_2samp(own, written).pvalue > 1e-3
        assert abs(np.corrcoef(own, written)[0, 1]) < 4 / 1000**0.5


@pytest.mark.parametrize(("folder", "labels"), [("noise", "gt5"), ("v3", "digits"), ("fresh", "gt5")])
def test_draws_are_judged_one_by_one(tmp_path, mnist_5k, folder, labels):
    """By counting over all test digits: what the public network answers, and what the private one reads of its own edge's."""
    sample.main(sample.Arguments(noise=SHIPPED / folder, n_samples=N, seed=3, output=tmp_path))
    table, images = np.genfromtxt(tmp_path / "draws.csv", delimiter=",", names=True), to_network_input(mnist_5k.test_images)
    digits = mnist_5k.test_labels
    names = {"public": (2, digit_gt5(digits)), "private": (10, digits)} if labels == "gt5" else {"public": (10, digits)}
    assert table.dtype.names == ("snr", *(f"{name}_accuracy" for name in names)) and len(table) == N
    source = source_of(NoiseArguments(noise=SHIPPED / folder), (120, 1, 1))
    w, n = source.tensors(source.draw(N, "fresh" if folder == "fresh" else "order-preserving", query_generator(3, JUDGED)))
    summary = results(tmp_path)
    for name, (classes, truth) in names.items():
        split = SplitNetwork(pretrained_lenet(classes), "relu5")
        own = source.as_activation(source.signal(split.activations(images)))
        snr, accuracy = [], []
        for q in range(N):
            a, sent = own.double(), noisy(own.double(), None if w is None else w[q].double(), n[q].double())
            snr.append((a.square().mean() / (a - sent).var(correction=0)).item())
            with torch.no_grad():
                accuracy.append((split.cloud(sent.float()).argmax(1) == truth).double().mean().item())
        if name == "public":
            np.testing.assert_allclose(table["snr"], snr, rtol=1e-8)
        # An answer or two in 1,000 may fall either way, where products are summed in another order.
        np.testing.assert_allclose(table[f"{name}_accuracy"], accuracy, atol=2e-3)
        assert summary[f"average {name} accuracy"] == pytest.approx(table[f"{name}_accuracy"].mean(), rel=1e-5)
        assert summary[f"spread of {name} accuracy"] == pytest.approx(table[f"{name}_accuracy"].std(ddof=1), rel=1e-4)
    assert summary["judged on"] == 1000 and summary["queries"] == N and summary["task"] == "lenet"


@pytest.mark.parametrize(("labels", "public"), [("gt5", digit_gt5), ("digits", lambda digits: digits)])
def test_labels(tmp_path, mnist_5k, labels, public):
    sample.main(sample.Arguments(public_labels=labels, n_samples=N, seed=0, output=tmp_path))
    private, found = (np.load(tmp_path / f"{name}.npy") for name in ("labels", "public_labels"))
    assert private.shape == found.shape == (N, 1) and private.dtype == found.dtype == np.int64
    np.testing.assert_array_equal(private[:, 0], mnist_5k.test_labels[:N])
    np.testing.assert_array_equal(found[:, 0], public(mnist_5k.test_labels[:N]))
    images = np.load(tmp_path / "original_images.npy")
    np.testing.assert_array_equal(images, to_network_input(mnist_5k.test_images[:N]).flatten(1))


def test_a_folder_says_all_that_is_left_open(tmp_path):
    """Of the script for any task, too: labels, cutting point and rule; as the same files named one by one."""
    sample.main(sample.Arguments(noise=SHIPPED / "v3", n_samples=N, seed=0, output=tmp_path / "folder"))
    any_task.main(any_task.Arguments("lenet", noise=SHIPPED / "v3", n_samples=N, seed=0, output=tmp_path / "any"))
    named = {name: SHIPPED / "v3" / f"{name}.npy" for name in ("distributions", "orders")}
    sample.main(sample.Arguments(public_labels="digits", n_samples=N, seed=0, output=tmp_path / "named", **named))
    sample.main(sample.Arguments(public_labels="digits", n_samples=N, seed=0, output=tmp_path / "shipped"))
    for name in ("noisy_activations.npy", "labels.npy", "public_labels.npy", "draws.csv"):
        assert len({(tmp_path / run / name).read_bytes() for run in ("folder", "any", "named", "shipped")}) == 1
    arguments = json.loads((tmp_path / "folder" / "run.json").read_text())["arguments"]
    assert (arguments["public_labels"], arguments["cutting_point"], arguments["draw"]) == (
        "digits",
        "relu5",
        "order-preserving",
    )


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A folder as step 1 writes it now, of tensors for whether a digit exceeds 5."""
    folder = tmp_path / "noise"
    shutil.copytree(SHIPPED / "noise", folder)
    edit(folder, "arguments", task="lenet", public_labels="gt5", weights=None)
    edit(folder, "results", **{"task": "lenet", "draw": "verbatim", "weights (SHA-256)": sha256(WEIGHTS[2])})
    edit(folder, "files", **{f"{name}.npy": sha256(folder / f"{name}.npy") for name in ("additive", "multiplicative")})
    return folder


def edit(folder: Path, part: str, **changes) -> None:
    record = json.loads((folder / "run.json").read_text())
    record[part] = record.get(part, {}) | changes
    (folder / "run.json").write_text(json.dumps(record))


def test_the_folders_rule_is_the_default(tmp_path, noise):
    """Step 1 says by what rule it has learned; a flag goes before it."""
    for rule, flag in (("verbatim", None), ("order-preserving", "order-preserving")):
        any_task.main(any_task.Arguments(noise=noise, n_samples=N, seed=0, draw=flag, output=tmp_path / rule))
        assert json.loads((tmp_path / rule / "run.json").read_text())["arguments"]["draw"] == rule
    sent, clean = (np.load(tmp_path / "verbatim" / f"{name}_activations.npy") for name in ("noisy", "original"))
    w, n = (np.load(noise / f"{name}.npy") for name in ("multiplicative", "additive"))
    assert [(query == w * a + n).all((1, 2, 3)).sum() for query, a in zip(sent, clean, strict=True)] == [1] * N


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"judged_on": 1001}, "--judged-on: found 1001, expected 1 to 1000, the test images of mnist-5k"),
        ({"judged_on": 0}, "--judged-on: found 0, expected at least 1"),
        ({"private_weights": WEIGHTS[10]}, "--private-weights: with --public-labels digits no private label is left in lenet"),
        ({"draw": "fresh"}, "--draw fresh: not a rule of this noise; expected order-preserving"),
    ],
)
def test_flags(tmp_path, flags, message):
    with pytest.raises(InputError, match=re.escape(message)):
        sample.main(sample.Arguments(**{"public_labels": "digits", "output": tmp_path / "output"} | flags))
    assert not (tmp_path / "output").exists()
