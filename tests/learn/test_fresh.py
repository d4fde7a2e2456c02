"""Fresh noise: its forms, its bounds against quadrature, its files, and how it is learned."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import nn

import attack
import sample_mutual_info_lenet as sample
import train_noise_alexnet
import train_noise_lenet as train
from shredder.io.cli import InputError
from shredder.io.files import write_together
from shredder.learn.directions import active_directions, lean
from shredder.learn.fresh import FreshLearning, FreshMethod
from shredder.learn.learner import OutOfReachError, Settings, learner
from shredder.learn.run import learn
from shredder.noise.bounds import two_level_bits
from shredder.noise.bracket import bracket
from shredder.noise.channel import Channel
from shredder.noise.fresh import Fresh, formed
from shredder.noise.load import load_fresh
from shredder.noise.stored import Collection
from shredder.split import SplitNetwork
from tests.noise.test_channel import SHAPE, linear_fresh


class TwoClasses(nn.Module):
    """Four numbers, of which the first decides: log-probabilities of two classes."""

    def layers(self):
        first = nn.Linear(4, 2)
        with torch.no_grad():
            first.weight.copy_(torch.tensor([[-4.0, 0, 0, 0], [4.0, 0, 0, 0]]))
            first.bias.zero_()
        return {"edge": nn.Identity(), "flatten": nn.Flatten(), "first": first, "log_softmax": nn.LogSoftmax(-1)}


def toy(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard Normal activations; the class is the sign of the first."""
    rng = np.random.default_rng(seed)
    activations = torch.from_numpy(rng.standard_normal((n, *SHAPE))).float()
    return activations, (activations[:, 0, 0, 0] > 0).long()


def toy_learning(form="saturated", min_accuracy=0.9, epochs=40, seed=0, directions=1) -> FreshLearning:
    target = Settings(1, 1, epochs + 20, epochs - 1, min_accuracy, 500)
    method = FreshMethod(form, 2e-2, directions)
    return learner(method, SplitNetwork(TwoClasses(), "edge"), toy(4000, 1), toy(2000, 2), target, seed)


def bits(fresh: Fresh, activations: torch.Tensor, queries: int = 1) -> float:
    return fresh.bits(fresh.signal(activations), "fresh", np.random.default_rng(0), queries)


# Forms and bounds.


def test_forms_of_a_reading_by_hand():
    u, c = torch.tensor([[-3.0, 0.5], [0.25, -0.5]]), torch.tensor([1.0, 2.0])
    assert torch.equal(formed(u, c, "linear"), u)
    torch.testing.assert_close(formed(u, c, "saturated"), c * torch.tanh(u / c))
    assert torch.equal(formed(u, c, "quantised"), torch.tensor([[-1.0, 2.0], [1.0, -2.0]]))


def test_the_gradient_of_a_quantised_reading_is_that_of_a_saturated_one():
    gradients = []
    for form in ("saturated", "quantised"):
        u, c = torch.tensor([[0.3, -2.0]], requires_grad=True), torch.tensor([1.0, 0.5], requires_grad=True)
        formed(u, c, form).sum().backward()
        gradients.append(u.grad)
        if form == "quantised":  # that of c is its own
            assert torch.equal(c.grad, torch.tensor([1.0, -1.0]))
    assert torch.equal(*gradients)


