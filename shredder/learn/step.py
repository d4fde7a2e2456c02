"""Step 1 for any task: the edge runs once, noise is learned on what it sends, what was learned is written with its records."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from shredder.inputs.activations import cached_activations, note_of, remove, reserve
from shredder.inputs.images import held_out
from shredder.io import folders, ranks
from shredder.io.cli import InputError, in_float32, require_at_least
from shredder.io.files import sha256
from shredder.io.record import Record, key
from shredder.learn.flags import METHODS, MethodArguments, completed
from shredder.learn.learner import OutOfReachError, PrivateRows, Settings, learner
from shredder.learn.run import finish, learned, written
from shredder.metrics import clean_accuracy
from shredder.split import places
from shredder.system import System, TaskArguments, chosen, with_network
from shredder.task import Task, read_task

# Where activations go that are too many for memory: of the training and the test images, and of the private network.
ACTIVATIONS = ("train-activations.f32", "test-activations.f32", "private-activations.f32")


@dataclass(frozen=True)
class Arguments(MethodArguments, TaskArguments):
    """Learn noise for a network's activations; no weight changes."""

    images: int | None = None
    """Training images, so many of a fixed random order, a tenth of them held out. Default: all."""
    members: Annotated[int | None, arg(aliases=["--collection"])] = None
    """Tensors or distributions to collect; of fresh noise there is one. Default: 20."""
    parallel: int | None = None
    """Members learned side by side, at most: a share. Processes that torchrun starts divide shares; fewer members at once take
    longer each."""
    epochs: int | None = None
    """Epochs after which a member that was not accepted is given up."""
    min_epochs: int | None = None
    """A member is accepted after more epochs than these."""
    min_accuracy: float | None = None
    """A member is accepted above this held-out accuracy. Default: by --max-accuracy-loss."""
    max_accuracy_loss: float | None = None
    """By how much the clean network's held-out accuracy may be missed, where --min-accuracy is not given."""
    batch_size: int | None = None
    """Activations for one update; fresh also takes their covariance."""
    seed: int = 0
    """Initial tensors, order of the batches, and draws."""
    output: Path | None = None
    """Folder for the results. Default: runs/TASK/noise."""
    list_cuts: bool = False
    """Only print where the network can be cut, with shape and bytes of what is sent; nothing is learned."""


def with_defaults(task: Task, args: Arguments) -> Arguments:
    """`args` with nothing left open but the accuracy to exceed. Raises InputError."""
    output = Path("runs") / task.name / "noise" if args.output is None else args.output
    args = dataclasses.replace(args, method=args.method or task.method, output=output)
    # The task's defaults may rest on where it is cut, and on what is public; and what is public on the method.
    preset = chosen(task, args)
    of_task = dict(task.learn(dataclasses.replace(preset, public_labels=args.public_labels)))
    args = dataclasses.replace(args, public_labels=args.public_labels or of_task.pop("public_labels", None))
    of_task.pop("public_labels", None)
    args = completed(chosen(task, args), {"max_accuracy_loss": 0.02} | of_task)
    require_at_least(args, seed=0, max_accuracy_loss=0, images=10)
    settings(args).check()
    private = task.labels[args.public_labels].private
    if args.private_labels and (private is None or task.labels[private].network is None):
        raise InputError(
            f"--private-labels: no private label is left in {task.name} on {args.dataset} beside --public-labels "
            f"{args.public_labels}, or none that has a network"
        )
    return args


def settings(args: Arguments) -> Settings:
    """Of members, as completed `args` have them."""
    return Settings(args.members, args.parallel, args.epochs, args.min_epochs, args.min_accuracy or 0, args.batch_size)


def listed_cuts(task: Task, args: Any) -> list[str]:
    """A line for each place where the task's network could be cut: shape and bytes of what is sent, and what else crosses.

    Raises InputError or WeightsError where a task without an outline cannot have its weights or an input.
    """
    if task.outline:
        network, inputs = task.outline()
    else:
        system = System(task, chosen(task, args))
        network, inputs = system.network, system.some_input()
    found = places(network, inputs)
    width = max(map(len, found))
    lines = [f"{'':{width}} {'shape':>16} {'bytes':>11}"]
    for name, place in found.items():
        more = f"  no cut: {', '.join(place.beside)} crosses as well" if place.beside else ""
        lines.append(f"{name:{width}} {' x '.join(map(str, place.shape)):>16} {place.bytes:>11,}{more}")
    return lines


def run(args: Arguments) -> None:
    """Learn, report, write what was learned and its records."""
    args = with_network(args)
    task = read_task(args.task, args.data_root)
    if args.list_cuts:
        print("\n".join(listed_cuts(task, args)))
        return
    args = with_defaults(task, args)
    notes = [note_of(Path(name)).name for name in ACTIVATIONS]
    with folders.claimed(args.output, (*written(settings(args)), *ACTIVATIONS, *notes)):
        _run(task, args)


@in_float32
def _run(task: Task, args: Arguments) -> None:
    record, system = Record(args), System(task, args)
    train, test = system.images(train=args.images, test=None)
    files = [args.output / name for name in ACTIVATIONS]
    reserve(system.shape, dict(zip(files, (train, test), strict=False)))
    of_edge = key(args, system.files, only=("dataset", "images", "cutting_point", "public_labels", "device"))
    (activations, classes), (test_activations, test_classes) = (
        cached_activations(system.split, images, system.shape, path, of_edge + images.digest(), args.skip_corrupt)
        for path, images in zip(files, (train, test), strict=False)
    )
    n, labels = held_out(len(classes)), system.labels.public(classes).to(activations.device)
    judging, private = (activations[:n], labels[:n]), None
    if args.private_labels:
        split = system.private_split
        own, _ = cached_activations(split, train, system.shape, files[2], of_edge + train.digest(), args.skip_corrupt)
        private = PrivateRows(split, own[n:], system.private_of(classes[n:]).to(own.device))
    target = settings(args)
    if args.min_accuracy is None:
        clean = clean_accuracy(system.split, *judging)
        target = dataclasses.replace(target, min_accuracy=clean - args.max_accuracy_loss)
    method = METHODS[args.method].of(args, private)
    begin = partial(learner, method, system.split, (activations[n:], labels[n:]), judging)
    try:
        learning = learned(begin, target, args.seed, args.output, key(args, system.files, train.digest()))
    except OutOfReachError:
        _remove(files)
        raise
    if ranks.rank():  # the first process writes what all have learned
        return
    results: dict[str, Any] = {"task": task.name, "draw": learning.rule, "weights (SHA-256)": sha256(args.weights)}
    labels = system.labels.public(test_classes), None if system.labels.private is None else system.private_of(test_classes)
    results |= learning.summary(test_activations, *labels)
    finish(learning, args.output, record, results | {"accuracy to exceed": target.min_accuracy})
    _remove(files)


def _remove(files: list[Path]) -> None:
    for path in files:
        remove(path)
