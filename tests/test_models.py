import pickle

import pytest
import torch
from safetensors.torch import save_file

from models.lenet import CUTTING_POINTS, INPUT_SHAPE, WEIGHTS, LeNet, pretrained_lenet
from models.weights import WeightsError, load_weights
from shredder.datasets import digit_gt5, to_network_input

LABELS = {10: lambda digits: digits, 2: digit_gt5}
NAMES = [
    f"{layer}.{kind}" for layer in ("convnet.c1", "convnet.c3", "convnet.c5", "fc.f6", "fc.f7") for kind in ("weight", "bias")
]


def n_correct(n_classes, images, digits):
    with torch.no_grad():
        predicted = pretrained_lenet(n_classes)(to_network_input(images)).argmax(1)
    return int((predicted == LABELS[n_classes](digits)).sum())


@pytest.mark.parametrize("n_classes", [10, 2])
def test_accuracy_on_mnist_5k(mnist_5k, n_classes):
    """Of 1,000 digits that the network never saw."""
    assert 990 <= n_correct(n_classes, mnist_5k.test_images, mnist_5k.test_labels) <= 1000


@pytest.mark.parametrize("n_classes", [10, 2])
def test_accuracy_on_mnist(mnist, n_classes):
    assert 9900 <= n_correct(n_classes, mnist.test_images, mnist.test_labels) <= 10_000


def test_architecture():
    """Parameters by hand: a layer has outputs x (inputs x window + 1)."""
    by_hand = 6 * (1 * 25 + 1) + 16 * (6 * 25 + 1) + 120 * (16 * 25 + 1) + 84 * (120 + 1) + 10 * (84 + 1)
    assert sum(p.numel() for p in LeNet(10).parameters()) == by_hand == 61_706
    assert sum(p.numel() for p in LeNet(2).parameters()) == by_hand - 8 * 85
    assert list(LeNet(10).state_dict()) == NAMES
    assert set(CUTTING_POINTS) < set(LeNet(10).layers())


@pytest.mark.parametrize("n_classes", [10, 2])
def test_answers_are_log_probabilities(n_classes):
    network = pretrained_lenet(n_classes)
    answers = network(torch.rand(7, *INPUT_SHAPE, generator=torch.Generator().manual_seed(0)))
    assert answers.shape == (7, n_classes) and not network.training
    torch.testing.assert_close(answers.exp().sum(1), torch.ones(7))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_both_formats_load_alike(tmp_path, suffix):
    state, path = LeNet(10).state_dict(), tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    for spelled in (path, str(path)):
        found = pretrained_lenet(10, spelled).state_dict()
        assert list(found) == NAMES and all(torch.equal(found[name], state[name]) for name in NAMES)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def refused(path, message):
    """Loading fails, names the file, and leaves the network as it was."""
    network = LeNet(10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(WeightsError, match=message) as error:
        load_weights(network, path)
    assert str(path) in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_missing_file(tmp_path, name):
    refused(tmp_path / name, "no such weights file")
    (tmp_path / name).mkdir()
    refused(tmp_path / name, "no such weights file")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_truncated_file(tmp_path, suffix, kept):
    path = tmp_path / f"a{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(LeNet(10).state_dict(), path)
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, "not readable as weights")


def test_other_head():
    refused(WEIGHTS[2], r"of another network than LeNet: fc.f7.weight: found \(2, 84\), expected \(10, 84\)")


def test_other_names(tmp_path):
    state = LeNet(10).state_dict()
    state["c1.weight"] = state.pop("convnet.c1.weight")
    torch.save(state, tmp_path / "a.pt")
    refused(tmp_path / "a.pt", "convnet.c1.weight: found nothing.*; c1.weight: found .* expected nothing")


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))])
def test_nothing_but_tensors_is_unpickled(tmp_path, write):
    trap = tmp_path / "sprung"
    write({"convnet.c1.weight": Trap(trap)}, tmp_path / "a.pt")
    refused(tmp_path / "a.pt", "not readable as weights")
    assert not trap.exists()


@pytest.mark.parametrize("value", [[1, 2], {"epoch": 3}, torch.zeros(3)])
def test_not_a_state_dict(tmp_path, value):
    torch.save(value, tmp_path / "a.pt")
    refused(tmp_path / "a.pt", "expected a state dict")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights(tmp_path, value):
    state = LeNet(10).state_dict()
    state["fc.f6.bias"][3] = value
    torch.save(state, tmp_path / "a.pt")
    refused(tmp_path / "a.pt", "NaN or infinity in fc.f6.bias$")
