"""What an attack is given."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from shredder.attack.features import Features, kinds_of_features
from shredder.attack.networks import Budget
from shredder.noise.channel import Channel

# What a network is given of a Side.
Inputs = Callable[["Side", np.random.Generator], Tensor]


@dataclass(frozen=True)
class Side:
    """Rows of one part of the data.

    Attributes
    ----------
    clean, signal : Tensor, float32, (n, *activation shape)
        Activations, and what is sent of them but for noise: the same, or of Fresh t, (n, r).
    private, public : Tensor, int64, (n,)
        Labels.
    images : Tensor, float32, (n, P)
    """

    clean: Tensor
    signal: Tensor
    private: Tensor
    public: Tensor
    images: Tensor

    def rows(self, which: Tensor | slice) -> "Side":
        """Some of the rows."""
        return Side(*[tensor[which] for tensor in vars(self).values()])


@dataclass(frozen=True)
class Scene:
    """All that an attack sees: the channel, data of its own to learn from, and the test rows that it is judged on."""

    channel: Channel
    learning: Side
    held_out: Side
    test: Side
    budget: Budget
    seed: int

    def rng(self, *purpose: str | int) -> np.random.Generator:
        """A generator of its own for each purpose, so that attacks do not depend on which others were run."""
        return np.random.default_rng([self.seed, *"/".join(map(str, purpose)).encode()])

    @functools.cached_property
    def features(self) -> dict[str, Features]:
        """As from `kinds_of_features`."""
        return kinds_of_features(self.channel, self.learning.signal, self.rng("features"))

    def noisy(self, *kinds: str) -> dict[str, Inputs]:
        """Features of what is sent, drawn anew each time; those of `kinds` that there are, or all if none are named."""
        return {
            kind: lambda side, rng, of=of: of(self.channel.sent(side.signal, rng))
            for kind, of in self.features.items()
            if not kinds or kind in kinds
        }
