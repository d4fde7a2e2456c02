"""Step 1 from the learner to the files: a progress bar, a checkpoint that a killed run continues from, results."""

import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from shredder.io import checkpoints
from shredder.io.cli import InputError
from shredder.io.files import csv_table, write_together
from shredder.io.record import RECORD, Record, report
from shredder.learn.fresh import FreshLearning, fresh_summary
from shredder.learn.members import CURVES, LOG, Learning
from shredder.metrics import ActivationMoments, clean_accuracy, mean_and_spread, noisy_accuracy
from shredder.noise.channel import Channel
from shredder.noise.fresh import Fresh

# What methods store, one or the other.
STORED = ("additive.npy", "multiplicative.npy", "distributions.npy", "orders.npy")
STORED += tuple(f"fresh-{field.name}.npy" for field in fields(Fresh))


LOGS = ("training.csv", "curves.csv")
# All that `learn` and `finish` write or remove.
WRITTEN = (*STORED, *LOGS, *checkpoints.NAMES)
_SECONDS_BETWEEN_CHECKPOINTS = 2.0


def learn(learning: Learning | FreshLearning, folder: Path, fingerprint: str) -> None:
    """Run `learning` to its end, continuing from the checkpoint in `folder` where there is one, and keeping one as it goes.

    Parameters
    ----------
    folder : Path
        Where the results will be. The checkpoint is written there every few seconds; `finish` removes it.
    fingerprint : str
        Arguments and weights, as text. A checkpoint that carries another one is not touched.

    Raises
    ------
    InputError
        If the checkpoint is of a run with other arguments, or damaged, as is the one before it, or its state is not of such a
        run; or if the accuracy target is out of reach, or learning leaves the range of numbers: the logs are written then.
    """
    if kept := checkpoints.read(folder, fingerprint):
        path, state = kept
        try:
            learning.restore(state)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: not the state of such a run ({error}); remove it to begin anew") from error
    settings, written = learning.settings, time.monotonic()
    with tqdm(unit="member-epoch", initial=len(learning.curves), smoothing=0.05) as bar:
        while len(learning.log) < settings.members:
            try:
                learning.epoch()
            except InputError:  # there is nothing to go on from, and the next attempt will have other arguments
                write_together(logs(learning, folder))
                checkpoints.remove(folder)
                raise
            latest = learning.curves[-max(1, len(learning.curves) - bar.n) :]
            loss, accuracy, snr = np.mean([row[2 : len(CURVES)] for row in latest], axis=0)
            bar.total = settings.members * (settings.min_epochs + 1) + learning.n_rejected * settings.epochs
            bar.set_postfix_str(
                f"loss {loss:.3f}, held-out accuracy {accuracy:.4f}, SNR {snr:.3g}, "
                f"members {len(learning.log)}/{settings.members}",
                refresh=False,
            )
            bar.update(len(latest))
            if time.monotonic() - written > _SECONDS_BETWEEN_CHECKPOINTS:
                checkpoints.write(folder, fingerprint, learning.state())
                written = time.monotonic()


def summary(learning: Learning | FreshLearning, activations: Tensor, labels: Tensor) -> dict[str, float | None]:
    """What a run has reached, on test activations and their public labels, which nothing was chosen by."""
    return (fresh_summary if isinstance(learning, FreshLearning) else member_summary)(learning, activations, labels)


def member_summary(learning: Learning, activations: Tensor, labels: Tensor) -> dict[str, float | None]:
    """What members have reached; arguments as for `summary`."""
    split, noise = learning.split, (learning.collection.multiplicative, learning.collection.additive)
    accuracy, spread = mean_and_spread(noisy_accuracy(split, activations, labels, *noise))
    moments, drawn_accuracy, drawn_spread = ActivationMoments(activations), None, None
    if len(learning.log) > 1:  # a single tensor has no element-wise spread
        channel = Channel(learning.stored, learning.method.draw)
        drawn = channel.tensors(channel.draws(len(learning.log), learning.rng))
        drawn_accuracy, drawn_spread = mean_and_spread(noisy_accuracy(split, activations, labels, *drawn))
    return {
        "members": len(learning.log),
        "learned parameters of a member": sum(learning.accepted[name][0].numel() for name in learning.learned),
        "updates in an epoch": -(-len(learning.learning_set[0]) // learning.settings.batch_size),
        "epochs at most": learning.settings.epochs,
        "epochs before acceptance": learning.settings.min_epochs,
        "members rejected": learning.n_rejected,
        "mean square activation": moments.second.mean().item(),
        "average held-out SNR before learning": learning.accepted["initial snr"].mean().item(),
        "average held-out accuracy before learning": learning.accepted["initial accuracy"].mean().item(),
        "average held-out SNR": float(np.mean([row[LOG.index("snr")] for row in learning.log])),
        "average SNR": moments.snr(*noise).mean().item(),
        "average epochs": float(np.mean([row[LOG.index("epoch")] for row in learning.log])),
        "average held-out accuracy": float(np.mean([row[LOG.index("accuracy")] for row in learning.log])),
        "clean test accuracy": clean_accuracy(split, activations, labels),
        "average test accuracy": accuracy,
        "spread of test accuracy": spread,
        f"average test accuracy, {learning.method.draw} draws": drawn_accuracy,
        f"spread of test accuracy, {learning.method.draw} draws": drawn_spread,
    }


def logs(learning: Learning | FreshLearning, folder: Path) -> dict[Path, bytes]:
    """What has happened so far: a row for each accepted member, and one for each member and epoch."""
    rows = (LOG, learning.log), (CURVES, learning.curves)
    return {
        folder / name: csv_table(columns + tuple(learning.limits), of_name)
        for name, (columns, of_name) in zip(LOGS, rows, strict=True)
    }


def finish(learning: Learning | FreshLearning, folder: Path, record: Record, results: Mapping[str, Any]) -> None:
    """Write what was learned, its logs and the run record to `folder`, remove the checkpoint, and print the results."""
    others = dict.fromkeys(folder / name for name in STORED)  # what another method has left does not belong to this record
    record.write(folder / RECORD, others | learning.stored.files(folder) | logs(learning, folder), results)
    checkpoints.remove(folder)
    report(folder, results)
