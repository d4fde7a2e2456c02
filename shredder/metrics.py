"""What is watched: accuracy and the signal-to-noise ratio, for many noise tensors at once."""

import torch
from torch import Tensor

from shredder.split import SplitNetwork

# Elements behind the cloud's first linear map, computed at once: enough to keep the cores busy, few enough for their cache.
_ELEMENTS_AT_ONCE = 2_100_000
# Rows whose moments are taken at once, so that a memory map is never copied whole.
_ROWS_AT_ONCE = 1000


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
    split: SplitNetwork, activations: Tensor, labels: Tensor, multiplicative: Tensor | None, additive: Tensor
) -> Tensor:
    """Accuracy of the cloud on all of `activations` under each of R noise tensors.

    Parameters
    ----------
    activations : Tensor, (n, *activation shape)
    labels : Tensor, int64, (n,)
    multiplicative, additive : Tensor, (R, *activation shape)
        None for w = 1.

    Returns
    -------
    Tensor, float64, (R,)
        In [0, 1].
    """
    correct = torch.zeros(len(additive), dtype=torch.float64, device=additive.device)
    with torch.no_grad():
        rows = max(1, _ELEMENTS_AT_ONCE // (len(additive) * split.head(additive[:1]).numel()))
        for some, their_labels in zip(activations.split(rows), labels.split(rows), strict=True):
            answers = split.noisy_scores(some.to(additive.device), multiplicative, additive)
            correct += accuracy(answers, their_labels.to(additive.device)) * len(some)
    return correct / len(labels)


def clean_accuracy(split: SplitNetwork, activations: Tensor, labels: Tensor) -> float:
    """Accuracy of the cloud on all of `activations`, (n, *activation shape), without noise; in [0, 1]."""
    return noisy_accuracy(split, activations, labels, None, torch.zeros_like(activations[:1], device=split.device)).item()


class ActivationMoments:
    """First and second moments of each element of a set of activations: all that the SNR needs of them."""

    def __init__(self, activations: Tensor):
        self.first = self.second = torch.zeros(())
        for some in activations.split(_ROWS_AT_ONCE):
            flat = some.flatten(1).double()
            self.first = self.first + flat.sum(0) / len(activations)
            self.second = self.second + flat.square().sum(0) / len(activations)

    def snr(self, multiplicative: Tensor | None, additive: Tensor) -> Tensor:
        """Signal-to-noise ratio of R noise tensors over these activations.

            SNR = E[a^2] / Var(a - a'),   a' = w * a + n

        Mean and variance run over all elements of all activations, so the spread of n over its elements counts. Written
        out with the moments of a, since a - a' = (1 - w) * a - n.

        Parameters
        ----------
        multiplicative, additive : Tensor, (R, *activation shape)
            w and n; None for w = 1.

        Returns
        -------
        Tensor, float64, (R,)
            Linear, not in dB. In vivo privacy is its inverse.
        """
        n = additive.flatten(1).double()
        v = torch.zeros_like(n) if multiplicative is None else 1 - multiplicative.flatten(1).double()
        first, second = self.first.to(n.device), self.second.to(n.device)
        mean = (v * first - n).mean(1)
        mean_square = (v.square() * second - 2 * v * n * first + n.square()).mean(1)
        return second.mean() / (mean_square - mean.square())


def mean_and_spread(values: Tensor) -> tuple[float, float | None]:
    """Mean and (n - 1) standard deviation of `values`; None where a single value has no spread."""
    return values.double().mean().item(), values.double().std().item() if len(values) > 1 else None
