"""Defences of others through the steps: step 2 and the attack take their folders as they take any other."""

import json

import numpy as np
import pytest

import attack
import sample_mutual_info
import train_noise

# Methods, and what a' is of each.
FORMULAS = {
    "isotropic": "a + mu + s * e",
    "isotropic-laplace": "a + n",
    "pac": "mu + Q y",
    "cloak": "a + mu + s * e",
    "dropout": "w * a",
}


def results(folder):
    return json.loads((folder / "run.json").read_text())["results"]


@pytest.mark.parametrize("method", FORMULAS)
def test_a_defence_through_the_steps(method, tiny_task, tmp_path, monkeypatch):
    monkeypatch.setattr("shredder.learn.defences._UPDATES", 100)
    noise, sample, attacked = (tmp_path / name for name in ("noise", "sample", "attacks"))
    few = {"members": 1, "epochs": 20, "min_epochs": 15, "min_accuracy": 0.8}
    train_noise.main(train_noise.Arguments(task=tiny_task, method=method, output=noise, **few))
    learned = results(noise)
    assert learned["held-out accuracy"] > 0.8 and learned["level"] > 0 and learned["levels tried"] == 16
    curves = np.genfromtxt(noise / "curves.csv", delimiter=",", names=True)
    assert curves["level"][curves["accuracy"] > 0.8].max() == pytest.approx(learned["level"], rel=1e-5)

    sample_mutual_info.main(sample_mutual_info.Arguments(noise=noise, n_samples=40, judged_on=30, seed=0, output=sample))
    assert results(sample)["a' is"] == FORMULAS[method]
    clean, noisy = (np.load(sample / f"{name}_activations.npy") for name in ("original", "noisy"))
    assert np.isfinite(noisy).all() and not np.allclose(clean, noisy)
    if method == "dropout":  # what is kept is the activation over its share
        (kept,) = set(np.load(noise / "dropout-kept.npy"))
        zero = noisy == 0
        np.testing.assert_allclose(noisy[~zero], (clean / kept)[~zero], rtol=1e-5)

    attack.main(attack.Arguments(noise=noise, images=60, epochs=1, output=attacked))
    found = results(attacked)
    bits = found["bits at most, one query"]
    assert bits == "none" if method == "dropout" else 0 < bits <= found["bits at most, 1000 queries"]
    assert (attacked / "attacks.csv").exists()


def test_what_is_sent_as_it_is(tiny_task, tmp_path):
    """One level is tried, nothing is changed, everything passes; the image is told from all others."""
    noise, sample, attacked = (tmp_path / name for name in ("noise", "sample", "attacks"))
    train_noise.main(train_noise.Arguments(task=tiny_task, method="none", min_accuracy=0.5, output=noise))
    learned = results(noise)
    assert learned["levels tried"] == 1 and learned["held-out SNR"] == "inf"
    assert learned["average test accuracy"] == pytest.approx(learned["clean test accuracy"])
    sample_mutual_info.main(sample_mutual_info.Arguments(noise=noise, n_samples=40, judged_on=30, seed=0, output=sample))
    clean, noisy = (np.load(sample / f"{name}_activations.npy") for name in ("original", "noisy"))
    np.testing.assert_array_equal(clean, noisy)
    attack.main(attack.Arguments(noise=noise, images=60, epochs=1, output=attacked))
    found = results(attacked)
    assert found["bits at most, one query"] == "none"
    lower, upper, _ = found["measured information, input (bits)"]
    assert lower == pytest.approx(np.log2(found["inputs it is measured on"])) and upper == "inf"
