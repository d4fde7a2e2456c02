"""Many noise tensors learned side by side on the activations of one frozen network."""

import json
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shredder.io import checkpoints
from shredder.io.cli import InputError
from shredder.io.device import moved
from shredder.learn.adam import adam_step
from shredder.learn.learner import CURVES, LOG, Batch, MemberMethod, OutOfReachError, Rows, Settings
from shredder.metrics import ActivationMoments, clean_accuracy, mean_and_spread, noisy_accuracy
from shredder.noise.bracket import INPUTS, measured
from shredder.noise.channel import Channel
from shredder.noise.draws import redraw_in_order
from shredder.noise.protocol import Stored
from shredder.noise.stored import Collection
from shredder.split import SplitNetwork

# Elements in the draws that a member is accepted by, if it is learned redrawn: a single draw of few elements may flatter it.
_ELEMENTS_FOR_ACCEPTANCE = 32 * 120


class Learning:
    """Members learned together; the state is whole between two calls of `epoch`.

    Parameters
    ----------
    split : SplitNetwork
        Its cloud answers; nothing of it changes.
    learning_set, held_out : (Tensor, Tensor)
        Activations, float32 (n, *activation shape), and their public labels, int64 (n,). Members learn from the first pair;
        the second decides which of them are accepted.
    method : MemberMethod
    settings : Settings
    rng : np.random.Generator
        Draws the initial tensors, the order of the batches, and noise where the method learns from draws.
    """

    def __init__(
        self,
        split: SplitNetwork,
        learning_set: Rows,
        held_out: Rows,
        method: MemberMethod,
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
        self.conditions = {name: limit for name, (_, limit) in method.acceptance(initial).items()}
        self.active = self._begun(0)
        self.accepted = self._begun(0)
        self.log: list[tuple] = []
        self.curves: list[tuple] = []

    @property
    def rule(self) -> str:
        """The method's."""
        return self.method.rule

    @property
    def collection(self) -> Collection:
        """The members accepted so far, in the order they were."""
        return Collection(*_pair(self.accepted))

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.learning_set[0].shape[1:])

    @property
    def stored(self) -> Stored:
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
        self.active = _joined(self.active, self._begun(min(places, wanted)))
        self._validate(loss=self._learn_once())
        if self.n_rejected > 2 * self.settings.members:
            accuracy = [row[CURVES.index("accuracy")] for row in self.curves]
            best = f"{max(accuracy):.4f}"
            for column, name in enumerate(self.conditions, start=len(CURVES)):
                best += f", the lowest {name} {min(row[column] for row in self.curves):.3g}"
            raise OutOfReachError(
                f"--min-accuracy {self.settings.min_accuracy:g}"
                + "".join(f", --max-{name} {limit:g}" for name, limit in self.conditions.items())
                + f": {self.n_rejected} members missed it within "
                f"{self.settings.epochs} epochs, {len(self.log)} reached it; "
                f"the best held-out accuracy seen was {best}"
            )

    def _begun(self, n: int) -> dict[str, Tensor]:
        """`n` new members before their first update, as tensors whose leading axis counts members."""
        device = self.split.device
        noise = {name: drawn.to(device) for name, drawn in self.method.initial(n, self._shape, self.rng).items()}
        members = {"number": torch.arange(self.n_begun, self.n_begun + n, device=device), **noise}
        members |= {count: torch.zeros(n, dtype=torch.long, device=device) for count in ("epochs", "updates")}
        members |= {f"{name}'s {moment}": torch.zeros_like(noise[name]) for name in noise for moment in ("m", "v")}
        members["initial accuracy"], members["initial snr"] = self._judged(noise)
        self.n_begun += n
        return members

    def _learn_once(self) -> Tensor:
        """One pass over the activations, in a new order, for all active members; mean loss of each, (R,)."""
        n, size = len(self.learning_set[0]), self.settings.batch_size
        batches, partners = (moved(self.rng.permutation(n), self.learning_set[0].device).split(size) for _ in range(2))
        total = torch.zeros(len(self.active["number"]), device=self.split.device)
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
            if total.device.type == "cpu":  # elsewhere a look would wait for the device
                self._require_finite(losses)
        self._require_finite(total)
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
            return (torch.zeros(0, dtype=torch.float64, device=self.split.device),) * 2
        drawn = _pair(
            self._drawn({name: tensor.detach().repeat(n_draws, *[1] * len(self._shape)) for name, tensor in noise.items()})
        )
        judged = noisy_accuracy(self.split, *self.held_out, *drawn), self.held_out_moments.snr(*drawn)
        return tuple(values.view(n_draws, n_members).mean(0) for values in judged)

    def summary(self, activations: Tensor, labels: Tensor, private: Tensor | None = None) -> dict[str, Any]:
        """What members have reached, on test activations with their public and private labels, which nothing was chosen by."""
        split, noise = self.split, (self.collection.multiplicative, self.collection.additive)
        accuracy, spread = mean_and_spread(noisy_accuracy(split, activations, labels, *noise))
        moments, drawn_accuracy, drawn_spread, information = ActivationMoments(activations), None, None, {}
        if len(self.log) > 1:  # a single tensor has no element-wise spread
            channel = Channel(self.stored, self.rule)
            drawn = channel.source.tensors(channel.draws(len(self.log), self.rng))
            drawn_accuracy, drawn_spread = mean_and_spread(noisy_accuracy(split, activations, labels, *drawn))
            information = measured(channel, activations[:INPUTS].to(split.device), self.rng, labels, private)
        return {
            "members": len(self.log),
            "learned parameters of a member": sum(self.accepted[name][0].numel() for name in self.learned),
            "updates in an epoch": -(-len(self.learning_set[0]) // self.settings.batch_size),
            "epochs at most": self.settings.epochs,
            "epochs before acceptance": self.settings.min_epochs,
            "members rejected": self.n_rejected,
            "mean square activation": moments.second.mean().item(),
            "average held-out SNR before learning": self.accepted["initial snr"].mean().item(),
            "average held-out accuracy before learning": self.accepted["initial accuracy"].mean().item(),
            "average held-out SNR": float(np.mean([row[LOG.index("snr")] for row in self.log])),
            "average SNR": moments.snr(*noise).mean().item(),
            "average epochs": float(np.mean([row[LOG.index("epoch")] for row in self.log])),
            "average held-out accuracy": float(np.mean([row[LOG.index("accuracy")] for row in self.log])),
            "clean test accuracy": clean_accuracy(split, activations, labels),
            "average test accuracy": accuracy,
            "spread of test accuracy": spread,
            f"average test accuracy, {self.rule} draws": drawn_accuracy,
            f"spread of test accuracy, {self.rule} draws": drawn_spread,
        } | information

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
        width = len(self.conditions)
        checkpoints.require_rows(state["log"], len(LOG) + width, "log")
        checkpoints.require_rows(state["curves"], len(CURVES) + width, "curves")
        checkpoints.require_as_many(state["active"], range(self.settings.parallel + 1), "active")
        checkpoints.require_as_many(state["accepted"], range(len(state["log"]), len(state["log"]) + 1), "accepted")
        self.active, self.accepted = (
            {name: tensor.to(self.split.device) for name, tensor in state[part].items()} for part in ("active", "accepted")
        )
        self.log, self.curves, self.n_begun = state["log"], state["curves"], state["begun"]
        self.rng.bit_generator.state = json.loads(state["rng"])


def _pair(members: dict[str, Tensor]) -> tuple[Tensor | None, Tensor]:
    """Multiplicative tensors, if the method has them, and additive ones, both (R, *activation shape)."""
    return members.get("multiplicative"), members["additive"]


def _rows(members: dict[str, Tensor], keep: Tensor) -> dict[str, Tensor]:
    return {name: tensor[keep] for name, tensor in members.items()}


def _joined(some: dict[str, Tensor], more: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.cat([some[name], more[name]]) for name in some}
