"""Noise drawn anew for every query, along the directions that the cloud reads, with a bound on what it lets through."""

import math
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from shredder import runs
from shredder.runs import InputError
from shredder.split import SplitNetwork

# What is sent of a reading u: u itself, c * tanh(u / c), or c * sign(u).
Form = Literal["linear", "saturated", "quantised"]
# Of a sample, from which on its whole covariance counts in a bound.
ROWS_FOR_AN_ELEMENT = 5
# Of the Jacobians that directions are taken from.
_JACOBIAN_ELEMENTS = 10**8


@dataclass(frozen=True)
class Fresh:
    """a' = mu + Q (t + s * e),   t = form of P^T a - b,   e standard normal for every query.

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

    def coordinates(self, activations: Tensor) -> Tensor:
        """t of each activation, (n, r)."""
        return formed(activations.flatten(1) @ self.readings - self.offsets, self.limits, self.form)

    def signal(self, activations: Tensor) -> Tensor:
        """What is sent but for noise: Q t, (n, *activation shape)."""
        return (self.coordinates(activations) @ self.directions.T).view_as(activations)

    def received(self, sent: Tensor) -> Tensor:
        """t + s * e of what is sent, (n, r): all that it says of the input."""
        return (sent - self.additive).flatten(1) @ self.directions

    def draw(self, n_queries: int, rng: np.random.Generator) -> Tensor:
        """mu + Q (s * e) of each query, float32 (n_queries, *activation shape)."""
        e = torch.from_numpy(rng.standard_normal((n_queries, len(self.scales)), dtype=np.float32))
        return self.additive + ((self.scales * e) @ self.directions.T).view(n_queries, *self.shape)

    def bits(self, signal: Tensor, queries: int = 1) -> float:
        """What `queries` draws for one input say of it at most, in bits.

        Quantised: `two_level_bits`, whatever the inputs are. Else `gaussian_bits`, for inputs whose t has the covariance of
        those that `signal`, (n, *activation shape), n > 9, is a sample of; see `log_det_at_most`.
        """
        scales = self.scales.double()
        if self.form == "quantised":
            return two_level_bits(self.limits.double(), scales, queries).item()
        t = signal.flatten(1).double() @ self.directions.double()
        return log_det_at_most(t * math.sqrt(queries) / scales, torch.ones_like(scales)) / (2 * math.log(2))

    def files(self, folder: Path) -> dict[Path, bytes]:
        """One `.npy` file in `folder` for each field, to be written together."""
        return {folder / f"fresh-{name}.npy": runs.npy(np.asarray(value)) for name, value in vars(self).items()}


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


def gaussian_bits(covariance: Tensor, scales: Tensor, queries: int = 1) -> Tensor:
    """What a Gaussian channel carries at most, in bits.

        I(x; a') <= I(t; t + s * e) <= 1/2 log2 det(I + q S^-1 C S^-1),   S = diag(s)

    The first step is the data processing inequality, the second that at a given covariance the Normal distribution has the
    largest entropy (Cover and Thomas 2006, Theorems 2.8.1, 8.6.5). The mean of q draws for one input carries all that they
    say, and has noise of variance s^2 / q.

    Parameters
    ----------
    covariance : Tensor, (r, r)
        C, of t. It may be singular.
    scales : Tensor, (r,)
        s, above 0.
    queries : int
        q.

    Returns
    -------
    Tensor, ()
    """
    ratio = queries * covariance / (scales[:, None] * scales)
    return torch.linalg.slogdet(torch.eye(len(scales), dtype=ratio.dtype) + ratio).logabsdet / (2 * math.log(2))


def log_det_at_most(sample: Tensor, noise: Tensor) -> float:
    """ln det(C + N) of the covariance C that `sample` was drawn with: rather too large than too small, as a bound needs it.

    The determinant of the sample's own covariance is too small on average, for Normal samples and in the first order of 1 / n
    by ((tr G)^2 + tr G^2) / 2n with G = (C + N)^-1 C, which is added. Of fewer rows than five for each element only
    variances count, whose product is larger (Hadamard's inequality).

    Parameters
    ----------
    sample : Tensor, float64, (n, d)
        n > 9.
    noise : Tensor, float64, (d, d) or (d,)
        N, or its diagonal if it is diagonal.

    Raises
    ------
    InputError
        Of fewer than ten rows.
    """
    n, d = sample.shape
    if n < 10:
        raise InputError(f"found {n} activations, expected 10 or more, for a bound in bits rests on their spread")
    if n < ROWS_FOR_AN_ELEMENT * d:
        return (sample.var(0) + (noise if noise.dim() == 1 else noise.diagonal())).log().sum().item()
    c = torch.cov(sample.T).reshape(d, d)
    both = c + (torch.diag(noise) if noise.dim() == 1 else noise)
    g = torch.linalg.solve(both, c)
    return (torch.linalg.slogdet(both).logabsdet + (g.trace().square() + (g @ g).trace()) / (2 * n)).item()


def two_level_bits(limits: Tensor, scales: Tensor, queries: int = 1) -> Tensor:
    """What Gaussian channels carry at most whose inputs are -c or c, in bits, for whatever distribution of inputs.

        I(x; a') <= sum over directions of 1 - E[log2(1 + exp(-2 g (g + e)))],   g = sqrt(q) c / s,   e standard normal

    Each term is the capacity of a two-level Gaussian channel, reached where both levels are equally frequent (Richardson and
    Urbanke 2008, section 4.1), and at most 1 however many queries there are; noise is independent in each direction, so that
    capacities add up (Cover and Thomas 2006, section 9.4). By Gauss and Hermite's rule.

    Parameters
    ----------
    limits, scales : Tensor, (r,)
        c and s, above 0.
    queries : int
        q.

    Returns
    -------
    Tensor, ()
    """
    points, weights = (torch.from_numpy(values).to(scales.dtype) for values in _hermite())
    g = (math.sqrt(queries) * limits / scales)[:, None]
    lost = torch.nn.functional.softplus(-2 * g * (g + points)) @ weights / math.log(2)
    return (1 - lost).sum()


@cache
def _hermite() -> tuple[np.ndarray, np.ndarray]:
    """Points and weights, (100,), that integrate over the standard Normal distribution."""
    points, weights = np.polynomial.hermite_e.hermegauss(100)
    return points, weights / weights.sum()


def active_directions(split: SplitNetwork, activations: Tensor, n: int, rng: np.random.Generator) -> Tensor:
    """Where the cloud's answers change most: the `n` leading right singular vectors of its Jacobians at `activations`.

        J^T J = sum over activations and classes of grad grad^T,   grad = d log p(class) / d a

    (active subspaces; Constantine, Dow, Wang 2014). Outside the rows of the cloud's first linear map the answer never changes.

    Parameters
    ----------
    split : SplitNetwork
    activations : Tensor, (m, *activation shape)
        Of many elements fewer rows are used, so that the Jacobians take 400 MB at most.
    n : int
    rng : np.random.Generator
        Of the randomised decomposition (Halko, Martinsson, Tropp 2011).

    Returns
    -------
    Tensor, float32, (D, r)
        Orthonormal; r = min(n, rank of the Jacobians).
    """
    gradients = []
    with torch.no_grad():
        classes = split.cloud(activations[:1]).shape[1]
    for some in activations[: max(1, _JACOBIAN_ELEMENTS // (classes * activations[0].numel()))].split(500):
        some = some.clone().requires_grad_()
        answers = split.cloud(some)
        gradients += [torch.autograd.grad(column.sum(), some, retain_graph=True)[0].flatten(1) for column in answers.T]
    jacobian = torch.cat(gradients)
    with torch.random.fork_rng():  # the decomposition draws from torch's global generator
        torch.manual_seed(int(rng.integers(2**63)))
        _, values, vectors = torch.svd_lowrank(jacobian, min(n + 10, *jacobian.shape), niter=4)
    return vectors[:, : min(n, int((values > 1e-5 * values[0]).sum()))].contiguous()


def load_fresh(folder: Path, shape: tuple[int, ...]) -> Fresh:
    """Read what `--method fresh` has written to `folder`, and check everything about it. Raises InputError."""
    arrays = {field.name: runs.read_array(folder / f"fresh-{field.name}.npy", "--fresh") for field in fields(Fresh)}
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
        infinite = name == "limits" and form == "linear"
        _require(infinite or np.isfinite(array).all(), folder, name, "NaN or infinity", "finite numbers")
    for name in ("limits", "scales"):
        _require((arrays[name] > 0).all(), folder, name, arrays[name].min(), "numbers above 0")
    q = arrays["directions"].astype(np.float64)
    _require(np.allclose(q.T @ q, np.eye(r), atol=1e-4), folder, "directions", "other columns", "orthonormal ones")
    return Fresh(form, **{name: torch.from_numpy(array) for name, array in arrays.items()})


def _require(condition: bool, folder: Path, name: str, found: object, expected: str) -> None:
    if not condition:
        raise InputError(f"--fresh {folder / f'fresh-{name}.npy'}: found {found}, expected {expected}")
