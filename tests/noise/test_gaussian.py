"""Normal noise on elements and dropout of channels: bounds against closed forms, what is not sent, broken files."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from shredder.io.cli import InputError
from shredder.io.files import npy, write_together
from shredder.noise import densities
from shredder.noise.bracket import bracket
from shredder.noise.channel import Channel
from shredder.noise.dropout import ChannelDropout
from shredder.noise.gaussian import Gaussian
from shredder.noise.load import load_folder
from tests.noise.test_channel import linear_fresh

SHAPE = (4, 1, 1)
RULE = "elementwise-normal"


def gaussian(*scales: float, mean: float = 0.0) -> Gaussian:
    return Gaussian(torch.full(SHAPE, mean), torch.tensor(scales).view(SHAPE))


def activations(n: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, *SHAPE))).float()


def test_the_bound_is_shannon_s_for_independent_normal_signals():
    """1/2 sum log2(1 + q / s^2) of unit variances; a 99 % confidence bound lies above it by little of many rows."""
    scales, signal = (0.5, 1.0, 2.0, 4.0), activations(20_000)
    noise = gaussian(*scales)
    for q in (1, 10):
        exact = sum(math.log2(1 + q / s**2) for s in scales) / 2
        assert exact < noise.bits(signal, RULE, np.random.default_rng(0), q) < 1.02 * exact


def test_it_is_fresh_noise_along_the_elements():
    """Bounds, moments and densities are those of the linear form, read and sent along the axes."""
    scales, signal = [0.5, 1.0, 2.0, 4.0], activations(500)
    one, other = gaussian(*scales), linear_fresh(scales)
    rng = np.random.default_rng(0)
    assert one.bits(signal, RULE, rng) == pytest.approx(other.bits(other.signal(signal), "fresh", rng), rel=1e-9)
    torch.testing.assert_close(one.moments(RULE).n_variance, other.moments("fresh").n_variance)
    torch.testing.assert_close(one.density(RULE).own(signal), other.density("fresh").own(other.signal(signal)))
    assert one.bits_of_grid(RULE) == other.bits_of_grid("fresh")
    # The same draws, too, and the same bits where they are sent.
    sent, there = (
        Channel(of, rule).sent(of.signal(signal), np.random.default_rng(1)) for of, rule in ((one, RULE), (other, "fresh"))
    )
    assert torch.equal(sent, there)


def test_of_an_element_without_a_scale_nothing_is_sent():
    noise = gaussian(1.0, math.inf, 2.0, math.inf, mean=0.3)
    signal = noise.signal(activations(300))
    assert (signal[:, [1, 3]] == 0).all() and (signal[:, [0, 2]] != 0).all()
    sent = Channel(noise, RULE).sent(signal, np.random.default_rng(0))
    assert (sent[:, [1, 3]] == torch.tensor(0.3)).all()
    other = Channel(noise, RULE).sent(
        noise.signal(activations(300) * torch.tensor([1, 9, 1, -9.0]).view(SHAPE)), np.random.default_rng(0)
    )
    assert torch.equal(sent, other)
    # The bound is that of the elements that are sent.
    of_two = Gaussian(torch.full((2, 1, 1), 0.3), torch.tensor([1.0, 2.0]).view(2, 1, 1))
    rng = np.random.default_rng(0)
    assert noise.bits(signal, RULE, rng) == pytest.approx(of_two.bits(signal[:, [0, 2]], RULE, rng))
    assert gaussian(*[math.inf] * 4).bits(signal, RULE, rng) == 0


def test_channels_are_kept_whole_and_as_often_as_they_say():
    shape, p = (3, 2, 2), torch.tensor([0.2, 0.5, 1.0])
    noise = ChannelDropout(p, shape)
    w = noise.draw(20_000, "dropout", np.random.default_rng(0)).multiplicative.flatten(2)
    assert torch.equal(w, w[..., :1].expand_as(w))
    kept = (w[..., 0] > 0).double().mean(0)
    assert ((kept - p).abs() <= 5 * (p * (1 - p) / 20_000).sqrt()).all()
    torch.testing.assert_close(w.amax((0, 2)), 1 / p)


def test_louder_dropout_keeps_a_part_of_what_quieter_keeps():
    """Under the same draws: that makes a bisection's accuracies comparable."""
    many, few = (
        ChannelDropout(torch.full((5,), p), (5, 1, 1)).draw(100, "dropout", np.random.default_rng(3)).multiplicative > 0
        for p in (0.7, 0.4)
    )
    assert (few <= many).all() and few.sum() < many.sum()


