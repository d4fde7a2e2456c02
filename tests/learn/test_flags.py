"""Flags of the methods: what stands in place of those that were not given, and which of them mean something."""

import copy
import dataclasses
import re

import numpy as np
import pytest

import train_noise_alexnet
import train_noise_lenet
from shredder.io.cli import InputError
from shredder.learn.flags import METHODS, MethodArguments, completed
from shredder.learn.learner import CURVES, LOG, Settings, learner
from shredder.learn.step import Arguments, with_defaults
from shredder.noise.channel import Channel
from shredder.split import SplitNetwork
from shredder.task import read_task
from tasks import alexnet, lenet

FLAGS = {field.name for field in dataclasses.fields(MethodArguments)}
# A value of each method's flags that none has as its default.
VALUES = {
    "location": 0.25, "scale": 3.5, "learning_rate": 0.125, "clustering": "raw", "clustering_weight": 0.75, "alpha": 0.375,
    "gamma": 0.625, "learn_redrawn": True, "no_learn_redrawn": True, "private_labels": True, "directions": 3,
    "form": "linear", "max_sse": 0.875, "hidden_units": 6,
}  # fmt: skip
# Which of them mean something to a method.
OWN = {
    "additive": {"location", "scale", "learning_rate"},
    "self-supervised": {"scale", "clustering", "clustering_weight", "learn_redrawn"},
    "distribution": {
        "scale", "alpha", "learning_rate", "learn_redrawn", "no_learn_redrawn", "private_labels", "gamma", "max_sse",
    },
    "fresh": {"form", "learning_rate", "directions", "hidden_units"},
    "isotropic": set(), "isotropic-laplace": set(), "pac": set(), "dropout": set(), "none": set(),
    "cloak": {"alpha", "learning_rate"},
}  # fmt: skip


def flag(name):
    return "--" + name.replace("_", "-")


def test_every_method_and_every_flag_is_looked_at():
    assert OWN.keys() == METHODS.keys() and VALUES.keys() == FLAGS - {"method", "recipe"}


# Defaults.


@pytest.mark.parametrize("method", METHODS)
def test_a_method_s_own_defaults_leave_nothing_open(method):
    args = completed(Arguments(method=method), {})
    own = METHODS[method].defaults(args)
    assert {name: getattr(args, name) for name in own} == own
    assert None not in own.values() and args.recipe == METHODS[method].recipes[0] == "suite"
    # What means nothing to it stays open, which run.json shows.
    assert all(getattr(args, name) in (None, False) for name in FLAGS - own.keys() - {"method", "recipe"})


@pytest.mark.parametrize("method", METHODS)
def test_what_was_given_goes_before_the_task_s_defaults_and_these_before_the_method_s(method):
    own = {name: VALUES[name] for name in OWN[method] - {"no_learn_redrawn", "private_labels", "gamma"}}
    of_task = completed(Arguments(method=method), own | {"epochs": 77, "parallel": 7, "max_accuracy_loss": 0.5})
    assert {name: getattr(of_task, name) for name in own} == own
    expected = {"epochs": 77, "parallel": 7, "max_accuracy_loss": 0.5} | METHODS[method].own_settings
    assert {name: getattr(of_task, name) for name in expected} == expected
    given = {"epochs": 88, "parallel": 8, "max_accuracy_loss": 0.0, "scale": 0.5} if "scale" in own else {"epochs": 88}
    args = completed(Arguments(method=method, **given), own | {"epochs": 77, "parallel": 7, "max_accuracy_loss": 0.5})
    assert {name: getattr(args, name) for name in given} == given
    assert {name: getattr(args, name) for name in own.keys() - given.keys()} == {n: own[n] for n in own.keys() - given.keys()}


@pytest.mark.parametrize("method", METHODS)
def test_a_task_s_defaults_of_flags_that_mean_nothing_to_the_method_are_left_aside(method):
    args = completed(Arguments(method=method), VALUES | {"no_learn_redrawn": False, "private_labels": False})
    assert all(getattr(args, name) in (None, False) for name in VALUES.keys() - OWN[method])


