"""What an adversary recovers that knows the edge, what was learned and how draws are made, but not the draw."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from shredder.adversaries import Budget, Critic, cross_entropy, fit, info_nce, perceptron, squared_error
from shredder.channels import Channel
from shredder.features import Features, kinds_of_features
from shredder.fresh import Fresh
from shredder.metrics import accuracy
from shredder.split import SplitNetwork

# Hidden layers and learning rates of the readers that are tried; the best on held-out data counts.
READERS = (((512, 512), 2e-3), ((1024,), 4e-3), ((256, 256, 256), 1e-3))
QUERIES = (1, 10, 100, 1000)
# Rows from which the spread of features is taken, and those that are averaged over many queries.
_ROWS_FOR_SPREAD = 20_000
_IMAGES_AVERAGED = {"learning": 1000, "held_out": 200, "test": 500}
_ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Side:
    """Rows of one part of the data.

    Attributes
    ----------
    clean, signal : Tensor, float32, (n, *activation shape)
        Activations, and what is sent of them but for noise: the same, or t of fresh noise.
    private, public : Tensor, int64, (n,)
        Labels.
    images : Tensor, float32, (n, P)
    """

    clean: Tensor
    signal: Tensor
    private: Tensor
    public: Tensor
    images: Tensor

    def rows(self, which: Tensor | slice) -> "Side":
        """Some of the rows."""
        return Side(self.clean[which], self.signal[which], self.private[which], self.public[which], self.images[which])

    def first(self, n: int) -> "Side":
        """The first `n` rows."""
        return self.rows(slice(n))


@dataclass(frozen=True)
class Scene:
    """All that an attack sees: the channel, data of its own to learn from, and the test rows that it is judged on."""

    channel: Channel
    learning: Side
    held_out: Side
    test: Side
    budget: Budget
    seed: int

    def rng(self, *key: int) -> np.random.Generator:
        """A generator of its own for each purpose, so that attacks do not depend on which others were run."""
        return np.random.default_rng((self.seed, *key))

    def features(self) -> dict[str, Features]:
        """As from `kinds_of_features`."""
        return kinds_of_features(self.channel, self.learning.signal, self.rng(4))


@dataclass(frozen=True)
class Reading:
    """How well the private label was read from test rows: correct ones, (n,) of 0 and 1, and the cross-entropy, in nats."""

    correct: Tensor
    nats: float
    held_out_nats: float
    how: str

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return self.correct.double().mean().item()

    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy, over test rows."""
        found = stats.binomtest(int(self.correct.sum()), len(self.correct)).proportion_ci(method="wilson")
        return found.low, found.high


def floor(learning: Side, test: Side) -> float:
    """Accuracy of the best guess given the true public label alone: the most common private label with it."""
    guess = {public.item(): learning.private[learning.public == public].mode().values for public in learning.public.unique()}
    return float(
        np.mean([guess[public] == private for public, private in zip(test.public.tolist(), test.private, strict=True)])
    )


def entropy_bits(labels: Tensor) -> float:
    """Of the labels' frequencies."""
    return stats.entropy(labels.bincount().numpy(), base=2)


def read(scene: Scene, features: Mapping[str, Features], clean: bool = False) -> Reading:
    """Train readers of the private label on each kind of features and width, on fresh draws for every epoch; the best counts.

    `clean` reads activations instead, before anything is done to them: the ceiling.
    """
    best, best_nats, chosen = None, math.inf, ""
    for number, (kind, of) in enumerate(features.items()):

        def sent(side: Side, rng: np.random.Generator, of: Features = of) -> tuple[Tensor, Tensor]:
            return of(side.clean if clean else scene.channel.sent(side.signal, rng)), side.private

        held_out = sent(scene.held_out, scene.rng(1, number))
        for attempt, (widths, learning_rate) in enumerate(READERS):
            rng = scene.rng(2, number, attempt)
            some = sent(scene.learning.first(_ROWS_FOR_SPREAD), rng)[0]
            network = perceptron(some, widths, _classes(scene), rng)
            share = scene.budget.shared(len(features) * len(READERS), learning_rate)
            nats = fit(network, lambda rng, sent=sent: sent(scene.learning, rng), held_out, cross_entropy, share, rng)
            if nats < best_nats:
                test = sent(scene.test, scene.rng(3, number))
                best_nats, chosen = nats, f"{kind}, layers of {' '.join(map(str, widths))}"
                best = judged(network, test, nats, chosen)
    return best


def ceiling(scene: Scene) -> Reading:
    """What the same readers make of clean activations."""
    return read(scene, {"clean": lambda sent: sent.flatten(1)}, clean=True)


def judged(network: nn.Module, test: tuple[Tensor, Tensor], held_out_nats: float, how: str) -> Reading:
    """What `network` reads from test features and private labels."""
    features, labels = test
    with torch.no_grad():
        answers = network(features)
    nats = torch.nn.functional.cross_entropy(answers, labels).item()
    return Reading((answers.argmax(1) == labels).long(), nats, held_out_nats, how)


