"""The machine's limit: how many float32 operations a second a large matrix product makes."""

import statistics
import time

import torch


def product_rate(side: int = 2048, repeats: int = 7) -> float:
    """Float32 operations a second of a product of two matrices, (side, side): the median of some."""
    a, b = torch.rand(2, side, side)
    seconds = []
    for _ in range(repeats + 1):  # the first warms up
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(seconds[1:])
