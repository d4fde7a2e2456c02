"""What the edge is given: tensors in memory, or files that are decoded and resized in workers when they are asked for."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from shredder.inputs.digits import SPLIT_SEED
from shredder.inputs.folders import image_folder, printable
from shredder.io.cli import InputError
from shredder.io.files import open_regular
from shredder.io.record import digest

# Formats of image files, whatever their names end in: others make PIL start programs (EPS), or have no decoder worth its trust.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")
# Modes of 8 bits a channel. PIL turns 16 bits and floating point into RGB by cutting off: white or black pictures.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
# Pixels of one image at most, as it is and when its shorter side is 256: PIL warns of a bomb above this many.
_PIXELS_AT_MOST = 89_478_485
# Shape of what ImageNet's networks read.
IMAGENET_SHAPE = (3, 224, 224)
BATCH_SIZE = 50
# Each has two batches waiting at most, of 30 MB.
_WORKERS = min(8, torch.get_num_threads())


@cache
def imagenet_transform() -> Any:
    """224 of 256 pixels, normalised: what torchvision's weights of AlexNet, and of most others, expect of an image."""
    from torchvision.models import AlexNet_Weights  # takes a second to import, so only where it is asked for

    return AlexNet_Weights.IMAGENET1K_V1.transforms()


@dataclass(frozen=True)
class Images:
    """Inputs of one part of a dataset, made when they are asked for, in an order that is the same for every run.

    Attributes
    ----------
    labels : Tensor, int64, (n,)
        The class of each: the private label, or, where none is left, the public one.
    names : sequence of str
        What a message calls each image.
    make : callable
        From rows to their images, each float32 of `shape`; None for an image that cannot be decoded.
    shape : tuple of int
        Of one image, channels first.
    batch_size : int
        Images that the edge is given at once.
    workers : int
        Processes that make them; 0 where handing them over takes longer than making them.
    content : str
        A digest of what is in memory, for `digest`.
    unreadable : list of int
        Rows of the images that could not be decoded, as far as is known.
    """

    labels: Tensor
    names: Sequence[str | int]
    make: Callable[[list[int]], Tensor | list[Tensor | None]]
    shape: tuple[int, ...]
    batch_size: int = BATCH_SIZE
    workers: int = 0
    content: str = ""
    unreadable: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> tuple[list[int], Tensor | list[Tensor | None] | OSError]:
        try:
            return rows, self.make(rows)
        except OSError as error:  # of the disk; raised in a worker, its message would be a whole traceback
            return rows, error

    def first(self, n: int | None) -> "Images":
        """The first `n` of them, or all if they are fewer, or of None."""
        return replace(self, labels=self.labels[:n], names=self.names[:n], unreadable=[])

    def digest(self) -> str:
        """SHA-256 of names and labels, in their order, and of files' sizes and times: other images have another one."""
        lines = zip(self.names, map(_version, self.names), self.labels.tolist(), strict=True)
        text = "\n".join(f"{name} {version}{label}" for name, version, label in lines)
        return hashlib.sha256(os.fsencode(text + self.content)).hexdigest()  # bytes that are not UTF-8 stay what they are

    def batches(self, first: int = 0, every: slice = slice(None)) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows and their images, (b,) and float32 (b, *shape), from row `first` on; unreadable ones are left out.

        `every` picks some of the batches.
        """
        self.unreadable[:] = [row for row in self.unreadable if row < first]
        loader = DataLoader(
            self,
            batch_sampler=[
                range(start, min(start + self.batch_size, len(self))) for start in range(first, len(self), self.batch_size)
            ][every],
            num_workers=self.workers,
            collate_fn=partial(_stacked, shape=self.shape),
            generator=torch.Generator(),  # or it would take its seed from torch's global one
        )
        for rows, images, unreadable in loader:
            if isinstance(images, OSError):
                raise images
            self.unreadable.extend(unreadable)
            yield torch.tensor(rows, dtype=torch.long), torch.from_numpy(images)

    def require_readable(self, skip_corrupt: bool) -> None:
        """Raise InputError, naming and counting the unreadable images, unless they may be skipped and others are left."""
        if not self.unreadable:
            return
        named = ", ".join(printable(str(self.names[row])) for row in self.unreadable[:5])
        message = f"{len(self.unreadable)} of {len(self)} images cannot be decoded: {named}"
        message += f", and {len(self.unreadable) - 5} more" if len(self.unreadable) > 5 else ""
        if not skip_corrupt or len(self.unreadable) == len(self):
            raise InputError(
                f"{message}. Expected 8-bit {', '.join(_FORMATS)} of at most {_PIXELS_AT_MOST / 1e6:.0f} million pixels. "
                "Replace or remove them, or leave them out with --skip-corrupt"
            )
        print(f"left out: {message}")


def _stacked(
    batch: tuple[list[int], Tensor | list[Tensor | None] | OSError], shape: tuple[int, ...]
) -> tuple[list[int], Any, list[int]]:
    """Rows, their images stacked, and unreadable rows; as numpy's, which go through a pipe.

    Tensors from a worker go through shared memory, of which a container has 64 MB unless it is told otherwise; where it is
    full, the main process waits for ever.
    """
    rows, made = batch
    if isinstance(made, OSError):
        return rows, made, []
    if isinstance(made, Tensor):
        return rows, made.numpy(), []
    images = {row: image for row, image in zip(rows, made, strict=True) if image is not None}
    stacked = torch.stack(list(images.values())) if images else torch.empty(0, *shape)
    return list(images), stacked.numpy(), [row for row in rows if row not in images]


def _version(name: str | int) -> str:
    """Size in bytes and time of the last change of an image's file; nothing of one that has none, or that is not there."""
    with contextlib.suppress(OSError):
        if isinstance(name, str):
            found = os.stat(name)
            return f"{found.st_size} {found.st_mtime_ns} "
    return ""


