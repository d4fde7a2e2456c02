"""What an adversary recovers that knows the edge, what was learned and how draws are made, but not the draw."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from shredder.attack.networks import ROWS_AT_ONCE, Budget, Critic, Decoder, Likelihood, Reader, Training, perceptron
from shredder.attack.reading import Reading
from shredder.attack.setting import Setting
from shredder.metrics import accuracy

# Hidden layers and learning rates of the readers that are tried; the best on held-out data counts.
READERS = (((512, 512), 2e-3), ((1024,), 4e-3), ((256, 256, 256), 1e-3))
# Learning rates of the decoders that are tried, likewise.
DECODER_RATES = (1e-3, 2e-3)
# Rows from which the spread of features is taken, and those that are averaged over many queries.
_ROWS_FOR_SPREAD = 20_000
_IMAGES_AVERAGED = {"learning": 1000, "held_out": 200, "test": 500}
_ROWS_AT_A_TIME = 20_000


class Trained(NamedTuple):
    """A network that was trained on features, what it reached on held-out rows, and its features of test rows."""

    network: nn.Module
    held_out: float
    test: Tensor


def trained_reader(setting: Setting, kind: str, number: int, budget: Budget, *purpose: str | int) -> Trained:
    """Reader `number` of `READERS`, trained on new draws for every epoch."""
    rng = setting.rng(*purpose)
    some = setting.inputs(kind, setting.learning.rows(slice(_ROWS_FOR_SPREAD)), rng)
    network = Reader(perceptron(some, READERS[number][0], _classes(setting), rng))
    return _trained(setting, network, kind, "private", budget, rng, *purpose)


def _trained(setting: Setting, network: nn.Module, kind: str, target: str, budget: Budget, rng, *purpose) -> Trained:
    """`network`, trained on features of a kind and on what `target` names: private or images."""
    learning, held_out = (
        {"private": side.private, "images": side.images}[target] for side in (setting.learning, setting.held_out)
    )
    held_out = setting.inputs(kind, setting.held_out, setting.rng(*purpose, "held-out")), held_out
    training = Training(network, held_out, budget, rng)
    while training.goes_on:
        training.epoch(setting.inputs(kind, setting.learning, rng), learning)
    return Trained(network, training.finish(), setting.inputs(kind, setting.test, setting.rng(*purpose, "test")))


def read(setting: Setting, kinds: Sequence[str], likelihood: bool = False) -> Reading:
    """Train readers of the private label on each kind of features; the best on held-out rows counts.

    With `likelihood`, Bayes' rule over the adversary's own rows is tried as well where the noise's density is known.
    """
    found = []
    for kind in kinds:
        for number, (widths, learning_rate) in enumerate(READERS):
            share = setting.budget.shared(len(kinds) * len(READERS), learning_rate)
            trained = trained_reader(setting, kind, number, share, "read", kind, number)
            found.append((trained, kind, f"layers of {' '.join(map(str, widths))}"))
    if likelihood and (density := setting.channel.density()):
        bayes = Likelihood(density.own(setting.learning.signal), setting.learning.private, density.power)
        held_out, test = (
            density.sent(setting.channel.sent(side.signal, setting.rng("likelihood", name)))
            for name, side in (("held-out", setting.held_out), ("test", setting.test))
        )
        found.append((Trained(bayes, bayes.tune(held_out, setting.held_out.private), test), "likelihood", "Bayes' rule"))
    trained, kind, reader = min(found, key=lambda some: some[0].held_out)
    return judged(trained, setting.test.private, kind, reader)


def judged(trained: Trained, labels: Tensor, kind: str, reader: str) -> Reading:
    """What a network reads from its features of test rows."""
    with torch.no_grad():
        answers = trained.network(trained.test)
    nats = functional.cross_entropy(answers, labels, reduction="none")
    return Reading(labels, (answers.argmax(1) == labels).long(), nats, trained.held_out, kind, reader)


def averaged(setting: Setting, kind: str, q: int) -> Reading:
    """The same input queried q times: the mean of its features over q draws, read by a network trained on such means.

    Where the mean of q draws is all that they say, it is drawn as such. Else draws are averaged one by one, for fewer images
    than the other attacks have.
    """
    if (source := setting.channel.source.averaged(q)) is not None:
        of_mean = replace(setting, channel=replace(setting.channel, source=source))
        return read(of_mean, of_mean.kinds("whitened" if kind == "likelihood" else kind), likelihood=kind == "likelihood")
    features = "undone" if kind == "likelihood" else kind
    sides = {name: getattr(setting, name).rows(slice(n)) for name, n in _IMAGES_AVERAGED.items()}
    means = {name: _means(setting, features, side.signal, q, name) for name, side in sides.items()}
    found = []
    for number, (widths, learning_rate) in enumerate(READERS[:2]):
        rng = setting.rng("averaging", q, number)
        network = Reader(perceptron(means["learning"], widths, _classes(setting), rng))
        held_out = means["held_out"], sides["held_out"].private
        training = Training(network, held_out, setting.budget.shared(2, learning_rate), rng)
        while training.goes_on:
            training.epoch(means["learning"], sides["learning"].private)
        trained = Trained(network, training.finish(), means["test"])
        found.append((trained, f"layers of {' '.join(map(str, widths))}"))
    trained, reader = min(found, key=lambda some: some[0].held_out)
    return judged(trained, sides["test"].private, f"mean of {q}, {kind}", reader)


def _means(setting: Setting, kind: str, signal: Tensor, q: int, name: str) -> Tensor:
    """Mean features of each row of `signal` over q draws."""
    rng, means = setting.rng("averaging", q, name), []
    for some in signal.split(max(1, _ROWS_AT_A_TIME // q)):
        sent = setting.channel.sent(some.repeat_interleave(q, 0), rng)
        means.append(setting.features.of(kind, sent).unflatten(0, (len(some), q)).mean(1))
    return torch.cat(means)


def public_accuracy(setting: Setting, n_draws: int = 10) -> float:
    """Of the cloud's answers to the test rows, over `n_draws` draws of each; in [0, 1]."""
    rng, test, cloud = setting.rng("public"), setting.test, setting.split.cloud
    with torch.no_grad():
        answers = [accuracy(cloud(setting.channel.sent(test.signal, rng)), test.public) for _ in range(n_draws)]
    return torch.stack(answers).mean().item()


