"""Bits in an attacker's terms: rate and distortion, Fisher information, and the errors that they allow."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.lenet import WEIGHTS, pretrained_lenet
from shredder.attack.terms import PRIOR, accuracy_at_most, fisher_information, label_at_most, of_input
from shredder.noise.channel import Channel
from shredder.split import SplitNetwork
from tests.noise.test_channel import linear_fresh
from tests.noise.test_stored import STORED


def blahut_arimoto(shares: np.ndarray, slope: float) -> tuple[float, float]:
    """Rate in bits and accuracy on the curve of rate and zero-one distortion, by the algorithm's own fixed point."""
    distortion, output = 1 - np.eye(len(shares)), np.full(len(shares), 1 / len(shares))
    for _ in range(5000):
        given = output * np.exp(-slope * distortion)
        given /= given.sum(1, keepdims=True)
        output = shares @ given
    joint = shares[:, None] * given
    rate = (joint * np.log2(np.maximum(given, 1e-300) / np.maximum(output, 1e-300))).sum()
    return rate, np.trace(joint)


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("shares", [[0.5, 0.3, 0.15, 0.05], [0.25] * 4, [0.9, 0.1]])
def test_it_is_the_curve_of_rate_and_distortion(shares, slope):
    rate, accuracy = blahut_arimoto(np.array(shares), slope)
    assert accuracy_at_most(rate, np.array([shares])) == pytest.approx(accuracy, abs=1e-6)


def test_ten_labels_by_fano():
    """log2 10 - h(p) - (1 - p) log2 9 = 0.96 at p = 0.566."""
    p = accuracy_at_most(0.96, np.full((1, 10), 0.1))
    h = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    assert p == pytest.approx(0.566, abs=1e-3) and math.log2(10) - h - (1 - p) * math.log2(9) == pytest.approx(0.96)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_more_bits_more_right_from_the_best_guess_to_all(conditions, labels, seed):
    shares = np.random.default_rng(seed).dirichlet(np.full(conditions * labels, 0.7)).reshape(conditions, labels)
    entropy = -(shares * np.log2(np.maximum(shares / shares.sum(1, keepdims=True), 1e-300))).sum()
    found = [accuracy_at_most(bits, shares) for bits in np.linspace(0, entropy + 0.1, 7)]
    assert found[0] == pytest.approx(shares.max(1).sum()) and found[-1] == 1
    assert all(low <= high + 1e-9 for low, high in pairwise(found))


def test_bits_go_where_they_help_most():
    """Under one condition the label is known already; all bits go to the other, half of the time."""
    shares = np.array([[0.5, 0.0], [0.25, 0.25]])
    assert accuracy_at_most(0.2, shares) == pytest.approx(0.5 + 0.5 * accuracy_at_most(0.4, np.array([[0.5, 0.5]])))


def test_a_private_label_given_the_public_one():
    private = torch.arange(10).repeat(20)
    public = (private > 4).long()
    assert label_at_most(0.0, 0.0, public, private) == pytest.approx(0.2)
    assert label_at_most(0.001, 0.001, public, private) < 0.25
    assert label_at_most(math.inf, math.inf, public, private) == 1
    assert label_at_most(-0.1, 0.0, public, private) == pytest.approx(0.2)


def test_fisher_information_of_a_linear_edge():
    """own = x W / s: tr(J^T J) / d = |W|^2 / (s^2 d), of any probes on average; with one row they agree exactly."""
    rng = np.random.default_rng(0)
    w = torch.from_numpy(rng.standard_normal((12, 5))).float()
    inputs = torch.from_numpy(rng.standard_normal((40, 3, 4))).float()
    exact = w.square().sum().item() / 0.25 / 12
    assert fisher_information(lambda x: x.flatten(1) @ w / 0.5, inputs, rng) == pytest.approx(exact, rel=0.05)
    one = fisher_information(lambda x: x.flatten(1) @ w[:, :1] / 0.5, inputs, rng)
    assert one == pytest.approx(w[:, 0].square().sum().item() / 0.25 / 12, rel=1e-5)


def test_a_guess_errs_as_the_cramer_rao_bound_says():
    """Normal noise on an orthonormal edge: the unbiased guess a' has the mean squared error 1 / dFIL."""
    s, rng = 0.3, np.random.default_rng(1)
    q = torch.from_numpy(np.linalg.qr(rng.standard_normal((6, 6)))[0]).float()
    inputs = torch.from_numpy(rng.standard_normal((5000, 6))).float()
    noise = torch.from_numpy(rng.standard_normal((5000, 6))).float() * s
    error = ((inputs @ q + noise) @ q.T - inputs).square().mean().item()
    assert error == pytest.approx(1 / fisher_information(lambda x: x @ q / s, inputs, rng), rel=0.05)


def test_noise_without_a_slope_has_no_fisher_information():
    split = SplitNetwork(pretrained_lenet(2, WEIGHTS[2]), "relu5")
    inputs, rng = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0)), np.random.default_rng(0)
    for name, rule in (("quantised", "fresh"), ("pairs", "order-preserving"), ("tensors", "verbatim")):
        assert set(of_input(Channel(STORED[name], rule), split, inputs, rng).values()) == {"none"}


def test_errors_are_the_inverse_of_what_is_known():
    class Identity(torch.nn.Module):
        def layers(self):
            return {"edge": torch.nn.Identity(), "flatten": torch.nn.Flatten(), "log_softmax": torch.nn.LogSoftmax(-1)}

    noise = linear_fresh([0.5])
    found = of_input(
        Channel(noise, "fresh"), SplitNetwork(Identity(), "edge"), torch.rand(50, 4, 1, 1), np.random.default_rng(0)
    )
    # One of four numbers is read, by noise of scale 0.5.
    assert list(found.values()) == pytest.approx([1.0, 1.0, 1 / (1 + PRIOR)], rel=1e-5)
    louder = replace(noise, scales=2 * noise.scales)
    found = of_input(
        Channel(louder, "fresh"), SplitNetwork(Identity(), "edge"), torch.rand(50, 4, 1, 1), np.random.default_rng(0)
    )
    assert found["error of an unbiased guess at least"] == pytest.approx(4)
