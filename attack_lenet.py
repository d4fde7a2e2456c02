"""What an informed adversary recovers from LeNet's noisy activations.

    python attack_lenet.py                                      # shipped tensors (v2), 5,000 embedded digits, four minutes
    python attack_lenet.py --fresh runs/lenet/fresh --attacks trained averaging
    python attack_lenet.py --dataset mnist --attacks member     # full MNIST

The adversary knows the edge network, what was learned and how draws are made, but not the draw, and has training data of its
own. Each attack is trained on fresh draws, stopped early by the held-out tenth, and judged once on the test digits. `--output`
receives attacks.csv (a row for each attack: accuracies in [0, 1] with Wilson's 95 % interval; floor, the best guess given the
true public label; ceiling, the same attack without noise), reconstruction.csv, reconstruction.png, and run.json with bounds in
bits. Finished attacks are kept in `--output`/attacks: interrupted, the same command goes on after them.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from models.lenet import CUTTING_POINTS, WEIGHTS, pretrained_lenet
from shredder.attack import attacks
from shredder.attack.attacks import AttackName
from shredder.attack.networks import Budget
from shredder.attack.reading import Reading
from shredder.attack.report import WRITTEN, bounds, measures, rank_of_noise, write
from shredder.attack.run import assess, chosen, keeper
from shredder.attack.setting import Scene, Side
from shredder.inputs.digits import Digits, digit_gt5, held_out_tenth, load_digits, to_network_input
from shredder.io import folders
from shredder.io.cli import in_float32, require_at_least, require_one_of, script
from shredder.io.record import Record, digest, fingerprint
from shredder.metrics import clean_accuracy
from shredder.noise.channel import Channel
from shredder.noise.flags import NoiseArguments, noise_files, source_of, with_noise
from shredder.split import SplitNetwork

EPOCHS = {"mnist-5k": 60, "mnist": 15}
SHIPPED = Path(__file__).parent / "artifacts" / "lenet" / "noise"


@dataclass(frozen=True)
class Arguments(NoiseArguments):
    """Attack LeNet's noisy activations with all that an adversary may know."""

    public_labels: Literal["gt5", "digits"] = "gt5"
    """What the cloud answers: whether the digit exceeds 5; or the digit, and then no private label is left to read."""
    public_weights: Path | None = None
    """The network that the cloud serves. Default: the shipped one of the public labels."""
    private_weights: Path = WEIGHTS[10]
    """The network of the untrained adversary, which answers the digit."""
    cutting_point: str = "relu5"
    """Where the noise was learned: s2 (6x14x14), s4 (16x5x5) or relu5 (120x1x1)."""
    dataset: Literal["mnist-5k", "mnist"] = "mnist-5k"
    """mnist-5k: 4,000 digits to learn from, 1,000 to judge on. mnist: 60,000 and 10,000."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST; downloaded there if absent."""
    attacks: tuple[AttackName, ...] = ("all",)
    """untrained: the authors' test. trained: networks on fresh draws, raw and whitened. member: the member guessed, its noise
    undone. averaging: the same input queried 1 to 1,000 times. rounding: which of 1,000 inputs it was, by exact arithmetic and
    by what rounding leaves; of noise with a bound. reconstruction: the image."""
    epochs: int | None = None
    """Of every network that an attack trains. Default: 60 on mnist-5k, 15 on mnist."""
    seconds_per_attack: float | None = None
    """Networks of an attack stop at the first epoch that ends after their share of this. Results then depend on the
    machine's speed. Default: no limit."""
    seed: int = 0
    """Of draws, networks and batches."""
    output: Path = Path("runs/lenet/attacks")
    """Folder for the results."""


def scene_of(args: Arguments, channel: Channel, activations: tuple[Tensor, Tensor], digits: Digits, budget: Budget) -> Scene:
    """What attacks see: `activations` of the training and of the test digits, with labels and images."""
    public = digit_gt5 if args.public_labels == "gt5" else lambda labels: labels
    learning, held_out = held_out_tenth(len(digits.train_labels))
    train, test = (
        Side(some, channel.signal(some), labels, public(labels), to_network_input(images).flatten(1))
        for some, labels, images in zip(
            activations,
            (digits.train_labels, digits.test_labels),
            (digits.train_images, digits.test_images),
            strict=True,
        )
    )
    return Scene(channel, train.rows(learning), train.rows(held_out), test, budget, args.seed)


@in_float32
@folders.claims(*WRITTEN)
def main(args: Arguments) -> None:
    """Attack, compare with floor and ceiling, write."""
    names = chosen(args.attacks, private_labels=args.public_labels == "gt5")
    shipped = {name: SHIPPED / f"{name}.npy" for name in ("additive", "multiplicative")}
    args = with_noise(args, args.public_labels == "gt5", "--public-labels gt5", **shipped)
    classes = 2 if args.public_labels == "gt5" else 10
    epochs = EPOCHS[args.dataset] if args.epochs is None else args.epochs
    args = replace(args, public_weights=args.public_weights or WEIGHTS[classes], epochs=epochs)
    record = Record(args)
    require_at_least(args, seed=0, epochs=1)
    require_one_of(args, cutting_point=CUTTING_POINTS)
    budget = Budget(args.epochs, args.seconds_per_attack)
    budget.check()
    channel = Channel(source_of(args, CUTTING_POINTS[args.cutting_point]), args.draw)
    split = SplitNetwork(pretrained_lenet(classes, args.public_weights), args.cutting_point)
    private = SplitNetwork(pretrained_lenet(10, args.private_weights), args.cutting_point)

    digits = load_digits(args.dataset, args.data_root)
    images = [to_network_input(some) for some in (digits.train_images, digits.test_images)]
    activations = [split.activations(some) for some in images]
    scene = scene_of(args, channel, activations, digits, budget)
    rng, truth = scene.rng("untrained"), scene.test.private

    def untrained() -> tuple[Reading, float]:
        own = private.activations(images[1])
        return attacks.untrained(channel, private, own, truth, rng), clean_accuracy(private, own, truth)

    # Which attacks are asked for is no part of what a finished one is known by; the code is.
    key = fingerprint(replace(args, attacks=()), args.public_weights, args.private_weights, *noise_files(args))
    seen = digest(digits.train_images, digits.train_labels, digits.test_images, digits.test_labels)
    keep = keeper(args.output / "attacks", f"{key} {seen} {record.commit}")
    found = assess(scene, names, untrained if classes == 2 else None, keep, args.output)
    public = attacks.public_accuracy(scene, split)
    results = measures(found, scene, public, clean_accuracy(split, activations[1], scene.test.public))
    held_out = torch.cat([scene.held_out.signal, scene.test.signal])
    input_bits = 8 * digits.test_images[0].numel()
    results |= bounds(channel, held_out, scene.rng("bounds"), input_bits) | rank_of_noise(scene)
    write(found, results, args.output, record)


if __name__ == "__main__":
    script(main, Arguments)
