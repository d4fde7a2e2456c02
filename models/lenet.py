"""LeNet-5 with rectifiers and max-pooling, in the layer names of the Shredder authors' released networks.

Reference: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from models.weights import load_weights

INPUT_SHAPE = (1, 32, 32)
# The layer whose output is sent, and the shape of what it sends: before each convolution after the first, and the end.
CUTTING_POINTS = {"s2": (6, 14, 14), "s4": (16, 5, 5), "relu5": (120, 1, 1)}
WEIGHTS = {
    10: Path(__file__).parent / "lenet-digit.safetensors",
    2: Path(__file__).parent / "lenet-digit-gt5.safetensors",
}


class LeNet(nn.Module):
    """1x32x32 pixels in [0, 1] -> log-probabilities of `n_classes` classes; 61,706 parameters with ten."""

    def __init__(self, n_classes: int):
        super().__init__()
        self.convnet = nn.Sequential(OrderedDict(
            c1=nn.Conv2d(1, 6, 5), relu1=nn.ReLU(), s2=nn.MaxPool2d(2),
            c3=nn.Conv2d(6, 16, 5), relu3=nn.ReLU(), s4=nn.MaxPool2d(2),
            c5=nn.Conv2d(16, 120, 5), relu5=nn.ReLU(),
        ))  # fmt: skip
        self.fc = nn.Sequential(OrderedDict(
            f6=nn.Linear(120, 84), relu6=nn.ReLU(), f7=nn.Linear(84, n_classes), sig7=nn.LogSoftmax(-1),
        ))  # fmt: skip

    def layers(self) -> OrderedDict[str, nn.Module]:
        """The network as one chain of named layers, in the order they run."""
        return OrderedDict([*self.convnet.named_children(), ("flatten", nn.Flatten()), *self.fc.named_children()])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, 1, 32, 32) -> log-probabilities (n, n_classes)."""
        return self.fc(self.convnet(images).flatten(1))


def pretrained_lenet(n_classes: int, path: str | Path | None = None) -> LeNet:
    """LeNet with the weights at `path`, or with the shipped ones (10 classes: the digit; 2: digit > 5).

    Raises
    ------
    models.weights.WeightsError
        If the file is missing, unreadable or of another network.
    """
    network = LeNet(n_classes)
    load_weights(network, path or WEIGHTS[n_classes])
    return network.eval()
