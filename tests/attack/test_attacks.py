"""Attacks on toy channels whose answers are known; what is kept of them, and what becomes of it."""

import itertools
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from shredder.attack import attacks, averaging, networks, reconstruct, rivals
from shredder.attack.keeper import Keeper
from shredder.attack.networks import Budget, Likelihood, Reader, Training
from shredder.attack.reading import floor, quality
from shredder.attack.report import bounds, measures, rank_of_noise, rows_of, written
from shredder.attack.run import ATTACKS, attacked, ceiling, chosen
from shredder.attack.setting import Setting, Side
from shredder.io import kept
from shredder.io.cli import InputError
from shredder.noise.channel import Channel
from shredder.noise.stored import Collection, Distributions
from shredder.split import SplitNetwork
from tests.noise.test_channel import linear_fresh

SHAPE = (4, 1, 1)
NOTHING_KEPT = Keeper(None, "")


USUAL_READERS = attacks.READERS


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """Networks for activations of four elements: wider layers read as much of them, in five times the time."""
    monkeypatch.setattr(attacks, "READERS", (((128, 128), 4e-3), ((128,), 8e-3), ((64, 64, 64), 4e-3)))
    monkeypatch.setattr(reconstruct, "DECODERS", (((128, 128), 1e-3), ((128, 128), 2e-3)))
    monkeypatch.setattr(reconstruct, "CONVOLUTIONS", ((8, 1e-3), (8, 3e-3)))


def largest_of_four() -> SplitNetwork:
    """A network that answers which of the four coordinates is the largest."""
    linear = nn.Linear(4, 4)
    linear.load_state_dict({"weight": 20 * torch.eye(4), "bias": torch.zeros(4)})
    return SplitNetwork(nn.Sequential(nn.Identity(), nn.Flatten(), linear, nn.LogSoftmax(1)), "0")


def toy(channel: Channel, n: int = 3000, seed: int = 0, epochs: int = 15, keeper: Keeper = NOTHING_KEPT) -> Setting:
    """Four private classes, each with a coordinate of its own that is 1, else 0; public: whether the class exceeds 1."""
    rng = np.random.default_rng(seed)

    def side(n: int) -> Side:
        private = torch.from_numpy(rng.integers(4, size=n))
        clean = torch.eye(4)[private].view(n, *SHAPE)
        images = 0.2 + 0.6 * clean.flatten(1).repeat(1, 16)  # of 8 x 8 pixels
        return Side(clean, channel.signal(clean), private, (private > 1).long(), images)

    split, learning, held_out, test = largest_of_four(), side(n), side(1000), side(1000)
    return Setting(channel, split, learning, held_out, test, (split, test.clean), Budget(epochs), seed, keeper, keeper)


def test_floor_is_the_best_guess_given_the_public_label():
    learning = Side(*[torch.zeros(5)] * 2, torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0, 0, 0, 1, 1]), torch.zeros(5))
    test = Side(*[torch.zeros(4)] * 2, torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 1, 1]), torch.zeros(4))
    assert floor(learning, test) == 0.5


def test_member_attack_on_two_distinct_tensors_is_perfect():
    tensors = torch.stack([torch.full(SHAPE, 30.0), torch.tensor([5.0, -30.0, 2.0, 9.0]).view(SHAPE)])
    setting = toy(Channel(Collection(None, tensors), "verbatim"))
    reading = attacks.read(setting, setting.kinds("undone"))
    assert reading.accuracy == 1 and reading.bits_at_least()[0] > 1.9


INFINITE = {
    "fresh": linear_fresh([1e6] * 4),
    "elementwise-laplace": Collection(None, torch.tensor([-1e6, 1e6, 2e6]).view(3, 1, 1, 1).expand(3, *SHAPE).contiguous()),
}


