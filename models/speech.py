"""A small convolutional network for spectrograms of spoken digits: one chain, 77,000 parameters."""

from collections import OrderedDict
from pathlib import Path

from torch import nn

from models.weights import load_weights

INPUT_SHAPE = (1, 64, 64)
# The layer whose output is sent, and the shape of what it sends: behind the second block, and the last pooling.
CUTTING_POINTS = {"pool2": (32, 16, 16), "pool4": (64, 2, 2)}
WEIGHTS = {
    "digit": Path(__file__).parent / "speech-digit.safetensors",
    "speaker": Path(__file__).parent / "speech-speaker.safetensors",
}
N_CLASSES = {"digit": 10, "speaker": 6}
# Channels of each block, and by what it shrinks.
BLOCKS = ((16, 2), (32, 2), (64, 2), (64, 4))


def speech_network(answers: str) -> nn.Sequential:
    """1x64x64 cells in [0, 1] -> log-probabilities of ten digits or six speakers, with new weights."""
    layers, width = [], 1
    for number, (wider, side) in enumerate(BLOCKS, start=1):
        layers += [
            (f"conv{number}", nn.Conv2d(width, wider, 3, padding=1, bias=False)), (f"norm{number}", nn.BatchNorm2d(wider)),
            (f"relu{number}", nn.ReLU()), (f"pool{number}", nn.MaxPool2d(side)),
        ]  # fmt: skip
        width = wider
    layers += [("flatten", nn.Flatten()), ("fc5", nn.Linear(4 * width, 64)), ("relu5", nn.ReLU())]
    layers += [("fc6", nn.Linear(64, N_CLASSES[answers])), ("log_softmax", nn.LogSoftmax(-1))]
    return nn.Sequential(OrderedDict(layers))


def pretrained_speech(answers: str, path: str | Path | None = None) -> nn.Sequential:
    """With the weights at `path`, or the shipped ones. Raises WeightsError."""
    network = speech_network(answers)
    load_weights(network, path or WEIGHTS[answers])
    return network.eval()


def weights_file(answers: str) -> Path:
    """The shipped ones."""
    return WEIGHTS[answers]
