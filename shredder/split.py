"""A frozen network cut in two: edge | cutting point | cloud."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from shredder.runs import InputError


class SplitNetwork(nn.Module):
    """`network` as `edge` and `cloud`, every weight frozen, in eval mode.

    The two halves hold the network's own layers, so `cloud(edge(x))` equals `network(x)` bit for bit.

    Parameters
    ----------
    network : nn.Module
        With `layers()`, its chain of named layers.
    cutting_point : str
        The last layer of the edge: its output is what is sent.

    Raises
    ------
    InputError
        If the network has no such cutting point.
    """

    def __init__(self, network: nn.Module, cutting_point: str):
        super().__init__()
        layers = network.layers()
        names = list(layers)
        if cutting_point not in names[:-1]:
            raise InputError(f"--cutting-point: found {cutting_point!r}, expected one of {', '.join(names[:-1])}")
        cut = names.index(cutting_point) + 1
        self.edge = nn.Sequential(*[layers[name] for name in names[:cut]])
        self.cloud = nn.Sequential(*[layers[name] for name in names[cut:]])
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
            return torch.cat([self.edge(batch) for batch in images.split(batch_size)])

    def noisy_cloud(self, activations: Tensor, multiplicative: Tensor, additive: Tensor) -> Tensor:
        """The cloud's answer to every activation under every one of R noise tensors.

            cloud(a'),   a' = w * a + n

        Where the cloud begins with a linear map W a' + b of the whole activation, w and n are folded into it,
        W (w * a + n) + b = (W diag w) a + (W n + b), so that all R members share one matrix product and no noisy
        activation is ever formed. Equal to `cloud(w * a + n)` up to rounding.

        Parameters
        ----------
        activations : Tensor, (n, *activation shape)
        multiplicative, additive : Tensor, (R, *activation shape)

        Returns
        -------
        Tensor, (n, R, classes)
            Log-probabilities.
        """
        shape = (len(activations), len(multiplicative))
        weight, bias, rest = self._first_linear_map(activations[0].numel())
        if weight is None:
            noisy = multiplicative * activations.unsqueeze(1) + additive
            return self.cloud(noisy.flatten(0, 1)).unflatten(0, shape)
        folded_weight = weight * multiplicative.flatten(1).unsqueeze(1)  # (R, H, D)
        folded_bias = torch.addmm(bias, additive.flatten(1), weight.T)  # (R, H)
        hidden = functional.linear(activations.flatten(1), folded_weight.flatten(0, 1), folded_bias.flatten())
        return rest(hidden.unflatten(1, shape[1:] + bias.shape).flatten(0, 1)).unflatten(0, shape)

    def _first_linear_map(self, n_elements: int) -> tuple[Tensor | None, Tensor | None, nn.Sequential]:
        """W (H, D), b (H,) and the layers after them, if the cloud begins by mapping all D elements linearly."""
        first, *rest = [layer for layer in self.cloud]
        if isinstance(first, nn.Flatten):
            first, *rest = rest
        if isinstance(first, nn.Linear | nn.Conv2d) and math.prod(first.weight.shape[1:]) == n_elements:
            return first.weight.flatten(1), first.bias, nn.Sequential(*rest)
        return None, None, self.cloud
