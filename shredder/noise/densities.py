"""p(a' | t) for pairs of what was sent and what might have been: how likely each input is to have sent each a'.

a' is what is sent before it is rounded to its grid, float64 (n, F): t + n, w * t + n, or of fresh noise y. Each density is
prepared for the signals t_j of some inputs, (K, ...), and then adds itself to a sum over members.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from shredder.noise.tensors import noisy

# Of a', float64 (n, F), and ln of a sum over members, float64 (n, K), or None before the first: ln of it with p(a'_i | t_j).
PairDensity = Callable[[Tensor, Tensor | None], Tensor]
# Elements from which on distances are summed in float32, and tiles in which they are summed fastest.
_MANY_ELEMENTS, _TILE = 512, (64, 64, 512)
# Neighbours in an order of weights, from its middle, that rule inputs out.
_MIDDLE = 12
# Of an order: pairs of neighbours that rule inputs out, so many at once; inputs that say which of them tell most; and the share
# of inputs left from which on each a' has its own list.
_NEIGHBOURS, _INPUTS_LOOKED_AT, _FEW = (64, 2), 512, 1 / 8
# By so much of its scale a value may lie before its predecessor, for float64 rounds.
_OUT_OF_ORDER = 1e-9
_NUMBERS_AT_ONCE = 2**22
# Of polynomials that tell rows apart.
_BASE = 0x5851F42D4C957F2D


class Density(NamedTuple):
    """p(a' | t) ~ exp(-sum_i |sent(a')_i - own(t)_i|^power / power), of independent Laplace or Normal values.

    Attributes
    ----------
    own, sent : callable
        Of t, (n, ...), and of what a' says of t, (n, F): coordinates in which noise has unit scale, (n, F).
    power : int
        1 for Laplace noise, 2 for Normal.
    """

    own: Callable[[Tensor], Tensor]
    sent: Callable[[Tensor], Tensor]
    power: int

    def prepared(self, signal: Tensor) -> PairDensity:
        """For these signals, (K, ...); up to a constant, which is the same for all pairs."""
        # Squares of many elements cancel in float32.
        own = self.own(signal if self.power == 1 and signal[0].numel() >= _MANY_ELEMENTS else signal.double())

        def add(received: Tensor, total: Tensor | None) -> Tensor:
            sent = self.sent(received)
            density = (manhattan(sent, own) if self.power == 1 else half_squares(sent, own)).neg_()
            return density if total is None else torch.logaddexp(total, density)

        return add


def half_squares(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared distances of rows, (n, F) and (K, F): (n, K)."""
    return torch.addmm(b.square().sum(1) / 2, a, b.T, alpha=-1) + a.square().sum(1)[:, None] / 2


def manhattan(a: Tensor, b: Tensor) -> Tensor:
    """Sums of absolute differences of rows, (n, F) and (K, F): float64 (n, K).

    Of many elements as |x - y| = 2 max(x, y) - x - y, in float32: two passes over a tile, where a difference takes three.
    """
    if a.shape[1] < _MANY_ELEMENTS:
        return torch.cdist(a, b, p=1)
    rows, columns, elements = _TILE
    a, b, found = a.float(), b.float(), torch.zeros(len(a), len(b), dtype=torch.float64, device=a.device)
    larger = torch.empty(rows, columns, elements, device=a.device)
    for some_a, some_b in zip(a.split(elements, 1), b.split(elements, 1), strict=True):
        some_a, some_b = some_a.contiguous(), some_b.contiguous()
        for i in range(0, len(a), rows):
            for j in range(0, len(b), columns):
                x, y = some_a[i : i + rows, None], some_b[None, j : j + columns]
                of_tile = torch.maximum(x, y, out=larger[: len(x), : y.shape[1], : x.shape[2]])
                found[i : i + rows, j : j + columns] += of_tile.sum(-1)
    return 2 * found - a.double().sum(1)[:, None] - b.double().sum(1)


