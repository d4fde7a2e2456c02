"""The steps on spoken digits, house numbers and letters with the shipped weights, on a few inputs: labels, files, splits."""

import numpy as np
import pytest
import torch

import attack
import sample_mutual_info
import train_noise
from shredder.inputs.images import held_out
from shredder.inputs.spoken import load_spoken
from shredder.io.cli import InputError
from shredder.io.record import read_record
from shredder.task import read_task
from tasks import newsgroups, speech, svhn

QUICK = {"members": 2, "epochs": 2, "min_epochs": 0, "min_accuracy": 0.0, "batch_size": 20}
# Of each task: labels that leave a private one, what makes that one public, and attacks: of images they take minutes.
PRIVATE = {
    "speech": ("digit", None, ()),
    "svhn": ("gt5", lambda digits: digits > 5, ()),
    "newsgroups": ("topic", lambda groups: newsgroups.topic(torch.from_numpy(groups)).numpy(), ("untrained", "trained")),
}


@pytest.fixture(params=PRIVATE)
def ground(request):
    """A task's name, and the folder of its small files."""
    return request.param, request.getfixturevalue(f"small_{request.param}")


def test_from_noise_to_attacks(tmp_path, ground):
    """An untrained adversary, and a trained one where it takes seconds."""
    name, root = ground
    label, public_of, attacks = PRIVATE[name]
    flags = {"task": name, "data_root": root, "public_labels": label, "method": "additive"}
    train_noise.main(train_noise.Arguments(output=tmp_path / "noise", **flags, **QUICK))
    later = {"noise": tmp_path / "noise", "data_root": root}
    sample_mutual_info.main(sample_mutual_info.Arguments(output=tmp_path / "sample", seed=0, **later))
    private, public = (np.load(tmp_path / "sample" / f"{of}.npy")[:, 0] for of in ("labels", "public_labels"))
    task = read_task(name)
    assert np.load(tmp_path / "sample" / "noisy_activations.npy").shape[1:] == list(task.cutting_points.values())[-1]
    if public_of is not None:
        assert np.array_equal(public, public_of(private))
    if not attacks:
        return
    attack.main(attack.Arguments(output=tmp_path / "attacks", epochs=1, attacks=attacks, **later))
    results = read_record(tmp_path / "attacks" / "run.json")["results"]
    rows = (tmp_path / "attacks" / "attacks.csv").read_text().splitlines()[1:]
    assert [row.partition(",")[0] for row in rows] == [of for of in attacks]
    assert ("its private accuracy" in results) == ("trained" in attacks)


def test_letters_have_no_pictures(tmp_path, small_newsgroups):
    flags = {"task": "newsgroups", "data_root": small_newsgroups, "method": "additive"}
    train_noise.main(train_noise.Arguments(output=tmp_path / "noise", **flags, **QUICK))
    later = {"noise": tmp_path / "noise", "data_root": small_newsgroups, "output": tmp_path / "attacks"}
    with pytest.raises(
        InputError, match="--attacks reconstruction: the task's inputs have no pictures; expected rounding or secr"
    ):
        attack.main(attack.Arguments(attacks=("reconstruction",), **later))
    attack.main(attack.Arguments(attacks=("all",), epochs=1, **later))
    assert "bits at most, one query" in read_record(tmp_path / "attacks" / "run.json")["results"]


def test_no_take_is_on_two_sides(small_speech):
    """Takes are told apart by rows of the file: speaker, digit, take. Held out are whole takes, where they are a tenth."""
    found, images = load_spoken(small_speech), speech.task.datasets["fsdd"].load(small_speech, {"train": None, "test": None})
    rows = {part: speech.rows_of(found, part) for part in ("train", "test")}
    assert sorted(torch.cat(list(rows.values())).tolist()) == list(range(180))
    assert set(found.takes[rows["test"]].tolist()) == {0} and len(images["test"]) == 60
    takes = found.takes[rows["train"]]
    assert (takes.diff() != 0).sum() == 1  # one take after the other
    classes = images["train"].labels
    assert torch.equal(speech.digit(classes), found.digits[rows["train"]])
    assert torch.equal(speech.speaker(classes), found.speakers[rows["train"]])


def test_held_out_takes_of_the_whole_set(monkeypatch):
    """Of 40 training takes, four are held out, all ten digits of six speakers."""
    takes = torch.arange(50).repeat(60)
    rows = speech.rows_of(speech.Spoken(torch.empty(3000, 0), takes, takes, takes), "train")
    n = held_out(len(rows))
    ours, others = set(takes[rows[:n]].tolist()), set(takes[rows[n:]].tolist())
    assert (n, len(ours), len(others)) == (240, 4, 36) and not ours & others and not (ours | others) & set(range(10))


def test_house_numbers_are_parted_once(small_svhn):
    """Forty to learn from and twenty others."""
    images = svhn.task.datasets["svhn-4000"].load(small_svhn, {"train": None, "test": None})
    rows = [image.numpy().tobytes() for part in images.values() for _, some in part.batches() for image in some]
    assert [len(part) for part in images.values()] == [40, 20] and len(set(rows)) == 60


def test_pictures_of_spectrograms_by_hand():
    cells = torch.arange(16.0).view(1, 1, 4, 4) / 16
    torch.testing.assert_close(speech.pictures(cells)[0], torch.tensor([[2.5, 4.5], [10.5, 12.5]]) / 16)
