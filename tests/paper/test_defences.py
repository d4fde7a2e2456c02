"""The table of defences: every one at every cut and seed, Fisher information in closed form, files that are joined."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

import paper_figures
from paper import defence_files, defences
from paper.defence_files import ENTRY, OUTSIDE, beside, markdown
from paper.defences import DEFENCES, TARGETS, figure_defences
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
    made = []
    monkeypatch.setattr(
        defences, "lenet_point", lambda args, **settings: made.append((args.seed, settings)) or {"unreached": "fake"}
    )
    args = dataclasses.replace(arguments(tmp_path, seed=3, seeds=2), quick=False)
    rows = figure_defences(args)
    learned = [name for name, defence in DEFENCES.items() if not defence.answer]
    assert len(made) == len(learned) * len(TARGETS) * 2 and len(rows) == len(made) + 2 * len(TARGETS)
    assert {seed for seed, _ in made} == {3, 4}
    for _, settings in made:
        assert settings["method"] in METHODS and settings["min_accuracy"] == TARGETS[settings["cutting_point"]]
        assert settings["dataset"] == settings["attack"].dataset == "mnist-5k"
    reached = {row["cutting point"]: row for row in rows if row["defence"] == "randomised-response"}
    assert 0.9 < reached["relu5"]["bits at most"] < 0.93 and reached["s2"]["bits at most"] < reached["s4"]["bits at most"]


ROWS = [
    {"defence": "isotropic", "cutting point": "relu5", "dataset": "mnist", "seed": seed, "public accuracy (%)": 98.0 + seed,
     "bits at most": 40.0, "bits at most, 1000 queries": 1234.5, "worst of one query": 97.0, "dFIL (a pixel)": 0.25,
     "measured information, input (bits)": 9.0}
    for seed in range(2)
] + [
    {"defence": "dropout", "cutting point": "s4", "dataset": "mnist", "seed": 0, "public accuracy (%)": 98.0,
     "bits at most": "none", "worst of one query": 97.0},
    {"defence": "pac", "cutting point": "s4", "dataset": "mnist", "seed": 0, "unreached": "too loud"},
    {"defence": "randomised-response", "cutting point": "s4", "dataset": "mnist", "public accuracy (%)": 98.0,
     "bits at most": 0.9, "bits, test": 0.85, "best guess": 20.0, "best guess, 1000 queries": 21.0},
]  # fmt: skip


def test_the_table_has_means_spreads_and_what_was_missed():
    lines = markdown(ROWS).splitlines()
    assert all(line.count("|") == 8 for line in lines)
    assert lines[2] == "| isotropic, relu5 | 98.5 +- 0.71 | 9 +- 0 | 40 +- 0, 1,234 +- 0 | 97 +- 0 |  | 0.25 +- 0 |"
    assert lines[3] == "| dropout, s4 | 98 |  | none | 97 |  |  |"
    assert lines[4].startswith("| pac, s4 | not reached: too loud |")
    assert lines[5] == "| randomised-response, s4 | 98 | 0.85 | 0.9 | 20 | 21 |  |"


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
    assert table.count("\n") == 4 and "not reached" not in table
    (row,) = json.loads((tmp_path / "out" / "defence-isotropic.json").read_text())["rows"]
    # Much passes, and it is read.
    assert 9 < row["measured information, input (bits)"] <= math.log2(1000) < 30 < row["bits at most"] < 60
    assert row["bits at least, private label"] > 2 and 97 < row["public accuracy (%)"] < 100
    assert row["floor"] < 25 < 90 < row["worst of one query"] <= 100 and 0.1 < row["dFIL (a pixel)"] < 1
    listed = json.loads((tmp_path / "out" / "run.json").read_text())["files"]
    assert {"table-defences.csv", "defences.md", "defence-isotropic.json", "defence-randomised-response.json"} == set(listed)


def test_arguments_that_make_no_sense(tmp_path):
    for fields, message in (({"cuts": ()}, "--cuts: found none"), ({"seeds": 0}, "--seeds: found 0, expected at least 1")):
        with pytest.raises(InputError, match=message):
            paper_figures.main(arguments(tmp_path, **fields))


def test_shipped_files_can_be_joined():
    """Each lists attacks from outside, and its rows are those of the shipped table."""
    for path in (Path(__file__).parents[2] / "artifacts" / "defences").glob("defence-*.json"):
        found = json.loads(path.read_text())
        assert defence_files.outside_of(path) == found[OUTSIDE] and found["defence"] in DEFENCES
        assert found["rows"] and {row["defence"] for row in found["rows"]} == {found["defence"]}
