"""Many noise tensors learned side by side on the activations of one frozen network."""

import json
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shredder import objectives
from shredder.metrics import ActivationMoments, noisy_accuracy
from shredder.noise import Collection, initial_noise
from shredder.runs import InputError
from shredder.split import SplitNetwork

# Columns of the curves, one row for each member and epoch. Loss: mean over the epoch's batches; accuracy: held-out.
CURVES = ("member", "epoch", "loss", "accuracy", "snr")
# Columns of the log, one row for each accepted member, as in the authors' released logs.
LOG = ("snr", "accuracy", "epoch")


@dataclass(frozen=True)
class Recipe:
    """How far one update goes, and how much the clustering term counts.

    Attributes
    ----------
    multiplicative_rate, additive_rate : float
        Adam's learning rates at the start, in units of w and n for each update.
    final_fraction : float
        What is left of them, after a half cosine (Loshchilov and Hutter 2017), when a member may first be accepted.
    clustering_weight : dict
        What multiplies each form of the clustering term.
    """

    multiplicative_rate: float
    additive_rate: float
    final_fraction: float
    clustering_weight: dict[objectives.Clustering, float]


RECIPES = {
    # As in the authors' released code.
    "authors": Recipe(1e-3, 1e-3, 1.0, {"normalised": 1.01, "raw": 0.01}),
    # n is a hundred times larger than w, and so are its steps: it balances the cloud's decision within an epoch, where the
    # authors' w grows tenfold to do so, and what w amplifies can be read. A lighter clustering term costs less accuracy.
    "suite": Recipe(1e-3, 1e-1, 0.1, {"normalised": 0.3, "raw": 0.003}),
}


@dataclass(frozen=True)
class Settings:
    """What to learn: `members` accepted ones, `parallel` of them side by side, each for `epochs` at most."""

    members: int
    parallel: int
    epochs: int
    min_epochs: int
    min_accuracy: float
    scale: float
    batch_size: int
    recipe: Recipe
    clustering: objectives.Clustering
    clustering_weight: float