@pytest.mark.parametrize("draw", INFINITE)
def test_at_infinite_noise_every_attack_sits_at_the_floor(draw):
    setting = toy(Channel(INFINITE[draw], draw))
    guessing = 0.25  # nothing is left of the public label either
    for kind in setting.kinds():
        reading = attacks.read(setting, [kind], likelihood=True)
        assert reading.interval()[0] < guessing + 0.02, kind
        assert reading.accuracy < guessing + 0.05, kind
        assert reading.bits_at_least()[0] < 0.02
    for q in (10, 100):
        assert averaging.averaged(setting, "undone", (q,))[q].accuracy < guessing + 0.06
    error = {row["images"]: row["mean squared error"] for row in reconstruct.reconstructed(setting)["images"]}
    assert error["clean"] < 1e-3 and error["noisy"] > 0.95 * error["mean"]
    assert reconstruct.image_bits_at_least(setting)[0] < 0.05


def signs(channel: Channel) -> Setting:
    """Two classes, -1 and 1 on one coordinate."""
    rng = np.random.default_rng(0)

    def side(n: int) -> Side:
        private = torch.from_numpy(rng.integers(2, size=n))
        clean = torch.zeros(n, *SHAPE)
        clean[:, 0, 0, 0] = 2.0 * private - 1
        return Side(clean, channel.signal(clean), private, torch.zeros_like(private), torch.zeros(n, 64))

    return Setting(channel, None, side(6000), side(2000), side(4000), None, Budget(10), 0, NOTHING_KEPT, NOTHING_KEPT)


def test_averaging_fresh_noise_improves_as_theory_says():
    # Under noise of spread s the mean of q draws is read with accuracy Phi(sqrt(q) / s).
    s = 4.0
    setting = signs(Channel(linear_fresh([s]), "fresh"))
    for q in (1, 10, 100):
        reading = averaging.averaged(setting, "whitened", (q,))[q]
        assert reading.accuracy == pytest.approx(stats.norm.cdf(math.sqrt(q) / s), abs=0.025)
        bound = setting.channel.bits_at_most(setting.test.signal, np.random.default_rng(0), q)
        assert reading.bits_at_least()[0] <= bound + 0.02


def test_bayes_rule_with_the_density_is_the_best_reader():
    # One coordinate that tells, under Laplace(0, b): its sign is right unless |noise| passes 1 against it, 1 - exp(-1 / b) / 2.
    b = 1.5
    tensors = torch.tensor([-b, b]).view(2, 1, 1, 1).expand(2, *SHAPE).contiguous()  # of standard deviation b
    setting = signs(Channel(Collection(None, tensors), "elementwise-laplace"))
    for channel in (setting.channel, Channel(linear_fresh([1.0]), "fresh")):
        best = {"fresh": stats.norm.cdf(1), "elementwise-laplace": 1 - math.exp(-1 / b) / 2}[channel.rule]
        density = channel.density()
        bayes = Likelihood(density.own(channel.signal(setting.learning.clean)), setting.learning.private, density.power)
        features = density.sent(
            channel.source.received(channel.sent(channel.signal(setting.test.clean), np.random.default_rng(1)))
        )
        assert bayes.tune(features, setting.test.private) < math.log(2) and bayes.temperature == 1
        accuracy = (bayes(features).argmax(1) == setting.test.private).double().mean().item()
        assert accuracy == pytest.approx(best, abs=0.02)


def test_1000_queries_of_two_levels_say_one_bit():
    # Four classes, of which the level tells two from two: with noise asked away half of them are read, and no more.
    threshold = torch.tensor([-1.0, -1, 1, 1])[:, None] / 2
    fresh = replace(linear_fresh([1.0]), form="quantised", readings=threshold, limits=torch.ones(1))
    setting = toy(Channel(fresh, "fresh"))
    reading = averaging.averaged(setting, "whitened", (1000,))[1000]
    assert 0.45 < reading.accuracy < 0.55
    assert 0.9 < reading.bits_at_least()[0] <= fresh.bits_for_any_inputs(1000) + 0.05
    assert attacks.read(setting, ["clean"]).accuracy == 1


