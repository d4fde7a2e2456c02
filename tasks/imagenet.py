"""Any classifier of torchvision's on ImageNet, which you bring: `--task imagenet --network resnet18`. The class is public."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models.classifiers import classifier, pretrained, require_name, weights_file
from models.weights import WeightsError
from shredder.inputs.images import Images, imagenet_images, imagenet_shape
from shredder.io.cli import InputError
from shredder.task import Dataset, Labels, Task, cutting_points


def images(network: str, data_root: Path, parts: Mapping[str, int | None]) -> dict[str, Images]:
    """ILSVRC 2012's `train` and `val`, as the network's own weights expect them."""
    return {part: imagenet_images(data_root, part, n, network) for part, n in parts.items()}


def learn(args: Any) -> dict[str, Any]:
    """Step 1's defaults. A scale in units of the activation is for the user to choose."""
    return {"parallel": 20, "batch_size": 100, "max_accuracy_loss": 0.02}


def task_of(network: str) -> Task:
    """The task of one network, which may be cut wherever a single value crosses. Raises InputError of a name that is none."""
    try:
        require_name(network)
    except WeightsError as error:
        raise InputError(str(error)) from error
    shape = imagenet_shape(network)
    with torch.device("meta"):  # shapes are all that is asked for
        cuts = cutting_points(classifier(network), torch.empty(1, *shape))
    return Task(
        name=f"imagenet-{network}",
        cutting_points=cuts,
        datasets={"imagenet": Dataset(partial(images, network), ("classes",), 8 * 3 * shape[1] * shape[2],
                                      {"n_samples": 1000, "judged_on": 100}, {"images": 2000, "epochs": 30})},
        labels={"classes": Labels(partial(pretrained, network), partial(weights_file, network))},
        learn=learn,
        method="additive",
    )  # fmt: skip
