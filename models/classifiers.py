"""torchvision's classifiers for ImageNet's 1,000 classes, by their names there."""

import difflib
from pathlib import Path

import torch
import torchvision
from torch import nn

from models.download import fetched
from models.weights import WeightsError, load_weights


def names() -> list[str]:
    """Of all of them."""
    return torchvision.models.list_models(module=torchvision.models)


def require_name(name: str) -> None:
    """Raise WeightsError of a name that torchvision does not have, naming the nearest."""
    if name not in names():
        nearest = ", ".join(difflib.get_close_matches(name, names(), 3, cutoff=0)) or ", ".join(names()[:3])
        raise WeightsError(f"--network: found {name!r}, no classifier of torchvision's; expected one such as {nearest}")


def classifier(name: str) -> nn.Module:
    """Images (n, 3, H, W) -> scores (n, 1000), with new weights."""
    require_name(name)
    return torchvision.models.get_model(name, weights=None).eval()


def pretrained(name: str, path: str | Path) -> nn.Module:
    """With the weights at `path`; convolutions have channels last in memory. Raises WeightsError."""
    network = classifier(name)
    load_weights(network, path)
    return network.to(memory_format=torch.channels_last)


def weights_file(name: str) -> Path:
    """torchvision's weights, downloaded if they are not on this disk. Raises WeightsError if they cannot be."""
    return fetched(torchvision.models.get_model_weights(name).DEFAULT.url)
