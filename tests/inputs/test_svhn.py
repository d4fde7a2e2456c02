"""SVHN's files: a tiny copy by hand, the real one where it is, and every way in which a file is none."""

import re

import numpy as np
import pytest
import torch
from torchvision.datasets import SVHN

from shredder.inputs.svhn import load_few_svhn, load_svhn, to_svhn_input
from shredder.io.cli import InputError


def test_an_image_by_hand(small_svhn):
    stored = np.load(small_svhn / "svhn-test-4000.npz")
    pixels, digits = load_few_svhn(small_svhn)
    assert pixels.shape == (60, 3, 32, 32) and pixels.dtype == torch.uint8 and digits.tolist() == [i % 10 for i in range(60)]
    assert pixels[7, 2, 30, 1] == stored["images"][7, 30, 1, 2]
    found = to_svhn_input(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 32, 32))
    torch.testing.assert_close(found[:, 0, 0, 0], torch.tensor([-0.4377 / 0.198, (1 - 0.4377) / 0.198]))


def test_without_the_array_the_test_set_begins_with_it(tmp_path, monkeypatch):
    """torchvision's own file, in the shape that its authors publish: (32, 32, 3, n), and 10 for the digit 0."""
    from scipy.io import savemat

    monkeypatch.setattr("shredder.inputs.svhn._FEW", 5)
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 8)).astype(np.uint8)
    savemat(tmp_path / "test_32x32.mat", {"X": images, "y": np.array([10, 1, 2, 3, 4, 5, 6, 9], np.uint8)[:, None]})
    monkeypatch.setattr(SVHN, "download", lambda self: None)
    monkeypatch.setattr(SVHN, "_check_integrity", lambda self: True)
    pixels, digits = load_svhn(tmp_path, "test")
    assert digits.tolist() == [0, 1, 2, 3, 4, 5, 6, 9] and pixels[3, 1, 4, 5] == images[4, 5, 1, 3]
    few, their = load_few_svhn(tmp_path)
    assert torch.equal(few, pixels[:5]) and torch.equal(their, digits[:5])


def test_neither_there_nor_to_be_had(tmp_path, monkeypatch):
    monkeypatch.setattr(SVHN, "download", lambda self: (_ for _ in ()).throw(OSError("no\nnetwork")))
    with pytest.raises(InputError, match=r"holds no whole test_32x32.mat \(no network\); name the folder"):
        load_few_svhn(tmp_path)


@pytest.mark.parametrize(
    "changed, message",
    [
        (
            {"images": np.zeros((59, 32, 32, 3), np.uint8)},
            "found images uint8 (59, 32, 32, 3), labels int64 (60,), expected",
        ),
        ({"images": np.zeros((60, 3, 32, 32), np.uint8)}, "found images uint8 (60, 3, 32, 32), labels"),
        ({"images": np.zeros((60, 32, 32, 3))}, "found images float64"),
        ({"labels": np.full(60, 10)}, "found labels 10 to 10, expected 0 to 9"),
        ({"labels": np.zeros(60)}, "labels float64 (60,), expected uint8 (60, 32, 32, 3) and integers (60,)"),
        ({"labels": None}, "labels float64 (0,), expected"),
    ],
)
def test_arrays_of_another_kind(small_svhn, changed, message):
    path = small_svhn / "svhn-test-4000.npz"
    arrays = {name: array for name, array in (dict(np.load(path)) | changed).items() if array is not None}
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=re.escape(f"--dataset svhn-4000: {path}: ") + ".*" + re.escape(message)):
        load_few_svhn(small_svhn)


def test_a_truncated_file(small_svhn):
    path = small_svhn / "svhn-test-4000.npz"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"svhn-test-4000\.npz: not a readable \.npz archive"):
        load_few_svhn(small_svhn)


def test_the_real_one(grounds_root):
    """Counts of its digits are known: 785 ones, 253 nines."""
    pixels, digits = load_few_svhn(grounds_root)
    assert pixels.shape == (4000, 3, 32, 32) and digits.bincount()[[1, 9]].tolist() == [785, 253]
