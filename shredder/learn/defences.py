"""Defences of others as methods: what a user would pick instead. Each is loudened to the accuracy that may be missed.

A level is in units that make methods comparable where they can be: level^2 is the noise's power over the signal's, summed over
elements, for isotropic and PAC noise.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shredder.io.cli import InputError
from shredder.io.device import moved
from shredder.learn.bisection import Bisection, LevelledMethod
from shredder.learn.learner import PrivateRows, Rows, Settings, half_cosine
from shredder.noise.bounds import ELEMENTS_WITH_COVARIANCE
from shredder.noise.dropout import ChannelDropout
from shredder.noise.fresh import Fresh
from shredder.noise.gaussian import Gaussian
from shredder.noise.stored import Collection
from shredder.split import SplitNetwork

# Rows whose moments are taken at once, so that a memory map is never copied whole.
_ROWS_AT_ONCE = 1000
# Share of the loudest principal direction's variance below which one is not sent: float32 rounds activations by more.
_LEAST_SHARE = 1e-10
# Share of the noise's variance below which Cloak's element is not worth sending, as in `shredder.learn.directions`.
_LEAST_RATIO = 0.01
# Cloak's updates, and where its scales begin, in standard deviations of the activation.
_UPDATES, _BEGIN = 3000, 0.1


def moments(activations: Tensor, covariance: bool = False) -> tuple[Tensor, Tensor]:
    """Mean, float64 (D,), and variances, (D,), or covariance, (D, D), of activations, (n, *activation shape)."""
    mean, some = 0.0, activations.split(_ROWS_AT_ONCE)
    for part in some:
        mean = mean + part.flatten(1).double().sum(0) / len(activations)
    second = 0.0
    for part in some:
        centred = part.flatten(1).double() - mean
        second = second + (centred.T @ centred if covariance else centred.square().sum(0)) / (len(activations) - 1)
    return mean, second


@dataclass(frozen=True)
class Isotropic(LevelledMethod):
    """Normal noise of one scale on every element: s^2 = level^2 * mean_i Var(a_i).

    A target of Fisher information (dFIL; Guo et al. 2022, Maeng et al. 2023) sets the same s, so that it is a quantity that
    this noise is reported by, and no method of its own: `paper.defences.fisher_information`.
    """

    rule = "elementwise-normal"
    learning = Bisection

    def prepared(
        self, split: SplitNetwork, learning_set: Rows, settings: Settings, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Root mean variance of the elements, in units of the activation."""
        _, variance = moments(learning_set[0])
        shape = learning_set[0].shape[1:]
        return {"spread": variance.mean().sqrt().expand(shape).contiguous().to(split.device)}

    def stored(self, prepared: dict[str, Tensor], level: float) -> Gaussian:
        """Without a mean."""
        scales = (level * prepared["spread"]).float()
        return Gaussian(torch.zeros_like(scales), scales)


class IsotropicLaplace(Isotropic):
    """Laplace noise of one scale on every element: 2 b^2 = level^2 * mean_i Var(a_i).

    Stored as the two tensors -b and b, from whose mean, 0, and standard deviation, b, v1's rule draws.
    """

    rule = "elementwise-laplace"

    def stored(self, prepared: dict[str, Tensor], level: float) -> Collection:
        """Two tensors."""
        b = (level / math.sqrt(2) * prepared["spread"]).float()
        return Collection(None, torch.stack([-b, b]))


