"""Step 1 from the learner to the files: a progress bar, a checkpoint that a killed run continues from, results."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shredder.io import checkpoints
from shredder.io.cli import InputError
from shredder.io.files import csv_table, write_together
from shredder.io.record import RECORD, Record, report
from shredder.io.terminal import progress
from shredder.learn.learner import CURVES, LOG, Learner
from shredder.noise.load import names_of_files

LOGS = ("training.csv", "curves.csv")
_SECONDS_BETWEEN_CHECKPOINTS = 2.0


def written() -> tuple[str, ...]:
    """All that `learn` and `finish` write or remove."""
    return (*names_of_files(), *LOGS, *checkpoints.NAMES)


def learn(learning: Learner, folder: Path, key: str) -> None:
    """Run `learning` to its end, continuing from the checkpoint in `folder` where there is one, and keeping one as it goes.

    Parameters
    ----------
    folder : Path
        Where the results will be. The checkpoint is written there every few seconds; `finish` removes it.
    key : str
        As from `shredder.io.record.key`. A checkpoint of another one is not touched.

    Raises
    ------
    InputError
        If the checkpoint is of a run with other arguments, or damaged, as is the one before it, or its state is not of such a
        run; or if the accuracy target is out of reach, or learning leaves the range of numbers: the logs are written then.
    """
    resume(learning, folder, key)
    settings, written = learning.settings, time.monotonic()
    expected = settings.members * (settings.min_epochs + 1)
    with progress(expected, unit="member-epoch", initial=len(learning.curves), smoothing=0.05) as bar:
        while len(learning.log) < settings.members:
            try:
                learning.epoch()
            except InputError:  # there is nothing to go on from, and the next attempt will have other arguments
                write_together(logs(learning, folder))
                checkpoints.remove(folder)
                raise
            latest = learning.curves[-max(1, len(learning.curves) - bar.n) :]
            loss, accuracy, snr = np.mean([row[2 : len(CURVES)] for row in latest], axis=0)
            bar.total = expected + learning.n_rejected * settings.epochs
            bar.set_postfix_str(
                f"loss {loss:.3f}, held-out accuracy {accuracy:.4f}, SNR {snr:.3g}, "
                f"members {len(learning.log)}/{settings.members}",
                refresh=False,
            )
            bar.update(len(latest))
            if time.monotonic() - written > _SECONDS_BETWEEN_CHECKPOINTS:
                checkpoints.write(folder, key, learning.state())
                written = time.monotonic()


def resume(learning: Learner, folder: Path, key: str) -> None:
    """Put `learning` where the checkpoint in `folder` left off, if there is one. Raises InputError as `learn` does."""
    if kept := checkpoints.read(folder, key):
        path, state = kept
        try:
            learning.restore(state)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: not the state of such a run ({error}); remove it to begin anew") from error


def logs(learning: Learner, folder: Path) -> dict[Path, bytes]:
    """What has happened so far: a row for each accepted member, and one for each member and epoch."""
    rows = (LOG, learning.log), (CURVES, learning.curves)
    return {
        folder / name: csv_table(columns + tuple(learning.conditions), of_name)
        for name, (columns, of_name) in zip(LOGS, rows, strict=True)
    }


def finish(learning: Learner, folder: Path, record: Record, results: Mapping[str, Any]) -> None:
    """Write what was learned, its logs and the run record to `folder`, remove the checkpoint, and print the results."""
    others = dict.fromkeys(
        folder / name for name in names_of_files()
    )  # what another method has left does not belong to this record
    record.write(folder / RECORD, others | learning.stored.files(folder) | logs(learning, folder), results)
    checkpoints.remove(folder)
    report(folder, results)
