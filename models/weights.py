"""Reading weights from disk, with an error that names the file when they do not fit the network."""

import hashlib
import io
import json
import mmap
import os
import pickletools
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

# What training frameworks and nn.DataParallel put around a state dict.
_WRAPPERS = ("state_dict", "model")
_PREFIX = "module."
# How many batches a normalisation has seen: files from before PyTorch 0.4.1 lack it, and only training asks for it.
_COUNT = "num_batches_tracked"
_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class WeightsError(ValueError):
    """A weights file that cannot be read, or that belongs to another network; the message is one line."""


def load_weights(network: nn.Module, path: str | Path, renamed: Callable[[str], str] = str) -> None:
    """Copy the state dict stored at `path` into `network`; every name and every shape has to match.

    Counts of batches stay as they are where the file has none.

    Parameters
    ----------
    network : nn.Module
        The architecture the weights are for; changed in place.
    path : str or Path
        A `.safetensors` file, or a state dict written by `torch.save` (any other suffix), itself or as the entry `state_dict`
        or `model` of a dict; its names may all begin with `module.`. Numbers are float16, bfloat16, float32 or float64.
    renamed : callable
        From names in the file to those of the network.

    Raises
    ------
    WeightsError
        If the file is missing, unreadable, not a state dict, or of another network, or if what it holds are no finite real
        numbers of the network's precision. Nothing but tensors is ever unpickled.
    """
    path = Path(path)
    if not path.is_file():  # a FIFO would be waited for
        raise WeightsError(f"{path}: " + ("not a regular file, expected weights" if path.exists() else "no such weights file"))
    _require_intact(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of types that torch will no longer have: they are refused below
            if path.suffix == ".safetensors":
                found = safetensors.torch.load_file(path)
            else:
                found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load fails with half a dozen exception types on a damaged file
        raise WeightsError(f"{path}: not readable as weights ({type(error).__name__}); "
                           "expected .safetensors or a torch.save state dict") from error  # fmt: skip
    expected = network.state_dict()
    try:
        found = _renamed(_state_dict(found, expected), renamed)
        if not any(name.endswith(_COUNT) for name in found):
            found |= {name: value for name, value in expected.items() if name.endswith(_COUNT)}
        _require_fit(found, expected, type(network).__name__)
    except WeightsError as error:
        reason = " ".join(str(error).split())  # names in the file may hold line breaks, or be endless
        raise WeightsError(f"{path}: {reason[:1000]}") from None
    found = OrderedDict(found)
    found._metadata = expected._metadata  # layers ask how old their names are: these are the network's own
    network.load_state_dict(found, strict=True)


def _require_intact(path: Path) -> None:
    """Raise WeightsError where the file's checksums are not those of what it holds.

    They are its SHA-256 in the run record `NAME.json` beside it, and, in an archive of `torch.save`, one for each tensor, which
    torch writes and does not look at. A file without any passes.
    """
    try:
        expected = json.loads(path.with_suffix(".json").read_bytes())["files"][path.name]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # no such file, or another program's
        expected = None
    with open(path, "rb") as file:
        if expected is not None and hashlib.file_digest(file, "sha256").hexdigest() != expected:
            raise WeightsError(f"{path}: not the file that {path.with_suffix('.json').name} lists, for its SHA-256 differs")
        if path.suffix == ".safetensors" or not os.fstat(file.fileno()).st_size:
            return
        if not zipfile.is_zipfile(file):
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _require_short_names(path, content, _PICKLES)
            return
        try:
            with zipfile.ZipFile(file) as archive:
                packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
                damaged = packed[0] if packed else archive.testzip()
                pickled = [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")] if not damaged else []
        except Exception as error:  # zipfile raises half a dozen exception types on a damaged file
            raise WeightsError(f"{path}: not readable as weights ({type(error).__name__}: a damaged archive)") from error
    if damaged:
        raise WeightsError(f"{path}: damaged, for the checksum of {damaged!r:.100} differs, or torch.save has not packed it")
    for content in pickled:
        _require_short_names(path, io.BytesIO(content), 1)


# Characters of the name of a type or function in a state dict, at most.
_NAME = 300
# Pickles that begin a file of torch.save before 1.6.
_PICKLES = 5


def _require_short_names(path: Path, content: io.BytesIO | mmap.mmap, pickles: int) -> None:
    """Raise WeightsError where pickles have an endless name: torch's time to refuse one grows with the square of its length.

    Their instructions are listed, and none is followed.
    """
    try:
        listed = [pair for _ in range(pickles) for pair in pickletools.genops(content)]
    except ValueError as error:
        raise WeightsError(f"{path}: not readable as weights (no pickle); expected a torch.save state dict") from error
    longest = max((len(argument) for instruction, argument, _ in listed if instruction.name in ("GLOBAL", "INST")), default=0)
    if longest > _NAME:
        raise WeightsError(f"{path}: found a name of {longest} characters, expected a torch.save state dict")


def _state_dict(found: Any, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict in what a file holds, out of a wrapper and without a prefix where there is just one reading of it."""
    if isinstance(found, dict):
        wrapped = [key for key in _WRAPPERS if isinstance(found.get(key), dict)]
        if len(wrapped) == 1:
            found = found[wrapped[0]]
    if not isinstance(found, dict):
        raise WeightsError(f"found {type(found).__name__}, expected a state dict (names to tensors)")
    others = {name: value for name, value in found.items() if not (isinstance(name, str) and isinstance(value, Tensor))}
    if others or not found:
        shown = _first([f"{name!r} is {type(value).__name__}" for name, value in others.items()]) or "nothing"
        raise WeightsError(f"found {shown}, expected a state dict (names to tensors)")
    if found.keys() != expected.keys() and all(name.startswith(_PREFIX) for name in found):
        return {name.removeprefix(_PREFIX): value for name, value in found.items()}
    return found


def _renamed(found: dict[str, Tensor], renamed: Callable[[str], str]) -> dict[str, Tensor]:
    """By the network's names. Raises WeightsError where a file has a weight by both."""
    names = {name: renamed(name) for name in found}
    if twice := [name for name, new in names.items() if new != name and new in found]:
        raise WeightsError(f"{_first([f'{name} beside {names[name]}' for name in twice])}; expected one of both")
    return {names[name]: value for name, value in found.items()}


def _require_fit(found: dict[str, Tensor], expected: dict[str, Tensor], network: str) -> None:
    """Raise WeightsError unless `found` has the names, shapes and kinds of `expected`, and finite numbers."""
    # Those of the network first; then those that only the file has, which tell whose it is.
    differing = [name for name in expected if _shape(found.get(name)) != _shape(expected[name])]
    unknown = [name for name in found if name not in expected]
    texts = [
        [f"{name}: found {_shape(found.get(name))}, expected {_shape(expected.get(name))}" for name in names]
        for names in (differing, unknown)
        if names
    ]
    if texts:
        raise WeightsError(f"weights of another network than {network}: " + "; ".join(map(_first, texts)))
    odd = [
        f"{name} is {_plain(value.layout)} {_plain(value.dtype)} on {value.device}"
        for name, value in found.items()
        if not _is_plain(value, expected[name])
    ]
    if odd:
        raise WeightsError(f"{_first(odd)}; expected strided tensors of {', '.join(map(_plain, _REAL))}")
    broken = [name for name, value in found.items() if not value.isfinite().all()]
    if broken:
        raise WeightsError(f"NaN or infinity in {', '.join(broken)}")
    beyond = [name for name, value in found.items() if not value.to(expected[name].dtype).isfinite().all()]
    if beyond:
        raise WeightsError(f"numbers beyond {_plain(expected[beyond[0]].dtype)} in {', '.join(beyond)}")


def _is_plain(value: Tensor, expected: Tensor) -> bool:
    """Whether `value` is dense, in memory, and of real numbers; or of the network's own type, where that has integers."""
    dense = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    return dense and value.dtype in (_REAL if expected.is_floating_point() else (expected.dtype,))


def _plain(name: Any) -> str:
    return str(name).removeprefix("torch.")


def _shape(tensor: Tensor | None) -> str:
    if tensor is None:
        return "nothing"
    return "tensors of several shapes" if tensor.is_nested else str(tuple(tensor.shape))


def _first(texts: list[str]) -> str:
    """The first three of `texts`, and how many more there are."""
    return "; ".join(texts[:3]) + (f"; and {len(texts) - 3} more" if len(texts) > 3 else "")
