"""Many noise tensors learned side by side on the activations of one frozen network."""

import json
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shredder.io import checkpoints
from shredder.io.cli import InputError, require_at_least
from shredder.learn.methods import Batch, Method
from shredder.metrics import ActivationMoments, noisy_accuracy
from shredder.noise.draws import redraw_in_order
from shredder.noise.stored import Collection, Distributions
from shredder.split import SplitNetwork

# Columns of the curves, one row for each member and epoch. Loss: mean over the epoch's batches; accuracy: held-out.
CURVES = ("member", "epoch", "loss", "accuracy", "snr")
# Columns of the log, one row for each accepted member, as in the authors' released logs.
LOG = ("snr", "accuracy", "epoch")
# Elements in the draws that a member is accepted by, if it is learned redrawn: a single draw of few elements may flatter it.
_ELEMENTS_FOR_ACCEPTANCE = 32 * 120


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


class Learning:
    """Members learned together; the state is whole between two calls of `epoch`.

    Parameters
    ----------
    split : SplitNetwork
        Its cloud answers; nothing of it changes.
    learning_set, held_out : (Tensor, Tensor)
        Activations, float32 (n, *activation shape), and their public labels, int64 (n,). Members learn from the first pair;
        the second decides which of them are accepted.
    method : Method
    settings : Settings
    rng : np.random.Generator
        Draws the initial tensors, the order of the batches, and noise where the method learns from draws.
    """

    def __init__(
        self,
        split: SplitNetwork,
        learning_set: tuple[Tensor, Tensor],
        held_out: tuple[Tensor, Tensor],
        method: Method,
        settings: Settings,
        rng: np.random.Generator,
    ):
        self.split, self.method, self.settings, self.rng = split, method, settings, rng
        self.learning_set = learning_set
        self.held_out = held_out
        self.held_out_moments = ActivationMoments(held_out[0])
        self.n_begun = 0
        # Names of the tensors that the method learns.
        initial = method.initial(0, self._shape, rng)
        self.learned = tuple(initial)
        # What members are accepted by besides accuracy, and the largest value that will do; columns of the curves and the log.
        self.limits = {name: limit for name, (_, limit) in method.acceptance(initial).items()}
        self.active = self._fresh(0)
        self.accepted = self._fresh(0)
        self.log: list[tuple] = []
        self.curves: list[tuple] = []

    @property
    def collection(self) -> Collection:
        """The members accepted so far, in the order they were."""
        return Collection(*_pair(self.accepted))

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.learning_set[0].shape[1:])

    @property
    def stored(self) -> Collection | Distributions:
        """What the method keeps of them."""
        return self.method.stored(self.collection)

    @property
    def n_rejected(self) -> int:
        """How many members used up their epochs without being accepted."""
        return self.n_begun - len(self.active["number"]) - len(self.log)

    def epoch(self) -> None:
        """Fill free places, learn from every activation once, validate; the accepted and the exhausted leave.

        Raises
        ------
        OutOfReachError
            If more than twice as many members as are wanted were rejected.
        InputError
            If a loss is infinite or NaN.
        """
        places = self.settings.parallel - len(self.active["number"])
        wanted = self.settings.members - len(self.log) - len(self.active["number"])
        self.active = _joined(self.active, self._fresh(min(places, wanted)))
        self._validate(loss=self._learn_once())
        if self.n_rejected > 2 * self.settings.members:
            accuracy = [row[CURVES.index("accuracy")] for row in self.curves]
            best = f"{max(accuracy):.4f}"
            for column, name in enumerate(self.limits, start=len(CURVES)):
                best += f", the lowest {name} {min(row[column] for row in self.curves):.3g}"
            raise OutOfReachError(
                f"--min-accuracy {self.settings.min_accuracy:g}"
                + "".join(f", --max-{name} {limit:g}" for name, limit in self.limits.items())
                + f": {self.n_rejected} members missed it within "
                f"{self.settings.epochs} epochs, {len(self.log)} reached it; "
                f"the best held-out accuracy seen was {best}"
            )

    def _fresh(self, n: int) -> dict[str, Tensor]:
        """`n` members before their first update, as tensors whose leading axis counts members."""
        noise = self.method.initial(n, self._shape, self.rng)
        members = {"number": torch.arange(self.n_begun, self.n_begun + n), **noise}
        members |= {count: torch.zeros(n, dtype=torch.long) for count in ("epochs", "updates")}
        members |= {f"{name}'s {moment}": torch.zeros_like(noise[name]) for name in noise for moment in ("m", "v")}
        members["initial accuracy"], members["initial snr"] = self._judged(noise)
        self.n_begun += n
        return members

    def _learn_once(self) -> Tensor:
        """One pass over the activations, in a fresh order, for all active members; mean loss of each, (R,)."""
        n, size = len(self.learning_set[0]), self.settings.batch_size
        batches = torch.from_numpy(self.rng.permutation(n)).split(size)
        partners = torch.from_numpy(self.rng.permutation(n)).split(size)
        total = torch.zeros(len(self.active["number"]))
        updates_to_acceptance = len(batches) * (self.settings.min_epochs + 1)
        for rows, partner_rows in zip(batches, partners, strict=True):
            noise = {name: self.active[name].requires_grad_() for name in self.learned}
            batch = Batch(self.learning_set, rows, partner_rows, self.active["updates"])
            losses = self.method.losses(self.split, self._drawn(noise), batch)
            # Members share no parameter, so the gradient of the sum is each member's own.
            gradients = torch.autograd.grad(losses.sum(), list(noise.values()))
            total += losses.detach() * (len(rows) / n)
            self.active["updates"] += 1
            progress = (self.active["updates"] / updates_to_acceptance).clamp(max=1)
            self._update(gradients, self.method.rates(self.active["epochs"], progress))
            self._require_finite(losses)
        self.active["epochs"] += 1
        return total

    def _drawn(self, noise: dict[str, Tensor]) -> dict[str, Tensor]:
        """`noise` as an update sees it: with those tensors redrawn that the method learns from draws."""
        return noise | {name: redraw_in_order(noise[name], family, self.rng) for name, family in self.method.redrawn.items()}

    def _require_finite(self, losses: Tensor) -> None:
        """Raise InputError where a member's loss, tensors or squared gradients left float32, naming iteration and values."""
        finite = torch.isfinite(losses)
        for name in self.learned:
            for tensor in (self.active[name], self.active[f"{name}'s v"]):
                finite &= torch.isfinite(tensor).flatten(1).all(1)
        if finite.all():
            return
        member = int((~finite).int().argmax())
        values = {name: self.active[name][member].abs().max().item() for name in self.learned}
        raise InputError(
            f"learning left the range of float32 at iteration {self.active['updates'][member]}: member "
            f"{self.active['number'][member]} has the loss {losses[member]:g}, "
            + ", ".join(f"the largest {name} element {value:g}" for name, value in values.items())
            + "; expected a smaller --alpha, --learning-rate or --scale"
        )

    @torch.no_grad()
    def _update(self, gradients: tuple[Tensor, ...], rates: dict[str, Tensor]) -> None:
        for name, gradient in zip(self.learned, gradients, strict=True):
            m, v = (self.active[f"{name}'s {moment}"] for moment in ("m", "v"))
            adam_step(self.active[name], gradient, m, v, self.active["updates"], rates[name])

    @torch.no_grad()
    def _validate(self, loss: Tensor) -> None:
        members, settings = self.active, self.settings
        noise = {name: members[name] for name in self.learned}
        old_enough = members["epochs"] > settings.min_epochs
        n_draws = max(1, _ELEMENTS_FOR_ACCEPTANCE // math.prod(self._shape)) if old_enough.any() and self.method.redrawn else 1
        accuracy, snr = self._judged(noise, n_draws)
        accepted, judgements = (accuracy > settings.min_accuracy) & old_enough, []
        for values, limit in self.method.acceptance(noise).values():
            accepted &= values <= limit
            judgements.append(values)
        columns = (members["number"], members["epochs"], loss, accuracy, snr, *judgements)
        self.curves += zip(*(column.tolist() for column in columns), strict=True)
        columns = (snr, accuracy, members["epochs"], *judgements)
        self.log += zip(*(column[accepted].tolist() for column in columns), strict=True)
        self.accepted = _joined(self.accepted, _rows(members, accepted))
        self.active = _rows(members, ~accepted & (members["epochs"] < settings.epochs))

    def _judged(self, noise: dict[str, Tensor], n_draws: int = 1) -> tuple[Tensor, Tensor]:
        """Held-out accuracy and SNR of each member, (R,), over draws of it if it is learned redrawn."""
        n_members = len(noise["additive"])
        if n_members == 0:
            return (torch.zeros(0, dtype=torch.float64),) * 2
        drawn = _pair(
            self._drawn({name: tensor.detach().repeat(n_draws, *[1] * len(self._shape)) for name, tensor in noise.items()})
        )
        judged = noisy_accuracy(self.split, *self.held_out, *drawn), self.held_out_moments.snr(*drawn)
        return tuple(values.view(n_draws, n_members).mean(0) for values in judged)

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
        """Continue from what `state` returned: the bits that follow are those that would have followed.

        Raises ValueError, TypeError or KeyError if it is of another method, or broken.
        """
        checkpoints.require_like(state, self.state(), "the state")
        width = len(self.limits)
        checkpoints.require_rows(state["log"], len(LOG) + width, "log")
        checkpoints.require_rows(state["curves"], len(CURVES) + width, "curves")
        checkpoints.require_as_many(state["active"], range(self.settings.parallel + 1), "active")
        checkpoints.require_as_many(state["accepted"], range(len(state["log"]), len(state["log"]) + 1), "accepted")
        self.active, self.accepted = state["active"], state["accepted"]
        self.log, self.curves, self.n_begun = state["log"], state["curves"], state["begun"]
        self.rng.bit_generator.state = json.loads(state["rng"])


def _pair(members: dict[str, Tensor]) -> tuple[Tensor | None, Tensor]:
    """Multiplicative tensors, if the method has them, and additive ones, both (R, *activation shape)."""
    return members.get("multiplicative"), members["additive"]


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
