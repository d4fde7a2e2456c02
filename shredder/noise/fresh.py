"""Noise drawn anew for every query, along the directions that the cloud reads, with a bound on what it lets through."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from shredder.io.cli import InputError
from shredder.io.files import npy, read_array
from shredder.noise import bounds
from shredder.noise.rounding import grid_of, standard_normal, to_grid

# What is sent of a reading u: u itself, c * tanh(u / c), or c * sign(u).
Form = Literal["linear", "saturated", "quantised"]
# Rows that directions are added to at once: they stay in the cache.
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Fresh:
    """a' = mu + Q y,   y = t + s * e rounded to a grid,   t = form of P^T a - b,   e standard normal for every query.

    What leaves the device is y, one number a direction; a' is made of y alone, and the same y gives the same bits. So
    I(x; a') <= I(x; y) <= I(t; t + s * e) by data processing, however a' is rounded: `shredder.rounding` says what the
    finite grid of e adds. (Sums of Q t and noise in float32 told the input by their rounding alone, for each product has its
    own; Mironov 2012.)

    Attributes
    ----------
    form : "linear", "saturated" or "quantised"
        How t follows from a reading u, see `formed`.
    readings : Tensor, float32, (D, r)
        P: what the device reads of the flattened activation. diag(w) Q is an element-wise w, seen along the directions.
    directions : Tensor, float32, (D, r)
        Q: r orthonormal directions of the flattened activation, in which it is sent.
    additive : Tensor, float32, (*activation shape)
        mu.
    offsets, limits, scales : Tensor, float32, (r,)
        b, c and s, in units of the activation. The linear form has no limits: they are infinite.
    """

    form: Form
    readings: Tensor
    directions: Tensor
    additive: Tensor
    offsets: Tensor
    limits: Tensor
    scales: Tensor

    def __len__(self) -> int:
        return 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one activation."""
        return tuple(self.additive.shape)

    @property
    def grid(self) -> Tensor:
        """What y is a multiple of, float64 (r,): powers of two, see `grid_of`."""
        return grid_of(self.scales)

    def signal(self, activations: Tensor) -> Tensor:
        """t of each activation, float32 (n, r): all that is sent of it but for noise."""
        return formed(activations.flatten(1) @ self.readings - self.offsets, self.limits, self.form)

    def noise(self, n_queries: int, rng: np.random.Generator) -> Tensor:
        """s * e of each query, float64 (n_queries, r)."""
        return self.scales.double() * standard_normal((n_queries, len(self.scales)), rng)

    def released(self, signal: Tensor, noise: Tensor) -> Tensor:
        """y of t and s * e, each (n, r): float64 (n, r)."""
        return to_grid(signal.double() + noise, self.grid)

    def embedded(self, y: Tensor) -> Tensor:
        """mu + Q y of each y, (n, r): float32 (n, *activation shape).

        Summed direction by direction, so that the same y gives the same bits, whatever else is in the batch: a matrix product
        rounds as its tiles fall.
        """
        y, sent = y.float(), self.additive.flatten().expand(len(y), -1).clone()
        for some, of_some in zip(sent.split(_ROWS_AT_ONCE), y.split(_ROWS_AT_ONCE), strict=True):
            for direction, column in zip(self.directions.T, of_some.T, strict=True):
                some += column[:, None] * direction
        return sent.view(len(y), *self.shape)

    def sent(self, signal: Tensor, rng: np.random.Generator) -> Tensor:
        """a' of each row of t, (n, r), with noise of its own, float32 (n, *activation shape)."""
        return self.embedded(self.released(signal, self.noise(len(signal), rng)))

    def received(self, sent: Tensor) -> Tensor:
        """y of what is sent, but for rounding, float32 (n, r): all that it says of the input."""
        return (sent - self.additive).flatten(1) @ self.directions

    def bits(self, signal: Tensor, queries: int = 1) -> float:
        """What `queries` draws for one input say of it at most, in bits.

        Quantised: `bits_for_any_inputs`. Else `gaussian_bits_at_most`, for inputs whose t has the covariance of those that
        `signal`, (n, r), n > 9, is a sample of.
        """
        if self.form == "quantised":
            return self.bits_for_any_inputs(queries)
        return bounds.gaussian_bits_at_most(signal, self.scales, queries)

    def bits_for_any_inputs(self, queries: int = 1) -> float:
        """The same, in bits, whatever the inputs are: by the limits of t. Infinite where there are none (linear)."""
        carried = bounds.two_level_bits if self.form == "quantised" else bounds.limited_bits
        return carried(self.limits.double(), self.scales.double(), queries).item()

    def files(self, folder: Path) -> dict[Path, bytes]:
        """One `.npy` file in `folder` for each field, to be written together."""
        return {folder / f"fresh-{name}.npy": npy(np.asarray(value)) for name, value in vars(self).items()}


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


def load_fresh(folder: Path, shape: tuple[int, ...]) -> Fresh:
    """Read what `--method fresh` has written to `folder`, and check everything about it. Raises InputError."""
    arrays = {field.name: read_array(folder / f"fresh-{field.name}.npy", "--fresh") for field in fields(Fresh)}
    form = str(arrays.pop("form"))
    _require(form in get_args(Form), folder, "form", repr(form), f"one of {', '.join(get_args(Form))}")
    r = arrays["directions"].shape[-1] if arrays["directions"].ndim else 0
    expected = {"additive": shape} | {name: (math.prod(shape), r) for name in ("readings", "directions")}
    for name, array in arrays.items():
        found = f"{array.dtype} {array.shape}"
        of_shape = expected.get(name, (r,))
        _require(
            array.dtype == np.float32 and array.shape == of_shape and array.size, folder, name, found, f"float32 {of_shape}"
        )
        if name == "limits" and form == "linear":
            _require((array == np.inf).all(), folder, name, "finite limits", "infinite ones, for the form is linear")
            continue
        _require(np.isfinite(array).all(), folder, name, "NaN or infinity", "finite numbers")
    for name in ("limits", "scales"):
        _require((arrays[name] > 0).all(), folder, name, arrays[name].min(), "numbers above 0")
    q = arrays["directions"].astype(np.float64)
    _require(np.allclose(q.T @ q, np.eye(r), atol=1e-4), folder, "directions", "other columns", "orthonormal ones")
    return Fresh(form, **{name: torch.from_numpy(array) for name, array in arrays.items()})


def _require(condition: bool, folder: Path, name: str, found: object, expected: str) -> None:
    if not condition:
        raise InputError(f"--fresh {folder / f'fresh-{name}.npy'}: found {found}, expected {expected}")
