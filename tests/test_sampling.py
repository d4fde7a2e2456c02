import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from torch import nn

from models.lenet import CUTTING_POINTS
from shredder.noise import Collection, initial_noise
from shredder.sampling import draw_noise, redraw_in_order

SHAPE = (16, 5, 5)
# Seeds are fixed and bounds lie four standard deviations of the estimate away: one stream in 16,000 would exceed one.
SIGMAS = 4


@pytest.fixture
def collection():
    """Twenty pairs; within each w no two elements are equal, as they might be among Normal values in float32."""
    rng = np.random.default_rng(0)
    w = rng.permuted(np.tile(np.linspace(-1, 2, 400), (20, 1)), axis=1).reshape(20, *SHAPE)
    n = rng.normal(size=(20, *SHAPE))
    return Collection(torch.from_numpy(w).float(), torch.from_numpy(n).float())


def drawn_members(additive, collection):
    """Which member each draw is: no two of them are alike in their first element."""
    return (additive[:, 0, 0, 0, None] == collection.additive[:, 0, 0, 0]).int().argmax(1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(2,), (7,), (3, 4, 4), (120, 1, 1)]), st.floats(0.1, 100), st.floats(-10, 10))
def test_order_is_kept(seed, shape, std, mean):
    rng = np.random.default_rng(seed)
    tensors = torch.from_numpy(mean + std * rng.normal(size=(5, *shape))).float()
    found = redraw_in_order(tensors, "normal", rng)
    assert found.shape == tensors.shape and found.dtype == torch.float32
    # Walking each tensor from its smallest element up, the new values never fall (two may round to one float32).
    order = tensors.flatten(1).argsort(dim=1, stable=True)
    assert (found.flatten(1).gather(1, order).diff(dim=1) >= 0).all()


def test_argsort_is_kept(collection):
    found = redraw_in_order(collection.multiplicative, "normal", np.random.default_rng(1)).flatten(1)
    assert all(len(tensor.unique()) == 400 for tensor in found)  # or argsort would be ambiguous
    assert torch.equal(found.argsort(1), collection.multiplicative.flatten(1).argsort(1))


def test_redraw_by_hand():
    """Of 3, -1, 1: mean 1, std sqrt(8/3) by maximum likelihood; the places are largest, smallest, middle."""
    low, middle, high = 1 + np.sqrt(8 / 3) * np.sort(np.random.default_rng(5).normal(size=3))
    found = redraw_in_order(torch.tensor([[3.0, -1.0, 1.0]]), "normal", np.random.default_rng(5))
    assert_allclose(found, [[high, low, middle]], rtol=1e-6)


def test_redraw_of_a_constant():
    """A Normal of no width has one value."""
    assert torch.equal(redraw_in_order(torch.full((2, 9), 0.3), "normal", np.random.default_rng(0)), torch.full((2, 9), 0.3))


def test_moments_of_redraws():
    w = 0.7 + 0.2 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    mean, std, n = w.mean().item(), w.std(correction=0).item(), 2000 * w.numel()
    found = redraw_in_order(w.expand(2000, *SHAPE), "normal", np.random.default_rng(0)).double()
    # n independent Normal values: their mean errs by std / sqrt(n), their standard deviation by std / sqrt(2 n).
    assert found.mean().item() == pytest.approx(mean, abs=SIGMAS * std / n**0.5)
    assert found.std().item() == pytest.approx(std, abs=SIGMAS * std / (2 * n) ** 0.5)
    assert stats.kstest((found[0].flatten().numpy() - mean) / std, "norm").pvalue > 1e-4


def test_verbatim_returns_stored_pairs(collection):
    w, n = draw_noise(collection, 500, "verbatim", np.random.default_rng(0))
    members = drawn_members(n, collection)
    assert torch.equal(n, collection.additive[members]) and torch.equal(w, collection.multiplicative[members])


def test_order_preserving_keeps_the_pair(collection):
    w, n = draw_noise(collection, 500, "order-preserving", np.random.default_rng(0))
    members = drawn_members(n, collection)
    stored = collection.multiplicative[members]
    assert torch.equal(n, collection.additive[members])
    order = stored.flatten(1).argsort(1)
    assert (w.flatten(1).gather(1, order).diff(dim=1) >= 0).all() and not (w == stored).any(dim=0).all()
    # No two queries of one member share their multiplicative tensor.
    assert len({tensor.numpy().tobytes() for tensor in w}) == 500


@pytest.mark.parametrize("how", ["verbatim", "order-preserving"])
def test_members_are_drawn_uniformly(collection, how):
    """Pearson's statistic of 5,000 draws among 20 members, below the quantile that one stream in 10,000 exceeds."""
    _, n = draw_noise(collection, 5000, how, np.random.default_rng(0))
    counts = drawn_members(n, collection).bincount(minlength=20).numpy()
    assert counts.sum() == 5000 and np.square(counts - 250).sum() / 250 < stats.chi2.ppf(1 - 1e-4, df=19)


@pytest.mark.parametrize("how", ["verbatim", "order-preserving"])
def test_same_seed_same_bits(collection, how):
    first, again, other = (draw_noise(collection, 50, how, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(map(torch.equal, first, again)) and not any(map(torch.equal, first, other))


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
    first, again = (initial_noise(2, SHAPE, 1.0, np.random.default_rng(3)) for _ in range(2))
    assert all(map(torch.equal, first, again))
