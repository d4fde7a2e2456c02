"""The network of letters: what its layers make, what a topic is, and how well the shipped weights answer."""

import torch

from models.newsgroups import CUTTING_POINTS, N_WORDS, WEIGHTS, newsgroups_network, pretrained_newsgroups
from shredder.inputs import newsgroups as inputs
from shredder.metrics import accuracy
from tasks.newsgroups import TOPICS, task, topic, topic_network


def test_layers():
    """Shapes at the cutting point, and a parameter count by hand; the input has as many words as are hashed to."""
    network, value = newsgroups_network().eval(), torch.zeros(2, N_WORDS)
    for name, layer in network.named_children():
        value = layer(value)
        assert CUTTING_POINTS.get(name, tuple(value.shape[1:])) == tuple(value.shape[1:])
    assert value.exp().sum(1).allclose(torch.ones(2)) and inputs.N_WORDS == N_WORDS
    assert sum(p.numel() for p in network.parameters()) == (N_WORDS + 1) * 64 + 65 * 20


def test_topics():
    """By hand: five groups of comp, four of rec; their probabilities add up."""
    groups = topic(torch.arange(20))
    assert groups.bincount().tolist() == [1, 5, 1, 4, 4, 1, 4] and TOPICS[groups[7]] == "rec"
    found = topic_network(WEIGHTS)[-1](torch.full((1, 20), 0.05).log()).exp()
    torch.testing.assert_close(found, torch.tensor([[1.0, 5, 1, 4, 4, 1, 4]]) / 20)


def test_shipped_weights(grounds_root):
    """The record's 67.5 % of all test letters; on 1,500 within three standard errors of 1.2 points."""
    images = task.datasets["20news-bydate"].load(grounds_root, {"test": 1500})["test"]
    with torch.no_grad():
        groups, topics = (
            torch.cat([of(some) for _, some in images.batches()]) for of in (pretrained_newsgroups(), topic_network(WEIGHTS))
        )
    assert WEIGHTS.stat().st_size < 1_100_000
    assert accuracy(groups, images.labels) > 0.638 and accuracy(topics, topic(images.labels)) > 0.75