class Learning:
    """Members learned together; the state is whole between two calls of `epoch`.

    Parameters
    ----------
    split : SplitNetwork
        Its cloud answers; nothing of it changes.
    learning_set, held_out : (Tensor, Tensor)
        Activations, float32 (n, *activation shape), and their public labels, int64 (n,). Members learn from the first pair;
        the second decides which of them are accepted.
    settings : Settings
    rng : np.random.Generator
        Draws the initial tensors and the order of the batches.
    """

    def __init__(
        self,
        split: SplitNetwork,
        learning_set: tuple[Tensor, Tensor],
        held_out: tuple[Tensor, Tensor],
        settings: Settings,
        rng: np.random.Generator,
    ):
        self.split, self.settings, self.rng = split, settings, rng
        self.activations, self.labels = learning_set
        self.held_out = held_out
        self.held_out_moments = ActivationMoments(held_out[0])
        self.n_begun = 0
        self.active = self._fresh(0)
        self.accepted = self._fresh(0)
        self.log: list[tuple] = []
        self.curves: list[tuple] = []

    @property
    def collection(self) -> Collection:
        """The members accepted so far, in the order they were."""
        return Collection(self.accepted["multiplicative"], self.accepted["additive"])

    @property
    def n_rejected(self) -> int:
        """How many members used up their epochs without being accepted."""
        return self.n_begun - len(self.active["number"]) - len(self.log)

    def epoch(self) -> None:
        """Fill free places, learn from every activation once, validate; the accepted and the exhausted leave.

        Raises
        ------
        InputError
            If more than twice as many members as are wanted were rejected: the target is out of reach.
        """
        places = self.settings.parallel - len(self.active["number"])
        wanted = self.settings.members - len(self.log) - len(self.active["number"])
        self.active = _joined(self.active, self._fresh(min(places, wanted)))
        self._validate(loss=self._learn_once())
        if self.n_rejected > 2 * self.settings.members:
            raise InputError(
                f"--min-accuracy {self.settings.min_accuracy}: {self.n_rejected} members missed it within "
                f"{self.settings.epochs} epochs, {len(self.log)} reached it; the best held-out accuracy seen was "
                f"{max(row[CURVES.index('accuracy')] for row in self.curves):.4f}"
            )

    def _fresh(self, n: int) -> dict[str, Tensor]:
        """`n` members before their first update, as tensors whose leading axis counts members."""
        shape = tuple(self.activations.shape[1:])
        w, additive = initial_noise(n, shape, self.settings.scale, self.rng)
        members = {"number": torch.arange(self.n_begun, self.n_begun + n), "multiplicative": w, "additive": additive}
        members |= {count: torch.zeros(n, dtype=torch.long) for count in ("epochs", "updates")}
        members |= {f"{name}'s {moment}": torch.zeros_like(w) for name in _LEARNED for moment in ("m", "v")}
        self.n_begun += n
        return members

    def _learn_once(self) -> Tensor:
        """One pass over the activations, in a fresh order, for all active members; mean loss of each, (R,)."""
        n, size = len(self.activations), self.settings.batch_size
        batches = torch.from_numpy(self.rng.permutation(n)).split(size)
        partners = torch.from_numpy(self.rng.permutation(n)).split(size)
        total = torch.zeros(len(self.active["number"]))
        updates_to_acceptance = len(batches) * (self.settings.min_epochs + 1)
        for rows, partner_rows in zip(batches, partners, strict=True):
            w, additive = (self.active[name].requires_grad_() for name in _LEARNED)
            losses = self._losses(w, additive, rows, partner_rows)
            # Members share no parameter, so the gradient of the sum is each member's own.
            gradients = torch.autograd.grad(losses.sum(), (w, additive))
            total += losses.detach() * (len(rows) / n)
            self.active["updates"] += 1
            progress = (self.active["updates"] / updates_to_acceptance).clamp(max=1)
            self._update(gradients, progress)
        self.active["epochs"] += 1
        return total

    def _losses(self, w: Tensor, additive: Tensor, rows: Tensor, partner_rows: Tensor) -> Tensor:
        """The loss of v2 for each member on one batch, paired with a second one; (R,)."""
        activations, labels = self.activations[rows], self.labels[rows]
        same_label = labels == self.labels[partner_rows]
        answers = self.split.noisy_cloud(activations, w, additive)
        clustering = objectives.clustering(w, activations, self.activations[partner_rows], same_label, self.settings.clustering)
        return objectives.cross_entropy(answers, labels) + self.settings.clustering_weight * clustering

    @torch.no_grad()
    def _update(self, gradients: tuple[Tensor, Tensor], progress: Tensor) -> None:
        recipe, members = self.settings.recipe, self.active
        cosine = (1 + torch.cos(math.pi * progress)) / 2
        fraction = recipe.final_fraction + (1 - recipe.final_fraction) * cosine
        rates = (recipe.multiplicative_rate, recipe.additive_rate)
        for name, gradient, rate in zip(_LEARNED, gradients, rates, strict=True):
            adam_step(
                members[name],
                gradient,
                members[f"{name}'s m"],
                members[f"{name}'s v"],
                members["updates"],
                rate * fraction,
            )

    @torch.no_grad()
    def _validate(self, loss: Tensor) -> None:
        members, settings = self.active, self.settings
        w, additive = members["multiplicative"], members["additive"]
        accuracy = noisy_accuracy(self.split, *self.held_out, w, additive)
        snr = self.held_out_moments.snr(w, additive)
        columns = (members["number"], members["epochs"], loss, accuracy, snr)
        self.curves += zip(*(column.tolist() for column in columns), strict=True)
        accepted = (accuracy > settings.min_accuracy) & (members["epochs"] > settings.min_epochs)
        self.log += zip(*(column[accepted].tolist() for column in (snr, accuracy, members["epochs"])), strict=True)
        self.accepted = _joined(self.accepted, _rows(members, accepted))
        self.active = _rows(members, ~accepted & (members["epochs"] < settings.epochs))

    def state(self) -> dict:
        """All that decides what comes next, in types that a checkpoint can hold."""
        return {
            "active": self.active,
            "accepted": self.accepted,
            "log": self.log,
            "curves": self.curves,
            "begun": self.n_begun,
            "rng": json.dumps(self.rng.bit_generator.state),
        }

    def restore(self, state: dict) -> None:
        """Continue from what `state` returned: the bits that follow are those that would have followed."""
        self.active, self.accepted = state["active"], state["accepted"]
        self.log, self.curves, self.n_begun = state["log"], state["curves"], state["begun"]
        self.rng.bit_generator.state = json.loads(state["rng"])


_LEARNED = ("multiplicative", "additive")


def adam_step(parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, updates: Tensor, rate: Tensor) -> None:
    """One step of Adam (Kingma and Ba 2015, Algorithm 1), in place, for members of different age.

    The bias correction counts each member's own updates, which torch.optim.Adam cannot do for rows of one tensor.

    Parameters
    ----------
    parameter, gradient, m, v : Tensor, (R, ...)
        m and v are the running first and second moments of the gradient.
    updates : Tensor, int64, (R,)
        Updates of each member, this one included.
    rate : Tensor, (R,)
        Learning rate of each member.
    """
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8
    column = (-1, *[1] * (parameter.dim() - 1))
    t = updates.double().view(column)  # in float32, 1 - 0.999 is off by a hundred-thousandth
    m.lerp_(gradient, 1 - beta1)
    v.lerp_(gradient.square(), 1 - beta2)
    m_hat, v_hat = m / (1 - beta1**t).to(m.dtype), v / (1 - beta2**t).to(v.dtype)
    parameter -= rate.view(column) * m_hat / (v_hat.sqrt() + epsilon)


def _rows(members: dict[str, Tensor], keep: Tensor) -> dict[str, Tensor]:
    return {name: tensor[keep] for name, tensor in members.items()}


def _joined(some: dict[str, Tensor], more: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.cat([some[name], more[name]]) for name in some}