@pytest.mark.parametrize("g", [0.05, 0.5, 1.0, 2.0, 3.0, 8.0])
def test_two_level_bits_are_the_mutual_information_at_equal_frequencies(g):
    # Levels -g and g under standard Normal noise: h(a') by quadrature of its density, minus the noise's entropy.
    def surprise(y):
        density = (stats.norm.pdf(y - g) + stats.norm.pdf(y + g)) / 2
        return -density * math.log2(density)

    entropy = integrate.quad(surprise, -g - 12, g + 12, points=[-g, 0, g], limit=200)[0]
    exact = entropy - math.log2(2 * math.pi * math.e) / 2
    found = two_level_bits(torch.tensor([g], dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    assert found.item() == pytest.approx(exact, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.floats(0.01, 100), st.integers(1, 10_000), st.integers(1, 8))
def test_a_bit_a_direction_is_the_most_that_two_levels_say_however_often_they_are_asked(c, s, queries, r):
    limits, scales = torch.full((r,), c, dtype=torch.float64), torch.full((r,), s, dtype=torch.float64)
    once, often = (two_level_bits(limits, scales, q).item() for q in (1, queries))
    assert -1e-9 <= once <= often + 1e-9 <= r + 2e-9
    assert once <= r * math.log2(1 + (c / s) ** 2) / 2 + 1e-6  # the Gaussian channel's capacity


def quantised_fresh(c: float, s: float) -> Fresh:
    return replace(linear_fresh([s]), form="quantised", limits=torch.tensor([c]))


def test_the_bound_of_two_levels_does_not_depend_on_the_inputs():
    rare = torch.ones(1000, *SHAPE)
    rare[0] = -1
    fresh = quantised_fresh(2.0, 1.0)
    assert bits(fresh, rare) == bits(fresh, toy(1000, 0)[0]) == pytest.approx(0.9128, abs=1e-4)
    assert bits(fresh, rare, 1000) == fresh.bits_for_any_inputs(1000) == pytest.approx(1, abs=1e-9)


def test_what_is_sent_has_the_moments_that_it_says():
    fresh, (activations, _) = quantised_fresh(2.0, 0.5), toy(50_000, 3)
    sent = Channel(fresh, "fresh").sent(fresh.signal(activations), np.random.default_rng(4))
    noise = fresh.received(sent) - fresh.signal(activations)
    assert noise.std().item() == pytest.approx(0.5, rel=0.02) and abs(noise.mean().item()) < 0.01
    assert (sent.flatten(1)[:, 1:] == 0).all()  # nothing of what is outside the direction
    assert set(fresh.signal(activations).flatten().tolist()) == {-2.0, 2.0}


def test_active_directions_are_where_the_answer_changes():
    directions = active_directions(SplitNetwork(TwoClasses(), "edge"), toy(600, 0)[0], 3, np.random.default_rng(0))
    torch.testing.assert_close(directions.abs(), torch.tensor([[1.0], [0], [0], [0]]), atol=1e-5, rtol=0)


# Learning.


@pytest.mark.parametrize("form", ["linear", "saturated", "quantised", "flipped"])
def test_learning_reaches_its_accuracy_with_few_bits(form, tmp_path):
    learning = toy_learning(form, epochs=160)
    learn(learning, tmp_path, "toy")
    snr, reached, epoch, at_most = learning.log[0]
    assert reached > 0.9 and epoch >= 160 and snr > 0
    channel = Channel(learning.stored, "fresh")
    found = bracket(channel, channel.signal(toy(4000, 9)[0]), np.random.default_rng(0))
    # The least that an accuracy of 0.9 takes. Linear: errors arctan(s) / pi = 0.1, log2(1 + s^-2) / 2 bits. Two levels: errors
    # Phi(-g) = 0.1 for g = 1.28, the two-level channel's information; of a bit that is flipped, 1 - h(0.1).
    least = {"linear": 1.694, "saturated": 0.654, "quantised": 0.654, "flipped": 0.531}[form]
    assert least - 3 * found.error < found.lower < 1.3 * least and found.lower < at_most + 3 * found.error


def test_hidden_units_read_what_no_line_does():
    """The class is whether the first two numbers have the same sign, and the cloud goes by the first of what it is sent."""
    activations, _ = toy(8000, 1)
    labels = (activations[:, 0, 0, 0] * activations[:, 1, 0, 0] > 0).long()
    rows = (activations[:6000], labels[:6000]), (activations[6000:], labels[6000:])
    reached = []
    for units in (0, 32):
        method = FreshMethod("saturated", 1e-2, 1, units)
        learning = learner(method, SplitNetwork(TwoClasses(), "edge"), *rows, Settings(1, 1, 31, 29, 0.9, 500), 0)
        for _ in range(30):
            learning.epoch()
        reached.append(max(row[3] for row in learning.curves))
    assert reached[0] < 0.6 and reached[1] > 0.9
    fresh = learning.stored
    assert fresh.hidden.shape == (5, 32) and fresh.readings.shape == (32, 1)
    by_hand = np.maximum(np.c_[activations.flatten(1), np.ones(8000)] @ fresh.hidden.numpy(), 0) @ fresh.readings.numpy()
    t = fresh.limits.numpy() * np.tanh((by_hand - fresh.offsets.numpy()) / fresh.limits.numpy())
    np.testing.assert_allclose(fresh.signal(activations), t, rtol=1e-3, atol=1e-4)


def test_resumed_learning_ends_with_the_same_bits(tmp_path):
    whole, begun, resumed = (toy_learning(epochs=6, min_accuracy=0.6) for _ in range(3))
    for _ in range(6):
        whole.epoch()
    for _ in range(3):
        begun.epoch()
    torch.save(begun.state(), tmp_path / "state.pt")
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(3):
        resumed.epoch()
    assert whole.curves == resumed.curves and whole.log == resumed.log
    for one, other in zip(vars(whole.stored).values(), vars(resumed.stored).values(), strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_an_accuracy_out_of_reach_says_the_best_one_seen(tmp_path):
    # A linear reading under noise errs near its threshold.
    learning = toy_learning("linear", min_accuracy=0.99999, epochs=2)
    with pytest.raises(OutOfReachError, match=r"missed after 22 epochs with .* the best held-out accuracy seen was 0\.\d+"):
        learn(learning, tmp_path, "toy")
    assert (tmp_path / "curves.csv").exists() and not (tmp_path / "checkpoint.pt").exists()


def test_a_batch_that_says_no_covariance():
    with pytest.raises(InputError, match="--batch-size: found 500 activations, expected more than --directions 500"):
        toy_learning(directions=500)


def test_learning_that_leaves_the_numbers():
    learning = toy_learning()
    learning.method = replace(learning.method, learning_rate=1e30)
    with pytest.raises(InputError, match=r"left the range of float32 at update 1 .* --learning-rate 1e"):
        learning.epoch()


def test_directions_that_carry_nothing_are_not_sent():
    fresh = replace(linear_fresh([1.0, 1.0, 1.0]), form="saturated", limits=torch.full((3,), 5.0))
    activations = toy(4000, 5)[0] * torch.tensor([1.0, 0.05, 0.2, 1.0]).view(SHAPE) + 0.5
    kept = lean(fresh, activations)
    assert torch.equal(kept.directions, fresh.directions[:, [0, 2]]) and kept.scales.shape == (2,)
    # The mean of what is not sent any more goes to mu; what is sent is the same on average.
    with_all, without = (of.embedded(of.signal(activations).double()).mean(0) for of in (fresh, kept))
    torch.testing.assert_close(with_all, without, atol=1e-5, rtol=0)
    # For these inputs the bound hardly moves, for any inputs it does.
    assert bits(kept, activations) == pytest.approx(bits(fresh, activations), abs=0.01)
    assert kept.bits_for_any_inputs() == pytest.approx(2 / 3 * fresh.bits_for_any_inputs())
    nothing = lean(fresh, torch.zeros(20, *SHAPE) + 1e-4 * toy(20, 6)[0])
    assert len(nothing.scales) == 1  # the loudest stays


# Files.


def test_files_bring_back_the_same_noise(tmp_path):
    with_hidden = replace(linear_fresh([1.0, 2.0]), hidden=torch.ones(5, 3), readings=torch.ones(3, 2))
    for fresh in (linear_fresh([1.0, 2.0]), quantised_fresh(1.0, 0.5), with_hidden):
        write_together(fresh.files(tmp_path))
        found = load_fresh(tmp_path, SHAPE)
        assert found.form == fresh.form
        for name, value in vars(fresh).items():
            assert getattr(found, name) is value is None or name == "form" or torch.equal(getattr(found, name), value)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("form", np.array("round"), "found 'round', expected one of linear, saturated, quantised, flipped"),
        ("scales", np.zeros(2, np.float32), "found 0.0, expected numbers above 0"),
        ("scales", np.ones(2), "found float64"),
        ("form", np.array("linear"), "found finite limits, expected infinite ones, for the form is linear"),
        ("limits", np.array([1, np.inf], np.float32), "found NaN or infinity"),
        ("offsets", np.array([0, np.nan], np.float32), "found NaN or infinity"),
        ("additive", np.zeros((4, 2, 1), np.float32), r"found float32 \(4, 2, 1\), expected float32 \(4, 1, 1\)"),
        ("directions", np.ones((4, 2), np.float32), "orthonormal"),
        ("directions", np.ones((5, 2), np.float32), r"expected float32 \(4, 2\)"),
        ("directions", np.float32(1), "expected float32"),
        ("readings", None, "no such file"),
    ],
)
def test_broken_files(tmp_path, name, array, message):
    fresh = replace(linear_fresh([1.0, 2.0]), form="saturated", limits=torch.ones(2))
    write_together(fresh.files(tmp_path))
    path = tmp_path / f"fresh-{name}.npy"
    path.unlink()
    if array is not None:
        np.save(path, array)
    with pytest.raises(InputError, match=message):
        load_fresh(tmp_path, SHAPE)


@pytest.mark.parametrize("how", ["verbatim", "order-preserving", "elementwise-laplace"])
def test_fresh_noise_has_one_rule(how):
    with pytest.raises(InputError, match=f"--draw {how}: fresh is the rule"):
        Channel(linear_fresh([1.0]), how)
    with pytest.raises(InputError, match="--draw fresh: not a rule of this noise; expected elementwise-laplace or"):
        Channel(Collection(None, torch.zeros(2, *SHAPE)), "fresh")


# Scripts.


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"members": 2}, "--members: found 2, expected 1"),
        ({"directions": 0}, "--directions: found 0, expected at least 1"),
        ({"alpha": 0.1}, "--alpha: found 0.1, which means nothing with --method fresh"),
        ({"scale": 2.0}, "--scale: found 2.0, which means nothing with --method fresh"),
        ({"learning_rate": -1.0}, "--learning-rate: found -1.0"),
        ({"recipe": "authors"}, "--recipe authors: --method fresh has suite"),
    ],
)
def test_bad_flags(tmp_path, flags, message):
    for script in (train, train_noise_alexnet):
        with pytest.raises(InputError, match=message):
            script.main(script.Arguments(method="fresh", output=tmp_path, **flags))


