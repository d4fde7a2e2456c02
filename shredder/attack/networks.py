"""Networks that an adversary trains on what crosses the cut: readers of the private label, decoders of the input."""

import copy
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from shredder.io.cli import InputError
from shredder.io.device import moved

# Distances of rows from the adversary's own that are held at once: they stay in the processor's cache.
_DISTANCES_AT_ONCE = 2**22
# Of a share that counts as none; processors take long over numbers that are too small to be normal ones.
_LOG_OF_NONE = -80.0


@dataclass(frozen=True)
class Budget:
    """How long networks train: `epochs`, or until the first that ends after `seconds`, whichever is sooner."""

    epochs: int
    seconds: float | None = None
    batch_size: int = 256
    learning_rate: float = 2e-3

    def check(self) -> None:
        """Raise InputError where networks could not train at all."""
        if self.seconds is not None and not self.seconds > 0:
            raise InputError(f"--seconds-per-attack: found {self.seconds:g}, expected more than 0")

    def shared(self, n: int, learning_rate: float | None = None) -> "Budget":
        """The share of one of `n` networks, with a learning rate of its own."""
        seconds = None if self.seconds is None else self.seconds / n
        return replace(self, seconds=seconds, learning_rate=learning_rate or self.learning_rate)


class Standardize(nn.Module):
    """Features minus their mean, over their standard deviation; those that never vary become 0."""

    def __init__(self, features: Tensor):
        super().__init__()
        self.register_buffer("mean", features.mean(0))
        spread = features.std(0)
        self.register_buffer("scale", torch.where(spread > 1e-6 * spread.max().clamp(min=1e-30), 1 / spread, 0))

    def forward(self, features: Tensor) -> Tensor:
        """(n, F) -> (n, F)."""
        return (features - self.mean) * self.scale


def perceptron(features: Tensor, widths: Iterable[int], n_out: int, rng: np.random.Generator) -> nn.Sequential:
    """Standardisation by `features`, (n, F), then linear layers of `widths` with rectifiers, then `n_out` outputs."""
    with torch.random.fork_rng():  # torch's layers initialise themselves from its global generator only
        torch.manual_seed(int(rng.integers(2**63)))
        layers, n_in = [Standardize(features)], features.shape[1]
        for width in widths:
            layers += [nn.Linear(n_in, width), nn.ReLU()]
            n_in = width
        return nn.Sequential(*layers, nn.Linear(n_in, n_out)).to(features.device)


class Training:
    """Trains a network that has a `loss`, in place; it ends as it was after the epoch with the smallest held-out loss.

    AdamW (Loshchilov and Hutter 2019), its rate rising over a tenth of the epochs and falling along a half cosine; early
    stopping.

    Parameters
    ----------
    network : nn.Module
        With `loss(features, targets)`, (), their mean.
    held_out : (Tensor, Tensor)
        Features and targets.
    budget : Budget
    rng : np.random.Generator
        Order of the batches.

    Attributes
    ----------
    spent : float
        Seconds of the budget: its own epochs', and what is added for making features.
    """

    def __init__(self, network: nn.Module, held_out: tuple[Tensor, Tensor], budget: Budget, rng: np.random.Generator):
        self.network, self.held_out, self.budget, self.rng = network, held_out, budget, rng
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=budget.learning_rate, weight_decay=1e-2, fused=True)
        self.best, self.best_state, self.spent, self.n_epochs = math.inf, None, 0.0, 0

    @property
    def goes_on(self) -> bool:
        """Whether the budget has another epoch."""
        late = self.n_epochs and self.budget.seconds is not None and self.spent > self.budget.seconds
        return self.n_epochs < self.budget.epochs and not late

    @property
    def share(self) -> float:
        """Of the budget that is spent."""
        of_seconds = 0.0 if self.budget.seconds is None else self.spent / self.budget.seconds
        return max(self.n_epochs / self.budget.epochs, of_seconds)

    def epoch(self, features: Tensor, targets: Tensor) -> None:
        """Learn from each row once, (n, ...), and look at the held-out ones."""
        budget, network, begin = self.budget, self.network, time.monotonic()
        network.train()
        batches = moved(self.rng.permutation(len(features)), features.device).split(budget.batch_size)
        for batch, rows in enumerate(batches):
            progress = (self.n_epochs + batch / len(batches)) / budget.epochs
            if budget.seconds is not None:
                progress = max(progress, min(1.0, (self.spent + time.monotonic() - begin) / budget.seconds))
            warm = min(1.0, 10 * progress + 0.01)
            self.optimizer.param_groups[0]["lr"] = budget.learning_rate * warm * (1 + math.cos(math.pi * progress)) / 2
            self.optimizer.zero_grad()
            network.loss(features[rows], targets[rows]).backward()
            self.optimizer.step()
        network.eval()
        with torch.no_grad():
            now = network.loss(*self.held_out).item()
        if now < self.best:
            self.best, self.best_state = now, copy.deepcopy(network.state_dict())
        self.n_epochs += 1
        self.spent += time.monotonic() - begin

    def finish(self) -> float:
        """Give the network its best state, and return its held-out loss. Raises InputError where that never was finite."""
        if self.best_state is None:
            raise InputError(f"an attack's {type(self.network).__name__} never had a finite loss on held-out rows")
        self.network.load_state_dict(self.best_state)
        self.network.eval()
        return self.best


