"""How well the private label is read, and what that is compared with; how close guessed images come."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shredder.attack.setting import Side
from shredder.io.cli import InputError

# How often test rows are drawn again for an interval.
RESAMPLES = 1000


@dataclass(frozen=True)
class Reading:
    """How well the private label was read from test rows.

    Attributes
    ----------
    labels, correct : Tensor, int64, (n,)
        Of the rows that were read; 1 where they were read correctly.
    nats : Tensor, float32, (n,)
        Cross-entropy of each of these rows.
    held_out_nats : float
        The mean cross-entropy by which the reader was chosen.
    kind, reader : str
        Kind of features, and what read them.
    """

    labels: Tensor
    correct: Tensor
    nats: Tensor
    held_out_nats: float
    kind: str
    reader: str

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return self.correct.double().mean().item()

    def interval(self, among: int = 1) -> tuple[float, float]:
        """Wilson's interval of the accuracy, over test rows: of 95 %, or for all of so many readings at once (Bonferroni)."""
        return _wilson(int(self.correct.sum()), len(self.correct), among)

    def bits_at_least(self) -> tuple[float, float]:
        """Lower bound on the mutual information of private label and a', and its standard error over test rows, in bits.

        The label's entropy minus the cross-entropy.
        """
        shares = self.labels.bincount().double() / len(self.labels)
        told = (torch.special.entr(shares).sum() - self.nats.double()) / math.log(2)
        return told.mean().item(), told.std().item() / math.sqrt(len(told))

    def bits_interval(self, rng: np.random.Generator) -> tuple[float, float]:
        """A 95 % interval of that bound: of test rows drawn again, whose labels have an entropy of their own (`resampled`)."""
        labels = torch.nn.functional.one_hot(self.labels).double()
        means = resampled(torch.cat([self.nats.double()[:, None], labels], 1), rng)
        return ends((torch.special.entr(means[:, 1:]).sum(1) - means[:, 0]) / math.log(2))


def floor(learning: Side, test: Side) -> float:
    """Accuracy of the best guess given the true public label alone: the most common private label with it."""
    guess = {public.item(): learning.private[learning.public == public].mode().values for public in learning.public.unique()}
    guesses = torch.stack([guess[public] for public in test.public.tolist()])
    return (guesses == test.private).double().mean().item()


def guessing(learning: Side, test: Side) -> float:
    """Accuracy of the best guess given nothing: the most common private label."""
    return (test.private == learning.private.mode().values).double().mean().item()


def resampled(values: Tensor, rng: np.random.Generator) -> Tensor:
    """Means of rows drawn again with replacement, as many as there are (Efron 1979, "Bootstrap methods").

    Parameters
    ----------
    values : Tensor, float64, (n, F)

    Returns
    -------
    Tensor, float64, (`RESAMPLES`, F)
    """
    n = len(values)
    counts = (np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(RESAMPLES))
    return torch.stack([torch.from_numpy(count).to(values) @ values for count in counts]) / n


def ends(means: Tensor) -> tuple[float, float]:
    """Of the interval in which 95 % of resampled means lie."""
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975]).to(means)).tolist()
    return low, high


def worst_of(rows: Collection[dict[str, Any]]) -> tuple[float, float]:
    """A 95 % interval of the largest accuracy among attacks' rows: each has its Wilson interval, for all of them at once."""
    lows, highs = zip(*(_wilson(*row["correct, of"], among=len(rows)) for row in rows), strict=True)
    return max(lows), max(highs)


def _wilson(correct: int, of: int, among: int) -> tuple[float, float]:
    """Wilson's interval of a share: of 95 % for so many shares at once (Bonferroni)."""
    from scipy import stats  # takes most of a second to import, so only where it is asked for

    found = stats.binomtest(correct, of).proportion_ci(1 - 0.05 / among, method="wilson")
    return found.low, found.high


def quality(images: Tensor, guesses: Tensor, side: int) -> dict[str, float]:
    """How close guesses come to images: pixels in [0, 1], (n, side * side); means over images.

    SSIM is that of Wang, Bovik, Sheikh, Simoncelli 2004 with a uniform window of seven pixels, or of as many as an odd side may
    have in a smaller image; `low` and `high` its Normal 95 % interval. Raises InputError of images below 3 x 3.
    """
    if side < 3:
        raise InputError(f"--attacks reconstruction: found pictures of {side} x {side}, expected 3 x 3 or more, for SSIM")
    from skimage.metrics import structural_similarity  # takes a second to import, so only where it is asked for

    window = min(7, side - 1 + side % 2)
    errors = (images - guesses).double().square().mean(1)
    pairs = zip(images.view(-1, side, side).cpu().numpy(), guesses.reshape(-1, side, side).cpu().numpy(), strict=True)
    similarity = np.array([structural_similarity(image, guess, win_size=window, data_range=1.0) for image, guess in pairs])
    margin = 1.96 * similarity.std(ddof=1) / len(similarity) ** 0.5
    return {
        "mean squared error": errors.mean().item(),
        "PSNR (dB)": (-10 * errors.log10()).mean().item(),
        "SSIM": float(similarity.mean()),
        "low": float(similarity.mean() - margin),
        "high": float(similarity.mean() + margin),
    }
