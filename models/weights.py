"""Reading weights from disk, with an error that names the file when they do not fit the network."""

from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn


class WeightsError(ValueError):
    """A weights file that cannot be read, or that belongs to another network."""


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Copy the state dict stored at `path` into `network`; every name and every shape has to match.

    Parameters
    ----------
    network : nn.Module
        The architecture the weights are for; changed in place.
    path : str or Path
        A `.safetensors` file, or a state dict written by `torch.save` (any other suffix).

    Raises
    ------
    WeightsError
        If the file is missing, unreadable, not a state dict, or of another network. Nothing but tensors is ever unpickled.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            found = safetensors.torch.load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load fails with half a dozen exception types on a damaged file
        raise WeightsError(f"{path}: not readable as weights ({type(error).__name__}); "
                           "expected .safetensors or a torch.save state dict") from error  # fmt: skip
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise WeightsError(f"{path}: found {type(found).__name__}, expected a state dict (names to tensors)")
    expected = network.state_dict()
    differences = [
        f"{name}: found {_shape(found.get(name))}, expected {_shape(expected.get(name))}"
        for name in [*expected, *(found.keys() - expected.keys())]
        if _shape(found.get(name)) != _shape(expected.get(name))
    ]
    if differences:
        shown = "; ".join(differences[:3]) + (f"; and {len(differences) - 3} more" if len(differences) > 3 else "")
        raise WeightsError(f"{path}: weights of another network than {type(network).__name__}: {shown}")
    broken = [name for name, value in found.items() if not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{path}: NaN or infinity in {', '.join(broken)}")
    network.load_state_dict(found, strict=True)


def _shape(tensor: torch.Tensor | None) -> str:
    return "nothing" if tensor is None else str(tuple(tensor.shape))
