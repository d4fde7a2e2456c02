"""Noise tensors before they are learned."""

import numpy as np
import pytest
import torch
from torch import nn

from models.lenet import CUTTING_POINTS
from shredder.noise.tensors import initial_noise

# Seeds are fixed and bounds lie four standard deviations of the estimate away: one stream in 16,000 would exceed one.
SIGMAS = 4


@pytest.mark.parametrize("shape", CUTTING_POINTS.values())
def test_initial_noise(shape):
    """w as torch's own Xavier initialisation, n from Laplace: mean 0, mean |n| = b, variance 2 b^2."""
    b, members = 1.7, 1000
    w, n = initial_noise(members, shape, b, np.random.default_rng(0))
    assert w.shape == n.shape == (members, *shape) and w.dtype == n.dtype == torch.float32
    generator = torch.Generator().manual_seed(0)
    xavier = torch.stack([nn.init.xavier_normal_(torch.empty(shape), generator=generator) for _ in range(members)])
    w, n, count = w.double(), n.double(), n.numel()
    # Relative errors: 1 / sqrt(2 count) of a Normal's std, and two of them here; 1 / sqrt(count) of mean |n|, whose own
    # standard deviation is b; sqrt(5 / count) of mean n^2, since E n^4 = 24 b^4.
    assert w.std().item() == pytest.approx(xavier.double().std().item(), rel=SIGMAS / count**0.5)
    assert w.mean().item() == pytest.approx(0, abs=SIGMAS * w.std().item() / count**0.5)
    assert n.abs().mean().item() == pytest.approx(b, rel=SIGMAS / count**0.5)
    assert n.square().mean().item() == pytest.approx(2 * b**2, rel=SIGMAS * (5 / count) ** 0.5)
    assert n.mean().item() == pytest.approx(0, abs=SIGMAS * b * (2 / count) ** 0.5)


def test_initial_noise_at_the_last_cutting_point():
    w, _ = initial_noise(1000, (120, 1, 1), 1.0, np.random.default_rng(0))
    assert w.double().std().item() == pytest.approx((2 / 121) ** 0.5, rel=SIGMAS / (2 * w.numel()) ** 0.5)


def test_initial_noise_same_seed_same_bits():
    first, again = (initial_noise(2, (16, 5, 5), 1.0, np.random.default_rng(3)) for _ in range(2))
    assert all(map(torch.equal, first, again))