def averaged(scene: Scene, kind: str, features: Features, queries: tuple[int, ...] = QUERIES) -> dict[int, Reading]:
    """The same input queried q times: the mean of its features over q draws, read by a network trained on such means.

    Of fresh noise the mean of q draws is all that they say, and itself a draw at scale s / sqrt(q). Else draws are averaged one
    by one, for fewer images than the other attacks have.
    """
    if isinstance(source := scene.channel.source, Fresh):
        louder = {q: replace(source, scales=source.scales / math.sqrt(q)) for q in queries}
        scenes = {q: replace(scene, channel=replace(scene.channel, source=of_mean)) for q, of_mean in louder.items()}
        return {q: read(some, {kind: some.features()[kind]}) for q, some in scenes.items()}
    sides = {name: getattr(scene, name).first(n) for name, n in _IMAGES_AVERAGED.items()}
    means = {name: _means(scene, features, side.signal, queries, i) for i, (name, side) in enumerate(sides.items())}
    found = {}
    for number, q in enumerate(queries):
        pairs = {name: (means[name][q], side.private) for name, side in sides.items()}
        best = math.inf
        for attempt, (widths, learning_rate) in enumerate(READERS[:2]):
            rng = scene.rng(5, number, attempt)
            network = perceptron(pairs["learning"][0], widths, _classes(scene), rng)
            share = scene.budget.shared(2 * len(queries), learning_rate)
            nats = fit(network, lambda _, pairs=pairs: pairs["learning"], pairs["held_out"], cross_entropy, share, rng)
            if nats < best:
                best, found[q] = (
                    nats,
                    judged(network, pairs["test"], nats, f"mean of {q}, layers of {' '.join(map(str, widths))}"),
                )
    return found


def _means(scene: Scene, features: Features, signal: Tensor, queries: tuple[int, ...], key: int) -> dict[int, Tensor]:
    """Mean features of each row of `signal` over the first q of its draws, for every q in `queries`."""
    rng, sums = scene.rng(6, key), {q: [] for q in queries}
    for some in signal.split(max(1, _ROWS_AT_ONCE // max(queries))):
        done, total = 0, 0.0
        for q in sorted(queries):
            rows = some.repeat_interleave(q - done, 0)
            total = total + features(scene.channel.sent(rows, rng)).unflatten(0, (len(some), q - done)).sum(1)
            done = q
            sums[q].append(total / q)
    return {q: torch.cat(parts) for q, parts in sums.items()}


def public_accuracy(scene: Scene, split: SplitNetwork, n_draws: int = 10) -> float:
    """Of the cloud's answers to the test rows, over `n_draws` draws of each; in [0, 1]."""
    rng, labels = scene.rng(13), scene.test.public
    with torch.no_grad():
        answers = [accuracy(split.cloud(scene.channel.sent(scene.test.signal, rng)), labels) for _ in range(n_draws)]
    return torch.stack(answers).mean().item()


def untrained(channel: Channel, split: SplitNetwork, activations: Tensor, private: Tensor, rng: np.random.Generator) -> Reading:
    """The authors' test: a network that answers the private label, on its own activations, never trained on noise."""
    with torch.no_grad():
        answers = split.cloud(channel.sent(channel.signal(activations), rng))
    nats = torch.nn.functional.nll_loss(answers, private).item()
    return Reading((answers.argmax(1) == private).long(), nats, nats, "the private network as it is")


def reconstructed(scene: Scene, features: Mapping[str, Features], widths: tuple[int, ...] = (512, 512)) -> dict[str, Any]:
    """Images that decoders guess from test activations: of the best kind of noisy features, and of clean ones; each (n, P)."""
    found, chosen, best = {}, "", math.inf
    clean = {"clean": lambda sent: sent.flatten(1)}
    for number, (kind, of) in enumerate((clean | dict(features)).items()):

        def sent(side: Side, rng: np.random.Generator, of: Features = of, kind: str = kind) -> tuple[Tensor, Tensor]:
            return of(side.clean if kind == "clean" else scene.channel.sent(side.signal, rng)), side.images

        rng = scene.rng(7, number)
        some = sent(scene.learning.first(_ROWS_FOR_SPREAD), rng)[0]
        network = perceptron(some, widths, scene.learning.images.shape[1], rng)
        error = fit(
            network,
            lambda rng, sent=sent: sent(scene.learning, rng),
            sent(scene.held_out, scene.rng(8, number)),
            squared_error,
            scene.budget.shared(len(features) + 1),
            rng,
        )
        with torch.no_grad():
            guess = network(sent(scene.test, scene.rng(9, number))[0]).clamp(0, 1)
        if kind == "clean":
            found["clean"] = guess
        elif error < best:
            best, chosen, found["noisy"] = error, kind, guess
    found["mean"] = scene.learning.images.mean(0).expand_as(scene.test.images)
    return found | {"how": chosen}


def image_bits_at_least(scene: Scene, features: Features, width: int = 64) -> float:
    """InfoNCE on test rows, in bits: a lower bound on I(x; a'), up to the log of the 256 images that are told apart."""

    def sent(side: Side, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        return features(scene.channel.sent(side.signal, rng)), side.images

    rng = scene.rng(10)
    some = sent(scene.learning.first(_ROWS_FOR_SPREAD), rng)[0]
    critic = Critic(
        perceptron(some, (256,), width, rng),
        perceptron(scene.learning.images[:_ROWS_FOR_SPREAD], (256,), width, rng),
    )
    fit(critic, lambda rng: sent(scene.learning, rng), sent(scene.held_out, scene.rng(11)), info_nce, scene.budget, rng)
    with torch.no_grad():
        nats = info_nce(critic, *sent(scene.test, scene.rng(12))).item()
    return (math.log(min(256, len(scene.test.signal))) - nats) / math.log(2)


def timed(attack: Callable[[], Any]) -> tuple[Any, float]:
    """What `attack` returns, and the seconds that it took."""
    begin = time.perf_counter()
    return attack(), time.perf_counter() - begin


def _classes(scene: Scene) -> int:
    return int(scene.learning.private.max()) + 1
