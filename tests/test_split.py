from collections import OrderedDict

import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from models.lenet import CUTTING_POINTS, pretrained_lenet
from shredder import metrics
from shredder.inputs.digits import to_network_input
from shredder.io.cli import InputError
from shredder.metrics import ActivationMoments, accuracy, mean_and_spread, noisy_accuracy
from shredder.noise.tensors import noisy
from shredder.split import SplitNetwork

EVERY_LAYER = list(pretrained_lenet(10).layers())
R = 3


@pytest.fixture(scope="module")
def images(mnist_5k):
    return to_network_input(mnist_5k.test_images[:100])


@pytest.fixture(params=CUTTING_POINTS)
def cut(request, images):
    """The network split at each cutting point, the activations there, and R noise tensors of their size."""
    split = SplitNetwork(pretrained_lenet(10), request.param)
    generator, shape = torch.Generator().manual_seed(0), (R, *CUTTING_POINTS[request.param])
    w, n = 1 + 0.5 * torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    return split, split.activations(images), w, n


def direct_answers(split, activations, w, n):
    """Member by member, (images, R, classes)."""
    return torch.stack([split.cloud(noisy(activations, *pair)) for pair in zip(w, n, strict=True)], dim=1)


@pytest.mark.parametrize("layer", EVERY_LAYER[:-1])
def test_halves_make_the_network(images, layer):
    network = pretrained_lenet(10)
    split = SplitNetwork(network, layer)
    assert torch.equal(split.cloud(split.edge(images)), network(images))
    assert len(split.edge) + len(split.cloud) == len(EVERY_LAYER)


@pytest.mark.parametrize("layer, shape", CUTTING_POINTS.items())
def test_activations(images, layer, shape):
    split = SplitNetwork(pretrained_lenet(10), layer)
    whole = split.activations(images)
    assert whole.shape == (100, *shape) and not whole.requires_grad and whole.min() >= 0
    # Convolutions may sum in another order for another batch size.
    torch.testing.assert_close(split.activations(images, batch_size=33), whole)


def test_frozen_for_good():
    network = pretrained_lenet(10).train()
    split = SplitNetwork(network, "s4")
    assert not any(p.requires_grad for p in network.parameters()) and not any(m.training for m in split.modules())


def test_noise_is_added_before_the_cloud(cut):
    split, activations, w, n = cut
    found = split.noisy_cloud(activations, w, n)
    assert found.shape == (100, R, 10)
    # Sums of at most 400 float32 products of size 10, in another order: 400 * 10 * 6e-8 at the very worst.
    torch.testing.assert_close(found, direct_answers(split, activations, w, n), rtol=1e-4, atol=3e-4)


def test_scores_are_log_probabilities_up_to_what_classes_share(cut):
    split, activations, w, n = cut
    for multiplicative in (w, None):
        scores = split.noisy_scores(activations, multiplicative, n)
        assert torch.equal(scores.log_softmax(-1), split.noisy_cloud(activations, multiplicative, n))


def test_scores_of_a_network_that_ends_in_scores():
    split = SplitNetwork(nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(4, 3)), "1")
    activations, n = torch.rand(5, 4), torch.rand(2, 4)
    scores = split.noisy_scores(activations, None, n)
    assert not torch.equal(scores.logsumexp(-1), torch.zeros(5, 2))
    torch.testing.assert_close(scores.log_softmax(-1), split.noisy_cloud(activations, None, n))


def test_additive_noise_alone_is_added_before_the_cloud(cut):
    """Without multiplicative tensors: cloud(a + n), member by member."""
    split, activations, _, n = cut
    found = split.noisy_cloud(activations, None, n)
    assert found.shape == (100, R, 10)
    expected = torch.stack([split.cloud(activations + member) for member in n], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=3e-4)
    # And no multiplicative tensor is what one of ones is.
    torch.testing.assert_close(found, split.noisy_cloud(activations, torch.ones_like(n), n), rtol=1e-4, atol=3e-4)


def test_nothing_added(cut, images):
    split, activations, _, n = cut
    plain = split.noisy_cloud(activations, None, torch.zeros_like(n))
    torch.testing.assert_close(plain, pretrained_lenet(10)(images)[:, None].expand(-1, R, -1), rtol=1e-4, atol=3e-4)


def test_gradients_reach_additive_noise_alone(cut):
    split, activations, _, n = cut
    n = n.requires_grad_()
    expected = torch.stack([split.cloud(activations + member) for member in n], dim=1)
    (found,) = torch.autograd.grad(split.noisy_cloud(activations, None, n)[..., 3].sum(), n)
    (expected,) = torch.autograd.grad(expected[..., 3].sum(), n)
    # Relative to the largest: a rectifier or a maximum within rounding of its switch may fall either way.
    assert (found - expected).abs().max() <= 1e-3 * expected.abs().max()


@pytest.mark.parametrize("layer", EVERY_LAYER[:-1])
def test_additive_noise_after_any_layer(images, layer):
    """Whether the cloud begins with a linear map, dense or a convolution, or with what is not linear."""
    split = SplitNetwork(pretrained_lenet(10), layer)
    activations = split.activations(images[:20])
    n = torch.randn(R, *activations.shape[1:], generator=torch.Generator().manual_seed(0))
    expected = torch.stack([split.cloud(activations + member) for member in n], dim=1)
    torch.testing.assert_close(split.noisy_cloud(activations, None, n), expected, rtol=1e-4, atol=3e-4)