def test_zero_is_given_and_no_default():
    assert completed(Arguments(method="additive", scale=0.0, min_epochs=0), {"scale": 9.0, "min_epochs": 5}).scale == 0


@pytest.mark.parametrize(
    ("recipe", "clustering", "weight"),
    [
        (None, None, 0.3),
        (None, "raw", 0.003),
        ("authors", None, 1.01),
        ("authors", "raw", 0.01),
        ("authors", "normalised", 1.01),
    ],
)
def test_recipe_and_form_decide_about_the_clustering_s_weight(recipe, clustering, weight):
    """1.01 and 0.01 are the authors' (their released code)."""
    args = completed(Arguments(method="self-supervised", recipe=recipe, clustering=clustering), {})
    assert (args.clustering, args.clustering_weight) == (clustering or "normalised", weight)


@pytest.mark.parametrize(
    ("fields", "redrawn"),
    [
        ({}, True),
        ({"no_learn_redrawn": True}, False),
        ({"recipe": "authors"}, False),
        ({"recipe": "authors", "learn_redrawn": True}, True),
    ],
)
def test_distributions_are_learned_redrawn_unless_it_is_said(fields, redrawn):
    assert completed(Arguments(method="distribution", **fields), {}).learn_redrawn is redrawn


def test_gamma_is_the_paper_s_where_private_labels_are_unlearned():
    assert completed(Arguments(method="distribution", private_labels=True), {}).gamma == 0.01
    assert completed(Arguments(method="distribution"), {}).gamma is None


LENET = {
    "additive": ("digits", 40, 0, None, {"location": 0.0, "scale": 2.0, "learning_rate": 1e-2, "batch_size": 256}),
    "self-supervised": ("gt5", 40, 27, 0.95, {"scale": 20.0, "batch_size": 256, "members": 20, "parallel": 50}),
    "distribution": ("digits", 100, 99, None, {"scale": 5.0, "alpha": 1e-3, "learning_rate": 7e-2, "max_sse": 0.1}),
    "fresh": ("gt5", 30, 19, None, {"form": "quantised", "directions": 1, "batch_size": 500, "members": 1}),
}


@pytest.mark.parametrize("dataset", ["mnist", "mnist-5k"])
@pytest.mark.parametrize("method", LENET)
def test_defaults_of_lenet(method, dataset):
    """Epochs over mnist-5k have a fifteenth of the updates of those over MNIST. There are at most as many more of them."""
    factor = {"self-supervised": 4, "fresh": 4}.get(method, 15) if dataset == "mnist-5k" else 1
    labels, epochs, min_epochs, min_accuracy, others = LENET[method]
    args = with_defaults(lenet.task, train_noise_lenet.Arguments(method=method, dataset=dataset))
    assert (args.public_labels, args.epochs, args.min_epochs) == (labels, factor * epochs, factor * min_epochs)
    assert (args.min_accuracy, args.max_accuracy_loss) == (min_accuracy, 0.0134)
    assert {name: getattr(args, name) for name in others} == others


@pytest.mark.parametrize(
    ("fields", "form", "directions"),
    [
        ({}, "quantised", 1),
        ({"public_labels": "digits"}, "saturated", 64),
        ({"cutting_point": "s4"}, "quantised", 1),
        ({"form": "linear"}, "linear", 64),
        ({"form": "quantised", "cutting_point": "s4"}, "quantised", 1),
        ({"directions": 5}, "quantised", 5),
    ],
)
def test_one_bit_is_sent_behind_the_last_convolution(fields, form, directions):
    args = with_defaults(lenet.task, train_noise_lenet.Arguments(method="fresh", **fields))
    assert (args.form, args.directions) == (form, directions)


