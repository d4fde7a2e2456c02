"""The table of defences: every one at every cut and seed, Fisher information in closed form, files that are joined."""

import csv
import dataclasses
import json
import math
from pathlib import Path

import pytest

import paper_figures
from paper import defence_files, defences, plots
from paper.defence_files import ENTRY, OUTSIDE, beside, markdown
from paper.defences import DEFENCES, figure_defences
from paper.grounds import GROUNDS, SECRETS_OF
from shredder.io.cli import InputError
from shredder.learn.flags import METHODS


@pytest.fixture(autouse=True)
def digits_once(quick_digits):
    return


def arguments(tmp_path, **fields):
    return paper_figures.Arguments(
        quick=True, figure=("defences",), points=tmp_path / "points", output=tmp_path / "out", device="cpu", **fields
    )


def test_every_defence_cut_and_seed_has_a_row(tmp_path, monkeypatch):
    made, retrained = [], []

    def made_up(args, task, attack, n_splits, learn, **sample):
        made.append((args.seed, task, attack, learn))
        return {"unreached": "fake"}

    monkeypatch.setattr(defences, "task_point", made_up)
    monkeypatch.setitem(
        DEFENCES,
        "nopeek",
        DEFENCES["nopeek"]._replace(retrained=lambda *given: retrained.append(given[0]) or {"weight": 1.0, "weights": "FILE"}),
    )
    args = dataclasses.replace(arguments(tmp_path, seeds=2), quick=False)
    rows = figure_defences(args)
    learned, cuts = [name for name, defence in DEFENCES.items() if not defence.answer], GROUNDS["lenet"].targets
    assert len(made) == len(learned) * len(cuts) * 2 and len(rows) == len(DEFENCES) * len(cuts) * 2
    # All of a seed before the next.
    assert [seed for seed, *_ in made] == [0] * (len(made) // 2) + [1] * (len(made) // 2)
    for seed, task, attack, learn in made:
        assert "reconstruction" in attack.attacks and ("secrets" not in attack.attacks or seed == 0)
        assert task == "lenet" and learn["method"] in METHODS and learn["dataset"] == attack.dataset == "mnist-5k"
        assert learn["min_accuracy"] <= cuts[learn["cutting_point"]] and learn.get("weights") == attack.weights
    assert sum("secrets" in attack.attacks for *_, attack, _ in made) == len(SECRETS_OF) * len(cuts)
    assert {(how.cutting_point, how.seed) for how in retrained} == {(cut, seed) for cut in cuts for seed in (0, 1)}
    reached = {row["cutting point"]: row for row in rows if row["defence"] == "randomised-response"}
    assert 0.9 < reached["relu5"]["bits at most"] < 0.93 and reached["s2"]["bits at most"] < reached["s4"]["bits at most"]


def test_what_is_compared_on_all_of_mnist_and_on_photographs(tmp_path, monkeypatch):
    monkeypatch.setattr(defences, "point_of", lambda args, ground, name, cut, dataset, attacks: {"unreached": "fake"})
    asked = []
    monkeypatch.setattr(
        defences.answers, "network_answers", lambda task, labels, dataset, root: asked.append((task, labels, dataset))
    )
    monkeypatch.setattr(defences, "answered", lambda *given: {})
    args = dataclasses.replace(arguments(tmp_path, dataset="mnist", grounds=("lenet", "cifar10")), quick=False)
    found = {(row["cutting point"], row["defence"]): row["dataset"] for row in figure_defences(args)}
    whole = {"v2", "v3", "fresh", "flipped", "isotropic", "pac", "randomised-response"}
    for name in DEFENCES:
        assert found["s2", name] == ("mnist" if name in whole else "mnist-5k")
        for cut in ("pool6", "relu2"):
            assert ((cut, name) in found) == (name not in GROUNDS["cifar10"].left_out[cut])
    assert asked == [("lenet", "gt5", "mnist"), ("lenet", "gt5", "mnist-5k"), ("cifar10", "animal", "cifar10")]
    some = {row["cutting point"] for row in figure_defences(dataclasses.replace(args, cuts=("s4", "relu2")))}
    assert some == {"s4", "relu2"}
    few = figure_defences(dataclasses.replace(args, cuts=("s4", "relu2"), defences=("pac", "flipped")))
    assert [(row["cutting point"], row["defence"]) for row in few] == [("s4", "flipped"), ("s4", "pac"), ("relu2", "flipped")]


def row(defence, cut, seed=0, **columns):
    return {"defence": defence, "network": "lenet", "cutting point": cut, "dataset": "mnist", "seed": seed, **columns}


MEASURED = {"measured information, input (bits)": 9.0, "private accuracy at most": 100.0}
ROWS = [
    *(
        row("isotropic", "relu5", seed, **MEASURED, **{
            "public accuracy (%)": 98.0 + seed, "bits at most": 40.0, "bits at most, 1000 queries": 1234.5,
            "worst of one query": 97.0, "averaging 1000": 98.0, "floor": 20.0, "ceiling": 98.0,
            "identified (%)": 90.0, "SSIM, best": 0.5, "SSIM, clean": 0.6,
            "best reconstruction": "optimisation", "dFIL (a pixel)": 0.25,
            "ink, floor": 50.0, "ink, one query": 90.0, "ink, one query, at most": 99.0, "ink, 1000 queries": 95.0,
        })
        for seed in range(2)
    ),
    row("dropout", "s4", **{
        "public accuracy (%)": 98.0, "bits at most": "none", "worst of one query": 97.0, "floor": 20.0, "ceiling": 98.0,
    }),
    row("pac", "s4", unreached="too loud"),
    row("randomised-response", "s4", **{
        "public accuracy (%)": 98.0, "bits at most": 0.9, "bits, test": 0.85, "best guess": 20.0,
        "best guess, 1000 queries": 21.0,
    }),
]  # fmt: skip


def test_rows_of_finished_tables_join(tmp_path, monkeypatch):
    made = []

    def made_up(args, ground, name, cut, dataset, attacks):
        made.append((args.seed, cut, name))
        return {"unreached": "fake"}

    monkeypatch.setattr(defences, "point_of", made_up)
    given = [row("isotropic", "relu5", level=0.25) | {"dataset": "mnist-5k"}, row("pac", "s2", seed=7, level=0.5)]
    for name, content in beside(given, tmp_path).items():
        (tmp_path / name).write_bytes(content)
    args = dataclasses.replace(arguments(tmp_path, cuts=("relu5",), join=(tmp_path,)), quick=False)
    rows = figure_defences(args)
    assert (0, "relu5", "isotropic") not in made and (0, "relu5", "pac") in made
    # In their places: by seed, cutting point and defence; what was not asked for stays.
    assert [of["defence"] for of in rows] == [*DEFENCES, "pac"] and rows[-1] == given[1]
    assert rows[list(DEFENCES).index("isotropic")] == given[0]
    (tmp_path / "defence-pac.json").write_text('{"rows": [{"defence": "pac"}]}')
    with pytest.raises(InputError, match=r"defence-pac\.json: found no rows"):
        figure_defences(args)
    with pytest.raises(InputError, match=r"--join: found no defence-NAME\.json in .*absent"):
        figure_defences(dataclasses.replace(args, join=(tmp_path / "absent",)))


def test_the_table_has_means_spreads_and_what_was_missed():
    told, image, secrets = (table.splitlines() for table in markdown(ROWS).split("\n\n"))
    assert all(line.count("|") == 8 for line in (*told, *secrets)) and all(line.count("|") == 6 for line in image)
    name = "| isotropic, relu5 | "
    assert told[2] == name + "98.5 +- 0.71 | 9 +- 0 | 40 +- 0, 1,234 +- 0 | 97 +- 0 | 100 +- 0 | 98 +- 0 |"
    assert told[3:] == [
        "| dropout, s4 | 98 |  | none | 97 |  |  |",
        "| pac, s4 | not reached: too loud |  |  |  |  |  |",
        "| randomised-response, s4 | 98 | 0.85 | 0.9 | 20 |  | 21 |",
    ]
    assert image[2:] == [name + "90 +- 0 | 0.5 +- 0, 0.6 +- 0 | optimisation | 0.25 +- 0 |"]
    assert secrets[2:] == [name + "50 +- 0, 90 +- 0, 99 +- 0, 95 +- 0 |  |  |  |  |  |"]
    # Where digits are of two datasets, a line says of which.
    both = markdown([*ROWS, ROWS[2] | {"dataset": "mnist-5k"}])
    assert "| dropout, s4, mnist |" in both and "| dropout, s4, mnist-5k |" in both


def test_the_figure_has_a_panel_for_each_cut_and_a_mark_for_each_number():
    figure = plots.defences(ROWS)
    relu5, s4 = figure.axes
    assert [relu5.get_title(), s4.get_title()] == ["cut at relu5", "cut at s4"]
    names = [label.get_text() for label in relu5.get_yticklabels()]
    assert names == ["randomised-response", "dropout", "isotropic"]
    marks = [dict(zip(line.get_ydata(), line.get_xdata(), strict=True)) for line in s4.lines]
    assert marks == [{1: 97, 0: 20}, {0: 21}, {}]
    assert [list(line.get_xdata()) for line in relu5.lines] == [[97], [98], [100]]
    assert plots.defences([row("pac", "s4", unreached="too loud")]) is None


def test_a_file_for_each_defence_keeps_attacks_from_outside(tmp_path):
    written = beside(ROWS, tmp_path)
    names = {f"defence-{row['defence']}.json" for row in ROWS}
    assert set(written) == {"defences.md"} | names <= set(defence_files.FILES)
    found = json.loads(written["defence-isotropic.json"])
    assert found["rows"] == ROWS[:2] and found[OUTSIDE] == [] and "--method isotropic" in found["command"]
    # Somebody joins, and the table is made anew.
    found[OUTSIDE].append(dict.fromkeys(ENTRY, "x"))
    (tmp_path / "defence-isotropic.json").write_text(json.dumps(found))
    again = json.loads(beside(ROWS, tmp_path)["defence-isotropic.json"])
    assert again == found


@pytest.mark.parametrize("content", ["{", "[]", "{}", json.dumps({OUTSIDE: [{"who": "x"}]}), json.dumps({OUTSIDE: 3})])
def test_a_file_that_lists_something_else_is_not_replaced(tmp_path, content):
    path = tmp_path / "defence-pac.json"
    path.write_text(content)
    with pytest.raises(InputError, match=f"^{path}: found no list of {OUTSIDE}"):
        beside(ROWS, tmp_path)


def test_a_quick_table_from_steps_to_files(tmp_path, monkeypatch):
    monkeypatch.setattr("shredder.attack.attacks.READERS", (((64,), 4e-3),))
    paper_figures.main(arguments(tmp_path))
    table = (tmp_path / "out" / "defences.md").read_text()
    assert table.count("\n") == 8 and "not reached" not in table
    (row,) = json.loads((tmp_path / "out" / "defence-isotropic.json").read_text())["rows"]
    # Much passes, and it is read.
    assert 9 < row["measured information, input (bits)"] <= math.log2(1000) < 30 < row["bits at most"] < 60
    assert row["bits at least, private label"] > 2 and 97 < row["public accuracy (%)"] < 100
    assert row["floor"] < 25 < 90 < row["worst of one query"] <= 100 and 0.1 < row["dFIL (a pixel)"] < 1
    listed = json.loads((tmp_path / "out" / "run.json").read_text())["files"]
    assert {
        "table-defences.csv",
        "table-defences.png",
        "defences.md",
        "defence-isotropic.json",
        "defence-randomised-response.json",
    } == set(listed)


def test_arguments_that_make_no_sense(tmp_path):
    for fields, message in (
        ({"cuts": ()}, "--cuts: found none"),
        ({"defences": ()}, "--defences: found none"),
        ({"defences": ("fresh", "magic")}, "--defences: found magic, expected all, or some of none, v1"),
        ({"seeds": 0}, "--seeds: found 0, expected at least 1"),
        ({"grounds": ()}, "--grounds: found none"),
    ):
        with pytest.raises(InputError, match=message):
            paper_figures.main(arguments(tmp_path, **fields))


def test_shipped_files_can_be_joined():
    """Each lists attacks from outside, and its rows are those of the shipped table."""
    for path in (Path(__file__).parents[2] / "artifacts" / "defences").glob("defence-*.json"):
        found = json.loads(path.read_text())
        assert defence_files.outside_of(path) == found[OUTSIDE] and found["defence"] in DEFENCES
        assert found["rows"] and {row["defence"] for row in found["rows"]} == {found["defence"]}


def test_shipped_rows_lie_between_their_bounds():
    """What attacks show is below what is measured, and that below what a theorem allows."""
    measured, shown = "measured information, input (bits)", "bits at least, private label"
    with (Path(__file__).parents[2] / "artifacts" / "defences" / "table-defences.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row[measured]]
    assert len(rows) >= 12
    for row in rows:
        lower, upper, error = (float(row[measured + end]) for end in ("", ", upper end", ", standard error"))
        at_most = math.inf if row["bits at most"] == "none" else float(row["bits at most"])
        assert lower <= upper and lower - 3 * error <= at_most, (row["defence"], row["cutting point"])
        assert float(row[f"{shown}, low"]) <= float(row["bits at least, image, high"]) <= at_most + 3 * error
        assert float(row["worst of one query, low"]) <= float(row["private accuracy at most"]) <= 100
