"""What edge and cloud of a network take at each cutting point, measured once."""

import statistics
import time
from typing import Any

import torch

from models import alexnet, lenet
from shredder.inputs.digits import load_digits, to_network_input
from shredder.inputs.images import to_imagenet_input
from shredder.io import kept
from shredder.io.record import key
from shredder.split import SplitNetwork


def profile(args: Any, network: str) -> dict[str, dict[str, float]]:
    """For each cutting point: time of edge and cloud for one image (ms), bytes sent, root mean square of the activations."""
    images = load_digits("mnist-5k").test_images[:200]
    images = to_network_input(images) if network == "lenet" else to_imagenet_input(images[:20])

    def milliseconds(half: torch.nn.Module, x: torch.Tensor) -> float:
        seconds = []
        for _ in range(20 if args.quick else 200):
            begin = time.perf_counter()
            half(x)
            seconds.append(time.perf_counter() - begin)
        return 1000 * statistics.median(seconds)

    def make() -> dict[str, dict[str, float]]:
        found = {}
        for name, split in split_networks(network).items():
            activations = split.activations(images)
            found[name] = {
                "edge (ms)": milliseconds(split.edge, images[:1]),
                "cloud (ms)": milliseconds(split.cloud, activations[:1]),
                "bytes": activations[0].nbytes,
                "activation": activations.square().mean().sqrt().item(),
            }
        return found

    weights = lenet.WEIGHTS[10] if network == "lenet" else alexnet.WEIGHTS["digits"]
    return kept.once(args.points / f"profile-{network}.kept", key(args, [weights], only=("quick",)), make)


def split_networks(network: str) -> dict[str, SplitNetwork]:
    """The network that answers the digit, at each of its cutting points."""
    if network == "lenet":
        return {name: SplitNetwork(lenet.pretrained_lenet(10), name) for name in lenet.CUTTING_POINTS}
    return {name: SplitNetwork(alexnet.pretrained_alexnet("digits"), name) for name in alexnet.CUTTING_POINTS}
