"""Learning of fresh noise: as few bits as an accuracy allows."""

import json
import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shredder.io import checkpoints
from shredder.io.cli import InputError
from shredder.learn.members import CURVES, LOG, OutOfReachError, Settings
from shredder.learn.methods import half_cosine
from shredder.metrics import ActivationMoments, accuracy, clean_accuracy, mean_and_spread
from shredder.noise.bounds import gaussian_bits
from shredder.noise.channel import Channel
from shredder.noise.fresh import Form, Fresh, formed
from shredder.split import SplitNetwork

# Draws of every held-out activation that decide about acceptance.
_DRAWS_FOR_ACCEPTANCE = 8
# Activations that say where learning begins.
_ROWS_TO_BEGIN_WITH = 5000
# Share of the wrong answers that are allowed which learning itself stays below, so that held-out accuracy passes.
_MARGIN = 0.9
# Directions whose signal has less than this share of the noise's variance are not sent: they say next to nothing of these
# inputs, and might of others.
_LEAST_RATIO = 0.01
# What is left of the learning rate when noise may first be accepted.
_FINAL_FRACTION = 0.02


class FreshLearning:
    """Minimises the bound in bits subject to an accuracy; the state is whole between two calls of `epoch`.

        P, mu, b, c, s follow the gradient of   bits(C_t, s) + nu * cross-entropy(cloud(a'));
        ln nu rises while more answers are wrong than allowed, and falls while fewer are

    so that no weight has to be found (a proxy-Lagrangian: the constraint on errors has no gradient, and cross-entropy stands in
    for it; Cotter et al. 2019, "Optimization with non-differentiable constraints"). Wrong answers are counted in the batches,
    corrected by how much more of them the held-out rows have had: held-out rows steer nu, and decide acceptance.
    `shredder.learning.Learning` has the same face.

    Parameters
    ----------
    split : SplitNetwork
    learning_set, held_out : (Tensor, Tensor)
        Activations, float32 (n, *activation shape), and their public labels, int64 (n,).
    settings : Settings
        Of one member. A batch also estimates the covariance C_t.
    form : "linear", "saturated" or "quantised"
        See `shredder.fresh.formed`.
    learning_rate : float
        Adam's at the start; it falls along a half cosine.
    n_directions : int
        r, at most.
    rng : np.random.Generator
    """

    def __init__(
        self,
        split: SplitNetwork,
        learning_set: tuple[Tensor, Tensor],
        held_out: tuple[Tensor, Tensor],
        settings: Settings,
        form: Form,
        learning_rate: float,
        n_directions: int,
        rng: np.random.Generator,
    ):
        self.split, self.learning_set, self.held_out = split, learning_set, held_out
        self.settings, self.form, self.learning_rate, self.rng = settings, form, learning_rate, rng
        activations = learning_set[0][:_ROWS_TO_BEGIN_WITH]
        self.batch_size = min(settings.batch_size, len(activations))
        if self.batch_size <= n_directions:
            raise InputError(
                f"--batch-size: found {self.batch_size} activations, expected more than --directions {n_directions}, "
                "whose covariance they estimate"
            )
        self.directions = active_directions(split, activations, n_directions, rng)
        projected = activations.flatten(1) @ self.directions
        mean, spread = projected.mean(0), projected.std(0).clamp(min=1e-3)
        self.parameters = {
            "readings": self.directions.clone(),
            "additive": (self.directions @ mean).view_as(activations[0]),
            "offsets": mean,
            "log scales": (0.3 * spread).log(),
        }
        if form != "linear":
            self.parameters["log limits"] = (2 * spread).log()
        for parameter in self.parameters.values():
            parameter.requires_grad_()
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=learning_rate)
        # nu's logarithm; running means of the share of wrong answers, and of how much larger it is held-out.
        self.log_multiplier, self.wrong, self.gap = math.log(30.0), None, 0.0
        self.log: list[tuple] = []
        self.curves: list[tuple] = []
        self.n_rejected = 0
        self.limits = {"bits": math.inf}

    @property
    def stored(self) -> Fresh:
        """What has been learned, without the directions that carry nothing."""
        found = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        scales, limits = (found.pop(f"log {name}", torch.tensor(math.inf)).exp() for name in ("scales", "limits"))
        whole = Fresh(self.form, directions=self.directions, limits=limits.expand_as(scales).clone(), scales=scales, **found)
        return lean(whole, self.learning_set[0][:_ROWS_TO_BEGIN_WITH])

    def epoch(self) -> None:
        """Learn from every activation once, validate, accept if it is time and held-out accuracy exceeds the target.

        Raises
        ------
        OutOfReachError
            If the last epoch has passed and it does not.
        """
        epoch, settings = len(self.curves), self.settings
        n, size = len(self.learning_set[0]), self.batch_size
        n_updates, total = n // size, 0.0
        # Where no error is allowed, a tenth of one held-out answer is.
        allowed = _MARGIN * max(1 - settings.min_accuracy, 0.1 / len(self.held_out[1]))
        rows = torch.from_numpy(self.rng.permutation(n))[: n_updates * size].split(size)
        for update, some in enumerate(rows, start=epoch * n_updates):
            progress = torch.tensor(min(1.0, update / ((settings.min_epochs + 1) * n_updates)))
            self.optimizer.param_groups[0]["lr"] = self.learning_rate * half_cosine(progress, _FINAL_FRACTION).item()
            loss, wrong = self._loss(some)
            self.optimizer.zero_grad()
            loss.backward()
            if not loss.isfinite():
                raise InputError(
                    f"learning left the range of float32 at update {update} with the loss {loss.item():g}; "
                    f"--learning-rate {self.learning_rate:g} is too high"
                )
            self.optimizer.step()
            total += loss.item() / n_updates
            self.wrong = wrong if self.wrong is None else 0.9 * self.wrong + 0.1 * wrong
            # A twentieth a step at most; beyond e^7 cross-entropy decides alone.
            excess = (self.wrong + self.gap) / allowed - 1
            self.log_multiplier = min(self.log_multiplier + 0.05 * max(-1, min(1, excess)), 7)
        self._validate(total)

    def _loss(self, rows: Tensor) -> tuple[Tensor, float]:
        p, activations = self.parameters, self.learning_set[0][rows]
        scales, limits = p["log scales"].exp(), p["log limits"].exp() if "log limits" in p else None
        t = formed(activations.flatten(1) @ p["readings"] - p["offsets"], limits, self.form)
        e = torch.from_numpy(self.rng.standard_normal(t.shape, dtype=np.float32))
        sent = p["additive"] + ((t + scales * e) @ self.directions.T).view_as(activations)
        answers, labels = self.split.cloud(sent), self.learning_set[1][rows]
        # Also of two levels: their own bound is flat where noise is small, and grows with the same ratio c / s.
        bits = gaussian_bits(torch.cov(t.double().T).reshape(len(scales), -1), scales.double())
        loss = bits + math.exp(self.log_multiplier) * functional.nll_loss(answers, labels)
        return loss, 1 - accuracy(answers.detach(), labels).item()

    @torch.no_grad()
    def _validate(self, loss: float) -> None:
        fresh, (activations, labels) = self.stored, self.held_out
        signal, epoch = fresh.signal(activations), len(self.curves) + 1
        reached = np.mean(
            [accuracy(self.split.cloud(fresh.sent(signal, self.rng)), labels).item() for _ in range(_DRAWS_FOR_ACCEPTANCE)]
        )
        channel = Channel(fresh, "fresh")
        noise = channel.tensors(channel.draws(_DRAWS_FOR_ACCEPTANCE, self.rng))
        snr = ActivationMoments(channel.as_activation(signal)).snr(*noise).mean().item()
        self.gap = 0.8 * self.gap + 0.2 * (1 - float(reached) - self.wrong)
        self.curves.append((0, epoch, loss, float(reached), snr, fresh.bits(signal)))
        if epoch > self.settings.min_epochs and reached > self.settings.min_accuracy:
            self.log.append((snr, float(reached), epoch, self.curves[-1][-1]))
        elif epoch >= self.settings.epochs:
            best = max(row[3] for row in self.curves)
            raise OutOfReachError(
                f"--min-accuracy {self.settings.min_accuracy:g}: missed after {epoch} epochs with {reached:.4f}; "
                f"the best held-out accuracy seen was {best:.4f}"
            )

    def state(self) -> dict:
        """All that decides what comes next, in types that a checkpoint can hold."""
        return {
            "parameters": {name: parameter.detach() for name, parameter in self.parameters.items()},
            "optimizer": self.optimizer.state_dict(),
            "multiplier": (self.log_multiplier, self.wrong, self.gap),
            "log": self.log,
            "curves": self.curves,
            "rng": json.dumps(self.rng.bit_generator.state),
        }

    def restore(self, state: dict) -> None:
        """Continue from what `state` returned: the bits that follow are those that would have followed.

        Raises ValueError, TypeError or KeyError if it is of another method, or broken.
        """
        expected = self.state() | {"multiplier": (0.0,) * 3}
        # As Adam's state is after its first step.
        of_each = {"step": torch.tensor(0.0), "exp_avg": None, "exp_avg_sq": None}
        expected["optimizer"]["state"] = {
            i: {name: p.detach() if value is None else value for name, value in of_each.items()}
            for i, p in enumerate(self.parameters.values())
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
        self.log_multiplier, self.wrong, self.gap = state["multiplier"]
        self.log, self.curves = state["log"], state["curves"]
        self.rng.bit_generator.state = json.loads(state["rng"])


def lean(fresh: Fresh, activations: Tensor) -> Fresh:
    """`fresh` without the directions in which t of these activations has less than a hundredth of the noise's variance.

    Their mean goes to mu. The loudest direction stays in any case.
    """
    signal = fresh.signal(activations)
    ratio = signal.var(0) / fresh.scales.square()
    kept = ratio > min(_LEAST_RATIO, 0.999 * ratio.max())
    additive = fresh.additive + (fresh.directions[:, ~kept] @ signal[:, ~kept].mean(0)).view(fresh.shape)
    columns = {name: getattr(fresh, name)[:, kept] for name in ("readings", "directions")}
    values = {name: getattr(fresh, name)[kept] for name in ("offsets", "limits", "scales")}
    return replace(fresh, additive=additive, **columns, **values)


def fresh_summary(learning: FreshLearning, activations: Tensor, labels: Tensor) -> dict[str, float | None]:
    """What a run has reached, on test activations and their public labels, which nothing was chosen by."""
    fresh, split = learning.stored, learning.split
    signal = fresh.signal(activations)
    with torch.no_grad():
        drawn = [accuracy(split.cloud(fresh.sent(signal, learning.rng)), labels) for _ in range(_DRAWS_FOR_ACCEPTANCE)]
    average, spread = mean_and_spread(torch.stack(drawn))
    ratio = signal.var(0) / fresh.scales.square()
    return {
        "directions": len(fresh.scales),
        "directions that carried nothing": learning.directions.shape[1] - len(fresh.scales),
        "signal-to-noise ratio of the loudest direction": ratio.max().item(),
        "epochs before acceptance": learning.settings.min_epochs,
        "updates": len(learning.curves) * (len(learning.learning_set[0]) // learning.batch_size),
        "held-out accuracy": learning.log[0][LOG.index("accuracy")],
        "clean test accuracy": clean_accuracy(split, activations, labels),
        "average test accuracy": average,
        "spread of test accuracy": spread,
        "bits at most, held-out": learning.log[0][-1],
        "bits at most, test": fresh.bits(signal),
        "bits at most, any inputs": fresh.bits_for_any_inputs(),
    }


# Elements of the Jacobians that directions are taken from, at most.
_JACOBIAN_ELEMENTS = 10**8


def active_directions(split: SplitNetwork, activations: Tensor, n: int, rng: np.random.Generator) -> Tensor:
    """Where the cloud's answers change most: the `n` leading right singular vectors of its Jacobians at `activations`.

        J^T J = sum over activations and classes of grad grad^T,   grad = d log p(class) / d a

    (active subspaces; Constantine, Dow, Wang 2014). Outside the rows of the cloud's first linear map the answer never changes.

    Parameters
    ----------
    split : SplitNetwork
    activations : Tensor, (m, *activation shape)
        Of many elements fewer rows are used, so that the Jacobians take 400 MB at most.
    n : int
    rng : np.random.Generator
        Of the randomised decomposition (Halko, Martinsson, Tropp 2011).

    Returns
    -------
    Tensor, float32, (D, r)
        Orthonormal; r = min(n, rank of the Jacobians).
    """
    gradients = []
    with torch.no_grad():
        classes = split.cloud(activations[:1]).shape[1]
    for some in activations[: max(1, _JACOBIAN_ELEMENTS // (classes * activations[0].numel()))].split(500):
        some = some.clone().requires_grad_()
        answers = split.cloud(some)
        gradients += [torch.autograd.grad(column.sum(), some, retain_graph=True)[0].flatten(1) for column in answers.T]
    jacobian = torch.cat(gradients)
    with torch.random.fork_rng():  # the decomposition draws from torch's global generator
        torch.manual_seed(int(rng.integers(2**63)))
        _, values, vectors = torch.svd_lowrank(jacobian, min(n + 10, *jacobian.shape), niter=4)
    return vectors[:, : min(n, int((values > 1e-5 * values[0]).sum()))].contiguous()
