"""Normal noise of its own scale on every element, drawn anew for every query; elements too loud to be worth sending are not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shredder.io.files import npy
from shredder.noise import bounds, draws
from shredder.noise.densities import Density, PairDensity
from shredder.noise.draws import Draws
from shredder.noise.moments import Moments
from shredder.noise.protocol import Elementwise
from shredder.noise.rounding import bits_left, grid_of, standard_normal


@dataclass(frozen=True)
class Gaussian(Elementwise):
    """a' = t + mu + s * e rounded to a grid, e standard Normal for every query and element; t is a, or 0 where s is infinite.

    Where s is infinite nothing of the element is sent: a' is the constant mu there. `Elementwise` sums in float64 and rounds to
    the grid, so that I(x; a') <= I(t; t + s * e) for the bits that leave the device.

    Attributes
    ----------
    additive : Tensor, float32, (*activation shape)
        mu, in units of the activation.
    scales : Tensor, float32, (*activation shape)
        s > 0, in the same units.
    """

    additive: Tensor
    scales: Tensor

    NAMES = ("gaussian-scales.npy", "gaussian-additive.npy")
    rules = ("elementwise-normal",)
    formula = "a + mu + s * e"

    def __len__(self) -> int:
        return 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one activation."""
        return tuple(self.additive.shape)

    @property
    def sends(self) -> Tensor:
        """Which of the flattened elements anything is sent of, bool (D,)."""
        return self.scales.flatten().isfinite()

    def signal(self, activations: Tensor) -> Tensor:
        """The activations, 0 where nothing is sent."""
        return torch.where(self.scales.isfinite(), activations, 0.0)

    def draw(self, n_queries: int, rule: str, rng: np.random.Generator) -> Draws:
        """mu + s * e of each query, float64 (n_queries, *activation shape)."""
        draws.require_rule(rule, self.rules)
        loud = self.scales.isfinite()
        scales = torch.where(loud, self.scales.double(), 0.0)
        noise = standard_normal((n_queries, *self.shape), rng, scales.device).mul_(scales).add_(self.additive.double())
        return Draws(None, noise, grid_of(scales)[None])

    def files(self, folder: Path) -> dict[Path, bytes]:
        """One `.npy` file for each field."""
        tensors = zip(self.NAMES, (self.scales, self.additive), strict=True)
        return {folder / name: npy(tensor.cpu().numpy()) for name, tensor in tensors}

    def laplace(self, rule: str) -> None:
        """It is Normal noise."""
        return

    def moments(self, rule: str) -> Moments:
        """Of mu + s * e."""
        mean, variance = self.additive.double().flatten()[None], self.scales.double().flatten().square()[None]
        variance = torch.where(self.sends, variance, 0.0)
        return Moments(torch.ones_like(mean), torch.zeros_like(mean), mean, variance)

    def density(self, rule: str) -> Density:
        """Of the elements that are sent, in units of their scales."""
        sends = self.sends
        scales, mean = self.scales.flatten()[sends], self.additive.flatten()[sends]
        return Density(lambda t: (t.flatten(1)[:, sends] + mean) / scales, lambda received: received[:, sends] / scales, 2)

    def pair_densities(self, signal: Tensor, rule: str) -> Sequence[PairDensity]:
        """Of the elements that are sent."""
        return [self.density(rule).prepared(signal)]

    def bits(self, signal: Tensor, rule: str, rng: np.random.Generator, queries: int = 1) -> float:
        """`gaussian_bits_at_most` of the elements that are sent; `signal`, (n, *activation shape), says the covariance."""
        sends = self.sends
        if not sends.any():
            return 0.0
        return bounds.gaussian_bits_at_most(signal.flatten(1)[:, sends], self.scales.flatten()[sends], queries)

    def bits_of_grid(self, rule: str) -> float:
        """Of as many Normal values as elements are sent."""
        return bits_left(int(self.sends.sum()), 1)

    def averaged(self, queries: int) -> "Gaussian":
        """The mean of q draws is all that they say, and itself a draw at scale s / sqrt(q)."""
        return replace(self, scales=self.scales / math.sqrt(queries))
