"""Step 0: pretrain the networks that the suite ships, so that anybody can make them again. See models/README.md.

    python pretrain.py --task lenet --public-labels digits --data-root data
    python pretrain.py --task lenet --public-labels gt5 --data-root data
    python pretrain.py --task alexnet --data-root data

Trains on MNIST's training set *without* the 5,000 digits of mnist-5k, which therefore stay unseen, and prints the accuracy on
the test digits. The last epoch's weights are kept: nothing is selected on test digits. A minute for each LeNet, four for
AlexNet on two cores that have bfloat16; its weights are kept in half precision.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from models.alexnet import DIGIT_WEIGHTS, digit_alexnet
from models.lenet import WEIGHTS, LeNet
from shredder.inputs.digits import Digits, digit_gt5, load_digits, to_network_input
from shredder.inputs.images import to_imagenet_input
from shredder.io import folders
from shredder.io.cli import InputError, in_float32, require_at_least, script
from shredder.io.record import Record, report
from shredder.io.terminal import progress
from shredder.metrics import accuracy

# Defaults by task. Learning rate: peak of the one-cycle schedule (Smith and Topin 2017) of AdamW.
DEFAULTS: dict[str, dict[str, Any]] = {
    "lenet": {
        "public_labels": "digits", "images": 55_000, "epochs": 20, "batch_size": 128, "learning_rate": 3e-3,
        "weight_decay": 0.05, "shift": 2.0,
    },
    "alexnet": {
        "public_labels": "digits", "images": 10_000, "epochs": 3, "batch_size": 64, "learning_rate": 3e-4,
        "weight_decay": 0.01, "shift": 0.0,
    },
}  # fmt: skip
FILES = {
    ("lenet", "digits"): WEIGHTS[10],
    ("lenet", "gt5"): WEIGHTS[2],
    ("alexnet", "digits"): DIGIT_WEIGHTS,
}


@dataclass(frozen=True)
class Arguments:
    """Pretrain a network on MNIST without the digits of mnist-5k."""

    task: Literal["lenet", "alexnet"]
    """The task whose network it is."""
    public_labels: Literal["digits", "gt5"] | None = None
    """What it answers: the digit, or (lenet) whether the digit exceeds 5. Default: digits."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST; downloaded there if absent."""
    images: int | None = None
    """Training digits of the 55,000. Default: lenet all, alexnet 10,000 of a random order."""
    epochs: int | None = None
    """Passes over them. Default: lenet 20, alexnet 3."""
    batch_size: int | None = None
    """Digits for one update. Default: lenet 128, alexnet 64."""
    learning_rate: float | None = None
    """Peak of the one-cycle schedule (Smith and Topin 2017) of AdamW. Default: lenet 0.003, alexnet 0.0003."""
    weight_decay: float | None = None
    """AdamW's decoupled weight decay. Default: lenet 0.05, alexnet 0.01."""
    shift: float | None = None
    """Training digits are moved by up to this many pixels, in each direction. Default: lenet 2, alexnet 0."""
    seed: int = 0
    """Initial weights, dropout, choice and order of the digits, and their shifts."""
    output: Path | None = None
    """Folder for the weights and the run record. Default: runs/TASK/pretrained."""


def unseen_by(digits: Digits, others: Digits) -> Tensor:
    """Rows of `digits.train_images` whose pixels equal no image of `others`; bool, (n,)."""
    known = {image.tobytes() for part in (others.train_images, others.test_images) for image in part.numpy()}
    return torch.tensor([image.tobytes() not in known for image in digits.train_images.numpy()])


def shifted(images: Tensor, pixels: float, rng: np.random.Generator) -> Tensor:
    """Each image, (n, channels, H, H), moved by its own random offset of at most `pixels`, in both directions."""
    theta = torch.eye(2, 3).repeat(len(images), 1, 1)
    offsets = rng.uniform(-pixels, pixels, size=(len(images), 2)) * 2 / images.shape[-1]  # grid units: [-1, 1]
    theta[:, :, 2] = torch.from_numpy(offsets)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def batch_of(task: str, images: Tensor) -> Tensor:
    """Digits, uint8 (n, 28, 28), as the task's network reads them."""
    if task == "lenet":
        return to_network_input(images)
    return to_imagenet_input(images).to(memory_format=torch.channels_last)


