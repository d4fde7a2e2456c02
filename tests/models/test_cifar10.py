"""CIFAR-10's network: what its layers make, what animal or vehicle means, and how well the shipped weights answer."""

import pytest
import torch

from models.cifar10 import CUTTING_POINTS, INPUT_SHAPE, WEIGHTS, cifar10_network, pretrained_cifar10
from models.weights import WeightsError
from shredder.metrics import accuracy
from tasks.cifar10 import ANIMALS, animal, animal_network, task


def test_layers():
    """Shapes at the cutting points, and a parameter count by hand."""
    network, images = cifar10_network().eval(), torch.zeros(2, *INPUT_SHAPE)
    value = images
    for name, layer in network.named_children():
        value = layer(value)
        assert CUTTING_POINTS.get(name, tuple(value.shape[1:])) == tuple(value.shape[1:])
    assert value.exp().sum(1).allclose(torch.ones(2))
    convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    assert sum(p.numel() for p in network.parameters()) == 24 * 12 + 24 + convolutions + 2 * (2 * 64 + 4 * 256) + 2570


def test_animal_or_vehicle():
    """By hand: frog and ship are 6 and 8; probabilities of a group add up."""
    assert animal(torch.tensor([6, 8, 0, 2])).tolist() == [1, 0, 0, 1] and len(ANIMALS) == 6
    found = animal_network(WEIGHTS)[-1](torch.full((1, 10), 0.1).log()).exp()
    torch.testing.assert_close(found, torch.tensor([[0.4, 0.6]]))


def test_shipped_weights(cifar10_root):
    """On 1,000 test images as well as on all of them, within three standard errors: 0.0255 of 1,000 at 92 %."""
    assert WEIGHTS.stat().st_size <= 5_000_000
    images = task.datasets["cifar10"].load(cifar10_root, {"test": 1000})["test"]
    pixels = images.make(list(range(1000)))
    with torch.no_grad():
        classes, animals = pretrained_cifar10()(pixels), animal_network(WEIGHTS)(pixels)
    assert accuracy(classes, images.labels) > 0.90 and accuracy(animals, animal(images.labels)) > 0.97


def test_weights_of_another_network():
    with pytest.raises(WeightsError, match=r"lenet-digit\.safetensors: weights of another network"):
        pretrained_cifar10(WEIGHTS.with_name("lenet-digit.safetensors"))
