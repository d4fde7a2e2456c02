"""Processes that share one run, as `torchrun` starts them: who is who, what each takes, what all have found.

A process that was started by itself is alone: it takes everything, and nothing here costs it anything. Between processes
torch.distributed carries short texts and tensors. Results are files in a folder that all of them see; the first process, of
rank 0, writes the records and does the talking.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
# How long a process waits for others that live. One that died is noticed at once, for its connection ends.
_PATIENCE = timedelta(days=1)
# What is said where one has died.
PARTED = (
    "another process of this run has ended, see its message; what was finished is kept, and the same command goes on, "
    "with any number of processes"
)


class LostError(RuntimeError):
    """Another process of this run is no longer there."""


class _Run(NamedTuple):
    """The process group: a store that counts what was taken, this process's rank, and how many there are."""

    store: Any
    rank: int
    world: int


_run: _Run | None = None
_alone = False
_divided = 0  # how often work was divided: every process comes to the same number


class _OfOwnWork:
    """The output of a process that is not the first: what it prints of work that is all its own; the rest all would print."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """As of any stream."""
        return self._stream.write(text) if _alone else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Inside the block this process is one of those that `torchrun` has started; alone where it has not."""
    global _run
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        yield
        return
    import torch.distributed as dist

    with _talk():
        store, rank, world = next(dist.rendezvous("env://", timeout=timedelta(minutes=5)))
        store.set_timeout(_PATIENCE)
        dist.init_process_group("gloo", store=dist.PrefixStore("gloo", store), rank=rank, world_size=world, timeout=_PATIENCE)
    if torch.cuda.is_available():  # each has a device of its own where there are enough
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)) % torch.cuda.device_count())
    _run = _Run(dist.PrefixStore("taken", store), rank, world)
    if rank:
        sys.stdout = _OfOwnWork(sys.stdout)
    try:
        yield
        dist.destroy_process_group()
    finally:
        _run = None


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside the block this process works by itself: what it does there is divided no further."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def world() -> int:
    """How many processes share the work."""
    return 1 if _run is None or _alone else _run.world


def rank() -> int:
    """This process's number among them, from 0."""
    return 0 if _run is None or _alone else _run.rank


def name() -> str:
    """What this process is called in messages: nothing where it was started by itself."""
    return "" if _run is None else f"rank {_run.rank}: "


def silent() -> bool:
    """Whether another process does the talking."""
    return _run is not None and _run.rank > 0


def each(make: Callable[[T], Any], items: Sequence[T]) -> list[Any]:
    """What `make` makes of each item, in their order; of several processes whichever is free takes the next.

    Every process gets all. What is made has to be the same whoever makes it, and, of several processes, is what JSON has of it.
    """
    if world() == 1:
        return [make(item) for item in items]
    global _divided
    _divided += 1
    made = {}
    while (number := _taken(f"{_divided}")) < len(items):
        with alone():
            made[number] = make(items[number])
    found = {int(number): value for theirs in gathered(made) for number, value in theirs.items()}
    return [found[number] for number in range(len(items))]


def part(n: int, multiple: int = 1) -> slice:
    """Which of `n` items in a row are this process's, the first of them a multiple of `multiple`."""
    ends = [min(n, multiple * round(-(-n // multiple) * end / world())) for end in (rank(), rank() + 1)]
    return slice(*ends)


def wait() -> None:
    """Until all have come here."""
    if world() > 1:
        import torch.distributed as dist

        with _talk():
            dist.barrier()


def of_first(value: Any) -> Any:
    """What the first process has, as JSON has it where there are several."""
    return gathered(None if rank() else value)[0]


def gathered(value: Any) -> list[Any]:
    """What each process brings, in the order of ranks, as JSON has it."""
    if world() == 1:
        return [value]
    import torch.distributed as dist

    own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    with _talk():
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(world())]
        dist.all_gather(lengths, torch.tensor([len(own)]))
        texts = [own if sender == rank() else own.new_empty(int(n)) for sender, n in enumerate(lengths)]
        for sender, text in enumerate(texts):
            dist.broadcast(text, sender)
    return [json.loads(bytes(text.numpy())) for text in texts]


def exchanged(own: Sequence[Tensor]) -> list[list[Tensor]]:
    """Of each process its tensors, in the order of ranks; on the processor. Numbers and shapes are each process's own."""
    own = [tensor.detach().cpu().contiguous() for tensor in own]
    if world() == 1:
        return [own]
    import torch.distributed as dist

    kinds = gathered([(str(tensor.dtype).removeprefix("torch."), tensor.shape) for tensor in own])
    found = [[torch.empty(shape, dtype=getattr(torch, dtype)) for dtype, shape in theirs] for theirs in kinds]
    found[rank()] = own
    with _talk():
        for sender, tensors in enumerate(found):
            for tensor in tensors:
                if tensor.numel():
                    dist.broadcast(tensor, sender)
    return found


def _taken(what: str) -> int:
    """The number of the next item of `what` that nobody has taken."""
    with _talk():
        return _run.store.add(what, 1) - 1


@contextlib.contextmanager
def _talk() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch.distributed's errors are such
        raise LostError(f"{PARTED} ({' '.join(str(error).split())[:200]})") from error
