"""Means of features over many draws: made of means where that is exact, of as many images as there is time for."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from shredder.attack import attacks, averaging, features
from shredder.attack.features import Features
from shredder.attack.keeper import Keeper
from shredder.attack.networks import Budget
from shredder.attack.setting import Setting, Side
from shredder.noise.channel import Channel
from shredder.noise.stored import Collection, Distributions

SHAPE = (3, 2, 2)
D = math.prod(SHAPE)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    monkeypatch.setattr(attacks, "READERS", (((64,), 8e-3), ((64, 64), 4e-3)))


def channels() -> dict[str, Channel]:
    rng = np.random.default_rng(3)
    w, n = (torch.from_numpy(rng.normal(0, spread, (3, *SHAPE))).float() for spread in (1, 3))
    orders = torch.stack([torch.from_numpy(rng.permutation(D)) for _ in range(3)])
    return {
        "v1": Channel(Collection(None, n), "elementwise-laplace"),
        "v2": Channel(Collection(w, n), "order-preserving"),
        "v3": Channel(Distributions(torch.tensor([[0.0, 2.0]]).expand(3, 2), orders, SHAPE), "order-preserving"),
        "verbatim": Channel(Collection(w, n), "verbatim"),
    }


def signs(channel: Channel, n: int = 400) -> Setting:
    """Two classes, -1 and 1 on one element, and little else."""
    rng = np.random.default_rng(0)

    def side(n: int) -> Side:
        private = torch.from_numpy(rng.integers(2, size=n))
        clean = torch.from_numpy(rng.normal(0, 0.1, (n, *SHAPE))).float()
        clean[:, 0, 0, 0] = 2.0 * private - 1
        return Side(clean, channel.signal(clean), private, torch.zeros_like(private), torch.zeros(n, 64))

    nothing = Keeper(None, "")
    return Setting(channel, None, side(n), side(200), side(n), None, Budget(20), 0, nothing, nothing)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", ["v1", "v2", "v3", "verbatim"])
def test_features_of_means_are_means_of_features(name, whole, monkeypatch):
    if not whole:
        monkeypatch.setattr(features, "_COVARIANCE_ELEMENTS", 1)
    channel, rng = channels()[name], np.random.default_rng(0)
    signal = torch.from_numpy(rng.normal(size=(60, *SHAPE))).float()
    made = Features(channel, signal, rng)
    sent = channel.sent(signal[:6].repeat_interleave(50, 0), rng)
    assert made.undo.whole == whole and len(made.undo.members(sent).unique()) == (1 if name == "v1" else 3)
    for kind in made.kinds:
        expected = made.of(kind, sent).unflatten(0, (6, 50)).mean(1)
        torch.testing.assert_close(made.mean_of(kind, sent.unflatten(0, (6, 50))), expected, rtol=1e-3, atol=1e-3)


def test_more_queries_begin_with_the_fewer_ones():
    setting = signs(channels()["v2"])
    both = averaging.mean_features(setting, "raw", setting.test.signal[:7], (1, 40), "test")
    alone = averaging.mean_features(setting, "raw", setting.test.signal[:7], (40,), "test")
    assert torch.equal(both[40], alone[40]) and both[1].shape == (7, D) and not torch.equal(both[1], both[40])


def test_fewer_images_where_there_are_many_elements(monkeypatch):
    setting = signs(channels()["v1"])
    full = [len(side.signal) for side in averaging._sides(setting, 1000).values()]
    monkeypatch.setattr(averaging, "_NUMBERS", 1000 * D * 1700 / 4)
    assert full == [400, 200, 400]
    assert [len(side.signal) for side in averaging._sides(setting, 1000).values()] == [250, 50, 125]


def test_means_of_element_wise_draws_are_read_as_theory_says():
    """The mean of q Laplace values of scale b on the element that tells has spread b sqrt(2 / q)."""
    b = 6.0
    tensors = torch.tensor([-b, b]).view(2, 1, 1, 1).expand(2, *SHAPE).contiguous()
    setting = signs(Channel(Collection(None, tensors), "elementwise-laplace"), n=1500)
    found = averaging.averaged(setting, "undone", (10, 100))
    for q, reading in found.items():
        best = stats.norm.cdf(math.sqrt(q / 2) / b)
        assert best - 0.07 < reading.accuracy < best + 0.045, q
        assert reading.kind == f"mean of {q}, undone" and len(reading.labels) == 500


def test_readers_of_one_query_read_means_too(monkeypatch):
    """With three learning images to average, readers of single draws, which learn from all, are better."""
    monkeypatch.setitem(averaging._IMAGES, "learning", 3)
    setting = signs(channels()["verbatim"])
    reading = averaging.averaged(setting, "undone", (10,))[10]
    assert reading.reader.endswith("of one query") and reading.accuracy > 0.97
    assert len(averaging.averaged(replace(setting, seed=1), "likelihood", (2, 3))) == 2
