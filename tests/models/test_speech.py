"""The networks of spoken digits: what their layers make, and how well the shipped weights answer."""

import pytest
import torch

from models.speech import CUTTING_POINTS, INPUT_SHAPE, N_CLASSES, WEIGHTS, pretrained_speech, speech_network
from models.weights import WeightsError
from shredder.metrics import accuracy
from tasks.speech import task


@pytest.mark.parametrize("answers", N_CLASSES)
def test_layers(answers):
    """Shapes at the cutting points, and a parameter count by hand."""
    network, value = speech_network(answers).eval(), torch.zeros(2, *INPUT_SHAPE)
    for name, layer in network.named_children():
        value = layer(value)
        assert CUTTING_POINTS.get(name, tuple(value.shape[1:])) == tuple(value.shape[1:])
    assert value.shape == (2, N_CLASSES[answers]) and value.exp().sum(1).allclose(torch.ones(2))
    convolutions = 9 * (16 + 16 * 32 + 32 * 64 + 64 * 64) + 2 * (16 + 32 + 64 + 64)
    assert sum(p.numel() for p in network.parameters()) == convolutions + 257 * 64 + 65 * N_CLASSES[answers]


@pytest.mark.parametrize("answers", N_CLASSES)
def test_shipped_weights(grounds_root, answers):
    """Their records have 99.5 % and more of 600 test recordings."""
    images = task.datasets["fsdd"].load(grounds_root, {"test": 300})["test"]
    with torch.no_grad():
        found = torch.cat([pretrained_speech(answers)(some) for _, some in images.batches()])
    assert WEIGHTS[answers].stat().st_size < 200_000
    assert accuracy(found, task.labels[answers].public(images.labels)) > 0.97


def test_weights_of_another_label():
    with pytest.raises(WeightsError, match=r"speech-speaker\.safetensors: weights of another network"):
        pretrained_speech("digit", WEIGHTS["speaker"])
