"""Folders of images, one for each class, in ImageNet's order."""

import hashlib
import os
import re
from pathlib import Path

import torch
from torch import Tensor

from shredder.io.cli import InputError

# SHA-256 of ILSVRC 2012's thousand WordNet ids, sorted, a line each. Their order is that of the weights' answers.
_WORDNET_IDS = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"
# Endings of image files' names, as torchvision's ImageFolder has them.
_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def image_folder(folder: Path) -> tuple[list[str], Tensor]:
    """Paths and classes of an ImageNet folder, after checking that its classes are the weights' classes, in their order.

    Both are as torchvision's ImageFolder has them, but for what it does without a word: hidden files and folders (of an editor,
    of a system) are left out and counted, and a link to a folder inside a class, which may lead to all classes, is an error.
    """
    if not folder.is_dir():
        raise InputError(f"--data-root: {folder}: no such folder; expected <WordNet id>/*.JPEG in 1,000 folders")
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    hidden = [str(folder / name) for name in classes if name.startswith(".")]
    classes = [name for name in classes if not name.startswith(".")]
    odd = [printable(name) for name in classes if not re.fullmatch(r"n\d{8}", name)]
    named = f", among them {', '.join(odd[:3])}" if odd else ""
    if len(classes) != 1000:
        raise InputError(f"--data-root: {folder}: found {len(classes)} classes{named}, expected ImageNet's 1,000")
    if hashlib.sha256(os.fsencode("\n".join(classes))).hexdigest() != _WORDNET_IDS:
        raise InputError(
            f"--data-root: {folder}: found 1,000 folders, {classes[0]} to {classes[-1]}{named}, that are not named by the "
            "WordNet ids of ILSVRC 2012; their order is that of the network's answers"
        )
    paths, targets = [], []
    for target, name in enumerate(classes):
        found = files_of(folder / name, hidden)
        paths += found
        targets += [target] * len(found)
    if hidden:
        print(f"left out: {len(hidden)} hidden files or folders: {', '.join(map(printable, hidden[:3]))}")
    return paths, torch.tensor(targets)


def files_of(folder: Path, hidden: list[str] | None = None) -> list[str]:
    """The image files in a class's folder and below, in ImageFolder's order; what is left out is added to `hidden`."""
    found, hidden = [], [] if hidden is None else hidden
    for place, folders, names in os.walk(folder):
        images = [name for name in names if name.lower().endswith(_ENDINGS)]
        hidden += [os.path.join(place, name) for name in folders + images if name.startswith(".")]
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (os.path.join(place, name) for name in folders):
            if os.path.islink(path):
                raise InputError(f"--data-root: {printable(path)}: found a link to a folder in a class, expected images")
        found += [(place, name) for name in images if not name.startswith(".")]
    if not found:
        raise InputError(f"--data-root: {folder.parent}: no image in {folder.name}, expected {', '.join(_ENDINGS)}")
    return [os.path.join(place, name) for place, name in sorted(found)]


def printable(name: str) -> str:
    """`name` as any terminal takes it: bytes that are not UTF-8 as `\\xe9`."""
    return os.fsencode(name).decode(errors="backslashreplace")
