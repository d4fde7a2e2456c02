"""What learned noise answers, whatever it is: the protocol of all, and the answers where noise falls on elements."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from shredder.noise.densities import Density, PairDensity
from shredder.noise.draws import Draws
from shredder.noise.moments import LaplaceNoise, Moments
from shredder.noise.rounding import bits_left, to_grid
from shredder.noise.tensors import noisy


class Stored(Protocol):
    """Learned noise. What is sent of an activation before noise is its signal t; `Elementwise` answers where t is a itself.

    Attributes
    ----------
    NAMES : tuple of str
        Files that it may be stored in; `KINDS` in `load.py` says how they are read.
    rules : tuple of str
        Ways in which a query may draw from it, the usual one first. Each method names the one that it learned for.
    shape : tuple of int
        Of one activation; D elements.
    rank : int or None
        In how many dimensions there is noise, where that is known without a look at draws.
    for_any_inputs : bool
        Whether its bound in bits holds for inputs of any distribution.
    formula : str
        What a' is.
    """

    NAMES: ClassVar[tuple[str, ...]]
    rules: tuple[str, ...]
    rank: int | None
    for_any_inputs: bool
    formula: str

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    def __len__(self) -> int:
        """Members."""

    def files(self, folder: Path) -> dict[Path, bytes]:
        """What is stored, as files in `folder` that are written together."""

    def signal(self, activations: Tensor) -> Tensor:
        """t of each activation, float32 (n, ...)."""

    def draw(self, n_queries: int, rule: str, rng: np.random.Generator) -> Draws:
        """One draw for each query. Raises InputError where the rule does not fit."""

    def sent(self, signal: Tensor, drawn: Draws) -> Tensor:
        """a' of each row of `signal` under a draw of its own, float32 (n, *shape): all that leaves the device."""

    def answered(self, cloud: Callable[[Tensor], Tensor], signal: Tensor, drawn: Draws) -> Tensor:
        """What `cloud` makes of those a', (n, classes): of each value once where there are few."""

    def received(self, sent: Tensor) -> Tensor:
        """What a' says of t and its noise, float32 (n, F): elements, or coordinates along directions."""

    def outside(self, sent: Tensor) -> Tensor:
        """What a' holds beside that, float64 (n, D or 0): rounding alone."""

    def tensors(self, drawn: Draws) -> tuple[Tensor | None, Tensor]:
        """w and n, float32 (Q, *shape), to judge a draw on many activations: a' = w * a + n but for the grid."""

    def as_activation(self, signal: Tensor) -> Tensor:
        """t in the activation's shape, float32 (n, *shape)."""

    def moments(self, rule: str) -> Moments:
        """Of w and n given the member; one row where members do not matter."""

    def laplace(self, rule: str) -> list[LaplaceNoise] | None:
        """The additive noise of each member, or one for all where members do not matter; None where it is not Laplace noise."""

    def density(self, rule: str) -> Density | None:
        """The density of a' given t, where it is that of independent Laplace or Normal values."""

    def pair_densities(self, signal: Tensor, rule: str) -> Sequence[PairDensity]:
        """p(a' | t_j) given each member, all of them equally likely, for signals t_j, (K, ...)."""

    def bits(self, signal: Tensor, rule: str, rng: np.random.Generator, queries: int = 1) -> float | None:
        """What `queries` draws for one input say of it at most, in bits; None where no theorem gives a bound."""

    def bits_for_any_inputs(self, queries: int = 1) -> float | None:
        """The same, whatever the inputs are; None where no bound is known."""

    def bits_of_grid(self, rule: str) -> float:
        """What the finite grid of the noise adds to a bound at most, in bits a query."""

    def hidden_at_most(self, rule: str) -> float | None:
        """How many bits of the activation it can hide at all, where that is known."""

    def averaged(self, queries: int) -> "Stored | None":
        """Noise of the mean of so many draws for one input, where that mean is all that they say; else None."""


class Elementwise:
    """Where t is the activation itself, and noise falls on its elements: the answers that `Stored` has in common then."""

    rank: ClassVar[int | None] = None
    for_any_inputs: ClassVar[bool] = False
    formula = "a + n"

    def signal(self, activations: Tensor) -> Tensor:
        """The activations."""
        return activations

    def sent(self, signal: Tensor, drawn: Draws) -> Tensor:
        """w * a + n; a + n summed in float64 and rounded to the draws' grid where a bound is claimed."""
        if drawn.grid is None:
            return noisy(signal, drawn.multiplicative, drawn.additive)
        return to_grid(signal.double() + drawn.additive, drawn.grid).float()

    def answered(self, cloud: Callable[[Tensor], Tensor], signal: Tensor, drawn: Draws) -> Tensor:
        """Of every a'."""
        return cloud(self.sent(signal, drawn))

    def received(self, sent: Tensor) -> Tensor:
        """Its elements."""
        return sent.flatten(1)

    def outside(self, sent: Tensor) -> Tensor:
        """Nothing, (n, 0)."""
        return sent.new_zeros(len(sent), 0, dtype=torch.float64)

    def tensors(self, drawn: Draws) -> tuple[Tensor | None, Tensor]:
        """As drawn."""
        return drawn.multiplicative, drawn.additive.float()

    def as_activation(self, signal: Tensor) -> Tensor:
        """The signal."""
        return signal

    def bits(self, signal: Tensor, rule: str, rng: np.random.Generator, queries: int = 1) -> float | None:
        """The mean over members of I(t; a' | member), which bounds I(t; a') since a member is independent of t."""
        noise = self.laplace(rule)
        return None if noise is None else float(np.mean([of.bits_at_most(signal, rng, queries) for of in noise]))

    def bits_for_any_inputs(self, queries: int = 1) -> None:
        """Unknown."""
        return

    def bits_of_grid(self, rule: str) -> float:
        """Of D Laplace values, all of them one variable where they stand in an order."""
        return bits_left(math.prod(self.shape), 1, laplace=True, ordered=rule == "order-preserving")

    def hidden_at_most(self, rule: str) -> float | None:
        """Of members used verbatim: which of them it was, log2 N."""
        return math.log2(len(self)) if rule == "verbatim" else None

    def averaged(self, queries: int) -> None:
        """A mean of draws is no such draw."""
        return
