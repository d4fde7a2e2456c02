"""The steps on CIFAR-10 with the shipped weights, on a few images of noise: labels, files and flags, not numbers."""

import numpy as np
import pytest
import torch

import attack
import sample_mutual_info
import train_noise
from shredder.io.cli import InputError
from shredder.io.record import read_record
from shredder.learn.step import with_defaults
from shredder.task import read_task
from tasks.cifar10 import animal

QUICK = {"images": 100, "members": 2, "epochs": 2, "min_epochs": 0, "min_accuracy": 0.0, "batch_size": 30}


@pytest.mark.parametrize(("cut", "shape"), [("relu2", (64, 15, 15)), ("pool6", (256, 1, 1))])
def test_learned_and_sampled_at_both_cuts(tmp_path, small_cifar10, cut, shape):
    flags = {"task": "cifar10", "data_root": small_cifar10, "cutting_point": cut}
    train_noise.main(train_noise.Arguments(method="additive", output=tmp_path / "noise", **flags, **QUICK))
    sample = sample_mutual_info.Arguments(noise=tmp_path / "noise", data_root=small_cifar10, output=tmp_path / "sample", seed=0)
    sample_mutual_info.main(sample)
    assert np.load(tmp_path / "sample" / "noisy_activations.npy").shape == (20, *shape)
    assert np.array_equal(np.load(tmp_path / "sample" / "labels.npy")[:, 0], np.arange(20) % 10)


def test_the_class_is_private_beside_animal_or_vehicle(tmp_path, small_cifar10):
    """The untrained adversary is the same network, asked for the class."""
    flags = {"task": "cifar10", "data_root": small_cifar10, "public_labels": "animal"}
    train_noise.main(train_noise.Arguments(method="self-supervised", output=tmp_path / "noise", **flags, **QUICK))
    later = {"noise": tmp_path / "noise", "data_root": small_cifar10}
    sample_mutual_info.main(sample_mutual_info.Arguments(output=tmp_path / "sample", seed=0, **later))
    labels, public = (np.load(tmp_path / "sample" / f"{name}.npy")[:, 0] for name in ("labels", "public_labels"))
    assert np.array_equal(public, animal(torch.from_numpy(labels)).numpy())
    attack.main(attack.Arguments(output=tmp_path / "attacks", images=100, epochs=1, attacks=("untrained", "trained"), **later))
    results = read_record(tmp_path / "attacks" / "run.json")["results"]
    assert {"its private accuracy", "public accuracy"} <= results.keys()


def test_members_default_to_the_tasks(small_cifar10):
    args = with_defaults(read_task("cifar10"), train_noise.Arguments(task="cifar10", data_root=small_cifar10))
    assert (args.images, args.cutting_point, args.method, args.max_accuracy_loss) == (20_000, "pool6", "self-supervised", 0.008)
    with pytest.raises(InputError, match="--cutting-point: found 'conv9', expected relu2, pool6"):
        with_defaults(read_task("cifar10"), train_noise.Arguments(task="cifar10", cutting_point="conv9"))
