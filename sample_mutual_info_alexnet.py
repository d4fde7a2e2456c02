"""Step 2: sample noisy and clean AlexNet activations to .npy, one draw of noise for each query. See docs/alexnet.md.

    python sample_mutual_info_alexnet.py                              # shipped tensors, 1,000 embedded digits, ten seconds
    python sample_mutual_info_alexnet.py --noise runs/alexnet/noise   # what step 1 has learned
    python sample_mutual_info_alexnet.py --dataset imagenet --data-root /path/to/ILSVRC --noise runs/imagenet/noise

Writes noisy_activations.npy, original_activations.npy (n, 256, 6, 6), original_images.npy (n, 150528), labels.npy and
public_labels.npy (n, 1), draws.csv and run.json: 676 kB for each query, in files that grow as it goes, so that memory does not.
A row of draws.csv is one draw, none of the queries' own, applied to the first `--judged-on` images' activations: its SNR, and
the cloud's accuracy. Step 3, mutual_info_ite.ipynb, reads these files. It is `sample_mutual_info.py --task alexnet`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Suppress

from shredder.io.cli import script
from shredder.sample import step


@dataclass(frozen=True)
class Arguments(step.Arguments):
    """Sample noisy and clean activations of AlexNet, and judge every draw."""

    task: Annotated[str, Suppress] = "alexnet"
    dataset: Literal["mnist-5k", "mnist", "imagenet"] = "mnist-5k"
    """mnist-5k, mnist: test digits of 3x224x224. imagenet: the images of ILSVRC 2012's `val` in --data-root."""
    n_samples: int | None = 1000
    """Queries: so many test images of a fixed random order."""
    judged_on: int | None = None
    """Test images whose clean activations each draw is judged on. Default: 1,000; 100 of imagenet, whose cloud is larger. A
    hundred images leave a standard error of five points, beside the spread over draws."""


def main(args: Arguments) -> None:
    """Draw, judge, write."""
    step.run(args)


if __name__ == "__main__":
    script(main, Arguments)
