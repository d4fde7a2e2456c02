"""What is watched: accuracy and the signal-to-noise ratio, for many noise tensors at once."""

import torch
from torch import Tensor

from shredder.split import SplitNetwork

# Answers computed at once, rows times members: enough to keep the cores busy, few enough to stay in their cache.
_ANSWERS_AT_ONCE = 25_000


def accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """Share of rows whose highest score is the label's.

    Parameters
    ----------
    scores : Tensor, (n, ..., classes)
        Log-probabilities, for instance of R members: (n, R, classes).
    labels : Tensor, int64, (n,)

    Returns
    -------
    Tensor, float64, (...)
        In [0, 1].
    """
    predicted = scores.argmax(-1)
    return (predicted == labels.view(-1, *[1] * (predicted.dim() - 1))).double().mean(0)


def noisy_accuracy(
    split: SplitNetwork, activations: Tensor, labels: Tensor, multiplicative: Tensor, additive: Tensor
) -> Tensor:
    """Accuracy of the cloud on all of `activations` under each of R noise tensors.

    Parameters
    ----------
    activations : Tensor, (n, *activation shape)
    labels : Tensor, int64, (n,)
    multiplicative, additive : Tensor, (R, *activation shape)

    Returns
    -------
    Tensor, float64, (R,)
        In [0, 1].
    """
    rows = max(1, _ANSWERS_AT_ONCE // len(multiplicative))
    correct = torch.zeros(len(multiplicative), dtype=torch.float64)
    with torch.no_grad():
        for some, their_labels in zip(activations.split(rows), labels.split(rows), strict=True):
            answers = split.noisy_cloud(some, multiplicative, additive)
            correct += accuracy(answers, their_labels) * len(some)
    return correct / len(labels)


class ActivationMoments:
    """First and second moments of each element of a set of activations: all that the SNR needs of them."""

    def __init__(self, activations: Tensor):
        flat = activations.flatten(1).double()
        self.first = flat.mean(0)
        self.second = flat.square().mean(0)

    def snr(self, multiplicative: Tensor, additive: Tensor) -> Tensor:
        """Signal-to-noise ratio of R noise tensors over these activations.

            SNR = E[a^2] / Var(a - a'),   a' = w * a + n

        Mean and variance run over all elements of all activations, so the spread of n over its elements counts. Written
        out with the moments of a, since a - a' = (1 - w) * a - n.

        Parameters
        ----------
        multiplicative, additive : Tensor, (R, *activation shape)
            w and n.

        Returns
        -------
        Tensor, float64, (R,)
            Linear, not in dB. In vivo privacy is its inverse.
        """
        v, n = 1 - multiplicative.flatten(1).double(), additive.flatten(1).double()
        mean = (v * self.first - n).mean(1)
        mean_square = (v.square() * self.second - 2 * v * n * self.first + n.square()).mean(1)
        return self.second.mean() / (mean_square - mean.square())


def mean_and_spread(values: Tensor) -> tuple[float, float | None]:
    """Mean and (n - 1) standard deviation of `values`; None where a single value has no spread."""
    return values.double().mean().item(), values.double().std().item() if len(values) > 1 else None
