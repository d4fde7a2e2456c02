"""Step 3's notebook on samples of any task: few queries and many, small inputs and wide ones, records of today and of old."""

import json
import re
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import ite
from shredder.io.cli import InputError

ROOT = Path(__file__).parents[1]
FIGURES = {"accuracy-over-draws", "noise-histograms", "pipeline", "training-curves"}
MORE_FIGURES = FIGURES | {"principal-components", "what-noise-leaves"}
CELLS = json.loads((ROOT / "mutual_info_ite.ipynb").read_text())["cells"]
SOURCES = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """Runs the notebook's cells here, without a kernel of their own, on the sample below `tmp_path`; returns its variables."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SAMPLE", str(tmp_path / "sample"))
    monkeypatch.setenv("FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as the notebook does, and no test after it
    monkeypatch.setitem(plt.rcParams, "savefig.dpi", 50)  # a sixteenth of the pixels

    def run(**settings) -> dict:
        """`settings` replace defaults of the notebook's Arguments."""
        names, source = {}, "\n\n".join(SOURCES)
        for name, value in settings.items():
            source, found = re.subn(rf"(\n    {name}: int = )[\d_]+", rf"\g<1>{value}", source)
            assert found == 1
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.simplefilter("error", RuntimeWarning)
            exec(source, names)
        return names

    yield run
    plt.close("all")


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are empty files, for they take most of the time of a small sample: other tests here draw each of them."""
    for name in MORE_FIGURES:
        monkeypatch.setattr(f"shredder.figures.{name.replace('-', '_')}", lambda *_, **__: None)
    monkeypatch.setattr("shredder.figures.png", lambda figure: b"")


def write_sample(root: Path, n: int, image_shape: tuple = (3, 8, 8), shape: tuple = (6, 2, 2), record=None, noise=1.0) -> dict:
    """A sample in root / "sample" as step 2 writes it, and its noise in root / "noise"; returns the sample's arrays.

    Inputs vary in two dimensions only, so that few rows show that activations depend on them. `noise` scales n.
    """
    rng, members = np.random.default_rng(0), rng_members(shape, noise)
    latent = rng.normal(size=(n, 2))
    images = np.tanh(latent @ rng.normal(size=(2, int(np.prod(image_shape)))))
    clean = np.maximum(latent @ rng.normal(size=(2, int(np.prod(shape)))) + 1, 0).reshape(n, *shape)
    labels = (np.arange(n) % 4)[:, None]
    drawn = rng.integers(4, size=n)
    arrays = {
        "original_images": images.astype(np.float32),
        "original_activations": clean.astype(np.float32),
        "noisy_activations": (members["multiplicative"][drawn] * clean + members["additive"][drawn]).astype(np.float32),
        "labels": labels,
        "public_labels": labels // 2,
        "public_accuracy": rng.uniform(0.9, 1, n).round(4),
        "private_accuracy": rng.uniform(0.2, 0.3, n).round(4),
        "snr": rng.uniform(0.4, 0.5, n).round(4),
    }
    folder = root / "sample"
    folder.mkdir(parents=True)
    for name in ("original_images", "original_activations", "noisy_activations", "labels", "public_labels"):
        np.save(folder / f"{name}.npy", arrays[name])
    header = ("snr", "public_accuracy", "private_accuracy")
    rows = zip(*(arrays[name] for name in header), strict=True)
    table = "\n".join(",".join(map(str, row)) for row in (header, *rows))
    (folder / "draws.csv").write_text(table + "\n")
    results = {"task": "shapes", "queries": n, "members": 4, "image shape": list(image_shape), "clean public accuracy": 0.99}
    arguments = {"task": "../shapes.py", "public_labels": "round", "cutting_point": "pool2", "dataset": "shapes"}
    arguments |= {"noise": "../noise", "draw": "verbatim", "skip_rows": 0}
    content = {"command": "sample_mutual_info.py", "arguments": arguments, "results": results, "files": {}} | (record or {})
    (folder / "run.json").write_text(json.dumps(content))
    write_noise(root / "noise", members)
    return arrays


def say_task(root: Path, task: str, cutting_point: str) -> None:
    """Let the record of the sample name another task and cut."""
    path = root / "sample" / "run.json"
    record = json.loads(path.read_text())
    record["arguments"] |= {"task": task, "cutting_point": cutting_point}
    record["results"]["task"] = task
    path.write_text(json.dumps(record))


def rng_members(shape: tuple, noise: float) -> dict:
    rng = np.random.default_rng(1)
    return {
        "multiplicative": rng.normal(1, 0.1, size=(4, *shape)).astype(np.float32),
        "additive": rng.laplace(0, noise, size=(4, *shape)).astype(np.float32),
    }


def write_noise(folder: Path, members: dict) -> None:
    folder.mkdir()
    for name, tensors in members.items():
        np.save(folder / f"{name}.npy", tensors)
    curves = [f"{member},{epoch},0.3,{0.9 + 0.02 * epoch},0.45" for member in range(4) for epoch in (1, 2, 3)]
    (folder / "curves.csv").write_text("\n".join(["member,epoch,loss,accuracy,snr", *curves]) + "\n")
    results = {"epochs before acceptance": 1, "accuracy to exceed": 0.95, "average epochs": 3}
    files = dict.fromkeys([f"{name}.npy" for name in members] + ["curves.csv"])
    (folder / "run.json").write_text(json.dumps({"arguments": {}, "results": results, "files": files}))


def kept(root: Path) -> dict:
    return json.loads((root / "figures" / "run.json").read_text())["results"]


def drawn(root: Path) -> set:
    return {path.stem for path in (root / "figures").glob("*.png")}


@pytest.mark.parametrize(
    "n, needed, figures",
    [
        (1, {"spread over draws": 2, "principal components": 2, "mutual information": 8, "Gaussian copula": 101}, FIGURES),
        (3, {"mutual information": 8, "Gaussian copula": 101}, MORE_FIGURES),
        (8, {"Gaussian copula": 101}, MORE_FIGURES),
        (101, {}, MORE_FIGURES),
    ],
)
def test_few_queries(tmp_path, notebook, request, capsys, n, needed, figures):
    if n > 3:  # as the next test draws them
        request.getfixturevalue("undrawn")
    write_sample(tmp_path, n)
    notebook()
    printed = capsys.readouterr().out
    start = printed.splitlines()[:8]
    for part, least in needed.items():
        line = f"not shown: {part}, which needs {least} queries or more; found {n} in {tmp_path / 'sample'}"
        assert line in start
    assert printed.count("not shown: ") == len(needed) + (n == 1)  # and the images beside what the noise leaves
    assert drawn(tmp_path) == figures
    results = kept(tmp_path)
    assert results["queries"] == n
    assert ("mutual information before (nats)" in results) == (n >= 8)
    assert ("Gaussian-copula information before, 50 components (nats)" in results) == (n >= 101)
    assert ("spread of public accuracy" in results) == (n > 1)


@pytest.mark.filterwarnings("ignore::ite.UnsupportedEstimate")
def test_another_task_of_another_input_shape(tmp_path, notebook, capsys):
    arrays = write_sample(tmp_path, 120)
    names = notebook()
    printed, results = capsys.readouterr().out, kept(tmp_path)
    lines = printed.splitlines()
    assert lines[0] == "task shapes, cut at pool2: 120 queries of shapes, 4 members, draw verbatim"
    assert lines[1] == "an input 3 x 8 x 8, an activation 6 x 2 x 2"
    assert "n = 120, 4 members, 15.0 queries of a member in each half" in lines
    assert "the authors" not in printed
    assert names["pictures"].shape == (120, 8, 8, 3)
    assert list(names["classes"]) == ["public label: round", "private label"]
    assert drawn(tmp_path) == MORE_FIGURES

    public = arrays["public_accuracy"]
    assert results["average public accuracy"] == pytest.approx(public.mean(), rel=1e-5)
    assert results["spread of public accuracy"] == pytest.approx(public.std(ddof=1), rel=1e-5)
    assert results["average public accuracy lost (points)"] == pytest.approx(99 - 100 * public.mean(), rel=1e-4)
    assert results["average private accuracy"] == pytest.approx(arrays["private_accuracy"].mean(), rel=1e-5)
    told = []
    for name, of in (("before", "original"), ("after", "noisy")):
        y = np.hstack([arrays["original_images"], arrays[f"{of}_activations"].reshape(120, 24)])
        halves = ite.cost.MIShannon_DKL(rng=0, n_splits=5)
        halves.estimation(y, [192, 24])
        key = f"mutual information {name} over random halves"
        assert results[f"{key} (nats)"] == pytest.approx(halves.last_run.mean(), rel=1e-5)
        assert results[f"{key}, spread (nats)"] == pytest.approx(halves.last_run.std(ddof=1), rel=1e-5)
        test = ite.independence_test(ite.cost.MIShannon_DKL(rng=0, n_splits=1), y, [192, 24], 19, rng=0)
        assert results[f"{key}, by chance (nats)"] == pytest.approx(test.null.mean(), rel=1e-5)
        assert results[f"{key}, p-value of independence"] == test.p_value
        above, spread = halves.last_run.min() > max(test.null.max(), 0), max(halves.last_run.std(ddof=1), test.null.std(ddof=1))
        told.append(above and halves.last_run.mean() > 2 * spread)
        in_order, rng = [], np.random.default_rng(0)
        for _ in range(5):
            in_order.append(ite.cost.MIShannon_DKL(rng=rng).estimation(y, [192, 24]))
        assert results[f"mutual information {name} (nats)"] == pytest.approx(np.mean(in_order), rel=1e-5)
    assert ("mutual information lost over random halves (%)" in results) is all(told)


def test_a_loss_is_printed_where_chance_allows_one_and_nowhere_else(tmp_path, notebook, undrawn, capsys):
    lost = "mutual information lost over random halves (%)"
    arrays = write_sample(tmp_path, 120)
    noisy = tmp_path / "sample" / "noisy_activations.npy"
    np.save(noisy, arrays["original_activations"])  # nothing is lost
    notebook()
    assert kept(tmp_path)[lost] == 0
    assert "   0.0 % lost" in capsys.readouterr().out

    np.save(noisy, np.random.default_rng(2).normal(size=(120, 6, 2, 2)).astype(np.float32))  # nothing is left
    notebook()
    assert not [name for name in kept(tmp_path) if "lost" in name and "accuracy" not in name]
    printed = capsys.readouterr().out
    assert "% lost" not in printed
    assert printed.count("not told from chance") == 2  # over random halves, and in the files' order


@pytest.mark.filterwarnings("ignore::ite.UnsupportedEstimate")
@pytest.mark.parametrize("max_elements, n_pictures", [(50_000_000, 12), (100_000, 8)])
def test_a_wide_sample_is_estimated_over_the_authors_columns_too(tmp_path, notebook, undrawn, max_elements, n_pictures):
    arrays = write_sample(tmp_path, 12, image_shape=(3, 140, 140))
    say_task(tmp_path, "alexnet", "pool5")
    names = notebook(max_elements=max_elements, n_splits=2, n_permutations=7)
    results = kept(tmp_path)
    for key, columns in (("", 58_800), (", first 51,984 columns", 51_984)):
        y = np.hstack([arrays["original_images"][:, :columns], arrays["noisy_activations"].reshape(12, 24)])
        expected = ite.cost.MIShannon_DKL(rng=0, n_splits=2).estimation(y, [columns, 24])
        assert results[f"mutual information after over random halves{key} (nats)"] == pytest.approx(expected, rel=1e-5)
    assert names["pictures"].shape == (n_pictures, 47, 47, 3)
    assert all(isinstance(names[name].base, np.memmap) for name in ("images", "clean", "noisy"))


def test_components_are_the_same_from_either_matrix(tmp_path, notebook, undrawn):
    write_sample(tmp_path, 3)
    names = notebook()
    x = np.random.default_rng(0).normal(size=(40, 40)) * np.geomspace(1, 100, 40)
    names["sides"], names["of_rows"] = [x, x[:, -30:]], ite.Distances([x, x[:, -30:]])
    components = names["components"]
    _, scales, directions = np.linalg.svd(x - x.mean(0), full_matrices=False)
    for side, (some, rank) in enumerate([(x, 39), (x[:, -30:], 30)]):  # of 40 rows, the mean taken away
        found = components(side)
        assert found.shape == (40, rank)
        assert (found**2).sum() == pytest.approx(((some - some.mean(0)) ** 2).sum())
    largest = components(0)[:, -1]
    assert np.abs(largest) == pytest.approx(np.abs((x - x.mean(0)) @ directions[0]))
    assert np.linalg.norm(largest) == pytest.approx(scales[0])


@pytest.mark.parametrize(
    "task, cut, line",
    [
        ("lenet", "relu5", "n = 10,000, 150 members, files' order: 284.14 to 106.92 nats, 62.4 % lost"),
        ("alexnet", "pool5", "n = 985, first 51,984 columns: 13,575 to 6,835 nats, 49.7 % lost"),
        ("lenet", "s4", None),
        ("cifar10", "relu5", None),
    ],
)
def test_published_numbers_stand_beside_their_task_and_cut_alone(tmp_path, notebook, undrawn, capsys, task, cut, line):
    write_sample(tmp_path, 8)
    say_task(tmp_path, task, cut)
    notebook(n_splits=2, n_permutations=2)
    published = [printed for printed in capsys.readouterr().out.splitlines() if printed.startswith("the authors'")]
    assert [printed.endswith(line or "") for printed in published] == [True] * (line is not None)


def test_an_old_record_of_alexnet(tmp_path, notebook, capsys):
    arguments = {"cutting_point": "pool5", "dataset": "mnist-5k", "additive": "../noise/additive.npy", "draw": "verbatim"}
    results = {"queries": 8, "members": 4, "clean accuracy": 0.993}
    record = {"command": "sample_mutual_info_alexnet.py", "arguments": arguments, "results": results}
    arrays = write_sample(tmp_path, 8, (3, 224, 224), (256, 6, 6), record)
    (tmp_path / "sample" / "public_labels.npy").unlink()
    rows = "\n".join(f"{snr},{accuracy}" for snr, accuracy in zip(arrays["snr"], arrays["public_accuracy"], strict=True))
    (tmp_path / "sample" / "draws.csv").write_text(f"snr,accuracy\n{rows}\n")
    names = notebook(n_splits=2, n_permutations=2)
    printed, results = capsys.readouterr().out, kept(tmp_path)
    assert printed.startswith("task alexnet, cut at pool5: 8 queries of mnist-5k, 4 members, draw verbatim\n")
    assert "the authors' released code, v1, ImageNet, n = 985" in printed
    assert list(names["classes"]) == ["public label: class"]
    assert names["pictures"].shape == (8, 56, 56, 3)
    assert names["sample"].formula == "a + n"
    assert results["average public accuracy lost (points)"] == pytest.approx(99.3 - 100 * arrays["public_accuracy"].mean())
    assert "average private accuracy" not in results
    assert drawn(tmp_path) == MORE_FIGURES


def test_an_old_record_of_lenet(tmp_path, notebook, undrawn, capsys):
    paths = {name: f"../noise/{name}.npy" for name in ("additive", "multiplicative")}
    arguments = {"cutting_point": "relu5", "dataset": "mnist-5k", "public_labels": "gt5", "draw": "order-preserving"} | paths
    record = {"command": "sample_mutual_info_lenet.py", "arguments": arguments, "results": {"queries": 9, "members": 4}}
    write_sample(tmp_path, 9, (1, 32, 32), (120, 1, 1), record)
    np.save(tmp_path / "sample" / "labels.npy", np.arange(9)[:, None])
    (tmp_path / "sample" / "public_labels.npy").unlink()
    names = notebook()
    assert "the authors' released code, v2, digit > 5, n = 10,000, 150 members" in capsys.readouterr().out
    assert list(names["classes"]) == ["public label: digit > 5", "private label"]
    np.testing.assert_array_equal(names["classes"]["public label: digit > 5"], np.arange(9) > 5)
    assert names["pictures"].shape == (9, 32, 32)
    assert names["sample"].formula == "w * a + n"


def test_noise_of_a_method_that_keeps_no_tensors_is_shown_as_drawn(tmp_path, notebook):
    write_sample(tmp_path, 8)
    for path in (tmp_path / "noise").glob("*.npy"):
        path.unlink()
    (tmp_path / "noise" / "run.json").write_text(json.dumps({"arguments": {}, "results": {}, "files": {"fresh-form.npy": ""}}))
    names = notebook()
    assert names["learned"].additive is None
    assert drawn(tmp_path) == MORE_FIGURES
    assert names["sample"].formula == "mu + Q y"


def test_repeated_values_are_said_once(tmp_path, notebook, undrawn, capfd):
    arrays = write_sample(tmp_path, 40)
    noisy = np.repeat(arrays["noisy_activations"][:20], 2, axis=0)
    np.save(tmp_path / "sample" / "noisy_activations.npy", noisy)
    notebook()
    printed = capfd.readouterr()
    assert printed.out.count("warning: equal to others are 40 of 40 rows in block 1; ") == 1
    assert printed.err == ""


def test_a_damaged_sample_is_refused_before_any_work(tmp_path, notebook):
    write_sample(tmp_path, 3)
    (tmp_path / "sample" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"sample/run\.json: not readable as a run record"):
        notebook()
    assert not (tmp_path / "figures").exists()


def test_the_shipped_sample_is_the_default(monkeypatch):
    for name in ("SAMPLE", "FIGURES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    names = {}
    exec(SOURCES[0], names)
    assert names["args"].sample == Path("artifacts/lenet/sample")
    assert names["args"].figures == Path("runs/lenet/shipped-figures")


def test_the_notebook_runs_in_a_kernel_of_its_own(tmp_path, monkeypatch):
    """As it is shipped, on the small sample that is shipped with it, whatever the caller's shell or `runs/` have."""
    monkeypatch.delenv("SAMPLE", raising=False)
    monkeypatch.setenv("FIGURES", str(tmp_path / "figures"))
    import nbformat  # here, for it takes two seconds of every process that collects the tests
    from nbclient import NotebookClient

    path = ROOT / "mutual_info_ite.ipynb"
    # A cell that fails raises CellExecutionError, with its traceback.
    NotebookClient(nbformat.read(path, as_version=4), resources={"metadata": {"path": str(ROOT)}}).execute()
    assert drawn(tmp_path) == MORE_FIGURES and kept(tmp_path)["queries"] == 1000


def test_the_notebook_as_shipped_holds_outputs_and_no_bars():
    outputs = [output for cell in CELLS for output in cell.get("outputs", [])]
    assert sum(output["output_type"] == "display_data" for output in outputs) >= 6
    assert all(cell["execution_count"] for cell in CELLS if cell["cell_type"] == "code")
    assert not any(output.get("name") == "stderr" or output["output_type"] == "error" for output in outputs)


def test_the_notebook_as_shipped_makes_sense_at_first_sight():
    text = "".join("".join(output.get("text", "")) for cell in CELLS for output in cell.get("outputs", []))
    members = int(re.search(r"(\d+) members", text).group(1))
    assert int(re.search(r"n = (\d+), ", text).group(1)) / 2 / members >= 25  # queries of a member in each half
    shares = [float(share) for share in re.findall(r"(-?[\d.]+) % lost", text)]
    assert shares and all(0 <= share <= 100 for share in shares)
    first = next(line for line in text.splitlines() if "+-" in line)
    assert first.startswith("over random halves")
    assert all(float(number) > 0 for number in re.findall(r"(-?[\d.]+) \+-", first))
