"""What a method stores of learned noise, and how queries draw from it: one protocol, tensors, Laplace distributions."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from shredder.io.cli import InputError
from shredder.io.device import moved
from shredder.io.files import npy
from shredder.noise import draws
from shredder.noise.draws import Draws, Fitted
from shredder.noise.moments import Density, LaplaceNoise, Moments
from shredder.noise.order_statistics import order_statistics
from shredder.noise.rounding import bits_left, to_grid
from shredder.noise.tensors import laplace_fit, noisy


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


@dataclass(frozen=True)
class Collection(Elementwise):
    """Learned noise tensors: N pairs of w and n, each float32 (N, *activation shape); w is None of methods that learn none."""

    multiplicative: Tensor | None
    additive: Tensor

    NAMES = ("additive.npy", "multiplicative.npy")

    def __len__(self) -> int:
        return len(self.additive)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one activation."""
        return tuple(self.additive.shape[1:])

    @property
    def formula(self) -> str:
        """With w or without."""
        return "a + n" if self.multiplicative is None else "w * a + n"

    @property
    def rules(self) -> tuple[str, ...]:
        """Element-wise draws are for additive tensors alone (v1)."""
        return ("elementwise-laplace",) * (self.multiplicative is None) + ("order-preserving", "verbatim")

    def files(self, folder: Path) -> dict[Path, bytes]:
        """One `.npy` file for each kind of tensor."""
        tensors = zip(self.NAMES, (self.additive, self.multiplicative), strict=True)
        return {folder / name: npy(tensor.cpu().numpy()) for name, tensor in tensors if tensor is not None}

    def draw(self, n_queries: int, rule: str, rng: np.random.Generator) -> Draws:
        """verbatim: a stored member, chosen uniformly. order-preserving: its w redrawn as by `redraw_in_order`, n as is (v2);
        without w, n redrawn (v3). elementwise-laplace: v1's rule, see `redraw_elements`, for additive tensors alone.
        """
        draws.require_rule(rule, self.rules, "" if self.multiplicative is None else "v1's rule is for additive tensors alone")
        if rule == "elementwise-laplace":
            if len(self) < 2:
                raise InputError("--draw elementwise-laplace: a single tensor has no spread; expected two or more")
            return draws.redraw_elements(self.additive, n_queries, rng)
        members, w = moved(rng.integers(len(self), size=n_queries), self.additive.device), self.multiplicative
        if rule == "verbatim":
            return Draws(None if w is None else w[members], self.additive[members])
        drawn = self._fitted.redrawn(members, rng).unflatten(1, self.shape)
        if w is None:
            return draws.on_a_grid(drawn, self._fitted.scale[members])
        return Draws(drawn.float(), self.additive[members])

    @cached_property
    def _fitted(self) -> Fitted:
        """To what order-preserving draws redraw."""
        return Fitted.to(self.additive, "laplace") if self.multiplicative is None else Fitted.to(self.multiplicative, "normal")

    def laplace(self, rule: str) -> list[LaplaceNoise] | None:
        """v1's: one for all members. Of additive tensors in their order: one each."""
        if self.multiplicative is not None or rule == "verbatim":
            return None
        n = self.additive.double().flatten(1)
        if rule == "elementwise-laplace":
            return [LaplaceNoise(n.mean(0), n.std(0, correction=0), None)]
        return [LaplaceNoise(*member) for member in zip(*laplace_fit(n), n.argsort(1), strict=True)]

    def density(self, rule: str) -> Density | None:
        """Of v1's rule."""
        if rule != "elementwise-laplace":
            return None
        (noise,) = self.laplace(rule)
        location, scale = noise.location.float(), noise.scale.float()
        return Density(lambda t: (t.flatten(1) + location) / scale, lambda sent: sent.flatten(1) / scale, 1)

    def moments(self, rule: str) -> Moments:
        """Of Laplace values, of stored members, or of w redrawn in its order."""
        if noise := self.laplace(rule):
            return Moments.of_laplace(noise)
        n = self.additive.double().flatten(1)
        w = torch.ones_like(n) if self.multiplicative is None else self.multiplicative.double().flatten(1)
        zero = torch.zeros_like(n)
        if rule == "verbatim":
            return Moments(w, zero, n, zero)
        mean, variance = (moved(values, w.device) for values in order_statistics(w.shape[1], "normal"))
        ranks, location, scale = w.argsort(1).argsort(1), w.mean(1, keepdim=True), w.std(1, correction=0, keepdim=True)
        return Moments(location + scale * mean[ranks], scale.square() * variance[ranks], n, zero)


@dataclass(frozen=True)
class Distributions(Elementwise):
    """Learned Laplace distributions of additive noise, as v3 stores them.

    Attributes
    ----------
    parameters : Tensor, float32, (N, 2)
        Location and scale, in units of the activation.
    orders : Tensor, int64, (N, D)
        Elements of the flattened activation, from the one that receives the largest value down: the tensor
        [3.2, 4.8, 7.3, 1.5] is kept as [2, 1, 0, 3].
    shape : tuple of int
        Of one activation; D elements.
    """

    parameters: Tensor
    orders: Tensor
    shape: tuple[int, ...]

    NAMES = ("distributions.npy", "orders.npy")
    rules = ("order-preserving",)

    def __len__(self) -> int:
        return len(self.parameters)

    @classmethod
    def fitted(cls, tensors: Tensor) -> "Distributions":
        """What is kept of `tensors`, (N, *activation shape): the Laplace fitted to each, and the order of its elements."""
        location, scale = laplace_fit(tensors)
        orders = tensors.flatten(1).sort(dim=1, descending=True, stable=True).indices
        return cls(torch.stack([location, scale], 1).float(), orders, tuple(tensors.shape[1:]))

    def files(self, folder: Path) -> dict[Path, bytes]:
        """Two `.npy` files."""
        arrays = zip(self.NAMES, (self.parameters, self.orders), strict=True)
        return {folder / name: npy(array.cpu().numpy()) for name, array in arrays}

    def draw(self, n_queries: int, rule: str, rng: np.random.Generator) -> Draws:
        """Values of a member's distribution, the member chosen uniformly, placed in its order (v3)."""
        draws.require_rule(rule, self.rules, "distributions are drawn in their order, for their tensors are gone")
        members = moved(rng.integers(len(self), size=n_queries), self.orders.device)
        location, scale = self.parameters[members].double().unsqueeze(-1).unbind(1)
        orders = self.orders[members].flip(1)
        return draws.on_a_grid(draws.placed(orders, location, scale, "laplace", rng).unflatten(1, self.shape), scale)

    def laplace(self, rule: str) -> list[LaplaceNoise]:
        """One for each member."""
        location, scale = self.parameters.double().unbind(1)
        return [LaplaceNoise(*member) for member in zip(location, scale, self.orders.flip(1), strict=True)]

    def density(self, rule: str) -> None:
        """Values in an order are not independent."""
        return

    def moments(self, rule: str) -> Moments:
        """Of values in their order."""
        return Moments.of_laplace(self.laplace(rule))