def test_averaging_draws_one_by_one_improves_as_theory_says(monkeypatch):
    monkeypatch.setattr(attacks, "READERS", USUAL_READERS)
    # Each element from Laplace(0, b): of four classes a coordinate apart, the mean of many draws tells all.
    tensors = torch.from_numpy(np.random.default_rng(0).laplace(0, 3, (40, *SHAPE))).float()
    setting = toy(Channel(Collection(None, tensors), "elementwise-laplace"), n=1000)
    accuracies = [averaging.averaged(setting, "undone", (q,))[q].accuracy for q in (1, 10, 1000)]
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
    setting = toy(channels(scale)[name], epochs=8)
    bound = setting.channel.bits_at_most(setting.test.signal, np.random.default_rng(0))
    label_bits, label_error = attacks.read(setting, setting.kinds("undone"), likelihood=True).bits_at_least()
    image_bits, image_error, low, high = reconstruct.image_bits_at_least(setting)
    assert low < image_bits < high
    assert -0.05 < label_bits <= bound + 2 * label_error and -0.1 < image_bits <= bound + 2 * image_error
    if name == "linear":  # an image is its class here, and noise of this kind both read about equally well
        assert image_bits == pytest.approx(label_bits, abs=0.2)


def test_same_seed_same_reading():
    channel = Channel(linear_fresh([1.0] * 4), "fresh")
    settings = [toy(channel, 500, epochs=2) for _ in range(2)]
    first, second = (attacks.read(setting, ["clean"]) for setting in settings)
    assert torch.equal(first.nats, second.nats) and torch.equal(first.correct, second.correct)
    assert len({averaging.averaged(setting, "undone", (10,))[10].nats.mean().item() for setting in settings}) == 1
    assert len({reconstruct.image_bits_at_least(setting) for setting in settings}) == 1
    first, second = (reconstruct.reconstructed(setting) for setting in settings)
    assert first["images"] == second["images"] and first["pictures"] == second["pictures"]
    seeds = [replace(settings[0], seed=seed) for seed in (0, 0, 1)]
    nats = [attacks.read(setting, setting.kinds("raw"), likelihood=True).nats.mean().item() for setting in seeds]
    assert nats[0] == nats[1] != nats[2]


@pytest.mark.parametrize(("seconds_of_draws", "n_epochs"), [(0, 7), (0.12, 3)])
def test_a_time_limit_ends_the_rate_too(monkeypatch, seconds_of_draws, n_epochs):
    """By a clock that goes on by 2 ms whenever it is read: for each of an epoch's 24 batches, at its ends, around draws."""
    ticks, rates, usual, sent = itertools.count(), [], Training.epoch, Channel.sent

    def slow(*args):
        for _ in range(round(seconds_of_draws / 0.002)):
            next(ticks)
        return sent(*args)

    def watched(self, *args):
        usual(self, *args)
        rates.append(self.optimizer.param_groups[0]["lr"] / self.budget.learning_rate)

    for module in (networks, rivals):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 0.002 * next(ticks)))
    monkeypatch.setattr(Training, "epoch", watched)
    monkeypatch.setattr(Channel, "sent", slow)
    setting = signs(Channel(linear_fresh([1.0]), "fresh"))
    limited = replace(setting, budget=Budget(1000, seconds=1.0))
    assert attacks.read(limited, setting.kinds("whitened")).accuracy == pytest.approx(stats.norm.cdf(1), abs=0.03)
    # A third of a second for each of three readers, whose epochs take 50 ms and a third of a draw; the best goes on alone.
    together = 3 if seconds_of_draws == 0 else 2
    assert len(rates) == 3 * together + n_epochs - together
    assert max(rates) > 0.7 and rates[-1] < 1e-3


