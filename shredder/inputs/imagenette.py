"""Imagenette: photographs of ten of ImageNet's classes, in torchvision's layout of 160 pixels."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from shredder.inputs.folders import files_of, printable
from shredder.io.cli import InputError

# WordNet ids, sorted, and where they stand among ImageNet's thousand: tench, English springer, cassette player, chain saw,
# church, French horn, garbage truck, gas pump, golf ball, parachute.
CLASSES = {
    "n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497,
    "n03394916": 566, "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701,
}  # fmt: skip
FOLDER = "imagenette2-160"


def among_1000(classes: Tensor) -> Tensor:
    """Imagenette's classes, 0 to 9, as ImageNet's, 0 to 999; int64, same shape."""
    return torch.tensor(list(CLASSES.values()), device=classes.device)[classes]


def imagenette(data_root: Path, which: Callable[[str, str], bool]) -> tuple[list[str], Tensor]:
    """Paths of photographs, sorted, and their classes, 0 to 9, int64 (n,).

    Parameters
    ----------
    data_root : Path
        Folder that holds `imagenette2-160/{train,val}/<WordNet id>/*.JPEG`; torchvision downloads it there if it is not.
    which : callable
        From "train" or "val" and a file's name to whether it is wanted.

    Raises
    ------
    InputError
        If it is not there and cannot be downloaded, or other folders are.
    """
    folder, paths, classes = Path(data_root) / FOLDER, [], []
    if not folder.is_dir():
        _download(Path(data_root))
    for part in ("train", "val"):
        found = sorted(path.name for path in (folder / part).glob("n*")) if (folder / part).is_dir() else []
        if found != list(CLASSES):
            named = ", ".join(map(printable, found[:3])) or "nothing"
            raise InputError(f"--data-root: {folder / part}: found {named}, expected the ten classes {', '.join(CLASSES)}")
        for number, name in enumerate(CLASSES):
            some = [path for path in files_of(folder / part / name) if which(part, Path(path).name)]
            paths += some
            classes += [number] * len(some)
    return paths, torch.tensor(classes)


def of_validation(name: str) -> bool:
    """Whether a photograph is of ImageNet's own validation set, which networks for ImageNet have not learned from."""
    return re.match(r"ILSVRC2012_val_", name) is not None


def _download(data_root: Path) -> None:
    from torchvision.datasets import Imagenette  # takes a second to import, so only where it is asked for

    try:
        Imagenette(data_root, size="160px", download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(f"{error}".split())
        raise InputError(
            f"--dataset imagenette: {data_root / FOLDER}: not there, and could not be downloaded ({reason}); "
            "name the folder that holds it with --data-root"
        ) from error