def untrained(setting: Setting) -> Reading:
    """The authors' test: a network that answers the private label, on its own activations, never trained on noise.

    It does not read what is sent: activations of its own edge may be louder, and no bound on a' bounds it.
    """
    (split, activations), private, channel = setting.private, setting.test.private, setting.channel
    with torch.no_grad():
        answers = split.cloud(channel.sent(channel.signal(activations), setting.rng("untrained")))
    nats = functional.nll_loss(answers, private, reduction="none")
    return Reading(private, (answers.argmax(1) == private).long(), nats, math.nan, "its own", "the private network as it is")


def reconstructed(setting: Setting, kinds: Sequence[str], widths: Iterable[int] = (512, 512)) -> dict[str, Tensor | str]:
    """Images that decoders guess from test activations: of clean ones, and of the best `kind` of noisy ones; each (n, P)."""
    shares = [setting.budget.shared(len(DECODER_RATES) * (len(kinds) + 2), rate) for rate in DECODER_RATES]

    def best(kind: str) -> Trained:
        return min((trained_decoder(setting, kind, widths, share) for share in shares), key=lambda trained: trained.held_out)

    found = {kind: best(kind) for kind in ("clean", *kinds)}
    kind = min(kinds, key=lambda kind: found[kind].held_out)
    with torch.no_grad():
        of_clean, of_noisy = (trained.network(trained.test).clamp(0, 1) for trained in (found["clean"], found[kind]))
    mean = setting.learning.images.mean(0).expand_as(setting.test.images)
    return {"clean": of_clean, "noisy": of_noisy, "mean": mean, "kind": kind}


def trained_decoder(setting: Setting, kind: str, widths: Iterable[int], budget: Budget) -> Trained:
    """A perceptron that guesses images, trained on new draws for every epoch."""
    rng = setting.rng("reconstruct", kind)
    some = setting.inputs(kind, setting.learning.rows(slice(_ROWS_FOR_SPREAD)), rng)
    network = Decoder(perceptron(some, widths, setting.learning.images.shape[1], rng))
    return _trained(setting, network, kind, "images", budget, rng, "reconstruct", kind)


def image_bits_at_least(setting: Setting, kind: str, width: int = 64) -> tuple[float, float]:
    """InfoNCE on test rows, in bits, and its standard error over them.

    A lower bound on I(x; a'), up to the log of the 256 images that are told apart.
    """
    rng, images = setting.rng("InfoNCE"), setting.learning.images[:_ROWS_FOR_SPREAD]
    some = setting.inputs(kind, setting.learning.rows(slice(_ROWS_FOR_SPREAD)), rng)
    critic = Critic(perceptron(some, (256,), width, rng), perceptron(images, (256,), width, rng))
    trained = _trained(setting, critic, kind, "images", setting.budget.shared(4), rng, "InfoNCE")
    with torch.no_grad():
        nats = trained.network.rows(trained.test, setting.test.images)
    told = math.log(min(ROWS_AT_ONCE, len(setting.test.signal))) - nats
    return told.mean().item() / math.log(2), told.std().item() / math.sqrt(len(told)) / math.log(2)


def _classes(setting: Setting) -> int:
    return int(setting.learning.private.max()) + 1
