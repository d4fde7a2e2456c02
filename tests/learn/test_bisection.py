"""The loudest level that keeps an accuracy: bisection against closed forms, resumed, and out of reach."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from shredder.io.cli import InputError
from shredder.learn.bisection import Bisection
from shredder.learn.defences import Cloak, Dropout, Isotropic, IsotropicLaplace, Pac, moments
from shredder.learn.learner import OutOfReachError, Settings, learner
from shredder.learn.run import learn
from shredder.split import SplitNetwork
from tests.learn.test_fresh import SHAPE, TwoClasses, toy

EVERY = {"isotropic": Isotropic(), "laplace": IsotropicLaplace(), "pac": Pac(), "cloak": Cloak(0.3, 5e-2), "dropout": Dropout()}
every_method = pytest.mark.parametrize("method", EVERY.values(), ids=EVERY)


@pytest.fixture(autouse=True)
def few_updates(monkeypatch):
    monkeypatch.setattr("shredder.learn.defences._UPDATES", 300)


def learning_of(method, min_accuracy=0.9, levels=16, most=40, seed=0) -> Bisection:
    """Standard Normal activations of four elements; the class is the sign of the first."""
    target = Settings(1, 1, most, levels - 1, min_accuracy, 500)
    return learner(method, SplitNetwork(TwoClasses(), "edge"), toy(4000, 1), toy(4000, 2), target, seed)


def finished(*args, **flags) -> Bisection:
    learning = learning_of(*args, **flags)
    while not learning.log:
        learning.epoch()
    return learning


def level_of(learning: Bisection) -> float:
    return learning.log[0][-1]


# Levels in closed form. Errors of the sign of z + s e: arctan(s) / pi.


def test_isotropic_noise_comes_to_the_scale_that_errs_as_often_as_allowed():
    for errors in (0.05, 0.1, 0.2):
        learning = finished(Isotropic(), min_accuracy=1 - errors)
        s = learning.stored.scales.unique()
        assert len(s) == 1 and s.item() == pytest.approx(math.tan(math.pi * errors), rel=0.06)
        assert learning.log[0][1] > 1 - errors and learning.log[0][1] == pytest.approx(1 - errors, abs=1e-3)


def test_laplace_noise_comes_to_the_scale_that_errs_as_often_as_allowed():
    """E[exp(-|z| / b)] / 2 of standard Normal z is exp(1 / 2b^2) Phi(-1 / b)."""
    learning = finished(IsotropicLaplace(), min_accuracy=0.9)
    b = learning.stored.laplace("elementwise-laplace")[0].scale
    assert (b == b[0]).all()
    assert math.exp(0.5 / b[0] ** 2) * norm.cdf(-1 / b[0]) == pytest.approx(0.1, abs=0.006)


def test_dropout_leaves_out_as_many_channels_as_may_err():
    """Without the first channel the answer is its bias', one of two: errors (1 - p) / 2."""
    learning = finished(Dropout(), min_accuracy=0.9)
    assert learning.stored.kept.unique().item() == pytest.approx(0.8, abs=0.01)
    assert level_of(learning) == pytest.approx(0.25, abs=0.02)
    assert learning.summary(*toy(1000, 3))["bits at most, test"] == "none"


@every_method
def test_louder_is_less_accurate_and_the_accepted_is_the_loudest_that_passed(method):
    learning = finished(method)
    levels, accuracies = (np.array([row[column] for row in learning.curves]) for column in (5, 3))
    passed = accuracies > 0.9
    assert level_of(learning) == levels[passed].max() and learning.passed == level_of(learning)
    assert learning.failed == levels[~passed].min() and 1 < learning.failed / learning.passed < 1.01
    order = levels.argsort()
    # Cloak's elements that are not sent change with the level, so that its noise does not grow in proportion.
    assert (np.diff(accuracies[order]) < (5e-3 if isinstance(method, Cloak) else 2e-3)).all()


def test_more_is_sent_where_less_may_be_missed():
    bits = [
        finished(Isotropic(), min_accuracy=target).summary(*toy(2000, 3))["bits at most, test"] for target in (0.8, 0.9, 0.95)
    ]
    assert bits == sorted(bits)
    # Four elements of unit variance at tan(pi errors).
    assert bits[1] == pytest.approx(4 * math.log2(1 + math.tan(math.pi * 0.1) ** -2) / 2, rel=0.05)


# Its state.


@every_method
def test_resumed_learning_ends_with_the_same_bits(method, tmp_path):
    whole, begun, resumed = learning_of(method, levels=9), learning_of(method, levels=9), learning_of(method, levels=9, seed=5)
    for _ in range(9):
        whole.epoch()
    for _ in range(4):
        begun.epoch()
    torch.save(begun.state(), tmp_path / "state.pt")
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(5):
        resumed.epoch()
    assert whole.curves == resumed.curves and whole.log == resumed.log and len(whole.log) == 1
    assert whole.stored.files(tmp_path) == resumed.stored.files(tmp_path)
    assert whole.summary(*toy(500, 3)) == resumed.summary(*toy(500, 3))


