"""What an attack is given, how well it reads, and what it is compared with."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from shredder.adversaries import Budget
from shredder.channels import Channel
from shredder.features import Features, kinds_of_features

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


@dataclass(frozen=True)
class Reading:
    """How well the private label was read from test rows.

    Attributes
    ----------
    labels, correct : Tensor, int64, (n,)
        Of the rows that were read; 1 where they were read correctly.
    nats : Tensor, float32, (n,)
        Cross-entropy of each of these rows.
    held_out_nats : float
        The mean cross-entropy by which the reader was chosen.
    kind, reader : str
        Kind of features, and what read them.
    """

    labels: Tensor
    correct: Tensor
    nats: Tensor
    held_out_nats: float
    kind: str
    reader: str

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return self.correct.double().mean().item()

    def interval(self, among: int = 1) -> tuple[float, float]:
        """Wilson's interval of the accuracy, over test rows: of 95 %, or for all of so many readings at once (Bonferroni)."""
        test = stats.binomtest(int(self.correct.sum()), len(self.correct))
        found = test.proportion_ci(1 - 0.05 / among, method="wilson")
        return found.low, found.high

    def bits_at_least(self) -> tuple[float, float]:
        """Lower bound on the mutual information of private label and a', and its standard error over test rows, in bits.

        The label's entropy minus the cross-entropy.
        """
        told = stats.entropy(self.labels.bincount().numpy(), base=2) - self.nats.double() / math.log(2)
        return told.mean().item(), told.std().item() / math.sqrt(len(told))


def floor(learning: Side, test: Side) -> float:
    """Accuracy of the best guess given the true public label alone: the most common private label with it."""
    guess = {public.item(): learning.private[learning.public == public].mode().values for public in learning.public.unique()}
    guesses = torch.stack([guess[public] for public in test.public.tolist()])
    return (guesses == test.private).double().mean().item()


def random(learning: Side, test: Side) -> float:
    """Accuracy of the best guess given nothing: the most common private label."""
    return (test.private == learning.private.mode().values).double().mean().item()
