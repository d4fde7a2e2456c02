"""The paper's figures: points are made once and kept, rows are what they say, every figure is drawn."""

import csv
import dataclasses
import json
import math
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

import ite
import paper_figures
from paper import attack_tables, attacked, plots, points, published, rows
from shredder.io import provenance
from shredder.io.cli import InputError
from shredder.learn import step as learn_step
from shredder.sample import step as sample_step

LEARN = learn_step.Arguments(
    task="lenet", method="distribution", images=400, members=2, epochs=3, min_epochs=1, min_accuracy=0.0, max_sse=1.0
)
SAMPLE = sample_step.Arguments(n_samples=60, judged_on=100, seed=0)


@pytest.fixture(autouse=True)
def digits_once(quick_digits):
    yield
    plt.close("all")


def arguments(tmp_path, **fields):
    return paper_figures.Arguments(quick=True, points=tmp_path / "points", output=tmp_path / "figures", **fields)


# Points.


def broken(_):
    raise AssertionError("a point that is kept was made again")


def interrupted(*_):
    raise KeyboardInterrupt


def measured(folder, learn=LEARN, sample=SAMPLE, n_splits=2, **steps):
    """A point, made with other functions in the place of steps or estimates, where they are named."""
    owners = {"learning": (learn_step, "run"), "sampling": (sample_step, "run"), "estimates": (points, "estimates")}
    with pytest.MonkeyPatch.context() as patch:
        for name, step in steps.items():
            patch.setattr(*owners[name], step)
        return points.measured(folder, learn, sample, n_splits)


def test_a_point_is_made_once(tmp_path):
    made = measured(tmp_path)
    assert made == measured(tmp_path, learning=broken, sampling=broken)
    assert made["learned"]["members"] == 2 and made["sampled"]["queries"] == 60
    folder = made["folder"]
    for step in ("noise", "sample"):
        assert (
            json.loads((folder / step / "run.json").read_text())["results"] == made[{"noise": "learned"}.get(step, "sampled")]
        )
    # Anything else that the arguments say is another point; where files lie is not.
    for learn, queries, n_splits in (
        (dataclasses.replace(LEARN, alpha=0.0), SAMPLE, 2),
        (LEARN, dataclasses.replace(SAMPLE, seed=1), 2),
        (LEARN, SAMPLE, 3),
    ):
        with pytest.raises(AssertionError, match="made again"):
            measured(tmp_path, learn, queries, n_splits, learning=broken, sampling=broken)
    elsewhere = dataclasses.replace(LEARN, data_root=tmp_path)
    assert measured(tmp_path, elsewhere, learning=broken, sampling=broken) == made


def test_a_point_of_other_code_is_another_one(tmp_path, monkeypatch):
    made = measured(tmp_path)
    monkeypatch.setattr(provenance, "code", lambda: "of another day")
    with pytest.raises(AssertionError, match="made again"):
        measured(tmp_path, learning=broken, sampling=broken)
    monkeypatch.undo()
    assert measured(tmp_path, learning=broken, sampling=broken) == made


def test_an_interrupted_point_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, sampling=interrupted)
    # Step 1 is finished and not repeated.
    assert measured(tmp_path, learning=broken)["sampled"]["queries"] == 60


def test_a_point_interrupted_in_its_estimate_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, estimates=interrupted)
    made = measured(tmp_path, learning=broken, sampling=broken)
    assert len(made["information"]["after"]) == 2 and not list(tmp_path.rglob("sample/*.npy"))


def test_a_point_that_is_out_of_reach_is_kept(tmp_path):
    unreachable = dataclasses.replace(LEARN, images=None, min_accuracy=0.9999)
    made = measured(tmp_path, unreachable, sampling=broken)
    assert "best held-out accuracy" in made["unreached"]
    assert made == measured(tmp_path, unreachable, learning=broken, sampling=broken)


@pytest.fixture(scope="module")
def point(tmp_path_factory, mnist_5k):
    """A finished point, for tests to copy."""
    folder = tmp_path_factory.mktemp("points")
    made = measured(folder)
    return folder, made["folder"].name, {name: value for name, value in made.items() if name != "folder"}


@pytest.mark.parametrize("name", ["point.kept", "noise/distributions.npy", "noise/curves.csv", "sample/draws.csv"])
@pytest.mark.parametrize("change", [None, b"", b"{}", b"\xff\x00"], ids=["missing", "empty", "JSON", "bytes"])
def test_a_damaged_point_is_made_anew(tmp_path, point, capsys, name, change):
    """With the same values, and that is said."""
    folder, place, expected = point
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    file = tmp_path / place / name
    before = file.read_bytes()
    file.unlink() if change is None else file.write_bytes(change)
    made = measured(tmp_path)
    assert made.pop("folder") == tmp_path / place and made == expected
    assert name == "point.kept" or file.read_bytes() == before
    if not (name == "point.kept" and change is None):
        assert f"{file}: " in capsys.readouterr().out


