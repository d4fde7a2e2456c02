"""Step 2: sample noisy and clean AlexNet activations to .npy, one draw of noise for each query.

    python sample_mutual_info_alexnet.py                  # shipped tensors, 1,000 embedded digits, ten seconds
    python sample_mutual_info_alexnet.py --dataset imagenet --data-root /path/to/ILSVRC --additive noise/additive.npy

Writes noisy_activations.npy, original_activations.npy (n, 256, 6, 6), original_images.npy (n, 150528), labels.npy (n, 1),
draws.csv and run.json: 676 kB for each query, in files that grow as it goes, so that memory does not. A row of draws.csv is
one draw, none of the queries' own, applied to the first `--judged-on` queries' activations: its SNR, and the cloud's accuracy.
Step 3, mutual_info_ite.ipynb, reads these files.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from models.alexnet import CUTTING_POINTS, INPUT_SHAPE, pretrained_alexnet
from shredder.inputs.activations import edge_pass
from shredder.inputs.images import Images, load_images
from shredder.io import folders
from shredder.io.cli import in_float32, require_at_least, require_one_of, script
from shredder.io.files import RowFile, csv_table, require_space
from shredder.io.record import Record, report
from shredder.metrics import ActivationMoments, clean_accuracy, mean_and_spread, noisy_accuracy
from shredder.noise.channel import Channel
from shredder.noise.draws import JUDGED, query_generator
from shredder.noise.flags import NoiseArguments, source_of, with_noise
from shredder.split import SplitNetwork

SHIPPED = Path(__file__).parent / "artifacts" / "alexnet" / "noise" / "additive.npy"
DRAWS = ("snr", "accuracy")
# All that is written.
WRITTEN = ("noisy_activations.npy", "original_activations.npy", "original_images.npy", "labels.npy", "draws.csv")
# Draws made and judged at once.
DRAWS_AT_ONCE = 100


@dataclass(frozen=True)
class Arguments(NoiseArguments):
    """Sample noisy and clean activations of AlexNet, and judge every draw."""

    weights: Path | None = None
    """The network: .safetensors, or a torch.save state dict. Default: the shipped one (digits), torchvision's (imagenet)."""
    cutting_point: str = "pool5"
    """Where the tensors were learned: pool1, pool2, relu3, relu4 or pool5; models/README.md has their shapes."""
    dataset: Literal["mnist-5k", "mnist", "imagenet"] = "mnist-5k"
    """mnist-5k, mnist: test digits of 3x224x224. imagenet: the images of ILSVRC 2012's `val`."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST, downloaded there if absent; or of ImageNet's `val`."""
    skip_corrupt: bool = False
    """Leave out images that cannot be decoded; else they end the run."""
    n_samples: int = 1000
    """Queries: so many test images of a fixed random order."""
    judged_on: int | None = None
    """Queries whose clean activations each draw is judged on, at most. Default: 1,000; 100 of imagenet, whose cloud is larger.
    A hundred images leave a standard error of five points, beside the spread over draws."""
    seed: int | None = None
    """Seed of the draws, for experiments alone: whoever guesses it subtracts the noise. Default: a strong generator (ChaCha20),
    keyed by the operating system."""
    output: Path = Path("runs/alexnet/sample")
    """Folder for the results."""


def open_files(folder: Path, shape: tuple[int, ...], n: int, stack: ExitStack) -> dict[str, RowFile]:
    """The arrays to be, without a row, on `stack`, after a look at whether `folder` has room for `n` rows of each."""
    rows = {
        "original_images": ((math.prod(INPUT_SHAPE),), np.float32),
        "original_activations": (shape, np.float32),
        "noisy_activations": (shape, np.float32),
        "labels": ((1,), np.int64),
    }
    require_space(folder, n * sum(np.dtype(kind).itemsize * math.prod(row) for row, kind in rows.values()))
    return {name: stack.enter_context(RowFile(folder / f"{name}.npy", *row)) for name, row in rows.items()}