def test_the_clouds_answers_and_the_untrained_networks():
    """Under noise of spread s on each of four coordinates the largest is the class's with a probability that is an integral."""
    s = 0.7
    setting = toy(Channel(linear_fresh([s] * 4), "fresh"))
    x = np.linspace(-8, 9, 20_001)
    right = np.trapezoid(stats.norm.pdf(x, 1, s) * stats.norm.cdf(x / s) ** 3, x)
    assert attacks.untrained(setting).accuracy == pytest.approx(right, abs=4 * math.sqrt(right * (1 - right) / 1000))
    of_class = replace(setting, test=replace(setting.test, public=setting.test.private))
    error = math.sqrt(right * (1 - right) / 10_000)
    assert attacks.public_accuracy(of_class) == pytest.approx(right, abs=4 * error)


# What is kept.


def interrupted(*_args, **_keywords):
    raise KeyboardInterrupt


def test_finished_attacks_are_kept_and_reused(tmp_path, monkeypatch):
    channel = Channel(linear_fresh([1.0] * 4), "fresh")
    setting = toy(channel, 500, epochs=1, keeper=Keeper(tmp_path, "of these arguments"))
    monkeypatch.setattr("shredder.attack.run.averaged", interrupted)
    with pytest.raises(KeyboardInterrupt):
        attacked(setting, chosen(["all"], True))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["ceiling", "member", "trained", "untrained"]
    monkeypatch.undo()
    monkeypatch.setattr("shredder.attack.run.read", interrupted)
    found = attacked(setting, ["untrained", "trained", "member"])
    assert list(found) == list(rows_of(found)) == ["untrained", "trained", "member"]
    for name, outcome in found.items():  # as JSON has it, with the seconds that it took
        assert json.loads(kept.found(tmp_path / f"{name}.kept", "of these arguments"))["rows"].keys() == outcome["rows"].keys()
        assert outcome["seconds"] > 0 and rows_of(found)[name]["seconds"] == outcome["seconds"]
    with pytest.raises(KeyboardInterrupt):
        attacked(replace(setting, keeper=Keeper(tmp_path, "of other arguments")), ["trained"])


def test_what_is_read_without_noise_is_found_by_attacks_on_other_noise(tmp_path, monkeypatch):
    setting = toy(Channel(linear_fresh([1.0] * 4), "fresh"), 500, epochs=1, keeper=Keeper(tmp_path, "of one noise"))
    setting = replace(setting, ceilings=Keeper(tmp_path, "of no noise"))
    first = ceiling(setting)
    monkeypatch.setattr("shredder.attack.run.read", interrupted)
    other = replace(
        setting, channel=Channel(linear_fresh([2.0] * 4), "fresh"), keeper=Keeper(tmp_path / "other", "of other noise")
    )
    assert ceiling(other) == first
    with pytest.raises(KeyboardInterrupt):
        ceiling(replace(other, ceilings=Keeper(tmp_path, "of another cut")))


def test_networks_learn_from_the_same_draws(monkeypatch):
    """Held-out rows, those that features are standardised by, test rows: one each; and one for each epoch."""
    setting, sent, drawn = toy(Channel(linear_fresh([1.0] * 4), "fresh"), 500, epochs=3), Channel.sent, []
    monkeypatch.setattr(Channel, "sent", lambda *args: drawn.append(len(args[1])) or sent(*args))
    attacks.read(setting, ["raw", "whitened"])
    assert len(drawn) == 3 + 3
    assert drawn.count(len(setting.learning.signal)) >= 3


def test_a_network_learns_the_same_beside_others(monkeypatch):
    """And ends as it was when it did best on held-out rows."""
    monkeypatch.setattr(rivals, "TOGETHER", 1.0)
    setting = toy(Channel(linear_fresh([1.0] * 4), "fresh"), 500, epochs=4)

    def initialised():
        return attacks.perceptrons(setting, Reader, attacks.READERS, ["raw", "undone"], 4, "any")

    together = attacks.side_by_side(setting, initialised(), "private", "any")
    for number, beside in enumerate(together):
        (alone,) = attacks.side_by_side(setting, [initialised()[number]], "private", "any")
        assert (alone.kind, alone.name, alone.held_out) == (beside.kind, beside.name, beside.held_out)
        assert torch.equal(alone.network(alone.test), beside.network(beside.test))
        held_out = setting.inputs(beside.kind, setting.held_out, setting.rng("any", "held-out"))
        assert beside.network.loss(held_out, setting.held_out.private).item() == beside.held_out
    assert len({trained.held_out for trained in together}) == len(together) == 6