@pytest.mark.parametrize("step", ["noise", "sample"])
def test_a_damaged_record_of_a_point(tmp_path, point, step):
    """It says no longer which files are the point's: one line that names it."""
    folder, place, _ = point
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / place / step / "run.json").write_bytes(b'{"arguments"')
    with pytest.raises(InputError, match=rf"{place}/{step}/run\.json: not readable as a run record \(\w+\)$"):
        measured(tmp_path)


def test_a_users_own_file_among_a_points(tmp_path, point):
    _, place, _ = point
    (tmp_path / place / "sample").mkdir(parents=True)
    (tmp_path / place / "sample" / "labels.npy").write_bytes(b"the user's")
    with pytest.raises(InputError, match=r"found labels\.npy"):
        measured(tmp_path)
    assert (tmp_path / place / "sample" / "labels.npy").read_bytes() == b"the user's"


def test_other_mistakes_are_no_points(tmp_path):
    with pytest.raises(InputError, match="--alpha"):
        measured(tmp_path, dataclasses.replace(LEARN, alpha=-1.0), sampling=broken)
    assert not list(tmp_path.rglob("point.kept"))


def test_estimates_are_those_of_ite(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"original_images": rng.random((40, 6)), "original_activations": rng.normal(size=(40, 2, 1, 1))}
    arrays["noisy_activations"] = arrays["original_activations"] + 100 * rng.normal(size=(40, 2, 1, 1))
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array.astype(np.float32))
    found = points.estimates(tmp_path, n_splits=3, image_columns=4)
    for name, activations in (("before", "original"), ("after", "noisy")):
        y = np.hstack([arrays["original_images"][:, :4], arrays[f"{activations}_activations"].reshape(40, 2)]).astype(
            np.float32
        )
        estimator = ite.cost.MIShannon_DKL(rng=0, n_splits=3)
        estimator.estimation(y, [4, 2])
        assert_allclose(found[name], estimator.last_run, rtol=1e-6)
        estimator.estimation(ite.standardize(y, [4, 2]), [4, 2])
        assert_allclose(found[f"standardised {name}"], estimator.last_run, rtol=1e-6)


# Rows.


def fake_point(before=300.0, after=30.0, accuracy=0.98, private=0.2):
    near = [-1.0, 0.0, 1.0]
    information = {"before": before, "after": after, "standardised before": 200.0, "standardised after": 20.0}
    return {
        "folder": Path(),
        "information": {name: [value + e for e in near] for name, value in information.items()},
        "learned": {"clean test accuracy": 0.99},
        "sampled": {
            "queries": 1000,
            "judged on": 1000,
            "clean public accuracy": 0.99,
            "average public accuracy": accuracy,
            "spread of public accuracy": 0.001,
            "average private accuracy": private,
        },
    }


def test_information_and_accuracy_lost():
    found = rows.information(fake_point())
    assert_allclose([found["before (nats)"], found["after (nats)"], found["information lost (%)"]], [300, 30, 90])
    assert_allclose([found["spread of after (nats)"], found["spread (nats)"]], [1, 2**0.5])
    assert_allclose(rows.accuracy_lost(fake_point()), [1.0, 0.1])


def test_pareto_front(tmp_path, monkeypatch):
    # alpha: accuracy, nats after noise. 1e-4 is beaten by 3e-4 in both; the last was not reached.
    of_alpha = {0.0: (0.985, 60.0), 1e-4: (0.97, 50.0), 3e-4: (0.98, 40.0), 1e-3: (0.975, 20.0), 2e-3: (0.9, 10.0)}

    def point(args, alpha, **_):
        if alpha not in of_alpha:
            return {"unreached": "too loud"}
        accuracy, after = of_alpha[alpha]
        return fake_point(after=after, accuracy=accuracy)

    monkeypatch.setattr(rows, "lenet_point", point)
    found = rows.figure_7(dataclasses.replace(arguments(tmp_path), quick=False))
    assert {row["alpha"]: row["Pareto front"] for row in found} == {0.0: True, 1e-4: False, 3e-4: True, 1e-3: True, 2e-3: True}
    assert_allclose([row["information lost (nats)"] for row in found], [240, 250, 260, 280, 290])
    looked_at(plots.knob(found))


