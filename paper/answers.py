"""What a device can do that computes the whole network: send its answer, flipped by chance, or its score under Laplace noise.

Nothing is sampled here: accuracies, information and the best guess of the private label follow from the rows by arithmetic.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import entropy

from shredder.inputs.images import held_out
from shredder.task import read_task

# Shares of the rows whose score is clipped less; the clip that tells fewest bits of held-out rows counts.
_QUANTILES = (0.002, 0.01, 0.03, 0.1, 0.3, 1.0)
# Cells that clipped scores are counted in, and points of the line that a noisy score is integrated over.
_CELLS, _POINTS = 400, 4001


class Answers(NamedTuple):
    """What the whole network answers to rows of one part of the data.

    Attributes
    ----------
    scores : ndarray, float64, (n,)
        ln p(1) - ln p(0); the answer is 1 where it is above 0.
    public, private : ndarray, int64, (n,)
        Labels: 0 or 1, and classes.
    """

    scores: np.ndarray
    public: np.ndarray
    private: np.ndarray

    @property
    def answers(self) -> np.ndarray:
        """0 or 1, (n,)."""
        return (self.scores > 0).astype(np.int64)

    @property
    def accuracy(self) -> float:
        """Of the answers, in [0, 1]."""
        return float((self.answers == self.public).mean())


def network_answers(task: str, public_labels: str, dataset: str, data_root: Path) -> dict[str, Answers]:
    """Of the task's own network: to the adversary's own rows (`learning`), the held-out tenth, and the test rows."""
    system, found = read_task(task), {}
    labels, data = system.labels[public_labels], system.datasets[dataset]
    network, private = labels.network(labels.weights()).eval(), system.labels[labels.private].public
    for part, images in data.load(data_root, {"train": data.attack.get("images"), "test": None}).items():
        with torch.no_grad():
            scores = torch.cat([network(some).double().diff(dim=1)[:, 0] for _, some in images.batches()])
        found[part] = Answers(*(of.numpy() for of in (scores, labels.public(images.labels), private(images.labels))))
    n, train = held_out(len(found["train"].scores)), found.pop("train")
    return found | {
        "held-out": Answers(*[of[:n] for of in train]),
        "learning": Answers(*[of[n:] for of in train]),
    }


def binary_entropy(p: float) -> float:
    """h(p) = -p log2 p - (1 - p) log2(1 - p), in bits."""
    return float(entropy([p, 1 - p], base=2))


def randomised_response(rows: dict[str, Answers], target: float) -> dict[str, Any]:
    """The answer, flipped with the probability f at which held-out accuracy is the target (Warner 1965).

        accuracy = A (1 - f) + (1 - A) f   of A without flips;   I(x; y) = h(q (1 - f) + (1 - q) f) - h(f) <= 1 - h(f)

    where q is the share of answers 1. A thousand queries of one input tell its answer. Raises ValueError where A is less.
    """
    if (a := rows["held-out"].accuracy) <= target:
        raise ValueError(f"held-out accuracy {a:.4f} does not exceed {target}")
    f = (a - target) / (2 * a - 1)
    test, own = rows["test"], rows["learning"]
    q, clean = float(test.answers.mean()), test.accuracy
    # Own rows of each private label (row) and answer (column).
    counts = np.zeros((own.private.max() + 1, 2))
    np.add.at(counts, (own.private, own.answers), 1)
    once, often = (counts @ [[1 - p, p], [p, 1 - p]] for p in (f, 0.0))
    return {
        "flip probability": f,
        "epsilon (nats)": math.log((1 - f) / f),
        "public accuracy (%)": 100 * (clean * (1 - f) + (1 - clean) * f),
        "bits at most": 1 - binary_entropy(f),
        "bits at most, 1000 queries": 1.0,
        "bits, test": binary_entropy(q * (1 - f) + (1 - q) * f) - binary_entropy(f),
        "best guess": 100 * _guessed(once.argmax(0), test, f),
        "best guess, 1000 queries": 100 * _guessed(often.argmax(0), test, 0.0),
    }


def _guessed(guess: np.ndarray, rows: Answers, f: float) -> float:
    """How often the guess that goes with an answer, flipped with probability f, is the private label."""
    right = (guess[rows.answers] == rows.private) * (1 - f) + (guess[1 - rows.answers] == rows.private) * f
    return float(right.mean())


def noisy_score(rows: dict[str, Answers], target: float) -> dict[str, Any]:
    """y = z + n, z the score clipped to [-c, c], n Laplace noise of the scale b at which held-out accuracy is the target.

        P(y > 0 | z) = 1 - exp(-z / b) / 2 for z > 0, and exp(z / b) / 2 below;   I(x; y) = h(y) - ln(2 e b)
        I(x; y) <= log2(1 + c / b) for any inputs, since E|y| <= c + b, and of that mean Laplace values have the largest entropy

    Of several c the one counts that tells fewest bits of held-out rows. Raises ValueError where no b is quiet enough.
    """
    judged, found = rows["held-out"], []
    if judged.accuracy <= target:
        raise ValueError(f"held-out accuracy {judged.accuracy:.4f} does not exceed {target}")
    for c in np.quantile(np.abs(judged.scores), _QUANTILES):
        missing = _missing(judged, c, target)
        if missing(math.log(1e-4 * c)) > 0 > missing(math.log(100 * c)):
            b = math.exp(brentq(missing, math.log(1e-4 * c), math.log(100 * c)))
            found.append((_information(judged, c, b)[0], c, b))
    _, c, b = min(found)
    test = rows["test"]
    bits, points, p = _information(test, c, b)
    own, theirs = (_by_label(of, c, rows["learning"].private.max() + 1) @ p for of in (rows["learning"], test))  # (K, points)
    right = np.take_along_axis(theirs, own.argmax(0)[None], 0)[0]
    often = _by_label(rows["learning"], c, len(own)).argmax(0)[_cells(test, c)] == test.private
    return {
        "clip": c,
        "scale": b,
        "epsilon (nats)": 2 * c / b,
        "public accuracy (%)": 100 * (target + _missing(test, c, target)(math.log(b))),
        "bits at most": math.log2(1 + c / b),
        "bits, test": bits,
        "best guess": 100 * float(np.trapezoid(right, points)),
        "best guess, score without noise": 100 * float(often.mean()),
    }


def _missing(rows: Answers, c: float, target: float) -> Callable[[float], float]:
    """Accuracy minus the target, as a function of ln b."""

    def missing(log_b: float) -> float:
        z = np.clip(rows.scores, -c, c)
        wrong = np.exp(-np.abs(z) / math.exp(log_b)) / 2
        return float(np.where(rows.answers == rows.public, 1 - wrong, wrong).mean()) - target

    return missing


def _cells(rows: Answers, c: float) -> np.ndarray:
    """The cell of each clipped score, int64 (n,)."""
    return np.rint((np.clip(rows.scores, -c, c) / c + 1) / 2 * (_CELLS - 1)).astype(np.int64)


def _by_label(rows: Answers, c: float, n_labels: int) -> np.ndarray:
    """Shares of the rows by private label and cell, (K, cells)."""
    counts = np.zeros((n_labels, _CELLS))
    np.add.at(counts, (rows.private, _cells(rows, c)), 1 / len(rows.private))
    return counts


def _information(rows: Answers, c: float, b: float) -> tuple[float, np.ndarray, np.ndarray]:
    """I(x; y) in bits, by the trapezoid rule; the points y, and p(y | cell), (cells, points)."""
    points = np.linspace(-c - 25 * b, c + 25 * b, _POINTS)
    z = np.linspace(-c, c, _CELLS)[:, None]
    p = np.exp(-np.abs(points - z) / b) / (2 * b)
    mixed = _by_label(rows, c, rows.private.max() + 1).sum(0) @ p
    surprise = -mixed * np.log(np.where(mixed > 0, mixed, 1.0))
    return (float(np.trapezoid(surprise, points)) - math.log(2 * math.e * b)) / math.log(2), points, p
