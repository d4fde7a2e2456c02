"""Noise drawn anew for every query, along the directions that the cloud reads, with a bound on what it lets through."""

import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shredder import runs
from shredder.runs import InputError
from shredder.split import SplitNetwork


@dataclass(frozen=True)
class Fresh:
    """a' = mu + Q (t + s * e),   t = c * tanh((P^T a - b) / c),   e standard normal for every query.

    Attributes
    ----------
    readings : Tensor, float32, (D, r)
        P: what the device reads of the flattened activation. diag(w) Q is an element-wise w, seen along the directions.
    directions : Tensor, float32, (D, r)
        Q: r orthonormal directions of the flattened activation, in which it is sent.
    additive : Tensor, float32, (*activation shape)
        mu.
    offsets, limits, scales : Tensor, float32, (r,)
        b, c and s, in units of the activation. An infinite limit leaves its direction linear.
    """

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
        return saturated(activations.flatten(1) @ self.readings - self.offsets, self.limits)

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
        """The bound `gaussian_bits` at the covariance of `signal`, (n, *activation shape), for `queries` draws of one input."""
        t = signal.flatten(1).double() @ self.directions.double()
        return gaussian_bits(torch.cov(t.T).reshape(len(self.scales), -1), self.scales.double(), queries).item()

    def files(self, folder: Path) -> dict[Path, bytes]:
        """One `.npy` file in `folder` for each array, to be written together."""
        return {folder / f"fresh-{name}.npy": runs.npy(tensor.numpy()) for name, tensor in vars(self).items()}


def saturated(coordinates: Tensor, limits: Tensor) -> Tensor:
    """c * tanh(u / c), and u where c is infinite."""
    finite = torch.where(limits.isinf(), torch.ones_like(limits), limits)
    return torch.where(limits.isinf(), coordinates, finite * torch.tanh(coordinates / finite))


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


def active_directions(split: SplitNetwork, activations: Tensor, n: int) -> Tensor:
    """Where the cloud's answers change most: the `n` leading right singular vectors of its Jacobians at `activations`.

        J^T J = sum over activations and classes of grad grad^T,   grad = d log p(class) / d a

    (active subspaces; Constantine, Dow, Wang 2014). Outside the rows of the cloud's first linear map the answer never changes.

    Parameters
    ----------
    split : SplitNetwork
    activations : Tensor, (m, *activation shape)
    n : int

    Returns
    -------
    Tensor, float32, (D, r)
        Orthonormal; r = min(n, rank of the Jacobians).
    """
    gradients = []
    for some in activations.split(500):
        some = some.clone().requires_grad_()
        answers = split.cloud(some)
        for column in answers.T:
            gradients.append(torch.autograd.grad(column.sum(), some, retain_graph=True)[0].flatten(1))
    jacobian = torch.cat(gradients)
    if jacobian.shape[1] <= len(jacobian):
        values, vectors = torch.linalg.eigh((jacobian.T @ jacobian).double())
    else:
        values, left = torch.linalg.eigh((jacobian @ jacobian.T).double())
        vectors = jacobian.double().T @ left / values.clamp(min=1e-300).sqrt()
    kept = (values > 1e-12 * values.max()).nonzero().flatten().flip(0)[:n]
    return torch.linalg.qr(vectors[:, kept]).Q.float()


def load_fresh(folder: Path, shape: tuple[int, ...]) -> Fresh:
    """Read what `--method fresh` has written to `folder`, and check everything about it. Raises InputError."""
    arrays = {}
    for field in fields(Fresh):
        path = folder / f"fresh-{field.name}.npy"
        arrays[field.name] = array = runs.read_array(path, "--fresh")
        if array.dtype != np.float32 or np.isnan(array).any() or (field.name != "limits" and np.isinf(array).any()):
            raise InputError(
                f"--fresh {path}: found {array.dtype} with NaN or infinity or not float32, expected finite float32"
            )
    r = arrays["directions"].shape[-1]
    expected = {"additive": shape} | {name: (math.prod(shape), r) for name in ("readings", "directions")}
    expected |= {name: (r,) for name in ("offsets", "limits", "scales")}
    for name, expected_shape in expected.items():
        if arrays[name].shape != expected_shape:
            raise InputError(f"--fresh {folder / f'fresh-{name}'}.npy: found {arrays[name].shape}, expected {expected_shape}")
    for name in ("limits", "scales"):
        if not (arrays[name] > 0).all():
            raise InputError(f"--fresh {folder / f'fresh-{name}'}.npy: found {arrays[name].min()}, expected numbers above 0")
    q = arrays["directions"].astype(np.float64)
    if not np.allclose(q.T @ q, np.eye(r), atol=1e-4):
        raise InputError(f"--fresh {folder / 'fresh-directions.npy'}: its columns are not orthonormal")
    return Fresh(**{name: torch.from_numpy(array) for name, array in arrays.items()})
