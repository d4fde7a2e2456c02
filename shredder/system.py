"""A task with its choices made: by flags, by defaults, and by what the noise was learned for."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shredder.inputs.images import Images
from shredder.io.cli import InputError, require_one_of
from shredder.io.device import with_float64
from shredder.io.files import sha256
from shredder.noise.channel import Channel
from shredder.noise.flags import SINGLE, handed, source_of
from shredder.split import SplitNetwork
from shredder.task import Task, read_task


@dataclass(frozen=True)
class TaskArguments:
    """Flags that choose a system. Those left out take the task's default, which run.json shows."""

    task: str | Path = ""
    """A name in tasks/, or a Python file with a `task` of its own (docs/extending.md)."""
    network: str | None = None
    """Of tasks for any network: which, such as resnet18. `--task imagenet:resnet18` is the same."""
    dataset: str | None = None
    """Which of the task's datasets. Default: the first."""
    data_root: Path = Path("data")
    """Folder of the dataset's files."""
    public_labels: str | None = None
    """What the cloud answers, one of the task's labels. Default: the dataset's first, or what the noise was learned for."""
    weights: Path | None = None
    """The network that the cloud serves: .safetensors, or a torch.save state dict. Default: the task's."""
    private_weights: Path | None = None
    """The untrained adversary's network, which answers the private label. Default: the task's."""
    cutting_point: str | None = None
    """The layer whose output is sent. Default: the task's last, or where the noise was learned."""
    skip_corrupt: bool = False
    """Leave out images that cannot be decoded; else they end the run."""
    device: str = "auto"
    """Where it is computed: cpu or cuda. Default: cuda if there is one, else cpu. Draws come from the same generators. mps is
    refused: it has no float64."""


def with_network(args: Any) -> Any:
    """`args` with the network in the task's name, where records and later steps find it. Raises InputError."""
    if args.network is None:
        return args
    if not args.task or ":" in str(args.task):
        raise InputError(f"--network: found {args.network!r} beside --task {args.task!s}; expected a task without a network")
    return dataclasses.replace(args, task=f"{args.task}:{args.network}", network=None)


def chosen(task: Task, args: Any) -> Any:
    """`args`, of a class with TaskArguments' flags, with the task's defaults in place of what is None.

    Raises
    ------
    InputError
        If the task has no such dataset, labels or cutting point.
    WeightsError
        If the default weights cannot be had.
    """
    dataset = next(iter(task.datasets)) if args.dataset is None else args.dataset
    cutting_point = list(task.cutting_points)[-1] if args.cutting_point is None else args.cutting_point
    args = dataclasses.replace(args, dataset=dataset, cutting_point=cutting_point)
    require_one_of(args, dataset=task.datasets)
    possible = task.datasets[dataset].labels
    args = dataclasses.replace(args, public_labels=possible[0] if args.public_labels is None else args.public_labels)
    having = [name for name, other in task.datasets.items() if args.public_labels in other.labels]
    if having and dataset not in having:
        raise InputError(
            f"--public-labels: found {args.public_labels!r}, expected {', '.join(possible)} with --dataset {dataset}; "
            f"--dataset {' or '.join(having)} has {args.public_labels}"
        )
    require_one_of(args, public_labels=possible)
    labels = task.labels[args.public_labels]
    if args.cutting_point not in task.cutting_points and (task.outline or args.weights is not None):
        # It says why a place is none, if it is a place at all.
        SplitNetwork(task.outline()[0] if task.outline else labels.network(args.weights), args.cutting_point)
    require_one_of(args, cutting_point=task.cutting_points)
    of_private = task.labels[labels.private] if labels.private else None
    has_network = of_private is not None and of_private.network is not None
    if args.private_weights is not None and not has_network:
        raise InputError(
            f"--private-weights: with --public-labels {args.public_labels} no private label is left in {task.name}, or none "
            "that has a network"
        )
    private = args.private_weights
    if has_network and private is None:
        same_file = of_private.weights is labels.weights and args.weights is not None
        private = args.weights if same_file else of_private.weights()
    own = {"task": Path(args.task)} if Path(args.task).suffix == ".py" else {}
    own["device"] = with_float64(args.device)
    return dataclasses.replace(args, weights=args.weights or labels.weights(), private_weights=private, **own)


