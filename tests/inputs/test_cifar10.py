"""CIFAR-10's files: a tiny copy by hand, the real ones where they are, and every way in which a file is none."""

import hashlib
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from shredder.inputs.cifar10 import load_cifar10, to_cifar10_input
from shredder.io.cli import InputError

PER_FILE = 20


@pytest.fixture
def rows(small_cifar10):
    """All records, (120, 3073): five files of training and one of test images."""
    folder = small_cifar10 / "cifar-10-batches-bin"
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    return np.concatenate([np.fromfile(folder / name, np.uint8).reshape(-1, 3073) for name in names])


@pytest.fixture
def pickled(tmp_path, rows, monkeypatch):
    """Writes torchvision's layout of the same records, pickled by a protocol, beside what `more` has; returns its folder."""

    def write(protocol, **more):
        folder = tmp_path / "pickled" / CIFAR10.base_folder
        folder.mkdir(parents=True, exist_ok=True)
        for part, some in (("train_list", rows[:-PER_FILE]), ("test_list", rows[-PER_FILE:])):
            names = {"batch_label": "testing batch 1 of 1", "filenames": ["a.png"] * len(some)}
            entry = names | {"labels": some[:, 0].tolist(), "data": some[:, 1:]} | more
            (folder / part).write_bytes(content := pickle.dumps(entry, protocol))
            monkeypatch.setattr(CIFAR10, part, [[part, hashlib.md5(content).hexdigest()]])
        return folder.parent

    return write


@pytest.mark.parametrize("protocol", [2, 4])
def test_both_layouts_hold_the_same(small_cifar10, pickled, protocol):
    folder = pickled(protocol)
    for part, n in (("train", 5 * PER_FILE), ("test", PER_FILE)):
        (pixels, classes), (others, other_classes) = load_cifar10(small_cifar10, part), load_cifar10(folder, part)
        assert pixels.shape == (n, 3, 32, 32) and pixels.dtype == torch.uint8 and classes.dtype == torch.int64
        assert torch.equal(pixels, others) and torch.equal(classes, other_classes)
    (folder / CIFAR10.base_folder / "test_list").write_bytes(b"another")
    with pytest.raises(
        InputError, match=r"--dataset cifar10: .* holds neither .* nor a whole cifar-10-batches-py .*another MD5"
    ):
        load_cifar10(folder, "test")


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_pickles_are_listed_and_not_followed(small_cifar10, pickled, tmp_path):
    """Even where the MD5 is the one that is expected."""
    folder, trace = pickled(4, trap=Trap(tmp_path / "executed")), tmp_path / "executed"
    assert torch.equal(load_cifar10(folder, "test")[0], load_cifar10(small_cifar10, "test")[0]) and not trace.exists()
    pickle.loads((folder / CIFAR10.base_folder / "test_list").read_bytes())
    assert trace.exists()


def test_a_record_by_hand(small_cifar10, rows):
    """A byte of class, then the red plane, row by row."""
    pixels, classes = load_cifar10(small_cifar10, "train")
    assert classes[5] == rows[5, 0] and pixels[5, 0, 0, 1] == rows[5, 2] and pixels[5, 2, 31, 31] == rows[5, 3072]


def test_input_by_hand():
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 32, 32)
    found = to_cifar10_input(pixels)
    assert found.shape == (2, 3, 32, 32) and found.dtype == torch.float32
    torch.testing.assert_close(found[:, 0, 0, 0], torch.tensor([-0.4914 / 0.247, (1 - 0.4914) / 0.247]))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda path: path.write_bytes(b""), f"found 0 bytes, expected {PER_FILE} records of 3,073"),
        (lambda path: os.truncate(path, 100), "found 100 bytes, expected"),
        (lambda path: path.write_bytes(path.read_bytes() + b"0"), "found more than 61,460 bytes, expected"),
        (lambda path: path.write_bytes(b"\x0a" + path.read_bytes()[1:]), "found the class 10, expected 0 to 9"),
        (Path.unlink, "No such file or directory, expected CIFAR-10's file"),
    ],
    ids=["empty", "truncated", "too long", "another class", "missing"],
)
def test_a_file_that_is_none(small_cifar10, change, message):
    path = small_cifar10 / "cifar-10-batches-bin" / "test_batch.bin"
    change(path)
    with pytest.raises(InputError, match=re.escape(f"--dataset cifar10: {path}: {message}")) as error:
        load_cifar10(small_cifar10, "test")
    assert "\n" not in str(error.value)


def test_neither_there_nor_to_be_had(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no\nnetwork")

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", offline)
    with pytest.raises(InputError, match=r"holds neither .* \(no network\); name the folder"):
        load_cifar10(tmp_path, "train")


def test_the_real_one(cifar10_root):
    """Counts of classes and means of channels as published."""
    pixels, classes = load_cifar10(cifar10_root, "train")
    assert classes.bincount().tolist() == [5000] * 10
    found = pixels.double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(found, torch.tensor([0.4914, 0.4822, 0.4465]).double(), atol=1e-4, rtol=0)
