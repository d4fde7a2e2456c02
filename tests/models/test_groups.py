"""Groups of classes: probabilities add up."""

import torch

from models.groups import Groups


def test_by_hand():
    probabilities = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    found = Groups(((0, 3), (1,), [2]))(probabilities.log()).exp()
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.2, 0.3]]))
