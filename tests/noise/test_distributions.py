"""Version v3: learned distributions, from the fit to the files; each formula against an independent computation."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

import sample_mutual_info_alexnet as sample_alexnet
import sample_mutual_info_lenet as sample
import train_noise_alexnet as train_alexnet
import train_noise_lenet as train
from models.lenet import WEIGHTS, pretrained_lenet
from shredder.io.cli import InputError
from shredder.io.files import write_together
from shredder.learn.learner import Batch, PrivateRows
from shredder.learn.methods import Distribution
from shredder.noise.draws import redraw_in_order
from shredder.noise.load import load_distributions, load_noise
from shredder.noise.stored import Collection, Distributions
from shredder.noise.tensors import laplace_fit, laplace_fit_error
from shredder.split import SplitNetwork

SHAPE = (120, 1, 1)
SMALL = {
    "method": "distribution", "images": 400, "members": 3, "parallel": 3, "epochs": 8, "min_epochs": 1, "min_accuracy": 0.0
}  # fmt: skip


@pytest.fixture(autouse=True)
def digits_once(quick_digits):
    pass


def tensors(n=4, shape=SHAPE, seed=0, scale=2.0):
    return torch.from_numpy(np.random.default_rng(seed).laplace(0.5, scale, size=(n, *shape))).float()


# What is kept of a tensor.


def test_the_papers_example():
    kept = Distributions.fitted(torch.tensor([[3.2, 4.8, 7.3, 1.5]]))
    assert kept.orders.tolist() == [[2, 1, 0, 3]]
    # median 4.0; absolute deviations 0.8, 0.8, 3.3, 2.5
    assert_allclose(kept.parameters, [[4.0, 1.85]], rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 50), st.floats(0.1, 100), st.floats(-10, 10))
def test_fit_is_scipys(seed, size, scale, location):
    values = torch.from_numpy(np.random.default_rng(seed).normal(location, scale, size=(3, size)))
    for found, row in zip(zip(*laplace_fit(values), strict=True), values.numpy(), strict=True):
        assert_allclose(found, stats.laplace.fit(row), rtol=1e-12, atol=1e-12)


def test_fit_error_tells_shapes_apart():
    rng, n = np.random.default_rng(0), 100_000
    shapes = {"laplace": rng.laplace(3, 7, n), "normal": rng.normal(size=n), "uniform": rng.uniform(size=n)}
    found = {name: laplace_fit_error(torch.from_numpy(values)[None]).item() for name, values in shapes.items()}
    # Bin by bin: a Laplace's share of a bin is nearly its density at the centre; a uniform has mean |x| = 1 on [-2, 2].
    edges = np.linspace(-8, 8, 33)
    centres, density = (edges[1:] + edges[:-1]) / 2, np.diff(stats.uniform(-2, 4).cdf(edges)) / 0.5
    assert found["laplace"] < 1e-3 < found["normal"] < found["uniform"]
    assert_allclose(found["uniform"], ((density - stats.laplace.pdf(centres)) ** 2).sum(), rtol=0.02)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-50, 50))
def test_fit_error_knows_no_scale(seed, scale, shift):
    values = tensors(2, seed=seed).double()
    assert_allclose(laplace_fit_error(values), laplace_fit_error(values * scale + shift), rtol=1e-6, atol=0.02)


def test_draws_have_the_stored_order_location_and_scale():
    kept = Distributions.fitted(tensors())
    _, drawn, _ = kept.draw(4000, "order-preserving", np.random.default_rng(1))
    assert drawn.shape == (4000, *SHAPE) and drawn.dtype == torch.float64
    values = drawn.flatten(1)
    # Each draw falls along one of the stored orders, and members are drawn uniformly.
    fits = torch.stack([(values[:, order].diff(dim=1) <= 0).all(1) for order in kept.orders], 1)
    assert (fits.sum(1) == 1).all()
    assert (fits.float().mean(0) - 0.25).abs().max() < 4 * (0.25 * 0.75 / 4000) ** 0.5
    for member, (location, scale) in enumerate(kept.parameters.tolist()):
        of_member = values[fits[:, member]].double().numpy().ravel()
        deviation = np.abs(of_member - location)
        assert abs(deviation.mean() - scale) < 4 * deviation.std() / len(of_member) ** 0.5
        assert stats.kstest(of_member, stats.laplace(location, scale).cdf).pvalue > 1e-4


def test_distributions_and_their_tensors_are_drawn_alike():
    members = tensors(20)
    of_tensors = Collection(None, members).draw(30, "order-preserving", np.random.default_rng(7)).additive
    of_kept = Distributions.fitted(members).draw(30, "order-preserving", np.random.default_rng(7)).additive
    assert_allclose(of_tensors, of_kept, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", ["verbatim", "elementwise-laplace"])
def test_distributions_have_one_rule(how):
    with pytest.raises(
        InputError, match=f"--draw {how}: not a rule of this noise; expected order-preserving, .* tensors are gone"
    ):
        Distributions.fitted(tensors()).draw(3, how, np.random.default_rng(0))


# Files.


def files(folder, parameters=None, orders=None):
    kept = Distributions.fitted(tensors())
    np.save(folder / "distributions.npy", kept.parameters.numpy() if parameters is None else parameters)
    np.save(folder / "orders.npy", kept.orders.numpy() if orders is None else orders)
    return folder / "distributions.npy", folder / "orders.npy"


def test_files_survive(tmp_path):
    kept = Distributions.fitted(tensors())
    write_together(kept.files(tmp_path))
    found = load_distributions(tmp_path / "distributions.npy", tmp_path / "orders.npy", SHAPE)
    assert torch.equal(found.parameters, kept.parameters) and torch.equal(found.orders, kept.orders)
    assert len(load_distributions(tmp_path / "distributions.npy", tmp_path / "orders.npy", SHAPE, skip_rows=1)) == 3


GOOD = np.tile(np.arange(120), (4, 1))
REPEATED = GOOD.copy()
REPEATED[2, 0] = 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"parameters": np.float32([[0, 1], [0, 0], [0, 1], [0, 1]])}, "row 1 has location 0 and scale 0, expected finite"),
        ({"parameters": np.float32([[0, 1], [0, 1], [0, 1], [0, -2]])}, "row 3 has location 0 and scale -2"),
        ({"parameters": np.array([[0, 1e-50]] * 4)}, "row 0 has location 0 and scale 0"),
        ({"parameters": np.array([[0, 1e300]] * 4)}, "row 0 has location 0 and scale inf"),
        ({"parameters": np.float32([[np.nan, 1]] * 4)}, "row 0 has location nan"),
        ({"parameters": np.ones((4, 3), np.float32)}, "found float32 (4, 3), expected float32 (N, 2)"),
        ({"parameters": np.ones((4, 2), np.int64)}, "found int64 (4, 2), expected float32 (N, 2)"),
        ({"orders": REPEATED}, "row 2 is not a permutation of 0 to 119"),
        ({"orders": GOOD + 1}, "row 0 is not a permutation of 0 to 119"),
        ({"orders": GOOD[:3]}, "found int64 (3, 120), expected int64 (4, 120)"),
        ({"orders": GOOD[:, :100]}, "found int64 (4, 100), expected int64 (4, 120)"),
        ({"orders": GOOD.astype(float)}, "found float64 (4, 120), expected int64"),
    ],
)
def test_bad_files(tmp_path, content, message):
    distributions, orders = files(tmp_path, **content)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        sample.main(sample.Arguments(distributions=distributions, orders=orders, output=tmp_path / "output"))
    assert str(orders if "orders" in content else distributions) in str(error.value)
    assert not (tmp_path / "output").exists()


def test_both_files_and_no_tensors_beside_them(tmp_path):
    distributions, orders = files(tmp_path)
    for missing, named in (("--orders", (distributions, None)), ("--distributions", (None, orders))):
        with pytest.raises(InputError, match=f"{missing}: not named"):
            load_noise(None, None, *named, SHAPE)
    with pytest.raises(InputError, match="found tensors beside them"):
        load_noise(tmp_path / "additive.npy", None, distributions, orders, SHAPE)
    with pytest.raises(InputError, match="--additive: not named"):
        load_noise(None, tmp_path / "multiplicative.npy", None, None, SHAPE)


# The loss.


@pytest.fixture(scope="module")
def setting():
    """Two networks, activations of each, labels, and the tensors of two members."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((6, 1, 32, 32))).float()
    public, private = (SplitNetwork(pretrained_lenet(n), "relu5") for n in (2, 10))
    labels = torch.tensor([0, 1, 0, 1, 1, 0]), torch.tensor([0, 6, 3, 9, 7, 5])
    return public, private, [split.activations(images) for split in (public, private)], labels, tensors(2)


