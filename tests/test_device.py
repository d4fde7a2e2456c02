"""`--device`: what is refused, what a record says, and, where there is a CUDA device, the same results on it."""

import csv

import numpy as np
import pytest
import torch

import attack
import sample_mutual_info
import train_noise
from shredder.io.cli import InputError
from shredder.io.device import described, device_of
from shredder.io.record import read_record

METHODS = ["additive", "self-supervised", "distribution", "fresh"]
QUICK = {"images": 2000, "members": 4, "parallel": 4, "epochs": 3, "min_epochs": 1, "min_accuracy": 0.0}


def test_auto_takes_cuda_where_there_is_one(monkeypatch):
    for there in (True, False):
        monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
        assert device_of("auto") == ("cuda" if there else "cpu")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there(tmp_path, monkeypatch, name):
    monkeypatch.setattr(f"torch.{'' if name == 'cuda' else 'backends.'}{name}.is_available", lambda: False)
    for script, flags in (
        (train_noise, {"task": "lenet"}),
        (sample_mutual_info, {"task": "lenet"}),
        (attack, {"task": "lenet"}),
    ):
        with pytest.raises(InputError, match=f"--device: found {name}, of which torch sees none here; expected auto, cpu"):
            script.main(script.Arguments(device=name, output=tmp_path / "output", **flags))
    assert not (tmp_path / "output").exists()


def test_a_name_that_is_none():
    with pytest.raises(InputError, match="--device: found 'gpu', expected auto, cpu, cuda, mps"):
        device_of("gpu")


def test_the_record_names_it(tmp_path):
    train_noise.main(train_noise.Arguments(task="lenet", device="cpu", output=tmp_path, **QUICK))
    record = read_record(tmp_path / "run.json")
    assert record["arguments"]["device"] == "cpu" and record["device"] == described("cpu") and "CPU" in described("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_cuda_learns_samples_and_attacks_as_the_processor_does(tmp_path, method):
    """Draws are the same, so that noise differs by rounding, and accuracies by what rounding moves."""
    found = {}
    flags = QUICK | ({"members": 1, "parallel": 1} if method == "fresh" else {})
    for device in ("cpu", "cuda"):
        folder, results = tmp_path / device, {}
        train_noise.main(train_noise.Arguments(task="lenet", method=method, device=device, output=folder / "noise", **flags))
        noise, output = folder / "noise", folder / "sample"
        sample_mutual_info.main(
            sample_mutual_info.Arguments(noise=noise, n_samples=200, judged_on=200, seed=0, device=device, output=output)
        )
        attack.main(attack.Arguments(noise=noise, images=400, epochs=2, device=device, output=folder / "attacks"))
        results |= read_record(noise / "run.json")["results"] | read_record(output / "run.json")["results"]
        with open(folder / "attacks" / "reconstruction.csv", newline="") as file:
            results["SSIM"] = float(next(csv.DictReader(file))["SSIM"])
        found[device] = results, np.load(output / "noisy_activations.npy")
        assert device == "cpu" or "CPU" in read_record(noise / "run.json")["device"]
    (cpu, sent), (cuda, sent_there) = found["cpu"], found["cuda"]
    assert cpu.keys() == cuda.keys()
    for name in ("average test accuracy", "average public accuracy", "clean test accuracy", "SSIM"):
        assert abs(cpu[name] - cuda[name]) < 0.05, name
    assert np.abs(sent - sent_there).mean() < 0.05 * np.abs(sent).mean()