def train(network: nn.Module, images: Tensor, labels: Tensor, args: Arguments, rng: np.random.Generator) -> None:
    """Minimise the cross-entropy of `network` on digits `images`, uint8 (n, 28, 28), and `labels` (n,), in place."""
    n_batches = -(-len(images) // args.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.learning_rate, args.epochs * n_batches)
    with progress(args.epochs * n_batches, unit="batch") as bar:
        for _ in range(args.epochs):
            for rows in torch.from_numpy(rng.permutation(len(images))).split(args.batch_size):
                batch = batch_of(args.task, images[rows])
                batch = shifted(batch, args.shift, rng) if args.shift else batch
                with torch.autocast("cpu", torch.bfloat16, enabled=args.task == "alexnet"):  # half of the time
                    loss = functional.nll_loss(network(batch).float(), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)


def with_defaults(args: Arguments) -> Arguments:
    """`args` with the task's defaults. Raises InputError."""
    missing = {name: value for name, value in DEFAULTS[args.task].items() if getattr(args, name) is None}
    output = Path("runs") / args.task / "pretrained" if args.output is None else args.output
    args = dataclasses.replace(args, **missing, output=output)
    if (args.task, args.public_labels) not in FILES:
        raise InputError(f"--public-labels: found {args.public_labels}, expected digits, which is all that {args.task} answers")
    require_at_least(args, images=1, epochs=1, batch_size=1, learning_rate=0, weight_decay=0, shift=0, seed=0)
    return args


def main(args: Arguments) -> None:
    """Train, report, write the weights and their run record."""
    args = with_defaults(args)
    file = FILES[args.task, args.public_labels]
    others = [path.name for (task, _), path in FILES.items() if task == args.task]
    records = [Path(name).with_suffix(".json").name for name in others]
    with folders.claimed(args.output, others, records):
        _run(args, args.output / file.name)


@in_float32
def _run(args: Arguments, path: Path) -> None:
    record, rng = Record(args), np.random.default_rng(args.seed)
    mnist, mnist_5k = load_digits("mnist", args.data_root), load_digits("mnist-5k")
    label = digit_gt5 if args.public_labels == "gt5" else torch.clone
    rows = unseen_by(mnist, mnist_5k).nonzero()[:, 0]
    if args.images < len(rows):
        rows = rows[torch.from_numpy(rng.permutation(len(rows))[: args.images])]
    with torch.random.fork_rng():  # torch's layers initialise themselves, and drop out, by its global generator only
        torch.manual_seed(args.seed)
        if args.task == "lenet":
            network = LeNet(2 if args.public_labels == "gt5" else 10)
        else:
            network = digit_alexnet().to(memory_format=torch.channels_last)
        train(network, mnist.train_images[rows], label(mnist.train_labels[rows]), args, rng)

    half = args.task == "alexnet"
    network = network.eval()
    weights = {name: (value.half() if half else value).contiguous() for name, value in network.state_dict().items()}
    network.load_state_dict(weights)  # as they will be read
    results: dict[str, float] = {"training digits": len(rows), "parameters": sum(p.numel() for p in network.parameters())}
    for name, digits in {"mnist-5k": mnist_5k} if half else {"mnist": mnist, "mnist-5k": mnist_5k}.items():
        with torch.no_grad():
            answers = torch.cat([network(batch_of(args.task, some)) for some in digits.test_images.split(100)])
        results[f"accuracy on {name}'s test set"] = accuracy(answers, label(digits.test_labels)).item()
    record.write(path.with_suffix(".json"), {path: save(weights)}, results)
    report(args.output, results)


if __name__ == "__main__":
    script(main, Arguments)
