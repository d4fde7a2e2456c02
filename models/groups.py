"""Groups of a network's classes as what it answers: the same network serves a coarser label."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Groups(nn.Module):
    """Log-probabilities of classes, (n, classes) -> of groups of them, (n, groups): probabilities add up.

    Parameters
    ----------
    groups : sequence of sequences of int
        The classes of each group.
    """

    def __init__(self, groups: Sequence[Sequence[int]]):
        super().__init__()
        self.groups = [list(group) for group in groups]

    def forward(self, log_probabilities: Tensor) -> Tensor:
        """Sums probabilities."""
        return torch.stack([log_probabilities[:, group].logsumexp(1) for group in self.groups], 1)
