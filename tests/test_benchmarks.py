"""Every benchmark runs to its end, on sizes that take a second or two, and measures something; the sizes are its arguments."""

import json
import math
import os
import signal
import timeit

import pytest

import ite
from benchmarks import (
    attacking,
    bracket,
    distances,
    epochs,
    fault_runs,
    faults,
    hostile,
    learning,
    mutual_information,
    neighbors,
    ranks,
    sampling,
    scaling,
    splitting,
    startup,
    steps,
)
from shredder.io.cli import InputError


def results_of(path) -> dict[str, float]:
    """The numbers of a benchmark's run record, all of them finite."""
    results = json.loads(path.read_text())["results"]
    assert all(math.isfinite(value) for value in results.values() if not isinstance(value, str)), results
    return results


def test_learning(tmp_path, capsys):
    output = tmp_path / "learning.json"
    learning.main(learning.Arguments(dataset="mnist-5k", parallel=2, epochs=1, naive_batches=1, output=output))
    found = results_of(output)
    naive, ours = found["naive (s per member-epoch)"], found["ours (s per member-epoch)"]
    assert found["ratio"] == pytest.approx(naive / ours, rel=1e-4)
    assert naive > 0 and ours > 0  # which is faster is for the benchmark to say, on a machine of its own
    assert found["ours, n alone (s per member-epoch)"] > 0
    operations, limit = 4 * 3600 * (120 * 84 + 84 * 2), found["the machine's float32 matrix product (GFLOP/s)"]
    assert found["matrix products, w and n (GFLOP per member-epoch)"] == pytest.approx(operations / 1e9, rel=1e-4)
    assert found["share of the limit, w and n"] == pytest.approx(operations / 1e9 / ours / limit, rel=1e-3)
    assert "1 of 15 batches timed" in capsys.readouterr().out


def test_learning_takes_no_more_batches_than_an_epoch_has(tmp_path, monkeypatch, capsys):
    """Sixty of fifteen would have been scaled to a quarter of an epoch."""
    asked = []
    monkeypatch.setattr(learning, "naive_epoch", lambda *arguments: asked.append(arguments[3:]) or 1.0)
    learning.main(learning.Arguments(dataset="mnist-5k", parallel=1, epochs=1, output=tmp_path / "learning.json"))
    assert asked == [(15, 256)]


def test_epochs(tmp_path, monkeypatch, quick_digits):
    """What misses its accuracy has no number."""
    cases = {
        "v3": ({"method": "distribution", "members": 2, "min_accuracy": 0.0, "max_sse": 1e9}, (0.01, 0.02)),
        "fresh": ({"method": "fresh", "min_accuracy": 0.9999}, (0.05,)),
    }
    monkeypatch.setattr(epochs, "CASES", cases)
    output = tmp_path / "epochs.json"
    epochs.main(epochs.Arguments(cases=tuple(cases), seeds=2, longest=0.05, output=output))
    found = json.loads(output.read_text())["results"]
    assert [found[f"fresh, 0.05 times, seed {seed}"] for seed in (0, 1)] == ["missed"] * 2
    of_v3 = [found[f"v3, {multiple} times, seed 1: average held-out accuracy"] for multiple in ("0.01", "0.02")]
    assert all(0 < accuracy < 1 for accuracy in of_v3)


def test_bracket(tmp_path):
    output = tmp_path / "bracket.json"
    bracket.main(bracket.Arguments(inputs=300, many_inputs=400, elements=600, naive_inputs=40, output=output))
    found = results_of(output)
    for name in ("fresh, 300 inputs, 1 direction", "fresh, 400 inputs, 64 directions"):
        lower, upper, error, exact = (found[f"{name}: {of}"] for of in ("bits, lower", "upper", "standard error", "exact"))
        assert exact == pytest.approx(2, abs=1e-4) and lower <= upper and lower - 4 * error < exact < upper + 4 * error
    assert found["Laplace, 300 inputs, 600 elements: bits, lower"] == pytest.approx(math.log2(300), abs=1e-3)
    assert 1 < found["a double loop, 40 inputs, 1 direction: bits, lower"] < 3


def test_splitting(tmp_path):
    output = tmp_path / "splitting.json"
    splitting.main(splitting.Arguments(images=1, rounds=1, output=output))
    found = results_of(output)
    assert {name.split(":")[0] for name in found} == {
        "ResNet-18, a graph", "SqueezeNet 1.1, a graph", "AlexNet, a chain", "LeNet, a chain"
    }  # fmt: skip
    assert all(value > 0 for value in found.values())


