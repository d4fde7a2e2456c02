"""The attack for any task: what informed adversaries recover from noisy activations."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from shredder.attack.attacks import public_accuracy
from shredder.attack.keeper import Keeper
from shredder.attack.networks import Budget
from shredder.attack.report import bounds, measures, rank_of_noise, write, written
from shredder.attack.run import attacked, chosen
from shredder.attack.setting import Examples, Setting, Side
from shredder.attack.terms import label_at_most, of_input
from shredder.inputs.activations import edge_pass
from shredder.inputs.images import Images, held_out
from shredder.io import folders, ranks
from shredder.io.cli import InputError, in_float32, require_at_least
from shredder.io.record import Record, key
from shredder.metrics import clean_accuracy
from shredder.noise.bracket import MEASURED, measured
from shredder.noise.channel import Channel
from shredder.noise.flags import NoiseArguments, noise_files
from shredder.system import System, TaskArguments, with_noise
from shredder.task import Task

# Inputs that an attack is shown as the edge takes them.
_EXAMPLES = 100
# Arguments that decide what is read of clean activations.
OF_CLEAN = ("task", "dataset", "images", "cutting_point", "public_labels", "device", "epochs", "seconds_per_attack", "seed")


# Inputs that Fisher information is a mean over.
_INPUTS = 200


@dataclass(frozen=True)
class Arguments(NoiseArguments, TaskArguments):
    """Attack noisy activations with all that an adversary may know."""

    images: int | None = None
    """Training images to learn from, a tenth of them held out; and half as many test images to be judged on, at most. Default:
    the task's, or all of both."""
    attacks: tuple[str, ...] = ("all",)
    """untrained: the authors' test. trained: networks on new draws, raw and whitened. member: the member guessed, its noise
    undone. averaging: the same input queried 1 to 1,000 times. rounding: which of 1,000 inputs it was, by exact arithmetic and
    by what rounding leaves; of noise with a bound. reconstruction: the image. secrets: what else the task names. The first four
    read a private label."""
    epochs: int | None = None
    """Of every network that an attack trains. Default: the task's, or 30."""
    seconds_per_attack: float | None = None
    """Networks of an attack stop at the first epoch that ends after their share of this. Results then depend on the machine's
    speed. Default: no limit."""
    seed: int = 0
    """Of draws, networks and batches."""
    output: Path | None = None
    """Folder for the results. Default: runs/TASK/attacks."""
    ceilings: Path | None = None
    """Folder that keeps what is read without noise, for attacks on other noise at the same cutting point. Default: none, it is
    kept for this output alone."""


def run(args: Arguments) -> None:
    """Attack, compare with floor and ceiling, write."""
    task, args, channel = with_noise(args)
    of_task = {"epochs": 30} | dict(task.datasets[args.dataset].attack)
    missing = {name: value for name, value in of_task.items() if getattr(args, name) is None}
    output = Path("runs") / task.name / "attacks" if args.output is None else args.output
    args = dataclasses.replace(args, **missing, output=output)
    require_at_least(args, seed=0, epochs=1, images=20)
    chosen(args.attacks, *given_by(task, args))
    Budget(args.epochs, args.seconds_per_attack).check()
    with folders.claimed(args.output, written()):
        _run(task, args, channel)


