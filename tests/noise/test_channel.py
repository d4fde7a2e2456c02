"""What crosses the cut: order statistics, the member attack, whitening, bounds; against closed forms and hand-made cases."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from shredder.attack.features import Undo, Whiten
from shredder.noise.bounds import gaussian_bits
from shredder.noise.channel import Channel
from shredder.noise.fresh import Fresh
from shredder.noise.order_statistics import laplace_order_covariance, order_statistics
from shredder.noise.stored import Collection, Distributions

SHAPE = (4, 1, 1)


def linear_fresh(scales: list[float], shape: tuple[int, ...] = SHAPE) -> Fresh:
    """Fresh noise of these scales on the first elements, the activation untouched."""
    d, r = math.prod(shape), len(scales)
    some = torch.eye(d)[:, :r]
    return Fresh("linear", some, some, torch.zeros(shape), torch.zeros(r), torch.full((r,), math.inf), torch.tensor(scales))


@pytest.mark.parametrize(
    ("family", "mean", "variance"),
    [
        # The larger of two: 1 / sqrt(pi) for the Normal; of Laplace values 3/4 (the integral of F(1 - F)).
        ("normal", 1 / math.sqrt(math.pi), 1 - 1 / math.pi),
        ("laplace", 3 / 4, 2 - 9 / 16),
    ],
)
def test_order_statistics_of_two(family, mean, variance):
    means, variances = order_statistics(2, family)
    np.testing.assert_allclose(means, [-mean, mean], rtol=1e-5)
    np.testing.assert_allclose(variances, variance, rtol=1e-4)


def test_order_statistics_of_many_are_those_of_samples():
    sample = np.sort(np.random.default_rng(0).laplace(size=(40_000, 120)), axis=1)
    means, variances = order_statistics(120, "laplace")
    np.testing.assert_allclose(means, sample.mean(0), atol=0.03)
    np.testing.assert_allclose(variances, sample.var(0), rtol=0.06, atol=1e-3)


def test_order_covariance_of_two():
    # Each has the variance above; their sum, of two Laplace values, 4.
    np.testing.assert_allclose(laplace_order_covariance(2), [[23 / 16, 9 / 16], [9 / 16, 23 / 16]], rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 150))
def test_order_covariance_is_that_of_its_values(d):
    covariance = laplace_order_covariance(d)
    # Sorting changes no sum; the marginal variances are those by quadrature; every covariance of order statistics is positive.
    assert covariance.sum() == pytest.approx(2 * d, rel=1e-9)
    np.testing.assert_allclose(covariance.diagonal(), order_statistics(d, "laplace")[1], rtol=1e-5)
    assert (covariance > 0).all() and np.linalg.eigvalsh(covariance)[0] > 0


def test_two_distinct_tensors_are_told_apart_and_undone():
    rng = np.random.default_rng(0)
    tensors = torch.stack([torch.full(SHAPE, 10.0), torch.full(SHAPE, -10.0)])
    w = torch.stack([torch.full(SHAPE, 2.0), torch.full(SHAPE, 0.5)])
    channel = Channel(Collection(w, tensors), "verbatim")
    signal = torch.from_numpy(rng.standard_normal((500, *SHAPE))).float()
    sent = channel.sent(signal, rng)
    undo = Undo(channel.moments(), signal)
    members = undo.members(sent)
    assert torch.equal(members == 0, sent.flatten(1).mean(1) > 0)
    assert 200 < int(members.sum()) < 300
    torch.testing.assert_close(undo(sent), signal.flatten(1), atol=1e-3, rtol=0)


def test_members_are_guessed_by_elements_as_by_the_whole_covariance(monkeypatch):
    rng = np.random.default_rng(1)
    collection = Collection(None, torch.from_numpy(rng.laplace(0, 5, (6, 30, 1, 1))).float())
    channel = Channel(collection, "order-preserving")
    signal = torch.from_numpy(rng.standard_normal((400, 30, 1, 1))).float()
    sent = channel.sent(signal, rng)
    whole = Undo(channel.moments(), signal)
    monkeypatch.setattr("shredder.attack.features._COVARIANCE_ELEMENTS", 0)
    by_element = Undo(channel.moments(), signal)
    assert whole.whole and not by_element.whole
    assert (whole.members(sent) == by_element.members(sent)).double().mean() > 0.95
    # What is undone is closer to the signal than what is sent, by far.
    for undo in (whole, by_element):
        assert (undo(sent) - signal.flatten(1)).square().mean() < 0.1 * (sent - signal).square().mean()


@pytest.mark.parametrize("draw", ["order-preserving", "verbatim", "elementwise-laplace"])
def test_moments_are_those_of_draws(draw):
    rng = np.random.default_rng(2)
    channel = Channel(Collection(None, torch.from_numpy(rng.laplace(1, 3, (5, 8, 1, 1))).float()), draw)
    n = channel.sent(torch.zeros(100_000, 8, 1, 1), rng).flatten(1).double()
    c = channel.moments()
    mean = c.n_mean.mean(0)
    torch.testing.assert_close(n.mean(0), mean, atol=0.1, rtol=0)
    torch.testing.assert_close(n.var(0), c.n_variance.mean(0) + (c.n_mean - mean).square().mean(0), atol=0.1, rtol=0.05)


def test_whitening_states_the_rank_of_a_singular_covariance():
    rng = np.random.default_rng(3)
    signal = torch.from_numpy(rng.standard_normal((20_000, *SHAPE))).float()
    signal[:, 3] = 0  # neither signal nor noise: nothing is to be seen there
    channel = Channel(linear_fresh([0.01, 100.0]), "fresh")
    sent = signal + channel.sent(torch.zeros(len(signal), 2), rng)
    whiten = Whiten(signal, sent)
    assert whiten.rank == 2
    seen = whiten(sent)
    assert seen.shape == (20_000, 3)
    noise = whiten(sent) - whiten(signal)
    values = torch.linalg.eigvalsh(torch.cov(noise.T.double()))
    torch.testing.assert_close(values, torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64), atol=0.05, rtol=0)


def test_no_noise_at_all_is_of_rank_0():
    signal = torch.randn(100, *SHAPE, generator=torch.Generator().manual_seed(0))
    whiten = Whiten(signal, signal)
    assert whiten.rank == 0 and whiten(signal).shape == (100, 4)


def test_gaussian_bits_of_two_directions_by_hand():
    # det(I + S^-1 C S^-1) = (1 + 2)(1 + 3) - 1 = 11 with C = [[2, 2], [2, 12]], s = (1, 2).
    covariance = torch.tensor([[2.0, 2.0], [2.0, 12.0]], dtype=torch.float64)
    bits = gaussian_bits(covariance, torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert bits.item() == pytest.approx(math.log2(11) / 2, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 20), st.integers(1, 1000))
def test_the_bound_is_what_a_gaussian_input_gets(scale, queries):
    # I(t; mean of q draws) of a Normal t of unit variance is log2(1 + q / s^2) / 2, the channel's capacity.
    t = torch.randn(4000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = (t - t.mean()) / t.std()
    bits = linear_fresh([scale]).bits(t, "fresh", np.random.default_rng(0), queries)
    ratio = queries / torch.tensor(scale).item() ** 2
    g, fourth = ratio / (1 + ratio), t.pow(4).mean().item()
    # What is added since t is a sample of 4,000: its bias, and 2.326 standard errors.
    of_sample = g**2 * (fourth - 1) / (2 * 4000) + 2.326 * g * math.sqrt((fourth - 1) / 4000)
    assert bits == pytest.approx(math.log2(1 + ratio) / 2 + of_sample / (2 * math.log(2)), rel=1e-3)


def test_laplace_noise_lets_less_through_than_its_bound():
    # One element, Normal t of unit variance, noise Laplace(0, b): h(t + n) by quadrature.
    b = 1.5
    x = np.linspace(-40, 40, 40_001)
    density = np.convolve(stats.norm.pdf(x), stats.laplace.pdf(x, scale=b), "same") * (x[1] - x[0])
    entropy = integrate.trapezoid(-density * np.log(density + 1e-300), x)
    exact = (entropy - math.log(2 * math.e * b)) / math.log(2)
    signal = torch.randn(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    tensors = torch.tensor([-b, b]).view(2, 1, 1, 1)  # whose standard deviation is b
    bound = Channel(Collection(None, tensors), "elementwise-laplace").bits_at_most(signal, np.random.default_rng(0))
    assert exact < bound < exact + 0.15
    # A single value is in any order: a distribution of one element is the same channel.
    one = Distributions(torch.tensor([[0.0, b]]), torch.zeros(1, 1, dtype=torch.long), (1, 1, 1))
    assert Channel(one, "order-preserving").bits_at_most(signal, np.random.default_rng(0)) == pytest.approx(bound, abs=0.02)


@pytest.mark.parametrize("draw", ["order-preserving", "elementwise-laplace"])
def test_few_rows_give_a_larger_bound(draw):
    # Correlated elements: their variances alone say less than the covariance, which 20 rows could not estimate.
    rng = np.random.default_rng(5)
    common = torch.from_numpy(rng.standard_normal((4000, 1, 1, 1))).float()
    signal = common + 0.3 * torch.from_numpy(rng.standard_normal((4000, 6, 1, 1))).float()
    channel = Channel(Collection(None, torch.from_numpy(rng.laplace(0, 1, (5, 6, 1, 1))).float()), draw)
    assert (
        channel.bits_at_most(signal[:20], np.random.default_rng(0))
        > channel.bits_at_most(signal, np.random.default_rng(0)) + 0.2
    )


def test_no_bound_where_no_theorem_gives_one():
    tensors = torch.ones(3, *SHAPE)
    signal = torch.randn(50, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert Channel(Collection(tensors, tensors), "order-preserving").bits_at_most(signal, np.random.default_rng(0)) is None
    assert Channel(Collection(None, tensors), "verbatim").bits_at_most(signal, np.random.default_rng(0)) is None
