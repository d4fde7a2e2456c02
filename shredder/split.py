"""A frozen network cut in two: edge | cutting point | cloud."""

import math
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from shredder import graph
from shredder.io.cli import InputError
from shredder.noise.tensors import noisy


class SplitNetwork(nn.Module):
    """`network` as `edge` and `cloud`, every weight frozen, in eval mode.

    The two halves hold the network's own layers, so `cloud(edge(x))` equals `network(x)` bit for bit. Where that ends in
    scores, the cloud makes log-probabilities of them.

    Parameters
    ----------
    network : nn.Module
        An nn.Sequential, a module with `layers()`, its chain of named layers, or any module that torch.fx can trace.
    cutting_point : str
        The last layer of the edge: its output is what is sent.

    Raises
    ------
    InputError
        If the network has no such cutting point, more than one value crosses it, or the network cannot be traced.
    """

    def __init__(self, network: nn.Module, cutting_point: str):
        super().__init__()
        layers = chain_of(network)
        halves = graph.Traced(network.eval()).halves if layers is None else partial(_halves, layers)
        self.edge, cloud = halves(cutting_point)
        # The cloud up to its first linear map, if it begins with one, and what follows.
        self.head, rest = _beginning(cloud) if layers is not None else graph.beginning(cloud)
        last = [] if _ends_in_log_probabilities(cloud) else [nn.LogSoftmax(-1)]
        self.cloud, self.rest = (nn.Sequential(*(half if layers is not None else [half]), *last) for half in (cloud, rest))
        # What follows, to scores that are not yet normalised.
        self.scoring = self.rest[:-1] if isinstance(self.rest[-1], nn.LogSoftmax) else self.rest
        self.requires_grad_(False)
        self.eval()

    def activations(self, images: Tensor, batch_size: int = 2000) -> Tensor:
        """What the edge sends for `images`, computed in batches so that memory stays small.

        Parameters
        ----------
        images : Tensor, (n, *input shape)

        Returns
        -------
        Tensor, (n, *activation shape)
        """
        with torch.no_grad():
            return torch.cat([self.edge(batch.to(self.device)).contiguous() for batch in images.split(batch_size)])

    @property
    def device(self) -> torch.device:
        """Where its weights are, and what it sends."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    def noisy_cloud(self, activations: Tensor, multiplicative: Tensor | None, additive: Tensor) -> Tensor:
        """The cloud's answer to every activation under every one of R noise tensors.

            cloud(a'),   a' = w * a + n

        No noisy activation is formed where the cloud begins with a linear map W a' + b, dense or a convolution. Where the
        method has no w, W (a + n) + b = (W a + b) + W n, and all R members share the first sum. Where W maps the whole
        activation, w and n are folded into it, W (w * a + n) + b = (W diag w) a + (W n + b), and they share one matrix
        product. Equal to `cloud(w * a + n)` up to rounding.

        Parameters
        ----------
        activations : Tensor, (n, *activation shape)
        multiplicative, additive : Tensor, (R, *activation shape)
            None for w = 1.

        Returns
        -------
        Tensor, (n, R, classes)
            Log-probabilities.
        """
        return self._behind_head(self.rest, activations, multiplicative, additive)

    @torch.no_grad()
    def noisy_scores(self, activations: Tensor, multiplicative: Tensor | None, additive: Tensor) -> Tensor:
        """As `noisy_cloud`, but for what is the same for all classes: it tells which has most, in half the time.

        Log-probabilities cost more than LeNet's layers do.
        """
        return self._behind_head(self.scoring, activations, multiplicative, additive)

    def _behind_head(self, rest: nn.Module, activations: Tensor, multiplicative: Tensor | None, additive: Tensor) -> Tensor:
        shape = (len(activations), len(additive))
        if multiplicative is None and self.head:
            linear = self.head(additive) - self.head(torch.zeros_like(additive[:1]))  # W n, without b
            hidden = self.head(activations).unsqueeze(1) + linear
        elif self.head and maps_all_of(self.head[-1], activations[0].numel()):
            weight = self.head[-1].weight.flatten(1)  # (H, D)
            bias = weight.new_zeros(len(weight)) if self.head[-1].bias is None else self.head[-1].bias  # (H,)
            folded_weight = weight * multiplicative.flatten(1).unsqueeze(1)  # (R, H, D)
            folded_bias = torch.addmm(bias, additive.flatten(1), weight.T)  # (R, H)
            hidden = functional.linear(activations.flatten(1), folded_weight.flatten(0, 1), folded_bias.flatten())
            hidden = hidden.unflatten(1, shape[1:] + bias.shape + (1, 1) * isinstance(self.head[-1], nn.Conv2d))
        else:
            hidden = self.head(noisy(activations.unsqueeze(1), multiplicative, additive).flatten(0, 1)).unflatten(0, shape)
        return rest(hidden.flatten(0, 1)).unflatten(0, shape)


class Place(NamedTuple):
    """Where a network could be cut: what is sent of one input, and whether more than that crosses.

    Attributes
    ----------
    shape : tuple of int
    bytes : int
        As float32.
    beside : tuple of str
        Whatever else crosses, by name.
    """

    shape: tuple[int, ...]
    bytes: int
    beside: tuple[str, ...]


def places(network: nn.Module, inputs: Tensor) -> dict[str, Place]:
    """Of all layers but the last, in their order; by what they make of `inputs`, (1, *input shape)."""
    layers = chain_of(network.eval())
    if layers is None:
        traced = graph.Traced(network)
        cuts = traced.cuts()
        values = {name: (value, cuts[name].beside) for name, value in traced.values(inputs).items()}
    else:
        values, value = {}, inputs
        with torch.no_grad():
            for name, layer in list(layers.items())[:-1]:
                value = layer(value)
                values[name] = value, ()
    return {
        name: Place(tuple(value.shape[1:]), 4 * value[0].numel(), beside)
        for name, (value, beside) in values.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 1 and len(value) == len(inputs)
    }


def chain_of(network: nn.Module) -> Mapping[str, nn.Module] | None:
    """Its named layers in the order they run, if it says that it is a chain of them."""
    if isinstance(network, nn.Sequential):
        return dict(network._modules)  # with layers that run twice, which named_children() leaves out
    layers = getattr(network, "layers", None)
    return layers() if callable(layers) and not isinstance(layers, nn.Module) else None


def _halves(layers: Mapping[str, nn.Module], cutting_point: str) -> tuple[nn.Sequential, nn.Sequential]:
    names = list(layers)
    if cutting_point not in names[:-1]:
        raise InputError(f"--cutting-point: found {cutting_point!r}, expected one of {', '.join(names[:-1])}")
    cut = names.index(cutting_point) + 1
    if getattr(layers[names[cut]], "inplace", False):
        layers[names[cut]].inplace = False  # an activation is answered many times, and has to stay as it is
    return nn.Sequential(*map(layers.get, names[:cut])), nn.Sequential(*map(layers.get, names[cut:]))


def _beginning(cloud: nn.Sequential) -> tuple[nn.Sequential, nn.Sequential]:
    """Its first linear map, flattened or not before, and what follows; nothing and all of it, if it begins with another."""
    first = int(isinstance(cloud[0], nn.Flatten))
    n_head = first + 1 if len(cloud) > first and isinstance(cloud[first], nn.Linear | nn.Conv2d) else 0
    return cloud[:n_head], cloud[n_head:]


def _ends_in_log_probabilities(cloud: nn.Module) -> bool:
    return isinstance(cloud[-1], nn.LogSoftmax) if isinstance(cloud, nn.Sequential) else graph.ends_in_log_probabilities(cloud)


def maps_all_of(linear: nn.Linear | nn.Conv2d, n: int) -> bool:
    """Whether each output is a sum over all `n` elements: a dense map's, and a convolution's whose kernel covers its input."""
    if isinstance(linear, nn.Linear):
        return linear.in_features == n
    one = linear.groups == 1 and set(linear.dilation) == {1} and linear.padding in (0, (0, 0), "valid")
    return one and math.prod(linear.weight.shape[1:]) == n
