"""SVHN's photographs of house numbers, 32 x 32 pixels: 4,000 of them from an array, or all by torchvision's downloader."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shredder.io.cli import InputError
from shredder.io.files import read_arrays

# Images of the small set.
_FEW = 4000
_FILE = "svhn-test-4000.npz"
# Mean and spread of the training pixels in [0, 1], by channel, as the shipped network was trained with them.
_MEAN, _STD = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)


def load_svhn(data_root: Path, part: str) -> tuple[Tensor, Tensor]:
    """All images of one part, in the order of torchvision's file.

    Parameters
    ----------
    data_root : Path
        Folder that holds, or receives, `train_32x32.mat` and `test_32x32.mat`; files with another MD5 are fetched anew.
    part : "train" or "test"

    Returns
    -------
    (Tensor, Tensor)
        Pixels, uint8 (n, 3, 32, 32), n = 73,257 or 26,032; digits, int64 (n,).

    Raises
    ------
    InputError
        If the file is not there and cannot be downloaded, or is damaged.
    """
    from torchvision.datasets import SVHN  # takes a second to import, so only where it is asked for

    try:
        found = SVHN(data_root, split=part, download=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(f"{error}".split())[:200]
        raise InputError(f"--dataset svhn: {data_root} holds no whole {part}_32x32.mat ({reason}); "
                         "name the folder that does with --data-root") from error  # fmt: skip
    return torch.from_numpy(found.data), torch.from_numpy(found.labels.astype(np.int64))


def load_few_svhn(data_root: Path) -> tuple[Tensor, Tensor]:
    """The first 4,000 images of the test set: pixels, uint8 (4000, 3, 32, 32), and digits, int64 (4000,).

    Parameters
    ----------
    data_root : Path
        Folder that holds `svhn-test-4000.npz` with `images`, uint8 (4000, 32, 32, 3), and `labels`, integers (4000,); or what
        `load_svhn` takes.

    Raises
    ------
    InputError
        If neither is there, or the file holds something else.
    """
    path = Path(data_root) / _FILE
    if not path.exists():
        return tuple(of[:_FEW] for of in load_svhn(data_root, "test"))
    found = read_arrays(path, "--dataset svhn-4000")
    images, digits = (found.get(name, np.empty(0)) for name in ("images", "labels"))
    if (
        images.dtype != np.uint8
        or images.shape != (_FEW, 32, 32, 3)
        or digits.dtype.kind not in "iu"
        or digits.shape != (_FEW,)
    ):
        raise InputError(
            f"--dataset svhn-4000: {path}: found images {images.dtype} {images.shape}, labels {digits.dtype} {digits.shape}, "
            f"expected uint8 {(_FEW, 32, 32, 3)} and integers {(_FEW,)}"
        )
    if digits.min() < 0 or digits.max() > 9:
        raise InputError(f"--dataset svhn-4000: {path}: found labels {digits.min()} to {digits.max()}, expected 0 to 9")
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(digits.astype(np.int64))


def to_svhn_input(images: Tensor) -> Tensor:
    """Pixels, uint8 (n, 3, 32, 32), as the network reads them: in [0, 1], less the mean, over the spread; float32."""
    mean, std = (torch.tensor(values, dtype=torch.float32, device=images.device).view(3, 1, 1) for values in (_MEAN, _STD))
    return (images.float().div_(255) - mean) / std
