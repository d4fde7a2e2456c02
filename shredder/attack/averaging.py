"""The same input queried often: what the mean of its features says.

Where the mean of q draws is all that they say, it is drawn as such. Else draws are averaged one by one, in blocks, for fewer
images than the other attacks have, and for fewer still where activations have many elements.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from shredder.attack import attacks
from shredder.attack.attacks import Trained, classes, judged, perceptrons, read, side_by_side
from shredder.attack.networks import Reader, Training, perceptron
from shredder.attack.reading import Reading
from shredder.attack.rivals import share_trained
from shredder.attack.setting import Setting, Side
from shredder.io import ranks

# Images that are averaged one by one, at most; and elements of all their draws, above which there are fewer.
_IMAGES = {"learning": 1000, "held_out": 200, "test": 500}
_NUMBERS = 1e9
# Elements of draws at once.
_NUMBERS_AT_ONCE = 4e6


def averaged(setting: Setting, kind: str, queries: Sequence[int]) -> dict[int, Reading]:
    """For each number of queries what a reader makes of the means of so many draws' features, of the kind `kind`."""
    found = {}
    for q in queries:
        if (channel := setting.channel.averaged(q)) is None:
            return found | _one_by_one(
                setting, "undone" if kind == "likelihood" else kind, [n for n in queries if n not in found]
            )
        of_mean = replace(setting, channel=channel)
        kinds = of_mean.kinds("whitened" if kind == "likelihood" else kind)
        found[q] = read(of_mean, kinds, likelihood=kind == "likelihood")
    return found


def _one_by_one(setting: Setting, kind: str, queries: Sequence[int]) -> dict[int, Reading]:
    """Readers of means, and readers of single draws that are given means; the best on held-out means counts."""
    purpose = f"averaging/{kind}"
    networks = perceptrons(setting, Reader, attacks.READERS[: setting.plans], [kind], classes(setting), purpose)
    of_one = side_by_side(setting, networks, "private", purpose, groups=len(queries) + 1)
    sides, found = _sides(setting, max(queries)), {}
    means = setting.once(
        ("means", kind, *queries),
        lambda: {name: mean_features(setting, kind, side.signal, queries, name) for name, side in sides.items()},
    )
    for q in queries:
        of_means = {name: means[name][q] for name in sides}
        candidates = [_given_means(trained, sides["held_out"], of_means) for trained in of_one]
        candidates += _trained_on_means(setting, sides, of_means, q, groups=len(queries) + 1)
        best = min(candidates, key=lambda trained: trained.held_out)
        found[q] = judged(best._replace(kind=f"mean of {q}, {kind}"), sides["test"].private)
    return found


def _sides(setting: Setting, queries: int) -> dict[str, Side]:
    """The first rows of each side, fewer of all where their draws would have too many elements."""
    d = setting.test.clean[0].numel()
    share = min(1.0, _NUMBERS / (queries * d * sum(_IMAGES.values())))
    return {name: getattr(setting, name).rows(slice(max(20, int(share * n)))) for name, n in _IMAGES.items()}


def mean_features(setting: Setting, kind: str, signal: Tensor, queries: Sequence[int], name: str) -> dict[int, Tensor]:
    """For each number of queries the mean features of each row of `signal`, (n, F): more queries begin with the fewer ones."""
    rng, most = setting.rng("averaging", name), max(queries)
    found: dict[int, list[Tensor]] = {q: [] for q in queries}
    for some in signal.split(max(1, int(_NUMBERS_AT_ONCE / (most * setting.test.clean[0].numel())))):
        sent = setting.channel.sent(some.repeat_interleave(most, 0), rng).unflatten(0, (len(some), most))
        for q, of_some in found.items():
            of_some.append(setting.features.mean_of(kind, sent[:, :q]))
    return {q: torch.cat(of_some) for q, of_some in found.items()}


def _given_means(trained: Trained, held_out: Side, means: dict[str, Tensor]) -> Trained:
    """A reader of single draws, judged on means."""
    with torch.no_grad():
        nats = functional.cross_entropy(trained.network(means["held_out"]), held_out.private).item()
    return trained._replace(
        name=f"{trained.name}, of one query", held_out=nats if math.isfinite(nats) else math.inf, test=means["test"]
    )


def _trained_on_means(setting: Setting, sides: dict[str, Side], means: dict[str, Tensor], q: int, groups: int) -> list[Trained]:
    """Readers that learn from means of as many draws as they are given."""
    plans = attacks.READERS[:2][: setting.plans]
    trainings, owners = [], [number % ranks.world() for number in range(len(plans))]
    for number, (widths, learning_rate) in enumerate(plans):
        rng = setting.rng("averaging", q, number)
        network = Reader(perceptron(means["learning"], widths, classes(setting), rng))
        budget = setting.budget.shared(2 * groups, learning_rate)
        training = Training(network, (means["held_out"], sides["held_out"].private), budget, rng)
        while training.goes_on and owners[number] == ranks.rank():
            training.epoch(means["learning"], sides["learning"].private)
        trainings.append(training)
    share_trained(trainings, owners)
    return [
        Trained(training.network, "", f"layers of {' '.join(map(str, widths))}", training.finish(), means["test"])
        for training, (widths, _) in zip(trainings, plans, strict=True)
    ]