# Functions of the module, which reach workers that are not forked, too.


def _made(pixels: Tensor, transform: Callable[[Tensor], Tensor], rows: list[int]) -> Tensor:
    return transform(pixels[rows])


def _decode_all(paths: list[str], transform: Callable[[Image.Image], Tensor], rows: list[int]) -> list[Tensor | None]:
    return [_decode(paths[row], transform) for row in rows]


def _decode(path: str, transform: Callable[[Image.Image], Tensor]) -> Tensor | None:
    """What `transform` makes of an image file; None if it cannot be decoded."""
    with open_regular(Path(path)) as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                short, long = sorted(image.size)
                if image.mode not in _MODES or max(short, 256**2 / short) * long > _PIXELS_AT_MOST:
                    return None
                return transform(image.convert("RGB"))
        except MemoryError:
            raise
        except Exception as error:  # decoders raise all kinds of them for damaged files
            if getattr(error, "errno", None) not in (None, errno.EINVAL):  # the disk's error, not that of a place in the file
                raise
            return None


def random_order(n: int) -> Tensor:
    """Rows 0 to n - 1 in a random order that is the same for every run, int64 (n,)."""
    return torch.from_numpy(np.random.default_rng(SPLIT_SEED).permutation(n))


def first_of(order: Tensor, n: int | None, part: str, name: str) -> Tensor:
    """The first `n` of `order`, or all. Raises InputError where there are fewer, naming the flag that asked for them."""
    if n is not None and not 1 <= n <= len(order):
        flag = "--images" if part == "train" else "--n-samples"
        raise InputError(f"{flag}: found {n}, expected 1 to {len(order)}, the {part} images of {name}")
    return order[:n]


def held_out(n: int) -> int:
    """How many of `n` training images are held out: the first tenth, for they come in random order. Raises InputError."""
    if n < 10:
        raise InputError(f"--images: found {n} training images, expected at least 10, for a tenth is held out")
    return n // 10


def tensor_images(
    pixels: Tensor, labels: Tensor, order: Tensor, transform: Callable[[Tensor], Tensor], batch_size: int = BATCH_SIZE
) -> Images:
    """Rows `order` of `pixels`, (n, ...), and of `labels`, int64 (n,), as `transform` makes the edge's input of them.

    `transform` is a function of a module, from any rows of pixels to float32 images, (b, *shape).
    """
    pixels, labels = pixels[order], labels[order]
    shape = tuple(transform(pixels[:1]).shape[1:])
    content = digest(pixels, labels)
    return Images(labels, range(len(labels)), partial(_made, pixels, transform), shape, batch_size, content=content)


def file_images(
    paths: Sequence[str], classes: Tensor, n_images: int | None, part: str, name: str, transform: Any = None
) -> Images:
    """Image files and their classes, int64 (n,), in a random order, decoded when they are asked for.

    Parameters
    ----------
    n_images : int or None
        The first so many of that order, or all.
    part, name : str
        "train" or "test", and the dataset's name, for the message where there are fewer.
    transform : torchvision's preset for image classification, or another callable that has its `crop_size`
        From an RGB picture to the edge's input, float32 (3, H, W). None: `imagenet_transform`.
    """
    transform = imagenet_transform() if transform is None else transform
    (side,) = transform.crop_size
    order = first_of(random_order(len(classes)), n_images, part, name)
    names = [paths[row] for row in order.tolist()]
    return Images(classes[order], names, partial(_decode_all, names, transform), (3, side, side), workers=_WORKERS)


def imagenet_images(data_root: Path, part: str, n_images: int | None, transform: Any = None) -> Images:
    """ILSVRC 2012 as torchvision's ImageFolder has it, the first `n_images` of its random order, or all.

    Parameters
    ----------
    data_root : Path
        Folder that holds `train/<WordNet id>/*.JPEG` and `val/<WordNet id>/*.JPEG`.
    part : "train" or "test"
        Test images are those of `val`.
    transform
        As of `file_images`.

    Raises
    ------
    InputError
        If images are missing, or the folder's classes are not ImageNet's thousand, or there are fewer than `n_images`.
    """
    paths, classes = image_folder(Path(data_root) / {"train": "train", "test": "val"}[part])
    return file_images(paths, classes, n_images, part, "imagenet", transform)


def to_imagenet_input(images: Tensor) -> Tensor:
    """Digits as ImageNet's networks read them: enlarged bilinearly, three equal channels, normalised.

    Parameters
    ----------
    images : Tensor, uint8, (n, 28, 28)

    Returns
    -------
    Tensor, float32, (n, 3, 224, 224)
    """
    enlarged = functional.interpolate(
        images.unsqueeze(1).float(), size=IMAGENET_SHAPE[1:], mode="bilinear", align_corners=False
    )
    return normalised(enlarged)


def normalised(pixels: Tensor) -> Tensor:
    """Pixels from 0 to 255, (n, 1 or 3, H, W), less ImageNet's mean over its spread by channel; float32 (n, 3, H, W)."""
    # What torchvision's weights were trained with, for pixels in [0, 1], (3, 1, 1).
    transform = imagenet_transform()
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
        for values in (transform.mean, transform.std)
    )
    return torch.addcmul(-mean / std, pixels.float(), 1 / (255 * std))  # (x / 255 - mean) / std in one pass over memory