def test_no_noise(cut, images):
    split, activations, w, n = cut
    plain = split.noisy_cloud(activations, torch.ones_like(w), torch.zeros_like(n))
    torch.testing.assert_close(plain, pretrained_lenet(10)(images)[:, None].expand(-1, R, -1), rtol=1e-4, atol=3e-4)


def test_gradients_reach_the_noise(cut):
    split, activations, w, n = cut
    w, n = w.requires_grad_(), n.requires_grad_()
    found = torch.autograd.grad(split.noisy_cloud(activations, w, n)[..., 3].sum(), (w, n))
    expected = torch.autograd.grad(direct_answers(split, activations, w, n)[..., 3].sum(), (w, n))
    for one, other in zip(found, expected, strict=True):
        # Relative to the largest: a rectifier or a maximum within rounding of its switch may fall either way.
        assert (one - other).abs().max() <= 1e-3 * other.abs().max()


@pytest.mark.parametrize("name", ["conv5", "", EVERY_LAYER[-1]])
def test_unknown_cutting_point(name):
    with pytest.raises(InputError, match=f"--cutting-point: found '{name}', expected one of c1, relu1, s2"):
        SplitNetwork(pretrained_lenet(10), name)


def test_a_cloud_that_only_flattens():
    """Nothing is folded, and the answers are the scores' log-probabilities."""
    torch.manual_seed(0)
    split = SplitNetwork(nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 3, 4), flat=nn.Flatten())), "conv")
    a, n = torch.randn(5, 3, 1, 1), torch.randn(2, 3, 1, 1)
    expected = (a[:, None] + n).flatten(2).log_softmax(-1)
    assert_allclose(split.noisy_cloud(a, None, n), expected)
    assert_allclose(split.noisy_cloud(a, torch.ones_like(n), n), expected)


def test_snr_equals_the_formula(cut):
    _, activations, w, n = cut
    a = activations.double()
    expected = [
        a.square().mean() / (a - noisy(a, *pair)).var(correction=0) for pair in zip(w.double(), n.double(), strict=True)
    ]
    # All in float64; the variance's cancellation costs a few of its sixteen digits.
    assert_allclose(ActivationMoments(activations).snr(w, n), expected, rtol=1e-10)


def test_snr_of_additive_noise_alone(cut):
    """With w = 1 the activation cancels in a - a', and what is left is n: E[a^2] / Var(n)."""
    _, activations, w, n = cut
    moments, expected = ActivationMoments(activations), activations.double().square().mean()
    assert_allclose(moments.snr(None, n), [expected / member.double().var(correction=0) for member in n], rtol=1e-10)
    assert_allclose(moments.snr(None, n), moments.snr(torch.ones_like(w), n), rtol=1e-10)


def test_snr_of_more_activations_than_are_taken_at_once(cut, monkeypatch):
    _, activations, w, n = cut
    expected = ActivationMoments(activations).snr(w, n)
    monkeypatch.setattr(metrics, "_ROWS_AT_ONCE", 33)  # leaves a rest of one
    assert_allclose(ActivationMoments(activations).snr(w, n), expected, rtol=1e-10)


def test_snr_by_hand():
    """a = (1, 3) and (3, 1); w = 1 and n = (2, -2): E[a^2] = 5, Var = 4. With w = 0 and n = 0: a - a' = a, 5 / 1."""
    moments = ActivationMoments(torch.tensor([[1.0, 3.0], [3.0, 1.0]]))
    found = moments.snr(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([[2.0, -2.0], [0.0, 0.0]]))
    assert found.tolist() == [5 / 4, 5.0]


def test_accuracy_by_hand():
    scores = torch.tensor([[[3, 1], [0, 1]], [[2, 1], [1, 0]], [[0, 1], [0, 1]], [[0, 1], [1, 0]]])  # (4, R = 2, classes)
    labels = torch.tensor([0, 1, 1, 1])
    assert accuracy(scores, labels).tolist() == [0.75, 0.25]
    assert accuracy(scores[:, 0], labels).item() == 0.75


def test_noisy_accuracy_equals_the_count(cut, mnist_5k, monkeypatch):
    split, activations, w, n = cut
    labels = mnist_5k.test_labels[:100]
    expected = (direct_answers(split, activations, w, n).argmax(2) == labels[:, None]).sum(0) / 100
    assert_allclose(noisy_accuracy(split, activations, labels, w, n), expected, atol=1e-6)
    elements = split.head(activations[:1]).numel()
    monkeypatch.setattr(metrics, "_ELEMENTS_AT_ONCE", 40 * elements)  # batches of 13 that leave a rest of 9
    assert_allclose(noisy_accuracy(split, activations, labels, w, n), expected, atol=1e-6)


def test_noisy_accuracy_of_additive_noise_alone(cut, mnist_5k, monkeypatch):
    split, activations, w, n = cut
    labels = mnist_5k.test_labels[:100]
    expected = [(split.cloud(activations + member).argmax(1) == labels).double().mean() for member in n]
    assert_allclose(noisy_accuracy(split, activations, labels, None, n), expected, atol=1e-6)
    assert_allclose(noisy_accuracy(split, activations, labels, torch.ones_like(w), n), expected, atol=1e-6)
    elements = R * split.head(activations[:1]).numel()
    monkeypatch.setattr(metrics, "_ELEMENTS_AT_ONCE", 13 * elements)  # batches of 13 that leave a rest of 9
    assert_allclose(noisy_accuracy(split, activations, labels, None, n), expected, atol=1e-6)


def test_mean_and_spread():
    assert mean_and_spread(torch.tensor([1, 3])) == (2, 2**0.5)
    assert mean_and_spread(torch.tensor([7.0])) == (7, None)
