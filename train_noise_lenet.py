"""Step 1: learn noise for a frozen LeNet (Shredder v2: self-supervised, unless --method says v1 or v3). See docs/results.md.

    python train_noise_lenet.py                                              # 5,000 embedded digits, under a minute
    python train_noise_lenet.py --dataset mnist --members 150                # full MNIST, two minutes on two cores
    python train_noise_lenet.py --dataset mnist --method distribution        # v3: ten digits, 20 Laplace distributions
    python train_noise_lenet.py --dataset mnist --method fresh               # noise with a bound in bits, half a minute

The edge runs once over the training digits. Members are then learned side by side on its output, a' = w * a + n, until
the held-out tenth of the training set accepts as many as are wanted. The folder `--output` receives the collection
(additive.npy, multiplicative.npy; v3: distributions.npy, orders.npy; fresh: seven fresh-*.npy), training.csv, curves.csv and
run.json; the test set is reported, never used. Interrupted, the same command continues where it was and ends with the same
bits. It is `train_noise.py --task lenet`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Suppress

from shredder.io.cli import script
from shredder.learn import step


@dataclass(frozen=True)
class Arguments(step.Arguments):
    """Learn noise for LeNet's activations; no weight changes."""

    task: Annotated[str, Suppress] = "lenet"
    dataset: Literal["mnist-5k", "mnist"] = "mnist-5k"
    """mnist-5k: 5,000 digits from a PyPI wheel. mnist: all 70,000, downloaded to --data-root if absent."""
    public_labels: Literal["gt5", "digits"] | None = None
    """What the cloud answers: whether the digit exceeds 5, or the digit. Default: gt5 for self-supervised and fresh, else
    digits."""
    cutting_point: str = "relu5"
    """The layer whose output is sent: s2 (6x14x14), s4 (16x5x5) or relu5 (120x1x1)."""
    epochs: int | None = None
    """Epochs after which a member that was not accepted is given up. Default: 40 on mnist (distribution 100, fresh 30). On
    mnist-5k, which has a fifteenth of the digits, self-supervised and fresh 4 times as many, else 15 times."""
    min_epochs: int | None = None
    """A member is accepted after more epochs than these. Default on mnist: self-supervised 27, distribution 99, fresh 19,
    else 0."""


def main(args: Arguments) -> None:
    """Learn, report, write what was learned and its records."""
    step.run(args)


if __name__ == "__main__":
    script(main, Arguments)
