"""A small classifier of letters by their hashed words: 64 hidden units, 526,000 parameters."""

from collections import OrderedDict
from pathlib import Path

from torch import nn

from models.weights import load_weights

N_WORDS = 8192
# The layer whose output is sent, and its shape: behind the first layer.
CUTTING_POINTS = {"relu1": (64,)}
WEIGHTS = Path(__file__).parent / "newsgroups.safetensors"
# New weights of the first layer are so many times as large as torch makes them: a letter is a vector of length 1.
_GAIN = 20.0


def newsgroups_network() -> nn.Sequential:
    """Weighted words, (n, 8192), each letter of length 1 -> log-probabilities of twenty groups, with new weights."""
    network = nn.Sequential(OrderedDict(
        fc1=nn.Linear(N_WORDS, 64), relu1=nn.ReLU(), dropout1=nn.Dropout(0.5), fc2=nn.Linear(64, 20),
        log_softmax=nn.LogSoftmax(-1),
    ))  # fmt: skip
    network.fc1.weight.data.mul_(_GAIN)
    return network


def pretrained_newsgroups(path: str | Path | None = None) -> nn.Sequential:
    """With the weights at `path`, or the shipped ones. Raises WeightsError."""
    network = newsgroups_network()
    load_weights(network, path or WEIGHTS)
    return network.eval()