def test_normal_noise_on_many_elements_is_measured():
    """As a loop over rows has it: whatever is fast for many elements makes no difference."""
    shape, scale = (densities._MANY_ELEMENTS + 1,), 8.0
    rng = np.random.default_rng(0)
    signal = torch.from_numpy(rng.standard_normal((40, *shape))).float() + 100
    channel = Channel(Gaussian(torch.zeros(shape), torch.full(shape, scale)), RULE)
    (add,), received = channel.pair_densities(signal), channel.unrounded(signal[:7], rng)
    by_hand = torch.stack([-((a - signal.double()) / scale).square().sum(1) / 2 for a in received])
    torch.testing.assert_close(add(received, None), by_hand, rtol=1e-9, atol=1e-6)
    found = bracket(channel, signal, np.random.default_rng(1))
    assert 0 < found.lower <= found.upper < math.inf


@pytest.mark.parametrize("s", [2.0, 4.0])
def test_normal_noise_on_normal_elements_is_measured(s):
    """Of an element of which nothing is sent nothing is told."""
    channel = Channel(gaussian(s, 2 * s, math.inf, math.inf, mean=0.5), RULE)
    found = bracket(channel, channel.signal(activations(4000)), np.random.default_rng(1))
    exact = sum(math.log2(1 + v**-2) / 2 for v in (s, 2 * s))
    assert found.lower <= found.upper and abs(found.lower - exact) < 4 * found.error


@pytest.mark.parametrize("p", [0.3, 0.8])
def test_what_channels_tell_that_are_kept_is_measured(p):
    """Inputs that are 0 or 2 in the second channel: a channel that loses the 2 with probability 1 - p, h(p / 2) - h(p) / 2."""
    levels = torch.tensor([[1.0, 0.0], [1.0, 2.0]])[torch.from_numpy(np.random.default_rng(0).integers(2, size=4000))]
    channel = Channel(ChannelDropout(torch.tensor([0.5, p]), (2, 1, 1)), "dropout")
    found = bracket(channel, levels.view(-1, 2, 1, 1), np.random.default_rng(1))
    exact = stats.entropy([p / 2, 1 - p / 2], base=2) - stats.entropy([p, 1 - p], base=2) / 2
    assert found.lower <= found.upper and abs(found.lower - exact) < 4 * found.error


BROKEN = [
    (gaussian(1.0, 1.0, 1.0, 1.0), "gaussian-scales.npy", np.zeros(SHAPE, np.float32), "found 0.0, expected numbers above 0"),
    (
        gaussian(1.0, 1.0, 1.0, 1.0),
        "gaussian-scales.npy",
        np.full(SHAPE, np.nan, np.float32),
        "found nan, expected numbers above 0",
    ),
    (gaussian(1.0, 1.0, 1.0, 1.0), "gaussian-scales.npy", np.ones(SHAPE), "found float64"),
    (gaussian(1.0, 1.0, 1.0, 1.0), "gaussian-additive.npy", np.full(SHAPE, np.inf, np.float32), "found NaN or infinity"),
    (
        gaussian(1.0, 1.0, 1.0, 1.0),
        "gaussian-additive.npy",
        np.zeros((4, 1), np.float32),
        r"found float32 \(4, 1\), expected float32",
    ),
    (ChannelDropout(torch.ones(4), SHAPE), "dropout-kept.npy", np.zeros(4, np.float32), "expected shares above 0"),
    (ChannelDropout(torch.ones(4), SHAPE), "dropout-kept.npy", np.ones(3, np.float32), r"expected float32 \(4,\)"),
]


@pytest.mark.parametrize(("noise", "name", "array", "message"), BROKEN)
def test_broken_files_are_named(tmp_path, noise, name, array, message):
    files = noise.files(tmp_path) | {tmp_path / name: npy(array)}
    write_together(files)
    with pytest.raises(InputError, match=message) as error:
        load_folder(tmp_path, dict.fromkeys((path.name for path in files), ""), SHAPE)
    assert f"--noise {tmp_path / name}: " in str(error.value)
