"""Learning of fresh noise: as few bits as an accuracy allows."""

import json
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shredder.io import checkpoints
from shredder.io.cli import InputError
from shredder.io.device import moved
from shredder.learn.directions import beginning, initial_readings, lean
from shredder.learn.judging import DRAWS, accuracies, loudest
from shredder.learn.learner import CURVES, LOG, Method, OutOfReachError, PrivateRows, Rows, Settings, half_cosine
from shredder.metrics import ActivationMoments, clean_accuracy, mean_and_spread
from shredder.noise.bracket import measured
from shredder.noise.channel import Channel
from shredder.noise.fresh import Form, Fresh, formed, read
from shredder.noise.load import OF_FORM
from shredder.split import SplitNetwork

# Activations that say where learning begins.
_ROWS_TO_BEGIN_WITH = 5000
# Share of the wrong answers that are allowed which learning itself stays below, so that held-out accuracy passes.
_MARGIN = 0.9
# Share of the updates in which bits come to count: noise would drown an answer that is not yet found.
_ONSET = 0.1
# What is left of the learning rate when noise may first be accepted.
_FINAL_FRACTION = 0.02


@dataclass(frozen=True)
class FreshMethod(Method):
    """Beyond the paper: noise drawn anew for every query, with a bound in bits on what it lets through.

    Attributes
    ----------
    form : "linear", "saturated", "quantised" or "flipped"
        See `shredder.noise.fresh.formed`.
    learning_rate : float
        Adam's at the start; it falls along a half cosine.
    directions : int
        r, at most.
    hidden_units : int
        Of what the device reads; 0 for linear readings.
    """

    form: Form
    learning_rate: float
    directions: int
    hidden_units: int = 0

    own_settings = MappingProxyType({"members": 1, "parallel": 1})

    @classmethod
    def defaults(cls, args: Any) -> dict[str, Any]:
        """As for LeNet."""
        settings = {**cls.own_settings, "epochs": 30, "min_epochs": 19, "batch_size": 500}
        return settings | {"form": "saturated", "learning_rate": 1e-2, "directions": 64, "hidden_units": 0}

    @classmethod
    def check(cls, args: Any) -> None:
        """There is one noise, and no members."""
        if args.members != 1:
            raise InputError(f"--members: found {args.members}, expected 1, for fresh noise has no members")
        if args.form == "flipped" and args.directions != 1:
            raise InputError(f"--directions: found {args.directions}, expected 1 with --form flipped, which sends one bit")

    @classmethod
    def of(cls, args: Any, private: PrivateRows | None) -> "FreshMethod":
        """From flags."""
        return cls(args.form, args.learning_rate, args.directions, args.hidden_units)