def laplace_in_order(signal: Tensor, location: Tensor, scale: Tensor, order: Tensor) -> PairDensity:
    """Of D Laplace values in a known order (v3), for these signals, (K, ...).

        p(a' | t) = D! prod_i exp(-|n_i - location| / scale) / (2 scale)   where n = a' - t lies in the order, else 0

    (David and Nagaraja 2003, section 2.2). Some pairs of neighbours rule out most inputs.

    Parameters
    ----------
    location, scale : Tensor, float64, ()
    order : Tensor, int64, (D,)
        The element of the smallest value first.
    """
    flat, d, slack = signal.flatten(1), len(order), _OUT_OF_ORDER * scale
    some_steps = flat[:_INPUTS_LOOKED_AT][:, order].double().diff(dim=1)
    # Signals' steps against the noise's, which are about scale / rank (Renyi 1953).
    rank = torch.arange(1, d, device=order.device)
    telling = ((some_steps.amax(0) - some_steps.amin(0)) * torch.minimum(rank, d - rank)).argsort(descending=True)[
        : _NEIGHBOURS[0]
    ]
    first, second = order[telling], order[telling + 1]
    own_steps = flat[:, second].double() - flat[:, first].double()
    constant = math.lgamma(d + 1) - d * torch.log(2 * scale)

    def add(received: Tensor, total: Tensor | None) -> Tensor:
        total = _begun(total, received, flat)
        for i, j in _few_at_once(*_all_below(own_steps, received[:, second] - received[:, first] + slack), d):
            noise = received[i] - flat[j]
            in_order = (noise[:, order].diff(dim=1) >= -slack).all(1)
            _add_at(total, i, j, constant - (noise - location).abs().sum(1) / scale, in_order)
        return total

    return add


