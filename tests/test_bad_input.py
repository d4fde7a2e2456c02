"""Every mistake a user can make ends before any result is written, in a message that says what to change."""

import errno
import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

import sample_mutual_info_lenet as sample
import train_noise_lenet as train
from models.lenet import WEIGHTS
from models.weights import WeightsError
from shredder.io.cli import InputError, script
from shredder.io.files import npy

ROOT = Path(__file__).parents[1]


def tensors(n=3, shape=(120, 1, 1), seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


@pytest.fixture
def pair(tmp_path):
    """Arguments that name a small collection and are free of mistakes."""
    np.save(tmp_path / "additive.npy", tensors())
    np.save(tmp_path / "multiplicative.npy", tensors(seed=1))
    return {
        "additive": tmp_path / "additive.npy",
        "multiplicative": tmp_path / "multiplicative.npy",
        "output": tmp_path / "output",
        "n_samples": 2,
        "seed": 0,
    }


class Trap:
    """Unpickled, it makes a file: proof that code of the file's author would have run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def with_one(value):
    array = tensors()
    array[1, 5] = value
    return array


def huge():
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 120, 1, 1)})
    return content.getvalue()


def npz():
    buffer = io.BytesIO()
    np.savez(buffer, additive=tensors())
    return buffer.getvalue()


@pytest.mark.parametrize("which", ["additive", "multiplicative"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such file", id="missing"),
        pytest.param(npy(tensors())[:-40], "not a readable .npy", id="truncated"),
        pytest.param(b"", "not a readable .npy", id="empty"),
        pytest.param(b"no array", "not a readable .npy", id="not an array"),
        pytest.param(huge(), "not a readable .npy", id="a shape beyond memory"),
        pytest.param(npz(), "not a readable .npy", id="an .npz"),
        pytest.param(npy(tensors(shape=(16, 5, 5))), "found float32 (3, 16, 5, 5), expected", id="wrong shape"),
        pytest.param(npy(tensors()[0]), "found float32 (120, 1, 1), expected", id="one tensor alone"),
        pytest.param(npy(np.float32(1)), "found float32 (), expected", id="a number"),
        pytest.param(npy(tensors(0)), "found float32 (0, 120, 1, 1), expected", id="no tensors"),
        pytest.param(npy(tensors().astype(float)), "found float64 (3, 120, 1, 1), expected", id="wrong dtype"),
        pytest.param(npy(with_one(np.nan)), "found NaN or infinity in 1 of 360 elements", id="NaN"),
        pytest.param(npy(with_one(-np.inf)), "found NaN or infinity in 1 of 360 elements", id="infinity"),
        pytest.param(npy(tensors(4)), "expected as many of each", id="different lengths"),
    ],
)
def test_collection(pair, which, content, message):
    pair[which].unlink()
    if content is not None:
        pair[which].write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        sample.main(sample.Arguments(**pair))
    assert f"--{which} {pair[which]}" in str(error.value)
    assert not pair["output"].exists()


@pytest.mark.parametrize("which", ["additive", "multiplicative"])
def test_pickled_collection_is_not_loaded(pair, tmp_path, which):
    trace = tmp_path / "executed"
    np.save(pair[which], np.array([Trap(trace)], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=f"--{which} .*not a readable .npy array of numbers"):
        sample.main(sample.Arguments(**pair))
    assert not trace.exists()
    # The trap works where pickles are read.
    np.load(pair[which], allow_pickle=True)
    assert trace.exists()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cutting_point", "relu4", "--cutting-point: found 'relu4', expected s2, s4, relu5"),
        ("cutting_point", "s4", "found float32 (3, 120, 1, 1), expected float32 (N, 16, 5, 5)"),
        ("n_samples", 0, "--n-samples: found 0, expected 1 to 1000"),
        ("n_samples", 1001, "--n-samples: found 1001, expected 1 to 1000"),
        ("skip_rows", 3, "--skip-rows: found 3, expected 0 to 2"),
        ("seed", -1, "--seed: found -1, expected at least 0"),
        ("skip_rows", -1, "--skip-rows: found -1, expected 0 to 2"),
    ],
)
def test_sampling_flags(pair, quick_digits, field, value, message):
    with pytest.raises(InputError, match=re.escape(message)):
        sample.main(sample.Arguments(**pair | {field: value}))
    assert not pair["output"].exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cutting_point": "conv1"}, "--cutting-point: found 'conv1', expected s2, s4, relu5"),
        ({"members": 0}, "--members: found 0, expected at least 1"),
        ({"parallel": 0}, "--parallel: found 0, expected at least 1"),
        ({"batch_size": 0}, "--batch-size: found 0, expected at least 1"),
        ({"scale": -1.0}, "--scale: found -1.0, expected at least 0"),
        ({"scale": float("nan")}, "--scale: found nan, expected at least 0"),
        ({"clustering_weight": float("inf")}, "--clustering-weight: found inf, expected at least 0"),
        ({"min_accuracy": 1.0}, "--min-accuracy: found 1.0, expected less than 1"),
        ({"seed": -1}, "--seed: found -1, expected at least 0"),
        ({"epochs": 5, "min_epochs": 5}, "--epochs: found 5, expected more than --min-epochs 5"),
        ({"epochs": 108}, "--epochs: found 108, expected more than --min-epochs 108"),
        ({"min_epochs": -1}, "--min-epochs: found -1, expected at least 0"),
    ],
)
def test_training_flags(tmp_path, fields, message):
    with pytest.raises(InputError, match=re.escape(message)):
        train.main(train.Arguments(output=tmp_path / "output", **fields))
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("script", "field", "weights"),
    [(train, "weights", 10), (sample, "weights", 10), (sample, "private_weights", 2)],
)
def test_weights_of_another_network(pair, tmp_path, script, field, weights):
    arguments = pair if script is sample else {"output": tmp_path / "output"}
    with pytest.raises(WeightsError) as error:
        script.main(script.Arguments(**arguments | {field: WEIGHTS[weights]}))
    assert str(WEIGHTS[weights]) in str(error.value)
    assert f"fc.f7.weight: found ({weights}, 84), expected ({12 - weights}, 84)" in str(error.value)


def test_pickled_weights_are_not_loaded(tmp_path):
    trace, weights = tmp_path / "executed", tmp_path / "weights.pt"
    torch.save({"convnet.c1.weight": Trap(trace)}, weights)
    with pytest.raises(WeightsError, match=r"weights\.pt: not readable as weights"):
        train.main(train.Arguments(weights=weights, output=tmp_path / "output"))
    assert not trace.exists()


@pytest.mark.parametrize("weights", ["missing.pt", "missing.safetensors"])
def test_missing_weights(tmp_path, weights):
    with pytest.raises(WeightsError, match=f"{weights}: no such weights file"):
        train.main(train.Arguments(weights=tmp_path / weights, output=tmp_path / "output"))


@pytest.mark.parametrize("script", [train, sample])
def test_output_that_cannot_be_written(pair, tmp_path, quick_digits, script):
    (tmp_path / "file").write_text("a file, where a folder is needed")
    output = tmp_path / "file" / "output"
    with pytest.raises(InputError, match=re.escape(f"--output {output}: not a folder that can be written")):
        script.main(script.Arguments(**(pair if script is sample else {}) | {"output": output}))


def test_full_disk_leaves_the_old_results(pair, quick_digits, monkeypatch):
    sample.main(sample.Arguments(**pair))
    old = {path: path.read_bytes() for path in pair["output"].iterdir()}
    real, synced = os.fsync, []

    def full_at_the_third(descriptor):
        synced.append(descriptor)
        if len(synced) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_the_third)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (pair | {"seed": 1}).items()]
    monkeypatch.setattr(sys, "argv", ["sample_mutual_info_lenet.py", *flags])
    with pytest.raises(SystemExit, match=r"error: .*output.*\.npy: No space left on device"):
        script(sample.main, sample.Arguments)
    assert len(synced) == 3
    assert {path: path.read_bytes() for path in pair["output"].iterdir()} == old


@pytest.mark.parametrize("script", [train, sample])
def test_mnist_without_a_network(pair, tmp_path, monkeypatch, script):
    def no_network(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    arguments = (pair if script is sample else {"output": tmp_path / "output"}) | {"data_root": tmp_path / "empty"}
    with pytest.raises(InputError) as error:
        script.main(script.Arguments(dataset="mnist", **arguments))
    for part in ("--dataset mnist", str(tmp_path / "empty" / "MNIST" / "raw"), "--data-root", "mnist-5k"):
        assert part in str(error.value)


SMALL = {"members": 1, "parallel": 3, "epochs": 1, "min_epochs": 0}


def test_accuracy_out_of_reach(tmp_path, quick_digits):
    with pytest.raises(InputError, match=r"--min-accuracy 0\.9999: 3 members missed it") as error:
        train.main(train.Arguments(**SMALL, min_accuracy=0.9999, output=tmp_path))
    assert re.search(r"best held-out accuracy seen was 0\.\d{4}$", str(error.value))
    assert not list(tmp_path.glob("*.npy")) and not (tmp_path / "run.json").exists()


# One of them as a process, which imports torch anew; all of them as the script is run, in this one.
MISTAKES = {
    train: [
        (["--members", "0"], "error: --members: found 0, expected at least 1"),
        (["--weights", str(WEIGHTS[10])], "weights of another network than LeNet"),
    ],
    sample: [
        (["--multiplicative", "{missing}"], "missing.npy: no such file"),
        (["--additive", "{pickled}"], "not a readable .npy array of numbers"),
    ],
}


@pytest.fixture
def command(pair, tmp_path):
    """A command line with a mistake in it."""
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)

    def command(script, flags):
        flags = [flag.format(pickled=tmp_path / "pickled.npy", missing=tmp_path / "missing.npy") for flag in flags]
        if script is sample:
            flags = [f"--{name}={pair[name]}" for name in ("additive", "multiplicative") if f"--{name}" not in flags] + flags
        return [f"{script.__name__}.py", "--output", str(tmp_path / "output"), *flags]

    return command


def test_as_a_process(command, tmp_path):
    flags, message = MISTAKES[train][0]
    ended = subprocess.run([sys.executable, *command(train, flags)], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr == message + "\n"
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("module", "flags", "message"), [(module, *mistake) for module, mistakes in MISTAKES.items() for mistake in mistakes]
)
def test_from_the_command_line(command, tmp_path, monkeypatch, capsys, module, flags, message):
    monkeypatch.setattr(sys, "argv", command(module, flags))
    with pytest.raises(SystemExit) as end:
        runpy.run_path(module.__file__, run_name="__main__")
    # A text as the exit code: Python prints it on stderr and exits with status 1.
    assert isinstance(end.value.code, str) and message in end.value.code and "\n" not in end.value.code
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "output").exists()
