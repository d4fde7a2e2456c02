"""Members in shares: as many as are learned side by side. Each share is a learning of its own, whoever learns it.

A share's generator comes from the seed and the share's number, so that the collection does not depend on how many processes
divide the shares, nor on which of them ends first: it is the shares' members, one share after another. Members that share
a matrix product are always the same ones; so are the bits.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from shredder.io import checkpoints
from shredder.learn.learner import Settings


class Share(NamedTuple):
    """The share of this number, from 0, of so many."""

    number: int = 0
    of: int = 1

    def place(self, folder: Path) -> Path:
        """Where its checkpoints are while the run is not finished."""
        return folder / f"share-{self.number}" if self.number else folder

    def rng(self, seed: int) -> np.random.Generator:
        """Of the first share that of the seed alone."""
        return np.random.default_rng([seed, self.number])

    def settings(self, whole: Settings) -> Settings:
        """Of its own members: shares differ by one member at most."""
        first, last = (whole.members * end // self.of for end in (self.number, self.number + 1))
        return replace(whole, members=last - first)


# Of a learning that is not divided.
ONLY = Share()


def shares(settings: Settings) -> list[Share]:
    """As few as there can be of at most `settings.parallel` members each."""
    of = -(-settings.members // settings.parallel)
    return [Share(number, of) for number in range(of)]


def names(of: Sequence[Share]) -> tuple[str, ...]:
    """Their checkpoints' files."""
    return tuple(share.place(Path()).joinpath(name).as_posix() for share in of for name in checkpoints.NAMES)


def remove(of: Sequence[Share], folder: Path) -> None:
    """Remove their checkpoints."""
    for share in of:
        place = share.place(folder)
        checkpoints.remove(place)
        if place != folder and place.is_dir():
            place.rmdir()


def joined(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The state of a learning of members that has learned what those of `states` have: its members are theirs, numbered on."""
    begun = 0
    active, accepted, log, curves = [], [], [], []
    for state in states:
        for part, found in (("active", active), ("accepted", accepted)):
            found.append(state[part] | {"number": state[part]["number"] + begun})
        log += state["log"]
        curves += [(number + begun, *rest) for number, *rest in state["curves"]]
        begun += state["begun"]
    parts = {"active": _together(active), "accepted": _together(accepted)}
    return states[0] | parts | {"log": log, "curves": curves, "begun": begun}


def _together(members: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([some[name] for some in members]) for name in members[0]}
