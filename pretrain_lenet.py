"""Step 0: pretrain the two networks that the suite ships, so that anybody can make them again.

    python pretrain_lenet.py --n-classes 10 --data-root data
    python pretrain_lenet.py --n-classes 2 --data-root data

Trains LeNet on MNIST's training set *without* the 5,000 digits of mnist-5k, which therefore stay unseen, and prints the
accuracy on both test sets. The last epoch's weights are kept: nothing is selected on test digits. About a minute each on
two cores.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from models.lenet import WEIGHTS, LeNet
from shredder.inputs.digits import Digits, digit_gt5, load_digits, to_network_input
from shredder.io import folders
from shredder.io.cli import in_float32, require_at_least, script
from shredder.io.record import Record, report
from shredder.metrics import accuracy


@dataclass(frozen=True)
class Arguments:
    """Pretrain LeNet on MNIST without the digits of mnist-5k."""

    n_classes: Literal[10, 2] = 10
    """10: the digit. 2: whether the digit exceeds 5."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST; downloaded there if absent."""
    epochs: int = 20
    """Passes over the 55,000 digits."""
    batch_size: int = 128
    """Digits for one update."""
    learning_rate: float = 3e-3
    """Peak of the one-cycle schedule (Smith and Topin 2017) of AdamW."""
    weight_decay: float = 0.05
    """AdamW's decoupled weight decay."""
    shift: float = 2.0
    """Training digits are moved by up to this many pixels, in each direction."""
    seed: int = 0
    """Initial weights, order of the digits and their shifts."""
    output: Path = Path("runs/lenet/pretrained")
    """Folder for the weights and the run record."""


def unseen_by(digits: Digits, others: Digits) -> Tensor:
    """Rows of `digits.train_images` whose pixels equal no image of `others`; bool, (n,)."""
    known = {image.tobytes() for part in (others.train_images, others.test_images) for image in part.numpy()}
    return torch.tensor([image.tobytes() not in known for image in digits.train_images.numpy()])


def shifted(images: Tensor, pixels: float, rng: np.random.Generator) -> Tensor:
    """Each image (n, 1, 32, 32) moved by its own random offset of at most `pixels`, in both directions."""
    theta = torch.eye(2, 3).repeat(len(images), 1, 1)
    offsets = rng.uniform(-pixels, pixels, size=(len(images), 2)) * 2 / images.shape[-1]  # grid units: [-1, 1]
    theta[:, :, 2] = torch.from_numpy(offsets)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(network: LeNet, images: Tensor, labels: Tensor, args: Arguments, rng: np.random.Generator) -> None:
    """Minimise the cross-entropy of `network` on `images` (n, 1, 32, 32) and `labels` (n,), in place."""
    n_batches = -(-len(images) // args.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.learning_rate, args.epochs * n_batches)
    with tqdm(total=args.epochs * n_batches, unit="batch") as bar:
        for _ in range(args.epochs):
            for rows in torch.from_numpy(rng.permutation(len(images))).split(args.batch_size):
                loss = functional.nll_loss(network(shifted(images[rows], args.shift, rng)), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
            bar.set_postfix(loss=f"{loss.item():.4f}")


@in_float32
@folders.claims(*(path.name for path in WEIGHTS.values()), record=[path.with_suffix(".json").name for path in WEIGHTS.values()])
def main(args: Arguments) -> None:
    """Train, report, write `lenet-*.safetensors` and its run record."""
    record = Record(args)
    require_at_least(args, epochs=1, batch_size=1, learning_rate=0, weight_decay=0, shift=0, seed=0)
    mnist, mnist_5k = load_digits("mnist", args.data_root), load_digits("mnist-5k")
    rows = unseen_by(mnist, mnist_5k)
    label = digit_gt5 if args.n_classes == 2 else (lambda digits: digits)

    rng = np.random.default_rng(args.seed)
    with torch.random.fork_rng():  # torch's layers initialise themselves from its global generator only
        torch.manual_seed(args.seed)
        network = LeNet(args.n_classes)
    train(network, to_network_input(mnist.train_images[rows]), label(mnist.train_labels[rows]), args, rng)

    network.eval()
    results: dict[str, float] = {"training digits": int(rows.sum())}
    with torch.no_grad():
        for name, digits in {"mnist": mnist, "mnist-5k": mnist_5k}.items():
            predictions = network(to_network_input(digits.test_images))
            results[f"accuracy on {name}'s test set"] = accuracy(predictions, label(digits.test_labels)).item()
    path = args.output / WEIGHTS[args.n_classes].name
    record.write(path.with_suffix(".json"), {path: save(network.state_dict())}, results)
    report(args.output, results)


if __name__ == "__main__":
    script(main, Arguments)
