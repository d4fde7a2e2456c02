"""A convolutional network for SVHN: three blocks of two convolutions, 815,000 parameters.

Layer names are those of the package `ccexam`, MIT, whose weights ship here in half precision: its `weights/svhn.pth` loads too.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from models.weights import load_weights

INPUT_SHAPE = (3, 32, 32)
# The layer whose output is sent, and the shape of what it sends: behind the first block, and the last.
CUTTING_POINTS = {"block1": (32, 16, 16), "block3": (128, 4, 4)}
WEIGHTS = Path(__file__).parent / "svhn.safetensors"


def block(width: int, wider: int) -> nn.Sequential:
    """Two convolutions, each normalised and rectified, and a pooling that halves the side."""
    layers = []
    for channels in (width, wider):
        layers += [nn.Conv2d(channels, wider, 3, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2))


class SvhnNetwork(nn.Module):
    """3x32x32 pixels, normalised -> log-probabilities of ten digits."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(block(3, 32), block(32, 64), block(64, 128))
        self.classifier = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(128 * 4 * 4, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 10)
        )

    def layers(self) -> OrderedDict[str, nn.Module]:
        """The network as one chain of named layers, in the order they run."""
        blocks = {f"block{number}": found for number, found in enumerate(self.features, start=1)}
        _, fc4, relu4, _, fc5 = self.classifier  # dropout is for training
        return OrderedDict(blocks, flatten=nn.Flatten(), fc4=fc4, relu4=relu4, fc5=fc5, log_softmax=nn.LogSoftmax(-1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, 32, 32) -> log-probabilities (n, 10)."""
        return functional.log_softmax(self.classifier(self.features(images).flatten(1)), -1)


def pretrained_svhn(path: str | Path | None = None) -> SvhnNetwork:
    """With the weights at `path`, or the shipped ones; convolutions have channels last in memory. Raises WeightsError."""
    network = SvhnNetwork()
    load_weights(network, path or WEIGHTS)
    return network.eval().to(memory_format=torch.channels_last)