def test_link_is_the_model_that_it_says(tmp_path):
    args = arguments(tmp_path, wifi=8.0, wifi_round_trip=5.0, lte=4.0, lte_round_trip=50.0, networks=("lenet",))
    found = {(row["link"].split(":")[0], row["cutting point"]): row for row in rows.figure_6(args)}
    # 784 pixels of a byte; 120 elements of four. 8 Mbit/s is a byte in a microsecond.
    assert_allclose(found["Wi-Fi", "cloud only"]["link (ms)"], 5 + 0.784)
    assert_allclose(found["LTE", "relu5"]["link (ms)"], 50 + 2 * 0.48)
    for row in found.values():
        assert_allclose(row["total (ms)"], row["edge (ms)"] + row["link (ms)"] + row["cloud (ms)"])
    assert found["LTE", "cloud only"]["edge (ms)"] == 0 < found["LTE", "s2"]["edge (ms)"] < found["LTE", "relu5"]["edge (ms)"]


def test_misclassification(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "lenet_point", lambda *_, **__: fake_point(private=0.28))
    found = rows.figure_9(arguments(tmp_path))
    assert {row["run"] for row in found} == {"without private labels", "with private labels"}
    assert_allclose([row["private misclassification (%)"] for row in found], 72)
    assert_allclose([row["normalised private misclassification"] for row in rows.figure_v2_4(arguments(tmp_path))], 0.8)


def test_published_numbers():
    assert_allclose(100 * (1 - published.LENET_V3["after (nats)"] / published.LENET_V3["before (nats)"]), 93.74, atol=0.005)
    assert_allclose(
        100 * 120 / rows.N_PARAMETERS, published.LENET_V3["parameters of a member (% of the network's)"], atol=0.005
    )


ATTACKED = {
    "network": "lenet",
    "cutting point": "relu5",
    "public accuracy (%)": 98.0,
    "without noise (%)": 99.5,
    "MI estimate before (nats)": 229.1,
    "after (nats)": 9.0,
    "floor": 20.0,
    "ceiling": 97.7,
    "untrained": 95.0,
    "trained": 60.0,
    "member": 40.0,
    "averaging 10": 55.0,
    "averaging 1000": 90.0,
    "PA": 0.61,
    "PI": 0.43,
    "bits at least, private label": 1.2,
    "bits at least, private label, standard error": 0.034,
    "bits at least, private label, low": 1.13,
    "bits at least, private label, high": 1.26,
    "worst of one query, low": 55.6,
    "worst of one query, high": 64.2,
    "candidates": 1000,
    "identified by exact arithmetic (%)": 0.4,
    "identified with rounding (%)": 0.5,
}
ATTACK_ROWS = [
    ATTACKED | {"method": "v2", "draw": "verbatim", "bits at most": "none"},
    ATTACKED | {"method": "fresh", "draw": "fresh", "bits at most": 0.96, "bits at most, 1000 queries": 1.0},
    {"network": "lenet", "method": "v3", "draw": "order-preserving", "cutting point": "s2", "unreached": "missed by 1 %"},
]


def test_the_tables_of_attacks_have_the_worst_and_name_what_was_not_reached():
    promised, measured = (table.splitlines() for table in attack_tables.markdown(ATTACK_ROWS).split("\n\n"))
    assert all(line.count("|") == 8 for line in [*promised, *measured]) and len(measured) == 4
    # The untrained network's 95 % is of other activations than those that are sent.
    for line in promised[2:4]:
        assert "| 1.20 (1.13 to 1.26) | 20, 97.7 | 60.0 (55.6 to 64.2), 90 | 0.4, 0.5 |" in line
    assert "| none |" in promised[2] and "| 0.96, 1 |" in promised[3] and promised[3].startswith("| fresh, relu5 |")
    assert "| 95 | 60 | 40 | 0.61, 0.43 |" in measured[2]
    assert "not reached: missed by 1 %" in promised[4]


def test_several_seeds_are_a_mean_and_a_spread():
    """By hand: public accuracies 97, 98, 99; the worst of one query 60, 62, 70, for a member is read in 62 once."""
    base = ATTACKED | {"method": "fresh", "draw": "fresh", "bits at most": 0.96, "ink, floor": 50.0, "ink, one query": 51.0}
    base["ink, 1000 queries"] = 53.0
    seeds = [base | {"seed": seed, "public accuracy (%)": 97.0 + seed} for seed in range(3)]
    seeds[1]["member"], seeds[2]["trained"] = 62.0, 70.0
    (row,) = attack_tables.over_seeds(seeds)
    assert (row["public accuracy (%)"], row["public accuracy (%), spread"], row["seeds"]) == (98, 1, 3)
    assert row["worst of one query"] == 64 and row["worst of one query, spread"] == pytest.approx(math.sqrt(28))
    promised, _, secrets = (table.splitlines() for table in attack_tables.markdown(seeds).split("\n\n"))
    assert "| 64.0 +- 5.3, 90 |" in promised[2] and "| 98 +- 1, 99.5 |" in promised[2] and len(promised) == 3
    assert secrets[2].startswith("| fresh, relu5 | 50, 51, 53 |")
    missed = attack_tables.over_seeds([*seeds, base | {"seed": 3, "unreached": "missed by 1 %"}])
    assert [row["unreached"] for row in missed] == ["missed by 1 %"]


