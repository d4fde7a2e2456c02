"""A plain convolutional network for CIFAR-10: three blocks of two convolutions, 2 million parameters, one chain.

Its widths are those of K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498, 2024; rectifiers and
all else are the plainest choice.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from models.weights import load_weights

INPUT_SHAPE = (3, 32, 32)
# The layer whose output is sent, and the shape of what it sends: behind the first block, and the last pooling.
CUTTING_POINTS = {"relu2": (64, 15, 15), "pool6": (256, 1, 1)}
WEIGHTS = Path(__file__).parent / "cifar10.safetensors"
WIDTHS = (64, 256, 256)


def cifar10_network() -> nn.Sequential:
    """3x32x32 pixels, normalised -> log-probabilities of ten classes, with new weights.

    A block halves its side: convolution, pooling, normalisation, rectifier, then the same without pooling.
    """
    layers, width = [("conv0", nn.Conv2d(3, 24, 2)), ("relu0", nn.ReLU())], 24
    for first, wider in zip((1, 3, 5), WIDTHS, strict=True):
        second = first + 1
        layers += [
            (f"conv{first}", nn.Conv2d(width, wider, 3, padding=1, bias=False)), (f"pool{first}", nn.MaxPool2d(2)),
            (f"norm{first}", nn.BatchNorm2d(wider)), (f"relu{first}", nn.ReLU()),
            (f"conv{second}", nn.Conv2d(wider, wider, 3, padding=1, bias=False)),
            (f"norm{second}", nn.BatchNorm2d(wider)), (f"relu{second}", nn.ReLU()),
        ]  # fmt: skip
        width = wider
    layers += [("pool6", nn.MaxPool2d(3)), ("flatten", nn.Flatten()), ("fc7", nn.Linear(width, 10))]
    return nn.Sequential(OrderedDict([*layers, ("log_softmax", nn.LogSoftmax(-1))]))


def pretrained_cifar10(path: str | Path | None = None) -> nn.Sequential:
    """With the weights at `path`, or the shipped ones; convolutions have channels last in memory. Raises WeightsError."""
    network = cifar10_network()
    load_weights(network, path or WEIGHTS)
    return network.eval().to(memory_format=torch.channels_last)
