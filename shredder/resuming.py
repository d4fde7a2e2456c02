"""Learning to its end, with a progress bar and a checkpoint that a killed run continues from."""

import io
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from shredder import runs
from shredder.learning import Learning
from shredder.runs import InputError

_SECONDS_BETWEEN_CHECKPOINTS = 2.0


def learn(learning: Learning, checkpoint: Path, fingerprint: str) -> None:
    """Run `learning` to its end, continuing from `checkpoint` where there is one, and keeping one as it goes.

    Parameters
    ----------
    checkpoint : Path
        Written every few seconds; the caller removes it once the results are on disk.
    fingerprint : str
        Arguments and weights, as text. A checkpoint that carries another one is not touched.

    Raises
    ------
    InputError
        If the checkpoint is of a run with other arguments, or damaged; or if the accuracy target is out of reach.
    """
    if checkpoint.exists():
        learning.restore(_read_checkpoint(checkpoint, fingerprint))
    settings, written = learning.settings, time.monotonic()
    with tqdm(unit="member-epoch", initial=len(learning.curves), smoothing=0.05) as bar:
        while len(learning.log) < settings.members:
            learning.epoch()
            latest = learning.curves[-max(1, len(learning.curves) - bar.n) :]
            loss, accuracy, snr = np.mean([row[2:] for row in latest], axis=0)
            bar.total = settings.members * (settings.min_epochs + 1) + learning.n_rejected * settings.epochs
            bar.set_postfix_str(
                f"loss {loss:.3f}, held-out accuracy {accuracy:.4f}, SNR {snr:.3g}, "
                f"members {len(learning.log)}/{settings.members}",
                refresh=False,
            )
            bar.update(len(latest))
            if time.monotonic() - written > _SECONDS_BETWEEN_CHECKPOINTS:
                buffer = io.BytesIO()
                torch.save({"fingerprint": fingerprint, "state": learning.state()}, buffer)
                runs.write_together({checkpoint: buffer.getvalue()})
                written = time.monotonic()


def _read_checkpoint(path: Path, fingerprint: str) -> dict:
    try:
        found = torch.load(path, weights_only=True)
    except Exception as error:  # torch.load fails with half a dozen exception types on a damaged file
        raise InputError(f"{path}: not readable as a checkpoint ({type(error).__name__}); remove it to begin anew") from error
    if not isinstance(found, dict) or found.keys() != {"fingerprint", "state"}:
        raise InputError(f"{path}: not a checkpoint of this suite; remove it to begin anew")
    if found["fingerprint"] != fingerprint:
        raise InputError(
            f"{path}: an unfinished run with other arguments, {found['fingerprint']}; found {fingerprint}. "
            "Finish that one with its own command, choose another --output, or remove the file"
        )
    return found["state"]
