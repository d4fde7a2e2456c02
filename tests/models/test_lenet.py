import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from models.lenet import CUTTING_POINTS, INPUT_SHAPE, WEIGHTS, LeNet, pretrained_lenet
from models.weights import WeightsError, load_weights
from shredder.inputs.digits import digit_gt5, to_network_input

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
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 1200
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_missing_file(tmp_path, name):
    refused(tmp_path / name, "no such weights file")
    (tmp_path / name).mkdir()
    refused(tmp_path / name, "not a regular file")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_a_fifo_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, "not a regular file, expected weights$")


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


def prefixed(state):
    return {f"module.{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        prefixed,
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda state: {"model": state},
        lambda state: {"state_dict": prefixed(state), "model": "alexnet"},
        lambda state: {name: value.double() for name, value in state.items()},
    ],
)
def test_wrapped_weights(tmp_path, wrap):
    state = LeNet(10).state_dict()
    torch.save(wrap(state), tmp_path / "a.pt")
    found = pretrained_lenet(10, tmp_path / "a.pt").state_dict()
    assert list(found) == NAMES and all(torch.equal(found[name], state[name]) for name in NAMES)


def test_a_network_that_calls_itself_module(tmp_path):
    """Its names have the prefix by right."""
    network = torch.nn.ModuleDict({"module": torch.nn.Linear(2, 3)})
    torch.save(network.state_dict(), tmp_path / "a.pt")
    load_weights(network, tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda state: {"state_dict": state, "model": state}, "found 'state_dict' is OrderedDict; 'model' is OrderedDict"),
        (
            lambda state: {f"net.{name}": value for name, value in state.items()},
            r"convnet.c1.weight: found nothing, .*; and 7 more; net.convnet.c1.weight: found \(6, 1, 5, 5\), .*; and 7 more$",
        ),
        (lambda state: {"fc": {"f6": state["fc.f6.bias"]}}, "found 'fc' is dict, expected a state dict"),
        (lambda state: {1: state["fc.f6.bias"]}, "found 1 is Tensor, expected a state dict"),
        (lambda state: {}, "found nothing, expected a state dict"),
        (lambda state: state | {"two\nlines": state["fc.f6.bias"]}, r"two lines: found \(84,\), expected nothing"),
        (lambda state: state | {"a" * 10_000: state["fc.f6.bias"]}, "aaaa"),
    ],
)
def test_no_unambiguous_state_dict(tmp_path, wrap, message):
    torch.save(wrap(LeNet(10).state_dict()), tmp_path / "a.pt")
    refused(tmp_path / "a.pt", message)


ODD = {
    "strided float8_e4m3fn on cpu": lambda bias: bias.to(torch.float8_e4m3fn),
    "sparse_coo float32 on cpu": lambda bias: bias.to_sparse(),
    "strided qint8 on cpu": lambda bias: torch.quantize_per_tensor(bias, 0.1, 0, torch.qint8),
    "strided float32 on meta": lambda bias: bias.to("meta"),
    "strided int32 on cpu": lambda bias: bias.int(),
    "strided bool on cpu": lambda bias: bias > 0,
    "strided complex64 on cpu": lambda bias: bias.to(torch.complex64),
    "tensors of several shapes, expected": lambda bias: torch.nested.nested_tensor([bias, bias[:2]]),
    "numbers beyond float32 in fc.f6.bias$": lambda bias: torch.full_like(bias, 1e300, dtype=torch.float64),
}


@pytest.mark.filterwarnings("ignore")  # torch's, of what it will no longer have
@pytest.mark.parametrize("found", ODD)
def test_odd_weights(tmp_path, found):
    """Not real numbers that are all there, in the network's precision."""
    state = LeNet(10).state_dict()
    torch.save(state | {"fc.f6.bias": ODD[found](state["fc.f6.bias"])}, tmp_path / "a.pt")
    refused(tmp_path / "a.pt", found)


@pytest.mark.parametrize("dtype", [torch.float8_e5m2, torch.int64, torch.complex64])
def test_odd_safetensors(tmp_path, dtype):
    state = LeNet(10).state_dict()
    save_file({name: value.to(dtype) for name, value in state.items()}, tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors", f"convnet.c1.weight is strided {str(dtype)[6:]} on cpu; .*; and 7 more; expected")


@pytest.mark.parametrize("old", [b"F32", b"FloatStorage", b"_rebuild_tensor_v2", b"OrderedDict", b"fc.f6.bias"])
@pytest.mark.parametrize("new", [b"I32", b"C64", b"F8_E8M0", b"HalfStorage", b"QInt8Storage", b"_rebuild_qtensor", b"\xff\n"])
def test_damaged_names_and_types(tmp_path, old, new):
    """In place, in all formats: refused in one line, or not damaged at all."""
    state = LeNet(10).state_dict()
    for suffix, save in ((".safetensors", save_file), (".pt", torch.save), (".pth", old_format)):
        path = tmp_path / f"a{suffix}"
        save(state, path)
        content = path.read_bytes()
        path.write_bytes(content.replace(old, new.ljust(len(old))[: len(old)]))
        if path.read_bytes() != content:
            refused(path, ": ")


def old_format(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)