def test_sampling(tmp_path, quick_digits):
    output = tmp_path / "sampling.json"
    sampling.main(sampling.Arguments(dataset="mnist-5k", draws=50, naive_draws=1, images=4, rounds=1, output=output))
    found = results_of(output)
    assert found["ratio"] == pytest.approx(found["naive (s per draw)"] / found["ours (s per draw)"], rel=1e-4)
    assert all(value > 0 for value in found.values())
    assert "AlexNet, step 2 as multiple of the bare edge" in found
    assert [path.name for path in tmp_path.iterdir()] == ["sampling.json"]  # what was sampled is gone


def test_ranks(tmp_path, monkeypatch):
    """One of its steps: each starts two processes and torchrun."""
    usual = ranks.commands
    monkeypatch.setattr(ranks, "commands", lambda args: {"step 1": usual(args)["step 1"]})
    ranks.main(ranks.Arguments(members=3, parallel=2, epochs=1, output=tmp_path / "ranks.json"))
    found = results_of(tmp_path / "ranks.json")
    one, two = (found[f"step 1, processes: {n} (s)"] for n in (1, 2))
    assert found["step 1: ratio"] == pytest.approx(one / two, rel=1e-4) and found["step 1: same results"] == "yes"
    assert found["the machine's own ratio"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["ranks.json"]


def test_ranks_says_what_failed(tmp_path):
    with pytest.raises(InputError, match=r"train_noise\.py .*ended with 2"):
        ranks.run(["train_noise.py", "--nonsense"], 1, tmp_path)


def test_scaling(tmp_path):
    sizes = {"members": (2, 3), "elements": (8, 16), "learning_rows": (100, 200), "rows": (50, 100), "columns": (10, 20)}
    scaling.main(scaling.Arguments(**sizes, repeats=1, output=tmp_path / "scaling.json"))
    found = results_of(tmp_path / "scaling.json")
    assert len([name for name in found if name.endswith("exponent")]) == 9
    assert found["MIShannon_DKL: n 100 (s)"] > 0


def test_exponents_by_hand():
    slope, beside = scaling.exponent({10: 3e-3, 100: 0.3, 1000: 30.0})
    assert slope == pytest.approx(2) and beside == pytest.approx(1)
    slope, beside = scaling.exponent({1: 1.0, 10: 2.0, 100: 1.0})
    assert slope == pytest.approx(0) and beside == pytest.approx(2 ** (2 / 3))


def test_neighbors(tmp_path, monkeypatch):
    monkeypatch.setattr(neighbors, "in_own_process", lambda work, *args: work(*args))  # each would import torch anew
    for name in ("TREE_COLUMNS", "TREE_COLUMNS_OF_MANY"):  # put back what the benchmark changes in a process of its own
        monkeypatch.setattr(ite.neighbors, name, getattr(ite.neighbors, name))
    sizes = {"wide_rows": 12, "many_rows": 500, "rows": 200, "tree_rows": (50,)}
    output = tmp_path / "neighbors.json"
    neighbors.main(neighbors.Arguments(dataset="mnist-5k", repeats=1, **sizes, output=output))
    found = results_of(output)
    case = "LeNet, n = 1,000, d = 1,144: "
    assert found[case + "relative difference from float64"] < 1e-4
    assert found[case + "tree / ours"] > 0
    assert all(
        found[f"{case}: ours (s)"] > 0 for case in ("AlexNet, n = 12, d = 159,744", "n = 500, d = 4", "n = 200, d = 120")
    )
    assert len([name for name in found if name.startswith("k-d tree or matrix product, k = 3: n = 50")]) == 5


def test_distances(tmp_path, monkeypatch):
    for module in (neighbors, distances):
        monkeypatch.setattr(module, "in_own_process", lambda work, *args: work(*args))
    sizes = {"wide_rows": 12, "rows": 60, "permutations": 2}
    distances.main(distances.Arguments(dataset="mnist-5k", repeats=1, **sizes, output=tmp_path / "distances.json"))
    found = results_of(tmp_path / "distances.json")
    for case, n in (("LeNet, n = 1,000, d = 1,144", 11), ("AlexNet, n = 12, d = 159,744", 11), ("KSG, n = 60, d = 150", 3)):
        one, many = found[f"{case}: one estimate from rows (s)"], found[f"{case}: {n} estimates from distances (s)"]
        assert found[f"{case}: ratio"] == pytest.approx(many / one, rel=1e-4)
        assert found[f"{case}: relative difference"] < 1e-9
    assert found["LeNet, n = 1,000, d = 1,144: ratio"] < 11


def test_neighbors_measures_in_a_process_of_its_own():
    found = neighbors.measured_in_own_process(dict, [("ours (s)", 1.0)])
    assert found["ours (s)"] == 1
    assert 0.01 < found["peak memory (GB)"] < 10


def test_mutual_information(tmp_path, capsys):
    sizes = {"n": 40, "seeds": 2, "blocks": ((1, 1), (2, 3)), "n_few": 60}
    mutual_information.main(mutual_information.Arguments(**sizes, output=tmp_path))
    assert results_of(tmp_path / "run.json")["MIShannon_KSG, n = 60, up to 5 dimensions: mean absolute error (nats)"] < 0.5
    header, *rows = (tmp_path / "estimates.csv").read_text().splitlines()
    assert header.startswith("estimator,d1,d2,n,truth_nats")
    n_estimators = len({row[: row.index(",1,1,")] for row in rows if ",1,1," in row})
    assert n_estimators >= 5
    assert len(rows) == n_estimators * (4 + 5)  # up to 4 nats for each pair of columns: 0, 1, 2, 4, and 8 of the second blocks
    (bias,) = (float(row.split(",")[6]) for row in rows if row.startswith("MIShannon_GaussianCopula,1,1,40,0,"))
    assert abs(bias) < 0.1
    assert "| MIShannon_DKL | 4 |" in (tmp_path / "estimates.md").read_text()
    assert (tmp_path / "estimate-against-truth.png").stat().st_size > 10_000


def test_startup(tmp_path, monkeypatch):
    """A start each, none before it: a process takes two seconds."""
    monkeypatch.setattr(startup, "median_seconds", lambda work, repeats: timeit.timeit(work, number=repeats))
    startup.main(startup.Arguments(scripts=("train_noise.py",), repeats=1, output=tmp_path / "startup.json"))
    found = results_of(tmp_path / "startup.json")
    assert found["train_noise.py --help (s)"] > found["import torch (s)"] / 2 > 0


def test_steps(tmp_path, monkeypatch):
    """Step 3 by part, on the shipped sample."""
    monkeypatch.setattr(steps, "STEPS", {"LeNet, step 1": "lenet/noise", "LeNet, step 3": "lenet/figures"})
    monkeypatch.chdir(steps.ROOT)
    for name in ("SAMPLE", "FIGURES", "TQDM_DISABLE"):
        monkeypatch.setenv(name, "")
    steps.main(steps.Arguments(runs=steps.ROOT / "artifacts", output=tmp_path / "steps.json"))
    found = results_of(tmp_path / "steps.json")
    noise = json.loads((steps.ROOT / "artifacts/lenet/noise/run.json").read_text())
    assert found["LeNet, step 1 (s)"] == pytest.approx(noise["seconds"])
    assert found["LeNet, step 3, Mutual information before and after (s)"] > 0


def test_attacking(tmp_path):
    attacking.main(attacking.Arguments(images=300, epochs=1, repeats=1, output=tmp_path / "attacking.json"))
    found = results_of(tmp_path / "attacking.json")
    side_by_side, naive = (found[f"{how} (s per network and epoch)"] for how in ("9 networks side by side", "one by one"))
    assert found["one by one / side by side"] == pytest.approx(naive / side_by_side, rel=1e-4)


def test_hostile(tmp_path):
    """No damaged file ends in anything but a refusal that names it, or an acceptance; of sealed ones none is accepted."""
    hostile.main(hostile.Arguments(files=300, data_root=tmp_path, output=tmp_path / "hostile"))
    found = results_of(tmp_path / "hostile" / "run.json")
    assert found["files"] == 300 and found["anything else"] == found[f"sealed: {hostile.ACCEPTED}"] == 0
    assert found[hostile.REFUSED] > 100 and found[f"sealed: {hostile.REFUSED}"] > 50


def test_a_run_that_is_signalled_at_once_ends_by_it(tmp_path):
    """Its parent may have set what a signal does, as any script has."""

    def raise_it(number, frame):
        raise RuntimeError

    command, before = fault_runs.Command("help", "train_noise.py", ("--help",)), signal.signal(signal.SIGTERM, raise_it)
    try:
        for _ in range(20):
            pid = command.start(tmp_path / "output", tmp_path / "log")
            os.kill(pid, signal.SIGTERM)
            assert fault_runs.status_of(pid) == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def test_faults(tmp_path, quick_digits):
    """Killed, on a disk that errs, and with flipped bits: runs go on to the same bits."""
    output = tmp_path / "faults.json"
    asked = {"tasks": ("arrays",), "steps": ("train_noise.py",), "faults": ("signals", "disk"), "moments": 1, "every": 60}
    faults.main(faults.Arguments(**asked, output=output))
    found = results_of(output)
    assert found.pop("otherwise than promised") == 0
    assert {name.split(": ")[1] for name in found} >= {"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "disk call, error"}
