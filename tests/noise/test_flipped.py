"""One bit, flipped by chance: its channel, its bound, its moments, its files."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from shredder.attack.features import Features
from shredder.attack.gallery import compared, hits
from shredder.io.cli import InputError
from shredder.io.files import npy, write_together
from shredder.noise.bracket import bracket
from shredder.noise.channel import Channel
from shredder.noise.flipped import Flipped
from shredder.noise.load import load_fresh
from tests.noise.test_channel import SHAPE
from tests.noise.test_stored import QUESTIONS


def flipped(c: float = 2.0, s: float = 2.0) -> Flipped:
    """The sign of the first of four numbers, sent along it."""
    first = torch.eye(4)[:, :1]
    mu = torch.tensor([0.5, 1.0, 2.0, 3.0]).view(SHAPE)
    return Flipped("flipped", first, first, mu, torch.zeros(1), torch.tensor([c]), torch.tensor([s]))


def activations(n: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal((n, *SHAPE))).float()


def test_every_question_has_an_answer():
    noise, signal, rng = flipped(), flipped().signal(activations(30)), np.random.default_rng(0)
    assert all(hasattr(noise, question) for question in QUESTIONS)
    assert noise.rank == 1 and noise.for_any_inputs and noise.shape == SHAPE
    assert noise.laplace("fresh") is noise.density("fresh") is noise.averaged(10) is noise.hidden_at_most("fresh") is None
    assert noise.bits(signal, "fresh", rng) == noise.bits_for_any_inputs()
    with pytest.raises(InputError, match=r"^--draw verbatim: "):
        noise.draw(1, "verbatim", rng)


def test_two_values_are_sent_and_one_in_f_is_flipped():
    noise, n = flipped(2.0, 2.0), 40_000
    channel, f = Channel(noise, "fresh"), stats.norm.cdf(-1)
    assert noise.flips == pytest.approx(f) and channel.bounded
    signal = noise.signal(activations(n))
    drawn = channel.draws(n, np.random.default_rng(2))
    sent = channel.applied(signal, drawn)
    assert set(sent.flatten(1)[:, 0].tolist()) == {-1.5, 2.5} and (sent.flatten(1)[:, 1:] == noise.additive.flatten()[1:]).all()
    received = noise.received(sent)
    assert ((received != signal).double().mean() - f).abs() < 4 * math.sqrt(f * (1 - f) / n)
    moments = noise.moments("fresh")
    found = (received / signal).double()
    assert found.mean().item() == pytest.approx(moments.w_mean.item(), abs=0.02)
    assert found.var().item() == pytest.approx(moments.w_variance.item(), abs=0.02)
    w, n_ = noise.tensors(drawn)
    torch.testing.assert_close(w * noise.as_activation(signal) + n_, sent)


def test_a_cloud_is_asked_once_for_each_value():
    noise, asked = flipped(), []

    def cloud(sent):
        asked.append(len(sent))
        return sent.flatten(1).cumsum(1)

    channel, signal = Channel(noise, "fresh"), noise.signal(activations(50))
    answers = channel.answered(cloud, signal, np.random.default_rng(4))
    assert asked == [2]
    torch.testing.assert_close(answers, channel.sent(signal, np.random.default_rng(4)).flatten(1).cumsum(1), rtol=0, atol=0)


def test_learning_asks_for_two_levels_and_knows_the_chance_of_each_answer():
    limits, scales = torch.tensor([2.0]), torch.tensor([2.0], requires_grad=True)
    t = torch.tensor([[2.0], [-2.0]], requires_grad=True)
    y, _ = Flipped.learnable(t, torch.zeros(2, 1), limits, scales)
    f, asked, labels = stats.norm.cdf(-1), [], torch.tensor([1, 1])
    np.testing.assert_allclose(y.detach()[:, 0], [2 * (1 - 2 * f), -2 * (1 - 2 * f)], rtol=1e-6)

    def cloud(y):
        asked.append(y.flatten().tolist())
        return torch.tensor([[0.1, 0.2, 9.0], [0.1, 5.0, 0.2]])  # low is answered by class 2, high by 1

    answers = Flipped.asked(cloud, y, limits)
    assert asked == [[-2, 2]]
    np.testing.assert_allclose(answers.detach().exp(), [[0, 1 - f, f], [0, f, 1 - f]], rtol=1e-5, atol=1e-12)
    assert Flipped.wrong(answers, labels).item() == pytest.approx(0.5)
    assert Flipped.wrong(answers, torch.tensor([1, 2])).item() == pytest.approx(f)
    # -ln P(right): by t the slope of P over P, and by s as f grows, df / ds = phi(c / s) c / s^2.
    by_t, by_s = torch.autograd.grad(-answers[0, 1], (t, scales), retain_graph=True)
    assert by_t[0, 0].item() == pytest.approx(-(1 - 2 * f) / 4 / (1 - f), rel=1e-5) and by_t[1, 0] == 0
    assert by_s.item() == pytest.approx(stats.norm.pdf(1) / 2 / (1 - f), rel=1e-5)


def test_what_is_measured_and_what_is_allowed():
    """1 - h(f) where both signs are equally frequent; more queries say more, at most a bit."""
    noise = flipped(1.5, 1.0)
    f = noise.flips
    exact = 1 - stats.entropy([f, 1 - f], base=2)
    assert noise.bits_for_any_inputs() == pytest.approx(exact)
    channel, signal = Channel(noise, "fresh"), noise.signal(activations(4000))
    for queries in (1, 3):
        found = bracket(channel, signal, np.random.default_rng(3), queries)
        assert abs(found.lower - noise.bits_for_any_inputs(queries)) < 3 * found.error + 1e-3
        assert 0 <= found.upper - found.lower < 1e-2
    # Three queries by hand: the count of flips, of which the less frequent half are read wrongly.
    k = np.arange(4)
    kept, turned = stats.binom.pmf(k, 3, f), stats.binom.pmf(k, 3, 1 - f)
    by_hand = 1 - (kept * np.log2(1 + turned / kept)).sum()
    assert noise.bits_for_any_inputs(3) == pytest.approx(by_hand)
    assert noise.bits_for_any_inputs(1000) == pytest.approx(1)


def test_what_is_learned_by_has_the_channels_information():
    limits, scales, rng = torch.tensor([1.0]), torch.tensor([0.8]), np.random.default_rng(0)
    t = torch.from_numpy(rng.choice([-1.0, 1.0], (5000, 1), p=[0.7, 0.3])).float().requires_grad_()
    y, bits = Flipped.learnable(t, torch.from_numpy(rng.standard_normal((5000, 1))).float(), limits, scales)
    f, p = stats.norm.cdf(-1 / 0.8), (t > 0).float().mean().item()
    one = p * (1 - f) + (1 - p) * f
    assert bits.item() == pytest.approx(stats.entropy([one, 1 - one], base=2) - stats.entropy([f, 1 - f], base=2), abs=1e-5)
    np.testing.assert_allclose(y.detach(), (1 - 2 * f) * t.detach(), rtol=1e-6)
    (gradient,) = torch.autograd.grad(y.sum(), t)
    assert (gradient > 0).all()


def test_of_a_gallery_nobody_is_told_by_more_than_the_bit():
    noise = flipped(4.0, 1.0)
    channel, signal = Channel(noise, "fresh"), noise.signal(activations(200))
    likelihood, rounding = compared(channel, signal, channel.sent(signal, np.random.default_rng(0)))
    assert hits(likelihood, rounding, 0.0).mean() < 0.02 and hits(likelihood, rounding, 1e6).mean() < 0.02


def test_an_adversary_has_the_bit_and_no_more():
    noise = flipped()
    channel, signal = Channel(noise, "fresh"), noise.signal(activations(300))
    features, sent = Features(channel, signal, np.random.default_rng(0)), channel.sent(signal, np.random.default_rng(1))
    assert features.kinds == ["raw", "whitened", "undone", "whitened and rounding", "undone and rounding"]
    for kind, found in features.each(features.kinds, sent):
        assert len(found) == 300 and found.isfinite().all() and len(found.unique(dim=0)) == 2, kind


def test_files(tmp_path):
    noise = flipped()
    write_together(noise.files(tmp_path))
    found = load_fresh(tmp_path, SHAPE)
    assert type(found) is Flipped and found.flips == noise.flips
    two = {"readings": np.eye(4, 2), "directions": np.eye(4, 2)} | {
        name: np.ones(2) for name in ("offsets", "limits", "scales")
    }
    write_together({tmp_path / f"fresh-{name}.npy": npy(array.astype(np.float32)) for name, array in two.items()})
    with pytest.raises(InputError, match=r"fresh-form.npy: found flipped with 2 directions, expected one direction"):
        load_fresh(tmp_path, SHAPE)
