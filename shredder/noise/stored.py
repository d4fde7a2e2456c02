"""What a method stores of learned noise, and how queries draw from it: tensors, Laplace distributions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shredder.io.cli import InputError
from shredder.io.device import moved
from shredder.io.files import npy
from shredder.noise import densities, draws
from shredder.noise.densities import Density, PairDensity
from shredder.noise.draws import Draws, Fitted
from shredder.noise.moments import LaplaceNoise, Moments
from shredder.noise.order_statistics import order_statistics
from shredder.noise.protocol import Elementwise
from shredder.noise.tensors import laplace_fit


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
        return Density(lambda t: (t.flatten(1) + location) / scale, lambda received: received / scale, 1)

    def pair_densities(self, signal: Tensor, rule: str) -> Sequence[PairDensity]:
        """v1's: one for all members. Else each member's: as it is, its w redrawn in its order, or without w its n."""
        n = self.additive.flatten(1)
        if density := self.density(rule):
            return [density.prepared(signal)]
        if noise := self.laplace(rule):
            return [of.prepared(signal) for of in noise]
        w = [None] * len(n) if self.multiplicative is None else self.multiplicative.flatten(1)
        prepared = densities.verbatim if rule == "verbatim" else densities.weights_in_order
        return [prepared(signal, *member) for member in zip(w, n, strict=True)]

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

    def pair_densities(self, signal: Tensor, rule: str) -> Sequence[PairDensity]:
        """One for each member."""
        return [of.prepared(signal) for of in self.laplace(rule)]

    def moments(self, rule: str) -> Moments:
        """Of values in their order."""
        return Moments.of_laplace(self.laplace(rule))
