"""Mutual information measured: a lower and an upper bound that meet, where the density of what is sent is known.

For K independent inputs with a draw each (Poole, Ozair, van den Oord, Alemi, Tucker 2019, "On Variational Bounds of Mutual
Information", sections 2.2 and 2.3), in nats:

    lower = 1/K sum_i ln p(a'_i | t_i) / (1/K     sum_j     p(a'_i | t_j))  <=  I(x; a'),   and never above ln K
    upper = 1/K sum_i ln p(a'_i | t_i) / (1/(K-1) sum_{j!=i} p(a'_i | t_j)) >=  I(x; a')

on average over inputs and draws. Nothing is trained, and nothing depends on how many elements there are. The two meet where I
is well below ln K. a' is taken before it is rounded to its grid, which says no less: so the upper bound holds for what is sent.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from shredder.noise.channel import Channel
from shredder.noise.densities import half_squares

# A line of a record: lower and upper bound, and standard error.
MEASURED = "measured information, {} (bits)"
# Inputs that a record's measurement rests on: at most so many, or as many as so many operations are enough for.
INPUTS, _FEWEST, _OPERATIONS = 10_000, 100, 5 * 10**10
# Pairs of a' and input at once.
_PAIRS = 2**22


class Bracket(NamedTuple):
    """Bounds of a mutual information, in bits, and the standard error of the lower one over inputs; infinite where unknown."""

    lower: float
    upper: float
    error: float


def bracket(channel: Channel, signal: Tensor, rng: np.random.Generator, queries: int = 1) -> Bracket:
    """Of I(x; a') for `queries` draws of each input.

    Parameters
    ----------
    channel : Channel
    signal : Tensor, (K, ...)
        t of K independent inputs.
    rng : np.random.Generator
        Of the draws.
    """
    return brackets(channel, signal, rng, queries)["input"]


def brackets(
    channel: Channel,
    signal: Tensor,
    rng: np.random.Generator,
    queries: int = 1,
    public: Tensor | None = None,
    private: Tensor | None = None,
) -> dict[str, Bracket]:
    """Of I(x; a') and, where labels are given, of what a' says of them, by Bayes' rule over the same K inputs.

        I(c; a')     = E ln p(a' | c) - E ln p(a'),   p(a' | c) the mean of p(a' | t_j) over inputs of label c
        I(c; a' | b) = E ln p(a' | c, b) - E ln p(a' | b)

    A mean over other inputs alone has a logarithm below ln p(a') on average (Jensen's inequality), one with the own input
    one above it. So the lower bound leaves it out everywhere: it is what the other inputs' posterior tells, with a K-th of the
    prior mixed into it (Barber and Agakov 2003). The upper one leaves it out of the denominator alone, and stops at the label's
    entropy.

    Parameters
    ----------
    public, private : Tensor, int64, (K,)

    Returns
    -------
    dict of str to Bracket
        `input`, `public label`, `private label`, `private label, given the public one`.
    """
    blank = torch.zeros(len(signal), dtype=torch.int64, device=signal.device)
    labels = torch.stack([blank if of is None else of.to(signal.device) for of in (public, private)], 1)
    groups, group, sizes = torch.unique(labels, dim=0, return_inverse=True, return_counts=True)
    order = group.argsort(stable=True)
    own, others = _likelihoods(channel, signal[order], rng, queries, sizes)
    sums = _Sums(own, others, group[order], sizes)
    everyone = torch.ones(len(groups), len(groups), dtype=torch.bool, device=signal.device)
    of_public, of_private = (column[:, None] == column for column in groups.T)
    found = {"input": _found(own - sums.with_own(everyone), own - sums.without_own(everyone))}
    if public is not None:
        found["public label"] = sums.of_label(of_public, everyone)
    if private is not None:
        found["private label"] = sums.of_label(of_private, everyone)
    if public is not None and private is not None:
        found["private label, given the public one"] = sums.of_label(of_public & of_private, of_public)
    return found


def told(channel: Channel, signal: Tensor, rng: np.random.Generator, queries: int = 1) -> Tensor:
    """What each input's draws tell of it, in bits, float64 (K,), as many inputs as there are here: their mean is `lower`."""
    own, others = _likelihoods(channel, signal, rng, queries, torch.tensor([len(signal)]))
    return (own - torch.logaddexp(others[:, 0], own) + math.log(len(signal))) / math.log(2)


def inputs_in_seconds(channel: Channel, signal: Tensor) -> int:
    """How many of `signal`, (n, ...), a measurement of seconds may rest on: the first, or all."""
    n_elements = channel.unrounded(signal[:1], np.random.default_rng(0)).shape[1]
    return min(len(signal), INPUTS, max(_FEWEST, math.isqrt(_OPERATIONS // n_elements)))


def _likelihoods(
    channel: Channel, signal: Tensor, rng: np.random.Generator, queries: int, sizes: Tensor
) -> tuple[Tensor, Tensor]:
    """ln p(a'_i | t_i), float64 (K,), and ln of the sum of p(a'_i | t_j) over the other inputs of each group, (K, groups).

    Rows of `signal` are in the groups' order.
    """
    if (mean := channel.averaged(queries)) is not None:
        channel, queries = mean, 1
    own, others = [], []
    for rows, density in _blocks(channel, signal, rng, queries):
        diagonal = density.diagonal(rows.start)
        own.append(diagonal.clone())
        diagonal.fill_(-math.inf)
        others.append(torch.stack([some.logsumexp(1) for some in density.split(sizes.tolist(), 1)], 1))
    return torch.cat(own), torch.cat(others)


def _blocks(channel: Channel, signal: Tensor, rng: np.random.Generator, queries: int) -> Iterator[tuple[slice, Tensor]]:
    """Some rows at a time, and ln p of their draws given each input, float64 (n, K): draws of one input multiply."""
    densities, k = channel.pair_densities(signal), len(signal)
    at_once = max(1, _PAIRS // k)
    for first in range(0, k, at_once):
        some = signal[first : first + at_once]
        density = 0
        for _ in range(queries):
            received, total = channel.unrounded(some, rng), None
            for add in densities:
                total = add(received, total)
            density = total + density
        yield slice(first, first + len(some)), density


def bits_of_batch(signal: Tensor, sent: Tensor, scales: Tensor) -> Tensor:
    """The lower end for Normal noise of a batch, in bits, with a gradient: what there is to minimise. Never above log2 b.

    Parameters
    ----------
    signal, sent : Tensor, (b, r)
        t and t + s * e.
    scales : Tensor, (r,)
        s.
    """
    density = -half_squares(sent / scales, signal / scales)
    nats = density.diagonal() - density.logsumexp(1) + math.log(len(signal))
    return nats.mean() / math.log(2)


class _Sums(NamedTuple):
    """ln p(a'_i | t_i), (K,), ln of sums over the other inputs of each group, (K, groups), each row's group, their sizes."""

    own: Tensor
    others: Tensor
    group: Tensor
    sizes: Tensor

    def without_own(self, which: Tensor) -> Tensor:
        """ln of the mean over the other inputs of a row's groups, (K,); `which` says, for each group, which they are."""
        total = self._sum(which)
        return torch.where(total == -math.inf, total, total - self._number(which, 1).log())

    def with_own(self, which: Tensor) -> Tensor:
        """The same, over the row's own input as well."""
        return torch.logaddexp(self._sum(which), self.own) - self._number(which, 0).log()

    def of_label(self, label: Tensor, given: Tensor) -> Bracket:
        """Of the information about a label: `label` and `given` say which groups have the same one, and the same condition."""
        shares, k = self._number(label, 0) / self._number(given, 0), len(self.own)
        without = self.without_own(given)
        ratio = torch.where(without == -math.inf, 0.0, self._sum(label) - self._sum(given) - shares.log())
        told = torch.log1p((1 - 1 / k) * torch.expm1(ratio))
        return _found(told, torch.minimum((self.with_own(label) - without).mean(), -shares.log().mean()))

    def _sum(self, which: Tensor) -> Tensor:
        return torch.where(which[self.group], self.others, -math.inf).logsumexp(1)

    def _number(self, which: Tensor, without: int) -> Tensor:
        """How many inputs the groups of a row have, float64 (K,)."""
        return ((which * self.sizes).sum(1) - without).double()[self.group]


def _found(lower: Tensor, upper: Tensor) -> Bracket:
    """Of nats of each input, (K,)."""
    error = lower.std().item() / math.sqrt(len(lower)) if lower.isfinite().all() else math.inf
    return Bracket(*(nats / math.log(2) for nats in (lower.mean().item(), upper.mean().item(), error)))


def measured(
    channel: Channel,
    signal: Tensor,
    rng: np.random.Generator,
    public: Tensor | None = None,
    private: Tensor | None = None,
) -> dict[str, list[float] | int]:
    """What a record says of one query: `brackets` of the first inputs, as many as take seconds.

    Arguments as for `brackets`; they may lie in a memory map.
    """
    k = inputs_in_seconds(channel, signal)
    labels = [of if of is None else of[:k] for of in (public, private)]
    found = brackets(channel, signal[:k], rng, 1, *labels)
    return {MEASURED.format(name): list(of) for name, of in found.items()} | {"inputs it is measured on": k}
