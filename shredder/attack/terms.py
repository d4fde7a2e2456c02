"""Bits in an attacker's terms: how often a label can be guessed at most, how far a guessed input is off at least."""

import math

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from shredder.noise.channel import Channel
from shredder.split import SplitNetwork

# Fisher information of the density 1 - cos(2 pi x) of a number between 0 and 1.
PRIOR = 4 * math.pi**2


def accuracy_at_most(bits: float, shares: np.ndarray) -> float:
    """The largest accuracy of any guess of a label, where what is seen has at most so many bits about it, given a condition.

    By rate and distortion under zero-one loss (Erokhin 1958; Cover and Thomas 2006, section 10.3). Under each condition, the
    most informative errors are spread evenly: each wrong label has the chance theta, or its own where that is less,

        right = 1 - (k - 1) theta - sum of the shares below theta,   k the number of shares above it
        R = sum over the k of -p ln p + right ln right + (k - 1) theta ln theta

    and bits go to conditions such that right / theta is the same under all of them.

    Parameters
    ----------
    bits : float
        At least 0.
    shares : ndarray, (conditions, labels)
        Joint probabilities; they add up to 1.

    Returns
    -------
    float
        In [0, 1]. With 0 bits the best guess given the condition alone; 1 where bits reach the label's entropy.
    """
    weights = shares.sum(1)
    given = [row / weight for row, weight in zip(shares, weights, strict=True) if weight > 0]
    weights = weights[weights > 0]

    def rates(log_ratio: float) -> np.ndarray:
        """Right, and R in bits, over all conditions."""
        return weights @ np.array([_right_and_rate(row, log_ratio) for row in given])

    if bits <= rates(0)[1]:
        return float(rates(0)[0])
    if bits >= rates(700)[1]:
        return 1.0
    return float(rates(brentq(lambda log_ratio: rates(log_ratio)[1] - bits, 0, 700, xtol=1e-10))[0])


def _right_and_rate(shares: np.ndarray, log_ratio: float) -> tuple[float, float]:
    """Accuracy and bits at which right / theta = exp(log_ratio), for one distribution of labels."""
    ordered = np.sort(shares)[::-1]
    for k in range(len(ordered), 0, -1):
        # right = 1 - (k - 1) theta - rest and right = theta e^log_ratio.
        rest = ordered[k:].sum()
        theta = (1 - rest) / (math.exp(min(log_ratio, 700)) + k - 1)
        if k == 1 or theta <= ordered[k - 1]:
            break
    if k == 1 or len(ordered) == 1:
        return float(ordered[0]), 0.0
    right = 1 - rest - (k - 1) * theta
    kept = ordered[:k]
    nats = -(kept * np.log(kept)).sum() + right * math.log(right) + (k - 1) * theta * math.log(max(theta, 1e-320))
    return right, max(nats, 0.0) / math.log(2)


def fisher_information(channel: Channel, split: SplitNetwork, inputs: Tensor) -> float | None:
    """Fisher information of a' about a number of the input, on average over numbers and inputs; None where there is none.

        tr(J^T J) / d,   J the Jacobian of t, in units of the noise, by the d numbers of the input

    for noise of unit scale, Normal or Laplace, whose own information is 1. Its inverse bounds the mean squared error of any
    unbiased guess (Cramer-Rao), as dFIL (Guo et al. 2022, "Bounding training data reconstruction in private (deep) learning").

    Parameters
    ----------
    inputs : Tensor, (n, ...)
        Of the edge.
    """
    density = channel.density()
    if density is None or channel.source.for_any_inputs:  # what is sent has steps instead of a slope
        return None
    inputs = inputs.detach().clone().requires_grad_()
    coordinates = density.own(channel.signal(split.edge(inputs)))
    total = 0.0
    for column in coordinates.T:
        (gradient,) = torch.autograd.grad(column.sum(), inputs, retain_graph=True)
        total += gradient.double().square().mean().item()
    return total


def error_at_least(information: float) -> dict[str, float]:
    """Mean squared errors per number of the input, in the square of its unit.

    Unbiased guesses: 1 / information (Cramer-Rao). Any guess of numbers with density 1 - cos(2 pi x) in [0, 1]:
    1 / (information + 4 pi^2) (van Trees 1968).
    """
    return {"unbiased": 1 / information if information else math.inf, "any": 1 / (information + PRIOR)}
