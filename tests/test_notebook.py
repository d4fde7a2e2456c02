"""Step 3's notebook on samples of few queries: it says at its start what needs more, shows the rest, and keeps it."""

import json
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import sample_mutual_info_alexnet
import sample_mutual_info_lenet
from shredder.io.cli import InputError

ROOT = Path(__file__).parents[1]
FIGURES = {"accuracy-over-draws", "noise-histograms", "pipeline", "training-curves"}
MORE_FIGURES = FIGURES | {"principal-components", "what-noise-leaves"}


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """Runs the notebook's cells here, without a kernel of their own, on samples below a folder."""
    monkeypatch.chdir(ROOT)
    for name in ("sample", "figures", "alexnet_sample", "alexnet_figures"):
        monkeypatch.setenv(name.upper(), str(tmp_path / name))
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as the notebook does, and no test after it
    cells = json.loads((ROOT / "mutual_info_ite.ipynb").read_text())["cells"]

    def run() -> None:
        names = {}
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            for cell in cells:
                if cell["cell_type"] == "code":
                    exec("".join(cell["source"]), names)

    yield run
    plt.close("all")


def sample(module, folder: Path, n: int) -> None:
    module.main(module.Arguments(n_samples=n, seed=0, output=folder))


@pytest.mark.parametrize(
    "n, needed, figures",
    [
        (1, {"spread over draws": 2, "principal components": 2, "mutual information": 8, "Gaussian copula": 101}, FIGURES),
        (3, {"mutual information": 8, "Gaussian copula": 101}, MORE_FIGURES),
        (8, {"Gaussian copula": 101}, MORE_FIGURES),
        (101, {}, MORE_FIGURES),
    ],
)
def test_few_queries(tmp_path, notebook, capsys, mnist_5k, n, needed, figures):
    sample(sample_mutual_info_lenet, tmp_path / "sample", n)
    capsys.readouterr()
    notebook()
    printed = capsys.readouterr().out
    start = printed.splitlines()[:8]
    for part, least in needed.items():
        line = f"not shown: {part}, which needs {least} queries or more; found {n} in {tmp_path / 'sample'}"
        assert line in start
    assert printed.count("not shown: ") == len(needed) + (n == 1)  # and the images beside what the noise leaves
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == figures
    results = json.loads((tmp_path / "figures" / "run.json").read_text())["results"]
    assert results["queries"] == n
    assert ("mutual information before (nats)" in results) == (n >= 8)
    assert ("Gaussian-copula information before, 50 components (nats)" in results) == (n >= 101)
    assert ("spread of public accuracy" in results) == (n > 1)


def test_few_queries_of_alexnet(tmp_path, notebook, capsys, quick_digits):
    sample(sample_mutual_info_lenet, tmp_path / "sample", 1)
    sample(sample_mutual_info_alexnet, tmp_path / "alexnet_sample", 3)
    notebook()
    assert "not shown: mutual information, which needs 8 queries or more; found 3 in " in capsys.readouterr().out
    assert {path.stem for path in (tmp_path / "alexnet_figures").glob("*.png")} == MORE_FIGURES - {"training-curves"}
    record = json.loads((tmp_path / "alexnet_figures" / "run.json").read_text())
    assert record["results"]["queries"] == 3
    assert (tmp_path / "figures" / "run.json").exists()


def test_a_damaged_alexnet_sample_is_refused_before_any_work(tmp_path, notebook):
    sample(sample_mutual_info_lenet, tmp_path / "sample", 3)
    (tmp_path / "alexnet_sample").mkdir()
    (tmp_path / "alexnet_sample" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"alexnet_sample/run\.json: not readable as a run record"):
        notebook()
    assert not (tmp_path / "figures").exists()


def test_another_network_s_sample_is_refused(tmp_path, notebook, monkeypatch, quick_digits):
    sample(sample_mutual_info_alexnet, tmp_path / "sample", 1)
    with pytest.raises(InputError, match=r"original_images\.npy: found \(1, 150528\), expected \(1, 1024\)"):
        notebook()


def test_the_notebook_as_shipped_holds_outputs_and_no_bars():
    cells = json.loads((ROOT / "mutual_info_ite.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert sum(output["output_type"] == "display_data" for output in outputs) >= 6
    assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code")
    assert not any(output.get("name") == "stderr" or output["output_type"] == "error" for output in outputs)