def weights_in_order(signal: Tensor, w: Tensor, n: Tensor) -> PairDensity:
    """Of a' = w' * t + n, where w' are Normal values in the order of w (v2), for these signals, (K, ...).

        p(a' | t) = density of w' = (a' - n) / t / prod |t_k|   over the elements k where t is not 0

    The other elements say a'_k = n_k alone. So a' tells where t is 0, and an input that is 0 elsewhere cannot have sent it.

    Parameters
    ----------
    w, n : Tensor, (D,)
        Of the member.
    """
    flat, order, n = signal.flatten(1), w.argsort(stable=True), n.double()
    location, scale = w.double().mean(), w.double().std(correction=0)
    same_zeros, middle = _Equal((flat == 0).long()), order[max(0, (len(order) - _MIDDLE) // 2) :][:_MIDDLE]

    def weights(scaled: Tensor, i: Tensor, j: Tensor, elements: Tensor) -> tuple[Tensor, Tensor]:
        t = flat[j][:, elements].double()
        return (scaled[i][:, elements] / t - location) / scale, t

    def add(received: Tensor, total: Tensor | None) -> Tensor:
        total, scaled = _begun(total, received, flat), received - n
        for i, j in _few_at_once(*same_zeros.pairs((scaled == 0).long()), len(middle)):
            z, t = weights(scaled, i, j, middle)
            likely = _ordered(z, t != 0)[1]
            for some_i, some_j in _few_at_once(i[likely], j[likely], len(order)):
                z, t = weights(scaled, some_i, some_j, order)
                found, in_order = _ordered(z, t != 0)
                sizes = torch.where(t != 0, (t.abs() * scale).log(), 0.0).sum(1)
                _add_at(total, some_i, some_j, found - sizes, in_order)
        return total

    return add


def verbatim(signal: Tensor, w: Tensor | None, n: Tensor) -> PairDensity:
    """Of a' = w * t + n with w and n, (D,), as they are stored: 1 where an input sends just that a', else 0."""
    flat, w = signal.flatten(1), None if w is None else w.double()
    same = _Equal(noisy(flat.double(), w, n.double()).view(torch.int64))

    def add(received: Tensor, total: Tensor | None) -> Tensor:
        total, (i, j) = _begun(total, received, flat), same.pairs(received.contiguous().view(torch.int64))
        _add_at(total, i, j, total.new_zeros(len(i)), torch.ones_like(i, dtype=torch.bool))
        return total

    return add


def channels_kept(signal: Tensor, kept: Tensor) -> PairDensity:
    """Of channels that are sent as t / p with probability p, or 0, independently of each other.

        p(a' | t) = prod over channels of   p where a' is t / p,   1 - p where a' is 0,   1 where both are 0,   else 0

    Parameters
    ----------
    kept : Tensor, (channels,)
        p.
    """
    w = (1 / kept).double()
    flat = signal.flatten(2) if signal.dim() > 2 else signal[..., None]
    own, own_silent = _channel_codes(flat.double() * w[:, None])
    of_kept, of_left = kept.double().log(), torch.log1p(-kept.double())

    def add(received: Tensor, total: Tensor | None) -> Tensor:
        theirs, silent = _channel_codes(received.unflatten(1, (len(w), -1)))
        density = received.new_zeros(len(received), len(own))
        for c in range(len(w)):
            left = torch.where(own_silent[:, c], 0.0, of_left[c])
            same = torch.where(own[:, c] == theirs[:, c, None], of_kept[c], -math.inf)
            density += torch.where(silent[:, c, None], left, same)
        return density if total is None else torch.logaddexp(total, density)

    return add


def _channel_codes(channels: Tensor) -> tuple[Tensor, Tensor]:
    """A number for the content of each channel, float64 (n, C, M) to int64 (n, C); and where it is 0 throughout."""
    rows = (channels + 0.0).contiguous().view(torch.int64)  # -0 is 0
    powers = torch.full((rows.shape[2],), _BASE, dtype=torch.int64, device=rows.device).cumprod(0)
    return (rows * powers).sum(2), (channels == 0).all(2)


def _ordered(z: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """ln density of those of D standard Normal values, ascending, that are known; and whether they ascend; each (P,).

        D! prod of f(z) over the known * prod of (F(z_next) - F(z_last))^g / g! over gaps of g unknown ones

    (David and Nagaraja 2003, section 2.2). z, float64, and known are (P, D).
    """
    end = z.new_full((len(z), 1), math.inf)
    z, known = torch.cat([-end, torch.where(known, z, 0.0), end], 1), pad(known, (1, 1), value=True)
    place = torch.arange(z.shape[1], device=z.device)
    last = torch.where(known, place, 0).cummax(1).values[:, :-1]
    before, here, gap = z.gather(1, last), z[:, 1:], place[1:] - last - 1
    between = torch.special.ndtr(here) - torch.special.ndtr(before)
    of_gap = torch.where(gap > 0, gap * between.log(), 0.0) - torch.lgamma(gap + 1.0)
    of_value = torch.where(here.isfinite(), -(here.square() + math.log(2 * math.pi)) / 2, 0.0)
    found = torch.where(known[:, 1:], of_gap + of_value, 0.0).sum(1) + math.lgamma(z.shape[1] - 1)
    return found, (~known[:, 1:] | (here >= before - _OUT_OF_ORDER)).all(1)


def _all_below(own: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Rows i of `steps`, (n, F), and j of `own`, (K, F), for all pairs where no number of `own` is the larger one."""
    possible, all_of = torch.ones(len(steps), len(own), dtype=torch.bool, device=own.device), len(steps) * len(own)
    groups, few = range(0, own.shape[1], _NEIGHBOURS[1]), max(len(steps), _FEW * all_of)
    for first in groups:
        for column in range(first, min(first + _NEIGHBOURS[1], own.shape[1])):
            possible &= own[:, column].contiguous() <= steps[:, column, None]
        if possible.count_nonzero() <= few:
            break
    i, j = possible.nonzero(as_tuple=True)
    for some in groups[first // _NEIGHBOURS[1] + 1 :] if own.shape[1] else ():
        columns = slice(some, some + _NEIGHBOURS[1])
        left = (own[j, columns] <= steps[i, columns]).all(1)
        i, j = i[left], j[left]
    return i, j


class _Equal:
    """Which of some rows of integers, int64 (K, F), are equal to others.

    By a polynomial of their numbers modulo 2^64; two of K = 50,000 different rows meet in it by chance of 1e-10.
    """

    def __init__(self, rows: Tensor):
        self.powers = torch.full((rows.shape[1],), _BASE, dtype=torch.int64, device=rows.device).cumprod(0)
        self.codes, self.columns = (rows * self.powers).sum(1).sort()

    def pairs(self, others: Tensor) -> tuple[Tensor, Tensor]:
        """Rows i of `others`, (n, F), and j of these, for all pairs that are equal."""
        codes = (others * self.powers).sum(1)
        first, behind = (torch.searchsorted(self.codes, codes, right=right) for right in (False, True))
        i = torch.arange(len(codes), device=codes.device).repeat_interleave(behind - first)
        within = torch.arange(len(i), device=codes.device) - ((behind - first).cumsum(0) - (behind - first))[i]
        return i, self.columns[first[i] + within]


def _few_at_once(i: Tensor, j: Tensor, d: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of rows with D elements each, as many at once as memory is meant for."""
    at_once = max(1, _NUMBERS_AT_ONCE // d)
    return zip(i.split(at_once), j.split(at_once), strict=True)


def _begun(total: Tensor | None, received: Tensor, signal: Tensor) -> Tensor:
    """The sum, or ln 0 for all pairs."""
    return received.new_full((len(received), len(signal)), -math.inf) if total is None else total


def _add_at(total: Tensor, i: Tensor, j: Tensor, values: Tensor, possible: Tensor) -> None:
    i, j = i[possible], j[possible]
    total[i, j] = torch.logaddexp(total[i, j], values[possible])
