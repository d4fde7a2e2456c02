"""A frozen network cut in two: edge | cutting point | cloud."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from shredder.io.cli import InputError
from shredder.noise.tensors import noisy


class SplitNetwork(nn.Module):
    """`network` as `edge` and `cloud`, every weight frozen, in eval mode.

    The two halves hold the network's own layers, so `cloud(edge(x))` equals `network(x)` bit for bit.

    Parameters
    ----------
    network : nn.Module
        With `layers()`, its chain of named layers; or an nn.Sequential.
    cutting_point : str
        The last layer of the edge: its output is what is sent.

    Raises
    ------
    InputError
        If the network has no such cutting point, or is no chain of layers.
    """

    def __init__(self, network: nn.Module, cutting_point: str):
        super().__init__()
        layers = _chain(network)
        names = list(layers)
        if cutting_point not in names[:-1]:
            raise InputError(f"--cutting-point: found {cutting_point!r}, expected one of {', '.join(names[:-1])}")
        cut = names.index(cutting_point) + 1
        self.edge = nn.Sequential(*[layers[name] for name in names[:cut]])
        self.cloud = nn.Sequential(*[layers[name] for name in names[cut:]])
        # The cloud up to its first linear map, if it begins with one, and what follows.
        n_head = 1 + isinstance(self.cloud[0], nn.Flatten)
        if not isinstance(self.cloud[n_head - 1], nn.Linear | nn.Conv2d):
            n_head = 0
        self.head, self.rest = self.cloud[:n_head], self.cloud[n_head:]
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
            return torch.cat([self.edge(batch).contiguous() for batch in images.split(batch_size)])

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
        shape = (len(activations), len(additive))
        if multiplicative is None and self.head:
            linear = self.head(additive) - self.head(torch.zeros_like(additive[:1]))  # W n, without b
            hidden = self.head(activations).unsqueeze(1) + linear
        elif self.head and math.prod(self.head[-1].weight.shape[1:]) == activations[0].numel():
            weight, bias = self.head[-1].weight.flatten(1), self.head[-1].bias  # (H, D), (H,)
            folded_weight = weight * multiplicative.flatten(1).unsqueeze(1)  # (R, H, D)
            folded_bias = torch.addmm(bias, additive.flatten(1), weight.T)  # (R, H)
            hidden = functional.linear(activations.flatten(1), folded_weight.flatten(0, 1), folded_bias.flatten())
            hidden = hidden.unflatten(1, shape[1:] + bias.shape)
        else:
            hidden = self.head(noisy(activations.unsqueeze(1), multiplicative, additive).flatten(0, 1)).unflatten(0, shape)
        return self.rest(hidden.flatten(0, 1)).unflatten(0, shape)


def _chain(network: nn.Module) -> Mapping[str, nn.Module]:
    """Its named layers in the order they run. Raises InputError."""
    if isinstance(network, nn.Sequential):
        return dict(network._modules)  # with layers that run twice, which named_children() leaves out
    layers = getattr(network, "layers", None)
    if not callable(layers) or isinstance(layers, nn.Module):
        raise InputError(
            f"the network: found a {type(network).__name__} without a method layers(), expected its chain of named layers, or "
            "an nn.Sequential"
        )
    return layers()
