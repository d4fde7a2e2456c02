"""The attack as a step: what attacks are given, on LeNet, AlexNet and a task of one's own; what is written; bad input."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

import attack
from models.lenet import WEIGHTS, pretrained_lenet
from models.weights import WeightsError
from shredder.attack.keeper import Keeper
from shredder.attack.report import FILES
from shredder.attack.step import OF_CLEAN, setting_of
from shredder.inputs.digits import digit_gt5, to_network_input
from shredder.inputs.images import random_order
from shredder.io import kept
from shredder.io.cli import InputError
from shredder.split import SplitNetwork
from shredder.system import System, with_noise

pytestmark = pytest.mark.usefixtures("quick_digits")


def table(path: Path) -> list[dict]:
    """Its rows; numbers as numbers."""

    def read(text: str) -> float | str:
        try:
            return float(text)
        except ValueError:
            return text

    with path.open(newline="") as file:
        return [{name: read(text) for name, text in row.items()} for row in csv.DictReader(file)]


def record(output: Path) -> dict:
    return json.loads((output / "run.json").read_text())


# What attacks are given.


@pytest.mark.parametrize("labels", ["gt5", "digits"])
def test_the_first_tenth_is_held_out(mnist_5k, labels):
    """In the order of the training digits that is the same for every run; test digits as the file has them."""
    args = attack.Arguments(task="lenet", public_labels=labels, images=200, epochs=3, seed=7)
    task, args, channel = with_noise(args)
    system = System(task, args)
    train, test = system.images(train=200, test=100)
    setting = setting_of(system, channel, train, test, Keeper(None, ""), Keeper(None, ""))
    rows, split = random_order(4000)[:200], SplitNetwork(pretrained_lenet(2 if labels == "gt5" else 10), "relu5")
    of_train = mnist_5k.train_images[rows], mnist_5k.train_labels[rows]
    parts = {
        "held_out": [some[:20] for some in of_train],
        "learning": [some[20:] for some in of_train],
        "test": [mnist_5k.test_images[:100], mnist_5k.test_labels[:100]],
    }
    for name, (pixels, digits) in parts.items():
        side, images = getattr(setting, name), to_network_input(pixels)
        assert torch.equal(side.private, digits)
        assert torch.equal(side.public, digit_gt5(digits) if labels == "gt5" else digits)
        torch.testing.assert_close(side.images, images.flatten(1), rtol=0, atol=0)
        # Sums may be taken in another order for another batch size.
        torch.testing.assert_close(side.clean, split.activations(images), rtol=1e-4, atol=1e-4)
        assert torch.equal(side.signal, channel.signal(side.clean))
    assert (setting.budget.epochs, setting.seed) == (3, 7)
    if labels == "digits":
        assert setting.private is None
        return
    own, activations = setting.private
    private = SplitNetwork(pretrained_lenet(10), "relu5")
    images = to_network_input(mnist_5k.test_images[:100])
    torch.testing.assert_close(activations, private.activations(images), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(own.cloud(activations), private.cloud(activations))


@pytest.mark.parametrize(("images", "judged"), [(100, 50), (2400, 1000), (None, 1000)])
def test_half_as_many_test_images_at_most(tmp_path, images, judged):
    attack.main(attack.Arguments(task="lenet", attacks=("untrained",), images=images, output=tmp_path))
    content = kept.read(tmp_path / "attacks" / "untrained.kept").content
    assert json.loads(content)["rows"]["untrained"]["correct, of"][1] == judged
    learned_from = record(tmp_path)["results"]["public accuracy without noise"]
    assert learned_from == pytest.approx(round(learned_from * judged) / judged, abs=1e-4)


# What is written.


def test_readings_without_noise_are_kept_for_other_noise(tmp_path):
    """One for each setting of the readers; where they are kept is no part of what an attack is known by."""
    assert {field.name for field in dataclasses.fields(attack.Arguments)} >= set(OF_CLEAN)
    folders = [tmp_path / "v2", tmp_path / "verbatim", tmp_path / "longer"]
    for folder, draw, epochs in zip(folders, ("order-preserving", "verbatim", "verbatim"), (2, 2, 3), strict=True):
        few = {"task": "lenet", "attacks": ("trained",), "images": 200, "epochs": epochs, "draw": draw, "output": folder}
        attack.main(attack.Arguments(**few, ceilings=tmp_path / "ceilings"))
        assert not (folder / "attacks" / "ceiling.kept").exists()
    assert len(list((tmp_path / "ceilings").iterdir())) == 2
    ceilings = [table(folder / "attacks.csv")[0]["ceiling"] for folder in folders]
    assert ceilings[0] == ceilings[1]
    kept_attack = folders[-1] / "attacks" / "trained.kept"
    before = kept_attack.read_bytes()
    attack.main(attack.Arguments(**few))
    assert kept_attack.read_bytes() == before and kept_attack.with_name("ceiling.kept").exists()


def test_shipped_tensors_are_read_by_the_member_attack(tmp_path, capsys):
    attack.main(attack.Arguments(task="lenet", attacks=("untrained", "member"), epochs=8, output=tmp_path))
    untrained, member = table(tmp_path / "attacks.csv")
    assert untrained["private_accuracy"] < 0.2 and member["private_accuracy"] > 0.9 > 0.3 > member["floor"]
    assert member["low"] < member["private_accuracy"] < member["high"]
    assert "worst attack on one query" in capsys.readouterr().out
    results = record(tmp_path)["results"]
    assert (
        results["bits at most, one query"] == "none"
        and results["no bound, since"] == "no theorem gives one for order-preserving draws of w * a + n"
    )
    assert results["worst attack on one query"] == "member"


def test_alexnets_images_are_attacked(tmp_path, monkeypatch):
    """With one decoder, of what is sent as it is, and two probes of the edge's slopes instead of twenty.

    There is no bound for a thousand queries, which alone takes ten seconds.
    """
    monkeypatch.setattr("shredder.attack.terms._PROBES", 2)
    monkeypatch.setattr("shredder.attack.reconstruct.DECODERS", (((512, 512), 2e-3),))
    monkeypatch.setattr("shredder.attack.reconstruct.CONVOLUTIONS", ((16, 2e-3),))
    monkeypatch.setattr("shredder.attack.setting.Setting.kinds", lambda self, *wanted: ["raw"])
    monkeypatch.setattr("shredder.attack.report.QUERIES", (10,))
    attack.main(attack.Arguments(task="alexnet", images=300, epochs=12, output=tmp_path))
    results, rows = record(tmp_path)["results"], table(tmp_path / "reconstruction.csv")
    error = {row["images"]: row["mean squared error"] for row in rows}
    assert error.keys() == {"clean", "noisy", "mean"}
    # Digits survive v1's noise (docs/alexnet.md): even from 270 of them a decoder beats the mean image.
    assert 0 < error["noisy"] < 0.95 * error["mean"]
    assert results["bits at most, one query"] > results["bits at least, image (InfoNCE)"]
    assert not (tmp_path / "attacks.csv").exists() and (tmp_path / "reconstruction.png").exists()


@pytest.fixture(scope="module")
def attacked(tiny_noise, tmp_path_factory) -> Path:
    """All attacks on a task of one's own, of which the noise's folder says everything."""
    output = tmp_path_factory.mktemp("attacked")
    attack.main(attack.Arguments(noise=tiny_noise, output=output))
    return output


def test_a_folder_is_all_that_an_attack_needs(attacked, tiny_task):
    arguments, results = record(attacked)["arguments"], record(attacked)["results"]
    expected = {"public_labels": "half", "cutting_point": "relu", "draw": "elementwise-laplace", "epochs": 2}
    assert {name: arguments[name] for name in expected} == expected
    assert results["task"] == "tiny" and results["public accuracy without noise"] > 0.9
    assert set(FILES) <= {path.name for path in attacked.iterdir()}
    assert set(record(attacked)["files"]) == set(FILES)
    rows = table(attacked / "attacks.csv")
    names = ["untrained", "trained", "member", *(f"averaging {q}" for q in (1, 10, 100, 1000))]
    assert [row["attack"] for row in rows] == names
    for row in rows:
        assert row["low"] <= row["private_accuracy"] <= row["high"] and row["floor"] == rows[0]["floor"]
        assert round(50 * row["private_accuracy"], 6).is_integer()
    secrets = table(attacked / "secrets.csv")
    assert [row["secret"] for row in secrets] == ["bright", "odd", "membership"] and {row["of"] for row in secrets} == {50.0}
    # The mean of many draws tells more than one.
    assert rows[-1]["private_accuracy"] >= rows[3]["private_accuracy"]


def test_interrupted_it_goes_on_after_finished_attacks(attacked, tiny_noise, tmp_path, monkeypatch):
    """The same command writes the same tables from what is kept; of another seed nothing is found."""
    before = {name: (attacked / name).read_bytes() for name in FILES}

    def none(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("shredder.attack.attacks.Training", none)
    attack.main(attack.Arguments(noise=tiny_noise, output=attacked))
    assert {name: (attacked / name).read_bytes() for name in FILES} == before
    with pytest.raises(KeyboardInterrupt):
        attack.main(attack.Arguments(noise=tiny_noise, output=attacked, seed=1))
    assert {name: (attacked / name).read_bytes() for name in FILES} == before
    # Fewer attacks are found as well; tables of others are removed, and what is kept of them stays.
    attack.main(attack.Arguments(noise=tiny_noise, output=attacked, attacks=("trained", "rounding")))
    assert [row["attack"] for row in table(attacked / "attacks.csv")] == ["trained"]
    assert not (attacked / "reconstruction.csv").exists() and not (attacked / "reconstruction.png").exists()
    attack.main(attack.Arguments(noise=tiny_noise, output=attacked))
    assert {name: (attacked / name).read_bytes() for name in FILES} == before


def test_same_seed_same_tables(attacked, tiny_noise, tmp_path):
    attack.main(attack.Arguments(noise=tiny_noise, output=tmp_path))
    first, again = (table(folder / "attacks.csv") for folder in (attacked, tmp_path))
    assert [row | {"seconds": 0} for row in first] == [row | {"seconds": 0} for row in again]
    assert (attacked / "reconstruction.csv").read_bytes() == (tmp_path / "reconstruction.csv").read_bytes()
    results = [record(folder)["results"] for folder in (attacked, tmp_path)]
    assert results[0] == results[1]


# Bad input.


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"seconds_per_attack": 0.0}, "--seconds-per-attack: found 0, expected more than 0"),
        ({"public_labels": "digits", "attacks": ("trained",)}, "--attacks trained: no private label"),
        ({"attacks": ()}, "--attacks: found none"),
        ({"attacks": ("magic",)}, "--attacks: found magic, expected all or some of untrained, trained"),
        ({"epochs": 0}, "--epochs: found 0, expected at least 1"),
        ({"seed": -1}, "--seed: found -1, expected at least 0"),
        ({"images": 4001}, "--images: found 4001, expected 1 to 4000, the train images of mnist-5k"),
        ({"cutting_point": "s4"}, "--cutting-point s4: the noise in .* was learned for relu5; expected noise for s4"),
        ({"cutting_point": "s4", "additive": "shipped"}, r"expected float32 \(N, 16, 5, 5\)"),
        ({"fresh": Path("nowhere")}, "nowhere"),
        ({"draw": "fresh"}, "--draw fresh"),
    ],
)
def test_bad_input(tmp_path, flags, message):
    if "additive" in flags:
        flags = flags | {"additive": Path(attack.__file__).parent / "artifacts" / "lenet" / "noise" / "additive.npy"}
    with pytest.raises(InputError, match=message):
        attack.main(attack.Arguments(task="lenet", output=tmp_path / "output", **flags))
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"attacks": ("trained",)}, "--attacks trained: no private label"),
        ({"seconds_per_attack": -1.0}, "--seconds-per-attack: found -1"),
        ({"images": 5}, "--images: found 5, expected at least 20"),
        ({"cutting_point": "pool2"}, "--cutting-point pool2: the noise in .* was learned for pool5"),
        ({"cutting_point": "pool2", "additive": "shipped"}, r"expected float32 \(N, 192, 13, 13\)"),
        ({"dataset": "imagenet"}, "--noise: not named, and the task alexnet ships none for the labels classes"),
    ],
)
def test_bad_input_of_alexnet(tmp_path, flags, message):
    if "additive" in flags:
        flags = flags | {"additive": Path(attack.__file__).parent / "artifacts" / "alexnet" / "noise" / "additive.npy"}
    with pytest.raises(InputError, match=message):
        attack.main(attack.Arguments(task="alexnet", output=tmp_path / "output", **flags))
    assert not (tmp_path / "output").exists()


def test_private_network_of_other_classes(tmp_path):
    with pytest.raises(WeightsError, match="lenet-digit-gt5"):
        attack.main(attack.Arguments(task="lenet", private_weights=WEIGHTS[2], output=tmp_path))


def test_networks_that_never_learn_are_said_by_name(tiny_noise, tmp_path, monkeypatch):
    """Rates that leave float32 end the attack in a line, not in a table."""
    monkeypatch.setattr("shredder.attack.attacks.READERS", (((4,), 1e38),))
    with pytest.raises(InputError, match="an attack's Reader never had a finite loss on held-out rows"):
        attack.main(attack.Arguments(noise=tiny_noise, attacks=("trained",), output=tmp_path / "output"))


@pytest.mark.parametrize("shape", ["[:, :, :2]", "[:, 0]"])
def test_pictures_that_are_not_square(tiny_task, tiny_noise, tmp_path, shape):
    folder = Path(shutil.copytree(tiny_task.parent, tmp_path / "mine"))
    mine = folder / tiny_task.name
    changed = f"\n\nobject.__setattr__(task, 'pictures', lambda images: images[:, 0]{shape})\n"
    mine.write_text(mine.read_text() + changed)
    message = r"^--task tiny: its `pictures` are \(200, 4(, 2)?\), expected square ones, \(n, h, h\)"
    with pytest.raises(InputError, match=message):
        attack.main(attack.Arguments(task=mine, noise=tiny_noise, output=tmp_path / "output"))
    assert not (tmp_path / "output").exists()
