"""Any classifier for ImageNet: `--task imagenet --network resnet18`. Photographs are ImageNet's, or Imagenette's ten classes.

Of ImageNet, which you bring, the class is public. Of Imagenette, the class among the thousand is public, and an adversary wants
to know which of the ten it is. Test images are the 500 of ImageNet's own validation set, which the weights have not seen.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.classifiers import among, classifier, pretrained, require_name, transform_of, weights_file
from models.weights import WeightsError
from shredder.inputs.imagenette import CLASSES, among_1000, imagenette, of_validation
from shredder.inputs.images import Images, file_images, imagenet_images
from shredder.io.cli import InputError
from shredder.task import Dataset, Labels, Task, cutting_points


def imagenet(network: str, data_root: Path, parts: Mapping[str, int | None]) -> dict[str, Images]:
    """ILSVRC 2012's `train` and `val`, as the network's own weights expect them."""
    return {part: imagenet_images(data_root, part, n, transform_of(network)) for part, n in parts.items()}


def ten_classes(network: str, data_root: Path, parts: Mapping[str, int | None]) -> dict[str, Images]:
    """Imagenette: images of ImageNet's validation set to judge on, all others to learn from, both in a random order."""
    images = {}
    for part, n in parts.items():
        paths, classes = imagenette(data_root, lambda _, name, part=part: of_validation(name) == (part == "test"))
        images[part] = file_images(paths, classes, n, part, "imagenette", transform_of(network))
    return images


def among_10(network: str, path: Path) -> nn.Module:
    """The network's answer among Imagenette's classes."""
    return among(pretrained(network, path), list(CLASSES.values()))


def learn(args: Any) -> dict[str, Any]:
    """Step 1's defaults. A scale in units of the activation is for the user to choose."""
    return {"parallel": 20, "batch_size": 100, "max_accuracy_loss": 0.02}


def outline(network: str, shape: tuple[int, ...]) -> tuple[nn.Module, torch.Tensor]:
    """The network and an input, (1, *shape), without numbers: shapes are all that is asked for."""
    inputs = torch.empty(1, *shape, device="meta")
    try:
        with torch.device("meta"):
            return classifier(network), inputs
    except NotImplementedError:  # RegNet computes its widths with tensors
        return classifier(network).to("meta"), inputs


def task_of(network: str, data_root: Path) -> Task:
    """The task of one network, which may be cut wherever a single value crosses. Raises InputError of a name that is none."""
    try:
        require_name(network)
        shape = (3, *transform_of(network).crop_size * 2)
        cuts = cutting_points(*outline(network, shape))
    except WeightsError as error:
        raise InputError(str(error)) from error
    bits, file = 8 * 3 * shape[1] * shape[2], partial(weights_file, network)
    sample, attack = {"n_samples": 1000, "judged_on": 100}, {"images": 2000, "epochs": 30}
    return Task(
        name=f"imagenet-{network}",
        cutting_points=cuts,
        outline=partial(outline, network, shape),
        datasets={
            "imagenet": Dataset(partial(imagenet, network), ("classes",), bits, sample, attack),
            "imagenette": Dataset(
                partial(ten_classes, network), ("among-1000", "among-10"), bits, sample | {"n_samples": 500}, attack
            ),
        },
        labels={
            "classes": Labels(partial(pretrained, network), file),
            "among-1000": Labels(partial(pretrained, network), file, among_1000, private="among-10"),
            "among-10": Labels(partial(among_10, network), file),
        },
        learn=learn,
        method="additive",
    )  # fmt: skip
