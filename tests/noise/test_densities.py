"""Densities of pairs: they integrate to one, are those of draws, and rule out whom they should."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shredder.noise import densities
from shredder.noise.moments import LaplaceNoise


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def evaluated(add, points: torch.Tensor) -> torch.Tensor:
    return add(points, None).exp()


def grid(low: float, high: float, n: int) -> tuple[torch.Tensor, float]:
    """Points of a square, (n^2, 2), and the area of each."""
    line = torch.linspace(low, high, n, dtype=torch.float64)
    return torch.cartesian_prod(line, line), ((high - low) / (n - 1)) ** 2


@pytest.mark.parametrize("d", [7, densities._MANY_ELEMENTS + 700])
def test_sums_of_absolute_differences(d):
    rng = np.random.default_rng(d)
    a, b = (torch.from_numpy(rng.standard_normal((n, d))) for n in (37, 150))
    torch.testing.assert_close(densities.manhattan(a, b), torch.cdist(a, b, p=1), rtol=2e-6, atol=1e-9)
    torch.testing.assert_close(densities.half_squares(a, b), torch.cdist(a, b).square() / 2, rtol=1e-9, atol=1e-9)


def test_laplace_values_in_an_order_by_hand():
    # Three values of scale 2 around 1, the smallest at element 2, then 0, then 1.
    add = densities.laplace_in_order(torch.zeros(1, 3), tensor(1)[0], tensor(2)[0], torch.tensor([2, 0, 1]))
    found = add(torch.stack([tensor(1, 4, -3), tensor(1, -3, 4)]), None)
    assert found[0, 0].item() == pytest.approx(math.log(6) + stats.laplace(1, 2).logpdf([1, 4, -3]).sum())
    assert found[1, 0] == -math.inf


def test_laplace_values_in_an_order_have_a_density():
    points, area = grid(-30, 30, 1201)
    add = LaplaceNoise(*tensor(0.5, 1.5), torch.tensor([1, 0])).prepared(torch.tensor([[0.3, -0.2], [2.0, 1.0]]))
    torch.testing.assert_close(evaluated(add, points).sum(0) * area, torch.ones(2, dtype=torch.float64), rtol=0.03, atol=0)


def test_members_add_up():
    t, a = torch.tensor([[0.0]]), torch.tensor([[0.4]]).double()
    total = None
    for location in (0.0, 1.0):
        total = LaplaceNoise(*tensor(location, 1.0), torch.tensor([0])).prepared(t)(a, total)
    assert total.exp().item() == pytest.approx((math.exp(-0.4) + math.exp(-0.6)) / 2)


@pytest.mark.parametrize(("t", "zero"), [((1.5, -2.0), None), ((1.5, 0.0), 1), ((0.0, 0.7), 0)])
def test_redrawn_weights_have_a_density(t, zero):
    """Over the elements where t is not 0; the others are n."""
    w, n, signal = torch.tensor([0.2, -1.0]), torch.tensor([3.0, 5.0]), torch.tensor([t])
    add = densities.weights_in_order(signal, w, n)
    points, area = grid(-12, 20, 1601)
    if zero is not None:
        points = points[::1601] if zero == 1 else points[:1601]
        points[:, zero], area = n[zero].double(), math.sqrt(area)
    assert evaluated(add, points).sum().item() * area == pytest.approx(1, abs=0.02)


def test_redrawn_weights_by_hand():
    # Of four ascending values the second and third are known, one gap before them and one behind.
    w, t = torch.tensor([-3.0, -1.0, 1.0, 3.0]), torch.tensor([[0.0, 2.0, -4.0, 0.0]])
    std, z = w.std(correction=0).item(), np.array([-0.3, 0.5])
    sent = tensor(7, 7, 7, 7) + tensor(0, 2 * z[0] * std, -4 * z[1] * std, 0)
    found = densities.weights_in_order(t, w, torch.full((4,), 7.0))(sent[None], None)
    cdf, pdf = stats.norm.cdf(z), stats.norm.pdf(z)
    expected = 24 * pdf.prod() * cdf[0] * (1 - cdf[1]) / (2 * std) / (4 * std)
    assert found.exp().item() == pytest.approx(expected)


def test_who_is_zero_elsewhere_cannot_have_sent_it():
    signal = torch.tensor([[1.0, 0.0, 2.0], [1.0, 2.0, 0.0], [3.0, 0.0, 1.0]])
    w, n = torch.tensor([0.5, 0.1, 0.9]), torch.tensor([1.0, 2.0, 3.0])
    sent = (signal[0] * w + n).double()
    possible = densities.weights_in_order(signal, w, n)(sent[None], None)[0] > -math.inf
    assert possible.tolist()[:2] == [True, False]


def test_members_used_as_they_are_say_which_input_it_was():
    signal = torch.tensor([[1.0, 0.0], [2.0, 1.0], [1.0, 0.0]])
    w, n = torch.tensor([0.3, 7.0]), torch.tensor([0.1, -0.7])
    sent = signal.double() * w.double() + n.double()
    found = densities.verbatim(signal, w, n)(sent, None)
    assert (found == 0).tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    assert (densities.verbatim(signal, None, n)(sent, None) == -math.inf).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 9), st.integers(1, 70), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_pairs_that_are_equal_or_all_below(n, k, f, seed):
    rng = np.random.default_rng(seed)
    a, b = (torch.from_numpy(rng.integers(0, 3, (rows, f))) for rows in (n, k))
    for found, expected in (
        (densities._Equal(b).pairs(a), (a[:, None] == b).all(2)),
        (densities._all_below(b, a), (b <= a[:, None]).all(2)),
    ):
        assert sorted(torch.stack(found, 1).tolist()) == expected.nonzero().tolist()