def test_after_a_third_of_the_budget_the_best_of_each_kind_goes_on(monkeypatch):
    losses, usual = {}, Training.epoch

    def watched(self, *args):
        usual(self, *args)
        losses.setdefault(self, []).append(self.best)

    monkeypatch.setattr(Training, "epoch", watched)
    setting = toy(Channel(linear_fresh([1.0] * 4), "fresh"), 500, epochs=6)
    initialised = attacks.perceptrons(setting, Reader, attacks.READERS, ["raw", "undone"], 4, "any")
    attacks.side_by_side(setting, initialised, "private", "any")
    of_kinds = list(losses.values())[:3], list(losses.values())[3:]
    for of_kind in of_kinds:
        best = min(of_kind, key=lambda found: found[1])
        assert [len(found) for found in of_kind] == [6 if found is best else 2 for found in of_kind]


def test_a_damaged_outcome_is_found_again_by_attacking(tmp_path, capsys):
    setting = toy(Channel(linear_fresh([1.0] * 4), "fresh"), 500, epochs=1, keeper=Keeper(tmp_path, "a"))
    first = attacked(setting, ["untrained"])
    path = tmp_path / "untrained.kept"
    path.write_bytes(path.read_bytes().replace(b"its own", b"my own "))
    again = attacked(setting, ["untrained"])
    assert "untrained.kept: damaged, made anew" in "".join(capsys.readouterr())
    assert {name: row for name, row in again["untrained"]["rows"]["untrained"].items() if name != "held-out nats"} == {
        name: row for name, row in first["untrained"]["rows"]["untrained"].items() if name != "held-out nats"
    }


def test_every_attack_runs_and_writes_what_it_says(tmp_path):
    """Its rows are tables' rows; each file is named before; and what is averaged is what was best of one query."""
    setting = toy(Channel(linear_fresh([1.0] * 4), "fresh"), 500, epochs=1, keeper=Keeper(tmp_path / "attacks", "a"))
    found = attacked(setting, chosen(["all"], True))
    assert list(found) == list(ATTACKS)
    assert list(rows_of(found)) == ["untrained", "trained", "member", *(f"averaging {q}" for q in (1, 10, 100, 1000))]
    assert {f"attacks/{path.name}" for path in (tmp_path / "attacks").iterdir()} <= set(written())
    rows = rows_of(found)
    assert rows["averaging 1"] == min((rows["trained"], rows["member"]), key=lambda row: row["held-out nats"])
    for row in rows.values():
        correct, n = row["correct, of"]
        assert n == 1000 and row["private_accuracy"] == correct / n
        assert row["low"] < row["private_accuracy"] <= row["high"] and row["seconds"] > 0
        assert row["floor"] == floor(setting.learning, setting.test)
    assert [row["images"] for row in found["reconstruction"]["images"]] == ["clean", "noisy", "mean"]
    assert {len(images) for images in found["reconstruction"]["pictures"].values()} == {10}
    results = measures(found, setting, 0.9, 1.0)
    assert "identified among 1000, with rounding" in results
    assert results["worst attack on one query"] in ("trained", "member")


def test_where_no_bound_is_claimed_rounding_is_not_looked_at():
    setting = toy(Channel(Collection(None, torch.ones(3, *SHAPE)), "verbatim"), 50)
    (outcome,) = attacked(setting, ["rounding"]).values()
    assert outcome.keys() == {"seconds"}
    assert measures({"rounding": outcome}, setting, 0.9, 1.0).keys() == {"public accuracy", "public accuracy without noise"}


