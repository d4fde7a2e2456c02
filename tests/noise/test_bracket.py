"""The bracket against closed forms, and between what is known from other sides."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from shredder.noise import bounds
from shredder.noise.bracket import bracket, brackets
from shredder.noise.channel import Channel
from shredder.noise.fresh import Fresh
from shredder.noise.stored import Collection, Distributions
from tests.noise.test_stored import RULES, STORED, activations

K = 4000


def identity(form: str, scales: torch.Tensor, limit: float = math.inf) -> Channel:
    """Fresh noise along the elements themselves."""
    r = len(scales)
    eye, zero = torch.eye(r), torch.zeros(r)
    return Channel(Fresh(form, eye, eye, zero, zero, torch.full((r,), limit), scales.float()), "fresh")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def near(found, exact: float, within: float = 3) -> bool:
    """Whether both bounds are within so many standard errors, and in order."""
    assert found.lower <= found.upper
    return found.lower - exact < within * found.error and exact - found.upper < within * found.error


@pytest.mark.parametrize("queries", [1, 4])
@pytest.mark.parametrize("power", [0.1, 0.5, 1.0])
def test_normal_inputs_of_known_information(power, queries):
    scales, factor = torch.tensor([0.7, 1.0, 2.0]), power * rng(3).standard_normal((3, 3))
    signal = torch.from_numpy(rng(1).standard_normal((K, 3)) @ factor.T)
    exact = bounds.gaussian_bits(torch.from_numpy(factor @ factor.T), scales.double(), queries).item()
    found = bracket(identity("linear", scales), signal, rng(2), queries)
    assert near(found, exact) and found.error < 0.05
    assert exact > 4 or found.upper - found.lower < 0.05


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_two_levels(scale):
    signal = torch.from_numpy(rng(1).choice([-1.0, 1.0], (K, 2)))
    exact = bounds.two_level_bits(torch.ones(2), torch.full((2,), scale).double()).item()
    found = bracket(identity("quantised", torch.full((2,), scale), 1.0), signal, rng(2))
    assert near(found, exact) and found.upper - found.lower < 0.01


@pytest.mark.parametrize("b", [0.1, 1.0])
def test_a_uniform_input_under_laplace_noise(b):
    tensors = torch.tensor([[3.0 - b], [3.0 + b]])  # of mean 3 and standard deviation b
    signal = torch.from_numpy(rng(1).uniform(0, 1, (K, 1)))
    of = stats.laplace(scale=b).cdf
    entropy = integrate.quad(lambda y: special.entr(of(y) - of(y - 1)), -20 * b, 1 + 20 * b, limit=500, points=[0, 1])[0]
    exact = (entropy - math.log(2 * math.e * b)) / math.log(2)
    found = bracket(Channel(Collection(None, tensors), "elementwise-laplace"), signal, rng(2))
    assert near(found, exact) and found.upper - found.lower < 0.01


def test_an_unknown_member_in_one_dimension():
    """Of one value the order says nothing: p(a' | t) is a mixture of two Laplace densities."""
    noise = Distributions(torch.tensor([[-4.0, 0.3], [4.0, 0.6]]), torch.zeros(2, 1, dtype=torch.int64), (1,))
    levels = torch.tensor([0.0, 0.5, 1.0, 5.0])
    signal = levels[torch.from_numpy(rng(1).integers(4, size=(K, 1)))]

    def given(y, t):
        return (stats.laplace(t - 4, 0.3).pdf(y) + stats.laplace(t + 4, 0.6).pdf(y)) / 2

    y = np.linspace(-20, 20, 80_001)
    each = np.stack([given(y, t) for t in levels.tolist()])
    exact = integrate.trapezoid((each * np.log2(each / each.mean(0))).mean(0), y)
    found = bracket(Channel(noise, "order-preserving"), signal, rng(2))
    assert near(found, exact) and found.upper - found.lower < 0.01


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_it_lies_below_what_a_bound_allows(name, rule):
    stored = STORED[name]
    channel, signal = Channel(stored, rule), stored.signal(activations(300))
    one, ten = (bracket(channel, signal, rng(1), queries) for queries in (1, 10))
    assert -0.05 < one.lower <= one.upper and one.lower <= math.log2(300) + 1e-9
    assert one.lower <= ten.lower + 3 * (one.error + ten.error)
    bound = channel.bits_at_most(signal, rng(2))
    # As a number, where it is far below what 300 inputs can show.
    if bound is not None and one.upper < math.log2(300) - 3:
        assert one.upper <= bound + 3 * one.error
    if rule == "verbatim":
        assert one.lower == pytest.approx(math.log2(300)) and one.upper == math.inf


def test_inputs_that_are_alike_are_not_told_apart():
    """Verbatim members tell which of two inputs it was: one bit, whatever the noise."""
    signal = torch.tensor([[0.5, 1.0], [2.0, -1.0]]).repeat(500, 1)
    noise = Collection(torch.tensor([[2.0, 3.0], [0.3, 0.1]]), torch.tensor([[1.0, 9.0], [7.0, 7.0]]))
    found = bracket(Channel(noise, "verbatim"), signal, rng(0))
    assert found.lower == pytest.approx(1) and found.upper == pytest.approx(math.log2(999 / 499))


# Labels.


def test_what_is_said_of_labels_adds_up():
    """Two levels of which the first is public, and four private labels: the two signs. Shares are not equal."""
    signs = torch.from_numpy((rng(1).uniform(size=(K, 2)) < [0.5, 0.3]).astype(np.int64))
    signal = 2.0 * signs - 1
    public, private = signs[:, 0], 2 * signs[:, 0] + signs[:, 1]
    found = brackets(identity("quantised", torch.tensor([0.8, 1.2]), 1.0), signal, rng(2), 1, public, private)
    first, second = (_of_two_levels(share, scale) for share, scale in ((0.5, 0.8), (0.3, 1.2)))
    for name, exact in {
        "input": first + second,
        "public label": first,
        "private label": first + second,
        "private label, given the public one": second,
    }.items():
        assert near(found[name], exact), (name, found[name], exact)
        assert found[name].upper - found[name].lower < 0.02


def _of_two_levels(share: float, scale: float) -> float:
    """Bits that -1 or 1, of this share, tell through Normal noise."""
    y = np.linspace(-12, 12, 40_001)
    each = np.stack([stats.norm(level, scale).pdf(y) for level in (-1, 1)])
    weights = np.array([[1 - share], [share]])
    ratio = np.log2(each / (weights * each).sum(0))
    return float(integrate.trapezoid((weights * each * ratio).sum(0), y))


def test_a_label_that_is_not_sent():
    signal = torch.from_numpy(rng(1).standard_normal((K, 2)))
    label = torch.from_numpy(rng(5).integers(3, size=K))
    found = brackets(identity("linear", torch.ones(2)), signal, rng(2), public=label)
    assert set(found) == {"input", "public label"}
    assert near(found["public label"], 0.0) and abs(found["public label"].upper) < 0.02


def test_no_label_has_more_than_its_entropy():
    """Where every input is told apart, others say nothing of its label."""
    label = torch.from_numpy(rng(5).integers(4, size=K))
    found = brackets(Channel(STORED["tensors"], "verbatim"), activations(K), rng(2), public=label, private=label)
    shares = np.bincount(label) / K
    assert found["public label"].lower == pytest.approx(0, abs=1e-3)
    assert found["public label"].upper == pytest.approx(stats.entropy(shares, base=2))
    assert found["private label, given the public one"].upper == 0


def test_the_same_seed_says_the_same_however_many_rows_are_taken_at_once(monkeypatch):
    channel, signal = Channel(STORED["saturated"], "fresh"), STORED["saturated"].signal(activations(500))
    whole = bracket(channel, signal, rng(0))
    monkeypatch.setattr("shredder.noise.bracket._PAIRS", 7 * 500)
    assert bracket(channel, signal, rng(0)) == pytest.approx(whole)
