"""Points of a figure: steps 1, 2 and 3 for one setting, done once and found again by their arguments, weights and code."""

import contextlib
import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import ite
import shredder.attack.step as attack_step
import shredder.learn.step as learn_step
import shredder.sample.step as sample_step
from shredder.io import folders, kept
from shredder.io.cli import InputError
from shredder.io.record import RECORD, key, read_record, require_whole
from shredder.learn.learner import OutOfReachError
from shredder.task import read_task

# Where a point's steps write.
FOLDERS = ("noise", "sample", "attacks")
# Files of a point's own.
WRITTEN = ("point.kept", "report.txt")
# The authors estimate from so many of AlexNet's 150,528 image columns.
COLUMNS = 51_984


def lenet_point(
    args: Any,
    n_samples: int | None = None,
    judged_on: int | None = None,
    n_splits: int = 5,
    draw: str | None = None,
    attack: attack_step.Arguments | None = None,
    **learn: Any,
) -> dict[str, Any]:
    """Steps 1 to 3 for LeNet with `learn` in place of step 1's defaults.

    With `n_samples` queries, whose draws are judged on so many images; all of them, if None.
    """
    learn = {"method": "distribution", "dataset": "mnist-5k" if args.quick else "mnist"} | learn
    if args.quick and learn["method"] == "self-supervised":
        learn = {"members": 6} | learn
    if args.quick and learn["method"] == "distribution":
        learn = {"members": 6, "epochs": 60, "min_epochs": 59} | learn
    return task_point(args, "lenet", attack, n_splits, n_samples=n_samples, judged_on=judged_on, draw=draw, learn=learn)


def task_point(
    args: Any,
    task: str,
    attack: attack_step.Arguments | None,
    n_splits: int,
    learn: Mapping[str, Any],
    **sample: Any,
) -> dict[str, Any]:
    """Steps 1 to 3 for a task, with `learn` in place of step 1's defaults, and `sample` of step 2's."""
    every = {"data_root": args.data_root, "seed": args.seed, "device": args.device}
    first = learn_step.Arguments(task=task, **every, **learn)
    second = sample_step.Arguments(dataset=learn["dataset"], weights=learn.get("weights"), **every, **sample)
    return measured(args.points, first, second, n_splits, attack=attack)


def alexnet_point(
    args: Any, draw: str | None = None, attack: attack_step.Arguments | None = None, **learn: Any
) -> dict[str, Any]:
    """Steps 1 to 3 for AlexNet on some embedded digits: at its early cutting points more would take an hour."""
    few = {"method": "distribution", "members": 3, "images": 200, "batch_size": 20, "min_epochs": 1, "epochs": 3}
    first = learn_step.Arguments(task="alexnet", seed=args.seed, device=args.device, **(few | learn))
    # A single image for judging: step 1 has judged as many draws as there are members on all test images.
    second = sample_step.Arguments(seed=args.seed, device=args.device, n_samples=300, judged_on=1, draw=draw)
    return measured(args.points, first, second, n_splits=3, image_columns=COLUMNS, attack=attack)


