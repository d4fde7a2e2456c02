"""Where tensors live and are computed with, `--device`: the processor, or an accelerator."""

import platform

import numpy as np
import torch
from torch import Tensor

from shredder.io import ranks
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


def with_float64(name: str) -> str:
    """As `device_of`, of a device that also has float64, of which accuracies, draws and bounds are. Raises InputError."""
    device = device_of(name)
    if device == "mps":
        raise InputError("--device: found mps, which has no float64; expected auto, cpu")
    return device


def described(name: str) -> str:
    """A device as a run record has it."""
    processor = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    processor += f" in each of {ranks.world()} processes" if ranks.world() > 1 else ""
    if name == "cpu":
        return processor
    return f"{name}{f': {torch.cuda.get_device_name()}' if name == 'cuda' else ''}, {processor}"


def moved(array: np.ndarray, device: torch.device) -> Tensor:
    """What numpy drew, as a tensor on a device. It does not wait for what the device computes."""
    return torch.from_numpy(array).to(device, non_blocking=True)