def test_form_means_nothing_to_other_methods(tmp_path):
    with pytest.raises(InputError, match="--form: found linear, which means nothing with --method self-supervised"):
        train.main(train.Arguments(form="linear", output=tmp_path))


@pytest.mark.parametrize("script", [sample, attack], ids=lambda script: script.__name__)
@pytest.mark.parametrize("beside", [{"additive": Path("a.npy")}, {"orders": Path("o.npy")}, {"skip_rows": 1}], ids=str)
def test_other_noise_beside_fresh(tmp_path, script, beside):
    with pytest.raises(InputError, match="--fresh: found other noise or --skip-rows beside it"):
        script.main(script.Arguments(task="lenet", fresh=tmp_path, draw="fresh", output=tmp_path, **beside))


def test_digits_from_learning_to_sample(tmp_path, quick_digits):
    """Steps 1 and 2 on real digits: the bound, the accuracy, and what is written."""
    train.main(train.Arguments(method="fresh", output=tmp_path / "noise"))
    learned = runs_results(tmp_path / "noise")
    assert learned["average test accuracy"] > 0.97 and learned["bits at most, test"] < 2
    sample.main(sample.Arguments(fresh=tmp_path / "noise", n_samples=200, seed=0, output=tmp_path / "sample"))
    sampled = runs_results(tmp_path / "sample")
    # Handed over as a folder it is the same noise, to the bit.
    sample.main(sample.Arguments(noise=tmp_path / "noise", n_samples=200, judged_on=10, seed=0, output=tmp_path / "again"))
    for path in (tmp_path / "sample").glob("*.npy"):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    assert sampled["average public accuracy"] == pytest.approx(learned["average test accuracy"], abs=0.01)
    assert sampled["average private accuracy"] < 0.3
    original, noisy = (np.load(tmp_path / "sample" / f"{name}_activations.npy") for name in ("original", "noisy"))
    assert original.shape == noisy.shape == (200, 120, 1, 1) and original.dtype == noisy.dtype == np.float32


def runs_results(folder):
    return json.loads((folder / "run.json").read_text())["results"]
