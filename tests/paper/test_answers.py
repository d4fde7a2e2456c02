"""What a device sends that computes everything: arithmetic against simulation and closed forms."""

import math

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import entropy

from paper.answers import Answers, binary_entropy, noisy_score, randomised_response


def part(n: int, seed: int, spread: float = 4.0) -> Answers:
    """Ten private labels, of which those above 5 are 1; scores that err where they are small."""
    rng = np.random.default_rng(seed)
    private = rng.integers(10, size=n)
    public = (private > 5).astype(np.int64)
    scores = (2 * public - 1) * (0.5 + rng.exponential(spread, n))
    wrong = rng.random(n) < 0.02
    return Answers(np.where(wrong, -scores, scores), public, private)


ROWS = {name: part(20_000, seed) for seed, name in enumerate(("learning", "held-out", "test"))}


def guessed_from(seen: np.ndarray, rows: Answers, of: np.ndarray, own: Answers) -> float:
    """Accuracy of the most common private label of own rows with the same observation."""
    guess = {value: np.bincount(own.private[of == value]).argmax() for value in np.unique(of)}
    return np.mean([guess[value] == label for value, label in zip(seen, rows.private, strict=True)])


def test_flips_come_to_the_accuracy_that_is_allowed():
    found = randomised_response(ROWS, 0.9)
    f, judged = found["flip probability"], ROWS["held-out"].accuracy
    assert judged * (1 - f) + (1 - judged) * f == pytest.approx(0.9)
    assert found["epsilon (nats)"] == pytest.approx(math.log((1 - f) / f))
    assert found["bits at most"] == 1 - binary_entropy(f) > found["bits, test"]
    # By simulation: flips, the plug-in information of two bits, and the best guess from own rows that are flipped as well.
    rng, test, own = np.random.default_rng(5), ROWS["test"], ROWS["learning"]
    sent, known = (of.answers ^ (rng.random(len(of.answers)) < f) for of in (test, own))
    assert (sent == test.public).mean() == pytest.approx(found["public accuracy (%)"] / 100, abs=0.01)
    joint = np.histogram2d(test.answers, sent, 2)[0] / len(sent)
    independent = joint.sum(1, keepdims=True) * joint.sum(0)
    assert (joint * np.log2(joint / independent)).sum() == pytest.approx(found["bits, test"], abs=0.01)
    assert guessed_from(sent, test, known, own) == pytest.approx(found["best guess"] / 100, abs=0.01)
    assert found["best guess, 1000 queries"] == 100 * guessed_from(test.answers, test, own.answers, own)


def test_entropy_of_a_coin():
    assert binary_entropy(0.5) == 1 and binary_entropy(0) == 0 and binary_entropy(0.11) == pytest.approx(0.49992, abs=1e-5)


def test_an_accuracy_that_the_network_itself_misses():
    for send in (randomised_response, noisy_score):
        with pytest.raises(ValueError, match=r"held-out accuracy 0\.9\d+ does not exceed 0\.999"):
            send(ROWS, 0.999)


def test_a_noisy_score_comes_to_the_accuracy_that_is_allowed():
    found = noisy_score(ROWS, 0.9)
    c, b, test = found["clip"], found["scale"], ROWS["test"]
    rng = np.random.default_rng(6)
    y = np.clip(test.scores, -c, c) + rng.laplace(0, b, len(test.scores))
    assert ((y > 0) == test.public).mean() == pytest.approx(found["public accuracy (%)"] / 100, abs=0.01)
    assert found["epsilon (nats)"] == pytest.approx(2 * c / b)
    # All but a few scores are clipped: two levels under Laplace noise, whose information follows from the posterior's entropy.
    level = np.where(test.scores > 0, c, -c)
    y = level + rng.laplace(0, b, len(level))
    share = test.answers.mean()
    posterior = expit(np.log(share / (1 - share)) + (np.abs(y + c) - np.abs(y - c)) / b)
    two_levels = binary_entropy(share) - entropy([posterior, 1 - posterior], base=2).mean()
    assert found["bits, test"] == pytest.approx(two_levels, abs=0.02)
    assert 0 < found["bits, test"] < found["bits at most"] == math.log2(1 + c / b)


def test_less_is_told_where_more_may_be_missed():
    for send in (randomised_response, noisy_score):
        bits = [send(ROWS, target)["bits, test"] for target in (0.75, 0.85, 0.95)]
        assert bits == sorted(bits)
        assert send(ROWS, 0.75)["best guess"] < send(ROWS, 0.95)["best guess"] < 27  # of six and four equally frequent labels