def test_a_state_of_another_method_is_refused():
    with pytest.raises(ValueError, match="the state's prepared has mean, directions, scales, expected spread"):
        learning_of(Isotropic()).restore(learning_of(Pac()).state())
    narrow = learning_of(Pac()).state()
    narrow["prepared"]["scales"] = narrow["prepared"]["scales"][:2]
    with pytest.raises(ValueError, match=r"scales is \(2,\), expected \(4,\)"):
        learning_of(Pac()).restore(narrow)


# Ends of the scale.


def test_an_accuracy_out_of_reach_says_the_best_one_seen(tmp_path):
    learning = learning_of(Isotropic(), min_accuracy=1.0, levels=3, most=5)
    with pytest.raises(OutOfReachError, match=r"none of 5 levels down to 0\.00391 exceeded it; the best .* was 0\.9\d+"):
        learn(learning, tmp_path, "toy")
    assert (tmp_path / "curves.csv").exists() and not (tmp_path / "checkpoint.pt").exists()


def test_an_accuracy_that_any_noise_keeps():
    """Then the loudest that was tried is accepted, and no level has failed."""
    learning = finished(Isotropic(), min_accuracy=0.1, levels=6)
    assert level_of(learning) == 4.0**5 and learning.failed == math.inf
    assert learning.summary(*toy(500, 3))["quietest level that failed"] == "none"


def test_levels_go_on_until_one_has_passed():
    learning = finished(Isotropic(), min_accuracy=0.99, levels=2)
    assert len(learning.curves) == 4 and level_of(learning) == 4.0**-3


# What is prepared.


def test_moments_over_parts_are_those_of_the_whole():
    activations = torch.from_numpy(np.random.default_rng(0).gamma(1.0, 2.0, (2300, 2, 3))).float()
    flat = activations.flatten(1).double()
    for covariance, expected in ((False, flat.var(0)), (True, torch.cov(flat.T))):
        mean, found = moments(activations, covariance)
        torch.testing.assert_close(mean, flat.mean(0))
        torch.testing.assert_close(found, expected)


def correlated(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Elements of variances 16, 4, 1 and 0 along rotated axes."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(np.random.default_rng(7).standard_normal((4, 4)))[0]
    a = rng.standard_normal((n, 4)) * [4, 2, 1, 0] @ q.T + 3
    return torch.from_numpy(a).float().view(n, *SHAPE), torch.zeros(n, dtype=torch.long)


def test_pac_noise_is_the_quietest_of_its_bound():
    """e_i = sqrt(l_i) sum_j sqrt(l_j) / (2 v) at the bound v = 1/2 sum l_i / e_i, and nothing where nothing varies."""
    activations, labels = correlated(20_000, 0)
    split, settings, rng = SplitNetwork(TwoClasses(), "edge"), Settings(1, 1, 2, 1, 0.5, 500), np.random.default_rng(0)
    prepared = Pac().prepared(split, (activations, labels), settings, rng)
    noise = Pac().stored(prepared, 0.5)
    e, l = noise.scales.double().square(), torch.tensor([16.0, 4.0, 1.0], dtype=torch.float64)  # noqa: E741
    v = (l / e).sum() / 2
    torch.testing.assert_close(e, l.sqrt() * l.sqrt().sum() / (2 * v), rtol=0.03, atol=0)
    assert e.sum().item() == pytest.approx(0.25 * 21, rel=0.03)  # level^2 of the signal's power
    # The bound in bits is 1/2 sum log2(1 + l_i / e_i), smaller than v.
    bits = noise.bits(noise.signal(activations), "fresh", rng)
    assert bits == pytest.approx((1 + l / e).log2().sum().item() / 2, rel=0.03) and bits < v / math.log(2)
    # What is sent without noise is the activation.
    torch.testing.assert_close(noise.embedded(noise.signal(activations[:50]).double()), activations[:50], atol=1e-4, rtol=0)


def test_cloak_s_noise_is_loud_where_the_answer_does_not_look():
    noise = finished(Cloak(0.3, 5e-2)).stored
    scales = noise.scales.flatten()
    assert scales[0].item() < 1 and (scales[1:] == math.inf).all()  # nothing is sent of the other three
    assert finished(Isotropic()).stored.scales[0].item() == pytest.approx(scales[0].item(), rel=0.1)
    torch.testing.assert_close(noise.additive.flatten()[1:], torch.zeros(3), atol=0.2, rtol=0)


def test_activations_that_have_no_covariance_are_refused():
    large = torch.zeros(20, 4001, 1, 1), torch.zeros(20, dtype=torch.long)
    with pytest.raises(InputError, match="--method pac: found activations of 4001 elements, expected 4000 at most"):
        Pac().prepared(SplitNetwork(TwoClasses(), "edge"), large, Settings(1, 1, 2, 1, 0.5, 500), np.random.default_rng(0))


def test_members_are_refused():
    class Flags:
        members, method = 3, "isotropic"

    with pytest.raises(InputError, match="--members: found 3, expected 1, for --method isotropic has no members"):
        Isotropic.check(Flags)
