"""A task: all that a step asks of a system. `tasks/` has one file for each; a user's own file does as well."""

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from shredder.inputs.images import Images, first_of, random_order, tensor_images
from shredder.io.cli import InputError
from shredder.io.provenance import REPOSITORY
from shredder.split import places

# Side of the pictures that decoders guess, in pixels, at most.
_SIDE = 56


def same(values: Tensor) -> Tensor:
    """As they are: the class itself is what the cloud answers."""
    return values


def as_they_are(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Not augmented."""
    return images


def grey(images: Tensor) -> Tensor:
    """What a decoder guesses of inputs, (n, channels, H, W): their mean channel, (n, h, w), from 0 to 1, h and w at most 56.

    Raises InputError of inputs of another shape.
    """
    if images.dim() != 4:
        raise InputError(f"inputs of {tuple(images.shape[1:])} are no images (channels, H, W): the task has to name `pictures`")
    side = min(_SIDE, *images.shape[2:])
    pixels = functional.interpolate(images.mean(1, keepdim=True), (side, side), mode="area").squeeze(1)
    low, high = pixels.amin((1, 2), keepdim=True), pixels.amax((1, 2), keepdim=True)
    return (pixels - low) / (high - low).clamp(min=1e-6)


def tensors(read: Callable[[Path, str], tuple[Tensor, Tensor]]) -> Callable[..., dict[str, Images]]:
    """`Dataset.load` of inputs that fit in memory. Training inputs come in a random order, test inputs in theirs.

    Parameters
    ----------
    read : callable
        From a folder and "train" or "test" to that part's inputs, float32 (n, *shape), and their classes, int64 (n,).
    """

    def load(data_root: Path, parts: Mapping[str, int | None]) -> dict[str, Images]:
        images = {}
        for part, n in parts.items():
            inputs, classes = read(Path(data_root), part)
            if inputs.dtype != torch.float32 or classes.dtype != torch.int64 or classes.shape != inputs.shape[:1]:
                found = ", ".join(f"{tensor.dtype} {tuple(tensor.shape)}" for tensor in (inputs, classes))
                raise InputError(f"{part} inputs and classes: found {found}, expected torch.float32 (n, ...), torch.int64 (n,)")
            order = random_order(len(classes)) if part == "train" else torch.arange(len(classes))
            images[part] = tensor_images(inputs, classes, first_of(order, n, part, "the task"), same)
        return images

    return load


def cutting_points(network: nn.Module, inputs: Tensor) -> dict[str, tuple[int, ...]]:
    """Layers of any network behind which a single value crosses, and its shape for `inputs`, (1, *input shape)."""
    return {name: place.shape for name, place in places(network, inputs).items() if not place.beside}


@dataclass(frozen=True)
class Labels:
    """What a network answers.

    Attributes
    ----------
    network : callable or None
        From the path of weights to the network, which answers scores or log-probabilities: any module that `SplitNetwork`
        takes. Raises WeightsError. None of labels that are only hidden: then there is no untrained adversary.
    weights : callable or None
        The path of the weights that are taken where none are named; it may download them. Labels of one network share it.
    public : callable
        From classes, int64 (n,), to these labels.
    private : str or None
        The labels that are left to be hidden, by their name in the task: their network is the untrained adversary's.
    """

    network: Callable[[Path], nn.Module] | None
    weights: Callable[[], Path] | None = None
    public: Callable[[Tensor], Tensor] = same
    private: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Inputs, in parts.

    Attributes
    ----------
    load : callable
        From a folder and a mapping of parts ("train", "test") to how many of each (None: all), to the parts' Images. A tenth of
        the training images, the first, is held out. Raises InputError.
    labels : tuple of str
        Names of the labels that it has, the default first.
    input_bits : int
        What an input is stored in, at most.
    sample, attack : mapping of str to value
        Defaults of flags of step 2 (`n_samples`, `judged_on`) and of the attack (`images`, `epochs`).
    of_test : mapping of str to callable
        Secrets that follow from a test input's place: from n to the labels of the first n, int64 (n,).
    """

    load: Callable[[Path, Mapping[str, int | None]], dict[str, Images]]
    labels: tuple[str, ...]
    input_bits: int
    sample: Mapping[str, Any] = field(default_factory=dict)
    attack: Mapping[str, Any] = field(default_factory=dict)
    of_test: Mapping[str, Callable[[int], Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pretraining:
    """How a network of ours is trained, step 0.

    Attributes
    ----------
    network : callable
        The network with new weights, by torch's global generator: inputs to log-probabilities.
    rows : callable
        From a folder to training pixels, uint8 (n, ...), and classes, int64 (n,). Raises InputError.
    inputs : callable
        From rows of those pixels to float32 (b, channels, H, W).
    augment : callable
        From those and a generator to what the network is given, float32 (b, channels, H, W).
    judged_on : tuple of str
        The task's datasets on whose test images it is judged; none for the first.
    bfloat16 : bool
        Whether products are of that precision, where the processor has it.
    half : bool
        Whether weights are kept in half precision.
    settings : mapping of str to value
        `epochs`, `batch_size`, `learning_rate` (peak), `weight_decay`, `label_smoothing`, and `images` where not all are taken.
    """

    network: Callable[[], nn.Module]
    rows: Callable[[Path], tuple[Tensor, Tensor]]
    inputs: Callable[[Tensor], Tensor]
    augment: Callable[..., Tensor] = as_they_are
    judged_on: tuple[str, ...] = ()
    bfloat16: bool = True
    half: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A system: networks, where they may be cut, inputs.

    Attributes
    ----------
    name : str
        What folders in `runs/` and records call it.
    cutting_points : mapping of str to tuple of int
        Layers whose output may be sent, and its shape, channels first. The last is the default.
    datasets, labels : mapping
        By name; the first dataset is the default.
    learn : callable
        From step 1's flags, of which some are None yet, to the task's defaults for them, by name. It goes before the methods'.
    method : str
        The default of `--method`.
    shipped : mapping of str to Path
        By labels: the folder that step 1 has written from which step 2 and the attack draw where no other is named.
    pictures : callable or None
        From inputs to what decoders guess of them, float32 (n, side, side) in [0, 1], a side of at least 3. None of inputs that
        have no picture, such as text: then none is guessed.
    secrets : mapping of str to callable
        What else an attack reads, by name: from pictures and classes, (n,), to labels, int64 (n,), or to quantities, of a
        floating-point type, of which it reads whether they are above their median.
    pretraining : mapping of str to Pretraining
        By labels, for those whose weights are the task's own.
    outline : callable or None
        The network with any weights, or on torch's device meta, and an input, (1, *input shape): of tasks for any network.
        They say where else it could be cut, and why a place is none, before there are weights and data.
    """

    name: str
    cutting_points: Mapping[str, tuple[int, ...]]
    datasets: Mapping[str, Dataset]
    labels: Mapping[str, Labels]
    learn: Callable[[Any], Mapping[str, Any]] = lambda args: {}
    method: str = "self-supervised"
    shipped: Mapping[str, Path] = field(default_factory=dict)
    pictures: Callable[[Tensor], Tensor] | None = grey
    secrets: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)
    pretraining: Mapping[str, Pretraining] = field(default_factory=dict)
    outline: Callable[[], tuple[nn.Module, Tensor]] | None = None


def read_task(name: str | Path, data_root: Path = Path("data")) -> Task:
    """The `task` of `tasks/NAME.py`, or of a Python file; of a file for any network what its `task_of` makes of NAME:NETWORK.

    `task_of` is given the network's name and the folder of the data, which may say what its input is.

    Raises InputError.
    """
    name, _, network = (str(name), "", "") if Path(name).suffix == ".py" else str(name).partition(":")
    names = sorted(path.stem for path in (REPOSITORY / "tasks").glob("*.py") if path.stem != "__init__")
    own = Path(name).suffix == ".py"
    path = Path(name) if own else REPOSITORY / "tasks" / f"{name}.py"
    if not (path.is_file() if own else name in names):
        found = f"{name}, no such file" if own else f"{str(name)!r}"
        raise InputError(f"--task: found {found}, expected {', '.join(names)}, or a Python file with a task")
    try:
        if own:
            spec = importlib.util.spec_from_file_location(f"task_{path.stem}", path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses look their module up there
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(f"tasks.{name}")
    except (Exception, SystemExit) as error:  # whatever a user's file raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"--task {name}: the file raised {reason}") from error
    task = _task_of(module, name, network, data_root)
    if not isinstance(task, Task):
        raise InputError(f"--task {name}: found {type(task).__name__} as its `task`, expected a shredder.task.Task")
    named = {label for dataset in task.datasets.values() for label in dataset.labels}
    named |= {labels.private for labels in task.labels.values() if labels.private}
    if unknown := sorted(named - task.labels.keys()):
        raise InputError(f"--task {name}: found the labels {', '.join(unknown)}, expected some of {', '.join(task.labels)}")
    return task


def _task_of(module: ModuleType, name: str, network: str, data_root: Path) -> Any:
    """A file's task, for the network that is named if it is for any. Raises InputError where just one of both is so."""
    of_network = getattr(module, "task_of", None)
    if of_network is None:
        if network:
            raise InputError(f"--network: found {network!r}, but the task {name} has a network of its own")
        return getattr(module, "task", None)
    if not network:
        raise InputError(f"--network: not named, and the task {name} is for any; expected one")
    return of_network(network, data_root)