@in_float32
def _run(task: Task, args: Arguments, channel: Channel) -> None:
    record, system = Record(args), System(task, args)
    train, test = system.images(train=args.images, test=None)
    test = test.first(None if args.images is None else args.images // 2)
    # Which attacks are asked for, and where ceilings are kept, is no part of what a finished one is known by.
    what, digests = dataclasses.replace(args, attacks=(), ceilings=None), (train.digest(), test.digest())
    of_run = key(what, [*system.files, *noise_files(args)], *digests)
    of_clean = key(args, system.files, *digests, only=OF_CLEAN)
    folder = args.output / "attacks"
    clean_folder = folder if args.ceilings is None else args.ceilings / hashlib.sha256(of_clean.encode()).hexdigest()[:16]
    keepers = Keeper(folder, of_run), Keeper(clean_folder, of_clean)
    setting = setting_of(system, channel, train, test, *keepers)
    found = attacked(setting, chosen(args.attacks, *given_by(task, args)))
    if ranks.rank():  # the first process writes what all have found
        return
    clean = clean_accuracy(system.split, setting.test.clean, setting.test.public)
    results = {"task": task.name} | measures(found, setting, public_accuracy(setting), clean)
    held_out = torch.cat([setting.held_out.signal, setting.test.signal])
    labels = (setting.test.public, setting.test.private if task.labels[args.public_labels].private else None)
    _, inputs = next(test.first(min(len(test), _INPUTS)).batches())
    found_bits = measured(channel, setting.test.signal, setting.rng("measured"), *labels)
    results |= found_bits | of_input(channel, system.split, inputs.to(system.split.device), setting.rng("Fisher"))
    if labels[1] is not None:
        _, *of_private = found_bits[MEASURED.format("private label, given the public one")]
        results["private accuracy at most, one query"] = label_at_most(*of_private, *labels)
    results |= bounds(channel, held_out, setting.rng("bounds"), system.dataset.input_bits) | rank_of_noise(setting)
    write(found, results, args.output, record)


def given_by(task: Task, args: Arguments) -> tuple[bool, bool, bool]:
    """Whether a private label is left, whether it has a network, and whether inputs have pictures."""
    private = task.labels[args.public_labels].private
    has_network = private is not None and task.labels[private].network is not None
    return private is not None, has_network, task.pictures is not None


def setting_of(system: System, channel: Channel, train: Images, test: Images, keeper: Keeper, ceilings: Keeper) -> Setting:
    """What attacks see of training and test images; the first tenth of the former is held out."""
    args, (known, judged) = (
        system.args,
        (side_of(system, channel, images, of_place) for images, of_place in ((train, {}), (test, system.dataset.of_test))),
    )
    n, private = held_out(len(known.signal)), None
    if split := system.private_split:
        private = split, torch.cat([activations for _, _, activations in edge_pass(split, test, pixels=False)])
    budget = Budget(args.epochs, args.seconds_per_attack)
    learning, judging = known.rows(slice(n, None)), known.rows(slice(n))
    examples = examples_of(system, train, n)
    return Setting(channel, system.split, learning, judging, judged, private, budget, args.seed, keeper, ceilings, examples)


def examples_of(system: System, train: Images, first: int) -> Examples | None:
    """Inputs of the adversary's own from row `first` of the training images on; None where they have no pictures."""
    if system.task.pictures is None:
        return None
    batches, found, wanted = train.batches(first), [], _EXAMPLES
    while wanted > 0 and (batch := next(batches, None)) is not None:
        found.append(batch[1][:wanted].to(system.split.device))
        wanted -= len(found[-1])
    return Examples(torch.cat(found), system.task.pictures)


def side_of(system: System, channel: Channel, images: Images, of_place: Mapping[str, Callable[[int], Tensor]]) -> Side:
    """What an attack sees of one part of the data; `of_place` has secrets that follow from an input's place."""
    activations, pictures, classes = [], [], []
    pictures_of = system.task.pictures or _no_pictures
    for rows, pixels, sent in edge_pass(system.split, images):
        activations.append(sent)
        pictures.append(pictures_of(pixels))
        classes.append(images.labels[rows])
    images.require_readable(system.args.skip_corrupt)
    clean, classes, pictures = map(torch.cat, (activations, classes, pictures))
    if pictures.dim() != 3 or pictures.shape[1] != pictures.shape[2]:
        shape = tuple(pictures.shape)
        raise InputError(f"--task {system.task.name}: its `pictures` are {shape}, expected square ones, (n, h, h)")
    labels = system.private_of(classes), system.labels.public(classes)
    secrets = {name: of(pictures, classes.to(pictures.device)) for name, of in system.task.secrets.items()}
    secrets |= {name: of(len(clean)) for name, of in of_place.items()}
    of_rows = (tensor.to(clean.device) for tensor in (*labels, pictures.flatten(1)))
    return Side(clean, channel.signal(clean), *of_rows, {name: of.to(clean.device) for name, of in secrets.items()})


def _no_pictures(inputs: Tensor) -> Tensor:
    return inputs.new_zeros(len(inputs), 0, 0)