def write_clean(split: SplitNetwork, images: Images, files: dict[str, RowFile]) -> None:
    """Append images, labels and what the edge sends for them to their files, batch by batch."""
    for rows, some, activations in edge_pass(split, images):
        files["original_images"].append(some.flatten(1).numpy())
        files["original_activations"].append(activations.numpy())
        files["labels"].append(images.labels[rows, None].numpy())


def write_noisy(channel: Channel, clean: RowFile, file: RowFile, rng: np.random.Generator) -> Iterator[Tensor]:
    """Append a noisy activation to `file` for each row of `clean`; yield them, a few at a time."""
    for first in range(0, clean.rows, DRAWS_AT_ONCE):
        # A copy from a map of its own: what is mapped, and has been read, counts as memory in use.
        some = torch.from_numpy(clean.array()[first : first + DRAWS_AT_ONCE].copy())
        queries = channel.sent(channel.signal(some), rng)
        file.append(queries.numpy())
        yield queries


@in_float32
@folders.claims(*WRITTEN)
def main(args: Arguments) -> None:
    """Draw, judge, write."""
    args = with_noise(args, args.dataset != "imagenet", "digits", additive=SHIPPED)
    record = Record(args)
    require_at_least(args, seed=0, judged_on=1)
    require_one_of(args, cutting_point=CUTTING_POINTS)
    imagenet, shape = args.dataset == "imagenet", CUTTING_POINTS[args.cutting_point]
    channel = Channel(source_of(args, shape), args.draw)
    split = SplitNetwork(pretrained_alexnet("imagenet" if imagenet else "digits", args.weights), args.cutting_point)
    images = load_images(args.dataset, args.data_root, "test", args.n_samples)
    judged_on = args.judged_on or (100 if imagenet else 1000)

    with ExitStack() as stack:
        files = open_files(args.output, shape, len(images), stack)
        write_clean(split, images, files)
        images.require_readable(args.skip_corrupt)
        clean, labels = files["original_activations"], torch.from_numpy(files["labels"].array()[:, 0])
        original = torch.from_numpy(clean.array()[:judged_on].copy())
        judged = channel.as_activation(channel.signal(original)), labels[:judged_on]
        moments, columns, n_right = ActivationMoments(judged[0]), [], 0
        with tqdm(total=len(labels), unit="draw", desc="noise") as bar:
            rng, judging = query_generator(args.seed), query_generator(args.seed, JUDGED)
            answered = write_noisy(channel, clean, files["noisy_activations"], rng)
            for queries, truth in zip(answered, labels.split(DRAWS_AT_ONCE), strict=True):
                noise = channel.tensors(channel.draws(len(queries), judging))
                snr, accuracy = moments.snr(*noise), noisy_accuracy(split, *judged, *noise)
                columns.append(torch.stack([snr, accuracy]))
                n_right += (split.cloud(queries).argmax(1) == truth).sum().item()
                bar.set_postfix_str(f"SNR {snr.mean():.3g}, accuracy {accuracy.mean():.4f}")
                bar.update(len(snr))
        snr, accuracy = torch.cat(columns, dim=1)
        average, spread = mean_and_spread(accuracy)
        results = {
            "queries": len(labels),
            "left out": len(images.unreadable),
            "members": len(channel.source),
            "judged on": len(judged[0]),
            "average SNR": snr.mean().item(),
            "clean accuracy": clean_accuracy(split, original, judged[1]),
            "average accuracy": average,
            "spread of accuracy": spread,
            "accuracy of the queries as served": n_right / len(labels),
        }
        table = csv_table(DRAWS, zip(snr.tolist(), accuracy.tolist(), strict=True))
        written = {file.path: file for file in files.values()} | {args.output / "draws.csv": table}
        record.write(args.output / "run.json", written, results)
    report(args.output, results)


if __name__ == "__main__":
    script(main, Arguments)
