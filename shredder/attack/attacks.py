"""What an adversary recovers that knows the edge, what was learned and how draws are made, but not the draw."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from shredder.attack.features import Features
from shredder.attack.networks import (
    Budget,
    Critic,
    Likelihood,
    Loss,
    cross_entropy,
    fit,
    info_nce,
    info_nce_rows,
    perceptron,
    squared_error,
)
from shredder.attack.reading import Reading
from shredder.attack.setting import Inputs, Scene, Side
from shredder.metrics import accuracy
from shredder.noise.channel import Channel
from shredder.noise.fresh import Fresh
from shredder.split import SplitNetwork

# The network for such inputs.
Make = Callable[[Tensor, np.random.Generator], nn.Module]
# Hidden layers and learning rates of the readers that are tried; the best on held-out data counts.
READERS = (((512, 512), 2e-3), ((1024,), 4e-3), ((256, 256, 256), 1e-3))
# Learning rates of the decoders that are tried, likewise.
DECODER_RATES = (1e-3, 2e-3)
AttackName = Literal["all", "untrained", "trained", "member", "averaging", "rounding", "reconstruction"]
ATTACKS = get_args(AttackName)[1:]
# Kinds of features from which each attack on a single query reads the private label.
KINDS = {
    "trained": ("raw", "whitened", "raw and rounding", "whitened and rounding"),
    "member": ("undone", "undone and rounding"),
}
QUERIES = (10, 100, 1000)
# Rows from which the spread of features is taken, and those that are averaged over many queries.
_ROWS_FOR_SPREAD = 20_000
_IMAGES_AVERAGED = {"learning": 1000, "held_out": 200, "test": 500}
_ROWS_AT_ONCE = 20_000


class Trained(NamedTuple):
    """A network that was trained on features, what it reached on held-out rows, and its features of test rows."""

    network: nn.Module
    held_out: float
    test: Tensor


def clean(side: Side, rng: np.random.Generator) -> Tensor:
    """Activations before anything is done to them, (n, D)."""
    return side.clean.flatten(1)


def train(scene: Scene, inputs: Inputs, target: str, make: Make, loss: Loss, budget: Budget, *purpose: str | int) -> Trained:
    """The network that `make` makes, on inputs of fresh draws for every epoch; `target` names what of a Side it shall tell."""
    rng = scene.rng(*purpose)
    network = make(inputs(scene.learning.rows(slice(_ROWS_FOR_SPREAD)), rng), rng)
    held_out = inputs(scene.held_out, scene.rng(*purpose, "held-out")), getattr(scene.held_out, target)
    learning = getattr(scene.learning, target)
    reached = fit(network, lambda rng: (inputs(scene.learning, rng), learning), held_out, loss, budget, rng)
    return Trained(network, reached, inputs(scene.test, scene.rng(*purpose, "test")))


def read(scene: Scene, kinds: Mapping[str, Inputs], likelihood: bool = False) -> Reading:
    """Train readers of the private label on each kind of inputs; the best on held-out rows counts.

    With `likelihood`, Bayes' rule over the adversary's own rows is tried as well where the noise's density is known.
    """
    found = []
    for kind, inputs in kinds.items():
        for number, (widths, learning_rate) in enumerate(READERS):

            def make(some: Tensor, rng: np.random.Generator, widths: tuple[int, ...] = widths) -> nn.Module:
                return perceptron(some, widths, _classes(scene), rng)

            share = scene.budget.shared(len(kinds) * len(READERS), learning_rate)
            trained = train(scene, inputs, "private", make, cross_entropy, share, "read", kind, number)
            found.append((trained, kind, f"layers of {' '.join(map(str, widths))}"))
    if likelihood and (density := scene.channel.density()):
        bayes = Likelihood(density.own(scene.learning.signal), scene.learning.private, density.power)
        held_out, test = (
            density.sent(scene.channel.sent(side.signal, scene.rng("likelihood", name)))
            for name, side in (("held-out", scene.held_out), ("test", scene.test))
        )
        found.append((Trained(bayes, bayes.tune(held_out, scene.held_out.private), test), "likelihood", "Bayes' rule"))
    trained, kind, reader = min(found, key=lambda some: some[0].held_out)
    return judged(trained, scene.test.private, kind, reader)


def ceiling(scene: Scene) -> Reading:
    """What the same readers make of clean activations."""
    return read(scene, {"clean": clean})


def judged(trained: Trained, labels: Tensor, kind: str, reader: str) -> Reading:
    """What a network reads from its features of test rows."""
    with torch.no_grad():
        answers = trained.network(trained.test)
    nats = functional.cross_entropy(answers, labels, reduction="none")
    return Reading(labels, (answers.argmax(1) == labels).long(), nats, trained.held_out, kind, reader)


def averaged(scene: Scene, kind: str, q: int) -> Reading:
    """The same input queried q times: the mean of its features over q draws, read by a network trained on such means.

    Of fresh noise the mean of q draws is all that they say, and itself a draw at scale s / sqrt(q). Else draws are averaged one
    by one, for fewer images than the other attacks have.
    """
    if isinstance(source := scene.channel.source, Fresh):
        quieter = replace(scene.channel, source=replace(source, scales=source.scales / math.sqrt(q)))
        of_mean = replace(scene, channel=quieter)
        return read(of_mean, of_mean.noisy("whitened" if kind == "likelihood" else kind), likelihood=kind == "likelihood")
    features = scene.features["undone" if kind == "likelihood" else kind]
    sides = {name: getattr(scene, name).rows(slice(n)) for name, n in _IMAGES_AVERAGED.items()}
    means = {name: _means(scene, features, side.signal, q, name) for name, side in sides.items()}
    found = []
    for number, (widths, learning_rate) in enumerate(READERS[:2]):
        rng = scene.rng("averaging", q, number)
        network = perceptron(means["learning"], widths, _classes(scene), rng)
        held_out = means["held_out"], sides["held_out"].private
        share = scene.budget.shared(2, learning_rate)
        nats = fit(network, lambda _: (means["learning"], sides["learning"].private), held_out, cross_entropy, share, rng)
        found.append((Trained(network, nats, means["test"]), f"layers of {' '.join(map(str, widths))}"))
    trained, reader = min(found, key=lambda some: some[0].held_out)
    return judged(trained, sides["test"].private, f"mean of {q}, {kind}", reader)


def _means(scene: Scene, features: Features, signal: Tensor, q: int, name: str) -> Tensor:
    """Mean features of each row of `signal` over q draws."""
    rng, means = scene.rng("averaging", q, name), []
    for some in signal.split(max(1, _ROWS_AT_ONCE // q)):
        sent = scene.channel.sent(some.repeat_interleave(q, 0), rng)
        means.append(features(sent).unflatten(0, (len(some), q)).mean(1))
    return torch.cat(means)


def public_accuracy(scene: Scene, split: SplitNetwork, n_draws: int = 10) -> float:
    """Of the cloud's answers to the test rows, over `n_draws` draws of each; in [0, 1]."""
    rng, labels = scene.rng("public"), scene.test.public
    with torch.no_grad():
        answers = [accuracy(split.cloud(scene.channel.sent(scene.test.signal, rng)), labels) for _ in range(n_draws)]
    return torch.stack(answers).mean().item()


