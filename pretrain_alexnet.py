"""Step 0 for AlexNet: pretrain its digits variant, so that anybody can make the shipped weights again.

    python pretrain_alexnet.py --data-root data

Trains torchvision's features under a narrower classifier on digits of MNIST's training set, enlarged to 3x224x224, *without*
the 5,000 digits of mnist-5k, which stay unseen, and prints the accuracy on mnist-5k's test digits. The last epoch's weights are
kept, in half precision: nothing is selected on test digits. Four minutes on two cores that have bfloat16.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from models.alexnet import DIGIT_WEIGHTS, AlexNet, digit_alexnet
from pretrain_lenet import unseen_by
from shredder.inputs.digits import load_digits
from shredder.inputs.images import to_alexnet_input
from shredder.io import folders
from shredder.io.cli import in_float32, require_at_least, script
from shredder.io.record import Record, report
from shredder.metrics import accuracy


@dataclass(frozen=True)
class Arguments:
    """Pretrain AlexNet on digits."""

    data_root: Path = Path("data")
    """Folder of torchvision's MNIST; downloaded there if absent."""
    images: int = 10_000
    """Training digits, drawn from the 55,000 that are not in mnist-5k."""
    epochs: int = 3
    """Passes over them."""
    batch_size: int = 64
    """Digits for one update."""
    learning_rate: float = 3e-4
    """Peak of the one-cycle schedule (Smith and Topin 2017) of AdamW."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay."""
    seed: int = 0
    """Initial weights, dropout, choice and order of the digits."""
    output: Path = Path("runs/alexnet/pretrained")
    """Folder for the weights and the run record."""


def train(network: AlexNet, images: Tensor, labels: Tensor, args: Arguments, rng: np.random.Generator) -> None:
    """Minimise the cross-entropy of `network` on digits `images`, uint8 (n, 28, 28), and `labels` (n,), in place."""
    n_batches = -(-len(images) // args.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.learning_rate, args.epochs * n_batches)
    with tqdm(total=args.epochs * n_batches, unit="batch") as bar:
        for _ in range(args.epochs):
            for rows in torch.from_numpy(rng.permutation(len(images))).split(args.batch_size):
                batch = to_alexnet_input(images[rows]).to(memory_format=torch.channels_last)
                with torch.autocast("cpu", torch.bfloat16):  # half of the time
                    loss = functional.nll_loss(network(batch).float(), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)


@in_float32
@folders.claims(DIGIT_WEIGHTS.name, record=[DIGIT_WEIGHTS.with_suffix(".json").name])
def main(args: Arguments) -> None:
    """Train, report, write `alexnet-digit.safetensors` and its run record."""
    record = Record(args)
    require_at_least(args, images=1, epochs=1, batch_size=1, learning_rate=0, weight_decay=0, seed=0)
    mnist, mnist_5k = load_digits("mnist", args.data_root), load_digits("mnist-5k")
    rng = np.random.default_rng(args.seed)
    unseen = unseen_by(mnist, mnist_5k).nonzero()[:, 0]
    rows = unseen[torch.from_numpy(rng.permutation(len(unseen))[: args.images])]
    with torch.random.fork_rng():  # torch's layers initialise themselves, and drop out, by its global generator only
        torch.manual_seed(args.seed)
        network = digit_alexnet().to(memory_format=torch.channels_last)
        train(network, mnist.train_images[rows], mnist.train_labels[rows], args, rng)

    shipped = network.eval().half().float()  # as it will be read
    with torch.no_grad():
        answers = torch.cat([shipped(to_alexnet_input(some)) for some in mnist_5k.test_images.split(100)])
    results = {
        "training digits": len(rows),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "accuracy on mnist-5k's test set": accuracy(answers, mnist_5k.test_labels).item(),
    }
    path = args.output / DIGIT_WEIGHTS.name
    half = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    record.write(path.with_suffix(".json"), {path: save(half)}, results)
    report(args.output, results)


if __name__ == "__main__":
    script(main, Arguments)
