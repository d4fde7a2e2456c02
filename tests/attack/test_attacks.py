"""Attacks on toy channels whose answers are known, and on LeNet; what is kept of them; bad input."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import attack_alexnet
import attack_lenet
from models.lenet import WEIGHTS
from models.weights import WeightsError
from shredder.attack import attacks
from shredder.attack.networks import Budget, Likelihood
from shredder.attack.reading import floor
from shredder.attack.report import Found, measures, quality
from shredder.attack.run import assess, chosen, keeper
from shredder.attack.setting import Scene, Side
from shredder.io.cli import InputError
from shredder.noise.channel import Channel
from shredder.noise.stored import Collection, Distributions
from tests.noise.test_channel import linear_fresh

SHAPE = (4, 1, 1)


def toy_scene(channel: Channel, n: int = 3000, seed: int = 0, epochs: int = 15) -> Scene:
    """Four private classes, each with a coordinate of its own that is 1, else 0; public: whether the class exceeds 1."""
    rng = np.random.default_rng(seed)

    def side(n: int) -> Side:
        private = torch.from_numpy(rng.integers(4, size=n))
        clean = torch.eye(4)[private].view(n, *SHAPE)
        images = 0.2 + 0.6 * clean.flatten(1).repeat(1, 16)  # of 8 x 8 pixels
        return Side(clean, channel.signal(clean), private, (private > 1).long(), images)

    return Scene(channel, side(n), side(1000), side(1000), Budget(epochs), seed)


def test_floor_is_the_best_guess_given_the_public_label():
    learning = Side(*[torch.zeros(5)] * 2, torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0, 0, 0, 1, 1]), torch.zeros(5))
    test = Side(*[torch.zeros(4)] * 2, torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 1, 1]), torch.zeros(4))
    assert floor(learning, test) == 0.5


def test_member_attack_on_two_distinct_tensors_is_perfect():
    tensors = torch.stack([torch.full(SHAPE, 30.0), torch.tensor([5.0, -30.0, 2.0, 9.0]).view(SHAPE)])
    scene = toy_scene(Channel(Collection(None, tensors), "verbatim"))
    reading = attacks.read(scene, scene.noisy("undone"))
    assert reading.accuracy == 1 and reading.bits_at_least()[0] > 1.9


INFINITE = {
    "fresh": linear_fresh([1e6] * 4),
    "elementwise-laplace": Collection(None, torch.tensor([-1e6, 1e6, 2e6]).view(3, 1, 1, 1).expand(3, *SHAPE).contiguous()),
}


@pytest.mark.parametrize("draw", INFINITE)
def test_at_infinite_noise_every_attack_sits_at_the_floor(draw):
    scene = toy_scene(Channel(INFINITE[draw], draw))
    guessing = 0.25  # nothing is left of the public label either
    for kind, inputs in scene.noisy().items():
        reading = attacks.read(scene, {kind: inputs}, likelihood=True)
        assert reading.interval()[0] < guessing + 0.02, kind
        assert reading.accuracy < guessing + 0.05, kind
        assert reading.bits_at_least()[0] < 0.02
    for q in (10, 100):
        assert attacks.averaged(scene, "undone", q).accuracy < guessing + 0.06
    guesses = attacks.reconstructed(scene, scene.noisy())
    quality = {name: quality(scene.test.images, guesses[name], 8) for name in ("clean", "noisy", "mean")}
    assert quality["clean"]["mean squared error"] < 1e-3
    assert quality["noisy"]["mean squared error"] > 0.95 * quality["mean"]["mean squared error"]
    assert attacks.image_bits_at_least(scene, scene.noisy()["undone"])[0] < 0.05


def signs(channel: Channel) -> Scene:
    """Two classes, -1 and 1 on one coordinate."""
    rng = np.random.default_rng(0)

    def side(n: int) -> Side:
        private = torch.from_numpy(rng.integers(2, size=n))
        clean = torch.zeros(n, *SHAPE)
        clean[:, 0, 0, 0] = 2.0 * private - 1
        return Side(clean, channel.signal(clean), private, torch.zeros_like(private), torch.zeros(n, 64))

    return Scene(channel, side(6000), side(2000), side(4000), Budget(10), 0)


def test_averaging_fresh_noise_improves_as_theory_says():
    # Under noise of spread s the mean of q draws is read with accuracy Phi(sqrt(q) / s).
    s = 4.0
    scene = signs(Channel(linear_fresh([s]), "fresh"))
    for q in (1, 10, 100):
        reading = attacks.averaged(scene, "whitened", q)
        assert reading.accuracy == pytest.approx(stats.norm.cdf(math.sqrt(q) / s), abs=0.025)
        assert reading.bits_at_least()[0] <= scene.channel.source.bits(scene.test.signal, q) + 0.02


def test_bayes_rule_with_the_density_is_the_best_reader():
    # One coordinate that tells, under Laplace(0, b): its sign is right unless |noise| passes 1 against it, 1 - exp(-1 / b) / 2.
    b = 1.5
    tensors = torch.tensor([-b, b]).view(2, 1, 1, 1).expand(2, *SHAPE).contiguous()  # of standard deviation b
    scene = signs(Channel(Collection(None, tensors), "elementwise-laplace"))
    for channel in (scene.channel, Channel(linear_fresh([1.0]), "fresh")):
        best = {"fresh": stats.norm.cdf(1), "elementwise-laplace": 1 - math.exp(-1 / b) / 2}[channel.draw]
        density = channel.density()
        bayes = Likelihood(density.own(channel.signal(scene.learning.clean)), scene.learning.private, density.power)
        features = density.sent(channel.sent(channel.signal(scene.test.clean), np.random.default_rng(1)))
        assert bayes.tune(features, scene.test.private) < math.log(2) and bayes.temperature == 1
        accuracy = (bayes(features).argmax(1) == scene.test.private).double().mean().item()
        assert accuracy == pytest.approx(best, abs=0.02)


def test_1000_queries_of_two_levels_say_one_bit():
    # Four classes, of which the level tells two from two: with noise asked away half of them are read, and no more.
    threshold = torch.tensor([-1.0, -1, 1, 1])[:, None] / 2
    fresh = replace(linear_fresh([1.0]), form="quantised", readings=threshold, limits=torch.ones(1))
    scene = toy_scene(Channel(fresh, "fresh"))
    reading = attacks.averaged(scene, "whitened", 1000)
    assert 0.45 < reading.accuracy < 0.55
    assert 0.9 < reading.bits_at_least()[0] <= fresh.bits(scene.test.signal, 1000) + 0.05
    assert attacks.ceiling(scene).accuracy == 1


def test_averaging_draws_one_by_one_improves_as_theory_says():
    # Each element from Laplace(0, b): of four classes a coordinate apart, the mean of many draws tells all.
    tensors = torch.from_numpy(np.random.default_rng(0).laplace(0, 3, (40, *SHAPE))).float()
    scene = toy_scene(Channel(Collection(None, tensors), "elementwise-laplace"), n=1000)
    accuracies = [attacks.averaged(scene, "undone", q).accuracy for q in (1, 10, 1000)]
    # Four values of spread 3 * sqrt(2) * sqrt(2) / sqrt(1000) = 0.19 around 0 or 1: the largest is the class's, but 1 in 1,000.
    assert accuracies[0] < 0.4 and accuracies[0] < accuracies[1] - 0.1 < accuracies[2] and accuracies[2] > 0.98


def channels(scale: float) -> dict[str, Channel]:
    """One of every rule that has a bound, all of about the same noise."""
    rng = np.random.default_rng(7)
    limited = replace(linear_fresh([scale] * 4), limits=torch.ones(4), offsets=torch.full((4,), 0.5))
    orders = torch.stack([torch.from_numpy(rng.permutation(4)) for _ in range(3)])
    parameters = torch.tensor([[0.0, scale]]).expand(3, 2)
    return {
        "linear": Channel(linear_fresh([scale] * 4), "fresh"),
        "saturated": Channel(replace(limited, form="saturated"), "fresh"),
        "quantised": Channel(replace(limited, form="quantised"), "fresh"),
        "elementwise": Channel(
            Collection(None, torch.from_numpy(rng.laplace(0, scale, (9, *SHAPE))).float()), "elementwise-laplace"
        ),
        "ordered": Channel(Distributions(parameters, orders, SHAPE), "order-preserving"),
    }


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("name", ["linear", "saturated", "quantised", "elementwise", "ordered"])
def test_the_bound_lies_above_what_attacks_show(name, scale):
    scene = toy_scene(channels(scale)[name], epochs=8)
    bound = scene.channel.bits_at_most(scene.test.signal, np.random.default_rng(0))
    label_bits, label_error = attacks.read(scene, scene.noisy("undone"), likelihood=True).bits_at_least()
    image_bits, image_error = attacks.image_bits_at_least(scene, scene.noisy()["undone"])
    assert -0.05 < label_bits <= bound + 2 * label_error and -0.1 < image_bits <= bound + 2 * image_error
    if name == "linear":  # an image is its class here, and noise of this kind both read about equally well
        assert image_bits == pytest.approx(label_bits, abs=0.2)


def test_same_seed_same_reading():
    channel = Channel(linear_fresh([1.0] * 4), "fresh")
    scenes = [toy_scene(channel, 500, epochs=2) for _ in range(2)]
    first, second = map(attacks.ceiling, scenes)
    assert torch.equal(first.nats, second.nats) and torch.equal(first.correct, second.correct)
    assert len({attacks.averaged(scene, "undone", 10).nats.mean().item() for scene in scenes}) == 1
    assert len({attacks.image_bits_at_least(scene, scene.noisy()["raw"]) for scene in scenes}) == 1
    guesses = [attacks.reconstructed(scene, scene.noisy()) for scene in scenes]
    assert torch.equal(guesses[0]["noisy"], guesses[1]["noisy"])
    seeds = [replace(scenes[0], seed=seed) for seed in (0, 0, 1)]
    nats = [attacks.read(scene, scene.noisy("raw"), likelihood=True).nats.mean().item() for scene in seeds]
    assert nats[0] == nats[1] != nats[2]


def test_a_time_limit_ends_the_rate_too():
    scene = signs(Channel(linear_fresh([1.0]), "fresh"))
    begin = time.monotonic()
    limited = replace(scene, budget=Budget(1000, seconds=1.0))
    assert attacks.read(limited, scene.noisy("whitened")).accuracy == pytest.approx(stats.norm.cdf(1), abs=0.03)
    assert time.monotonic() - begin < 10  # of a thousand epochs


def test_finished_attacks_are_kept_and_reused(tmp_path, monkeypatch):
    scene = toy_scene(Channel(linear_fresh([1.0] * 4), "fresh"), 500, epochs=1)
    untrained = lambda: (attacks.ceiling(scene), 1.0)  # noqa: E731
    keep = keeper(tmp_path, "of these arguments")
    monkeypatch.setattr(attacks, "averaged", interrupted)
    with pytest.raises(KeyboardInterrupt):
        assess(scene, chosen(["all"], True), untrained, keep, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(attacks, "read", interrupted)
    found = assess(scene, ["untrained", "trained", "member"], untrained, keep, tmp_path)
    assert list(found.readings) == ["untrained", "trained", "member"]
    other = keeper(tmp_path, "of other arguments")
    with pytest.raises(KeyboardInterrupt):
        assess(scene, ["trained"], untrained, other, tmp_path)


def interrupted(*_args, **_keywords):
    raise KeyboardInterrupt


def test_measures_by_hand():
    row = {"floor": 0.2, "ceiling": 1.0, "bits at least": 0.5, "bits error": 0.01, "held-out nats": 1.0}
    readings = {
        "trained": row | {"private_accuracy": 0.6, "correct, of": (600, 1000)},
        "member": row | {"private_accuracy": 0.58, "correct, of": (580, 1000)},
        "averaging 1000": row | {"private_accuracy": 0.9},
    }
    readings["untrained"] = row | {"private_accuracy": 0.95}  # of its own activations
    scene = toy_scene(Channel(linear_fresh([1.0]), "fresh"))
    images = {"bits at least (InfoNCE)": 0.4, "bits error": 0.02}
    gallery = {"candidates": 1000, "exact": 0.1, "with rounding": 0.12, "error": 0.01}
    share = (scene.test.private == scene.learning.private.mode().values).double().mean().item()
    found = measures(Found(readings, images, gallery), scene, public=0.9, clean_public=1.0)
    assert found["worst attack on one query"] == "trained"
    # Wilson's interval at 97.5 %, since either of two attacks may be the worst.
    assert found["the worst's 95 % interval, low"] == pytest.approx(0.5649, abs=2e-4)
    assert found["the worst's 95 % interval, high"] == pytest.approx(0.6341, abs=2e-4)
    # The label is a function of the image, which InfoNCE does not know.
    assert (found["bits at least, image"], found["bits at least, image (InfoNCE)"]) == (0.5, 0.4)
    assert found["rounding gains (standard errors)"] == pytest.approx(2)
    assert found["PA"] == pytest.approx(0.6 / 0.9) and found["PI"] == pytest.approx((1 - 0.6) / (1 - share))


def test_quality_of_images_by_hand():
    images = torch.rand(20, 64, generator=torch.Generator().manual_seed(0))
    same, off = quality(images, images, 8), quality(images, images + 0.1, 8)
    assert same["SSIM"] == pytest.approx(1)
    assert off["mean squared error"] == pytest.approx(0.01, rel=1e-4) and off["PSNR (dB)"] == pytest.approx(20, rel=1e-4)


def test_shipped_tensors_are_read_by_the_member_attack(tmp_path, capsys):
    attack_lenet.main(attack_lenet.Arguments(attacks=("untrained", "member"), epochs=8, output=tmp_path))
    table = np.genfromtxt(tmp_path / "attacks.csv", delimiter=",", names=True, dtype=None, encoding=None)
    untrained, member = table
    assert untrained["private_accuracy"] < 0.2 and member["private_accuracy"] > 0.9 > 0.3 > member["floor"]
    assert member["low"] < member["private_accuracy"] < member["high"]
    assert "worst attack on one query" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"seconds_per_attack": 0.0}, "--seconds-per-attack: found 0, expected more than 0"),
        ({"public_labels": "digits", "attacks": ("trained",)}, "--attacks trained: no private label"),
        ({"attacks": ()}, "--attacks: found none"),
        ({"epochs": 0}, "--epochs: found 0, expected at least 1"),
        ({"cutting_point": "s4"}, r"expected float32 \(N, 16, 5, 5\)"),
        ({"fresh": Path("nowhere")}, "nowhere"),
        ({"draw": "fresh"}, "--draw fresh"),
    ],
)
def test_bad_input(tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        attack_lenet.main(attack_lenet.Arguments(**flags, output=tmp_path))


def test_private_network_of_other_classes(tmp_path):
    with pytest.raises(WeightsError, match="lenet-digit-gt5"):
        attack_lenet.main(attack_lenet.Arguments(private_weights=WEIGHTS[2], output=tmp_path))


# AlexNet.


def test_alexnets_images_are_attacked(tmp_path, quick_digits):
    attack_alexnet.main(attack_alexnet.Arguments(images=300, epochs=40, output=tmp_path))
    results = json.loads((tmp_path / "run.json").read_text())["results"]
    rows = np.genfromtxt(tmp_path / "reconstruction.csv", delimiter=",", names=True, dtype=None, encoding=None)
    assert {str(name) for name in rows["images"]} == {"clean", "noisy", "mean"}
    error = {str(row["images"]): row["mean_squared_error"] for row in rows}
    # Digits survive v1's noise (README): even from 270 of them a decoder beats the mean image.
    assert 0 < error["noisy"] < 0.95 * error["mean"]
    assert results["bits at most, one query"] > results["bits at least, image (InfoNCE)"]
    assert not (tmp_path / "attacks.csv").exists() and (tmp_path / "reconstruction.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"attacks": ("trained",)}, "--attacks trained: no private label"),
        ({"seconds_per_attack": -1.0}, "--seconds-per-attack: found -1"),
        ({"images": 5}, "--images: found 5, expected at least 20"),
        ({"cutting_point": "pool2"}, r"expected float32 \(N, 192, 13, 13\)"),
    ],
)
def test_bad_input_of_alexnet(tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        attack_alexnet.main(attack_alexnet.Arguments(**flags, output=tmp_path))
