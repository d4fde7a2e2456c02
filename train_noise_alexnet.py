"""Step 1: learn noise for a frozen AlexNet (Shredder v1: additive, cross-entropy alone, unless --method says else).

    python train_noise_alexnet.py                                                    # 5,000 embedded digits, half a minute
    python train_noise_alexnet.py --dataset imagenet --data-root /path/to/ILSVRC     # the paper's setting: hours, 47 GB of disk
    python train_noise_alexnet.py --method fresh                                     # noise with a bound in bits, a minute

The edge runs once over the training images. Members are then learned side by side on its output, a' = a + n, until the held-out
tenth of the training images accepts as many as are wanted. The folder `--output` receives the collection (additive.npy; v2 also
multiplicative.npy; v3 distributions.npy, orders.npy; fresh fresh-*.npy), training.csv, curves.csv and run.json; the test images
(ImageNet's `val`, which the authors accept by) are reported, never used. Interrupted, the same command continues where it was
and ends with the same bits. It is `train_noise.py --task alexnet`.

Digits tolerate v1's initial noise as it is: at the defaults members pass after one epoch, hardly changed. See docs/alexnet.md.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Suppress

from shredder.io.cli import script
from shredder.learn import step


@dataclass(frozen=True)
class Arguments(step.Arguments):
    """Learn noise for AlexNet's activations; no weight changes."""

    task: Annotated[str, Suppress] = "alexnet"
    dataset: Literal["mnist-5k", "mnist", "imagenet"] = "mnist-5k"
    """mnist-5k, mnist: digits of 3x224x224, and the network that reads them. imagenet: ILSVRC 2012's `train` and `val` in
    --data-root, which you bring, and torchvision's weights."""
    cutting_point: str = "pool5"
    """The layer whose output is sent: pool1, pool2, relu3, relu4 or pool5; models/README.md has their shapes."""


def main(args: Arguments) -> None:
    """Learn, report, write what was learned and its records."""
    step.run(args)


if __name__ == "__main__":
    script(main, Arguments)