@pytest.mark.parametrize(
    ("names", "private_labels", "expected"),
    [
        (["all"], True, list(ATTACKS)),
        (["all"], False, ["rounding", "reconstruction", "secrets"]),
        (["reconstruction", "member", "member"], True, ["member", "reconstruction"]),
        (["rounding"], False, ["rounding"]),
        ([], True, "--attacks: found none, expected all or some of untrained, trained, member, averaging, rounding, recon"),
        ([], False, "--attacks: found none, expected all or some of rounding, reconstruction, secrets"),
        (["member", "guess"], True, "--attacks: found guess, expected all or some of untrained, trained"),
        (
            ["member", "rounding"],
            False,
            "--attacks member: no private label is left .*; expected rounding or reconstruction or secrets",
        ),
    ],
)
def test_attacks_are_chosen_by_name(names, private_labels, expected):
    if isinstance(expected, list):
        assert chosen(names, private_labels) == expected
    else:
        with pytest.raises(InputError, match=f"^{expected}"):
            chosen(names, private_labels)


def test_measures_by_hand():
    row = {"floor": 0.2, "ceiling": 1.0, "bits at least": 0.5, "bits error": 0.01, "bits low": 0.48, "bits high": 0.52}
    row |= {"held-out nats": 1.0}
    rows = {
        "trained": row | {"private_accuracy": 0.6, "correct, of": (600, 1000)},
        "member": row | {"private_accuracy": 0.58, "correct, of": (580, 1000)},
        "averaging": {"private_accuracy": 0.9},
        "untrained": row | {"private_accuracy": 0.95},  # of its own activations
    }
    found = {name: {"rows": {name: row}, "seconds": 1.0} for name, row in rows.items()}
    found["averaging"] = {"rows": {"averaging 1000": row | {"private_accuracy": 0.9}}, "seconds": 1.0}
    found["reconstruction"] = {
        "bits at least (InfoNCE)": 0.4,
        "bits error": 0.02,
        "bits low": 0,
        "bits high": 1,
        "seconds": 1.0,
    }
    found["rounding"] = {"results": {"rounding gains (standard errors)": 2.0}, "seconds": 1.0}
    setting = toy(Channel(linear_fresh([1.0]), "fresh"))
    share = (setting.test.private == setting.learning.private.mode().values).double().mean().item()
    results = measures(found, setting, public=0.9, clean_public=1.0)
    assert results["worst attack on one query"] == "trained"
    # Wilson's interval at 97.5 %, since either of two attacks may be the worst.
    assert results["the worst's 95 % interval, low"] == pytest.approx(0.5649, abs=2e-4)
    assert results["the worst's 95 % interval, high"] == pytest.approx(0.6341, abs=2e-4)
    # The label is a function of the image, which InfoNCE does not know.
    assert (results["bits at least, image"], results["bits at least, image (InfoNCE)"]) == (0.5, 0.4)
    assert results["rounding gains (standard errors)"] == 2
    assert results["PA"] == pytest.approx(0.6 / 0.9) and results["PI"] == pytest.approx((1 - 0.6) / (1 - share))
    rows["trained"]["ceiling"] = share
    assert measures(found, setting, public=0.9, clean_public=1.0)["PI"] == "none"


def test_rounding_gains_by_hand(monkeypatch):
    gallery = {"candidates": 1000, "exact": 0.1, "with rounding": 0.12, "error": 0.01, "weight": 1.0}
    monkeypatch.setattr("shredder.attack.run.identified", lambda setting: gallery)
    setting = toy(Channel(linear_fresh([1.0]), "fresh"), 50)
    results = measures(attacked(setting, ["rounding"]), setting, 0.9, 1.0)
    assert results["rounding gains (standard errors)"] == pytest.approx(2)
    found = [results[f"identified among 1000, {how}"] for how in ("by exact arithmetic", "with rounding")]
    assert found == [0.1, 0.12]


