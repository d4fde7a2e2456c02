"""Noise with a single level: the loudest that keeps an accuracy, found by bisection."""

import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shredder.io import checkpoints
from shredder.io.cli import InputError
from shredder.learn.judging import DRAWS, accuracies
from shredder.learn.learner import CURVES, LOG, Method, OutOfReachError, Rows, Settings
from shredder.metrics import ActivationMoments, accuracy, clean_accuracy, mean_and_spread
from shredder.noise.bracket import measured
from shredder.noise.channel import Channel
from shredder.noise.protocol import Stored
from shredder.split import SplitNetwork

# Until one level has passed and another has failed, the next is so many times as loud or quiet.
_STRIDE = 4.0


class LevelledMethod(Method):
    """What the bisection asks of a method whose noise grows with one number, and the answers that all of them have in common.

    A method further has `prepared`, which the bisection leaves as it is, and `stored`, the noise at a level.

    Attributes
    ----------
    rule : str
        How a query draws from what is stored.
    """

    rule: str
    # There is one noise. Levels are tried, epochs at most and more than min_epochs: sixteen tell the loudest to a thousandth.
    own_settings: ClassVar[Mapping[str, int]] = {"members": 1, "parallel": 1, "epochs": 40, "min_epochs": 15}

    @classmethod
    def defaults(cls, args: Any) -> dict[str, Any]:
        """Without flags of its own."""
        return {"batch_size": 500, **cls.own_settings}

    @classmethod
    def check(cls, args: Any) -> None:
        """There is one noise, and no members."""
        if args.members != 1:
            raise InputError(f"--members: found {args.members}, expected 1, for --method {args.method} has no members")

    @classmethod
    def of(cls, args: Any, private: Any) -> "LevelledMethod":
        """Without flags of its own."""
        return cls()

    def prepared(
        self, split: SplitNetwork, learning_set: Rows, settings: Settings, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """What the noise is made of beside its level, from the learning set."""

    def stored(self, prepared: dict[str, Tensor], level: float) -> Stored:
        """The noise at a level above 0: the louder, the less is read, and the less is answered."""


class Bisection:
    """Tries a level an epoch; the loudest whose held-out accuracy exceeds the target is accepted after the last.

        level_1 = 1;   next = 4 * passed or failed / 4, until a level has passed and one has failed; then sqrt(passed * failed)

    All levels are judged under the same draws, so that accuracy falls as a level rises, but for what rounding moves. The state
    is whole between two calls of `epoch`; `shredder.learn.fresh.FreshLearning` has the same face.

    Parameters
    ----------
    split : SplitNetwork
    learning_set, held_out : (Tensor, Tensor)
        Activations, float32 (n, *activation shape), and their public labels, int64 (n,).
    method : LevelledMethod
    settings : Settings
        Of one member. An epoch is a level.
    rng : np.random.Generator
        Of what the method prepares, and of the draws.
    """

    def __init__(
        self,
        split: SplitNetwork,
        learning_set: Rows,
        held_out: Rows,
        method: LevelledMethod,
        settings: Settings,
        rng: np.random.Generator,
    ):
        self.split, self.method, self.settings, self.rng = split, method, settings, rng
        self.held_out = tuple(tensor.to(split.device) for tensor in held_out)
        self.prepared = method.prepared(split, learning_set, settings, rng)
        self.of_draws = int(rng.integers(2**62))
        # The loudest level that passed, 0 before one has; the quietest that failed, infinite before.
        self.passed, self.failed = 0.0, math.inf
        self.log: list[tuple] = []
        self.curves: list[tuple] = []
        self.n_rejected = 0
        self.conditions = {"level": math.inf}

    @property
    def rule(self) -> str:
        """The method's."""
        return self.method.rule

    @property
    def stored(self) -> Stored:
        """The loudest noise that has passed; before one has, the next to be tried."""
        return self.method.stored(self.prepared, self.passed or self._next)

    @property
    def _next(self) -> float:
        if self.passed and math.isfinite(self.failed):
            return math.sqrt(self.passed * self.failed)
        if self.passed:
            return self.passed * _STRIDE
        return self.failed / _STRIDE if math.isfinite(self.failed) else 1.0

    def epoch(self) -> None:
        """Try a level; accept the loudest that has passed if enough have been tried.

        Raises
        ------
        OutOfReachError
            If as many have been tried as may be, and none has passed.
        """
        level, settings = self._next, self.settings
        loss, reached, snr = self._judged(level)
        passes = reached > settings.min_accuracy
        self.passed, self.failed = (level, self.failed) if passes else (self.passed, level)
        tried = len(self.curves) + 1
        self.curves.append((0, tried, loss, reached, snr, level))
        if tried > settings.min_epochs and self.passed:
            _, _, _, reached, snr, _ = next(row for row in self.curves if row[-1] == self.passed)
            self.log.append((snr, reached, tried, self.passed))
        elif tried >= settings.epochs:
            best = max(row[CURVES.index("accuracy")] for row in self.curves)
            raise OutOfReachError(
                f"--min-accuracy {settings.min_accuracy:g}: none of {tried} levels down to {level:.3g} exceeded it; "
                f"the best held-out accuracy seen was {best:.4f}"
            )

    @torch.no_grad()
    def _judged(self, level: float) -> tuple[float, float, float]:
        """Cross-entropy in nats, accuracy and SNR of held-out rows, over draws that are the same for every level."""
        channel, rng = Channel(self.method.stored(self.prepared, level), self.rule), np.random.default_rng(self.of_draws)
        activations, labels = self.held_out
        signal, reached, nats = channel.signal(activations), [], []
        for _ in range(DRAWS):
            answers = channel.answered(self.split.cloud, signal, rng)
            reached.append(accuracy(answers, labels).item())
            nats.append(functional.nll_loss(answers, labels).item())
        noise = channel.source.tensors(channel.draws(DRAWS, rng))
        snr = ActivationMoments(channel.source.as_activation(signal)).snr(*noise).mean().item()
        return float(np.mean(nats)), float(np.mean(reached)), snr

    def summary(self, activations: Tensor, labels: Tensor, private: Tensor | None = None) -> dict[str, Any]:
        """What has been reached, on test activations with their public and private labels, which nothing was chosen by."""
        channel, split = Channel(self.stored, self.rule), self.split
        activations, labels = activations.to(split.device), labels.to(split.device)
        signal, of_held_out = channel.signal(activations), channel.signal(self.held_out[0])
        average, spread = mean_and_spread(accuracies(split, channel, (activations, labels), self.rng))
        return {
            "level": self.passed,
            "levels tried": len(self.curves),
            "quietest level that failed": self.failed if math.isfinite(self.failed) else "none",
            "held-out accuracy": self.log[0][LOG.index("accuracy")],
            "held-out SNR": self.log[0][LOG.index("snr")],
            "clean test accuracy": clean_accuracy(split, activations, labels),
            "average test accuracy": average,
            "spread of test accuracy": spread,
            "bits at most, held-out": _or_none(channel.bits_at_most(of_held_out, self.rng)),
            "bits at most, test": _or_none(channel.bits_at_most(signal, self.rng)),
        } | measured(channel, signal, self.rng, labels, private)

    def state(self) -> dict:
        """All that decides what comes next, in types that a checkpoint can hold."""
        return {
            "prepared": self.prepared,
            "levels": (self.passed, self.failed),
            "draws": self.of_draws,
            "log": self.log,
            "curves": self.curves,
            "rng": json.dumps(self.rng.bit_generator.state),
        }

    def restore(self, state: dict) -> None:
        """Continue from what `state` returned: the bits that follow are those that would have followed.

        Raises ValueError, TypeError or KeyError if it is of another method, or broken.
        """
        checkpoints.require_like(state, self.state(), "the state")
        checkpoints.require_rows(state["log"], len(LOG) + 1, "log")
        checkpoints.require_rows(state["curves"], len(CURVES) + 1, "curves")
        for name, tensor in self.prepared.items():
            if state["prepared"][name].shape != tensor.shape:
                raise ValueError(f"{name} is {tuple(state['prepared'][name].shape)}, expected {tuple(tensor.shape)}")
        self.prepared = {name: tensor.to(self.split.device) for name, tensor in state["prepared"].items()}
        (self.passed, self.failed), self.of_draws = state["levels"], state["draws"]
        self.log, self.curves = state["log"], state["curves"]
        self.rng.bit_generator.state = json.loads(state["rng"])


def _or_none(bits: float | None) -> float | str:
    return "none" if bits is None else bits
