"""Networks that train side by side on the same draws, of which the best go on; processes divide them."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from shredder.attack.networks import Training
from shredder.io import ranks

# Share of the budget in which all networks of a kind train; in what is left the best one does.
TOGETHER = 1 / 3


def train_side_by_side(
    trainings: Sequence[tuple[str, Training]],
    draw: Callable[[list[str]], Iterator[tuple[str, Tensor]]],
    targets: Tensor,
    of_each_kind: bool = True,
) -> None:
    """Train networks until the budget of each is spent, an epoch of each at a time; processes divide them.

    After a third of it only the best of each kind on held-out rows goes on, or the best of all (successive halving: K. Jamieson
    and A. Talwalkar, AISTATS 2016).

    Parameters
    ----------
    trainings : sequence of (str, Training)
        Each with the kind of features that its network is for.
    draw : callable
        From kinds to each kind and its features of the rows, (n, F), called for every epoch. Its seconds are shared equally by
        all networks that train.
    targets : Tensor, (n, ...)
    """
    names, every = [kind if of_each_kind else "" for kind, _ in trainings], [training for _, training in trainings]
    owners = _owners([kind for kind, _ in trainings])
    while any(rivals := _going_on(names, standings(every, owners))):
        own = [rival and owner == ranks.rank() for rival, owner in zip(rivals, owners, strict=True)]
        going_on, begin = [named for named, is_own in zip(trainings, own, strict=True) if is_own], time.monotonic()
        # A process that has nothing left to train draws nothing more: it will never have.
        for kind, features in draw(list(dict.fromkeys(kind for kind, _ in going_on))) if going_on else ():
            seconds = time.monotonic() - begin
            for wanted, training in going_on:
                training.spent += seconds / len(going_on)
                if wanted == kind:
                    training.epoch(features, targets)
            begin = time.monotonic()
    share_trained(every, owners)


class Standing(NamedTuple):
    """Of a training, wherever it runs: its best held-out loss, whether its budget goes on, and the share that is spent."""

    best: float
    goes_on: bool
    share: float


def standings(trainings: Sequence[Training], owners: Sequence[int]) -> list[Standing]:
    """How each training stands, as the process of rank `owners` says that runs it."""
    of_each = ranks.gathered([(training.best, training.goes_on, training.share) for training in trainings])
    return [Standing(*of_each[owner][number]) for number, owner in enumerate(owners)]


def share_trained(trainings: Sequence[Training], owners: Sequence[int]) -> None:
    """Give every process what each training has come to, so that all of them go on alike."""
    if ranks.world() == 1:
        return
    own = [training for training, owner in zip(trainings, owners, strict=True) if owner == ranks.rank()]
    best = [standing.best for standing in standings(trainings, owners)]
    sent = [list(state) for state in ranks.exchanged([tensor for one in own for tensor in (one.best_state or {}).values()])]
    for training, owner, reached in zip(trainings, owners, best, strict=True):
        if math.isfinite(reached) and owner != ranks.rank():
            names = training.network.state_dict()
            training.best, training.best_state = reached, {name: sent[owner].pop(0) for name in names}


def _owners(kinds: Sequence[str]) -> list[int]:
    """Ranks that networks for features of these kinds are trained by: a kind in one place, unless they are too few."""
    every, world = list(dict.fromkeys(kinds)), ranks.world()
    return [(every.index(kind) if len(every) >= world else number) % world for number, kind in enumerate(kinds)]


def _going_on(names: Sequence[str], standings: Sequence[Standing]) -> list[bool]:
    """Whether each network trains on: those of the same name are rivals."""
    best: dict[str, float] = {}
    for name, standing in zip(names, standings, strict=True):
        best[name] = min(best.get(name, math.inf), standing.best)
    return [of.goes_on and (of.share < TOGETHER or of.best <= best[name]) for name, of in zip(names, standings, strict=True)]