def measured(
    folder: Path,
    learn: learn_step.Arguments,
    sample: sample_step.Arguments,
    n_splits: int,
    image_columns: int | None = None,
    attack: attack_step.Arguments | None = None,
) -> dict[str, Any]:
    """What steps 1 and 2 report for one setting, and what the estimator of step 3 says to their sample.

    Parameters
    ----------
    folder : Path
        Of all points. Each has a folder of its own there, named by a hash of its key. A finished point is read from it; an
        unfinished one goes on where it was.
    learn, sample : dataclass
        Arguments of steps 1 and 2. Where they write, and what step 2 reads, is filled in.
    n_splits : int
        Random halves that the estimate is repeated over; of none there is no estimate.
    image_columns : int, optional
        Estimate with so many leading columns of the images.
    attack : dataclass, optional
        Arguments of an attack on what step 1 learned.

    Returns
    -------
    dict
        `learned`, `sampled` and, if there was an attack, `attacked`, the results of the run records; `information`, as from
        `estimates`. Where too many members missed their accuracy, `unreached` instead: the reason. And `folder`, the point's.
    """
    learn = learn_step.with_defaults(read_task(learn.task), learn)
    weights = [path for path in (learn.weights, learn.private_weights) if path]
    others = [key(arguments, []) for arguments in (sample, attack) if arguments]
    of_point = json.dumps([key(learn, weights), *others, n_splits, image_columns])
    place = folder / hashlib.sha256(of_point.encode()).hexdigest()[:16]
    with folders.claimed(place, WRITTEN):
        for name in FOLDERS:
            if reason := _damage(place / name, but=sample_step.ARRAYS if name == "sample" else ()):
                print(f"{reason}; the point is made anew")
                (place / "point.kept").unlink(missing_ok=True)
        steps = [(learn_step.run, learn), (sample_step.run, sample), *([(attack_step.run, attack)] if attack else [])]
        point = kept.once(place / "point.kept", of_point, lambda: _measure(place, steps, n_splits, image_columns))
        for name in sample_step.ARRAYS:  # up to a gigabyte a point, and quickly made again
            (place / "sample" / name).unlink(missing_ok=True)
    return point | {"folder": place}


def _measure(
    place: Path, steps: list[tuple[Callable[[Any], None], Any]], n_splits: int, image_columns: int | None
) -> dict[str, Any]:
    place.mkdir(parents=True, exist_ok=True)
    # The steps' reports go to a file: what counts of them is drawn.
    with open(place / "report.txt", "w") as report, contextlib.redirect_stdout(report):
        try:
            for (run, arguments), name in zip(steps, FOLDERS, strict=False):
                noise = {} if name == "noise" else {"noise": place / "noise"}
                if not (place / name / RECORD).exists() or _damage(place / name):
                    run(dataclasses.replace(arguments, output=place / name, **noise))
        except OutOfReachError as error:
            return {"unreached": str(error)}
    information = estimates(place / "sample", n_splits, image_columns) if n_splits else {}
    results = {
        name: read_record(place / step / RECORD)["results"]
        for name, step, _ in zip(("learned", "sampled", "attacked"), FOLDERS, steps, strict=False)
    }
    return {"information": information} | results


def estimates(sample: Path, n_splits: int, image_columns: int | None = None) -> dict[str, list[float]]:
    """Mutual information of images with clean and with noisy activations of `sample`, over random halves.

    Returns
    -------
    dict of str to list of float
        In nats, one value for each split. `before`, `after`: of the arrays as they are. `standardised before`, `standardised
        after`: images and activations each divided by their own mean spread, so that the size of the noise does not count.
    """
    images, clean, noisy = (
        (array := np.load(sample / f"{name}.npy", mmap_mode="r")).reshape(len(array), -1)
        for name in ("original_images", "original_activations", "noisy_activations")
    )
    distances, values = ite.Distances([images[:, :image_columns], clean, noisy]), {}
    for name, block in (("before", 1), ("after", 2)):
        y = distances.blocks(0, block)
        for prefix, rows in (("", y), ("standardised ", y.standardized())):
            estimator = ite.cost.MIShannon_DKL(rng=0, n_splits=n_splits)
            with warnings.catch_warnings():
                for warning in (ite.UnsupportedEstimate, ite.RepeatedValues):  # docs/results.md says what these are worth
                    warnings.simplefilter("ignore", warning)
                estimator.estimation(rows)
            values[prefix + name] = np.atleast_1d(estimator.last_run).tolist()
    return values


def _damage(folder: Path, but: Collection[str] = ()) -> str | None:
    """What is wrong with the files that the record in `folder` lists, if there is one, but for those named `but`."""
    if not (folder / RECORD).exists():
        return None
    try:
        require_whole(folder, but)
    except InputError as error:
        return str(error)
    return None
