"""Imagenette's folders: its ten classes and where they stand among ImageNet's, and what is refused."""

import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import Imagenette

from shredder.inputs.folders import image_folder
from shredder.inputs.imagenette import CLASSES, FOLDER, among_1000, imagenette, of_validation
from shredder.io.cli import InputError
from shredder.task import read_task


@pytest.fixture
def photographs(tmp_path):
    """Two pictures a class: of `train` one is of ImageNet's validation set, of `val` both are not."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for number, name in enumerate(CLASSES):
            folder = tmp_path / FOLDER / part / name
            folder.mkdir(parents=True)
            first = f"ILSVRC2012_val_{number:08}" if part == "train" else f"{name}_0"
            for file in (first, f"{name}_1"):
                Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / f"{file}.JPEG")
    return tmp_path


def test_places_among_1000(imagenet_sample):
    """As the sorted folders of ImageNet have them."""
    paths, classes = image_folder(imagenet_sample / "val")
    expected = {name: int(c) for path, c in zip(paths, classes, strict=True) for name in CLASSES if f"/{name}/" in path}
    assert expected == CLASSES
    assert among_1000(torch.tensor([0, 9, 1])).tolist() == [0, 701, 217]


def test_parts_are_those_of_each_task(photographs):
    """AlexNet, which learned from `train`, is judged on `val`; networks for ImageNet on what they have not learned from."""
    paths, classes = imagenette(photographs, lambda part, name: part == "val")
    assert len(paths) == 20 and classes.tolist() == [number for number in range(10) for _ in range(2)]
    for name, sizes in (("alexnet", (20, 20)), ("imagenet:squeezenet1_1", (30, 10))):
        load = read_task(name).datasets["imagenette"].load
        found = load(photographs, {"train": None, "test": None})
        assert (len(found["train"]), len(found["test"])) == sizes
        assert not set(found["train"].names) & set(found["test"].names)
        ((rows, pixels),) = list(found["test"].batches())
        assert pixels.shape == (len(rows), 3, 224, 224)
    test = load(photographs, {"test": 5})["test"]
    assert len(test) == 5 and all(of_validation(name.rsplit("/", 1)[1]) for name in test.names)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda folder: shutil.rmtree(folder / "val"), "val: found nothing, expected the ten classes n01440764, "),
        (
            lambda folder: shutil.rmtree(folder / "train" / "n01440764"),
            "train: found n02102040, n02979186, n03000684, expected",
        ),
        (
            lambda folder: [path.unlink() for path in (folder / "val" / "n03888257").iterdir()],
            "val: no image in n03888257, exp",
        ),
    ],
    ids=["no part", "no class", "no image"],
)
def test_what_is_missing_is_named(photographs, change, message):
    change(photographs / FOLDER)
    with pytest.raises(InputError, match=re.escape(message)):
        imagenette(photographs, lambda *_: True)


def test_neither_there_nor_to_be_had(tmp_path, monkeypatch):
    def fails(*args, **flags):
        raise RuntimeError("no\nnetwork")

    monkeypatch.setattr(Imagenette, "__init__", fails)
    with pytest.raises(InputError, match=r"--dataset imagenette: .*not there, and could not be downloaded \(no network\)"):
        imagenette(tmp_path, lambda *_: True)
