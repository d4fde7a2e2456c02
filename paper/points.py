"""Points of a figure: steps 1, 2 and 3 for one setting, done once and found again by their arguments."""

import contextlib
import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

import ite
import sample_mutual_info_alexnet
import sample_mutual_info_lenet
import train_noise_alexnet
import train_noise_lenet
from models import alexnet, lenet
from shredder.io import folders
from shredder.io.cli import InputError
from shredder.io.kept import kept
from shredder.io.record import RECORD, fingerprint, read_record, require_whole
from shredder.learn.members import OutOfReachError

# Where a point's steps write.
FOLDERS = ("noise", "sample", "attacks")
# Files of a point's own; and the arrays of step 2 that are removed when their information is known.
WRITTEN = ("point.json", "report.txt")
ARRAYS = [name for name in sample_mutual_info_lenet.WRITTEN if name.endswith(".npy")]
# A script's main, and the arguments it is to be called with.
Step = tuple[Callable[[Any], None], Any]


def lenet_point(
    args: Any, n_samples: int | None = None, draw: str | None = None, attack: Step | None = None, **learn: Any
) -> dict[str, Any]:
    """Steps 1 to 3 for LeNet with `learn` in place of step 1's defaults, and `n_samples` queries; all of them, if None."""
    learn = {"method": "distribution", "dataset": "mnist-5k" if args.quick else "mnist"} | learn
    public = learn.setdefault("public_labels", "gt5" if learn["method"] == "self-supervised" else "digits")
    if args.quick and learn["method"] in ("self-supervised", "distribution"):
        epochs = 210 if learn["method"] == "self-supervised" else 120
        learn = {"members": 6, "epochs": epochs, "min_epochs": epochs - 1} | learn
    steps = [
        train_noise_lenet.with_defaults(train_noise_lenet.Arguments(data_root=args.data_root, seed=args.seed, **learn)),
        sample_mutual_info_lenet.Arguments(
            data_root=args.data_root, seed=args.seed, dataset=learn["dataset"],
            n_samples=n_samples, public_labels=public,
            cutting_point=learn.get("cutting_point", "relu5"),
            public_weights=lenet.WEIGHTS[2 if public == "gt5" else 10], draw=draw,
        ),
    ]  # fmt: skip
    mains = train_noise_lenet.main, sample_mutual_info_lenet.main
    return measured(args.points, *zip(mains, steps, strict=True), n_splits=5, attack=attack)


def alexnet_point(args: Any, draw: str | None = None, attack: Step | None = None, **learn: Any) -> dict[str, Any]:
    """Steps 1 to 3 for AlexNet on some embedded digits: at its early cutting points more would take an hour."""
    learn = {
        "method": "distribution",
        "members": 3,
        "images": 200,
        "batch_size": 20,
        "min_epochs": 1,
        "epochs": 3,
    } | learn
    steps = [
        train_noise_alexnet.with_defaults(train_noise_alexnet.Arguments(seed=args.seed, **learn)),
        # A single image for judging: step 1 has judged as many draws as there are members on all test images.
        sample_mutual_info_alexnet.Arguments(
            seed=args.seed,
            n_samples=300,
            judged_on=1,
            cutting_point=learn.get("cutting_point", "pool5"),
            weights=alexnet.DIGIT_WEIGHTS,
            draw=draw,
        ),
    ]
    mains = train_noise_alexnet.main, sample_mutual_info_alexnet.main
    return measured(args.points, *zip(mains, steps, strict=True), n_splits=3, image_columns=51_984, attack=attack)