def untrained(channel: Channel, split: SplitNetwork, activations: Tensor, private: Tensor, rng: np.random.Generator) -> Reading:
    """The authors' test: a network that answers the private label, on its own activations, never trained on noise.

    It does not read what is sent: activations of its own edge may be louder, and no bound on a' bounds it.
    """
    with torch.no_grad():
        answers = split.cloud(channel.sent(channel.signal(activations), rng))
    nats = functional.nll_loss(answers, private, reduction="none")
    return Reading(private, (answers.argmax(1) == private).long(), nats, math.nan, "its own", "the private network as it is")


def reconstructed(scene: Scene, kinds: Mapping[str, Inputs], widths: Iterable[int] = (512, 512)) -> dict[str, Tensor | str]:
    """Images that decoders guess from test activations: of clean ones, and of the best `kind` of noisy ones; each (n, P)."""

    def make(some: Tensor, rng: np.random.Generator) -> nn.Module:
        return perceptron(some, widths, scene.learning.images.shape[1], rng)

    def best(kind: str, inputs: Inputs) -> Trained:
        shares = [scene.budget.shared(len(DECODER_RATES) * (len(kinds) + 2), rate) for rate in DECODER_RATES]
        tried = [train(scene, inputs, "images", make, squared_error, share, "reconstruct", kind) for share in shares]
        return min(tried, key=lambda trained: trained.held_out)

    found = {kind: best(kind, inputs) for kind, inputs in {"clean": clean, **kinds}.items()}
    kind = min(kinds, key=lambda kind: found[kind].held_out)
    with torch.no_grad():
        of_clean, of_noisy = (trained.network(trained.test).clamp(0, 1) for trained in (found["clean"], found[kind]))
    mean = scene.learning.images.mean(0).expand_as(scene.test.images)
    return {"clean": of_clean, "noisy": of_noisy, "mean": mean, "kind": kind}


def image_bits_at_least(scene: Scene, inputs: Inputs, width: int = 64) -> tuple[float, float]:
    """InfoNCE on test rows, in bits, and its standard error over them.

    A lower bound on I(x; a'), up to the log of the 256 images that are told apart.
    """

    def make(some: Tensor, rng: np.random.Generator) -> nn.Module:
        images = scene.learning.images[:_ROWS_FOR_SPREAD]
        return Critic(perceptron(some, (256,), width, rng), perceptron(images, (256,), width, rng))

    trained = train(scene, inputs, "images", make, info_nce, scene.budget.shared(4), "InfoNCE")
    with torch.no_grad():
        nats = info_nce_rows(trained.network, trained.test, scene.test.images)
    told = math.log(min(256, len(scene.test.signal))) - nats
    return told.mean().item() / math.log(2), told.std().item() / math.sqrt(len(told)) / math.log(2)


def _classes(scene: Scene) -> int:
    return int(scene.learning.private.max()) + 1
