"""What is sent lies on a grid: powers of two, the same y the same bits, and nothing of the input in the rounding."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shredder.attack.features import rounding_of
from shredder.attack.gallery import by_distance, compared, hits, identified
from shredder.attack.keeper import Keeper
from shredder.attack.networks import Budget
from shredder.attack.setting import Setting, Side
from shredder.noise.channel import Channel
from shredder.noise.fresh import Fresh
from shredder.noise.rounding import bits_left, grid_of, lowest_set_bit, standard_normal, to_grid
from shredder.noise.stored import Collection, Distributions

OLD = Path(__file__).parents[1] / "data" / "sums-in-float32.npz"
FORMS = ("linear", "saturated", "quantised")


def fresh_of(form: str, r: int = 6, d: int = 40, seed: int = 0) -> Fresh:
    """Random readings and directions, noise of many scales."""
    rng = np.random.default_rng(seed)
    q = torch.linalg.qr(torch.from_numpy(rng.standard_normal((d, r)))).Q.float()
    readings, mu = (torch.from_numpy(rng.standard_normal(shape)).float() for shape in ((d, r), (d, 1, 1)))
    scales = torch.from_numpy(rng.uniform(0.3, 3, r)).float()
    limits = torch.full((r,), math.inf) if form == "linear" else 2 * scales
    return Fresh(form, readings, q, mu, torch.zeros(r), limits, scales)


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-30, 1e30))
def test_the_grid_is_a_power_of_two_that_the_noise_decides(scale):
    (grid,) = grid_of(torch.tensor([scale], dtype=torch.float64)).tolist()
    assert scale / 512 < grid <= scale / 256 and math.frexp(grid)[0] == 0.5


def test_values_go_to_the_nearest_multiple_and_stay_where_there_is_no_noise():
    values, grid = torch.tensor([0.3, -0.3, 0.375, 7.123456789]), torch.tensor([0.25, 0.25, 0.25, 0.0])
    torch.testing.assert_close(to_grid(values, grid), torch.tensor([0.25, -0.25, 0.5, values[3].item()], dtype=torch.float64))


def test_lowest_set_bits_by_hand():
    values = torch.tensor([0.75, 0.0, 3.0, 1.0, -6.0, 1 + 2.0**-23])
    assert lowest_set_bit(values).tolist() == [-2, 0, 0, 0, 1, -23]


def test_normal_values_are_normal_in_both_tails():
    e = standard_normal((400_000,), np.random.default_rng(0)).numpy()
    assert stats.kstest(e, "norm").pvalue > 0.01
    for x in (3.0, 4.0):
        for tail in ((e > x).sum(), (e < -x).sum()):
            assert stats.binomtest(int(tail), len(e), stats.norm.sf(x)).pvalue > 0.001


def test_what_a_finite_grid_leaves_is_as_derived():
    # The module's argument at 2^-12 in place of 2^-53, where everything can be counted: noise of unit scale, y in steps of 1/8.
    v = (np.arange(-(2**11), 2**11) + 0.5) * 2.0**-12
    e = -np.sign(v) * stats.norm.ppf(np.abs(v))
    for t in (0.0, 0.3, 1.7):
        y, counts = np.unique(np.round((t + e) * 8), return_counts=True)
        cells = np.arange(y.min(), y.max() + 1)
        exact = stats.norm.cdf((cells + 0.5) / 8 - t) - stats.norm.cdf((cells - 0.5) / 8 - t)
        found = np.zeros(len(cells))
        found[(y - y.min()).astype(int)] = counts / len(v)
        assert np.abs(found - exact).max() <= 2.0**-12
        assert np.abs(found - exact).sum() / 2 <= len(cells) * 2.0**-12
    assert bits_left(1, 1) < 3.2e-9 and bits_left(64, 1000) < 2e-4
    assert bits_left(1, 1, laplace=True) < 6.3e-9 and bits_left(120, 1, laplace=True, ordered=True) < 4e-5


@pytest.mark.parametrize("form", FORMS)
def test_the_same_y_gives_the_same_bits(form):
    fresh, rng = fresh_of(form), np.random.default_rng(1)
    signal = fresh.signal(torch.from_numpy(rng.standard_normal((500, 40, 1, 1))).float())
    y = fresh.released(signal, fresh.draw(500, "fresh", rng).additive)
    assert torch.equal((y / fresh.grid).round(), y / fresh.grid)
    # Other inputs under other noise: y is all that reaches what is sent, in any batch and at any place of it.
    others = fresh.released(signal.roll(1, 0), y - signal.roll(1, 0).double())
    assert torch.equal(others, y)
    sent = fresh.embedded(others)
    order = torch.from_numpy(rng.permutation(500))
    assert torch.equal(fresh.embedded(y[order]), sent[order])
    assert torch.equal(torch.cat([fresh.embedded(some) for some in y.split(7)]), sent)
    assert torch.equal(fresh.embedded(y[3:4])[0], sent[3])
    # And y can be had from it.
    assert torch.equal(to_grid(fresh.received(sent), fresh.grid), y)


BOUNDED = {
    "elementwise-laplace": Collection(None, torch.from_numpy(np.random.default_rng(3).laplace(0, 2, (9, 12, 1, 1))).float()),
    "order-preserving": Distributions(
        torch.tensor([[0.5, 2.0], [-1.0, 30.0]]), torch.stack([torch.arange(12), torch.arange(12).flip(0)]), (12, 1, 1)
    ),
}


@pytest.mark.parametrize("draw", BOUNDED)
def test_additive_noise_with_a_bound_is_sent_on_its_grid(draw):
    channel, rng = Channel(BOUNDED[draw], draw), np.random.default_rng(4)
    signal = torch.from_numpy(rng.standard_normal((300, 12, 1, 1))).float()
    draws = channel.draws(300, rng)
    sent = channel.applied(signal, draws).double()
    assert torch.equal((sent / draws.grid).round(), sent / draws.grid)
    assert ((sent - signal.double() - draws.additive).abs() <= draws.grid / 2).all()
    assert channel.bounded and not Channel(Collection(None, torch.zeros(2, 12, 1, 1)), "verbatim").bounded


def test_sums_in_float32_told_the_input():
    """1,000 activations as they were sent before (commit ed630f4): saturated noise, 64 directions, a bound of 1.36 bits."""
    old = {name: torch.from_numpy(array) for name, array in np.load(OLD).items()}
    q, r = old["directions"], old["directions"].shape[1]
    fresh = Fresh("saturated", q, q, old["additive"], torch.zeros(r), torch.ones(r), torch.ones(r))
    sent, own = (old[name].view(-1, *fresh.shape) for name in ("sent", "own"))
    rounding = by_distance(fresh.outside(sent), fresh.outside(fresh.additive.double() + own.double()))
    assert hits(torch.zeros_like(rounding), rounding, 1.0).mean() == 1


def in_float32(fresh: Fresh, signal: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """The old sum, of two products that are rounded apart."""
    e = torch.from_numpy(rng.standard_normal(signal.shape, dtype=np.float32))
    noise = fresh.additive.flatten() + (fresh.scales * e) @ fresh.directions.T
    return (signal @ fresh.directions.T + noise).view(len(signal), *fresh.shape)


@pytest.mark.parametrize("form", FORMS)
def test_a_gallery_is_told_apart_by_rounding_no_more(form):
    fresh, rng = fresh_of(form, d=120), np.random.default_rng(5)
    channel = Channel(fresh, "fresh")
    signal = channel.signal(torch.from_numpy(rng.standard_normal((1000, 120, 1, 1))).float())
    told = {
        name: [hits(*compared(channel, signal, sent), weight) for weight in (0.0, 0.01, 1.0)]
        for name, sent in (("old", in_float32(fresh, signal, rng)), ("new", channel.sent(signal, rng)))
    }
    # Where k inputs have the same t each is told with probability 1 / k.
    assert told["old"][2].mean() > 0.97 * len(signal.unique(dim=0)) / 1000
    for helped in told["new"][1:]:
        gain = helped - told["new"][0]
        assert gain.mean() <= 3 * max(gain.std().item() / math.sqrt(1000), 1e-3)


def test_rounding_of_what_is_sent_follows_from_y_alone():
    fresh, rng = fresh_of("saturated"), np.random.default_rng(6)
    channel, y = Channel(fresh, "fresh"), fresh.grid * torch.arange(-3, 3)[:, None]
    assert torch.equal(rounding_of(channel, fresh.embedded(y)), rounding_of(channel, fresh.embedded(y.clone())))
    signal = channel.signal(torch.from_numpy(rng.standard_normal((50, 40, 1, 1))).float())
    assert rounding_of(channel, channel.sent(signal, rng)).shape == (50, 80)


@pytest.mark.parametrize("draw", BOUNDED)
def test_a_gallery_under_laplace_noise_is_told_apart_by_the_likelihood_alone(draw):
    channel, rng = Channel(BOUNDED[draw], draw), np.random.default_rng(8)
    # Half of the elements are 0, as rectifiers leave them, whose noise float32 would keep whole.
    signal = torch.from_numpy(rng.standard_normal((400, 12, 1, 1))).float().clamp(min=0)
    likelihood, rounding = compared(channel, signal, channel.sent(signal, rng))
    exact = hits(likelihood, rounding, 0.0)
    # The order of twelve values nearly tells the input, whichever member's scale the noise has; Laplace values alone do not.
    assert exact.mean() > 0.3 if draw == "order-preserving" else 0.01 < exact.mean() < 0.3
    for weight in (0.01, 1.0, 1e6):
        gain = hits(likelihood, rounding, weight) - exact
        assert gain.mean() <= 3 * max(gain.std().item() / math.sqrt(400), 1 / 400)


def test_identified_among_test_rows():
    fresh = fresh_of("saturated", d=120)
    channel, rng = Channel(fresh, "fresh"), np.random.default_rng(9)

    def side(n: int) -> Side:
        clean = torch.from_numpy(rng.standard_normal((n, 120, 1, 1))).float()
        zeros = torch.zeros(n, dtype=torch.long)
        return Side(clean, channel.signal(clean), zeros, zeros, torch.zeros(n, 4))

    # Neither a network nor a private label is needed.
    found = identified(
        Setting(channel, None, side(10), side(300), side(500), None, Budget(1), 0, Keeper(None, ""), Keeper(None, ""))
    )
    assert found["candidates"] == 500 and 1 / 500 <= found["exact"] < 0.5
    assert abs(found["with rounding"] - found["exact"]) <= 3 * found["error"]
