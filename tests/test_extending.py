"""docs/extending.md: its blocks are written to a folder outside; a task, a method, an attack and an estimator are run."""

import csv
import json
import math
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import tyro
from torch import nn

import attack
import ite
import sample_mutual_info
import train_noise
from shredder.attack.run import ATTACKS
from shredder.inputs.images import SPLIT_SEED
from shredder.io.cli import InputError
from shredder.learn.flags import METHODS
from shredder.split import SplitNetwork
from shredder.task import Dataset, Labels, Task, read_task, tensors

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
NETWORK, TASK, WEIGHTS, METHOD, DEFENCE, ATTACK, ESTIMATOR, USE = BLOCKS
QUICK = {"members": 3, "parallel": 3, "epochs": 2, "min_epochs": 0, "min_accuracy": 0.0}
FRESH = {"members": 1, "parallel": 1, "directions": 3, "batch_size": 200}
N = 200


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the page's two files, and the weights that the second of them makes."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my_task.py").write_text("\n\n".join((NETWORK, TASK, METHOD, DEFENCE, ATTACK)))
    (folder / "my_weights.py").write_text(WEIGHTS)
    with mock.patch.object(sys, "path", [str(folder), *sys.path]), torch.random.fork_rng():
        with mock.patch.dict(METHODS), mock.patch.dict(ATTACKS):
            runpy.run_path(str(folder / "my_weights.py"))
        del sys.modules["my_task"]
    return folder


@pytest.fixture(autouse=True)
def registries(tmp_path, monkeypatch):
    """Methods, attacks and estimators afterwards are those of before; each test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ite.cost, "MIShannon_Gauss", None, raising=False)
    monkeypatch.setattr(ite.cost, "__all__", list(ite.cost.__all__))
    with mock.patch.dict(METHODS), mock.patch.dict(ATTACKS):
        yield
    sys.modules.pop("task_my_task", None)


@pytest.fixture
def steps(place):
    """The three steps on the page's task; each returns what its run.json says it has reached."""

    def results(folder):
        return json.loads((Path(folder) / "run.json").read_text())["results"]

    def learn(output="runs/loudest/noise", **flags):
        arguments = QUICK | (FRESH if flags.get("method") == "fresh" else {}) | flags
        train_noise.main(train_noise.Arguments(task=place / "my_task.py", output=Path(output), **arguments))
        return results(output)

    def sample(noise="runs/loudest/noise", **flags):
        flags = {"n_samples": N, "judged_on": 100, "seed": 0} | flags
        sample_mutual_info.main(sample_mutual_info.Arguments(noise=Path(noise), **flags))
        return results("runs/loudest/sample")

    def attacked(noise="runs/loudest/noise", **flags):
        attack.main(attack.Arguments(noise=Path(noise), images=2 * N, epochs=1, **flags))
        return results("runs/loudest/attacks")

    return learn, sample, attacked


# What the page's task computes, without a line of the suite.


def inputs_of(part):
    """Inputs and channels, by the page's own `read`."""
    names = {"torch": torch}
    exec(TASK.split("def half")[0], names)
    return names["read"](None, part)


def forward(place, inputs, layers=slice(None)):
    """Some layers of the public network, by torch's functions on its weights."""
    w = torch.load(place / "half.pth", weights_only=True)
    chain = [
        lambda x: torch.conv2d(x, w["conv1.weight"], w["conv1.bias"]),
        torch.relu,
        lambda x: x.flatten(1),
        lambda x: x @ w["fc2.weight"].T + w["fc2.bias"],
        torch.relu,
        lambda x: x @ w["fc3.weight"].T + w["fc3.bias"],
    ]
    for layer in chain[layers]:
        inputs = layer(inputs)
    return inputs


EDGE, CLOUD = slice(5), slice(5, None)


def right(scores, labels):
    return (scores.argmax(-1) == labels).double().mean().item()


def arrays(folder):
    return {path.stem: np.load(path) for path in Path(folder).glob("*.npy")}