def with_noise(args: Any) -> tuple[Task, Any, Channel]:
    """The task, `args` with all that noise and task say in place of what is None, and what crosses the cut.

    Parameters
    ----------
    args : dataclass
        Of a class with the flags of TaskArguments and NoiseArguments.

    Raises
    ------
    InputError
        If no noise is named and the task ships none, or the noise was learned for something else than `args` say.
    """
    args = with_network(args)
    single = [name for name in SINGLE if getattr(args, name) is not None]
    if args.noise is not None and single:
        raise InputError(f"--noise: found --{single[0]} beside it; expected one or the other")
    found = handed(args.noise) if args.noise is not None else None
    if not args.task:
        if found is None or found.task is None:
            raise InputError("--task: not named; expected it, or --noise with a folder whose run.json names a task")
        args = dataclasses.replace(args, task=found.task)
    try:
        task = read_task(args.task, args.data_root)
    except InputError as error:
        if found is None or args.task != found.task:
            raise
        raise InputError(f"--noise {args.noise}: its run.json names a task that is not there; {error}") from error
    choices = {"dataset": task.datasets, "public_labels": task.labels, "cutting_point": task.cutting_points}
    require_one_of(args, **{name: possible for name, possible in choices.items() if getattr(args, name) is not None})
    if found is None and not single:
        args = dataclasses.replace(args, noise=_shipped(task, args))
        found = handed(args.noise)
    if found is None:
        args = chosen(task, args)
    else:
        _agree("--task", args.noise, found.name, task.name)
        for name, learned in (("public_labels", found.public_labels), ("cutting_point", found.cutting_point)):
            if (given := getattr(args, name)) is None:
                _require_known(args.noise, name, learned, choices[name])
                args = dataclasses.replace(args, **{name: learned})
            else:
                _agree("--" + name.replace("_", "-"), args.noise, learned, given)
        args = chosen(task, args)
        # Weights that are not there are named by whoever loads them.
        own = sha256(args.weights) if args.weights.is_file() else found.weights
        if found.weights not in (None, own):
            raise InputError(
                f"--weights {args.weights}: the noise in {args.noise} was learned for other weights; found SHA-256 "
                f"{own[:12]}..., expected {found.weights[:12]}..."
            )
    source = source_of(args, tuple(task.cutting_points[args.cutting_point]))
    rule = args.draw or (found and found.rule) or source.rules[0]
    if not args.draw:
        _require_known(args.noise, "draw", rule, source.rules)
    return task, dataclasses.replace(args, draw=rule), Channel(source, rule).to(args.device)


def _shipped(task: Task, args: Any) -> Path:
    of_dataset = task.datasets[args.dataset or next(iter(task.datasets))].labels[0]
    labels = args.public_labels or (of_dataset if args.dataset else next(iter(task.shipped), of_dataset))
    if labels not in task.shipped:
        raise InputError(
            f"--noise: not named, and the task {task.name} ships none for the labels {labels}; expected a folder that step 1 "
            "has written for them"
        )
    return task.shipped[labels]


def _require_known(noise: Path, name: str, learned: str | None, possible: Collection[str]) -> None:
    """Raise InputError where the noise's record says something that is not there; None says nothing."""
    if learned is not None and learned not in possible:
        raise InputError(f"--noise {noise}: its run.json says {learned!r} as {name}, expected {', '.join(possible)}")


def _agree(flag: str, noise: Path, learned: str | None, found: str) -> None:
    """Raise InputError where the noise was learned for something else; None says nothing."""
    if learned is not None and learned != found:
        raise InputError(
            f"{flag} {found}: the noise in {noise} was learned for {learned}; expected noise for {found}, or {learned} here"
        )


