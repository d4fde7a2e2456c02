"""What step 1 asks of whatever learns noise, and of a method: two protocols, and the settings that all of them have."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from shredder.io.cli import InputError, require_at_least
from shredder.noise.draws import Family
from shredder.noise.protocol import Stored
from shredder.noise.stored import Collection
from shredder.split import SplitNetwork

# Columns of the curves, one row for each member and epoch. Loss: mean over the epoch's batches; accuracy: held-out.
CURVES = ("member", "epoch", "loss", "accuracy", "snr")
# Columns of the log, one row for each accepted member, as in the authors' released logs.
LOG = ("snr", "accuracy", "epoch")
# Activations, float32 (n, *activation shape), and their public labels, int64 (n,).
Rows = tuple[Tensor, Tensor]


class OutOfReachError(InputError):
    """Too many members missed the accuracy, or another condition, that they were to be accepted by."""


@dataclass(frozen=True)
class Settings:
    """What to learn: `members` accepted ones, `parallel` of them side by side, each for `epochs` at most."""

    members: int
    parallel: int
    epochs: int
    min_epochs: int
    min_accuracy: float
    batch_size: int

    def check(self) -> None:
        """Raise InputError where a setting makes no sense, naming the flag that scripts have for it."""
        require_at_least(self, members=1, parallel=1, epochs=1, min_epochs=0, min_accuracy=0, batch_size=1)
        if self.min_accuracy >= 1:
            raise InputError(f"--min-accuracy: found {self.min_accuracy}, expected less than 1, for it has to be exceeded")
        if self.epochs <= self.min_epochs:
            raise InputError(
                f"--epochs: found {self.epochs}, expected more than --min-epochs {self.min_epochs}, "
                "for no member could ever be accepted"
            )


class PrivateRows(NamedTuple):
    """What a method may unlearn: another network's answer, cut where the public one is.

    Attributes
    ----------
    split : SplitNetwork
    activations, labels : Tensor, (n, *activation shape), int64 (n,)
        Of its own edge, and private labels, for the rows of the learning set.
    """

    split: SplitNetwork
    activations: Tensor
    labels: Tensor


class Learner(Protocol):
    """What learns noise. Its state is whole between two calls of `epoch`; `Learning` and `FreshLearning` answer.

    Attributes
    ----------
    settings : Settings
    log, curves : list of tuple
        Rows of `LOG` and `CURVES`, with `conditions` as further columns.
    conditions : mapping of str to float
        What members are accepted by besides accuracy, and the largest value that will do.
    rule : str
        How queries draw from what is stored.
    n_rejected : int
        How many members used up their epochs without being accepted.
    """

    settings: Settings
    log: list[tuple]
    curves: list[tuple]
    conditions: Mapping[str, float]
    rule: str
    n_rejected: int

    @property
    def stored(self) -> Stored:
        """What is kept of the accepted."""

    def epoch(self) -> None:
        """Learn from every activation once and validate. Raises OutOfReachError, or InputError where numbers leave float32."""

    def state(self) -> dict[str, Any]:
        """All that decides what comes next, in types that a checkpoint can hold."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from it, with the bits that would have followed. Raises ValueError, TypeError or KeyError."""

    def summary(self, activations: Tensor, labels: Tensor, private: Tensor | None = None) -> dict[str, Any]:
        """What has been reached, on test activations with their public and private labels, which nothing was chosen by."""


class Method(Protocol):
    """A way to learn noise, `--method NAME`: its flags, their defaults and checks, and what learns by it.

    Attributes
    ----------
    recipes : tuple of str
        What `--recipe` may be, the default first.
    learning : type
        A Learner, made of split, learning set, held-out rows, the method, settings and a generator.
    own_settings : mapping of str to value
        Defaults of the settings that a task's do not replace, for they were made for members.
    """

    recipes: ClassVar[tuple[str, ...]] = ("suite",)
    learning: ClassVar[type[Learner]]
    own_settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    @classmethod
    def defaults(cls, args: Any) -> dict[str, Any]:
        """Values of flags that were not given, by name. A flag that is not named means nothing to the method."""

    @classmethod
    def check(cls, args: Any) -> None:
        """Raise InputError of completed flags that make no sense together."""

    @classmethod
    def of(cls, args: Any, private: PrivateRows | None) -> "Method":
        """The method as completed flags describe it."""


class Batch(NamedTuple):
    """What one update sees.

    Attributes
    ----------
    learning_set : (Tensor, Tensor)
        Activations, float32 (n, *activation shape), and their public labels, int64 (n,).
    rows, partner_rows : Tensor, int64, (b,)
        The activations of this update, and those that v2 pairs with them.
    updates : Tensor, int64, (R,)
        How many updates each member has had before this one.
    """

    learning_set: tuple[Tensor, Tensor]
    rows: Tensor
    partner_rows: Tensor
    updates: Tensor

    def of(self, rows: Tensor, *tensors: Tensor) -> list[Tensor]:
        """Some rows of tensors, where the members are: what is mapped from disk is moved only now."""
        return [tensor[rows].to(self.updates.device) for tensor in tensors]


class MemberMethod(Method):
    """What the learner asks of a method whose members are tensors, and the answers that most have in common.

    A method further has `initial`, the tensors of members before their first update; `losses`, what each member minimises;
    and `rates`, how far each tensor goes in an update.

    Attributes
    ----------
    rule : str
        How a query draws its noise from what was learned; see `shredder.noise.stored`.
    redrawn : mapping of str to str
        Tensors that are drawn anew, in their order, for every update and for validation; and the distributions' family.
    """

    rule: str = "order-preserving"
    redrawn: Mapping[str, Family] = {}

    @classmethod
    def check(cls, args: Any) -> None:
        """Nothing further."""

    def acceptance(self, noise: dict[str, Tensor]) -> dict[str, tuple[Tensor, float]]:
        """What a member is accepted by besides its accuracy: names to values, (R,), and the largest that will do."""
        return {}

    def stored(self, accepted: Collection) -> Stored:
        """What is kept of the members that were accepted."""
        return accepted


def half_cosine(progress: Tensor, final_fraction: float) -> Tensor:
    """From 1 at progress 0 to `final_fraction` at progress 1 (Loshchilov and Hutter 2017)."""
    return final_fraction + (1 - final_fraction) * (1 + torch.cos(math.pi * progress)) / 2


def learner(
    method: Method, split: SplitNetwork, learning: Rows, held_out: Rows, settings: Settings, seed: int | np.random.Generator
) -> Learner:
    """What learns by `method` on the rows of `learning`; `held_out` decides which members are accepted."""
    return method.learning(split, learning, held_out, method, settings, np.random.default_rng(seed))
