"""An accelerator that every machine has: tensors on it know where they are, and what would be copied without a word fails.

It stands on torch's device "meta", whose tensors have no numbers: here they have some, on the processor.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = "meta"
aten = torch.ops.aten
# Operations whose result has a size that depends on numbers: a processor has to wait for them.
_OF_UNKNOWN_SIZE = {aten.nonzero.default, aten.masked_select.default, aten._unique2.default, aten.bincount.default}
_INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}


class SilentCopyError(AssertionError):
    """Something went from one device to the other, or was mixed, where nobody had asked for it."""


class There(Tensor):
    """A tensor on the accelerator; `inner` has its numbers."""

    @staticmethod
    def __new__(cls, inner: Tensor):
        metadata = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        return Tensor._make_wrapper_subclass(cls, inner.shape, device=DEVICE, **metadata)

    def __init__(self, inner: Tensor):
        self.inner = inner

    def __repr__(self, **_):
        return f"There({self.inner})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_):
        raise SilentCopyError("numpy() of a tensor on the accelerator")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise SilentCopyError(f"{func} of a tensor on the accelerator, which is off")


class Accelerator(TorchDispatchMode):
    """In its `with` block `device="meta"` makes tensors that have numbers, and operations run on them.

    Attributes
    ----------
    looks : int
        How often the processor waited for a number, or for how many there are.
    """

    def __init__(self):
        super().__init__()
        self.looks = 0

    @contextmanager
    def looked(self, at_most: int) -> Iterator[None]:
        """No more looks than these in the `with` block."""
        before = self.looks
        yield
        assert self.looks - before <= at_most, f"{self.looks - before} looks, expected {at_most} at most"

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [found for found in tree_flatten((args, kwargs))[0] if isinstance(found, Tensor)]
        there = [tensor for tensor in tensors if isinstance(tensor, There)]
        here = [tensor for tensor in tensors if not isinstance(tensor, There)]
        target = torch.device(kwargs["device"]).type if kwargs.get("device") is not None else None
        if target == DEVICE:
            kwargs["device"] = "cpu"
        if not there and target != DEVICE:
            return func(*args, **kwargs)
        copied = func in (aten._to_copy.default, aten.copy_.default)
        if there and here and not copied and any(tensor.dim() for tensor in here):
            raise SilentCopyError(f"{func} of tensors on the accelerator and off it")
        if func in _INDEXED and any(tensor.dtype == torch.bool for tensor in tree_flatten(args[1])[0] if tensor is not None):
            self.looks += 1
        leaves = target == "cpu" if func is aten._to_copy.default else copied and not isinstance(args[0], There)
        self.looks += leaves or func in (*_OF_UNKNOWN_SIZE, aten._local_scalar_dense.default)
        inner = {id(tensor.inner): tensor for tensor in there}
        found = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
        if torch.Tag.inplace_view in func.tags:
            with no_dispatch():  # of the outer tensor, too
                func(*args, **kwargs)
        if leaves:
            return args[0] if func is aten.copy_.default else found

        def outer(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return inner.get(id(value)) if id(value) in inner else There(value)

        return tree_map(outer, found)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, There) else value
