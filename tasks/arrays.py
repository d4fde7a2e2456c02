"""Your own network on your own arrays: `--task arrays --network package.module:function --weights FILE --data-root FOLDER`.

FOLDER holds `train.npz` and `test.npz`, each with `images`, float32 (n, *shape), or uint8, which are scaled to [0, 1];
`public`, integers (n,), what the network answers; and, if there is something to hide, `private`, integers (n,). The function is
called without arguments and returns the network, which may be cut wherever a single value crosses.
"""

import math
import pkgutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.weights import WeightsError, load_weights
from shredder.inputs.images import Images, first_of, random_order, tensor_images
from shredder.io.cli import InputError
from shredder.io.files import read_arrays
from shredder.task import Dataset, Labels, Task, cutting_points


def made(name: str) -> nn.Module:
    """The network that a function makes. Raises InputError where there is no such function, or it makes something else."""
    try:
        with torch.random.fork_rng():  # of weights that are replaced
            network = pkgutil.resolve_name(name)()
    except (Exception, SystemExit) as error:  # whatever a user's file raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"--network {name}: {reason}; expected package.module:function, on PYTHONPATH") from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"--network {name}: found {type(network).__name__}, expected a function that returns a torch.nn.Module"
        )
    return network.eval()


def pretrained(name: str, path: Path) -> nn.Module:
    """With the weights at `path`. Raises WeightsError."""
    network = made(name)
    load_weights(network, path)
    return network


def no_weights() -> Path:
    """None are known where none are named."""
    raise WeightsError("--weights: not named; expected the network's, a .safetensors file or a torch.save state dict")


def read(data_root: Path, part: str) -> tuple[np.ndarray, Tensor, Tensor | None]:
    """Images, (n, *shape), and public and private labels, int64 (n,), of one part. Raises InputError."""
    path = Path(data_root) / f"{part}.npz"
    found = read_arrays(path, "--data-root")
    if missing := {"images", "public"} - found.keys():
        raise InputError(f"{path}: found {', '.join(found) or 'nothing'}, expected images, public and, if any, private; "
                         f"without {', '.join(sorted(missing))} there is nothing to learn")  # fmt: skip
    images, labels = found["images"], [found.get(name) for name in ("public", "private")]
    if images.dtype not in (np.float32, np.uint8) or images.ndim < 2 or len(images) == 0 or not np.isfinite(images).all():
        raise InputError(f"{path}: images: found {images.dtype} {images.shape}, expected finite float32 or uint8, (n, *shape)")
    for name, values in zip(("public", "private"), labels, strict=True):
        if values is not None and (values.dtype.kind not in "iu" or values.shape != images.shape[:1] or values.min() < 0):
            raise InputError(
                f"{path}: {name}: found {values.dtype} {values.shape}, expected integers from 0 on, {images.shape[:1]}"
            )
    public, private = (None if values is None else torch.from_numpy(values.astype(np.int64)) for values in labels)
    return images, public, private


def in_unit(images: Tensor) -> Tensor:
    """Bytes scaled to [0, 1], others as they are; float32."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def images(shape: tuple[int, ...], n_private: int, data_root: Path, parts: Mapping[str, int | None]) -> dict[str, Images]:
    """Training images in a random order, test images in theirs. A class says both labels: public * n_private + private."""
    found = {}
    for part, n in parts.items():
        pixels, public, private = read(data_root, part)
        if pixels.shape[1:] != shape:
            raise InputError(f"{data_root}: {part} images are {pixels.shape[1:]}, those of train.npz {shape}")
        if private is not None and private.max() >= n_private:
            raise InputError(
                f"{data_root}: {part} has the private label {private.max()}, those of train.npz end at {n_private - 1}"
            )
        classes = public * n_private + (0 if private is None else private)
        order = random_order(len(classes)) if part == "train" else torch.arange(len(classes))
        found[part] = tensor_images(torch.from_numpy(pixels), classes, first_of(order, n, part, "arrays"), in_unit)
    return found


def public_of(n_private: int, classes: Tensor) -> Tensor:
    """What the network answers."""
    return classes // n_private


def private_of(n_private: int, classes: Tensor) -> Tensor:
    """What is left to be hidden."""
    return classes % n_private


def task_of(network: str, data_root: Path) -> Task:
    """The task of one network on the arrays in a folder. Raises InputError."""
    pixels, _, private = read(data_root, "train")
    shape, n_private = pixels.shape[1:], 1 if private is None else int(private.max()) + 1
    labels = {"public": Labels(partial(pretrained, network), no_weights, partial(public_of, n_private))}
    if private is not None:
        labels["private"] = Labels(None, public=partial(private_of, n_private))
        labels["public"] = Labels(partial(pretrained, network), no_weights, labels["public"].public, private="private")
    bits = math.prod(shape) * (8 if pixels.dtype == np.uint8 else 32)
    inputs = in_unit(torch.from_numpy(pixels[:1]))
    try:
        cuts = cutting_points(made(network), inputs)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(f"{error}".split())[:300]
        raise InputError(f"--network {network}: takes no images of {shape} ({reason})") from error
    return Task(
        name=f"arrays-{network.replace(':', '.')}",
        cutting_points=cuts,
        outline=lambda: (made(network), inputs),
        datasets={"arrays": Dataset(partial(images, shape, n_private), ("public",), bits)},
        labels=labels,
        method="additive",
    )
