"""What an informed adversary recovers from AlexNet's noisy activations.

    python attack_alexnet.py                                    # shipped tensors (v1), embedded digits, two minutes
    python attack_alexnet.py --fresh runs/alexnet/fresh

The adversary is that of attack_lenet.py. AlexNet's cloud answers the digit itself, so that no private label is left; what is
attacked is the image: decoders guess its 56 x 56 grey pixels from noisy activations, as they are and with the noise undone.
`--output` receives reconstruction.csv, reconstruction.png and run.json with bounds in bits. A finished attack is kept in
`--output`/attacks.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional

from models.alexnet import CUTTING_POINTS, pretrained_alexnet, weights_file
from shredder.attack import attacks
from shredder.attack.attacks import AttackName
from shredder.attack.networks import Budget
from shredder.attack.report import WRITTEN, bounds, measures, rank_of_noise, write
from shredder.attack.run import assess, chosen, keeper
from shredder.attack.setting import Scene, Side
from shredder.inputs.activations import edge_pass
from shredder.inputs.images import load_images
from shredder.io import folders
from shredder.io.cli import in_float32, require_at_least, require_one_of, script
from shredder.io.record import Record, digest, fingerprint
from shredder.metrics import clean_accuracy
from shredder.noise.channel import Channel
from shredder.noise.flags import NoiseArguments, noise_files, source_of, with_noise
from shredder.split import SplitNetwork

SHIPPED = Path(__file__).parent / "artifacts" / "alexnet" / "noise" / "additive.npy"
# Side of a guessed image, in pixels.
SIDE = 56


@dataclass(frozen=True)
class Arguments(NoiseArguments):
    """Attack AlexNet's noisy activations with all that an adversary may know."""

    weights: Path | None = None
    """The network: .safetensors, or a torch.save state dict. Default: the shipped one (digits), torchvision's (imagenet)."""
    cutting_point: str = "pool5"
    """Where the noise was learned: pool1, pool2, relu3, relu4 or pool5; models/README.md has their shapes."""
    dataset: Literal["mnist-5k", "mnist", "imagenet"] = "mnist-5k"
    """mnist-5k, mnist: digits of 3x224x224. imagenet: ILSVRC 2012's `train` and `val`."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST, downloaded there if absent; or of ImageNet's `train` and `val`."""
    images: int = 2000
    """Training images to learn from, a tenth of them held out; and half as many test images to be judged on, at most."""
    attacks: tuple[AttackName, ...] = ("all",)
    """rounding: which of up to 1,000 images it was, by exact arithmetic and by what rounding leaves. reconstruction: the image.
    No private label is left here."""
    epochs: int = 30
    """Of every network that an attack trains."""
    seconds_per_attack: float | None = None
    """Networks of an attack stop at the first epoch that ends after their share of this. Default: no limit."""
    seed: int = 0
    """Of draws, networks and batches."""
    output: Path = Path("runs/alexnet/attacks")
    """Folder for the results."""


def side_of(split: SplitNetwork, channel: Channel, args: Arguments, part: str, n: int) -> Side:
    """What an attack sees of `n` images of one part of the data."""
    images = load_images(args.dataset, args.data_root, part, n)
    activations, seen, labels = [], [], []
    for rows, pixels, sent in edge_pass(split, images):
        activations.append(sent)
        # ImageNet's pixels are standardised, a digit's are in [0, 1]: either way grey and in [0, 1] for the decoder.
        grey = functional.interpolate(pixels.mean(1, keepdim=True), (SIDE, SIDE), mode="area").flatten(1)
        low, high = grey.amin(1, keepdim=True), grey.amax(1, keepdim=True)
        seen.append((grey - low) / (high - low).clamp(min=1e-6))
        labels.append(images.labels[rows])
    images.require_readable(skip_corrupt=False)
    clean, labels = torch.cat(activations), torch.cat(labels)
    return Side(clean, channel.signal(clean), labels, labels, torch.cat(seen))


@in_float32
@folders.claims(*WRITTEN)
def main(args: Arguments) -> None:
    """Attack, write."""
    args = with_noise(args, args.dataset != "imagenet", "digits", additive=SHIPPED)
    variant = "imagenet" if args.dataset == "imagenet" else "digits"
    args = replace(args, weights=args.weights or weights_file(variant))
    record = Record(args)
    require_at_least(args, seed=0, epochs=1, images=20)
    require_one_of(args, cutting_point=CUTTING_POINTS)
    names = chosen(args.attacks, private_labels=False)
    budget = Budget(args.epochs, args.seconds_per_attack)
    budget.check()
    channel = Channel(source_of(args, CUTTING_POINTS[args.cutting_point]), args.draw)
    split = SplitNetwork(pretrained_alexnet(variant, args.weights), args.cutting_point)

    train = side_of(split, channel, args, "train", args.images)
    test = side_of(split, channel, args, "test", args.images // 2)
    n = len(train.signal) // 10
    scene = Scene(channel, train.rows(slice(n, None)), train.rows(slice(n)), test, budget, args.seed)
    seen = digest(train.images, train.public, test.images, test.public)
    key = fingerprint(replace(args, attacks=()), args.weights, *noise_files(args))
    keep = keeper(args.output / "attacks", f"{key} {seen} {record.commit}")
    found = assess(scene, names, None, keep, args.output)
    public = attacks.public_accuracy(scene, split), clean_accuracy(split, test.clean, test.public)
    results = measures(found, scene, *public)
    # A digit of 28 x 28 pixels, whatever it is enlarged to; of ImageNet, the 224 x 224 colours that the network is given.
    input_bits = 8 * (3 * 224 * 224 if variant == "imagenet" else 28 * 28)
    results |= bounds(channel, test.signal, scene.rng("bounds"), input_bits) | rank_of_noise(scene)
    write(found, results, args.output, record)


if __name__ == "__main__":
    script(main, Arguments)
