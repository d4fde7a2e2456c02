"""Step 2: sample noisy and clean LeNet activations to .npy, one draw of noise for each query.

    python sample_mutual_info_lenet.py                                       # shipped tensors, 1,000 embedded digits
    python sample_mutual_info_lenet.py --dataset mnist --n-samples 10000     # full MNIST, a minute on two cores

Writes noisy_activations.npy, original_activations.npy (n, 120, 1, 1), original_images.npy (n, 1024), labels.npy (n, 1),
draws.csv and run.json. A row of draws.csv is one query's draw, applied to the whole test set: its SNR, the accuracy of the
public network (digit > 5), and the accuracy with which the private network, never trained on noise, reads the digit from
its own activations. Step 3, mutual_info_ite.ipynb, reads these files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from models.lenet import CUTTING_POINTS, WEIGHTS, pretrained_lenet
from shredder import runs
from shredder.datasets import digit_gt5, load_digits, to_network_input
from shredder.metrics import ActivationMoments, mean_and_spread, noisy_accuracy
from shredder.noise import load_collection, noisy
from shredder.sampling import draw_noise
from shredder.split import SplitNetwork

SHIPPED = Path(__file__).parent / "artifacts" / "lenet" / "noise"
DRAWS = ("snr", "public_accuracy", "private_accuracy")
# Draws judged at once: one matrix product serves them all.
DRAWS_AT_ONCE = 50


@dataclass(frozen=True)
class Arguments:
    """Sample noisy and clean activations of LeNet, and judge every draw on the whole test set."""

    additive: Path = SHIPPED / "additive.npy"
    """Additive tensors, float32 (N, *activation shape)."""
    multiplicative: Path = SHIPPED / "multiplicative.npy"
    """Multiplicative tensors, as many."""
    skip_rows: int = 0
    """Leading rows of both files to leave out; the authors' own files need 1."""
    public_weights: Path = WEIGHTS[2]
    """The network that the cloud serves (digit > 5)."""
    private_weights: Path = WEIGHTS[10]
    """The adversary's network (the digit)."""
    cutting_point: str = "relu5"
    """Where the tensors were learned: s2 (6x14x14), s4 (16x5x5) or relu5 (120x1x1)."""
    dataset: Literal["mnist-5k", "mnist"] = "mnist-5k"
    """mnist-5k: 1,000 test digits from a PyPI wheel. mnist: MNIST's 10,000."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST; downloaded there if absent."""
    draw: Literal["order-preserving", "verbatim"] = "order-preserving"
    """How a query draws its noise: v2's rule, or a stored pair verbatim."""
    n_samples: int | None = None
    """Queries: the first so many test digits. Default: all of them."""
    seed: int | None = None
    """Seed of the draws. Default: from the operating system, so that nobody can guess them."""
    output: Path = Path("runs/lenet/sample")
    """Folder for the results."""


def judge_draws(
    public: SplitNetwork, private: SplitNetwork, images: Tensor, digits: Tensor, noise: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """SNR, public and private accuracy of each draw over all `images`; each float64 (Q,)."""
    public_activations, private_activations = public.activations(images), private.activations(images)
    moments, public_labels = ActivationMoments(public_activations), digit_gt5(digits)
    columns = []
    with tqdm(total=len(noise[0]), unit="draw") as bar:
        for draws in zip(*(tensor.split(DRAWS_AT_ONCE) for tensor in noise), strict=True):
            snr = moments.snr(*draws)
            public_accuracy = noisy_accuracy(public, public_activations, public_labels, *draws)
            private_accuracy = noisy_accuracy(private, private_activations, digits, *draws)
            columns.append(torch.stack([snr, public_accuracy, private_accuracy]))
            bar.set_postfix_str(
                f"SNR {snr.mean():.3g}, public {public_accuracy.mean():.4f}, private {private_accuracy.mean():.4f}"
            )
            bar.update(len(snr))
    return tuple(torch.cat(columns, dim=1))


def main(args: Arguments) -> None:
    """Draw, judge, write."""
    record = runs.Record(args)
    runs.require_at_least(args, seed=0)
    runs.require_one_of(args, cutting_point=CUTTING_POINTS)
    collection = load_collection(args.additive, args.multiplicative, CUTTING_POINTS[args.cutting_point], args.skip_rows)
    public = SplitNetwork(pretrained_lenet(2, args.public_weights), args.cutting_point)
    private = SplitNetwork(pretrained_lenet(10, args.private_weights), args.cutting_point)
    test = load_digits(args.dataset, args.data_root)
    images, digits = to_network_input(test.test_images), test.test_labels
    n = len(images) if args.n_samples is None else args.n_samples
    if not 1 <= n <= len(images):
        raise runs.InputError(f"--n-samples: found {n}, expected 1 to {len(images)}, the test digits of {args.dataset}")
    runs.prepare_output(args.output)

    noise = draw_noise(collection, n, args.draw, np.random.default_rng(args.seed))
    original = public.activations(images[:n])
    snr, public_accuracy, private_accuracy = judge_draws(public, private, images, digits, noise)

    results = {"queries": n, "members": len(collection), "average SNR": snr.mean().item()}
    for name, values in {"public": public_accuracy, "private": private_accuracy}.items():
        results[f"average {name} accuracy"], results[f"spread of {name} accuracy"] = mean_and_spread(values)
    arrays = {
        "noisy_activations.npy": noisy(original, *noise).numpy(),
        "original_activations.npy": original.numpy(),
        "original_images.npy": images[:n].flatten(1).numpy(),
        "labels.npy": digits[:n, None].numpy(),
    }
    draws = zip(snr.tolist(), public_accuracy.tolist(), private_accuracy.tolist(), strict=True)
    runs.write_together(
        {args.output / name: runs.npy(array) for name, array in arrays.items()}
        | {
            args.output / "draws.csv": runs.csv_table(DRAWS, draws),
            args.output / "run.json": record.content(results),
        }
    )
    runs.report(args.output, results)


if __name__ == "__main__":
    runs.script(main, Arguments)
