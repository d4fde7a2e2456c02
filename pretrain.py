"""Step 0: pretrain the networks that the suite ships, so that anybody can make them again. See models/README.md.

    python pretrain.py --task lenet --public-labels digits
    python pretrain.py --task lenet --public-labels gt5
    python pretrain.py --task alexnet
    python pretrain.py --task alexnet --public-labels imagenette
    python pretrain.py --task cifar10

Prints the accuracy on test images. The last epoch's weights are kept: nothing is selected on test images, and what step 1 holds
out is not learned from. On two cores that have bfloat16 a minute for each LeNet, four for AlexNet on digits, three quarters of
an hour for CIFAR-10; two minutes on a GPU for AlexNet on photographs.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from shredder.inputs.images import Images, held_out
from shredder.io import folders, ranks
from shredder.io.cli import InputError, in_float32, require_at_least, script
from shredder.io.device import device_of
from shredder.io.record import Record, report
from shredder.io.terminal import progress
from shredder.metrics import accuracy
from shredder.task import Pretraining, Task, read_task


@dataclass(frozen=True)
class Arguments:
    """Pretrain a network whose weights are the suite's own. Flags left out take the task's settings."""

    task: str | Path
    """A name in tasks/, or a Python file with a `task` of its own."""
    public_labels: str | None = None
    """What the network answers, one of the task's labels. Default: the first that it has a pretraining for."""
    data_root: Path = Path("data")
    """Folder of the dataset's files; what torchvision has is downloaded there if absent."""
    images: int | None = None
    """Training images, so many of a random order. Default: mostly all."""
    epochs: int | None = None
    """Passes over them."""
    batch_size: int | None = None
    """Images for one update."""
    learning_rate: float | None = None
    """Peak of the one-cycle schedule (Smith and Topin 2017) of AdamW."""
    weight_decay: float | None = None
    """AdamW's decoupled weight decay."""
    label_smoothing: float | None = None
    """Share of each label that is spread over all classes (Szegedy et al. 2016)."""
    judge_held_out: bool = False
    """Judge on the training images that step 1 holds out, for choosing settings, and not on test images."""
    device: str = "auto"
    """Where it is trained: cpu, cuda or mps. Default: cuda if there is one, else cpu."""
    seed: int = 0
    """Initial weights, dropout, choice and order of the images, and how they are augmented."""
    output: Path | None = None
    """Folder for the weights and the run record. Default: runs/TASK/pretrained."""


def train(
    network: nn.Module, how: Pretraining, pixels: Tensor, labels: Tensor, args: Arguments, rng: np.random.Generator
) -> None:
    """Minimise the cross-entropy of `network` on `pixels`, uint8 (n, ...), and `labels` (n,), in place."""
    n_batches = -(-len(pixels) // args.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.learning_rate, args.epochs * n_batches)
    with progress(args.epochs * n_batches, unit="batch") as bar:
        for _ in range(args.epochs):
            for rows in torch.from_numpy(rng.permutation(len(pixels))).split(args.batch_size):
                batch = how.augment(how.inputs(pixels[rows]), rng=rng)
                if batch.dim() == 4:
                    batch = batch.to(memory_format=torch.channels_last)
                with torch.autocast(args.device, torch.bfloat16, enabled=how.bfloat16 and _has_bfloat16(args.device)):
                    answers = network(batch).float()
                loss = functional.cross_entropy(answers, labels[rows], label_smoothing=args.label_smoothing)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)


def _has_bfloat16(device: str) -> bool:
    """Whether it multiplies bfloat16: a processor without emulates it, in more time than float32 takes."""
    if device != "cpu":
        return True
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def judged(task: Task, how: Pretraining, args: Arguments) -> Iterator[tuple[str, Images]]:
    """What the network is judged on, by what a result calls it."""
    part, called = ("train", "held-out images") if args.judge_held_out else ("test", "test set")
    for name in how.judged_on or list(task.datasets)[:1]:
        images = task.datasets[name].load(args.data_root, {part: None})[part]
        yield f"{name}'s {called}", images.first(held_out(len(images))) if args.judge_held_out else images


def with_defaults(task: Task, args: Arguments) -> Arguments:
    """`args` with the task's settings. Raises InputError."""
    if not task.pretraining:
        raise InputError(f"--task {task.name}: it says nothing of pretraining; expected a task whose weights are its own")
    public_labels = next(iter(task.pretraining)) if args.public_labels is None else args.public_labels
    if public_labels not in task.pretraining:
        raise InputError(f"--public-labels: found {public_labels}, expected {', '.join(task.pretraining)}")
    settings = {"label_smoothing": 0.0} | task.pretraining[public_labels].settings
    missing = {name: value for name, value in settings.items() if getattr(args, name) is None}
    output = Path("runs") / task.name / "pretrained" if args.output is None else args.output
    args = dataclasses.replace(args, **missing, public_labels=public_labels, output=output, device=device_of(args.device))
    require_at_least(args, images=1, epochs=1, batch_size=1, learning_rate=0, weight_decay=0, label_smoothing=0, seed=0)
    return args


def main(args: Arguments) -> None:
    """Train, report, write the weights and their run record."""
    task = read_task(args.task)
    args = with_defaults(task, args)
    files = [task.labels[name].weights().name for name in task.pretraining]
    records = [Path(name).with_suffix(".json").name for name in files]
    with folders.claimed(args.output, files, records):
        if not ranks.rank():  # the first process trains: there is nothing to divide
            _run(task, args)


@in_float32
def _run(task: Task, args: Arguments) -> None:
    record, rng = Record(args), np.random.default_rng(args.seed)
    how, labels = task.pretraining[args.public_labels], task.labels[args.public_labels]
    pixels, classes = how.rows(args.data_root)
    if args.images is not None and args.images < len(pixels):
        rows = torch.from_numpy(rng.permutation(len(pixels))[: args.images])
        pixels, classes = pixels[rows], classes[rows]
    with torch.random.fork_rng():  # torch's layers initialise themselves, and drop out, by its global generator only
        torch.manual_seed(args.seed)
        network = how.network().to(args.device, memory_format=torch.channels_last)
        train(network, how, pixels.to(args.device), labels.public(classes).to(args.device), args, rng)

    network = network.eval().cpu()
    weights = {name: _kept(value, how.half) for name, value in network.state_dict().items()}
    network.load_state_dict(weights)  # as they will be read
    results: dict[str, float] = {"training images": len(pixels), "parameters": sum(p.numel() for p in network.parameters())}
    for name, images in judged(task, how, args):
        with torch.no_grad():
            answers = torch.cat([network(some) for _, some in images.batches()])
        results[f"accuracy on {name}"] = accuracy(answers, labels.public(images.labels)).item()
    path = args.output / labels.weights().name
    record.write(path.with_suffix(".json"), {path: save(weights)}, results)
    report(args.output, results)


def _kept(value: Tensor, half: bool) -> Tensor:
    return (value.half() if half and value.is_floating_point() else value).contiguous()


if __name__ == "__main__":
    script(main, Arguments)