def measured(
    folder: Path, learn: Step, sample: Step, n_splits: int, image_columns: int | None = None, attack: Step | None = None
) -> dict[str, Any]:
    """What steps 1 and 2 report for one setting, and what the estimator of step 3 says to their sample.

    Parameters
    ----------
    folder : Path
        Of all points. Each has a folder of its own there, named by a hash of its arguments. A finished point is read from
        it; an unfinished one goes on where it was.
    learn, sample : (function, arguments)
        Steps 1 and 2. Where they write, and what step 2 reads, is filled in.
    n_splits : int
        Random halves that the estimate is repeated over.
    image_columns : int, optional
        Estimate with so many leading columns of the images; the authors take 51,984 of AlexNet's 150,528.
    attack : (function, arguments), optional
        An attack on what step 1 learned.

    Returns
    -------
    dict
        `learned`, `sampled` and, if there was an attack, `attacked`, the results of the run records; `information`, as from
        `estimates`. Where too many members missed their accuracy, `unreached` instead: the reason. And `folder`, the point's.
    """
    steps = [learn, sample, *([attack] if attack else [])]
    of_point = json.dumps([fingerprint(arguments, *_weights(arguments)) for _, arguments in steps] + [n_splits, image_columns])
    place = folder / hashlib.sha256(of_point.encode()).hexdigest()[:16]
    with folders.claimed(place, WRITTEN):
        for name in FOLDERS:
            if reason := _damage(place / name, but=ARRAYS if name == "sample" else ()):
                print(f"{reason}; the point is made anew")
                (place / "point.json").unlink(missing_ok=True)
        point = kept(place / "point.json", lambda: _measure(place, steps, n_splits, image_columns), of_point)
        for name in ARRAYS:  # up to a gigabyte a point, and quickly made again
            (place / "sample" / name).unlink(missing_ok=True)
    return point | {"folder": place}


def _measure(place: Path, steps: list[Step], n_splits: int, image_columns: int | None) -> dict[str, Any]:
    learn, *others = steps
    place.mkdir(parents=True, exist_ok=True)
    # The scripts' reports go to a file: what counts of them is drawn.
    with open(place / "report.txt", "w") as report, contextlib.redirect_stdout(report):
        try:
            _step(learn, output=place / "noise")
        except OutOfReachError as error:
            return {"unreached": str(error)}
        kinds = ("additive", "multiplicative", "distributions", "orders")
        files = {kind: place / "noise" / f"{kind}.npy" for kind in kinds}
        files = {kind: path for kind, path in files.items() if path.exists()} or {"fresh": place / "noise"}
        for step, name in zip(others, FOLDERS[1:], strict=False):
            _step(step, output=place / name, **files)
    information = estimates(place / "sample", n_splits, image_columns)
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
    images = images[:, :image_columns]
    ds, values = [images.shape[1], clean.shape[1]], {}
    for name, activations in (("before", clean), ("after", noisy)):
        y = np.hstack([images, activations])
        for prefix, rows in (("", y), ("standardised ", ite.standardize(y, ds))):
            estimator = ite.cost.MIShannon_DKL(rng=0, n_splits=n_splits)
            with warnings.catch_warnings():
                for warning in (ite.UnsupportedEstimate, ite.RepeatedValues):  # the README says what these numbers are worth
                    warnings.simplefilter("ignore", warning)
                estimator.estimation(rows, ds)
            values[prefix + name] = np.atleast_1d(estimator.last_run).tolist()
    return values


def _step(step: Step, **files: Path) -> None:
    """Run a script's main on its arguments with `files` filled in, unless its record is there, and all that it lists."""
    main, arguments = step
    if not (files["output"] / RECORD).exists() or _damage(files["output"]):
        main(dataclasses.replace(arguments, **files))


def _damage(folder: Path, but: Collection[str] = ()) -> str | None:
    """What is wrong with the files that the record in `folder` lists, if there is one, but for those named `but`."""
    if not (folder / RECORD).exists():
        return None
    try:
        require_whole(folder, but)
    except InputError as error:
        return str(error)
    return None


def _weights(arguments: Any) -> list[Path]:
    """Files of weights that the arguments name."""
    return [value for name, value in vars(arguments).items() if "weights" in name and value is not None]
