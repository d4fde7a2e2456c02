"""`--device`: what is refused, what a record says, that nothing is copied without a word; results on CUDA, if there is one."""

import csv
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import attack
import sample_mutual_info
import train_noise
from shredder.attack.networks import Budget, Reader, Training, perceptron
from shredder.io import checkpoints, kept
from shredder.io.cli import InputError, in_float32
from shredder.io.device import described, device_of, moved, with_float64
from shredder.io.record import key, read_record
from shredder.learn import step
from shredder.learn.fresh import FreshLearning
from shredder.learn.members import Learning
from shredder.metrics import ActivationMoments, noisy_accuracy
from shredder.split import SplitNetwork
from shredder.task import read_task
from tests.accelerator import DEVICE, Accelerator, SilentCopyError

METHODS = ["additive", "self-supervised", "distribution", "fresh", "isotropic", "pac", "cloak", "dropout", "none"]
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


def test_mps_is_refused_for_it_has_no_float64(monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    with pytest.raises(InputError, match="--device: found mps, which has no float64; expected auto, cpu"):
        with_float64("mps")
    assert device_of("mps") == "mps" and described("mps").startswith("mps, ")  # pretraining has no need of float64


def test_a_name_that_is_none():
    with pytest.raises(InputError, match="--device: found 'gpu', expected auto, cpu, cuda, mps"):
        device_of("gpu")


def test_the_record_names_it(tmp_path):
    train_noise.main(train_noise.Arguments(task="lenet", device="cpu", output=tmp_path, **QUICK))
    record = read_record(tmp_path / "run.json")
    assert record["arguments"]["device"] == "cpu" and record["device"] == described("cpu") and "CPU" in described("cpu")


# An accelerator that every machine has: tests/accelerator.py.


def silent_copies():
    """What fails on CUDA, or waits for a copy that nobody asked for, by name."""
    rows = torch.arange(3)
    return {
        "torch.zeros": lambda there: there + torch.zeros(3),
        "from_numpy": lambda there: there * torch.from_numpy(np.ones(3)),
        "in place": lambda there: torch.ones(3).add_(there),
        "matrix product": lambda there: torch.eye(3) @ there,
        "rows of the processor": lambda there: there[rows],
        "rows of the accelerator": lambda there: torch.ones(3)[there.argsort()],
        "where": lambda there: torch.where(there > 0, torch.ones(3), 0.0),
        "cat": lambda there: torch.cat([there, torch.ones(3)]),
        "numpy": lambda there: np.asarray(there),
        "gradient": lambda there: (there.clone().requires_grad_() * torch.ones(3)).sum().backward(),
    }


@pytest.mark.parametrize("name", silent_copies())
def test_the_accelerator_refuses_silent_copies(name):
    with Accelerator(), pytest.raises(SilentCopyError):
        silent_copies()[name](torch.ones(3, device=DEVICE))


def test_the_accelerator_computes_and_counts_looks():
    with Accelerator() as accelerator:
        there = moved(np.array([3.0, -1.0, 2.0]), DEVICE)
        there += torch.tensor(1.0)  # a number of the processor may be there
        with accelerator.looked(0):
            product = (there * torch.arange(3, device=DEVICE)).sum()
        assert product.device.type == DEVICE and product.item() == 6
        for look in (product.item, there.cpu, lambda: there[there > 0], lambda: bool((there > 0).any()), there.nonzero):
            before = accelerator.looks
            look()
            assert accelerator.looks == before + 1
        with pytest.raises(AssertionError, match="1 looks, expected 0"), accelerator.looked(0):
            product.item()
    with pytest.raises(SilentCopyError, match="which is off"):
        there + 1


@pytest.fixture
def found_by_auto(monkeypatch):
    """Steps look for an accelerator under `--device auto`; of what is alike for each, they do little: it is slow."""
    monkeypatch.setattr("shredder.noise.bounds._MIXED", 20)
    monkeypatch.setattr("shredder.attack.invert._STEPS", 20)
    monkeypatch.setattr("shredder.attack.reading.RESAMPLES", 20)
    adam = torch.optim.AdamW
    monkeypatch.setattr("torch.optim.AdamW", lambda *args, fused, **settings: adam(*args, **settings))  # of real devices alone
    monkeypatch.setattr("shredder.system.with_float64", lambda name: DEVICE if name == "auto" else name)


@pytest.fixture
def accelerator(found_by_auto):
    with Accelerator() as found:
        yield found


WAYS = {
    "additive": {"method": "additive"},
    "self-supervised": {"method": "self-supervised", "scale": 1.0},
    "self-supervised, redrawn": {"method": "self-supervised", "scale": 1.0, "learn_redrawn": True, "clustering": "raw"},
    "distribution": {"method": "distribution", "scale": 0.5, "max_sse": 100.0},
    "distribution, private": {"method": "distribution", "scale": 0.5, "max_sse": 100.0, "private_labels": True},
    **{f"fresh, {form}": {"method": "fresh", "form": form, "directions": 3, "batch_size": 60, "members": 1, "parallel": 1}
       for form in ("linear", "saturated", "quantised")},
}  # fmt: skip


def steps(task, folder, device, way):
    """The three steps; their arrays and results."""
    learn = {"task": task, "min_accuracy": 0.0, "device": device, "output": folder / "noise"}
    train_noise.main(train_noise.Arguments(**learn, **WAYS[way]))
    noise = {"noise": folder / "noise", "device": device}
    sample_mutual_info.main(sample_mutual_info.Arguments(**noise, seed=0, output=folder / "sample"))
    attack.main(attack.Arguments(**noise, epochs=2, output=folder / "attacks"))
    arrays = {path.relative_to(folder): np.load(path) for path in sorted(folder.glob("*/*.npy"))}
    return arrays, {step: read_record(folder / step / "run.json")["results"] for step in ("noise", "sample", "attacks")}


@pytest.mark.parametrize(
    ("way", "place"),
    [*((way, "in memory") for way in WAYS), *((way, "mapped") for way in ("distribution, private", "fresh, saturated"))],
)
def test_steps_compute_there_what_they_compute_on_the_processor(way, place, tiny_task, tmp_path, found_by_auto, request):
    if place == "mapped":
        request.getfixturevalue("mapped")
    here, results = steps(tiny_task, tmp_path / "cpu", "cpu", way)
    with Accelerator():
        there, results_there = steps(tiny_task, tmp_path / "auto", "auto", way)
    assert here.keys() == there.keys()
    for name, array in here.items():
        if array.dtype.kind == "f":  # sums there have an order of their own
            np.testing.assert_allclose(there[name], array, rtol=1e-3, atol=1e-4, err_msg=str(name))
        else:
            np.testing.assert_array_equal(there[name], array, err_msg=str(name))
    for folder, of_step in results.items():
        for name, value in of_step.items():
            expected = pytest.approx(value, rel=0.02, abs=0.02) if isinstance(value, float) else value
            assert results_there[folder][name] == expected, name


@pytest.mark.parametrize(("planted", "way"), [("shredder.metrics", "additive"), ("shredder.learn.members", "distribution")])
def test_a_tensor_that_is_made_without_a_device_is_caught(planted, way, tiny_task, tmp_path, accelerator, monkeypatch):
    def forgetful(*size, device=None, **kind):
        return torch.zeros(*size, **kind)

    careless = SimpleNamespace(**{name: getattr(torch, name) for name in dir(torch) if name != "zeros"}, zeros=forgetful)
    monkeypatch.setattr(f"{planted}.torch", careless)
    with pytest.raises(SilentCopyError):
        steps(tiny_task, tmp_path, "auto", way)


@pytest.mark.parametrize("way", WAYS)
def test_an_epoch_looks_no_oftener_for_more_updates(way, tiny_task, tmp_path, accelerator, monkeypatch):
    """Between two looks the accelerator is given all updates of an epoch. The last one also tries how loud noise may be."""
    looks = {}
    for kind in (Learning, FreshLearning):

        def counted(self, epoch=kind.epoch):
            before = accelerator.looks
            epoch(self)
            looks.setdefault(self.settings.batch_size, []).append(accelerator.looks - before)

        monkeypatch.setattr(kind, "epoch", counted)
    for size in (90, 30):
        flags = WAYS[way] | {"batch_size": size, "epochs": 2, "min_epochs": 1, "min_accuracy": 0.0}
        train_noise.main(train_noise.Arguments(task=tiny_task, output=tmp_path / str(size), **flags))
    assert looks[90] == looks[30] and looks[90][0] < 60 and looks[90][1] < 120


def test_a_reader_looks_once_an_epoch(accelerator):
    features, labels = torch.randn(100, 5).to(DEVICE), torch.arange(100).to(DEVICE) % 3
    network = Reader(perceptron(features, (8,), 3, np.random.default_rng(0)))
    training = Training(network, (features, labels), Budget(2, batch_size=10), np.random.default_rng(1))
    with accelerator.looked(1):
        training.epoch(features, labels)
    assert training.finish() < 2


def test_judging_looks_once_for_many_draws(accelerator):
    split = SplitNetwork(nn.Sequential(nn.Identity(), nn.Linear(4, 3), nn.LogSoftmax(1)), "0").to(DEVICE)
    activations, labels = torch.randn(50, 4).to(DEVICE), torch.arange(50).to(DEVICE) % 3
    with accelerator.looked(0):
        found = noisy_accuracy(split, activations, labels, None, torch.randn(1000, 4).to(DEVICE))
        snr = ActivationMoments(activations).snr(None, torch.randn(1000, 4).to(DEVICE))
    assert found.device.type == snr.device.type == DEVICE and found.shape == snr.shape == (1000,)


@pytest.mark.parametrize("way", ["self-supervised", "fresh, saturated"])
def test_a_run_that_was_interrupted_there_goes_on(way, tiny_task, tmp_path, accelerator, monkeypatch):
    kind = FreshLearning if way.startswith("fresh") else Learning
    flags = WAYS[way] | {"task": tiny_task, "min_accuracy": 0.0, "epochs": 4, "min_epochs": 3}
    train_noise.main(train_noise.Arguments(**flags, output=tmp_path / "whole"))
    monkeypatch.setattr("shredder.learn.run._SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    epoch = kind.epoch

    def interrupted(self):
        if len(self.curves) and self.curves[-1][1] == 2:
            raise KeyboardInterrupt
        epoch(self)

    monkeypatch.setattr(kind, "epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_noise.main(train_noise.Arguments(**flags, output=tmp_path / "parts"))
    monkeypatch.setattr(kind, "epoch", epoch)
    _, kept = kept_state(tmp_path / "parts")
    assert all(tensor.device.type == "cpu" for tensor in tree_leaves(kept) if isinstance(tensor, torch.Tensor))
    train_noise.main(train_noise.Arguments(**flags, output=tmp_path / "parts"))
    for path in (tmp_path / "whole").glob("*.npy"):
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()


def kept_state(folder):
    found = kept.read(folder / checkpoints.LATEST)
    return found.key, torch.load(io.BytesIO(found.content), weights_only=True)


def test_auto_and_cpu_are_one_run(tiny_task, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    task = read_task(tiny_task)
    keys = {key(step.with_defaults(task, train_noise.Arguments(task=tiny_task, device=name)), []) for name in ("auto", "cpu")}
    assert len(keys) == 1


def test_convolutions_are_of_float32(monkeypatch):
    """CUDA's are of fewer bits unless that is asked for."""
    before, seen = torch.backends.cudnn.conv.fp32_precision, []
    in_float32(lambda: seen.append(torch.backends.cudnn.conv.fp32_precision))()
    assert seen == ["ieee"] and torch.backends.cudnn.conv.fp32_precision == before


# CUDA, where there is one.


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_cuda_learns_samples_and_attacks_as_the_processor_does(tmp_path, method):
    """Draws are the same, so that noise differs by rounding, and accuracies by what rounding moves."""
    found = {}
    flags = QUICK | ({"members": 1, "parallel": 1} if METHODS.index(method) >= 3 else {})
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
        named = read_record(noise / "run.json")["device"]
        assert named.startswith(f"cuda: {torch.cuda.get_device_name()}") if device == "cuda" else "CPU" in named
    (cpu, sent), (cuda, sent_there) = found["cpu"], found["cuda"]
    assert cpu.keys() == cuda.keys()
    for name in ("average test accuracy", "average public accuracy", "clean test accuracy", "SSIM"):
        assert abs(cpu[name] - cuda[name]) < 0.05, name
    assert np.abs(sent - sent_there).mean() < 0.05 * np.abs(sent).mean()
