"""AlexNet as torchvision has it, for ImageNet's 1,000 classes or, with a narrower classifier, for ten.

Reference: A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv 1404.5997, 2014.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Literal

import torch
import torchvision
from torch import nn
from torch.nn import functional

from models.download import fetched
from models.weights import load_weights

INPUT_SHAPE = (3, 224, 224)
# The layer whose output is sent, and the shape of what it sends: before each convolution after the first, and the end.
CUTTING_POINTS = {
    "pool1": (64, 27, 27),
    "pool2": (192, 13, 13),
    "relu3": (384, 13, 13),
    "relu4": (256, 13, 13),
    "pool5": (256, 6, 6),
}
# Of the variants with ten classes, which are ours.
WEIGHTS = {
    "digits": Path(__file__).parent / "alexnet-digit.safetensors",
    "imagenette": Path(__file__).parent / "alexnet-imagenette.safetensors",
}
# Names of torchvision's `features`, in their order.
FEATURES = (
    *("conv1", "relu1", "pool1", "conv2", "relu2", "pool2"),
    *("conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5"),
)


class AlexNet(torchvision.models.AlexNet):
    """3x224x224 pixels, normalised -> log-probabilities of `n_classes` classes.

    Parameters
    ----------
    n_classes : int
        1,000 for ImageNet.
    width : int
        Units of the two hidden layers of the classifier; torchvision has 4,096.
    """

    def __init__(self, n_classes: int = 1000, width: int = 4096):
        super().__init__()
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(256 * 6 * 6, width), nn.ReLU(inplace=True),
            nn.Dropout(), nn.Linear(width, width), nn.ReLU(inplace=True),
            nn.Linear(width, n_classes),
        )  # fmt: skip

    def layers(self) -> OrderedDict[str, nn.Module]:
        """The network as one chain of named layers; without the pooling and the dropouts, which do nothing to 224 pixels."""
        _, fc6, relu6, _, fc7, relu7, fc8 = self.classifier
        chain = [*zip(FEATURES, self.features, strict=True), ("flatten", nn.Flatten())]
        chain += [("fc6", fc6), ("relu6", relu6), ("fc7", fc7), ("relu7", relu7), ("fc8", fc8)]
        return OrderedDict([*chain, ("log_softmax", nn.LogSoftmax(-1))])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, 224, 224) -> log-probabilities (n, n_classes)."""
        return functional.log_softmax(super().forward(images), -1)


def narrow_alexnet() -> AlexNet:
    """With new weights: ten classes, 256 hidden units, 4.9 million parameters."""
    return AlexNet(n_classes=10, width=256)


def pretrained_alexnet(variant: Literal["digits", "imagenette", "imagenet"], path: str | Path | None = None) -> AlexNet:
    """AlexNet with the weights at `path`, or with the shipped ones, or torchvision's (imagenet, downloaded once).

    Its convolutions have channels last in memory, which takes two thirds of the time on a CPU.

    Raises
    ------
    models.weights.WeightsError
        If the file is missing, unreadable or of another network, or cannot be downloaded.
    """
    with torch.device("meta"):  # no weights are drawn that are replaced at once: torchvision's draws are a quarter of a second
        network = AlexNet() if variant == "imagenet" else narrow_alexnet()
    load_weights(network.to_empty(device="cpu"), path or weights_file(variant))
    return network.eval().to(memory_format=torch.channels_last)


def weights_file(variant: Literal["digits", "imagenette", "imagenet"]) -> Path:
    """The shipped weights (digits, imagenette), or torchvision's for ImageNet, downloaded if they are not on this disk.

    Raises
    ------
    models.weights.WeightsError
        If they cannot be downloaded.
    """
    if variant in WEIGHTS:
        return WEIGHTS[variant]
    return fetched(torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url)