@pytest.mark.parametrize("gamma", [None, 0.3])
@pytest.mark.parametrize("updates", [0, 499, 500, 1999])
def test_loss(setting, gamma, updates):
    public, private, (activations, private_activations), (labels, private_labels), n = setting
    rows = torch.tensor([4, 0, 2])
    unlearned = None if gamma is None else PrivateRows(private, private_activations, private_labels)
    method = Distribution(2.0, 0.05, 0.1, 0.1, False, 0.1, unlearned, gamma or 0.0)
    batch = Batch((activations, labels), rows, rows, torch.full((2,), updates))
    found = method.losses(public, {"additive": n}, batch)
    for member, value in zip(n, found, strict=True):
        # public.cloud gives log-probabilities
        expected = -public.cloud(activations[rows] + member)[range(3), labels[rows]].mean()
        expected = expected - 0.05 * 0.1 ** (updates // 500) * member.abs().sum()
        if gamma:
            expected = (
                expected + gamma * private.cloud(private_activations[rows] + member)[range(3), private_labels[rows]].mean()
            )
        assert_allclose(value, expected, rtol=1e-5)


def test_redrawn_tensors_pass_their_gradient_on():
    parameter = tensors().requires_grad_()
    weights = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    drawn = redraw_in_order(parameter, "laplace", np.random.default_rng(3))
    assert_allclose(
        drawn.detach(), redraw_in_order(parameter.detach(), "laplace", np.random.default_rng(3)), rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(drawn, parameter)
    (drawn * weights).sum().backward()
    assert torch.equal(parameter.grad, weights)


# The scripts.


def learned(output, **fields):
    train.main(train.Arguments(output=output, **SMALL | fields))
    names = ("distributions.npy", "orders.npy", "training.csv", "curves.csv")
    return {name: (output / name).read_bytes() for name in names}, json.loads((output / "run.json").read_text())


@pytest.mark.parametrize("public_labels", ["digits", "gt5"])
def test_three_steps_of_lenet(tmp_path, public_labels):
    content, record = learned(tmp_path / "noise", public_labels=public_labels)
    assert sorted(path.name for path in (tmp_path / "noise").iterdir()) == sorted([*content, "run.json"])
    parameters, orders = (np.load(tmp_path / "noise" / name) for name in ("distributions.npy", "orders.npy"))
    assert parameters.shape == (3, 2) and parameters.dtype == np.float32 and (parameters[:, 1] > 0).all()
    assert orders.shape == (3, 120) and (np.sort(orders) == np.arange(120)).all()
    assert (tmp_path / "noise" / "training.csv").read_text().splitlines()[0] == "snr,accuracy,epoch,sse"
    assert record["arguments"]["alpha"] == 1e-3 and record["arguments"]["learn_redrawn"] is True
    named = {"distributions": tmp_path / "noise" / "distributions.npy", "orders": tmp_path / "noise" / "orders.npy"}
    sample.main(sample.Arguments(output=tmp_path / "sample", n_samples=5, seed=0, public_labels=public_labels, **named))
    noisy, clean = (np.load(tmp_path / "sample" / f"{name}_activations.npy") for name in ("noisy", "original"))
    columns = (tmp_path / "sample" / "draws.csv").read_text().splitlines()[0]
    assert columns == "snr,public_accuracy" + (",private_accuracy" if public_labels == "gt5" else "")
    # Each query's noise falls along one of the stored orders, but for a step of its grid.
    step = parameters[:, 1].max() / 256
    for noise in (noisy - clean).reshape(5, 120):
        assert sum((np.diff(noise[order]) <= step).all() for order in orders) == 1
    # The folder says all that those flags say.
    sample.main(sample.Arguments(output=tmp_path / "again", n_samples=5, seed=0, noise=tmp_path / "noise"))
    for name in ("noisy_activations.npy", "public_labels.npy", "draws.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "sample" / name).read_bytes()


def test_same_seed_same_bits(tmp_path):
    first, again, other = (learned(tmp_path / str(i), seed=seed)[0] for i, seed in enumerate((1, 1, 2)))
    assert first == again and first["distributions.npy"] != other["distributions.npy"]


def test_alpha_makes_noise_grow(tmp_path):
    quiet, loud = (
        np.load(tmp_path / f"{alpha}" / "distributions.npy")
        for alpha in (0.0, 0.1)
        if learned(tmp_path / f"{alpha}", alpha=alpha, images=None, epochs=20, min_epochs=15, max_sse=10.0)
    )
    assert loud[:, 1].mean() > 1.5 * quiet[:, 1].mean()


def test_tensors_learned_redrawn_survive_redrawing(tmp_path):
    column = "average test accuracy, order-preserving draws"
    longer = {"images": None, "epochs": 121, "min_epochs": 120, "public_labels": "digits"}
    _, alone = learned(tmp_path / "alone", no_learn_redrawn=True, **longer)
    _, redrawn = learned(tmp_path / "redrawn", **longer)
    assert alone["arguments"]["learn_redrawn"] is False
    assert alone["results"][column] < alone["results"]["average test accuracy"] - 0.05
    assert redrawn["results"][column] > alone["results"][column] + 0.05


def test_private_labels_hide_the_digit(tmp_path):
    accuracy = {}
    for private_labels in (False, True):
        folder = tmp_path / str(private_labels)
        learned(folder, public_labels="gt5", private_labels=private_labels, images=None, scale=1.0, epochs=81, min_epochs=80)
        named = {"distributions": folder / "distributions.npy", "orders": folder / "orders.npy"}
        sample.main(sample.Arguments(output=folder / "sample", n_samples=100, seed=0, **named))
        accuracy[private_labels] = json.loads((folder / "sample" / "run.json").read_text())["results"]
    assert accuracy[True]["average private accuracy"] < accuracy[False]["average private accuracy"] - 0.2


def test_members_that_are_no_laplace_are_rejected(tmp_path):
    with pytest.raises(InputError, match="--min-accuracy 0, --max-sse 1e-09: 9 members missed it") as error:
        learned(tmp_path, max_sse=1e-9, epochs=2)
    assert "the lowest sse" in str(error.value)


def test_accuracy_out_of_reach_leaves_the_logs(tmp_path):
    with pytest.raises(InputError, match=r"the best held-out accuracy seen was \d\.\d{4}"):
        learned(tmp_path, min_accuracy=0.9999, images=None, epochs=2)
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["curves.csv", "training.csv"]
    assert len((tmp_path / "curves.csv").read_text().splitlines()) > 6


@pytest.mark.parametrize(
    "fields",
    [{"alpha": 1e38}, {"alpha": 1e30}, {"learning_rate": 3e38}, {"scale": 1e37}, {"alpha": 1.0, "learning_rate": 1e37}],
)
def test_noise_that_leaves_float32(tmp_path, fields):
    with pytest.raises(InputError, match=r"left the range of float32 at iteration \d+: member \d has the loss .* element") as e:
        learned(tmp_path, **fields)
    assert "--alpha" in str(e.value) and not list(tmp_path.glob("*.npy"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": 0.0}, "--scale: found 0.0, expected more than 0"),
        ({"alpha": -1.0}, "--alpha: found -1.0, expected at least 0"),
        ({"gamma": 0.1}, "--gamma: found 0.1, which means nothing without --private-labels"),
        ({"gamma": 0.0}, "--gamma: found 0.0, which means nothing without --private-labels"),
        ({"location": 0.0}, "--location: found 0.0, which means nothing with --method distribution"),
        ({"clustering_weight": 0.1}, "--clustering-weight: found 0.1, which means nothing with --method distribution"),
        ({"method": "self-supervised", "alpha": 0.1}, "--alpha: found 0.1, which means nothing with --method self-supervised"),
        (
            {"method": "additive", "learn_redrawn": True},
            "--learn-redrawn: found True, which means nothing with --method additive",
        ),
        ({"method": "additive", "recipe": "authors"}, "--recipe authors: --method additive has suite"),
        ({"learn_redrawn": True, "no_learn_redrawn": True}, "--learn-redrawn: found with --no-learn-redrawn"),
        (
            {"private_labels": True},
            "--private-labels: no private label is left in lenet on mnist-5k beside --public-labels digits",
        ),
    ],
)
def test_flags(tmp_path, fields, message):
    with pytest.raises(InputError, match=re.escape(message)):
        train.main(train.Arguments(output=tmp_path / "output", **SMALL | fields))
    assert not (tmp_path / "output").exists()


def test_private_labels_for_alexnet(tmp_path):
    with pytest.raises(InputError, match="--private-labels: no private label is left in alexnet on mnist-5k beside"):
        train_alexnet.main(train_alexnet.Arguments(method="distribution", private_labels=True, output=tmp_path / "output"))


def test_three_steps_of_alexnet(tmp_path, mnist_5k, monkeypatch):
    few = dataclasses.replace(mnist_5k, test_images=mnist_5k.test_images[:20], test_labels=mnist_5k.test_labels[:20])
    monkeypatch.setattr("tasks.alexnet.load_digits", lambda *_: few)  # all of the test images go through the edge
    small = {"members": 2, "images": 40, "epochs": 1, "min_accuracy": 0.0, "max_sse": 1.0, "cutting_point": "pool5"}
    noise = tmp_path / "noise"
    train_alexnet.main(train_alexnet.Arguments(method="distribution", output=noise, **small))
    named = {"distributions": noise / "distributions.npy", "orders": noise / "orders.npy"}
    sample_alexnet.main(sample_alexnet.Arguments(output=tmp_path / "sample", n_samples=3, judged_on=2, seed=0, **named))
    record = json.loads((tmp_path / "sample" / "run.json").read_text())
    assert record["arguments"]["draw"] == "order-preserving" and record["results"]["members"] == 2
    noisy, clean = (np.load(tmp_path / "sample" / f"{name}_activations.npy") for name in ("noisy", "original"))
    orders, step = np.load(named["orders"]), np.load(named["distributions"])[:, 1].max() / 256
    for values in (noisy - clean).reshape(3, -1):
        assert sum((np.diff(values[order]) <= step).all() for order in orders) == 1


def test_each_version_has_its_own_draw(tmp_path):
    train.main(train.Arguments(output=tmp_path / "noise", **SMALL | {"method": "additive", "epochs": 3}))
    additive = tmp_path / "noise" / "additive.npy"
    sample.main(sample.Arguments(additive=additive, output=tmp_path / "sample", n_samples=3, seed=0, public_labels="digits"))
    record = json.loads((tmp_path / "sample" / "run.json").read_text())
    assert record["arguments"]["draw"] == "elementwise-laplace"


def test_what_another_method_left_is_removed(tmp_path):
    train.main(train.Arguments(output=tmp_path, **SMALL | {"method": "self-supervised", "epochs": 3}))
    learned(tmp_path, epochs=3)
    assert sorted(path.name for path in tmp_path.glob("*.npy")) == ["distributions.npy", "orders.npy"]


def test_collection_is_another_name_for_members(tmp_path):
    found = tyro.cli(train.Arguments, args=["--method", "distribution", "--collection", "7", "--learn-redrawn"])
    assert found.members == 7 and found.learn_redrawn
    assert tyro.cli(train.Arguments, args=["--no-learn-redrawn"]).no_learn_redrawn


@pytest.mark.parametrize("method", ["additive", "self-supervised"])
def test_methods_share_the_script(tmp_path, method):
    train.main(train.Arguments(output=tmp_path, **SMALL | {"method": method, "public_labels": "digits", "epochs": 3}))
    weights = json.loads((tmp_path / "run.json").read_text())["arguments"]["weights"]
    assert weights == f".../{WEIGHTS[10].name}"
    assert (tmp_path / "multiplicative.npy").exists() == (method == "self-supervised")
