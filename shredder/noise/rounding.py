"""What is sent lies on a grid, so that rounding says nothing of the input; and noise whose own grid says how fine it is.

A bound on t + n holds for whatever is made of t + n alone (data processing). So t + n is summed in float64 and rounded to a
multiple g of a power of two that the noise's scale s decides, s / 512 < g <= s / 256; a' is made of that number.

What is left is that noise itself comes from a finite set. For |t| < 100 s (beyond, rounding grows in proportion to |t|):

- e is F^-1(u) for u on a grid of 2^-53, which changes each probability P(y | t) by less than 2^-53. Of Normal noise 9216 values
  of y are possible for a t (|e| < 9), of Laplace noise, as numpy draws it, 37,888 (|e| < 37).
- F^-1, s * e and t + s * e are rounded, by less than 2^-53 (|t| / s + 6 |e|) s together. That moves the edges of the values'
  cells by less than 2^-36 of their width (Laplace: 2^-35), and their probabilities in proportion.
- So what is drawn from differs from the exact distribution in total variation by d < 9216 * 2^-53 + 2^-36 < 2^-35
  (Laplace: 37,888 * 2^-53 + 2^-35 < 2^-34).
- Entropies of a variable of 2^m values then differ by at most d m + h(d) (Zhang 2007, "Estimating mutual information via
  Kolmogorov distance"), and I = H(y) - H(y | t) by twice that: m < 17 (Laplace: 18). Independent values add up.

That is 3.1e-9 bits for each direction and query, 2e-4 bits for 64 directions and a thousand queries; 6.3e-9 bits for each
element under Laplace noise. D values that are placed in an order are not independent: all of them are one variable of 18 D
bits, at d <= 2^-34 D; 3e-5 bits for 120 elements.
"""

import math

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from shredder.io.device import moved

# Multiples of the grid in a scale: 2^8 to 2^9.
_BITS_OF_A_SCALE = 8


def grid_of(scales: Tensor) -> Tensor:
    """A power of two for each scale s >= 0 of noise, s / 512 < g <= s / 256, float64, same shape; 0 where there is no noise."""
    _, exponents = torch.frexp(scales.double())  # s = m * 2^exponent, 1/2 <= m < 1
    powers = torch.ldexp(torch.ones_like(exponents, dtype=torch.float64), exponents - 1 - _BITS_OF_A_SCALE)
    return torch.where(scales > 0, powers, 0.0)


def to_grid(values: Tensor, grid: Tensor) -> Tensor:
    """The nearest multiples of `grid`, which broadcasts, in float64; where it is 0, the values as they are. 0 has no sign."""
    values = values.double()
    # Exact but for the rounding itself: a division by a power of two, and a multiplication with it.
    return torch.where(grid > 0, (values / torch.where(grid > 0, grid, 1.0)).round() * grid + 0.0, values)


def standard_normal(shape: tuple[int, ...], rng: np.random.Generator, device: str | torch.device = "cpu") -> Tensor:
    """Standard Normal values, float64, on a device, by the inverse distribution function of v on a grid of 2^-53.

    v is an odd multiple of 2^-54 in (0, 1/2), and the sign a bit of its own, so that both tails are equally fine.
    """
    v = (rng.integers(-(2**52), 2**52, size=shape) + 0.5) * 2.0**-53
    return moved(-np.sign(v) * ndtri(np.abs(v)), device)


def lowest_set_bit(values: Tensor) -> Tensor:
    """Exponent of the lowest set bit of each float32 value, float32, same shape: 0.75 = 2^-1 + 2^-2 has -2; 0 counts as 0."""
    bits = values.contiguous().view(torch.int32)
    exponent = (bits >> 23) & 255
    mantissa = (bits & 0x7FFFFF) | ((exponent > 0).int() << 23)  # the value is mantissa * 2^(exponent - 150)
    of_lowest = ((mantissa & -mantissa).float().view(torch.int32) >> 23) - 127
    return torch.where(mantissa == 0, 0, of_lowest + exponent.clamp(min=1) - 150).float()


def bits_left(values: int, queries: int, laplace: bool = False, ordered: bool = False) -> float:
    """What the finite grid of the noise adds to a bound at most, in bits, for so many values in a query; see above."""
    d, m, variables = (2.0**-34, 18, values) if laplace else (2.0**-35, 17, values)
    if ordered:
        d, m, variables = d * values, m * values, 1
    binary = -d * math.log2(d) - (1 - d) * math.log1p(-d) / math.log(2)
    return 2 * variables * queries * (d * m + binary)
