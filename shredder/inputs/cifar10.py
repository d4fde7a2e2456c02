"""CIFAR-10's 60,000 photographs of 32 x 32 pixels, in either of the layouts that its authors publish."""

import hashlib
import pickletools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shredder.io.cli import InputError
from shredder.io.files import open_regular

# Files of the binary layout: a byte of class and 3,072 of pixels for each of 10,000 images.
_BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
_IMAGES, _RECORD = 10_000, 1 + 3 * 32 * 32
# Mean and spread of the training pixels in [0, 1], by channel.
_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def load_cifar10(data_root: Path, part: str) -> tuple[Tensor, Tensor]:
    """Pixels and classes, in the order of the files.

    Parameters
    ----------
    data_root : Path
        Folder that holds `cifar-10-batches-bin` (the binary layout) or `cifar-10-batches-py` (torchvision's, whose files are
        read if their MD5 is the published one, and never unpickled); torchvision's is downloaded there if neither is.
    part : "train" or "test"

    Returns
    -------
    (Tensor, Tensor)
        uint8 (n, 3, 32, 32), n = 50,000 or 10,000; int64 (n,), 0 to 9 for airplane, automobile, bird, cat, deer, dog, frog,
        horse, ship, truck.

    Raises
    ------
    InputError
        If the files hold something else, or are not there and cannot be downloaded.
    """
    folder = Path(data_root) / "cifar-10-batches-bin"
    if not folder.is_dir():
        return _by_torchvision(Path(data_root), part)
    rows = np.concatenate([_batch(folder / name) for name in _BATCHES[part]])
    return torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32)), torch.from_numpy(rows[:, 0].astype(np.int64))


def _batch(path: Path) -> np.ndarray:
    """Records of one file, uint8 (10000, 3073)."""
    try:
        with open_regular(path) as file:
            content = file.read(_IMAGES * _RECORD + 1)
    except OSError as error:
        raise InputError(f"--dataset cifar10: {path}: {error.strerror}, expected CIFAR-10's file") from error
    if len(content) != _IMAGES * _RECORD:
        size = f"{len(content):,}" if len(content) < _IMAGES * _RECORD else f"more than {_IMAGES * _RECORD:,}"
        raise InputError(f"--dataset cifar10: {path}: found {size} bytes, expected {_IMAGES:,} records of {_RECORD:,}")
    rows = np.frombuffer(content, np.uint8).reshape(_IMAGES, _RECORD)
    if rows[:, 0].max() > 9:
        raise InputError(f"--dataset cifar10: {path}: found the class {rows[:, 0].max()}, expected 0 to 9")
    return rows


def _by_torchvision(data_root: Path, part: str) -> tuple[Tensor, Tensor]:
    from torchvision.datasets import CIFAR10, utils  # takes a second to import, so only where it is asked for

    folder = data_root / CIFAR10.base_folder
    try:
        if not folder.is_dir():
            utils.download_and_extract_archive(CIFAR10.url, str(data_root), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)
        listed = {"train": CIFAR10.train_list, "test": CIFAR10.test_list}[part]
        found = [_of_pickle(folder / name, md5) for name, md5 in listed]
    except (OSError, RuntimeError) as error:
        reason = " ".join(f"{error}".split())
        raise InputError(
            f"--dataset cifar10: {data_root} holds neither cifar-10-batches-bin nor a whole cifar-10-batches-py ({reason}); "
            "name the folder that does with --data-root"
        ) from error
    pixels, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return torch.from_numpy(pixels.reshape(-1, 3, 32, 32)), torch.from_numpy(labels)


def _of_pickle(path: Path, md5: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8 (n, 3072), and classes, int64 (n,), of one of torchvision's files, whose MD5 has to be `md5`.

    It is a pickle, and is not unpickled: that could run code. Its instructions are listed, and none is followed. Among them
    stand the pixels as one string, and the classes as the bytes that follow the word `labels`. Raises OSError.
    """
    with open_regular(path) as file:
        content = file.read()
    if hashlib.md5(content).hexdigest() != md5:
        raise OSError(f"{path}: found another MD5 than the published {md5}")
    key, pixels, labels = "", b"", []
    try:
        for instruction, argument, _ in pickletools.genops(content):
            if instruction.name == "BININT1" and key == "labels":
                labels.append(argument)
            elif isinstance(argument, str | bytes):
                key = argument if len(argument) < 3072 else key
                pixels = max(pixels, argument, key=len)
        pixels = pixels.encode("latin1") if isinstance(pixels, str) else pixels
        return np.frombuffer(pixels, np.uint8).reshape(len(labels), 3072).copy(), np.array(labels, np.int64)
    except (ValueError, TypeError) as error:  # no pickle, text among bytes, or another number of pixels
        raise OSError(f"{path}: found no {len(labels)} images of 3,072 bytes ({error})") from error


def to_cifar10_input(images: Tensor) -> Tensor:
    """Pixels, uint8 (n, 3, 32, 32), as networks for CIFAR-10 read them: in [0, 1], less the mean, over the spread; float32."""
    mean, std = (torch.tensor(values, dtype=torch.float32, device=images.device).view(3, 1, 1) for values in (_MEAN, _STD))
    return (images.float().div_(255) - mean) / std
