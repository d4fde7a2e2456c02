"""Any network, cut where a single value crosses: the halves make the network, and a cut that does not work is named."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

import sample_mutual_info
import train_noise
from shredder.graph import Traced
from shredder.io.cli import InputError
from shredder.io.record import read_record
from shredder.noise.tensors import noisy
from shredder.split import Place, SplitNetwork, places
from shredder.task import Dataset, Labels, Task, tensors

ROOT = Path(__file__).parents[1]


class Residual(nn.Module):
    """Three by three pixels -> scores of four classes, with a connection around the second convolution."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU())
        self.second, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()
        self.drop, self.dense = nn.Dropout(), nn.Linear(27, 4)

    def forward(self, x):
        x = self.first(x)
        x = self.relu(x + self.second(x))
        return self.dense(self.drop(torch.flatten(x, 1)))


@pytest.fixture
def residual():
    torch.manual_seed(0)
    return Residual().eval()


X = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(1))


def test_cuts_in_order(residual):
    cuts = Traced(residual).cuts()
    assert list(cuts) == ["first.0", "first.1", "second", "add", "relu", "flatten", "drop", "first"]
    assert {name: cut.beside for name, cut in cuts.items() if cut.beside} == {"second": ("first.1",)}
    assert cuts["first"].node is cuts["first.1"].node


@pytest.mark.parametrize("cut", ["first.0", "first", "add", "relu", "flatten", "drop"])
def test_halves_make_the_network(residual, cut):
    """Bit for bit, in log-probabilities; with its own weights, frozen."""
    split = SplitNetwork(residual, cut)
    assert torch.equal(split.cloud(split.edge(X)), functional.log_softmax(residual(X), 1))
    own = {id(weight) for weight in residual.parameters()}
    assert {id(weight) for weight in split.parameters()} <= own and not any(w.requires_grad for w in split.parameters())
    assert sum(len(list(half.parameters())) for half in (split.edge, split.cloud)) == len(own)


def test_a_cut_that_more_than_one_value_crosses(residual):
    message = "--cutting-point second: more than its output crosses, that of first.1 as well; .* such as first.1, add, first.0"
    with pytest.raises(InputError, match=message):
        SplitNetwork(residual, "second")


def test_a_layer_that_is_not_there(residual):
    with pytest.raises(InputError, match=re.escape("found 'layer3', expected one of first.0, first.1, add, relu")):
        SplitNetwork(residual, "layer3")


