"""A task as a user's own file has it, of 4 x 4 pixels: the class is the brightest quarter, public is in which half it lies."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.weights import load_weights
from shredder.inputs.images import Images, first_of, tensor_images
from shredder.task import Dataset, Labels, Task

N = {"train": 200, "test": 50}


class TinyNetwork(nn.Module):
    """A convolution, and a linear map."""

    def __init__(self, n_classes: int):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(32, n_classes)

    def layers(self) -> dict[str, nn.Module]:
        last = nn.LogSoftmax(-1)
        return {"conv": self.conv, "relu": nn.ReLU(), "flatten": nn.Flatten(), "fc": self.fc, "log_softmax": last}

    def forward(self, images: Tensor) -> Tensor:
        return nn.Sequential(*self.layers().values())(images)


def network(n_classes: int, path: Path) -> TinyNetwork:
    found = TinyNetwork(n_classes)
    load_weights(found, path)
    return found.eval()


def weights(name: str) -> Path:
    """Beside this file; see `write_weights`."""
    return Path(__file__).with_name(f"{name}.pt")


def in_half(quarters: Tensor) -> Tensor:
    return (quarters > 1).long()


def framed(pixels: Tensor) -> Tensor:
    return pixels.unsqueeze(1)


def load(data_root: Path, parts: Mapping[str, int | None]) -> dict[str, Images]:
    found = {}
    for part, n in parts.items():
        rng = np.random.default_rng(len(part))
        quarters = rng.integers(4, size=N[part])
        pixels = rng.normal(size=(N[part], 4, 4))
        for row, quarter in enumerate(quarters):
            pixels[row, 2 * (quarter // 2) :, 2 * (quarter % 2) :][:2, :2] += 3
        order = first_of(torch.arange(N[part]), n, part, "quarters")
        found[part] = tensor_images(torch.from_numpy(pixels).float(), torch.from_numpy(quarters), order, framed)
    return found


def write_weights(folder: Path) -> None:
    """Networks that read the brightest quarter: the convolution passes pixels on, the linear map sums quarters or halves."""
    of_quarter = torch.zeros(4, 2, 4, 4)
    for quarter in range(4):
        of_quarter[quarter, 0, 2 * (quarter // 2) :, 2 * (quarter % 2) :][:2, :2] = 1
    kernel = torch.zeros(2, 1, 3, 3)
    kernel[:, :, 1, 1] = 1
    for name, fc in (("quarter", of_quarter), ("half", of_quarter.unflatten(0, (2, 2)).sum(1))):
        state = {
            "conv.weight": kernel,
            "conv.bias": torch.zeros(2),
            "fc.weight": fc.flatten(1),
            "fc.bias": torch.zeros(len(fc)),
        }
        torch.save(state, folder / f"{name}.pt")


task = Task(
    name="tiny",
    cutting_points={"conv": (2, 4, 4), "relu": (2, 4, 4)},
    datasets={
        "quarters": Dataset(load, ("half", "quarter"), 8 * 16, {"judged_on": 20}, {"epochs": 2}),
        "more": Dataset(load, ("quarter",), 8 * 16),
    },
    labels={
        "half": Labels(partial(network, 2), partial(weights, "half"), in_half, private="quarter"),
        "quarter": Labels(partial(network, 4), partial(weights, "quarter")),
    },
    learn=lambda args: {"members": 3, "parallel": 3, "epochs": 4, "min_epochs": 0, "batch_size": 60, "max_accuracy_loss": 0.9},
    method="additive",
    secrets={"bright": lambda images, classes: images.flatten(1).sum(1), "odd": lambda images, classes: classes % 2},
)