class Reader(nn.Sequential):
    """Tells labels from features, (n, F) -> scores, (n, labels)."""

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, in nats."""
        return functional.cross_entropy(self(features), labels)


class Crop(nn.Module):
    """The upper left square of images, of a side of `side` pixels, flattened."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, h, h) -> (n, side * side)."""
        return images[:, 0, : self.side, : self.side].flatten(1)


def convolutions(
    features: Tensor, channels: int, side: int, rng: np.random.Generator, width: int = 512, maps: int = 8
) -> nn.Sequential:
    """Standardisation by `features`, (n, F), a perceptron onto `maps` coarse maps, convolutions of them, then pixels.

    A coarse pixel becomes f x f fine ones by two convolutions of 3 x 3 (Shi et al. 2016, "Real-time single image and video
    super-resolution using an efficient sub-pixel convolutional neural network"). f is 4, or less of small pictures.

    Parameters
    ----------
    channels : int
        Between convolutions.
    side : int
        Of the pictures, in pixels: (n, F) -> (n, side * side).
    """
    factor = max(f for f in (1, 2, 4) if f == 1 or side >= 4 * f)
    coarse = -(-side // factor)
    with torch.random.fork_rng():
        torch.manual_seed(int(rng.integers(2**63)))
        layers = [nn.Linear(features.shape[1], width), nn.ReLU(), nn.Linear(width, maps * coarse**2), nn.ReLU()]
        layers += [nn.Unflatten(1, (maps, coarse, coarse)), nn.Conv2d(maps, channels, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(channels, factor**2, 3, padding=1), nn.PixelShuffle(factor), Crop(side)]
        return nn.Sequential(Standardize(features), *layers).to(features.device)


class Decoder(nn.Sequential):
    """Guesses images from features, (n, F) -> (n, P)."""

    def loss(self, features: Tensor, images: Tensor) -> Tensor:
        """Mean squared error over all pixels."""
        return functional.mse_loss(self(features), images)


class Likelihood(nn.Module):
    """Bayes' rule over the adversary's own rows: p(label | a') is the share of their likelihood that rows of the label have.

        p(label | a') = sum over own rows j of the label of p(a' | t_j) / sum over all,   p(a' | t_j) ~ exp(-|a' - t_j|^k / k)

    in coordinates in which the noise has unit scale: k = 1 for Laplace noise, 2 for Normal. Since own rows are few, likelihoods
    are tempered, as chosen on held-out rows, and a thousandth is left to every label.

    Parameters
    ----------
    own : Tensor, (m, F)
    labels : Tensor, int64, (m,)
    power : int
        k.
    """

    def __init__(self, own: Tensor, labels: Tensor, power: int):
        super().__init__()
        self.own, self.labels, self.power, self.temperature = own, functional.one_hot(labels).float(), power, 1.0

    def forward(self, features: Tensor) -> Tensor:
        """(n, F) -> log-probabilities, (n, labels)."""
        return torch.cat([self._tempered(distance, self.temperature) for distance in self._distances(features)])

    def tune(self, features: Tensor, labels: Tensor) -> float:
        """Choose the temperature by the cross-entropy, in nats, of held-out features, which is returned."""
        sums = dict.fromkeys((1.0, 2.0, 4.0, 8.0, 16.0), 0.0)
        for distance, some in zip(self._distances(features), labels.split(self._rows), strict=True):
            for temperature in sums:
                found = functional.nll_loss(self._tempered(distance, temperature), some, reduction="sum")
                sums[temperature] = sums[temperature] + found.double()
        nats = {temperature: found.item() for temperature, found in sums.items()}
        self.temperature = min(nats, key=nats.get)
        return nats[self.temperature] / len(labels)

    @property
    def _rows(self) -> int:
        return max(1, _DISTANCES_AT_ONCE // len(self.own))

    def _distances(self, features: Tensor) -> Iterator[Tensor]:
        """Of some rows from all of the adversary's own, less that from the nearest."""
        for some in features.split(self._rows):
            distance = torch.cdist(some, self.own, p=self.power).pow_(self.power).div_(self.power)
            yield distance.sub_(distance.amin(1, keepdim=True))

    def _tempered(self, distances: Tensor, temperature: float) -> Tensor:
        of_labels = (distances / -temperature).clamp_(min=_LOG_OF_NONE).exp_() @ self.labels
        return (0.999 * of_labels / of_labels.sum(1, keepdim=True) + 0.001 / self.labels.shape[1]).log()
