"""Where tensors live and are computed with, `--device`: the processor, or an accelerator."""

import platform

import torch

from shredder.io.cli import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")


def device_of(name: str) -> str:
    """What `--device` means here: of auto cuda if there is one, else cpu. Raises InputError of one that is not there."""
    if name not in DEVICES:
        raise InputError(f"--device: found {name!r}, expected {', '.join(DEVICES)}")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there[name]:
        found = ", ".join(other for other, is_there in there.items() if is_there)
        raise InputError(f"--device: found {name}, of which torch sees none here; expected auto, {found}")
    return name


def described(name: str) -> str:
    """A device as a run record has it."""
    accelerator = {"cuda": torch.cuda.get_device_name, "mps": lambda: "mps"}.get(name)
    processor = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return processor if accelerator is None else f"{accelerator()}, {processor}"
