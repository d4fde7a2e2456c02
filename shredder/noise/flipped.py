"""Randomised response on what the device reads: one bit is sent, and flipped by chance, with a bound in bits."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.special import entr

from shredder.io.device import moved
from shredder.noise.densities import PairDensity
from shredder.noise.draws import Draws
from shredder.noise.fresh import Fresh
from shredder.noise.moments import Moments

# ln f below which a bit is not flipped in learning.
_LEAST_LOG_FLIPS = -30.0


@dataclass(frozen=True)
class Flipped(Fresh):
    """a' = mu + Q w t,   t = -c or c as of the quantised form, in one direction;   w = -1 with probability f, else 1.

        f = Phi(-c / s)

    as if noise of scale s were added to t, and the sum's sign sent (Warner 1965, "Randomized response"). The sign of t + s * e
    says less than t + s * e does, and answers as often.
    """

    formula = "mu + Q w t"
    fixed = ("additive", "log limits")

    @property
    def flips(self) -> float:
        """f."""
        return torch.special.ndtr(-self.limits.double() / self.scales.double()).item()

    def draw(self, n_queries: int, rule: str, rng: np.random.Generator) -> Draws:
        """w of each query, float32 (n_queries, 1). What is sent is a multiple of c. Raises InputError of another rule."""
        self.require(rule)
        w = 1 - 2.0 * (rng.random((n_queries, 1)) < self.flips)
        w = moved(w, self.scales.device).float()
        return Draws(w, torch.zeros_like(w), self.limits.double()[None])

    def sent(self, signal: Tensor, drawn: Draws) -> Tensor:
        """a' of t, (n, 1), under a draw for each, float32 (n, *activation shape)."""
        return self.embedded(drawn.multiplicative * signal)

    def answered(self, cloud: Callable[[Tensor], Tensor], signal: Tensor, drawn: Draws) -> Tensor:
        """Of both levels."""
        levels, which = torch.unique(drawn.multiplicative * signal, dim=0, return_inverse=True)
        return cloud(self.embedded(levels))[which]

    def tensors(self, drawn: Draws) -> tuple[Tensor, Tensor]:
        """w, the same for all elements, and mu, float32 (Q, *activation shape)."""
        w = drawn.multiplicative.view(-1, *[1] * len(self.shape))
        return w.expand(-1, *self.shape), self.additive.expand(len(w), *self.shape)

    def moments(self, rule: str) -> Moments:
        """Of w t, with one element."""
        f = torch.full((1, 1), self.flips, dtype=torch.float64, device=self.scales.device)
        zero = torch.zeros_like(f)
        return Moments(1 - 2 * f, 4 * f * (1 - f), zero, zero)

    def density(self, rule: str) -> None:
        """It is none of Normal values."""
        return

    def pair_densities(self, signal: Tensor, rule: str) -> Sequence[PairDensity]:
        """1 - f where a' has the sign of t, else f."""
        log_flipped, log_kept = math.log(self.flips), math.log1p(-self.flips)
        signs = torch.sign(signal[:, 0])

        def add(received: Tensor, total: Tensor | None) -> Tensor:
            same = torch.sign(received[:, :1]) == signs
            density = torch.where(same, log_kept, log_flipped).double()
            return density if total is None else torch.logaddexp(total, density)

        return [add]

    def bits_for_any_inputs(self, queries: int = 1) -> float:
        """What the binary symmetric channel carries in so many uses of one input, in bits; 1 - h(f) in one.

            I = sum_k b_f(k) log2(2 b_f(k) / (b_f(k) + b_{1-f}(k))),   b_f(k) the chance of k flips among the queries

        reached where both levels are equally frequent (Cover and Thomas 2006, section 7.1.4).
        """
        from scipy import stats  # takes most of a second to import, so only where it is asked for

        flipped = np.arange(queries + 1)
        log_of, log_other = (stats.binom.logpmf(flipped, queries, f) for f in (self.flips, 1 - self.flips))
        possible = log_of > -math.inf
        told = 1 - np.logaddexp(0, (log_other - log_of)[possible]) / math.log(2)
        return float((np.exp(log_of[possible]) * told).sum())

    def averaged(self, queries: int) -> None:
        """A mean of signs is none."""
        return

    @staticmethod
    def learnable(t: Tensor, e: Tensor, limits: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of what is sent, (b, 1), with a gradient; and its information, in bits:

        E[w t] = (1 - 2 f) t,   I = h(p (1 - f) + (1 - p) f) - h(f),   p the share of t that is positive
        """
        # Its logarithm, for rare flips are no number; so rare that they say nothing, they have no gradient.
        log_f, p = torch.special.log_ndtr(-limits.double() / scales.double()), (t > 0).double().mean()
        f = log_f.clamp(min=_LEAST_LOG_FLIPS).exp()
        bits = _binary_entropy(p * (1 - f) + (1 - p) * f) - _binary_entropy(f)
        return (1 - 2 * f).to(t.dtype) * t, bits.sum().float()

    @staticmethod
    def asked(cloud: Callable[[Tensor], Tensor], y: Tensor, limits: Tensor) -> Tensor:
        """How likely each answer of `cloud` is, where what it is sent has the mean y, (b, 1): their logarithms, (b, classes).

        It is asked for both levels alone. How sure it is of its answer to one does not matter, but which that is.
        """
        with torch.no_grad():
            answers = cloud(torch.stack([-limits, limits]))
            low, high = functional.one_hot(answers.argmax(1), answers.shape[1]).to(y.dtype)
        high_is_sent = (1 + y / limits) / 2
        return (low + high_is_sent * (high - low)).clamp(min=math.exp(_LEAST_LOG_FLIPS)).log()

    @staticmethod
    def wrong(answers: Tensor, labels: Tensor) -> Tensor:
        """The share of wrong ones, on average over flips; float64, ()."""
        return 1 - answers.double().exp().gather(1, labels[:, None]).mean()


def _binary_entropy(p: Tensor) -> Tensor:
    """h(p), in bits."""
    return (entr(p) + entr(1 - p)) / math.log(2)