def test_attacks_are_made_for_every_seed(tmp_path, monkeypatch):
    seeds = []
    monkeypatch.setattr(
        attacked, "lenet_point", lambda args, attack, **_: seeds.append((args.seed, attack.seed)) or {"unreached": ""}
    )
    args = dataclasses.replace(arguments(tmp_path, networks=("lenet",)), quick=False, seed=4, seeds=2)
    found = attacked.figure_attacks(args)
    assert set(seeds) == {(4, 4), (5, 5)} and [row["seed"] for row in found] == sorted(seed for seed, _ in seeds)


def test_every_method_draw_and_cutting_point_is_attacked(tmp_path, monkeypatch):
    made = []
    for name in ("lenet_point", "alexnet_point"):
        monkeypatch.setattr(attacked, name, lambda args, **settings: made.append(settings) or {"unreached": "fake"})
    found = attacked.figure_attacks(dataclasses.replace(arguments(tmp_path), quick=False))
    assert len(found) == len(made) == len({(*row.values(),) for row in found})
    for cut in ("s2", "s4", "relu5"):
        methods = {row["method"].split(",")[0] for row in found if row["cutting point"] == cut}
        assert methods == {"v1", "v2", "v3", "fresh"}
    draws = {(row["method"][:2], row["draw"]) for row in found if row["cutting point"] == "relu5"}
    assert {("v1", "elementwise-laplace"), ("v1", "verbatim"), ("v2", "order-preserving"), ("v2", "verbatim")} < draws
    assert all(row["network"] == "alexnet" for row in found if row["cutting point"] == "pool5")
    assert attacked.figure_attacks(arguments(tmp_path, networks=("alexnet",))) == []


# Figures.


def looked_at(figure, tmp=None):
    """A drawn figure has units or words on each axis, and is as wide as the others."""
    figure.canvas.draw()
    assert figure.get_size_inches()[0] == 8
    for axis in figure.axes:
        assert axis.get_title() or axis.get_xlabel()
        assert axis.lines or axis.patches
    return figure


def test_a_figure_of_each_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "lenet_point", lambda *_, **__: fake_point())
    for name in ("9", "v2-4"):
        make, draw = paper_figures.FIGURES[name]
        looked_at(draw(make(arguments(tmp_path))))
    curves = [
        {"network": network, "run": run, "iteration": i, "in vivo privacy": i + 1.0, "accuracy (%)": 90.0}
        for network in ("lenet", "alexnet")
        for run in ("alpha = 0", "Shredder")
        for i in range(4)
    ]
    looked_at(plots.learning(curves))
    cuts = [
        {"network": network, "cutting point": cut, "edge (ms)": i + 0.5, "kilobytes sent": 3.0 - i}
        | {"information lost, of the last cutting point's (%)": 100.0}
        for network in ("lenet", "alexnet")
        for i, cut in enumerate(("a", "b", "c"))
    ]
    looked_at(plots.cutting_points(cuts))
    looked_at(plots.attacks(ATTACK_ROWS))


def test_script(tmp_path, capsys):
    paper_figures.main(arguments(tmp_path, figure=("6",), networks=("lenet",)))
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["figure-6.csv", "figure-6.png", "run.json"]
    with open(tmp_path / "figures" / "figure-6.csv") as file:
        assert len(list(csv.DictReader(file))) == 2 * 4
    assert Image.open(tmp_path / "figures" / "figure-6.png").width > 1400
    # A second call measures nothing anew.
    before = (tmp_path / "figures" / "figure-6.csv").read_bytes()
    paper_figures.main(arguments(tmp_path, figure=("6",), networks=("lenet",)))
    assert (tmp_path / "figures" / "figure-6.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"wifi": 0.0}, "--wifi: found 0.0, expected a rate above 0"), ({"lte_round_trip": -1.0}, "--lte-round-trip: found -1.0"),
     ({"networks": ()}, "--networks: found none")],
)  # fmt: skip
def test_flags(tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        paper_figures.main(arguments(tmp_path, figure=("6",), **fields))
