"""A small convolutional network on CIFAR-10: the class is public, or animal or vehicle is and the class private."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.cifar10 import CUTTING_POINTS, WEIGHTS, cifar10_network, pretrained_cifar10
from models.groups import Groups
from shredder.inputs.augment import mirrored_and_shifted
from shredder.inputs.cifar10 import load_cifar10, to_cifar10_input
from shredder.inputs.images import Images, first_of, held_out, random_order, tensor_images
from shredder.task import Dataset, Labels, Pretraining, Task

# Images that the edge is given at once.
BATCH_SIZE = 500
# Which classes are animals: bird, cat, deer, dog, frog, horse.
ANIMALS = (2, 3, 4, 5, 6, 7)


# By method: settings for 20,000 training images, behind the last pooling; docs/photographs.md says how they were chosen.
LEARN = {
    "additive": {"scale": 0.3, "learning_rate": 1e-2},
    "self-supervised": {"scale": 20.0, "epochs": 25, "min_epochs": 20, "max_accuracy_loss": 0.008},
    "distribution": {"scale": 2.0, "alpha": 1e-4, "learning_rate": 5e-2, "epochs": 40, "min_epochs": 29},
    "fresh": {"epochs": 30, "min_epochs": 19},
}
# At the early cut, by method.
FEW = {"members": 4, "epochs": 6, "min_epochs": 4}
EARLY = {"additive": FEW, "self-supervised": FEW, "distribution": FEW}


def animal(classes: Tensor) -> Tensor:
    """1 where the class is an animal, 0 where it is a vehicle; int64, same shape."""
    return torch.isin(classes, torch.tensor(ANIMALS, device=classes.device)).long()


def weights() -> Path:
    """The shipped ones, which answer both labels."""
    return WEIGHTS


def animal_network(path: Path) -> nn.Sequential:
    """The network of ten classes, and the sum of their probabilities behind it."""
    network = pretrained_cifar10(path)
    network.add_module("animal_or_vehicle", Groups(([i for i in range(10) if i not in ANIMALS], ANIMALS)))
    return network


def images(data_root: Path, parts: Mapping[str, int | None]) -> dict[str, Images]:
    """Training images in a random order, test images in the file's."""
    found = {}
    for part, n in parts.items():
        pixels, classes = load_cifar10(data_root, part)
        order = random_order(len(classes)) if part == "train" else torch.arange(len(classes))
        found[part] = tensor_images(pixels, classes, first_of(order, n, part, "cifar10"), to_cifar10_input, BATCH_SIZE)
    return found


def pretraining_rows(data_root: Path) -> tuple[Tensor, Tensor]:
    """Training images without the tenth that step 1 holds out, which the network has to meet unseen."""
    pixels, classes = load_cifar10(data_root, "train")
    rows = random_order(len(classes))[held_out(len(classes)) :]
    return pixels[rows], classes[rows]


def learn(args: Any) -> dict[str, Any]:
    """Step 1's defaults. Draws lose more than accepted members do, so that these may lose less than the paper's 1.42 points."""
    settings = dict(LEARN.get(args.method, {}))
    if args.cutting_point == "relu2":  # there the cloud is most of the network, and is run for each member
        settings |= {"images": 5000} | EARLY.get(args.method, {})
    return {"images": 20_000, "max_accuracy_loss": 0.01, **settings}


task = Task(
    name="cifar10",
    cutting_points=CUTTING_POINTS,
    datasets={"cifar10": Dataset(images, ("classes", "animal"), 8 * 3 * 32 * 32, attack={"images": 20_000, "epochs": 15})},
    learn=learn,
    labels={
        "classes": Labels(pretrained_cifar10, weights),
        "animal": Labels(animal_network, weights, animal, private="classes"),
    },
    pretraining={
        "classes": Pretraining(
            cifar10_network, pretraining_rows, to_cifar10_input, partial(mirrored_and_shifted, pixels=4),
            settings={"epochs": 30, "batch_size": 250, "learning_rate": 5e-3, "weight_decay": 0.05, "label_smoothing": 0.1},
        ),
    },
)  # fmt: skip
