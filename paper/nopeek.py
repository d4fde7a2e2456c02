"""NoPeek: the edge's weights are changed, so that what is sent depends less on the input, and no noise is added."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from shredder.inputs.images import Images, held_out
from shredder.io import kept
from shredder.io.files import write_together
from shredder.io.record import key
from shredder.metrics import accuracy
from shredder.split import SplitNetwork
from shredder.task import read_task

# Weights of the distance correlation that are tried, the largest first.
WEIGHTS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
# Updates of the edge under each, rows of one, and Adam's rate at the start.
_UPDATES, _ROWS, _RATE = 1000, 256, 1e-3


@dataclass(frozen=True)
class Retraining:
    """What tells one retrained edge from another."""

    task: str
    dataset: str
    public_labels: str
    cutting_point: str
    min_accuracy: float
    seed: int


def distance_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Squared sample distance correlation of rows, in [0, 1] (Szekely, Rizzo, Bakirov 2007, definition 4).

        R^2 = V(x, y) / sqrt(V(x, x) V(y, y)),   V(x, y) the mean of A_jk B_jk,

    A and B the distances between rows of x, and of y, less the means of their row and column, plus the mean of all.

    Parameters
    ----------
    x, y : Tensor, float, (n, ...)
    """
    a, b = (_centred(_distances(of.flatten(1))) for of in (x, y))
    return (a * b).mean() / ((a * a).mean() * (b * b).mean()).sqrt().clamp(min=1e-12)


def _distances(rows: Tensor) -> Tensor:
    """(n, n), whose gradient at 0 is 0."""
    squares = rows.square().sum(1)
    square = (squares[:, None] + squares - 2 * rows @ rows.T).clamp(min=0)
    apart = square > 1e-12
    return torch.where(apart, torch.where(apart, square, 1.0).sqrt(), 0.0)


def _centred(distances: Tensor) -> Tensor:
    return distances - distances.mean(0) - distances.mean(1, keepdim=True) + distances.mean()


def retrained(how: Retraining, data_root: Path, folder: Path) -> dict[str, Any]:
    """The edge that was retrained under the largest weight with which held-out accuracy exceeds `how.min_accuracy`.

        cross-entropy(cloud(edge(x))) + weight * R^2(x, edge(x))   (Vepakomma et al. 2020), the cloud frozen

    Returns
    -------
    dict
        `weights`, the file in `folder`; `weight`; `held-out accuracy`; `distance correlation`, R^2 over held-out rows. Where no
        weight passes, `unreached`: the reason.
    """
    task = read_task(how.task)
    labels = task.labels[how.public_labels]
    of_run = key(how, [labels.weights()])
    path = folder / f"nopeek-{hashlib.sha256(of_run.encode()).hexdigest()[:16]}.safetensors"

    def made() -> dict[str, Any]:
        images, answers = _rows(task.datasets[how.dataset].load(data_root, {"train": None})["train"])
        answers, n = labels.public(answers), held_out(len(images))
        best = 0.0
        for weight in WEIGHTS:
            network = labels.network(labels.weights())
            split = SplitNetwork(network, how.cutting_point)
            _retrain(split, images[n:], answers[n:], weight, np.random.default_rng(how.seed))
            with torch.no_grad():
                sent = split.activations(images[:n])
                reached = accuracy(split.cloud(sent), answers[:n]).item()
                shown = distance_correlation(images[:1000][:n], sent[:1000]).item()
            best = max(best, reached)
            if reached > how.min_accuracy:
                write_together({path: save({name: of.contiguous() for name, of in network.state_dict().items()})})
                return {"weight": weight, "held-out accuracy": reached, "distance correlation": shown}
        return {"unreached": f"no weight down to {WEIGHTS[-1]:g} exceeded {how.min_accuracy:g}; the best was {best:.4f}"}

    return kept.once(path.with_suffix(".kept"), of_run, made) | {"weights": path}


def _rows(images: Images) -> tuple[Tensor, Tensor]:
    """All inputs, and their classes."""
    return torch.cat([some for _, some in images.batches()]), torch.as_tensor(images.labels)


def _retrain(split: SplitNetwork, images: Tensor, labels: Tensor, weight: float, rng: np.random.Generator) -> None:
    """Change the edge, in place."""
    edge: nn.Module = split.edge.requires_grad_()
    adam = torch.optim.Adam(edge.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, _UPDATES)
    for _ in range(_UPDATES):
        rows = torch.from_numpy(rng.integers(len(labels), size=_ROWS))
        sent = edge(images[rows])
        loss = functional.nll_loss(split.cloud(sent), labels[rows]) + weight * distance_correlation(images[rows], sent)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    edge.requires_grad_(False)