def test_defaults_of_lenet_by_the_authors_recipe():
    args = with_defaults(lenet.task, train_noise_lenet.Arguments(method="distribution", recipe="authors", dataset="mnist"))
    found = (args.scale, args.alpha, args.learning_rate, args.learn_redrawn, args.epochs, args.min_epochs)
    assert found == (20.0, 1e-2, 1e-2, False, 40, 0)


ALEXNET = {
    "additive": {"location": 0.6, "scale": 1.2, "learning_rate": 1e-4, "epochs": 40, "min_epochs": 0, "batch_size": 100},
    "self-supervised": {"scale": 1.2, "epochs": 40, "min_epochs": 0, "batch_size": 100},
    "distribution": {"scale": 4.0, "alpha": 1e-4, "learning_rate": 1e-2, "batch_size": 100},
    "fresh": {"form": "saturated", "directions": 64, "batch_size": 600, "epochs": 100, "min_epochs": 79, "members": 1},
}


@pytest.mark.parametrize("method", ALEXNET)
def test_defaults_of_alexnet(method):
    args = with_defaults(alexnet.task, train_noise_alexnet.Arguments(method=method))
    expected = ALEXNET[method] | {"public_labels": "digits", "max_accuracy_loss": 0.0195, "min_accuracy": None, "parallel": 20}
    expected |= METHODS[method].own_settings
    assert {name: getattr(args, name) for name in expected} == expected


def test_the_task_names_the_method_and_the_folder(tiny_task):
    args = with_defaults(lenet.task, Arguments(task="lenet"))
    assert (args.method, str(args.output)) == ("self-supervised", "runs/lenet/noise")
    assert with_defaults(alexnet.task, Arguments(task="alexnet")).method == "additive"


# Flags that mean nothing, and values that make no sense.


def test_an_unknown_method():
    with pytest.raises(InputError) as error:
        completed(Arguments(method="v4"), {})
    assert str(error.value) == "--method: found 'v4', expected " + ", ".join(METHODS)


@pytest.mark.parametrize(
    ("method", "recipe"),
    [("additive", "authors"), ("fresh", "authors"), ("self-supervised", "paper"), ("distribution", "")],
)
def test_an_unknown_recipe(method, recipe):
    if recipe == "":  # as if it was not given
        assert completed(Arguments(method=method, recipe=recipe), {}).recipe == "suite"
        return
    expected = ", ".join(METHODS[method].recipes)
    with pytest.raises(InputError, match=re.escape(f"--recipe {recipe}: --method {method} has {expected}")):
        completed(Arguments(method=method, recipe=recipe), {})


@pytest.mark.parametrize(("method", "name"), [(method, name) for method in METHODS for name in sorted(VALUES)])
def test_flags_of_another_method(method, name):
    """Every flag is either of the method or refused; none is ignored."""
    beside = {"private_labels": True} if name == "gamma" and method == "distribution" else {}
    args = Arguments(method=method, **{name: VALUES[name]}, **beside)
    if name in OWN[method]:
        assert getattr(completed(args, {}), name) == VALUES[name]
        return
    with pytest.raises(InputError) as error:
        completed(args, {})
    only = "without --private-labels" if name == "gamma" else f"with --method {method}"
    assert str(error.value) == f"{flag(name)}: found {VALUES[name]}, which means nothing {only}"


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        ("additive", {"location": float("inf")}, "--location: found inf, expected a finite number"),
        ("additive", {"scale": -1.0}, "--scale: found -1.0, expected at least 0"),
        ("self-supervised", {"clustering_weight": -0.1}, "--clustering-weight: found -0.1, expected at least 0"),
        ("distribution", {"scale": 0.0}, "--scale: found 0.0, expected more than 0, for a distribution has a scale"),
        ("distribution", {"alpha": float("nan")}, "--alpha: found nan, expected at least 0"),
        ("distribution", {"max_sse": -1.0}, "--max-sse: found -1.0, expected at least 0"),
        ("distribution", {"gamma": 0.1}, "--gamma: found 0.1, which means nothing without --private-labels"),
        ("distribution", {"private_labels": True, "gamma": -1.0}, "--gamma: found -1.0, expected at least 0"),
        (
            "distribution",
            {"learn_redrawn": True, "no_learn_redrawn": True},
            "--learn-redrawn: found with --no-learn-redrawn, expected one of them",
        ),
        ("fresh", {"directions": 0}, "--directions: found 0, expected at least 1"),
        ("fresh", {"members": 2}, "--members: found 2, expected 1, for fresh noise has no members"),
        ("pac", {"members": 2}, "--members: found 2, expected 1, for --method pac has no members"),
        ("cloak", {"alpha": -1.0}, "--alpha: found -1.0, expected at least 0"),
    ],
)
def test_values_that_make_no_sense(method, fields, message):
    with pytest.raises(InputError) as error:
        completed(Arguments(method=method, **fields), {})
    assert str(error.value) == message


