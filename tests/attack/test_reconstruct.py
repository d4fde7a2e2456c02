"""Guesses of the input on channels where the best guess is known; bits that are shown of it, and their interval."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from shredder.attack import invert, reconstruct
from shredder.attack.keeper import Keeper
from shredder.attack.networks import Budget, Decoder, Training, convolutions
from shredder.attack.reading import Reading, ends, resampled
from shredder.attack.setting import Examples, Setting, Side
from shredder.noise.bracket import bracket
from shredder.noise.channel import Channel
from shredder.noise.stored import Collection
from shredder.split import SplitNetwork
from tests.noise.test_channel import linear_fresh

SHAPE = (1, 8, 8)


def pictures_of(inputs: torch.Tensor) -> torch.Tensor:
    """Inputs are pictures minus a half."""
    return inputs[:, 0] + 0.5


def squares(channel: Channel, n: int = 300, edge: nn.Module | None = None) -> Setting:
    """Pictures of a bright square at a random place, sent as they are minus a half."""
    rng, split = (
        np.random.default_rng(0),
        SplitNetwork(nn.Sequential(edge or nn.Identity(), nn.Flatten(), nn.Linear(64, 2)), "0"),
    )

    def side(n: int) -> tuple[Side, torch.Tensor]:
        images = torch.zeros(n, 8, 8)
        for image, (row, column) in zip(images, rng.integers(6, size=(n, 2)), strict=True):
            image[row : row + 3, column : column + 3] = 1
        inputs, zeros = images[:, None] - 0.5, torch.zeros(n, dtype=torch.int64)
        return Side(inputs, channel.signal(inputs), zeros, zeros, images.flatten(1)), inputs

    (learning, inputs), (held_out, _), (test, _) = side(n), side(50), side(50)
    nothing = Keeper(None, "")
    return Setting(
        channel, split, learning, held_out, test, None, Budget(20), 0, nothing, nothing, Examples(inputs[:40], pictures_of)
    )


def laplace(b: float) -> Channel:
    """Laplace(0, b) on each element."""
    return Channel(
        Collection(None, torch.tensor([-b, b]).view(2, 1, 1, 1).expand(2, *SHAPE).contiguous()), "elementwise-laplace"
    )


def test_total_variation_by_hand():
    checkers = (torch.arange(4)[:, None] + torch.arange(5)) % 2
    images = torch.stack([checkers, torch.ones(4, 5)])[:, None].float()
    assert invert.total_variation(images).tolist() == [4 * 4 + 3 * 5, 0]


@pytest.mark.parametrize("weight", [0.0, 4.0, 100.0])
def test_two_pixels_move_towards_each_other_by_weight_times_variance(weight):
    """argmin (x - 0.2)^2 / 2 s^2 + (y - 0.8)^2 / 2 s^2 + weight |x - y|: each moves by weight * s^2, until they meet."""
    s, sent, box = 0.1, torch.tensor([[0.2, 0.8]]), torch.tensor([[[0.0, 0.0]]])
    search = invert.Search(nn.Identity(), nn.Flatten(), box, box + 1, lambda inputs: inputs[:, 0])
    starts = torch.stack([torch.full((1, 1, 1, 2), 0.5), torch.tensor([[[[0.9, 0.1]]]])])
    distance = lambda t: ((t - sent) / s).square().sum(1) / 2  # noqa: E731
    found = search.best(starts, distance, weight, steps=400).flatten()
    moved = min(weight * s**2, 0.3)
    assert found.tolist() == pytest.approx([0.2 + moved, 0.8 - moved], abs=0.01)


def test_what_is_sent_almost_as_it_is_is_found():
    found = invert.inverted(setting := squares(laplace(0.02)))
    assert found.pictures.shape == (32, 64) and found.steps == 200
    assert (found.pictures - setting.test.images[:32]).abs().mean() < 0.02


def test_what_noise_hides_is_not_found():
    found = invert.inverted(setting := squares(laplace(100.0)))
    truth = setting.test.images[:32]
    mean = setting.learning.images.mean(0)
    assert (found.pictures - truth).square().mean() > 0.95 * (mean - truth).square().mean()


def test_an_undone_member_is_inverted_where_no_density_is_known():
    tensors = torch.from_numpy(np.random.default_rng(1).normal(0, 50, (5, *SHAPE))).float()
    found = invert.inverted(setting := squares(Channel(Collection(None, tensors), "verbatim")))
    assert (found.pictures - setting.test.images[:32]).abs().mean() < 0.05


def test_costly_edges_and_inputs_that_are_no_images_are_left_out(monkeypatch):
    setting = squares(laplace(0.1), edge=nn.Conv2d(1, 1, 3, padding=1))
    rows = 3 * (3 * 16 + 32)
    operations = 2 * 9 * 64  # of a product and a sum for each weight and pixel
    assert invert.steps_for(setting.split, setting.examples.inputs, rows) == 200
    monkeypatch.setattr(invert, "_OPERATIONS", 3 * operations * rows * 30)
    assert invert.steps_for(setting.split, setting.examples.inputs, rows) == 30
    monkeypatch.setattr(invert, "_OPERATIONS", 3 * operations * rows * 19)
    assert invert.inverted(setting) is None
    assert invert.inverted(setting.__class__(**{**vars(setting), "examples": None})) is None


@pytest.mark.parametrize("side", [3, 7, 8, 16, 29, 56])
def test_convolutions_make_pictures_of_any_side(side):
    features = torch.randn(5, 6)
    network = convolutions(features, 4, side, np.random.default_rng(0))
    assert network(features).shape == (5, side**2)
    network(features).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_convolutions_learn_to_place_a_square():
    setting = squares(laplace(0.02))
    clean = [side.clean.flatten(1) for side in (setting.learning, setting.test)]
    network = Decoder(convolutions(clean[0], 16, 8, np.random.default_rng(0)))
    training = Training(
        network, (clean[1], setting.test.images), Budget(40, learning_rate=3e-3, batch_size=64), np.random.default_rng(0)
    )
    while training.goes_on:
        training.epoch(clean[0], setting.learning.images)
    assert training.finish() < 0.02 < setting.test.images.var(0).mean()


def test_the_best_guess_of_all_counts(monkeypatch):
    """Here it is optimisation: decoders are small, and what is sent is the picture but for little."""
    monkeypatch.setattr(reconstruct, "DECODERS", (((16,), 1e-3),))
    monkeypatch.setattr(reconstruct, "CONVOLUTIONS", ((2, 1e-3),))
    found = reconstruct.reconstructed(squares(laplace(0.02)))
    rows = {row["images"]: row for row in found["images"]}
    assert list(rows) == ["clean", "noisy", "optimised", "mean"]
    assert rows["optimised"]["mean squared error"] < 0.01 < rows["noisy"]["mean squared error"]
    assert [rows[name]["of"] for name in rows] == [50, 50, 32, 50]
    best = found["results"]
    assert best["best reconstruction"] == rows["optimised"]["by"] and best["its SSIM"] == rows["optimised"]["SSIM"]


# Intervals.


def test_bits_that_all_test_rows_tell():
    channel = Channel(linear_fresh([0.05] * 4), "fresh")
    signal = torch.from_numpy(np.random.default_rng(0).normal(size=(500, 4))).float()
    setting = squares(laplace(1.0))
    of = {"clean": signal.view(500, 4, 1, 1), "signal": signal, "private": signal, "public": signal, "images": signal}
    setting = setting.__class__(**{**vars(setting), "channel": channel, "test": Side(**of)})
    bits, error, low, high = reconstruct.image_bits_at_least(setting)
    # All of 500 inputs are told apart, where 256 would stop at 8 bits; and it is the bracket's lower end.
    assert 8.5 < bits <= math.log2(500)
    assert bits == pytest.approx(bracket(channel, signal, setting.rng("InfoNCE")).lower, abs=1e-9)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_the_interval_of_means_is_that_of_their_spread():
    values = torch.from_numpy(np.random.default_rng(0).exponential(2.0, (400, 1)))
    low, high = ends(resampled(values, np.random.default_rng(1))[:, 0])
    half = 1.96 * values.std().item() / 20
    assert (low, high) == pytest.approx((values.mean().item() - half, values.mean().item() + half), abs=0.06)


def test_the_interval_covers_the_bound_as_often_as_it_says():
    """A reader that is right with chance 0.8, and says so, of two labels: it tells 1 - h(0.8) bits."""
    rng, inside = np.random.default_rng(0), []
    bits = 1 + 0.8 * math.log2(0.8) + 0.2 * math.log2(0.2)
    for _ in range(100):
        labels, correct = (torch.from_numpy(rng.random(300) < share).long() for share in (0.5, 0.8))
        nats = -torch.where(correct == 1, torch.tensor(0.8), torch.tensor(0.2)).log()
        low, high = Reading(labels, correct, nats, 0.0, "", "").bits_interval(rng)
        inside.append(low < bits < high)
    assert 0.88 < np.mean(inside) <= 1
