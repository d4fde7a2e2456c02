"""Guesses an input by optimisation: which one would send what was sent?

    argmin_x   distance(t(x), a') + weight * TV(x),   TV(x) = sum of |differences of neighbouring pixels|

Regularised maximum likelihood (He, Zhang, Lee, ACSAC 2019, "Model inversion attacks against collaborative inference"). The
distance is -ln p(a' | t(x)) where that is a density of independent values. Else it is the squared one to the undone noise.
Pixels are counted from the least to the most that the adversary's own inputs have at their place.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from shredder.attack.setting import Examples, Setting, Side
from shredder.split import SplitNetwork

# Test images that are guessed, and held-out ones that the weight is chosen on.
IMAGES, HELD_OUT = 32, 16
# Starts of each: the mean input, then inputs of the adversary's own.
_STARTS = 3
# Of TV, in nats; held-out rows choose.
WEIGHTS = (1.0, 10.0, 100.0)
# Steps of Adam, fewer where the edge takes more operations than these in all, and its rate, in shares of a pixel's range.
_STEPS, _OPERATIONS, _RATE = 200, 1e12, 0.05
# Below so many steps nothing is tried.
_FEWEST = 20
# Of the undone noise's error, as a share of the signal's standard deviation.
_UNDONE_ERROR = 0.1


class Inverted(NamedTuple):
    """Pictures guessed of the first test rows, (n, P), their weight of TV, how many steps it took, and the held-out error."""

    pictures: Tensor
    weight: float
    steps: int
    held_out: float


@dataclass(frozen=True)
class Search:
    """Inputs in a box, and the way to look for one.

    Attributes
    ----------
    edge : nn.Module
    signal : callable
        From activations to t.
    low, high : Tensor, (*input shape)
        The box.
    pictures : callable
    """

    edge: nn.Module
    signal: Callable[[Tensor], Tensor]
    low: Tensor
    high: Tensor
    pictures: Callable[[Tensor], Tensor]

    def best(self, starts: Tensor, distance: Callable[[Tensor], Tensor], weight: float, steps: int) -> Tensor:
        """Of each row the best of its starts, as inputs.

        Parameters
        ----------
        starts : Tensor, (s, n, *input shape)
            In [0, 1], shares of the box.
        distance : callable
            From t of s * n inputs, start by start, to distances, (s * n,).
        """
        x = starts.flatten(0, 1).clone().requires_grad_()
        adam = torch.optim.Adam([x], lr=_RATE)
        for step in range(steps):
            adam.param_groups[0]["lr"] = _RATE * (1 + math.cos(math.pi * step / steps)) / 2
            adam.zero_grad()
            self._losses(x, distance, weight).sum().backward()
            adam.step()
            with torch.no_grad():
                x.clamp_(0, 1)
        with torch.no_grad():
            losses = self._losses(x, distance, weight).view(starts.shape[:2])
            found = x.view(starts.shape)[losses.argmin(0), torch.arange(starts.shape[1], device=x.device)]
            return self.inputs(found)

    def inputs(self, x: Tensor) -> Tensor:
        """Of shares of the box."""
        return torch.lerp(self.low, self.high, x)

    def _losses(self, x: Tensor, distance: Callable[[Tensor], Tensor], weight: float) -> Tensor:
        inputs = self.inputs(x)
        return distance(self.signal(self.edge(inputs))) + weight * total_variation(x)


def total_variation(images: Tensor) -> Tensor:
    """Sum of the absolute differences of neighbouring pixels, (n, channels, h, w) -> (n,)."""
    return images.diff(dim=-1).abs().flatten(1).sum(1) + images.diff(dim=-2).abs().flatten(1).sum(1)


def distance_to(setting: Setting, sent: Tensor, times: int) -> Callable[[Tensor], Tensor]:
    """From t, (times * n, ...), to its distance from each a' of `sent`, (n, *activation shape), in nats, (times * n,)."""
    density, received = setting.channel.density(), setting.channel.source.received(sent)
    if density is not None:
        theirs, power = density.sent(received).repeat(times, 1), density.power
        return lambda t: (density.own(t) - theirs).abs().pow(power).sum(1) / power
    undone = setting.features.undo(received).repeat(times, 1)
    scale = _UNDONE_ERROR * setting.learning.signal.flatten(1).std(0).square().mean().sqrt().clamp(min=1e-12)
    return lambda t: ((t.flatten(1) - undone) / scale).square().sum(1) / 2


def steps_for(split: SplitNetwork, inputs: Tensor, rows: int) -> int:
    """How many steps there are for so many rows; 0 where they are too few to try.

    By the operations of the edge, of which a step takes three times as many: forwards, and backwards to both sides.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        split.edge(inputs[:1])
    steps = min(_STEPS, int(_OPERATIONS / max(1, 3 * counter.get_total_flops() * rows)))
    return steps if steps >= _FEWEST else 0


def inverted(setting: Setting) -> Inverted | None:
    """Pictures of the first test rows; None where inputs are no images, or the edge takes too long."""
    examples, n = setting.examples, {"held_out": HELD_OUT, "test": IMAGES}
    if examples is None or examples.inputs.dim() != 4:
        return None
    sides = {name: getattr(setting, name).rows(slice(most)) for name, most in n.items()}
    rows = _STARTS * (len(WEIGHTS) * len(sides["held_out"].signal) + len(sides["test"].signal))
    if not (steps := steps_for(setting.split, examples.inputs, rows)):
        return None
    flat = examples.inputs.flatten(1)
    low, high = (of.view(examples.inputs.shape[1:]) for of in (flat.amin(0), flat.amax(0)))
    search = Search(setting.split.edge, setting.channel.signal, low, high, examples.pictures)

    def guessed(name: str, weight: float) -> Tensor:
        side, rng = sides[name], setting.rng("invert", name)
        sent = setting.channel.sent(side.signal, rng)
        found = search.best(_starts(examples, search, side, rng), distance_to(setting, sent, _STARTS), weight, steps)
        return search.pictures(found).flatten(1)

    errors = {weight: functional.mse_loss(guessed("held_out", weight), sides["held_out"].images).item() for weight in WEIGHTS}
    weight = min(errors, key=errors.get)
    return Inverted(guessed("test", weight), weight, steps, errors[weight])


def _starts(examples: Examples, search: Search, side: Side, rng: np.random.Generator) -> Tensor:
    """The mean of the adversary's own inputs, and some of them at random, in shares of the box: (starts, n, *input shape)."""
    n, inputs = len(side.signal), examples.inputs
    mean = inputs.mean(0).expand(1, n, *inputs.shape[1:])
    some = torch.from_numpy(rng.integers(len(inputs), size=(_STARTS - 1, n))).to(inputs.device)
    width = search.high - search.low
    return torch.where(width > 0, (torch.cat([mean, inputs[some]]) - search.low) / width.clamp(min=1e-12), 0.0)
