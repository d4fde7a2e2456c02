"""What is sent lies on a grid, so that rounding says nothing of the input; and noise whose own grid says how fine it is.

A bound on t + n holds for whatever is made of t + n alone (data processing). So t + n is summed in float64 and rounded to a
multiple g of a power of two that the noise's scale s decides, s / 512 < g <= s / 256; a' is made of that number.

What is left is that e itself comes from a finite set. For |t| < 100 s:

- e is F^-1(u) for u on a grid of 2^-53, which changes each probability P(y | t) by less than 2^-53. Within |y - t| < 9 s there
  are 9216 values of y at most.
- F^-1, s * e and t + s * e are rounded, by less than 2^-53 (|t| / s + 54) s together. That moves the edges of the values' cells
  by less than 2^-36 of their width, and their probabilities in proportion.
- So what is drawn from differs from the exact distribution by d < 9216 * 2^-53 + 2^-36 < 2^-35 in total variation.
- Entropies of a variable of M values then differ by at most d log2(M) + h(d) (Zhang 2007, "Estimating mutual information via
  Kolmogorov distance"), and I = H(y) - H(y | t) by twice that. M is below 2^17.

That is 3.1e-9 bits for each direction and query, 2e-4 bits for 64 directions and a thousand queries: `entropy_left`.
"""

import math

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

# Multiples of the grid in a scale: 2^8 to 2^9.
_BITS_OF_A_SCALE = 8


def grid_of(scales: Tensor) -> Tensor:
    """A power of two for each scale s >= 0 of noise, s / 512 < g <= s / 256, float64, same shape; 0 where there is no noise."""
    _, exponents = torch.frexp(scales.double())  # s = m * 2^exponent, 1/2 <= m < 1
    powers = torch.ldexp(torch.ones_like(exponents, dtype=torch.float64), exponents - 1 - _BITS_OF_A_SCALE)
    return torch.where(scales > 0, powers, 0.0)


def to_grid(values: Tensor, grid: Tensor) -> Tensor:
    """The nearest multiples of `grid`, which broadcasts, in float64; where it is 0, the values as they are."""
    values = values.double()
    # Exact but for the rounding itself: a division by a power of two, and a multiplication with it.
    return torch.where(grid > 0, (values / torch.where(grid > 0, grid, 1.0)).round() * grid, values)


def standard_normal(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Standard Normal values, float64, by the inverse distribution function of v on a grid of 2^-53.

    v is an odd multiple of 2^-54 in (0, 1/2), and the sign a bit of its own, so that both tails are equally fine.
    """
    v = (rng.integers(-(2**52), 2**52, size=shape) + 0.5) * 2.0**-53
    return torch.from_numpy(-np.sign(v) * ndtri(np.abs(v)))


def lowest_set_bit(values: Tensor) -> Tensor:
    """Exponent of the lowest set bit of each float32 value, float32, same shape: 0.75 = 2^-1 + 2^-2 has -2; 0 counts as 0."""
    mantissa, exponent = torch.frexp(values.double())
    whole = (mantissa * 2**24).long()
    lowest = (whole & -whole).double().log2() + exponent - 24
    return torch.where(whole == 0, 0.0, lowest).float()


def entropy_left(directions: int, queries: int, total_variation: float = 2.0**-35, values: float = 2.0**17) -> float:
    """What the finite grid of the noise adds to a bound at most, in bits; the module says where the defaults come from."""
    d = total_variation
    binary = -d * math.log2(d) - (1 - d) * math.log1p(-d) / math.log(2)
    return 2 * directions * queries * (d * math.log2(values) + binary)
