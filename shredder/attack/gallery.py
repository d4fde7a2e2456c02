"""Which input was it? Likelihood over a gallery, by exact arithmetic and by what rounding leaves: the attack `rounding`.

Sums of floating-point numbers carry the rounding of what was summed (Mironov 2012, "On significance of the least significant
bits for differential privacy"). Of noise with a bound nothing of it may help.
"""

import math
from typing import Any

import torch
from torch import Tensor

from shredder.attack.setting import Setting, Side
from shredder.noise.channel import Channel
from shredder.noise.draws import Draws
from shredder.noise.rounding import grid_of

# Candidates, of which one is the input; fewer where more numbers than these would have to be compared.
CANDIDATES = 1000
_COMPARISONS = 3e9
# Weights of what rounding says beside the likelihood; held-out rows choose.
_WEIGHTS = (0.0, 0.01, 0.1, 1.0, 10.0, 100.0, 1e6)
# A likelihood's logarithm for each pair of values out of their order, which exact arithmetic rules out.
_OUT_OF_ORDER = -1e4


def identified(setting: Setting) -> dict[str, Any]:
    """How often the input is told from a gallery of test rows by one query, with and without what rounding leaves.

    The weight of rounding is chosen on a gallery of held-out rows; where it does not help there, it is 0.

    Returns
    -------
    dict
        `candidates`; `exact`, `with rounding`: shares of the queries; `error`: the standard error of their difference, at least
        that of a single query; `weight`.
    """
    galleries = {name: _gallery(setting, getattr(setting, name), name) for name in ("held_out", "test")}
    chosen = max(_WEIGHTS, key=lambda weight: hits(*galleries["held_out"], weight).mean().item())
    exact, helped = (hits(*galleries["test"], weight) for weight in (0.0, chosen))
    n = len(exact)
    error = max((helped - exact).std().item() / math.sqrt(n), 1 / n)
    return {
        "candidates": n,
        "exact": exact.mean().item(),
        "with rounding": helped.mean().item(),
        "error": error,
        "weight": chosen,
    }


def _gallery(setting: Setting, side: Side, name: str) -> tuple[Tensor, Tensor]:
    """Log-likelihood, and what rounding says of it, of each query (rows) for each candidate (columns), (n, n)."""
    noise = setting.channel.laplace() or [None]
    n = int(min(CANDIDATES, len(side.signal), math.sqrt(_COMPARISONS / (side.clean[0].numel() * len(noise)))))
    signal = side.signal[:n]
    return compared(setting.channel, signal, setting.channel.sent(signal, setting.rng("rounding", name)))


def compared(channel: Channel, signal: Tensor, sent: Tensor) -> tuple[Tensor, Tensor]:
    """As `_gallery`, of the rows of `signal`, (n, ...), and what was sent of them."""
    source, outside = channel.source, channel.source.outside(sent)
    if channel.laplace() is None:
        likelihood = None
        for add in channel.pair_densities(signal):
            likelihood = add(source.received(sent).double(), likelihood)
    else:
        noises = (row - signal.flatten(1).double() for row in sent.flatten(1).double())
        likelihood = torch.stack(
            [torch.stack([_log_density(noise, *of) for of in _laplace(channel)]).amax(0) for noise in noises]
        )
    if outside.shape[1]:
        # What a device would send that sums in float32: each candidate's own rounding outside the directions.
        kept = torch.ones(1, *signal.shape[1:], dtype=torch.float64, device=signal.device)
        _, mean = source.tensors(Draws(kept, torch.zeros_like(kept)))
        own = source.outside(mean.double() + source.as_activation(signal).double())
        return likelihood, by_distance(outside, own)
    # Noise of float32 is a float32 number again, once the right input is taken away.
    noises = (row - signal.flatten(1).double() for row in sent.flatten(1).double())
    return likelihood, torch.stack([(noise.float().double() == noise).double().sum(1) for noise in noises])


def by_distance(rounding: Tensor, own: Tensor) -> Tensor:
    """-|rounding_i - own_j|^2 / 2 in units of the variance of the true pairs, (n, n)."""
    distances = torch.cdist(rounding, own).square()
    variance = distances.diagonal().mean() / rounding.shape[1]
    return -distances / (2 * variance.clamp(min=torch.finfo(torch.float64).tiny))


def _laplace(channel: Channel) -> list[tuple[Tensor, Tensor, Tensor | None, float]]:
    """Location, scale, order and coarsest grid of each member's noise."""
    return [(of.location, of.scale, of.order, grid_of(of.scale).max().item()) for of in channel.laplace()]


def _log_density(noise: Tensor, location: Tensor, scale: Tensor, order: Tensor | None, grid: float) -> Tensor:
    """Of each row of noise, (n, D), up to a constant: Laplace values, in their order but for a step of the grid."""
    found = -((noise - location).abs() / scale).sum(1) - torch.log(scale).expand(noise.shape[1]).sum()
    if order is not None:
        found = found + _OUT_OF_ORDER * (noise[:, order].diff(dim=1) < -grid).sum(1)
    return found


def hits(likelihood: Tensor, rounding: Tensor, weight: float) -> Tensor:
    """Whether each query's best candidate is its own, float64 (n,); among k that are equally good, 1 / k."""
    score = likelihood + weight * rounding
    best = score == score.amax(1, keepdim=True)
    return best.diagonal().double() / best.sum(1)
