"""Noise drawn anew for every query, along the directions that the cloud reads, with a bound on what it lets through."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shredder.io.cli import InputError
from shredder.io.files import npy
from shredder.noise import bounds
from shredder.noise.bracket import bits_of_batch
from shredder.noise.densities import Density, PairDensity
from shredder.noise.draws import Draws
from shredder.noise.moments import Moments
from shredder.noise.rounding import bits_left, grid_of, standard_normal, to_grid

# What is sent of a reading u before noise: u itself, c * tanh(u / c), or c * sign(u). The last is also what may be flipped.
Form = Literal["linear", "saturated", "quantised", "flipped"]
# Within so many bits of what a batch can show, its information has no gradient to speak of.
_BITS_NOT_SHOWN = 2
# Elements that directions are added to at once on a processor: they stay in the cache.
_NUMBERS_AT_ONCE = 2**17


@dataclass(frozen=True)
class Fresh:
    """a' = mu + Q y,   y = t + s * e rounded to a grid,   t = form of P^T h - b,   e standard normal for every query,

    where h is the activation a, or max(0, H^T (a, 1)) of hidden units.

    What leaves the device is y, one number a direction; a' is made of y alone, and the same y gives the same bits. So
    I(x; a') <= I(x; y) <= I(t; t + s * e) by data processing, however a' is rounded: `shredder.noise.rounding` says what the
    finite grid of e adds. (Sums of Q t and noise in float32 told the input by their rounding alone, for each product has its
    own; Mironov 2012.)

    Attributes
    ----------
    form : "linear", "saturated" or "quantised"
        How t follows from a reading u, see `formed`. "flipped" is `Flipped`.
    readings : Tensor, float32, (D, r) or (hidden units, r)
        P: what the device reads of the flattened activation. diag(w) Q is an element-wise w, seen along the directions.
    directions : Tensor, float32, (D, r)
        Q: r orthonormal directions of the flattened activation, in which it is sent.
    additive : Tensor, float32, (*activation shape)
        mu.
    offsets, limits, scales : Tensor, float32, (r,)
        b, c and s, in units of the activation. The linear form has no limits: they are infinite.
    hidden : Tensor or None, float32, (D + 1, hidden units)
        H, its last row the units' thresholds.
    """

    form: Form
    readings: Tensor
    directions: Tensor
    additive: Tensor
    offsets: Tensor
    limits: Tensor
    scales: Tensor
    hidden: Tensor | None = None

    NAMES = tuple(
        f"fresh-{name}.npy" for name in ("form", "readings", "directions", "additive", "offsets", "limits", "scales", "hidden")
    )
    rules = ("fresh",)
    formula = "mu + Q y"
    # What learning leaves as it begins.
    fixed = ()

    def __len__(self) -> int:
        return 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one activation."""
        return tuple(self.additive.shape)

    @property
    def rank(self) -> int:
        """r."""
        return len(self.scales)

    @property
    def for_any_inputs(self) -> bool:
        """Two levels are all that a quantised t has."""
        return self.form in ("quantised", "flipped")

    @property
    def grid(self) -> Tensor:
        """What y is a multiple of, float64 (r,): powers of two, see `grid_of`."""
        return grid_of(self.scales)

    def signal(self, activations: Tensor) -> Tensor:
        """t of each activation, float32 (n, r): all that is sent of it but for noise."""
        return formed(read(activations, self.readings, self.hidden) - self.offsets, self.limits, self.form)

    def draw(self, n_queries: int, rule: str, rng: np.random.Generator) -> Draws:
        """s * e of each query, float64 (n_queries, r)."""
        self.require(rule)
        noise = self.scales.double() * standard_normal((n_queries, len(self.scales)), rng, self.scales.device)
        return Draws(None, noise, self.grid[None])

    def require(self, rule: str) -> None:
        """Raise InputError of another rule than fresh."""
        if rule not in self.rules:
            raise InputError(f"--draw {rule}: fresh is the rule of what --method fresh learned, and its only one")

    def released(self, signal: Tensor, noise: Tensor) -> Tensor:
        """y of t and s * e, each (n, r): float64 (n, r)."""
        return to_grid(signal.double() + noise, self.grid)

    def embedded(self, y: Tensor) -> Tensor:
        """mu + Q y of each y, (n, r): float32 (n, *activation shape).

        Summed direction by direction, so that the same y gives the same bits, whatever else is in the batch: a matrix product
        rounds as its tiles fall.
        """
        y, sent = y.float(), self.additive.flatten().expand(len(y), -1).clone()
        at_once = max(1, _NUMBERS_AT_ONCE // sent.shape[1] if y.device.type == "cpu" else len(y))
        directions = self.directions.T.contiguous()
        for some, of_some in zip(sent.split(at_once), y.split(at_once), strict=True):
            product = torch.empty_like(some)
            # Two steps, for one that fuses them does not round alike at the end of a row.
            for direction, column in zip(directions, of_some.T.contiguous()[:, :, None], strict=True):
                some += torch.mul(column, direction, out=product)
        return sent.view(len(y), *self.shape)

    def sent(self, signal: Tensor, drawn: Draws) -> Tensor:
        """a' of t, (n, r), under a draw for each, float32 (n, *activation shape)."""
        return self.embedded(self.released(signal, drawn.additive))

    def answered(self, cloud: Callable[[Tensor], Tensor], signal: Tensor, drawn: Draws) -> Tensor:
        """Of every a'."""
        return cloud(self.sent(signal, drawn))

    def received(self, sent: Tensor) -> Tensor:
        """y of what is sent, but for rounding, float32 (n, r): all that it says of the input."""
        return (sent - self.additive).flatten(1) @ self.directions

    def outside(self, sent: Tensor) -> Tensor:
        """a' - mu without its part along the directions, float64 (n, D): rounding alone."""
        moved, q = (sent.double() - self.additive.double()).flatten(1), self.directions.double()
        return moved - (moved @ torch.linalg.pinv(q).T) @ q.T

    def tensors(self, drawn: Draws) -> tuple[None, Tensor]:
        """mu + Q s e, float32 (Q, *activation shape)."""
        return None, self.embedded(drawn.additive)

    def as_activation(self, signal: Tensor) -> Tensor:
        """Q t, float32 (n, *activation shape)."""
        return (signal @ self.directions.T).view(-1, *self.shape)

    def moments(self, rule: str) -> Moments:
        """Of y, with r elements."""
        variance = self.scales.double().square()[None]
        return Moments(torch.ones_like(variance), *[torch.zeros_like(variance)] * 2, variance)

    def laplace(self, rule: str) -> None:
        """It is Normal noise."""
        return

    def density(self, rule: str) -> Density:
        """Of y, in units of the scales."""
        return Density(lambda t: t / self.scales, lambda received: received / self.scales, 2)

    def pair_densities(self, signal: Tensor, rule: str) -> Sequence[PairDensity]:
        """Of y."""
        return [self.density(rule).prepared(signal)]

    def bits(self, signal: Tensor, rule: str, rng: np.random.Generator, queries: int = 1) -> float:
        """Quantised: `bits_for_any_inputs`. Else `gaussian_bits_at_most`; `signal`, (n, r), n > 9, says the covariance."""
        if self.for_any_inputs:
            return self.bits_for_any_inputs(queries)
        return bounds.gaussian_bits_at_most(signal, self.scales, queries)

    def bits_for_any_inputs(self, queries: int = 1) -> float:
        """The same, in bits, whatever the inputs are: by the limits of t. Infinite where there are none (linear)."""
        carried = bounds.two_level_bits if self.form == "quantised" else bounds.limited_bits
        return carried(self.limits.double(), self.scales.double(), queries).item()

    def bits_of_grid(self, rule: str) -> float:
        """Of r Normal values."""
        return bits_left(self.rank, 1)

    def hidden_at_most(self, rule: str) -> None:
        """Unknown."""
        return

    def averaged(self, queries: int) -> "Fresh":
        """The mean of q draws is all that they say, and itself a draw at scale s / sqrt(q)."""
        return replace(self, scales=self.scales / math.sqrt(queries))

    @staticmethod
    def learnable(t: Tensor, e: Tensor, limits: Tensor | None, scales: Tensor) -> tuple[Tensor, Tensor]:
        """What is sent of t and e, (b, r), in a batch: y, (b, r), and its information, in bits, both with a gradient.

        The latter is what the batch shows, or the Gaussian bound while it shows nearly all that it can.
        """
        y = t + scales * e
        shown = bits_of_batch(t, y, scales)
        bound = bounds.gaussian_bits(torch.cov(t.double().T).reshape(len(scales), -1), scales.double())
        return y, torch.where(shown < math.log2(len(t)) - _BITS_NOT_SHOWN, shown, bound.float())

    @staticmethod
    def asked(cloud: Callable[[Tensor], Tensor], y: Tensor, limits: Tensor | None) -> Tensor:
        """What `cloud` makes of y in learning, (b, r) -> (b, classes), with a gradient."""
        return cloud(y)

    @staticmethod
    def wrong(answers: Tensor, labels: Tensor) -> Tensor:
        """The share of wrong ones, float64, ()."""
        return (answers.argmax(1) != labels).double().mean()

    def files(self, folder: Path) -> dict[Path, bytes]:
        """One `.npy` file for each field that there is."""
        return {
            folder / f"fresh-{name}.npy": npy(np.asarray(value.cpu() if isinstance(value, Tensor) else value))
            for name, value in vars(self).items()
            if value is not None
        }


def read(activations: Tensor, readings: Tensor, hidden: Tensor | None) -> Tensor:
    """P^T h of activations, (n, ...): (n, r)."""
    flat = activations.flatten(1)
    return (flat if hidden is None else torch.addmm(hidden[-1], flat, hidden[:-1]).relu()) @ readings


def formed(coordinates: Tensor, limits: Tensor, form: Form) -> Tensor:
    """t of readings u, (n, r): u, c * tanh(u / c), or c * sign(u), with limits c, (r,).

    The gradient of c * sign(u) by u is that of c * tanh(u / c), for its own is 0 (the straight-through estimator; Bengio,
    Leonard, Courville 2013).
    """
    if form == "linear":
        return coordinates
    if form == "saturated":
        return limits * torch.tanh(coordinates / limits)
    width = limits.detach()
    soft = width * torch.tanh(coordinates / width)
    hard = torch.where(coordinates < 0, -limits, limits)
    return hard + soft - soft.detach() if soft.requires_grad else hard
