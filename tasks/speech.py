"""Spoken digits, as spectrograms: which digit it is is public, who speaks private.

A take is what all speakers say once, ten digits each. No take is on two sides: takes 0 to 9 are the test set, and of takes 10
to 49, in a random order, the first tenth is held out.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.speech import CUTTING_POINTS, pretrained_speech, speech_network, weights_file
from shredder.inputs.augment import shifted
from shredder.inputs.images import Images, first_of, held_out, random_order, tensor_images
from shredder.inputs.spoken import SPEAKERS, Spoken, load_spoken, to_spoken_input
from shredder.task import Dataset, Labels, Pretraining, Task

ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts" / "speech"
# Takes below are the test set. The data set's own are five, which leave 300 recordings.
TEST_TAKES = 10
# Spectrograms that the edge is given at once.
BATCH_SIZE = 500
# By method: settings for 2,400 recordings, behind the last pooling. Members are few, for so are test recordings: the estimate
# needs queries of each. docs/grounds.md says how they were chosen.
LEARN = {
    "additive": {"scale": 0.5, "learning_rate": 1e-2},
    "self-supervised": {"scale": 20.0, "batch_size": 60, "epochs": 80, "min_epochs": 60},
    "distribution": {"scale": 4.0, "alpha": 1e-4, "learning_rate": 1e-1, "epochs": 60, "min_epochs": 40},
    "fresh": {"batch_size": 200, "epochs": 80, "min_epochs": 60, "max_accuracy_loss": 0.005},
}


def digit(classes: Tensor) -> Tensor:
    """The digit of a class, which is digit * 6 + speaker."""
    return classes // len(SPEAKERS)


def speaker(classes: Tensor) -> Tensor:
    """The speaker's place in `SPEAKERS`."""
    return classes % len(SPEAKERS)


def rows_of(found: Spoken, part: str) -> Tensor:
    """Rows of one part, int64 (n,): takes in a random order, and in each its recordings; test recordings all mixed."""
    if part == "test":
        rows = (found.takes < TEST_TAKES).nonzero()[:, 0]
        return rows[random_order(len(rows))]
    rows = (found.takes >= TEST_TAKES).nonzero()[:, 0]
    rows = rows[random_order(len(rows))]
    rank = random_order(int(found.takes.max()) + 1)
    return rows[rank[found.takes[rows]].argsort(stable=True)]


def recordings(data_root: Path, parts: Mapping[str, int | None]) -> dict[str, Images]:
    """Spectrograms of the parts; a class is digit * 6 + speaker."""
    found, images = load_spoken(data_root), {}
    classes = found.digits * len(SPEAKERS) + found.speakers
    for part, n in parts.items():
        order = first_of(rows_of(found, part), n, part, "fsdd")
        images[part] = tensor_images(found.cells, classes, order, to_spoken_input, BATCH_SIZE)
    return images


def pretraining_rows(data_root: Path) -> tuple[Tensor, Tensor]:
    """Training recordings without the takes that step 1 holds out, which the network has to meet unheard."""
    found = load_spoken(data_root)
    rows = rows_of(found, "train")
    rows = rows[held_out(len(rows)) :]
    return found.cells[rows], (found.digits * len(SPEAKERS) + found.speakers)[rows]


def learn(args: Any) -> dict[str, Any]:
    """Step 1's defaults."""
    return {"members": 8, "max_accuracy_loss": 0.01, **LEARN.get(args.method, {})}


def pictures(inputs: Tensor) -> Tensor:
    """The spectrograms themselves at half their side, (n, 32, 32)."""
    return torch.nn.functional.avg_pool2d(inputs, 2).squeeze(1)


def pretraining(answers: str) -> Pretraining:
    """As the shipped networks were trained."""
    settings = {"epochs": 30, "batch_size": 60, "learning_rate": 5e-3, "weight_decay": 0.05, "label_smoothing": 0.1}
    return Pretraining(
        partial(speech_network, answers), pretraining_rows, to_spoken_input, partial(shifted, pixels=4.0), bfloat16=False,
        settings=settings,
    )  # fmt: skip


task = Task(
    name="speech",
    cutting_points=CUTTING_POINTS,
    datasets={"fsdd": Dataset(recordings, ("digit",), 8 * 64 * 64)},
    learn=learn,
    labels={
        "digit": Labels(partial(pretrained_speech, "digit"), partial(weights_file, "digit"), digit, private="speaker"),
        "speaker": Labels(partial(pretrained_speech, "speaker"), partial(weights_file, "speaker"), speaker),
    },
    shipped={"digit": ARTIFACTS / "noise"},
    pictures=pictures,
    pretraining={"digit": pretraining("digit"), "speaker": pretraining("speaker")},
)  # fmt: skip