def rows_of(path):
    with open(path, newline="") as file:
        return {row["attack"]: row for row in csv.DictReader(file)}


def known_rows():
    """What the adversary learns from: the first 2 N training rows of a random order, less a tenth."""
    inputs, channels = inputs_of("train")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(inputs))[2 * N // 10 : 2 * N]
    return inputs[order], channels[order]


def floor():
    """How often the most common channel of the true half is the channel."""
    known, channels = known_rows()[1], inputs_of("test")[1][:N]
    best = [2 * half + int((known == 2 * half + 1).sum() > (known == 2 * half).sum()) for half in (0, 1)]
    return np.mean([best[channel // 2] == channel for channel in channels.tolist()])


# The task, and the method, through the steps.


@pytest.mark.parametrize("method", ["additive", "self-supervised", "distribution", "fresh", "loud"])
def test_each_method_through_the_steps(place, steps, method):
    learn, sample, attacked = steps
    inputs, channels = inputs_of("test")
    clean, public = forward(place, inputs, EDGE), channels // 2
    learned, noise = learn(method=method, images=1000), arrays("runs/loudest/noise")
    accuracy = right(forward(place, inputs), public)
    assert accuracy > 0.9 and learned["clean test accuracy"] == pytest.approx(accuracy, abs=1e-5)
    if "additive" in noise:
        w, n = (torch.from_numpy(noise.get(name, np.ones((3, 32), np.float32))) for name in ("multiplicative", "additive"))
        of_members = [right(forward(place, clean * w[m] + n[m], CLOUD), public) for m in range(3)]
        assert learned["average test accuracy"] == pytest.approx(np.mean(of_members), abs=1e-5)

    served, found = sample(), arrays("runs/loudest/sample")
    np.testing.assert_array_equal(found["original_images"], inputs[:N].flatten(1))
    np.testing.assert_allclose(found["original_activations"], clean[:N], atol=1e-5)
    np.testing.assert_array_equal(found["labels"][:, 0], channels[:N])
    np.testing.assert_array_equal(found["public_labels"][:, 0], public[:N])
    require_applied(method, noise, found["original_activations"], found["noisy_activations"])
    share = right(forward(place, torch.from_numpy(found["noisy_activations"]), CLOUD), public[:N])
    assert served["public accuracy of the queries as served"] == pytest.approx(share, abs=1e-5)
    draws = np.genfromtxt("runs/loudest/sample/draws.csv", delimiter=",", names=True)
    for name in ("public", "private"):
        column = draws[f"{name}_accuracy"]
        assert len(column) == N and column.min() >= 0 and column.max() <= 1 and column.std() > 0
        assert served[f"average {name} accuracy"] == pytest.approx(column.mean(), abs=1e-5)

    reached, rows = attacked(attacks=("trained",)), rows_of("runs/loudest/attacks/attacks.csv")
    low, accuracy, high, guess = (float(rows["trained"][name]) for name in ("low", "private_accuracy", "high", "floor"))
    assert 0 <= low <= accuracy <= high <= 1 and list(rows) == ["trained"] and guess == pytest.approx(floor())
    assert reached["its private accuracy"] == pytest.approx(accuracy, abs=1e-5)
    assert abs(reached["public accuracy"] - share) < 0.15  # of ten draws for each of as many queries


def require_applied(method, noise, clean, noisy):
    """Assert that `noisy` is what the method's noise makes of `clean`, both (n, 32)."""
    drawn = noisy - clean
    if method == "additive":  # each element from a Laplace of the members' mean and standard deviation
        z = (drawn - noise["additive"].mean(0)) / noise["additive"].std(0)
        assert abs(np.abs(z).mean() - 1) < 5 / np.sqrt(z.size) and abs(z.mean()) < 5 * np.sqrt(2 / z.size)
    elif method == "self-supervised":  # a member's additive values, seen where nothing is sent of the input; w in its order
        silent = clean == 0
        gap = (np.abs(noisy[:, None] - noise["additive"]) * silent[:, None]).max(2)
        member = gap.argmin(1)
        assert silent.mean() > 0.1 and gap.min(1).max() == 0 and set(member) == {0, 1, 2}
        w = np.where(silent, np.nan, (noisy - noise["additive"][member]) / np.where(silent, 1, clean))
        in_order = np.take_along_axis(w, noise["multiplicative"][member].argsort(1), 1)
        assert all((np.diff(row[~np.isnan(row)]) > -1e-2).all() for row in in_order)
    elif method == "fresh":  # mu + Q (t + s e), with e standard Normal
        q, mu, limits = (noise[f"fresh-{name}"] for name in ("directions", "additive", "limits"))
        y = (noisy - mu) @ q
        np.testing.assert_allclose(y @ q.T + mu, noisy, atol=1e-4)
        t = limits * np.tanh((clean @ noise["fresh-readings"] - noise["fresh-offsets"]) / limits)
        e = (y - t) / noise["fresh-scales"]
        assert abs(e.std() - 1) < 5 / np.sqrt(2 * e.size) and abs(e.mean()) < 5 / np.sqrt(e.size)
    else:  # values drawn anew, in the order of a member's elements but for the grid
        scale = np.abs(drawn - np.median(drawn)).mean()
        orders = noise["orders"][:, ::-1] if method == "distribution" else noise["additive"].argsort(1)
        in_order = np.array([(np.diff(drawn[:, order], axis=1) > -scale / 128).all(1) for order in orders])
        assert (in_order.sum(0) == 1).all() and in_order.any(1).all() and len(np.unique(drawn, axis=0)) == len(drawn)


def test_without_a_private_label_the_image_is_attacked_alone(steps):
    learn, sample, attacked = steps
    learn(public_labels="channel")
    assert "average private accuracy" not in sample()
    reached = attacked()
    assert not Path("runs/loudest/attacks/attacks.csv").exists() and "worst attack on one query" not in reached
    with open("runs/loudest/attacks/reconstruction.csv", newline="") as file:
        errors = {row["images"]: float(row["mean squared error"]) for row in csv.DictReader(file)}
    assert errors.keys() == {"clean", "noisy", "optimised", "mean"} and min(errors.values()) > 0 and max(errors.values()) < 1
    with pytest.raises(InputError, match=r"--attacks nearest: no private label is left"):
        attacked(attacks=("nearest",))


def test_a_flat_activation_and_one_of_channels(steps):
    learn, sample, _ = steps
    for cutting_point, shape in {"relu1": (8, 6, 6), "relu2": (32,)}.items():
        learn(cutting_point, cutting_point=cutting_point, method="self-supervised", images=200)
        sample(cutting_point)
        for name in ("original", "noisy"):
            assert np.load(f"runs/loudest/sample/{name}_activations.npy").shape == (N, *shape)


def test_the_method_s_formula(steps):
    """With alpha = 0 it is v1 to the bit; a large one makes noise grow. Flags that it does not name are refused."""
    learn, _, _ = steps
    reached = {}
    for name, flags in {
        "v1": {"method": "additive"}, "none": {"method": "loud", "alpha": 0.0}, "much": {"method": "loud", "alpha": 5.0}
    }.items():  # fmt: skip
        learn(name, images=1000, batch_size=50, **flags)
        reached[name] = np.load(f"{name}/additive.npy")
    assert reached["none"].tobytes() == reached["v1"].tobytes()
    assert np.abs(reached["much"]).mean() > 1.1 * np.abs(reached["v1"]).mean()
    assert json.loads(Path("much/run.json").read_text())["arguments"]["alpha"] == 5.0
    with pytest.raises(InputError, match=r"--max-sse: found 1.0, which means nothing with --method loud"):
        learn("other", method="loud", max_sse=1.0)
    with pytest.raises(InputError, match=r"--method: found 'quiet', expected additive, .*, loud"):
        learn("other", method="quiet")


# The attack.


def test_the_attack_s_numbers(place, steps):
    """A single member as it is makes what is sent known: the row is computed again without the suite."""
    learn, _, attacked = steps
    learn(members=1, parallel=1)
    reached = attacked(draw="verbatim", attacks=("nearest",))
    (known, labels), (inputs, channels) = known_rows(), inputs_of("test")
    means = torch.stack([forward(place, known[labels == label], EDGE).mean(0) for label in range(4)])
    sent = forward(place, inputs[:N], EDGE) + torch.from_numpy(np.load("runs/loudest/noise/additive.npy")[0])
    scores = -torch.cdist(sent, means)
    row = rows_of("runs/loudest/attacks/attacks.csv")["nearest"]
    assert float(row["private_accuracy"]) == pytest.approx(right(scores, channels[:N]), abs=0.011)  # two rows on an edge
    entropy = -sum(p * math.log2(p) for p in (channels[:N].bincount() / N).tolist())
    nats = nn.functional.cross_entropy(scores, channels[:N]).item()
    assert float(row["bits at least"]) == pytest.approx(entropy - nats / math.log(2), abs=0.01)
    assert reached["worst attack on one query"] == "nearest" and row["kind"] == "raw" and row["reader"] == "nearest mean"


def test_all_attacks_with_the_page_s_among_them(steps):
    learn, _, attacked = steps
    learn(method="loud", images=1000)
    reached, rows = attacked(), rows_of("runs/loudest/attacks/attacks.csv")
    averaging = [f"averaging {q}" for q in (1, 10, 100, 1000)]
    assert list(rows) == ["untrained", "trained", "member", *averaging, "nearest"]
    single = {name: float(rows[name]["private_accuracy"]) for name in ("trained", "member", "nearest")}
    assert reached["its private accuracy"] == pytest.approx(max(single.values()), abs=1e-5)
    assert single[reached["worst attack on one query"]] == max(single.values())


def test_the_page_s_defence_is_as_loud_as_it_may_be(place, steps):
    """Noise in proportion to each element's spread, the loudest that keeps the accuracy; then as any other."""
    learn, sample, attacked = steps
    flags = {"members": 1, "parallel": 1, "epochs": 20, "min_epochs": 12, "min_accuracy": 0.85}
    learned, noise = learn(method="proportional", images=1000, **flags), arrays("runs/loudest/noise")
    assert 0.85 < learned["held-out accuracy"] < 0.87 and learned["quietest level that failed"] < 1.01 * learned["level"]
    assert sample()["a' is"] == "a + mu + s * e"
    found = arrays("runs/loudest/sample")
    drawn = (found["noisy_activations"] - found["original_activations"]) / noise["gaussian-scales"]
    assert abs(drawn.std() - 1) < 5 / np.sqrt(2 * drawn.size) and not noise["gaussian-additive"].any()
    reached = attacked(attacks=("trained",))
    # The attack's bound rests on fewer rows, and is larger.
    assert 1 < reached["bits at most, one query"] / learned["bits at most, test"] < 2


# The estimator.


def canonical(y, d):
    """Gaussian information of the first `d` columns of `y` and the others, by canonical correlations, in nats."""
    a, b = (np.linalg.qr(block - block.mean(0))[0] for block in (y[:, :d], y[:, d:]))
    return -np.log1p(-(np.linalg.svd(a.T @ b, compute_uv=False) ** 2)).sum() / 2


def test_the_estimator_on_what_step_2_wrote(steps, capsys):
    learn, sample, _ = steps
    learn(images=1000)
    sample()
    capsys.readouterr()
    exec(ESTIMATOR + USE, {})
    printed = capsys.readouterr().out.split()
    found = arrays("runs/loudest/sample")
    y = np.hstack([found["original_images"].reshape(N, 4, 64).mean(2), found["noisy_activations"]])
    assert printed[1] == "nats" and float(printed[0]) == pytest.approx(canonical(y.astype(float), 4), rel=1e-4)
    co = ite.cost.co_factory("MIShannon_Gauss")
    rho, z = 0.8, np.random.default_rng(0).normal(size=(20_000, 2))
    pairs = np.column_stack([z[:, 0], rho * z[:, 0] + np.sqrt(1 - rho**2) * z[:, 1]])
    assert co.estimation(pairs, ds=[1, 1]) == pytest.approx(-np.log1p(-(rho**2)) / 2, abs=0.03)
    with pytest.raises(ValueError, match="y: "):
        co.estimation(pairs[:, :1] * np.nan, ds=[1])


# From any folder, and in the tree.


def run_python(*command, cwd, **environment):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", **environment}
    done = subprocess.run([sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_script_from_any_folder(place, tmp_path):
    """Step 1 in one folder, step 2 in another: what run.json says of the task's file leads to it."""
    relative = os.path.relpath(place / "my_task.py", tmp_path)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]
    printed = run_python(ROOT / "train_noise.py", "--task", relative, "--images=200", *flags, cwd=tmp_path)
    assert re.search(r"^task +loudest$", printed, re.M) and printed.endswith(f"written to {Path('runs/loudest/noise')}\n")
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    os.chdir(elsewhere)
    sample_mutual_info.main(sample_mutual_info.Arguments(noise=Path("../../runs/loudest/noise"), n_samples=10, judged_on=10))
    assert np.load(elsewhere / "runs/loudest/sample/noisy_activations.npy").shape == (10, 32)


def test_in_the_tree(place, tmp_path):
    """Two files for a task, two for a method, one for an attack, one for an estimator; no other is touched."""
    tree, changed = tmp_path / "suite", {}
    for name in ("shredder", "tasks", "ite", "models"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__", "*.md"))
    for script in ("train_noise.py", "sample_mutual_info.py", "attack.py"):
        shutil.copy(ROOT / script, tree)
    before = contents(tree)

    def write(kind, name, text):
        (tree / name).write_text(text)
        changed.setdefault(kind, set()).add(name)

    def edited(name, old, new):
        text = (tree / name).read_text()
        assert text.count(old) == 1
        return text.replace(old, new)

    write("task", "models/loudest.py", NETWORK.replace("from shredder.task import Dataset, Labels, Task, tensors\n", ""))
    imports = "from models.loudest import HERE, partial, pretrained, torch\n"
    write("task", "tasks/loudest.py", imports + "from shredder.task import Dataset, Labels, Task, tensors\n" + TASK)
    without_entry, _ = METHOD.replace("from shredder.learn.flags import METHODS\n", "").split("METHODS[")
    write("method", "shredder/learn/loud.py", without_entry)
    flags = edited("shredder/learn/flags.py", '    "fresh": FreshMethod,\n', '    "fresh": FreshMethod,\n    "loud": Loud,\n')
    flags = flags.replace("from shredder.learn.methods", "from shredder.learn.loud import Loud\nfrom shredder.learn.methods")
    write("method", "shredder/learn/flags.py", flags)
    run = (tree / "shredder/attack/run.py").read_text() + "import torch\n"
    write("attack", "shredder/attack/run.py", run + re.sub("from shredder.attack.run import .*\n", "", ATTACK))
    family = edited("ite/cost/information.py", "__all__ = [\n", '__all__ = [\n    "MIShannon_Gauss",\n')
    estimator = re.search(r"class MIShannon_Gauss.*?(?=ite\.cost\.)", ESTIMATOR, re.S)[0]
    write("estimator", "ite/cost/information.py", family + estimator)
    after = contents(tree)
    assert {name for name in after if after[name] != before.get(name)} == set.union(*changed.values())
    assert {kind: len(names) for kind, names in changed.items()} == {"task": 2, "method": 2, "attack": 1, "estimator": 1}

    for name in ("half", "channel"):
        shutil.copy(place / f"{name}.pth", tree / "models")
    program = """if True:
        from pathlib import Path
        import attack, ite, sample_mutual_info, train_noise
        noise = Path("runs/loudest/noise")
        train_noise.main(train_noise.Arguments(task="loudest", method="loud", images=200, members=2, min_accuracy=0.0))
        sample_mutual_info.main(sample_mutual_info.Arguments(noise=noise, n_samples=50, judged_on=50))
        attack.main(attack.Arguments(noise=noise, images=100, epochs=1, attacks=("nearest",)))
        print(ite.cost.co_factory("MIShannon_Gauss"))
    """
    printed = run_python("-c", program, cwd=tree, PYTHONPATH=str(tree))
    assert re.search("^worst attack on one query +nearest$", printed, re.M) and "MIShannon_Gauss -> " in printed
    assert json.loads((tree / "runs/loudest/noise/run.json").read_text())["arguments"]["method"] == "loud"


def contents(tree):
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


# What a new user may get wrong.


class Skipping(nn.Sequential):
    """Its forward pass is not its layers'."""

    def forward(self, inputs):
        return super().forward(inputs * 2)


def one_layer(end=(), module=nn.Sequential):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return module(nn.Flatten(), nn.Linear(4, 3), *end)


def own_task(network, shape=(4,), read=None, public=lambda classes: classes):
    def two(folder, part):
        return torch.rand(30, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3

    labels = {"classes": Labels(lambda path: network, lambda: ROOT / "LICENSE", public)}
    return Task("wrong", {"0": shape}, {"random": Dataset(tensors(read or two), ("classes",), 128)}, labels)


LOGS = (nn.LogSoftmax(1),)


@pytest.mark.parametrize(
    "task, message",
    [
        (own_task(one_layer((nn.Softmax(1),))), r"the network answers \(1, 3\), torch.float32, as probabilities, expected"),
        (own_task(one_layer((nn.Unflatten(1, (1, 3)),))), r"the network answers \(1, 1, 3\), torch.float32, expected scores"),
        (own_task(one_layer(LOGS), shape=(2, 2)), r"--task wrong: the network sends \(4,\) at 0, the task says \(2, 2\)"),
        (own_task(one_layer(LOGS, Skipping)), r"--task wrong: its layers, one after another, answer otherwise"),
        (own_task(nn.Linear(4, 3)), r"--cutting-point: found '0', but nowhere does a single value cross it"),
        (own_task(one_layer(LOGS), public=lambda c: c + 1), r"the train images have the public labels 1 to 3, .* 0 to 2"),
        (own_task(one_layer(LOGS), public=lambda c: c > 1), r"the public labels False to True, torch\.bool, expected 0 to 2"),
        (
            own_task(one_layer(LOGS), read=lambda *_: (torch.zeros(30, 4, dtype=torch.uint8), torch.zeros(30))),
            r"train inputs and classes: found torch\.uint8 \(30, 4\), torch\.float32 \(30,\), expected torch\.float32",
        ),
        (own_task(one_layer(LOGS), read=lambda *_: (torch.zeros(30, 4), torch.arange(29))), r"torch\.int64 \(29,\), expected"),
    ],
)  # fmt: skip
def test_a_task_that_does_not_fit_is_refused_in_one_line(task, message, monkeypatch):
    monkeypatch.setattr("shredder.learn.step.read_task", lambda *_: task)
    with pytest.raises(InputError, match=message) as error:
        train_noise.main(train_noise.Arguments(task="wrong", **QUICK))
    assert "\n" not in str(error.value) and not Path("runs").exists()


def test_inputs_that_are_no_images_need_pictures(steps, place):
    read = "def read(folder, part):\n    inputs, classes = images_of(folder, part)\n    return inputs.flatten(1), classes"
    flat = (
        (place / "my_task.py")
        .read_text()
        .replace("def read(", "def images_of(")
        .replace("\n\ndef half", f"\n{read}\n\n\ndef half")
    )
    flat = flat.replace("conv1=", "square=nn.Unflatten(1, (4, 8, 8)), conv1=")
    for name, pictures in {
        "none": "",
        "small": "inputs[:, :4].view(-1, 2, 2)",
        "own": "inputs[:, :64].view(-1, 8, 8)",
    }.items():
        named = f"    pictures=lambda inputs: {pictures},\n)\n" if pictures else ")\n"
        Path(f"{name}.py").write_text(flat.replace('    method="additive",\n)\n', f'    method="additive",\n{named}'))
    for path in place.glob("*.pth"):
        shutil.copy(path, ".")
    train_noise.main(train_noise.Arguments(task=Path("none.py"), images=200, **QUICK))
    flags = {"noise": Path("runs/loudest/noise"), "images": 100, "epochs": 1, "attacks": ("reconstruction",)}
    with pytest.raises(InputError, match=r"inputs of \(256,\) are no images .*: the task has to name `pictures`"):
        attack.main(attack.Arguments(**flags))
    with pytest.raises(InputError, match=r"found pictures of 2 x 2, expected 3 x 3 or more"):
        attack.main(attack.Arguments(task=Path("small.py"), **flags))
    attack.main(attack.Arguments(task=Path("own.py"), **flags))
    assert Path("runs/loudest/attacks/reconstruction.csv").exists()


def test_more_images_than_there_are(steps):
    with pytest.raises(InputError, match=r"--images: found 4001, expected 1 to 4000, the train images of the task"):
        steps[0](images=4001)


def test_parts_of_tensors_come_shuffled_and_whole():
    found = tensors(lambda folder, part: (torch.arange(20.0)[:, None], torch.arange(20)))(Path(), {"train": None, "test": 5})
    train = found["train"].make(list(range(20)))[:, 0]
    assert train.tolist() != list(range(20)) and sorted(train.tolist()) == list(range(20))
    np.testing.assert_array_equal(train, found["train"].labels)
    np.testing.assert_array_equal(found["test"].make(list(range(5)))[:, 0], range(5))


def test_a_layer_that_runs_twice_stays_twice():
    relu = nn.ReLU()
    split = SplitNetwork(network := nn.Sequential(nn.Linear(4, 4), relu, nn.Linear(4, 3), relu), "1")
    assert len(split.edge) == 2 and len(split.cloud) == 3  # the last makes log-probabilities
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(split.cloud(split.edge(x)), network(x).log_softmax(1))


def test_a_file_with_postponed_annotations(place, tmp_path):
    code = (place / "my_task.py").read_text().split('"""', 2)[2]
    (tmp_path / "my_task.py").write_text("from __future__ import annotations\n" + code)
    assert read_task(tmp_path / "my_task.py").name == "loudest" and "loud" in METHODS


# The page itself.


def test_each_block_is_short():
    for block, most in {NETWORK: 18, TASK: 20, WEIGHTS: 13, METHOD: 14, DEFENCE: 10, ATTACK: 12, ESTIMATOR: 8, USE: 4}.items():
        code = [line for line in block.splitlines() if line.strip() and not re.match(r"\s*(from |import |\"\"\")", line)]
        assert len(code) <= most
    assert max(map(len, PAGE.splitlines())) < 120


def test_commands_and_names_on_the_page_are_there():
    for line in re.findall(r"^python SUITE/(.*?)(?: +#.*)?$", PAGE, re.M):
        script, *flags = shlex.split(line)
        module = {"train_noise.py": train_noise, "sample_mutual_info.py": sample_mutual_info, "attack.py": attack}[script]
        tyro.cli(module.Arguments, args=flags)
    names = {field.name for field in (*fields(Task), *fields(Labels), *fields(Dataset))}
    assert {"cutting_points", "datasets", "labels", "learn", "method", "shipped", "pictures"} <= names
    paths = re.findall(r"`((?:shredder|tasks|models|ite|tests)/[\w/.]+\.py)`", PAGE)
    assert paths and all((ROOT / path).is_file() for path in paths if "NAME" not in path)