@dataclass(frozen=True)
class Pac(LevelledMethod):
    """Normal noise along the activations' principal directions, as PAC Privacy sets it (Xiao, Devadas, CRYPTO 2023).

        e_i = level^2 * sqrt(l_i) * sum_j l_j / sum_j sqrt(l_j)

    the noise's variance in the i-th direction, for the activations' variance l_i: at a given total, level^2 * sum_j l_j, this
    minimises 1/2 sum_i l_i / e_i, which is no less than 1/2 sum_i ln(1 + l_i / e_i), which bounds I(x; a') in nats. Of
    directions in which training activations do not vary the mean is sent.
    """

    rule = "fresh"
    learning = Bisection

    def prepared(
        self, split: SplitNetwork, learning_set: Rows, settings: Settings, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Mean, principal directions (D, r), and noise's scales (r,) at level 1, in units of the activation.

        Raises InputError of more elements than a covariance is taken of.
        """
        if (d := learning_set[0][0].numel()) > ELEMENTS_WITH_COVARIANCE:
            raise InputError(
                f"--method pac: found activations of {d} elements, expected {ELEMENTS_WITH_COVARIANCE} at most, for it takes "
                "their covariance"
            )
        mean, covariance = moments(learning_set[0], covariance=True)
        values, vectors = torch.linalg.eigh(covariance)
        kept = values > _LEAST_SHARE * values[-1]
        l, directions = values[kept].flip(0), vectors[:, kept].flip(1)  # noqa: E741
        scales = (l.sqrt() * l.sum() / l.sqrt().sum()).sqrt()
        found = {"mean": mean.view(learning_set[0].shape[1:]), "directions": directions, "scales": scales}
        return {name: tensor.float().contiguous().to(split.device) for name, tensor in found.items()}

    def stored(self, prepared: dict[str, Tensor], level: float) -> Fresh:
        """Of the linear form, read and sent along the same directions, around the mean."""
        q, mean, scales = prepared["directions"], prepared["mean"], level * prepared["scales"]
        return Fresh("linear", q, q, mean, mean.flatten() @ q, torch.full_like(scales, math.inf), scales)


@dataclass(frozen=True)
class Cloak(LevelledMethod):
    """Learned mean and scale for every element: a' = a + mu + sigma * e (Mireshghallah et al., WWW 2021).

        mu, log sigma follow the gradient of   cross-entropy(cloud(a')) - alpha * mean_i log sigma_i

    The level multiplies sigma. An element whose signal then has less than a hundredth of the noise's variance is not sent: the
    constant E[a_i] + mu_i stands in its place, as in the paper, which leaves the threshold to the user. Sigma has no upper
    limit here, where the paper's has one.

    Attributes
    ----------
    alpha : float
        In nats.
    learning_rate : float
        Adam's at the start, in units of log sigma, and of a standard deviation of the activations, for each update.
    """

    alpha: float
    learning_rate: float

    rule = "elementwise-normal"
    learning = Bisection

    @classmethod
    def defaults(cls, args: Any) -> dict[str, Any]:
        """As for LeNet."""
        return super().defaults(args) | {"alpha": 0.1, "learning_rate": 1e-2}

    @classmethod
    def of(cls, args: Any, private: PrivateRows | None) -> "Cloak":
        """From flags."""
        return cls(args.alpha, args.learning_rate)

    def prepared(
        self, split: SplitNetwork, learning_set: Rows, settings: Settings, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """mu and sigma, learned; and the activations' mean and variance; all (*activation shape)."""
        activations, labels = learning_set
        mean, variance = (of.view(activations.shape[1:]).float().to(split.device) for of in moments(activations))
        unit = variance.mean().sqrt()
        shift = torch.zeros_like(mean, requires_grad=True)  # mu, in these units
        log_scales = torch.full_like(mean, math.log(_BEGIN), requires_grad=True)
        adam = torch.optim.Adam([shift, log_scales], lr=self.learning_rate)
        for update in range(_UPDATES):
            adam.param_groups[0]["lr"] = self.learning_rate * half_cosine(torch.tensor(update / _UPDATES), 0.02).item()
            rows = moved(rng.integers(len(labels), size=min(settings.batch_size, len(labels))), activations.device)
            some, their_labels = (tensor[rows].to(split.device) for tensor in learning_set)
            e = moved(rng.standard_normal(some.shape, dtype=np.float32), split.device)
            answers = split.cloud(some + unit * (shift + log_scales.exp() * e))
            adam.zero_grad()
            (functional.nll_loss(answers, their_labels) - self.alpha * log_scales.mean()).backward()
            adam.step()
        learned = {"shift": unit * shift.detach(), "scales": unit * log_scales.detach().exp()}
        return learned | {"mean": mean, "variance": variance}

    def stored(self, prepared: dict[str, Tensor], level: float) -> Gaussian:
        """With constants for elements that are not worth sending."""
        scales = level * prepared["scales"]
        sent = prepared["variance"] >= _LEAST_RATIO * scales.square()
        constant = prepared["shift"] + torch.where(sent, 0.0, prepared["mean"])
        return Gaussian(constant, torch.where(sent, scales, math.inf))


@dataclass(frozen=True)
class Dropout(LevelledMethod):
    """A random subset of channels is sent for each query, as it is; the level is the odds that a channel is left out."""

    rule = "dropout"
    learning = Bisection

    def prepared(
        self, split: SplitNetwork, learning_set: Rows, settings: Settings, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Nothing but the activation's shape, as a tensor of that shape."""
        return {"shape": torch.zeros(learning_set[0].shape[1:], device=split.device)}

    def stored(self, prepared: dict[str, Tensor], level: float) -> ChannelDropout:
        """Each channel is kept with probability 1 / (1 + level)."""
        shape = tuple(prepared["shape"].shape)
        return ChannelDropout(torch.full(shape[:1], 1 / (1 + level), device=prepared["shape"].device), shape)


class AsItIs(Dropout):
    """The activation as it is: no defence, or one of the network's own weights. One level is tried, and says nothing."""

    own_settings = MappingProxyType({**LevelledMethod.own_settings, "epochs": 1, "min_epochs": 0})

    def stored(self, prepared: dict[str, Tensor], level: float) -> ChannelDropout:
        """Every channel is kept."""
        return super().stored(prepared, 0.0)
