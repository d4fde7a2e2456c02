"""How noise that is drawn anew for every query is judged: on draws for held-out or test rows, and as loud as they allow."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from shredder.learn.learner import Rows
from shredder.metrics import accuracy
from shredder.noise.channel import Channel
from shredder.split import SplitNetwork

# Draws of every activation that decide about acceptance.
DRAWS = 8
# Noise that reaches its accuracy is made louder by so much at most; steps of the search.
_LOUDEST, _HALVINGS = 8.0, 8


@torch.no_grad()
def accuracies(split: SplitNetwork, channel: Channel, rows: Rows, rng: np.random.Generator) -> Tensor:
    """Accuracy of the cloud's answers under each of `DRAWS` draws for every row, float64 (DRAWS,)."""
    activations, labels = rows
    signal = channel.signal(activations)
    return torch.stack([accuracy(channel.answered(split.cloud, signal, rng), labels) for _ in range(DRAWS)])


def loudest(passes: Callable[[float], bool]) -> float:
    """The largest factor from 1 to 8 with which noise passes, by bisection on its logarithm; 1 where no larger one does."""
    low, high = 0.0, math.log(_LOUDEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if passes(math.exp(middle)) else (low, middle)
    return math.exp(low)