# What the protocols ask.


@pytest.fixture(scope="module")
def rows(tiny_task):
    """A small network, and what it is learned on and judged by."""
    task = read_task(tiny_task)
    split = SplitNetwork(task.labels["half"].network(task.labels["half"].weights()), "relu")
    images = task.datasets["quarters"].load(tiny_task.parent, {"train": None})["train"]
    activations, labels = split.activations(images.make(list(range(200)))), task.labels["half"].public(images.labels)
    return split, (activations[50:], labels[50:]), (activations[:50], labels[:50])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_and_answers_as_the_protocols_say(name, rows, tmp_path, monkeypatch):
    """What `Learner` and `Stored` promise is all that steps 1 and 2 and the attack rely on."""
    monkeypatch.setattr("shredder.learn.defences._UPDATES", 50)
    args = completed(Arguments(method=name, batch_size=70), {"max_sse": 1e3, "directions": 2})
    n = 2 if METHODS[name].defaults(args)["members"] > 1 else 1
    first, second = (
        learner(METHODS[name].of(args, None), *rows, Settings(n, n, 3, 1, -1.0, args.batch_size), seed) for seed in (0, 9)
    )
    first.epoch()
    assert first.log == [] and first.n_rejected == 0
    # The state after an epoch decides all that follows.
    second.restore(copy.deepcopy(first.state()))
    for one in (first, second):
        one.epoch()
    assert first.log == second.log and first.curves == second.curves and first.n_rejected == 0
    assert [len(row) for row in first.log] == n * [len(LOG) + len(first.conditions)]
    assert [len(row) for row in first.curves] == 2 * n * [len(CURVES) + len(first.conditions)]
    stored = first.stored
    # Laplace noise of one scale is what v1's rule draws from two tensors.
    assert stored.shape == (2, 4, 4) and len(stored) == (2 if name == "isotropic-laplace" else n) and first.rule in stored.rules
    files = {path.name: content for path, content in stored.files(tmp_path).items()}
    assert files == {path.name: content for path, content in second.stored.files(tmp_path).items()}
    assert stored.NAMES[0] in files.keys() <= set(stored.NAMES)
    channel = Channel(stored, first.rule)
    assert channel.sent(channel.signal(rows[2][0]), np.random.default_rng(0)).shape == (50, 2, 4, 4)
    summary = first.summary(*rows[2])
    assert summary["clean test accuracy"] > 0.95 and 0 <= summary["average test accuracy"] <= 1


@pytest.mark.parametrize("method", [name for name, of in METHODS.items() if of.own_settings])
def test_what_a_task_has_for_members_is_not_for_a_single_noise(method):
    own, of_task = METHODS[method].own_settings, {"members": 20, "parallel": 20, "epochs": 3, "min_epochs": 2, "batch_size": 7}
    found = completed(Arguments(method=method), of_task)
    assert found.members == found.parallel == 1 and found.batch_size == 7
    assert all(getattr(found, name) == value for name, value in own.items())
    assert completed(Arguments(method=method, epochs=9, min_epochs=5), of_task).epochs == 9
