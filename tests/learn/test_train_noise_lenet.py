"""Learning noise: what it writes, that it repeats itself to the bit, and that each of its formulas is the one it names."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import train_noise_lenet
from models.lenet import pretrained_lenet
from shredder.inputs.digits import Digits, digit_gt5, to_network_input
from shredder.learn import objectives
from shredder.learn.adam import adam_step
from shredder.learn.learner import Settings
from shredder.learn.members import Learning
from shredder.learn.methods import RECIPES, SelfSupervised
from shredder.noise.tensors import noisy
from shredder.split import SplitNetwork
from tasks.lenet import task

ROOT = Path(__file__).parents[2]
RESULTS = ("additive.npy", "multiplicative.npy", "training.csv", "curves.csv")
pytestmark = pytest.mark.usefixtures("quick_digits")


def run(output, **fields):
    small = {"images": 400, "members": 4, "parallel": 4, "epochs": 30, "min_epochs": 1, "min_accuracy": 0.0}
    train_noise_lenet.main(train_noise_lenet.Arguments(output=output, **small | fields))
    return {name: (output / name).read_bytes() for name in RESULTS}


# The script.


def test_small_run(tmp_path, monkeypatch):
    networks = []

    def kept(*args):
        networks.append(pretrained_lenet(*args))
        return networks[-1]

    watched = dataclasses.replace(task.labels["gt5"], network=lambda weights: kept(2, weights))
    monkeypatch.setattr("tasks.lenet.task", dataclasses.replace(task, labels=task.labels | {"gt5": watched}))
    run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*RESULTS, "run.json"])
    for name in ("additive.npy", "multiplicative.npy"):
        array = np.load(tmp_path / name)
        assert array.dtype == np.float32 and array.shape == (4, 120, 1, 1) and np.isfinite(array).all()
    log = (tmp_path / "training.csv").read_text().splitlines()
    assert log[0] == "snr,accuracy,epoch" and len(log) == 1 + 4
    # Accepted after more epochs than min_epochs, so after the second.
    assert {line.split(",")[2] for line in log[1:]} == {"2"}
    curves = (tmp_path / "curves.csv").read_text().splitlines()
    assert curves[0] == "member,epoch,loss,accuracy,snr" and len(curves) == 1 + 4 * 2
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["arguments"]["seed"] == 0
    assert record["results"]["members"] == 4 and record["results"]["members rejected"] == 0
    # Only noise is learned: the network's every weight is still the one on disk.
    (network,), untouched = networks, pretrained_lenet(2).state_dict()
    for name, weight in network.state_dict().items():
        assert weight.numpy().tobytes() == untouched[name].numpy().tobytes()
        assert not network.get_parameter(name).requires_grad and network.get_parameter(name).grad is None


def test_the_seed_decides_every_bit(tmp_path):
    first, again, other = (run(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first == again
    assert all(first[name] != other[name] for name in RESULTS)


@pytest.mark.parametrize(
    ("clustering", "recipe", "cutting_point", "shape"),
    [
        ("raw", "suite", "relu5", (1, 120, 1, 1)),
        ("normalised", "authors", "s4", (1, 16, 5, 5)),
        ("raw", "authors", "s2", (1, 6, 14, 14)),
    ],
)
def test_variants(tmp_path, clustering, recipe, cutting_point, shape):
    once = {"members": 1, "parallel": 1, "epochs": 1, "min_epochs": 0}
    run(tmp_path, **once, clustering=clustering, recipe=recipe, cutting_point=cutting_point)
    for name in ("additive.npy", "multiplicative.npy"):
        array = np.load(tmp_path / name)
        assert array.dtype == np.float32 and array.shape == shape and np.isfinite(array).all()


def test_a_smaller_scale_learns_faster(tmp_path):
    # The smaller the noise, the less there is to balance. With the authors' small steps, 900 updates do for scale 3 what
    # they only begin for scale 20.
    accuracies = {}
    for scale in (3.0, 20.0):
        run(tmp_path / str(scale), images=None, scale=scale, recipe="authors", epochs=61, min_epochs=60)
        curves = np.genfromtxt(tmp_path / str(scale) / "curves.csv", delimiter=",", names=True)
        accuracies[scale] = curves["accuracy"][curves["epoch"] == 61].mean()
    assert accuracies[3.0] > 0.95 and accuracies[20.0] < 0.75


# The script, with a checkpoint after its 15th epoch and then no haste, so that it does not end before it is killed.
SLOW = """if True:
    import runpy, sys, time
    from shredder.learn import members, run
    epoch, begun = members.Learning.epoch, []

    def slowly(self):
        begun.append(self)
        if len(begun) == 15:
            run._SECONDS_BETWEEN_CHECKPOINTS = -1
        time.sleep(0.5 * (len(begun) > 15))
        epoch(self)

    members.Learning.epoch, run._SECONDS_BETWEEN_CHECKPOINTS = slowly, float("inf")
    sys.argv[0] = "train_noise_lenet.py"
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_killed_run_continues_to_the_same_bits(tmp_path, monkeypatch):
    # Two members at a time and four in all, so that a finished share, too, has to survive: two are accepted by the 12th epoch.
    fields = {"members": 4, "parallel": 2, "epochs": 40, "min_epochs": 11}
    flags = ["--images=400", "--members=4", "--parallel=2", "--epochs=40", "--min-epochs=11", "--min-accuracy=0"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # as many as here, or bits may differ
    command = [sys.executable, "-c", SLOW, *flags, "--output", str(tmp_path / "killed")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    killed = subprocess.Popen(command, cwd=ROOT, env=environment, **quiet)
    checkpoint = tmp_path / "killed" / "share-1" / "checkpoint.pt"
    try:
        whole = run(tmp_path / "whole", **fields)
        while not checkpoint.exists() and killed.poll() is None:
            time.sleep(0.01)
    finally:
        killed.kill()
    assert killed.wait() == -signal.SIGKILL and checkpoint.exists()
    assert not any((tmp_path / "killed" / name).exists() for name in RESULTS)
    epochs, epoch = [], Learning.epoch
    monkeypatch.setattr(Learning, "epoch", lambda self: epochs.append(self) or epoch(self))
    assert run(tmp_path / "killed", **fields) == whole
    assert 0 < len(epochs) <= 24 - 15 and not checkpoint.exists()


# Members side by side.


@pytest.fixture(scope="module")
def material(mnist_5k: Digits):
    """A split network with 600 activations to learn from and 200 held out."""
    split = SplitNetwork(pretrained_lenet(2), "relu5")
    activations = split.activations(to_network_input(mnist_5k.train_images[:800]))
    labels = digit_gt5(mnist_5k.train_labels[:800])
    return split, (activations[:600], labels[:600]), (activations[600:], labels[600:])


def learning(material, seed=0, **fields):
    settings = {"members": 3, "parallel": 2, "epochs": 20, "min_epochs": 1, "min_accuracy": 0.0, "batch_size": 256}
    method = SelfSupervised(3.0, RECIPES["suite"], "normalised", 0.3)
    return Learning(*material, method, Settings(**settings | fields), np.random.default_rng(seed))


@pytest.mark.parametrize("n_before", [0, 1, 2, 3])
def test_state_holds_all_that_decides_what_comes_next(material, n_before):
    whole, before, after = learning(material), learning(material), learning(material, seed=99)
    while len(whole.log) < 3:
        whole.epoch()
    for _ in range(n_before):
        before.epoch()
    after.restore(before.state())
    while len(after.log) < 3:
        after.epoch()
    assert after.log == whole.log and after.curves == whole.curves
    assert torch.equal(after.collection.additive, whole.collection.additive)
    assert torch.equal(after.collection.multiplicative, whole.collection.multiplicative)


def test_a_member_learns_the_same_alone_and_among_others(material):
    together = learning(material, parallel=3, min_epochs=10)
    together.epoch()
    state = together.state()
    alone = learning(material, members=1, parallel=1, min_epochs=10)
    alone.restore(state | {"active": {name: tensor[1:2] for name, tensor in state["active"].items()}, "begun": 1})
    for _ in range(2):
        before = alone.active
        together.epoch()
        alone.epoch()
    assert alone.active["number"].tolist() == [1] and alone.active["updates"].tolist() == [9]
    for name in ("additive", "multiplicative"):
        assert not torch.equal(alone.active[name], before[name])
        # Not to the bit: how a product is rounded depends on the matrix's size.
        torch.testing.assert_close(alone.active[name][0], together.active[name][1], rtol=1e-4, atol=1e-4)


def test_members_that_miss_the_accuracy_are_rejected_and_replaced(material):
    few = learning(material, members=2, epochs=1, min_epochs=0, min_accuracy=1.0)
    few.epoch()
    assert few.n_rejected == 2 and len(few.collection) == 0
    few.epoch()
    assert few.n_rejected == 4 and [row[0] for row in few.curves] == [0, 1, 2, 3]


# Formulas.


def test_adam_step_is_torchs_adam_for_members_of_any_age():
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(3, 5, 2, generator=rng, dtype=torch.float64)
    # A member begins when another one leaves, so each counts its own updates.
    first_update, rates = (0, 4, 13), torch.tensor([1e-1, 1e-2, 1e-3])
    theirs = [row.clone().requires_grad_() for row in start]
    optimisers = [torch.optim.Adam([p], lr=rate) for p, rate in zip(theirs, rates.tolist(), strict=True)]
    ours, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    updates = torch.zeros(3, dtype=torch.long)
    for step in range(20):
        gradient = torch.randn(start.shape, generator=rng, dtype=torch.float64)
        begun = [i for i in range(3) if step >= first_update[i]]
        rows = torch.tensor(begun)
        some = [tensor[rows] for tensor in (ours, gradient, m, v, updates + 1, rates)]
        adam_step(*some)
        for tensor, value in zip((ours, m, v, updates), (some[0], some[2], some[3], some[4]), strict=True):
            tensor[rows] = value
        for i in begun:
            theirs[i].grad = gradient[i].clone()
            optimisers[i].step()
    assert updates.tolist() == [20, 16, 7]
    # In units of the rate: an age that is off by one update would show as 0.1 or more.
    difference = (ours - torch.stack(theirs).detach()) / rates.view(-1, 1, 1)
    assert difference.abs().max() < 2e-6


def test_clustering_is_the_sum_over_pairs_of_noisy_activations():
    rng = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 6, 4, 2, 1, generator=rng, dtype=torch.float64)
    w, n = torch.randn(2, 3, 4, 2, 1, generator=rng, dtype=torch.float64)
    same_label = torch.tensor([True, False, False, True, True, False])
    for member in range(3):
        pos = neg = 0.0
        for i in range(6):
            first, second = (noisy(activations[i], w[member], n[member]).flatten().tolist() for activations in (a, b))
            distance = sum(abs(x - y) for x, y in zip(first, second, strict=True))
            if same_label[i]:
                pos += distance
            else:
                neg += distance
        raw, normalised = (objectives.clustering(w, a, b, same_label, form)[member].item() for form in ("raw", "normalised"))
        assert raw == pytest.approx(pos - neg, rel=1e-9)
        assert normalised == pytest.approx((pos - neg) / (pos + neg), rel=1e-9)


def test_clustering_without_any_distance_is_zero_with_a_zero_gradient():
    activations, w = torch.rand(3, 5), torch.ones(2, 5, requires_grad=True)
    term = objectives.clustering(w, activations, activations, torch.tensor([True, True, True]), "normalised")
    term.sum().backward()
    assert term.tolist() == [0, 0] and w.grad.eq(0).all()


def test_cross_entropy_is_torchs_for_each_member():
    rng = torch.Generator().manual_seed(2)
    log_probabilities = torch.randn(7, 3, 5, generator=rng).log_softmax(-1)
    labels = torch.randint(5, (7,), generator=rng)
    expected = torch.stack([functional.nll_loss(log_probabilities[:, member], labels) for member in range(3)])
    torch.testing.assert_close(objectives.cross_entropy(log_probabilities, labels), expected)
