"""`--task arrays`: a user's network on a user's arrays from end to end, and every way in which either is none."""

import io
import re
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

import attack
import sample_mutual_info
import train_noise
from models.weights import WeightsError
from shredder.io.cli import InputError
from shredder.io.files import read_arrays
from shredder.io.record import read_record
from shredder.task import read_task

MODULE = '''
from torch import nn

class Around(nn.Module):
    """With a connection around the second convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 3, padding=1)
        self.flat, self.last = nn.Flatten(), nn.Linear(48, 2)

    def forward(self, x):
        x = self.first(x).relu()
        return self.last(self.flat(x + self.second(x)))

def network():
    return Around()

def no_scores():
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 8), nn.Unflatten(1, (2, 4)))

def probabilities():
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 2), nn.Softmax(1))

def a_number():
    return 3

def fails():
    raise OSError("no\\nluck")
'''  # fmt: skip
NETWORK = "users_own.net:network"


def arrays(n, seed, **changed):
    """Brighter or darker than half is public; which of three channels' mixtures it is, private."""
    rng = np.random.default_rng(seed)
    public, private = rng.integers(0, 2, n), rng.integers(0, 3, n)
    images = (rng.random((n, 2, 6, 6)) * 0.3 + 0.5 * public[:, None, None, None] + 0.1 * private[:, None, None, None]).astype(
        np.float32
    )
    return {"images": images, "public": public, "private": private} | changed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Arrays, a module with networks, weights of one that were learned; the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "users_own").mkdir()
    (tmp_path / "users_own" / "net.py").write_text(MODULE)
    for name, n in (("train", 300), ("test", 60)):
        np.savez_compressed(tmp_path / f"{name}.npz", **arrays(n, len(name)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = read_network("network")
        images, labels = (torch.from_numpy(arrays(300, 5)[name]) for name in ("images", "public"))
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
    torch.save(network.state_dict(), tmp_path / "own.pth")
    yield tmp_path
    for name in ("users_own.net", "users_own"):
        sys.modules.pop(name, None)


def read_network(name):
    import importlib

    return getattr(importlib.import_module("users_own.net"), name)()


def learn(folder, **flags):
    quick = {"members": 3, "epochs": 3, "min_epochs": 0, "min_accuracy": 0.0, "scale": 0.5, "cutting_point": "flat"}
    quick |= {"task": "arrays", "network": NETWORK, "weights": folder / "own.pth", "data_root": folder}
    train_noise.main(train_noise.Arguments(**(quick | flags)))


def test_from_end_to_end(folder):
    """The label read is the private one, whatever is public; there is no untrained adversary."""
    learn(folder)
    later = {
        "noise": folder / "runs" / "arrays-users_own.net.network" / "noise",
        "weights": folder / "own.pth",
        "data_root": folder,
    }
    results = read_record(later["noise"] / "run.json")["results"]
    assert results["clean test accuracy"] > 0.95 and results["members"] == 3
    sample_mutual_info.main(sample_mutual_info.Arguments(n_samples=20, seed=0, **later))
    labels = np.load(later["noise"].parent / "sample" / "labels.npy")[:, 0]
    assert np.array_equal(labels, arrays(60, 4)["private"][:20])
    assert np.array_equal(np.load(later["noise"].parent / "sample" / "public_labels.npy")[:, 0], arrays(60, 4)["public"][:20])
    attack.main(attack.Arguments(epochs=2, **later))
    results = read_record(later["noise"].parent / "attacks" / "run.json")["results"]
    assert "its private accuracy" in results and not any("untrained" in name for name in results)
    with pytest.raises(InputError, match="--attacks untrained: no private label is left"):
        attack.main(attack.Arguments(attacks=("untrained",), **later))


def test_bytes_without_a_private_label(folder):
    for name, n in (("train", 100), ("test", 30)):
        found = arrays(n, 1)
        np.savez(folder / f"{name}.npz", images=(255 * found["images"] / 2).astype(np.uint8), public=found["public"])
    task = read_task(f"arrays:{NETWORK}", folder)
    assert task.labels.keys() == {"public"} and task.datasets["arrays"].input_bits == 72 * 8
    images = task.datasets["arrays"].load(folder, {"test": None})["test"]
    assert images.make([0]).max() <= 1 and task.cutting_points["flat"] == (48,)


def test_list_cuts(folder, capsys):
    learn(folder, list_cuts=True)
    assert re.search(r"second +3 x 4 x 4 +192  no cut: relu crosses as well", capsys.readouterr().out)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"images": np.zeros((300, 2, 6, 6))}, "images: found float64 (300, 2, 6, 6), expected finite float32 or uint8"),
        ({"images": np.full((300, 2, 6, 6), np.nan, np.float32)}, "images: found float32 (300, 2, 6, 6), expected finite"),
        ({"images": np.zeros((300, 3, 6, 6), np.float32)}, "takes no images of (3, 6, 6)"),
        ({"public": np.zeros(299, int)}, "public: found int64 (299,), expected integers from 0 on, (300,)"),
        ({"public": np.zeros(300)}, "public: found float64 (300,), expected integers"),
        ({"public": -np.ones(300, int)}, "public: found int64 (300,), expected integers from 0 on"),
        ({"public": np.full(300, 2)}, "the train images have the public labels 2 to 2, torch.int64, expected 0 to 1"),
        ({"private": np.zeros((300, 1), int)}, "private: found int64 (300, 1), expected integers from 0 on, (300,)"),
        ({"private": np.array([{}] * 300)}, "train.npz: not a readable .npz archive of arrays of numbers (found object)"),
    ],
    ids=["float64", "NaN", "shape", "length", "float labels", "negative", "outside", "rank", "objects"],
)  # fmt: skip
def test_arrays_that_do_not_fit(folder, changed, message):
    np.savez(folder / "train.npz", **arrays(300, 5, **changed))
    with pytest.raises(InputError, match=re.escape(message)) as error:
        learn(folder)
    assert "\n" not in str(error.value) and not list(folder.glob("runs/*/noise/*.npy"))


