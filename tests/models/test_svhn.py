"""SVHN's network: what its layers make, and how well the shipped weights answer."""

import torch

from models.svhn import CUTTING_POINTS, INPUT_SHAPE, WEIGHTS, SvhnNetwork, pretrained_svhn
from shredder.inputs.digits import digit_gt5
from shredder.metrics import accuracy
from tasks.svhn import gt5_network, task


def test_layers():
    """The chain answers as the network does; shapes at the cutting points, and a parameter count by hand."""
    images, network = torch.rand(2, *INPUT_SHAPE, generator=torch.Generator().manual_seed(0)), SvhnNetwork().eval()
    value = images
    with torch.no_grad():
        for name, layer in network.layers().items():
            value = layer(value)
            assert CUTTING_POINTS.get(name, tuple(value.shape[1:])) == tuple(value.shape[1:])
        torch.testing.assert_close(value, network(images))
    widths = ((3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128))
    convolutions = sum((9 * width + 3) * wider for width, wider in widths)  # a bias, and two numbers of normalisation
    assert sum(p.numel() for p in network.parameters()) == convolutions + 2049 * 256 + 257 * 10


def test_shipped_weights(grounds_root):
    """Of the package's 94.5 % on all 4,000; on 1,500 within three standard errors of 0.6 points."""
    images = task.datasets["svhn-4000"].load(grounds_root, {"test": None})["test"]
    with torch.no_grad():
        digits, gt5 = (
            torch.cat([of(some) for _, some in images.batches()]) for of in (pretrained_svhn(), gt5_network(WEIGHTS))
        )
    assert len(images) == 1500 and accuracy(digits, images.labels) > 0.925 and accuracy(gt5, digit_gt5(images.labels)) > 0.95
