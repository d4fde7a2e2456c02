"""Step 1 from the learner to the files: shares, a progress bar, checkpoints that a killed run continues from, results."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shredder.io import checkpoints, ranks
from shredder.io.cli import InputError
from shredder.io.files import csv_table, write_together
from shredder.io.record import RECORD, Record, report
from shredder.io.terminal import progress
from shredder.learn.learner import CURVES, LOG, Learner, Settings
from shredder.learn.shares import ONLY, Share, joined, names, remove, shares
from shredder.noise.load import names_of_files

LOGS = ("training.csv", "curves.csv")
_SECONDS_BETWEEN_CHECKPOINTS = 2.0


def written(settings: Settings) -> tuple[str, ...]:
    """All that `learned` and `finish` write or remove."""
    return (*names_of_files(), *LOGS, *names(shares(settings)))


def learned(begin: Callable[[Settings, np.random.Generator], Learner], settings: Settings, seed: int, folder: Path, key: str):
    """Learn all shares of members, each by one process; the first process gets them together, as one Learner, the others None.

    Parameters
    ----------
    begin : callable
        Makes a Learner of a share's settings and generator.
    folder, key
        As of `learn`, which says what is raised.
    """
    of = shares(settings)
    if ranks.rank() == 0 and len(of) < ranks.world():
        print(
            f"{ranks.world()} processes, and {len(of)} of them learn: {settings.members} members are divided in shares "
            f"of --parallel {settings.parallel}; expected a smaller one"
        )

    def learn_share(share: Share) -> Learner:
        learning = begin(share.settings(settings), share.rng(seed))
        learn(learning, folder, key, share)
        return learning

    if len(of) == 1:
        if ranks.rank():
            return None
        with ranks.alone():
            return learn_share(*of)
    ranks.each(lambda share: learn_share(share) and None, of)
    if ranks.rank():
        return None
    learning, states = begin(settings, of[0].rng(seed)), [checkpoints.read(share.place(folder), key) for share in of]
    learning.restore(joined([state for _, state in states]))
    return learning


def learn(learning: Learner, folder: Path, key: str, share: Share = ONLY) -> None:
    """Run `learning` to its end, continuing from the checkpoint in `folder` where there is one, and keeping one as it goes.

    Parameters
    ----------
    folder : Path
        Where the results will be. The checkpoint is written there every few seconds; `finish` removes it.
    key : str
        As from `shredder.io.record.key`. A checkpoint of another one is not touched.
    share : Share
        Of several one is kept when it is finished, too.

    Raises
    ------
    InputError
        If the checkpoint is of a run with other arguments, or damaged, as is the one before it, or its state is not of such a
        run; or if the accuracy target is out of reach, or learning leaves the range of numbers: the logs are written then.
    """
    place = share.place(folder)
    resume(learning, place, key)
    settings, written = learning.settings, time.monotonic()
    expected = settings.members * (settings.min_epochs + 1)
    desc = f"share {share.number + 1} of {share.of}" if share.of > 1 else None
    with progress(expected, unit="member-epoch", initial=len(learning.curves), smoothing=0.05, desc=desc) as bar:
        while len(learning.log) < settings.members:
            try:
                learning.epoch()
            except InputError:  # there is nothing to go on from, and the next attempt will have other arguments
                write_together(logs(learning, folder))
                remove([Share(number, share.of) for number in range(share.of)], folder)
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
                checkpoints.write(place, key, learning.state())
                written = time.monotonic()
    if share.of > 1:
        checkpoints.write(place, key, learning.state())


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
    remove(shares(learning.settings), folder)
    report(folder, results)