@pytest.mark.parametrize("cut", ["first", "relu", "flatten"])
@pytest.mark.parametrize("with_w", [True, False])
def test_noise_is_added_before_the_cloud(residual, cut, with_w):
    split = SplitNetwork(residual, cut)
    activations, generator = split.activations(X), torch.Generator().manual_seed(2)
    w, n = (torch.randn(3, *activations.shape[1:], generator=generator) for _ in range(2))
    w = w if with_w else None
    found = split.noisy_cloud(activations, w, n)
    expected = torch.stack([split.cloud(noisy(activations, None if w is None else w[r], n[r])) for r in range(3)], 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert len(split.head) == {"first": 0, "relu": 2, "flatten": 1}[cut]  # behind a connection there is no single linear map


class InPlace(nn.Module):
    """Changes what it is given, in every way that there is."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(2, 2, 1), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.conv(x))
        x += 1
        x = functional.relu(x.neg_(), inplace=True)
        return x.flatten(1)


def test_no_half_changes_what_it_is_given():
    torch.manual_seed(0)
    network = InPlace().eval()
    expected = functional.log_softmax(network(X.clone()), 1)
    for cut in Traced(network).cuts():
        split = SplitNetwork(network, cut)
        activations = split.activations(X)
        before = activations.clone()
        assert torch.equal(split.cloud(activations), expected)
        assert torch.equal(activations, before)
    chain = SplitNetwork(nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(18, 2)), "0")
    activations = chain.activations(X)
    before = activations.clone()
    chain.cloud(activations)
    assert torch.equal(activations, before)


class Reshapes(nn.Module):
    """As `size` says it: the batch's size, taken from the input."""

    def __init__(self, size):
        super().__init__()
        self.first, self.relu, self.dense, self.size = nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Linear(27, 4), size

    def forward(self, x):
        n = self.size(x)
        return self.dense(self.relu(self.first(x)).view(n, -1))


@pytest.mark.parametrize(
    "size", [lambda x: x.size(0), lambda x: x.shape[0], lambda x: x.size()[0]], ids=["(0)", "[0]", "()[0]"]
)
def test_the_batchs_size_crosses_no_cut(size):
    """Each half asks what it is given, so that any number of activations is answered."""
    network, x = Reshapes(size).eval(), torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    split = SplitNetwork(network, "first")
    assert [name for name, cut in Traced(network).cuts().items() if cut.beside] == ["size"]
    with torch.no_grad():
        assert torch.equal(split.cloud(split.edge(x)), network(x).log_softmax(1))
        assert split.cloud(split.edge(x)[:2]).shape == (2, 4)


class Asks(nn.Module):
    """What it does depends on what it is given."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_cannot_be_traced():
    with pytest.raises(
        InputError, match=r"a Asks cannot be traced .* expected one whose operations do not depend on its input"
    ):
        SplitNetwork(Asks(), "any")


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("resnet18", "layer3"),
        ("squeezenet1_1", "features.8"),
        ("densenet121", "features.pool0"),
        ("mobilenet_v3_small", "features.5"),
    ],
)
def test_torchvisions_networks(name, cut):
    torch.manual_seed(0)
    network = torchvision.models.get_model(name).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    split = SplitNetwork(network, cut)
    with torch.no_grad():
        torch.testing.assert_close(split.cloud(split.edge(images)), functional.log_softmax(network(images), 1), rtol=0, atol=0)


def test_places_of_a_graph_and_of_a_chain(residual):
    found = places(residual, X[:1])
    assert found["first"] == found["first.1"] == Place((3, 3, 3), 108, ())
    assert found["second"] == Place((3, 3, 3), 108, ("first.1",)) and found["flatten"] == Place((27,), 108, ())
    chain = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3, 2))
    assert places(chain, X[:1]) == {"0": Place((3, 1, 1), 12, ()), "1": Place((3, 1, 1), 12, ()), "2": Place((3,), 12, ())}


def test_learned_and_sampled_like_any_other(tmp_path, monkeypatch, residual):
    """Steps 1 and 2 on scores, cut behind a connection."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 2, 3, 3, generator=generator)
    with torch.no_grad():
        classes = residual(inputs).argmax(1)  # the clean network is right
    labels = {"classes": Labels(lambda path: residual, lambda: ROOT / "LICENSE")}
    dataset = Dataset(tensors(lambda folder, part: (inputs, classes)), ("classes",), 8 * 18)
    task = Task("residual", {"relu": (3, 3, 3)}, {"random": dataset}, labels)
    for module in ("learn.step", "system"):
        monkeypatch.setattr(f"shredder.{module}.read_task", lambda *_: task)
    quick = {"members": 2, "epochs": 3, "min_epochs": 1, "min_accuracy": 0.0, "scale": 0.1, "batch_size": 20}
    train_noise.main(train_noise.Arguments(task="residual", method="additive", output=tmp_path / "noise", **quick))
    sample_mutual_info.main(sample_mutual_info.Arguments(noise=tmp_path / "noise", output=tmp_path / "sample", seed=0))
    results = read_record(tmp_path / "sample" / "run.json")["results"]
    assert results["clean public accuracy"] == 1 and 0.5 < results["average public accuracy"] < 1
    assert np.load(tmp_path / "sample" / "original_activations.npy").shape == (60, 3, 3, 3)


def test_list_cuts(monkeypatch, capsys, residual):
    labels = {"classes": Labels(lambda path: residual, lambda: ROOT / "LICENSE")}
    dataset = Dataset(tensors(lambda folder, part: (X, torch.zeros(5, dtype=torch.int64))), ("classes",), 8 * 18)
    monkeypatch.setattr("shredder.learn.step.read_task", lambda *_: Task("r", {"relu": (3, 3, 3)}, {"random": dataset}, labels))
    train_noise.main(train_noise.Arguments(task="r", list_cuts=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["shape", "bytes"] and lines[1].split() == ["first.0", "3", "x", "3", "x", "3", "108"]
    assert lines[3].endswith("no cut: first.1 crosses as well") and len(lines) == 1 + 8
