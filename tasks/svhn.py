"""House numbers: the digit is public, or whether it exceeds 5 is and the digit private.

The network has not met SVHN's test set, of which `svhn-4000` is the beginning: 2,500 images to learn noise from, 1,500 to
judge.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.groups import Groups
from models.svhn import CUTTING_POINTS, WEIGHTS, pretrained_svhn
from shredder.inputs.digits import digit_gt5
from shredder.inputs.images import Images, first_of, random_order, tensor_images
from shredder.inputs.svhn import load_few_svhn, load_svhn, to_svhn_input
from shredder.task import Dataset, Labels, Task

ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts" / "svhn"
# Of `svhn-4000`, training images: the first so many of a random order.
TRAINING = 2500
# Images that the edge is given at once.
BATCH_SIZE = 500
# By method: settings for 2,500 images, behind the last block. docs/grounds.md says how they were chosen.
LEARN = {
    "additive": {"scale": 0.05, "learning_rate": 3e-3},
    "self-supervised": {"scale": 5.0, "batch_size": 60, "epochs": 80, "min_epochs": 60},
    "distribution": {"scale": 0.4, "alpha": 1e-4, "learning_rate": 1e-2, "epochs": 60, "min_epochs": 40},
    "fresh": {"batch_size": 200, "epochs": 80, "min_epochs": 60},
}


def weights() -> Path:
    """The shipped ones, which answer both labels."""
    return WEIGHTS


def gt5_network(path: Path) -> nn.Sequential:
    """The network of ten digits, and the sum of their probabilities behind it."""
    layers = pretrained_svhn(path).layers()
    return nn.Sequential(layers | {"gt5": Groups((range(6), range(6, 10)))}).eval()


def few(data_root: Path, parts: Mapping[str, int | None]) -> dict[str, Images]:
    """4,000 images in a random order, the first 2,500 of them to learn from."""
    pixels, digits = load_few_svhn(data_root)
    order = random_order(len(digits))
    rows = {"train": order[:TRAINING], "test": order[TRAINING:]}
    return {
        part: tensor_images(pixels, digits, first_of(rows[part], n, part, "svhn-4000"), to_svhn_input, BATCH_SIZE)
        for part, n in parts.items()
    }


def images(data_root: Path, parts: Mapping[str, int | None]) -> dict[str, Images]:
    """All of SVHN. Its training images are those that the network was trained on, held-out ones, too."""
    found = {}
    for part, n in parts.items():
        pixels, digits = load_svhn(data_root, part)
        order = random_order(len(digits)) if part == "train" else torch.arange(len(digits))
        found[part] = tensor_images(pixels, digits, first_of(order, n, part, "svhn"), to_svhn_input, BATCH_SIZE)
    return found


def learn(args: Any) -> dict[str, Any]:
    """Step 1's defaults."""
    settings = {"images": 20_000} if args.dataset == "svhn" else {}
    return {"members": 8, "max_accuracy_loss": 0.01, **settings, **LEARN.get(args.method, {})}


task = Task(
    name="svhn",
    cutting_points=CUTTING_POINTS,
    datasets={
        "svhn-4000": Dataset(few, ("digits", "gt5"), 8 * 3 * 32 * 32),
        "svhn": Dataset(images, ("digits", "gt5"), 8 * 3 * 32 * 32, attack={"images": 20_000, "epochs": 15}),
    },
    learn=learn,
    labels={
        "digits": Labels(pretrained_svhn, weights),
        "gt5": Labels(gt5_network, weights, digit_gt5, private="digits"),
    },
    shipped={"digits": ARTIFACTS / "noise"},
)
