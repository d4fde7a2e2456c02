"""Networks that an adversary trains on what crosses the cut: readers of the private label, decoders of the input, critics."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from shredder.io.cli import InputError

# What a network is given and what it shall answer; made anew for every epoch, with fresh noise.
Pairs = Callable[[np.random.Generator], tuple[Tensor, Tensor]]
# Rows whose distances to all of the adversary's own are held at once.
_ROWS_OF_DISTANCES = 500
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


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
        return nn.Sequential(*layers, nn.Linear(n_in, n_out))


def fit(
    network: nn.Module, pairs: Pairs, held_out: tuple[Tensor, Tensor], loss: Loss, budget: Budget, rng: np.random.Generator
) -> float:
    """Train `network` in place; it ends as it was after the epoch with the smallest held-out loss (early stopping).

    AdamW (Loshchilov and Hutter 2019), its rate rising over a tenth of the epochs and falling along a half cosine.

    Parameters
    ----------
    pairs : callable
        Gives features and targets, (n, ...), for each epoch.
    held_out : (Tensor, Tensor)
    loss : callable
        Of network, features, targets, (); their mean.
    rng : np.random.Generator
        Order of the batches, and what `pairs` draws.

    Returns
    -------
    float
        That smallest held-out loss.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=budget.learning_rate, weight_decay=1e-2)
    best, best_state, begin = math.inf, None, time.monotonic()
    for epoch in range(budget.epochs):
        network.train()
        features, targets = pairs(rng)
        batches = torch.from_numpy(rng.permutation(len(features))).split(budget.batch_size)
        for batch, rows in enumerate(batches):
            progress = (epoch + batch / len(batches)) / budget.epochs
            if budget.seconds is not None:
                progress = max(progress, min(1.0, (time.monotonic() - begin) / budget.seconds))
            warm = min(1.0, 10 * progress + 0.01)
            optimizer.param_groups[0]["lr"] = budget.learning_rate * warm * (1 + math.cos(math.pi * progress)) / 2
            optimizer.zero_grad()
            loss(network, features[rows], targets[rows]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            now = loss(network, *held_out).item()
        if now < best:
            best, best_state = now, copy.deepcopy(network.state_dict())
        if budget.seconds is not None and time.monotonic() - begin > budget.seconds:
            break
    if best_state is None:
        raise InputError(f"an attack's network of {type(network).__name__} never had a finite loss on held-out rows")
    network.load_state_dict(best_state)
    network.eval()
    return best


def cross_entropy(network: nn.Module, features: Tensor, labels: Tensor) -> Tensor:
    """Of the network's answers, in nats."""
    return functional.cross_entropy(network(features), labels)


def squared_error(network: nn.Module, features: Tensor, images: Tensor) -> Tensor:
    """Mean over all pixels."""
    return functional.mse_loss(network(features), images)


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
        nats = dict.fromkeys((1.0, 2.0, 4.0, 8.0, 16.0), 0.0)
        for distance, some in zip(self._distances(features), labels.split(_ROWS_OF_DISTANCES), strict=True):
            for temperature in nats:
                nats[temperature] += functional.nll_loss(self._tempered(distance, temperature), some, reduction="sum").item()
        self.temperature = min(nats, key=nats.get)
        return nats[self.temperature] / len(labels)

    def _distances(self, features: Tensor) -> Iterator[Tensor]:
        for some in features.split(_ROWS_OF_DISTANCES):
            yield torch.cdist(some, self.own, p=self.power) ** self.power / self.power

    def _tempered(self, distances: Tensor, temperature: float) -> Tensor:
        posterior = torch.softmax(-distances / temperature, 1) @ self.labels
        return (0.999 * posterior + 0.001 / self.labels.shape[1]).log()


class Critic(nn.Module):
    """Scores how well images and features belong together: the inner product of two embeddings."""

    def __init__(self, of_features: nn.Module, of_images: nn.Module):
        super().__init__()
        self.of_features, self.of_images = of_features, of_images

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """(n, F), (n, P) -> (n, n): row i scores features i with every image."""
        return self.of_features(features) @ self.of_images(images).T


def info_nce(critic: nn.Module, features: Tensor, images: Tensor, rows_at_once: int = 256) -> Tensor:
    """How well each row's features tell its image from others', in nats: log K minus this bounds I(image; features) below.

    Van den Oord, Li, Vinyals 2018; K = `rows_at_once`, of which log K is the most that can be shown.
    """
    return info_nce_rows(critic, features, images, rows_at_once).mean()


def info_nce_rows(critic: nn.Module, features: Tensor, images: Tensor, rows_at_once: int = 256) -> Tensor:
    """The same for each row of whole batches, (m,)."""
    losses = [
        functional.cross_entropy(critic(some, theirs), torch.arange(len(some)), reduction="none")
        for some, theirs in zip(features.split(rows_at_once), images.split(rows_at_once), strict=True)
        if len(some) == min(rows_at_once, len(features))
    ]
    return torch.cat(losses)
