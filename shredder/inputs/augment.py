"""What training images are changed by, so that a network does not learn them by heart. Each draws from the generator given."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def shifted(images: Tensor, pixels: float, rng: np.random.Generator) -> Tensor:
    """Each image, (n, channels, H, H), moved by its own random offset of at most `pixels`, in both directions."""
    theta = torch.eye(2, 3).repeat(len(images), 1, 1)
    offsets = rng.uniform(-pixels, pixels, size=(len(images), 2)) * 2 / images.shape[-1]  # grid units: [-1, 1]
    theta[:, :, 2] = torch.from_numpy(offsets)
    return _resampled(images, theta, images.shape[-1], "zeros")


def mirrored_and_shifted(images: Tensor, pixels: int, rng: np.random.Generator) -> Tensor:
    """Half of the images, (n, channels, H, H), mirrored, and each moved by whole pixels; what comes in mirrors the border."""
    theta = torch.eye(2, 3).repeat(len(images), 1, 1)
    theta[:, 0, 0] = _signs(len(images), rng)
    theta[:, :, 2] = torch.from_numpy(rng.integers(-pixels, pixels + 1, size=(len(images), 2)) * 2 / images.shape[-1])
    return _resampled(images, theta, images.shape[-1], "reflection")


def mirrored_and_cropped(images: Tensor, side: int, least: float, rng: np.random.Generator) -> Tensor:
    """A random square of each image, (n, channels, H, H), of `least` to all of its area, enlarged to `side`; half mirrored."""
    n = len(images)
    scale = rng.uniform(least, 1, size=n) ** 0.5  # of the square's side
    centre = rng.uniform(-1, 1, size=(n, 2)) * (1 - scale)[:, None]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = _signs(n, rng) * torch.from_numpy(scale)
    theta[:, 1, 1] = torch.from_numpy(scale)
    theta[:, :, 2] = torch.from_numpy(centre)
    return _resampled(images, theta, side, "reflection")


def _signs(n: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.integers(0, 2, size=n) * 2.0 - 1).float()


def _resampled(images: Tensor, theta: Tensor, side: int, padding: str) -> Tensor:
    grid = functional.affine_grid(theta.to(images.device), [*images.shape[:2], side, side], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode=padding, align_corners=False)