def bomb():
    """A kilobyte that unpacks to a megabyte."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        array = io.BytesIO()
        np.save(array, np.zeros(2**17))
        archive.writestr("images.npy", array.getvalue())
    return content.getvalue()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda path: path.unlink(), "no such file, expected an .npz archive"),
        (lambda path: path.write_bytes(b""), "not a readable .npz archive of arrays of numbers (File is not a zip file)"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a readable .npz archive"),
        (lambda path: path.write_bytes(path.read_bytes().replace(path.read_bytes()[500:507], b"damaged")), "not a readable"),
        (lambda path: path.write_bytes(bomb()), "images.npy unpacks"),
        (lambda path: np.savez(path, pictures=np.zeros(3)), "found pictures, expected images, public"),
    ],
    ids=["missing", "empty", "truncated", "damaged", "bomb", "other names"],
)  # fmt: skip
def test_files_that_are_none(folder, change, message):
    change(folder / "train.npz")
    with pytest.raises(InputError, match=re.escape(message)) as error:
        learn(folder)
    assert "train.npz" in str(error.value) and "\n" not in str(error.value)


def test_archives_read_as_numpy_reads_them(folder):
    found = read_arrays(folder / "train.npz")
    with np.load(folder / "train.npz") as expected:
        assert found.keys() == set(expected) and all(np.array_equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize(
    "network, message",
    [
        ("nowhere.at_all:network", "--network nowhere.at_all:network: ModuleNotFoundError: No module named 'nowhere'"),
        ("users_own.net:nothing", "--network users_own.net:nothing: AttributeError: "),
        ("users_own.net:fails", "--network users_own.net:fails: OSError: no luck; expected package.module:function"),
        ("users_own.net:a_number", "found int, expected a function that returns a torch.nn.Module"),
        ("users_own.net:no_scores", "the network answers (1, 2, 4), torch.float32, expected scores"),
        ("users_own.net:probabilities", "as probabilities, expected scores or log-probabilities"),
    ],
)  # fmt: skip
def test_networks_that_are_none(folder, network, message):
    flags = {}
    if network.endswith(("no_scores", "probabilities")):
        torch.save(read_network(network.rpartition(":")[2]).state_dict(), folder / "own.pth")
        flags = {"cutting_point": "0"}
    with pytest.raises(InputError, match=re.escape(message)) as error:
        learn(folder, network=network, **flags)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"cutting_point": "third"}, "--cutting-point: found 'third', expected one of first, "),
        ({"cutting_point": "second"}, "--cutting-point second: more than its output crosses, that of relu as well"),
        ({"private_labels": True, "method": "distribution"}, "--private-labels: no private label is left .* or none that"),
    ],
)  # fmt: skip
def test_flags_that_do_not_fit(folder, flags, message):
    with pytest.raises(InputError, match=message):
        learn(folder, **flags)


def test_weights_have_to_be_named(folder):
    with pytest.raises(WeightsError, match="--weights: not named; expected the network's"):
        learn(folder, weights=None)