# Bounds that are reported.


@pytest.mark.parametrize("name", ["linear", "saturated", "quantised", "elementwise", "ordered"])
def test_bounds_that_are_reported(name):
    setting = toy(channels(1.0)[name], 50)
    signal, rng = setting.test.signal[:200], np.random.default_rng(0)
    found = bounds(setting.channel, signal, rng, input_bits=32)
    said = [found[f"bits at most, {q}"] for q in ("one query", "10 queries", "100 queries", "1000 queries")]
    assert 0 < said[0] < said[1] <= said[2] <= said[3] <= 32 and said[1] <= 10 * said[0]
    # No bound is above what the input is stored in.
    assert bounds(setting.channel, signal, np.random.default_rng(0), input_bits=1)["bits at most, 1000 queries"] <= 1
    assert found["bits of an input"] == 32 and 0 < found["the finite grid of the noise adds at most (bits a query)"] < 1e-6
    fresh = name in ("linear", "saturated", "quantised")
    assert ("bits at most, any inputs, 1000 queries" in found) == fresh
    assert ("of these without any signal (slack)" in found) == (not fresh)
    covariance = "inputs with the covariance that 200 held-out activations suggest, at 99 % confidence"
    assert found["the bound rests on"] == ("nothing else: it holds for any inputs" if name == "quantised" else covariance)
    if name == "linear":
        assert found["bits at most, any inputs, 1 queries"] == 32
    if fresh:
        assert rank_of_noise(setting) == {"rank of the noise's covariance": "4 of 4"}


def test_where_there_is_no_bound_it_is_said_why():
    pairs, rng = Collection(torch.ones(8, *SHAPE), torch.randn(8, *SHAPE)), np.random.default_rng(0)
    for source, rule in ((pairs, "order-preserving"), (pairs, "verbatim"), (Collection(None, pairs.additive), "verbatim")):
        found = bounds(Channel(source, rule), torch.zeros(20, *SHAPE), rng, input_bits=32)
        assert found.pop("bits at most, one query") == "none"
        hidden = "log2 8 = 3.000 bits of the activation: a finite collection used verbatim"
        because = {"no bound, since": "no theorem gives one for order-preserving draws of w * a + n"}
        assert found == ({"hidden at most": hidden} if rule == "verbatim" else because)


# Images.


def test_quality_of_images_by_hand():
    images = torch.rand(20, 64, generator=torch.Generator().manual_seed(0))
    same, off = quality(images, images, 8), quality(images, images + 0.1, 8)
    assert same["SSIM"] == pytest.approx(1)
    assert off["mean squared error"] == pytest.approx(0.01, rel=1e-4) and off["PSNR (dB)"] == pytest.approx(20, rel=1e-4)


@pytest.mark.parametrize("side", [3, 4, 6, 7])
def test_quality_of_small_images(side):
    """SSIM from its definition in one window, where it is as large as the image."""
    images, guesses = torch.rand(2, 20, side**2, generator=torch.Generator().manual_seed(0))
    found = quality(images, guesses, side)["SSIM"]
    assert quality(images, images, side)["SSIM"] == pytest.approx(1) and -1 < found < 0.5
    if side % 2:
        x, y, c1, c2 = images.double(), guesses.double(), 0.01**2, 0.03**2
        mx, my = x.mean(1), y.mean(1)
        covariance = ((x - mx[:, None]) * (y - my[:, None])).sum(1) / (side**2 - 1)
        means = (2 * mx * my + c1) / (mx.square() + my.square() + c1)
        assert found == pytest.approx((means * (2 * covariance + c2) / (x.var(1) + y.var(1) + c2)).mean().item(), rel=1e-4)


def test_images_too_small_for_ssim():
    with pytest.raises(InputError, match=r"^--attacks reconstruction: found pictures of 2 x 2, expected 3 x 3 or more"):
        quality(torch.zeros(5, 4), torch.zeros(5, 4), 2)
