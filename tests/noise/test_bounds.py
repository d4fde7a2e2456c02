"""Bounds in bits: coverage of their confidence, closed forms, and capacities by quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from shredder.io.cli import InputError
from shredder.noise import bounds
from shredder.noise.bounds import Sample


def normal(rng, n, d):
    return rng.standard_normal((n, d))


def saturated(rng, n, d):
    """Bounded and two-humped, as what is sent of a reading; of unit variance."""
    values = np.tanh(2 * rng.standard_normal((n, d)))
    return values / math.sqrt(integrate.quad(lambda x: np.tanh(2 * x) ** 2 * stats.norm.pdf(x), -9, 9)[0])


@pytest.mark.parametrize("distribution", [normal, saturated])
@pytest.mark.parametrize(("n", "d"), [(300, 3), (400, 30), (700, 64)])
def test_the_bound_is_above_the_populations_value_in_99_of_100_samples(distribution, n, d):
    rng = np.random.default_rng(d)
    factor = rng.standard_normal((d, d))
    exact = np.linalg.slogdet(np.eye(d) + factor @ factor.T)[1]
    samples = (Sample(torch.from_numpy(distribution(rng, n, d) @ factor.T)) for _ in range(200))
    found = [sample.log_det(torch.ones(d).double()) for sample in samples]
    # Two of 200 samples are expected below, and more than 8 hardly ever; of the estimates themselves about half.
    assert np.sum(np.array([of.at_most() for of in found]) < exact) <= 8
    assert 60 < np.sum(np.array([of.value for of in found]) < exact) < 140


def test_few_rows_count_variances_alone():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((40, 1)) + 0.1 * rng.standard_normal((40, 30))
    few = Sample(torch.from_numpy(common)).log_det(torch.full((30,), 1e-4, dtype=torch.float64))
    by_hand = np.log(common.var(0, ddof=1) + 1e-4).sum()
    assert few.value > by_hand > np.linalg.slogdet(np.cov(common.T) + 1e-4 * np.eye(30))[1] + 10
    with pytest.raises(InputError, match="found 9 activations, expected 10 or more"):
        Sample(torch.zeros(9, 2))


def test_a_mixture_of_gaussians_bounds_laplace_noise():
    # One Normal element of unit variance, Laplace(0, b): the mixture's mean is the integral over V, and above the truth.
    b, signal = 1.5, torch.from_numpy(np.random.default_rng(1).standard_normal((4000, 1)))
    x = np.linspace(-40, 40, 40_001)
    density = np.convolve(stats.norm.pdf(x), stats.laplace.pdf(x, scale=b), "same") * (x[1] - x[0])
    exact = (integrate.trapezoid(-density * np.log(density + 1e-300), x) - math.log(2 * math.e * b)) / math.log(2)
    mixture = integrate.quad(lambda v: math.log2(1 + 1 / (2 * b * b * v)) / 2 * math.exp(-v), 0, np.inf)[0]
    found = bounds.laplace_bits_at_most(signal, torch.tensor([b]).double(), np.random.default_rng(2))
    assert exact < mixture < found < mixture + 0.1
    # A hundred queries say more, and less than a hundred times as much.
    often = bounds.laplace_bits_at_most(signal, torch.tensor([b]).double(), np.random.default_rng(2), queries=100)
    assert 5 * found < often < 100 * found


def test_laplace_noise_without_a_signal_lets_nothing_through():
    found = bounds.laplace_bits_at_most(torch.zeros(50, 4), torch.ones(4).double(), np.random.default_rng(0))
    assert found == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("g", [0.1, 1.0, 3.0, 30.0])
def test_limited_amplitudes_carry_no_more_than_their_bound(g):
    limits, scales = torch.tensor([g]).double(), torch.ones(1).double()
    found = bounds.limited_bits(limits, scales).item()
    # Two levels, and a uniform input, are inputs of this amplitude.
    y = np.linspace(-g - 10, g + 10, 20_001)
    uniform = (stats.norm.cdf(y + g) - stats.norm.cdf(y - g)) / (2 * g)
    carried = integrate.trapezoid(-uniform * np.log2(uniform + 1e-300), y) - math.log2(2 * math.pi * math.e) / 2
    assert max(bounds.two_level_bits(limits, scales).item(), carried) < found
    assert bounds.limited_bits(limits, scales, 100).item() == pytest.approx(bounds.limited_bits(10 * limits, scales).item())
