"""What noise tensors are learned by: the losses of the paper's versions, for R members at once."""

from typing import Literal

import torch
from torch import Tensor

Clustering = Literal["normalised", "raw"]


def cross_entropy(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each member.

    Parameters
    ----------
    log_probabilities : Tensor, (n, R, classes)
    labels : Tensor, int64, (n,)

    Returns
    -------
    Tensor, (R,)
        In nats.
    """
    index = labels.view(-1, 1, 1).expand(-1, log_probabilities.shape[1], 1)
    return -log_probabilities.gather(2, index).mean((0, 2))


def clustering(multiplicative: Tensor, activations: Tensor, others: Tensor, same_label: Tensor, form: Clustering) -> Tensor:
    """The self-supervised term of v2: noisy activations of one public label close, of different labels apart.

        pos = sum of |a'_i - a'_j|_1 over pairs of the same public label, neg = over pairs of different ones
        normalised: (pos - neg) / (pos + neg)          raw: pos - neg

    The additive tensor cancels in a'_i - a'_j = w * (a_i - a_j), so |a'_i - a'_j|_1 = |w| . |a_i - a_j|, and the sum over
    pairs is taken once for all members.

    Parameters
    ----------
    multiplicative : Tensor, (R, *activation shape)
    activations, others : Tensor, (n, *activation shape)
        Row i of one is paired with row i of the other.
    same_label : Tensor, bool, (n,)
        Whether the pair has one public label.
    form : "normalised" or "raw"

    Returns
    -------
    Tensor, (R,)
        Without its weight.
    """
    distances = (activations - others).abs().flatten(1)  # (n, D)
    w = multiplicative.abs().flatten(1)
    pos, neg = (w @ _sum_of(distances, rows) for rows in (same_label, ~same_label))
    if form == "raw":
        return pos - neg
    # Where every activation meets itself no distance is left, and 0 / 0 stands for 0.
    return (pos - neg) / (pos + neg).clamp(min=torch.finfo(w.dtype).tiny)


def _sum_of(distances: Tensor, rows: Tensor) -> Tensor:
    """Sum over some rows of `distances`, (n, D), those where `rows`, bool (n,), is true."""
    if distances.device.type == "cpu":
        return distances[rows].sum(0)
    return rows.to(distances.dtype) @ distances  # to pick rows, one would wait until it is known how many
