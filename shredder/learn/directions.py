"""In which directions of the activation anything is sent: those that the cloud reads, without those that carry nothing."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from shredder.io.device import moved
from shredder.noise.fresh import Form, Fresh, read
from shredder.split import SplitNetwork

# Directions whose signal has less than this share of the noise's variance are not sent: they say next to nothing of these
# inputs, and might of others.
_LEAST_RATIO = 0.01
# Elements of the Jacobians that directions are taken from, at most.
_JACOBIAN_ELEMENTS = 10**8


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
    jacobian = torch.cat(gradients).cpu()  # for the same draws on every device
    with torch.random.fork_rng():  # the decomposition draws from torch's global generator
        torch.manual_seed(int(rng.integers(2**63)))
        _, values, vectors = torch.svd_lowrank(jacobian, min(n + 10, *jacobian.shape), niter=4)
    return vectors[:, : min(n, int((values > 1e-5 * values[0]).sum()))].contiguous().to(activations.device)


def beginning(
    split: SplitNetwork, activations: Tensor, form: Form, n: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Where learning begins: Q, (D, r), mu, (*activation shape), and the spread of what is sent along Q, (r,).

    Along active directions, around the activations' mean there. What is flipped has but two levels, mu - Q c and mu + Q c, of
    which c is twice the spread: the activations that the cloud answers most surely, one for each of its two most frequent
    answers. Arguments as for `active_directions`.
    """
    if form == "flipped":
        low, high = surest(split, activations)
        apart = (high - low).flatten()
        return (apart / apart.norm())[:, None], (low + high) / 2, apart.norm()[None] / 4
    directions = active_directions(split, activations, n, rng)
    projected = activations.flatten(1) @ directions
    return directions, (directions @ projected.mean(0)).view_as(activations[0]), projected.std(0).clamp(min=1e-3)


def surest(split: SplitNetwork, activations: Tensor) -> Tensor:
    """Of the two most frequent answers, the activation that the cloud answers so most surely: (2, *activation shape)."""
    with torch.no_grad():
        answers = torch.cat([split.cloud(some) for some in activations.split(500)])
    frequent = answers.argmax(1).bincount(minlength=answers.shape[1]).topk(2).indices.sort().values
    return activations[answers[:, frequent].argmax(0)]


def initial_readings(
    directions: Tensor, activations: Tensor, spread: Tensor, hidden_units: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """P, b and, where there are hidden units, H before learning.

    Linear readings are the coordinates along the directions. Those of hidden units are random, and as spread out.

    Parameters
    ----------
    directions : Tensor, (D, r)
    activations : Tensor, (m, *activation shape)
    spread : Tensor, (r,)
        Standard deviations of their coordinates.
    """
    readings, hidden, (d, r) = directions.clone(), None, directions.shape
    if hidden_units:
        size = activations.square().mean().sqrt() * math.sqrt(d / 2)  # units of unit spread (He et al. 2015)
        hidden = moved(rng.standard_normal((d + 1, hidden_units), dtype=np.float32), spread.device) / size
        hidden[-1] = 0
        readings = moved(rng.standard_normal((hidden_units, r), dtype=np.float32), spread.device)
        readings *= spread / read(activations, readings, hidden).std(0).clamp(min=1e-6)
    found = {"readings": readings, "offsets": read(activations, readings, hidden).mean(0)}
    return found if hidden is None else found | {"hidden": hidden}


def lean(fresh: Fresh, activations: Tensor) -> Fresh:
    """`fresh` without the directions in which t of these activations has less than a hundredth of the noise's variance.

    Their mean goes to mu. The loudest direction stays in any case.
    """
    signal = fresh.signal(activations)
    ratio = signal.var(0) / fresh.scales.square()
    kept = ratio > _LEAST_RATIO
    kept[ratio.argmax()] = True
    additive = fresh.additive + (fresh.directions[:, ~kept] @ signal[:, ~kept].mean(0)).view(fresh.shape)
    columns = {name: getattr(fresh, name)[:, kept] for name in ("readings", "directions")}
    values = {name: getattr(fresh, name)[kept] for name in ("offsets", "limits", "scales")}
    return replace(fresh, additive=additive, **columns, **values)
