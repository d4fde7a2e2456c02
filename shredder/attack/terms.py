"""Bits in an attacker's terms: how often a label can be guessed at most, how far a guessed input is off at least."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from shredder.noise.channel import Channel
from shredder.split import SplitNetwork

# Fisher information of the density 1 - cos(2 pi x) of a number between 0 and 1.
PRIOR = 4 * math.pi**2
# Random signs for a trace.
_PROBES = 20
# One-sided, of 95 %.
_QUANTILE = 1.645


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
    from scipy.optimize import brentq  # takes a third of a second to import, so only where it is asked for

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


def fisher_information(own: Callable[[Tensor], Tensor], inputs: Tensor, rng: np.random.Generator) -> float:
    """Fisher information of noise of unit scale, Normal or Laplace, about a number of the input (dFIL; Guo et al. 2022).

        dFIL = E[tr(J^T J)] / d,   J = d own(x) / d x,   tr(J^T J) = E_v |J^T v|^2,   v_i = +-1 at random

    (Hutchinson 1990). Noise of scale s on t has the information J^T J / s^2, for Laplace noise as well, so that own = t / s.

    Parameters
    ----------
    own : callable
        From inputs to coordinates in which noise has unit scale, (n, F).
    inputs : Tensor, float32, (n, *input shape)
        Of d numbers each.

    Returns
    -------
    float
        In units of one over a number's square.
    """
    inputs = inputs.clone().requires_grad_()
    found, total = own(inputs), 0.0
    for _ in range(_PROBES):
        v = torch.from_numpy(rng.choice(np.array([-1, 1], np.float32), size=found.shape)).to(found.device)
        (gradient,) = torch.autograd.grad((found * v).sum(), inputs, retain_graph=True)
        total += gradient.double().square().sum().item()
    return total / _PROBES / inputs.numel()


def of_input(channel: Channel, split: SplitNetwork, inputs: Tensor, rng: np.random.Generator) -> dict[str, float | str]:
    """How far a guess of the input is off at least, as a mean squared error per number of it, in its unit.

    Unbiased guesses: 1 / dFIL (Cramer-Rao). Any guess, of numbers with the density 1 - cos(2 pi x) in [0, 1]:
    1 / (dFIL + 4 pi^2) (van Trees 1968). "none" where what is sent has no slope, or the noise no density.
    """
    names = "Fisher information (dFIL)", "error of an unbiased guess at least", "error of any guess at least, by its prior"
    density = channel.density()
    if density is None or channel.source.for_any_inputs:  # quantised: steps have no slope
        return dict.fromkeys(names, "none")
    found = fisher_information(lambda x: density.own(channel.signal(split.edge(x))), inputs, rng)
    return dict(zip(names, (found, 1 / found if found else math.inf, 1 / (found + PRIOR)), strict=True))


def label_at_most(upper: float, error: float, public: Tensor, private: Tensor) -> float:
    """How often a private label is guessed at most by whoever knows the public one, in [0, 1].

    Parameters
    ----------
    upper, error : float
        Upper bound on I(private; a' | public), in bits, and its standard error: 1.64 of them are added, for 95 %.
    public, private : Tensor, int64, (n,)
        Labels that say how frequent they are.
    """
    shares = np.zeros((int(public.max()) + 1, int(private.max()) + 1))
    np.add.at(shares, (public.cpu().numpy(), private.cpu().numpy()), 1 / len(public))
    bits = max(0.0, upper + _QUANTILE * error) if math.isfinite(error) else math.inf
    return accuracy_at_most(bits, shares)
