"""Step 1: learn noise for a frozen AlexNet (Shredder v1: additive, cross-entropy alone, unless --method says v2 or v3).

    python train_noise_alexnet.py                                                    # 5,000 embedded digits, half a minute
    python train_noise_alexnet.py --dataset imagenet --data-root /path/to/ILSVRC     # the paper's setting: hours, 47 GB of disk
    python train_noise_alexnet.py --method fresh                                     # noise with a bound in bits, a minute

The edge runs once over the training images. Members are then learned side by side on its output, a' = a + n, until the held-out
tenth of the training images accepts as many as are wanted. The folder `--output` receives the collection (additive.npy; v2 also
multiplicative.npy; v3 distributions.npy, orders.npy; fresh fresh-*.npy), training.csv, curves.csv and run.json; the test images
(ImageNet's `val`, which the authors accept by) are reported, never used.
Digits tolerate v1's initial noise as it is: at the defaults members pass after one epoch, hardly changed.
Interrupted, the same command continues where it was and ends with the same bits.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from models.alexnet import CUTTING_POINTS, pretrained_alexnet, weights_file
from shredder.inputs.activations import cached_activations, remove, reserve
from shredder.inputs.images import load_images
from shredder.io import folders
from shredder.io.cli import InputError, in_float32, require_at_least, require_one_of, script
from shredder.io.record import Record, fingerprint
from shredder.learn.flags import MethodArguments, MethodName, completed, learner
from shredder.learn.members import OutOfReachError, Settings
from shredder.learn.run import WRITTEN, finish, learn, summary
from shredder.metrics import clean_accuracy
from shredder.split import SplitNetwork

DISTRIBUTION = {"learn_redrawn": True, "max_sse": 0.1, "alpha": 1e-4}
SELF_SUPERVISED = {"scale": 1.2, "clustering": "normalised", "clustering_weight": None, "learn_redrawn": False}
DEFAULTS = {
    ("additive", "suite"): {"location": 0.6, "scale": 1.2, "learning_rate": 1e-4},
    ("self-supervised", "suite"): SELF_SUPERVISED,
    ("self-supervised", "authors"): SELF_SUPERVISED,
    ("distribution", "suite"): DISTRIBUTION | {"scale": 4.0, "learning_rate": 1e-2},
    # The paper does not say its b.
    ("distribution", "authors"): DISTRIBUTION | {"scale": 4.0, "learning_rate": 1e-4, "learn_redrawn": False},
    ("fresh", "suite"): {"form": "saturated", "learning_rate": 1e-2, "directions": 64}
    | {"members": 1, "batch_size": 600, "epochs": 100, "min_epochs": 79},
}
# Where activations go that are too many for memory, of the training and of the test images, and notes of how far they are.
ACTIVATIONS = ("train-activations.f32", "test-activations.f32", "train-activations.json", "test-activations.json")
# Where a method has none of its own.
COMMON = {"members": 20, "epochs": 40, "min_epochs": 0, "batch_size": 100}


@dataclass(frozen=True)
class Arguments(MethodArguments):
    """Learn noise for AlexNet's activations; no weight changes."""

    method: MethodName = "additive"
    dataset: Literal["mnist-5k", "mnist", "imagenet"] = "mnist-5k"
    """mnist-5k, mnist: digits of 3x224x224, and the network that reads them. imagenet: ILSVRC 2012, which you bring."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST, downloaded there if absent; or of ImageNet's `train` and `val`."""
    images: int | None = None
    """Training images, so many of a fixed random order. Default: all."""
    skip_corrupt: bool = False
    """Leave out images that cannot be decoded; else they end the run."""
    weights: Path | None = None
    """The network: .safetensors, or a torch.save state dict. Default: the shipped one (digits), torchvision's (imagenet)."""
    cutting_point: str = "pool5"
    """The layer whose output is sent: pool1, pool2, relu3, relu4 or pool5; models/README.md has their shapes."""
    members: Annotated[int | None, arg(aliases=["--collection"])] = None
    """Tensors or distributions to collect. Default: 20; of fresh noise there is one."""
    parallel: int = 20
    """Members learned side by side."""
    epochs: int | None = None
    """Epochs after which a member that was not accepted is given up. Default: 40; fresh 100."""
    min_epochs: int | None = None
    """A member is accepted after more epochs than these. Default: 0; fresh 79."""
    min_accuracy: float | None = None
    """A member is accepted above this held-out accuracy. Default: by --max-accuracy-loss."""
    max_accuracy_loss: float = 0.0195
    """By how much the clean network's held-out accuracy may be missed, where --min-accuracy is not given. The authors' noise
    costs 1.95 points on ImageNet (v2 Table 1)."""
    batch_size: int | None = None
    """Activations for one update. Default: 100; fresh, which takes their covariance: 600."""
    seed: int = 0
    """Initial tensors, order of the batches, and draws."""
    output: Path = Path("runs/alexnet/noise")
    """Folder for the results."""


def with_defaults(args: Arguments) -> Arguments:
    """`args` with nothing left open but the accuracy to exceed. Raises InputError."""
    weights = args.weights or weights_file("imagenet" if args.dataset == "imagenet" else "digits")
    return replace(completed(args, DEFAULTS, **COMMON), weights=weights)


@in_float32
@folders.claims(*WRITTEN, *ACTIVATIONS)
def main(args: Arguments) -> None:
    """Learn, report, write what was learned and its records."""
    args = with_defaults(args)
    record = Record(args)
    require_at_least(args, seed=0, max_accuracy_loss=0)
    settings = Settings(args.members, args.parallel, args.epochs, args.min_epochs, args.min_accuracy or 0, args.batch_size)
    settings.check()
    if args.private_labels:
        raise InputError(f"--private-labels: {args.dataset} has no label beside the one that the cloud answers")
    require_one_of(args, cutting_point=CUTTING_POINTS)
    variant = "imagenet" if args.dataset == "imagenet" else "digits"
    split = SplitNetwork(pretrained_alexnet(variant, args.weights), args.cutting_point)
    train, test = (load_images(args.dataset, args.data_root, part, n) for part, n in (("train", args.images), ("test", None)))

    shape = CUTTING_POINTS[args.cutting_point]
    files = {args.output / name: part for name, part in zip(ACTIVATIONS, (train, test), strict=False)}
    reserve(shape, files)
    of_activations = fingerprint(args, args.weights, only=("dataset", "images", "cutting_point"))
    (activations, labels), (test_activations, test_labels) = (
        cached_activations(split, images, shape, path, of_activations, args.skip_corrupt) for path, images in files.items()
    )
    # The images come in random order: the first tenth of them is held out.
    n = len(labels) // 10
    if n == 0:
        raise InputError(f"--images: found {len(labels)} training images, expected at least 10, for a tenth is held out")
    held_out = activations[:n], labels[:n]
    if args.min_accuracy is None:
        settings = replace(settings, min_accuracy=clean_accuracy(split, *held_out) - args.max_accuracy_loss)
    learning = learner(args, split, (activations[n:], labels[n:]), held_out, settings)
    try:
        learn(learning, args.output, fingerprint(args, args.weights) + train.digest())
    except OutOfReachError:
        for path in files:
            remove(path)
        raise

    results = summary(learning, test_activations, test_labels) | {"accuracy to exceed": settings.min_accuracy}
    finish(learning, args.output, record, results)
    for path in files:
        remove(path)


if __name__ == "__main__":
    script(main, Arguments)
