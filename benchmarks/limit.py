"""The machine's limit: how many float32 operations a second a large matrix product makes."""

import torch

from benchmarks.neighbors import median_seconds


def product_rate(side: int = 2048, repeats: int = 7) -> float:
    """Float32 operations a second of a product of two matrices, (side, side): the median of some."""
    a, b = torch.rand(2, side, side, generator=torch.Generator().manual_seed(0))
    return 2 * side**3 / median_seconds(lambda: a @ b, repeats)
