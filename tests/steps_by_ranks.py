"""The steps of a task, as several processes run them: `torchrun tests/steps_by_ranks.py TASK FOLDER [killed]`."""

import os
import signal
import sys
from pathlib import Path

import numpy as np

import attack
import ite
import sample_mutual_info as sample
import train_noise as learn
from shredder.inputs import activations
from shredder.io import ranks
from shredder.io.cli import script
from shredder.learn.members import Learning
from shredder.sample import step as sampling

# Five members in shares of 1, 2 and 2, which take some epochs.
SHARES = {"members": 5, "parallel": 2, "epochs": 9, "min_epochs": 2}
# Attacks that processes take as they are; one that looks up others, whose networks they divide.
READ = {"attacks": ("all",), "networks": ("averaging",)}


def steps(task: Path, folder: Path) -> None:
    """Step 1, also with activations that are mapped from a file; step 2, in parts of seven draws; the attack; the estimator."""
    learn.main(learn.Arguments(task=task, output=folder / "noise", **SHARES))
    in_memory, activations._BYTES_IN_MEMORY = activations._BYTES_IN_MEMORY, 0
    learn.main(learn.Arguments(task=task, output=folder / "mapped", **SHARES))
    activations._BYTES_IN_MEMORY = in_memory
    at_once, sampling._DRAWS_AT_ONCE = sampling._DRAWS_AT_ONCE, 7
    sample.main(sample.Arguments(noise=folder / "noise", seed=1, output=folder / "sample"))
    sampling._DRAWS_AT_ONCE = at_once
    for name, attacks in READ.items():
        attack.main(attack.Arguments(noise=folder / "noise", attacks=attacks, output=folder / name))


def distances() -> dict[str, np.ndarray]:
    """Of neighbours by a tree and by products, with and without a basis; of fewer queries than processes."""
    rng = np.random.default_rng(0)
    few, many, wide = (rng.normal(size=shape) for shape in ((101, 3), (300, 40), (2100, 600)))
    found = {"tree": ite.neighbors.knn_distances(few, 3), "products": ite.neighbors.knn_distances(many, 3)}
    found["basis"] = ite.neighbors.knn_distances(wide.astype(np.float32), 2)
    return found | {
        "one query": ite.neighbors.knn_distances(many, 3, many[:1] + 1),
        "tree's": ite.neighbors.knn_distances(few, 2, few[:1]),
    }


def killed(task: Path, folder: Path) -> None:
    """Step 1, whose second process is killed in the third epoch of its first share, when the first has finished one."""
    usual, epochs = Learning.epoch, []

    def epoch(self):
        usual(self)
        epochs.append(self)
        if ranks.name() == "rank 1: " and len(epochs) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    Learning.epoch = epoch
    learn.main(learn.Arguments(task=task, output=folder / "noise", **SHARES))


def main(_: object) -> None:
    """Run them."""
    task, folder = map(Path, given[:2])
    if given[2:]:
        killed(task, folder)
        return
    import torch.distributed as dist

    steps(task, folder)
    ite.neighbors.GROUP = dist.group.WORLD
    found = distances()
    np.savez(folder / f"distances-{ranks.rank()}.npz", **found)


if __name__ == "__main__":
    given, sys.argv = sys.argv[1:], sys.argv[:1]
    from dataclasses import make_dataclass

    script(main, make_dataclass("Arguments", []))