class FreshLearning:
    """Minimises the measured information subject to an accuracy; the state is whole between two calls of `epoch`.

        P, H, mu, b, c, s follow the gradient of   bits + nu * cross-entropy(cloud(a'));
        ln nu rises while more answers are wrong than allowed, and falls while fewer are

    where bits are those that the batch shows (`Fresh.learnable`), so that no weight has to be found (a proxy-Lagrangian: the
    constraint on errors has no gradient, and cross-entropy stands in for it; Cotter et al. 2019, "Optimization with
    non-differentiable constraints"). Wrong answers are counted in the batches, corrected by how much more of them the held-out
    rows have had: held-out rows steer nu, and decide acceptance.
    `shredder.learn.members.Learning` has the same face.

    Parameters
    ----------
    split : SplitNetwork
    learning_set, held_out : (Tensor, Tensor)
        Activations, float32 (n, *activation shape), and their public labels, int64 (n,).
    method : FreshMethod
    settings : Settings
        Of one member. A batch also measures information.
    rng : np.random.Generator
    """

    def __init__(
        self,
        split: SplitNetwork,
        learning_set: Rows,
        held_out: Rows,
        method: FreshMethod,
        settings: Settings,
        rng: np.random.Generator,
    ):
        self.split, self.learning_set = split, learning_set
        self.held_out = tuple(tensor.to(split.device) for tensor in held_out)
        self.method, self.settings, self.rng = method, settings, rng
        n_directions = method.directions
        activations = learning_set[0][:_ROWS_TO_BEGIN_WITH].to(split.device)
        self.batch_size = min(settings.batch_size, len(activations))
        if self.batch_size <= n_directions:
            raise InputError(
                f"--batch-size: found {self.batch_size} activations, expected more than --directions {n_directions}, "
                "whose information they measure"
            )
        self.directions, additive, spread = beginning(split, activations, method.form, n_directions, rng)
        self.parameters = {
            **initial_readings(self.directions, activations, spread, method.hidden_units, rng),
            "additive": additive,
            "log scales": spread.log(),
        }
        if method.form != "linear":
            self.parameters["log limits"] = (2 * spread).log()
        fixed = OF_FORM[method.form].fixed
        self.learned = [parameter.requires_grad_() for name, parameter in self.parameters.items() if name not in fixed]
        self.optimizer = torch.optim.Adam(self.learned, lr=method.learning_rate)
        # nu's logarithm; running means of the share of wrong answers, and of how much larger it is held-out.
        self.log_multiplier, self.wrong, self.gap = self._numbers(math.log(30.0), 0.0, 0.0)
        self.log: list[tuple] = []
        self.curves: list[tuple] = []
        self.n_rejected = 0
        self.conditions = {"bits": math.inf}

    rule = "fresh"

    @property
    def stored(self) -> Fresh:
        """What has been learned, without the directions that carry nothing."""
        found = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        scales = found.pop("log scales").exp()
        limits = found.pop("log limits").exp() if "log limits" in found else torch.full_like(scales, math.inf)
        whole = OF_FORM[self.method.form](self.method.form, directions=self.directions, limits=limits, scales=scales, **found)
        return lean(whole, self.learning_set[0][:_ROWS_TO_BEGIN_WITH].to(self.split.device))

    def epoch(self) -> None:
        """Learn from every activation once, validate, accept if it is time and held-out accuracy exceeds the target.

        Raises
        ------
        OutOfReachError
            If the last epoch has passed and it does not.
        """
        epoch, settings = len(self.curves), self.settings
        n, size = len(self.learning_set[0]), self.batch_size
        n_updates, (total,) = n // size, self._numbers(0.0)
        rows = moved(self.rng.permutation(n), self.learning_set[0].device)[: n_updates * size].split(size)
        # Numbers stay on the device until the epoch's end: to look at one would be to wait for all that is under way.
        for update, some in enumerate(rows, start=epoch * n_updates):
            progress = torch.tensor(min(1.0, update / ((settings.min_epochs + 1) * n_updates)))
            self.optimizer.param_groups[0]["lr"] = self.method.learning_rate * half_cosine(progress, _FINAL_FRACTION).item()
            loss, wrong = self._loss(some, progress)
            self.optimizer.zero_grad()
            loss.backward()
            if loss.device.type == "cpu":
                self._require_finite(loss, update)
            self.optimizer.step()
            total += loss.detach() / n_updates
            self.wrong = 0.9 * self.wrong + 0.1 * wrong if update else wrong
            # A twentieth a step at most; beyond e^7 cross-entropy decides alone, below 1 bits do.
            self.log_multiplier = (self.log_multiplier + 0.05 * self._excess()).clamp(0, 7)
        self._require_finite(total, update)
        self._validate(total.item())

    def _excess(self) -> Tensor:
        """By what share more answers are wrong than allowed, -1 to 1; where none may be, a tenth of a held-out one may."""
        allowed = _MARGIN * max(1 - self.settings.min_accuracy, 0.1 / len(self.held_out[1]))
        return ((self.wrong + self.gap) / allowed - 1).clamp(-1, 1)

    def _numbers(self, *values: float) -> Tensor:  # as float64, (n,), where the network is
        return moved(np.array(values), self.split.device)

    def _require_finite(self, loss: Tensor, update: int) -> None:
        if not loss.isfinite():
            raise InputError(
                f"learning left the range of float32 at update {update} with the loss {loss.item():g}; "
                f"--learning-rate {self.method.learning_rate:g} is too high"
            )

    def _loss(self, rows: Tensor, progress: Tensor) -> tuple[Tensor, Tensor]:
        """What is minimised, float64 (), and the share of wrong answers, float64 ()."""
        p, form = self.parameters, OF_FORM[self.method.form]
        activations, labels = (tensor[rows].to(self.split.device) for tensor in self.learning_set)
        scales, limits = p["log scales"].exp(), p["log limits"].exp() if "log limits" in p else None
        t = formed(read(activations, p["readings"], p.get("hidden")) - p["offsets"], limits, self.method.form)
        e = moved(self.rng.standard_normal(t.shape, dtype=np.float32), t.device)
        y, bits = form.learnable(t, e, limits, scales)
        sent = lambda y: p["additive"] + (y @ self.directions.T).view(-1, *activations.shape[1:])  # noqa: E731
        answers = form.asked(lambda y: self.split.cloud(sent(y)), y, limits)
        # What is wrong now counts at once, which keeps the multiplier from swinging.
        multiplier = (self.log_multiplier + self._excess()).exp().float()
        loss = bits * (progress / _ONSET).clamp(max=1) + multiplier * functional.nll_loss(answers, labels)
        return loss, form.wrong(answers.detach(), labels)

    @torch.no_grad()
    def _validate(self, loss: float) -> None:
        epoch, seed = len(self.curves) + 1, int(self.rng.integers(2**62))
        learned = self.parameters["log scales"].clone()
        reached = self._reached(learned, seed)
        self.gap = 0.8 * self.gap + 0.2 * (1 - reached - self.wrong)
        accepted = epoch > self.settings.min_epochs and reached > self.settings.min_accuracy
        if accepted:  # and as loud as the accuracy allows
            factor = loudest(lambda factor: self._reached(learned + math.log(factor), seed) > self.settings.min_accuracy)
            reached = self._reached(learned + math.log(factor), seed)
        channel = Channel(self.stored, self.rule)
        signal = channel.signal(self.held_out[0])
        noise = channel.source.tensors(channel.draws(DRAWS, self.rng))
        snr = ActivationMoments(channel.source.as_activation(signal)).snr(*noise).mean().item()
        self.curves.append((0, epoch, loss, reached, snr, channel.bits_at_most(signal, self.rng)))
        if accepted:
            self.log.append((snr, reached, epoch, self.curves[-1][-1]))
        elif epoch >= self.settings.epochs:
            best = max(row[3] for row in self.curves)
            raise OutOfReachError(
                f"--min-accuracy {self.settings.min_accuracy:g}: missed after {epoch} epochs with {reached:.4f}; "
                f"the best held-out accuracy seen was {best:.4f}"
            )

    def _reached(self, log_scales: Tensor, seed: int) -> float:
        """Held-out accuracy under noise of these scales, which it has from now on; the same draws of e for the same seed."""
        self.parameters["log scales"].copy_(log_scales)
        found = accuracies(self.split, Channel(self.stored, self.rule), self.held_out, np.random.default_rng(seed))
        return float(np.mean(found.tolist()))

    def summary(self, activations: Tensor, labels: Tensor, private: Tensor | None = None) -> dict[str, Any]:
        """What has been reached, on test activations with their public and private labels, which nothing was chosen by."""
        channel, split = Channel(self.stored, self.rule), self.split
        activations, labels = activations.to(split.device), labels.to(split.device)
        noise, signal = channel.source, channel.signal(activations)
        average, spread = mean_and_spread(accuracies(split, channel, (activations, labels), self.rng))
        ratio = signal.var(0) / noise.scales.square()
        return {
            "directions": len(noise.scales),
            "directions that carried nothing": self.directions.shape[1] - len(noise.scales),
            "signal-to-noise ratio of the loudest direction": ratio.max().item(),
            "epochs before acceptance": self.settings.min_epochs,
            "updates": len(self.curves) * (len(self.learning_set[0]) // self.batch_size),
            "held-out accuracy": self.log[0][LOG.index("accuracy")],
            "clean test accuracy": clean_accuracy(split, activations, labels),
            "average test accuracy": average,
            "spread of test accuracy": spread,
            "bits at most, held-out": self.log[0][-1],
            "bits at most, test": channel.bits_at_most(signal, self.rng),
            "bits at most, any inputs": noise.bits_for_any_inputs(),
        } | measured(channel, signal, self.rng, labels, private)

    def state(self) -> dict:
        """All that decides what comes next, in types that a checkpoint can hold."""
        return {
            "parameters": {name: parameter.detach() for name, parameter in self.parameters.items()},
            "optimizer": self.optimizer.state_dict(),
            "multiplier": tuple(torch.stack([self.log_multiplier, self.wrong, self.gap]).tolist()),
            "log": self.log,
            "curves": self.curves,
            "rng": json.dumps(self.rng.bit_generator.state),
        }

    def restore(self, state: dict) -> None:
        """Continue from what `state` returned: the bits that follow are those that would have followed.

        Raises ValueError, TypeError or KeyError if it is of another method, or broken.
        """
        expected = self.state()
        # As Adam's state is after its first step.
        of_each = {"step": torch.tensor(0.0), "exp_avg": None, "exp_avg_sq": None}
        expected["optimizer"]["state"] = {
            i: {name: p.detach() if value is None else value for name, value in of_each.items()}
            for i, p in enumerate(self.learned)
        }
        checkpoints.require_like(state, expected, "the state")
        checkpoints.require_rows(state["log"], len(LOG) + 1, "log")
        checkpoints.require_rows(state["curves"], len(CURVES) + 1, "curves")
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if state["parameters"][name].shape != parameter.shape:
                    raise ValueError(f"{name} is {tuple(state['parameters'][name].shape)}, expected {tuple(parameter.shape)}")
                parameter.copy_(state["parameters"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.log_multiplier, self.wrong, self.gap = self._numbers(*state["multiplier"])
        self.log, self.curves = state["log"], state["curves"]
        self.rng.bit_generator.state = json.loads(state["rng"])


FreshMethod.learning = FreshLearning