class System:
    """A task with all its choices made: what steps work on.

    Parameters
    ----------
    task : Task
    args : dataclass
        As from `chosen`.

    Attributes
    ----------
    network : nn.Module
        The public one.
    split : SplitNetwork
        That, cut.
    shape : tuple of int
        Of one activation.
    """

    def __init__(self, task: Task, args: Any):
        self.task, self.args = task, args
        self.dataset, self.labels = task.datasets[args.dataset], task.labels[args.public_labels]
        self.shape = tuple(task.cutting_points[args.cutting_point])
        self.network = self.labels.network(args.weights).eval().to(args.device)
        self.split = SplitNetwork(self.network, args.cutting_point)
        private = task.labels[self.labels.private] if self.labels.private else None
        self._private = private.network(args.private_weights).to(args.device) if private and private.network else None

    @property
    def private_split(self) -> SplitNetwork | None:
        """The untrained adversary's network, cut at the same point; None where no private label is left, or has a network."""
        return SplitNetwork(self._private, self.args.cutting_point) if self._private else None

    def private_of(self, classes: Tensor) -> Tensor:
        """The private label of classes, int64 (n,); the class itself where none is named."""
        return self.task.labels[self.labels.private].public(classes) if self.labels.private else classes

    @property
    def files(self) -> list[Path]:
        """Files that say what the system computes: weights, and the task's own."""
        own = [self.args.task] if isinstance(self.args.task, Path) else []
        return [path for path in (self.args.weights, self.args.private_weights, *own) if path]

    def some_input(self) -> Tensor:
        """One of the shape that the network takes, (1, *shape)."""
        (inputs,) = self.dataset.load(self.args.data_root, {"test": 1}).values()
        return _some(inputs).to(self.args.device)

    def images(self, **parts: int | None) -> list[Images]:
        """The parts that are named, each so many images of it, or all of None; after a look at what the edge makes of one.

        Raises InputError, also where the network does not send or answer what the task says.
        """
        found = self.dataset.load(self.args.data_root, parts)
        image = _some(next(iter(found.values()))).to(self.args.device)
        with torch.no_grad():
            whole = self.network(image)
            _require_scores(f"--task {self.task.name}", whole)
            sent = self.split.edge(image)
            if tuple(sent.shape[1:]) != self.shape:
                raise InputError(
                    f"--task {self.task.name}: the network sends {tuple(sent.shape[1:])} at {self.args.cutting_point}, "
                    f"the task says {self.shape}"
                )
            answers = self.split.cloud(sent)
        if answers.shape != whole.shape or not torch.allclose(answers, whole.log_softmax(1), rtol=1e-3, atol=1e-5):
            raise InputError(
                f"--task {self.task.name}: its layers, one after another, answer otherwise than the network itself does"
            )
        for part, images in found.items():
            labels = self.labels.public(images.labels)
            if labels.dtype != torch.int64 or labels.min() < 0 or labels.max() >= answers.shape[1]:
                raise InputError(
                    f"--task {self.task.name}: the {part} images have the public labels {labels.min()} to {labels.max()}, "
                    f"{labels.dtype}, expected 0 to {answers.shape[1] - 1}, torch.int64, as the network answers"
                )
        return [found[part] for part in parts]


def _some(images: Images) -> Tensor:
    """An input of their shape, (1, *shape)."""
    return torch.rand(1, *images.shape, generator=torch.Generator().manual_seed(0))


def _require_scores(task: str, whole: Tensor) -> None:
    """Raise InputError unless a network answers an image with a score, or a log-probability, for each label: (1, labels)."""
    found = f"{tuple(whole.shape)}, {whole.dtype}" if isinstance(whole, Tensor) else f"a {type(whole).__name__}"
    if not isinstance(whole, Tensor) or whole.dim() != 2 or whole.shape[1] < 2 or not whole.isfinite().all():
        raise InputError(f"{task}: the network answers {found}, expected scores or log-probabilities, finite, (n, labels)")
    if whole.min() >= 0 and abs(whole.sum().item() - 1) < 1e-3:
        raise InputError(
            f"{task}: the network answers {found}, as probabilities, expected scores or log-probabilities: leave its last "
            "softmax out"
        )
