"""What an adversary recovers that knows the edge, what was learned and how draws are made, but not the draw."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from shredder.attack.networks import Likelihood, Reader, Training, perceptron
from shredder.attack.reading import Reading
from shredder.attack.rivals import train_side_by_side
from shredder.attack.setting import Setting
from shredder.metrics import accuracy

Plan = tuple[tuple[int, ...], float]  # widths of hidden layers, and a learning rate
# Plans of the readers that are tried; the best on held-out data counts.
READERS: tuple[Plan, ...] = (((512, 512), 2e-3), ((1024,), 4e-3), ((256, 256, 256), 1e-3))
# Rows from which the spread of features is taken.
_ROWS_FOR_SPREAD = 20_000


class Initialised(NamedTuple):
    """A network before training, the kind of features that it is for, its learning rate, and what it is called."""

    network: nn.Module
    kind: str
    learning_rate: float
    name: str


class Trained(NamedTuple):
    """A network that was trained on features of a kind, what it reached on held-out rows, and its features of test rows."""

    network: nn.Module
    kind: str
    name: str
    held_out: float
    test: Tensor


def perceptrons(
    setting: Setting, made: type[nn.Module], plans: Sequence[Plan], kinds: Sequence[str], n_out: int, purpose: str
) -> list[Initialised]:
    """For each kind of features a perceptron by each plan, standardised by a draw of its features."""
    networks = []
    some = setting.learning.rows(slice(_ROWS_FOR_SPREAD))
    for kind, features in setting.inputs_of_each(kinds, some, setting.rng(purpose, "spread")):
        for number, (widths, learning_rate) in enumerate(plans):
            network = made(perceptron(features, widths, n_out, setting.rng(purpose, kind, number)))
            networks.append(Initialised(network, kind, learning_rate, f"layers of {' '.join(map(str, widths))}"))
    return networks


def side_by_side(
    setting: Setting,
    networks: Sequence[Initialised],
    target: Literal["private", "images"],
    purpose: str,
    groups: int = 1,
    of_each_kind: bool = True,
) -> list[Trained]:
    """Train networks side by side: all of them learn from the same draws, a new one for each row and epoch.

    `target` names what they guess, `groups` how many such calls divide the budget's seconds; networks divide these further.
    After a third of the budget the best `of_each_kind` goes on, or the best of all. Each network ends as it was after the epoch
    with its smallest held-out loss.
    """
    kinds, rng = list(dict.fromkeys(network.kind for network in networks)), setting.rng(purpose)
    learning, held_out = (getattr(side, target) for side in (setting.learning, setting.held_out))
    judged_on = dict(setting.inputs_of_each(kinds, setting.held_out, setting.rng(purpose, "held-out")))
    trainings = []
    for network, kind, rate, _ in networks:
        budget = setting.budget.shared(groups * len(networks), rate)
        trainings.append((kind, Training(network, (judged_on[kind], held_out), budget, setting.rng(purpose, kind, rate))))
    draw = partial(setting.inputs_of_each, side=setting.learning, rng=rng)
    train_side_by_side(trainings, draw, learning, of_each_kind)
    losses = [training.finish() for _, training in trainings]
    test = dict(setting.inputs_of_each(kinds, setting.test, setting.rng(purpose, "test")))
    return [
        Trained(network, kind, name, loss, test[kind]) for (network, kind, _, name), loss in zip(networks, losses, strict=True)
    ]


def read(setting: Setting, kinds: Sequence[str], likelihood: bool = False) -> Reading:
    """Train readers of the private label on each kind of features; the best on held-out rows counts.

    With `likelihood`, Bayes' rule over the adversary's own rows is tried as well where the noise's density is known.
    """
    purpose = "/".join(["read", *kinds])
    networks = perceptrons(setting, Reader, READERS[: setting.plans], kinds, classes(setting), purpose)
    found = side_by_side(setting, networks, "private", purpose)
    if likelihood and (density := setting.channel.density()):
        bayes = Likelihood(density.own(setting.learning.signal), setting.learning.private, density.power)
        held_out, test = (
            density.sent(setting.channel.source.received(setting.channel.sent(side.signal, setting.rng("likelihood", name))))
            for name, side in (("held-out", setting.held_out), ("test", setting.test))
        )
        found.append(Trained(bayes, "likelihood", "Bayes' rule", bayes.tune(held_out, setting.held_out.private), test))
    return judged(min(found, key=lambda trained: trained.held_out), setting.test.private)


def judged(trained: Trained, labels: Tensor) -> Reading:
    """What a network reads from its features of test rows."""
    with torch.no_grad():
        answers = trained.network(trained.test)
    nats = functional.cross_entropy(answers, labels, reduction="none")
    return Reading(labels, (answers.argmax(1) == labels).long(), nats, trained.held_out, trained.kind, trained.name)


def public_accuracy(setting: Setting, n_draws: int = 10) -> float:
    """Of the cloud's answers to the test rows, over `n_draws` draws of each; in [0, 1]."""
    rng, test, cloud = setting.rng("public"), setting.test, setting.split.cloud
    with torch.no_grad():
        answers = [accuracy(setting.channel.answered(cloud, test.signal, rng), test.public) for _ in range(n_draws)]
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


def classes(setting: Setting) -> int:
    """How many values the private label has."""
    return int(setting.learning.private.max()) + 1
