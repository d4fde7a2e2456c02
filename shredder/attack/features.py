"""What an adversary makes of a noisy activation before a network reads it: whitened, or its noise undone."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from shredder.io.device import moved
from shredder.noise.bounds import ELEMENTS_WITH_COVARIANCE
from shredder.noise.channel import Channel
from shredder.noise.moments import Moments
from shredder.noise.rounding import lowest_set_bit

# Rows from which the noise's covariance is taken.
_ROWS_FOR_COVARIANCE = 20_000
# Elements of all members' covariances together; where there are more, elements count as independent.
_COVARIANCE_ELEMENTS = 3e8
# Members whose likelihood is taken by the whole covariance.
_LIKELY_MEMBERS = 8
# Share of the largest eigenvalue below which one counts as zero.
_SINGULAR = 1e-10
# What the name of a kind ends in that comes with what rounding leaves.
_ROUNDING = " and rounding"


class Features:
    """Features of noisy activations, by kind.

    raw: a' as it is. whitened: by the noise's covariance. undone: the member guessed, its expectation undone. Of more elements
    than a covariance can be had of, none is whitened. Where a bound is claimed, whitened (or else raw) and undone ones also
    come with what rounding leaves: `rounding_of`.

    Parameters
    ----------
    channel : Channel
    signal : Tensor, (n, ...)
        Of the adversary's own data, before noise.
    rng : np.random.Generator
        Of the draws that the noise's covariance is taken from.

    Attributes
    ----------
    kinds : list of str
    rank : int or None
        Of the noise's covariance, where that was taken.
    """

    def __init__(self, channel: Channel, signal: Tensor, rng: np.random.Generator):
        self.channel, self.undo, self.whiten, self.rank = channel, Undo(channel.moments(), signal), None, None
        density = channel.density()
        if density is not None and density.power == 2:
            self.whiten = lambda sent: density.sent(channel.source.received(sent))  # Normal noise of unit spread already
        elif channel.source.rank is not None:  # a flipped sign, along its direction
            self.whiten = channel.source.received
        elif signal[0].numel() <= ELEMENTS_WITH_COVARIANCE:
            rows = moved(rng.integers(len(signal), size=_ROWS_FOR_COVARIANCE), signal.device)
            self.whiten = Whiten(signal[rows], channel.sent(signal[rows], rng))
            self.rank = self.whiten.rank
        self.kinds = ["raw", *(["whitened"] if self.whiten else []), "undone"]
        if channel.bounded:
            self.kinds += [kind + _ROUNDING for kind in self.kinds[-2:]]

    def of(self, kind: str, sent: Tensor) -> Tensor:
        """Of noisy activations, (n, *activation shape): float32 (n, F)."""
        ((_, features),) = self.each([kind], sent)
        return features

    def each(self, kinds: Sequence[str], sent: Tensor) -> Iterator[tuple[str, Tensor]]:
        """For each kind its name and its features; what several are made of is made once."""
        plain, rounding = {}, None
        for kind in kinds:
            name = kind.removesuffix(_ROUNDING)
            if name not in plain:
                plain[name] = self._plain(name, sent)
            if name == kind:
                yield kind, plain[name]
                continue
            rounding = rounding_of(self.channel, sent) if rounding is None else rounding
            yield kind, torch.cat([plain[name], rounding], 1)

    def mean_of(self, kind: str, sent: Tensor) -> Tensor:
        """Mean features over the draws of each input, (n, q, *activation shape): float32 (n, F).

        Where features are linear in a', given the member that is guessed, they are made of means of a' alone.
        """
        draws = sent.shape[:2]
        if kind == "undone":
            return self.undo.mean(self.channel.source.received(sent.flatten(0, 1)).unflatten(0, draws))
        if kind in ("raw", "whitened"):
            return self._plain(kind, sent.mean(1))
        return self.of(kind, sent.flatten(0, 1)).unflatten(0, draws).mean(1)

    def _plain(self, kind: str, sent: Tensor) -> Tensor:
        if kind == "raw":
            return sent.flatten(1)
        return self.whiten(sent) if kind == "whitened" else self.undo(self.channel.source.received(sent))


def rounding_of(channel: Channel, sent: Tensor) -> Tensor:
    """What is left of a' beside its value: the lowest set bit of each element, and what lies outside the noise's directions.

    Parameters
    ----------
    sent : Tensor, float32, (n, *activation shape)

    Returns
    -------
    Tensor, float32, (n, D) or (n, 2 D)
    """
    outside = channel.source.outside(sent) / torch.finfo(torch.float32).eps
    return torch.cat([lowest_set_bit(sent.flatten(1)), outside.float()], 1)


class Undo:
    """Guesses the member and undoes the noise by its expectation.

        member = argmax_m N(a'; mean_m, Cov_m),   mean_m = w_m * E[t] + n_m
        estimate = E[t] + C diag(w_m) Cov_m^-1 (a' - mean_m)
        Cov_m = diag(w_m) C diag(w_m) + diag(Var(w_i) E[t_i^2]) + Cov(n)

    the linear estimate of least mean square error, for the covariance C of the signal t; w_m and n_m are expectations of
    the draw. That the elements of w, placed in an order, vary together is left out.

    Parameters
    ----------
    moments : Moments
    signal : Tensor, (n, *activation shape)
        Of the adversary's own data: its mean and covariance are all that is known of the input.
    """

    def __init__(self, moments: Moments, signal: Tensor):
        flat, c = signal.flatten(1).double(), moments
        self.mean_signal = flat.mean(0)
        d = flat.shape[1]
        few = d <= ELEMENTS_WITH_COVARIANCE and d * d * len(c.w_mean) <= _COVARIANCE_ELEMENTS
        covariance = torch.cov(flat.T).view(d, d) if few else None
        self.means = c.w_mean * self.mean_signal + c.n_mean  # (N, D)
        spread = c.w_variance * flat.square().mean(0) + c.n_variance  # (N, D)
        variance = flat.var(0)
        self.variance = c.w_mean.square() * variance + spread
        # Without noise in an element that never varies a' says nothing of it, and any positive number will do.
        self.variance += 1e-9 * self.variance.mean(1, keepdim=True)
        self.gains = c.w_mean * variance / self.variance
        self.whole = covariance is not None
        if not self.whole:
            return
        self.whiten, self.gain, self.log_det = [], [], []
        for m, (w, extra) in enumerate(zip(c.w_mean, c.w_variance * flat.square().mean(0), strict=True)):
            of_member = w[:, None] * covariance * w + torch.diag(extra) + c.n_covariance(m)
            identity = torch.eye(len(w), dtype=torch.float64, device=w.device)
            of_member += identity * 1e-9 * of_member.diagonal().mean()
            lower = torch.linalg.cholesky(of_member)
            inverse = torch.linalg.solve_triangular(lower, identity, upper=False)
            self.whiten.append(inverse.float())
            self.gain.append((covariance * w @ inverse.T).float())
            self.log_det.append(lower.diagonal().log().sum().item())

    def members(self, sent: Tensor) -> Tensor:
        """The likeliest member of each row, int64 (n,): by elements as if they were independent, then the best of these."""
        flat = sent.flatten(1)
        precision = 1 / self.variance
        squares = flat.double().square() @ precision.T - 2 * flat.double() @ (self.means * precision).T
        by_element = squares + (self.means.square() * precision).sum(1) + self.variance.log().sum(1)
        if not self.whole or len(self.means) == 1:
            return by_element.argmin(1)
        likely = by_element.topk(min(_LIKELY_MEMBERS, len(self.means)), largest=False).indices  # (n, candidates)
        score = torch.empty(likely.shape, device=sent.device)
        for m in likely.unique().tolist():
            rows, candidate = (likely == m).nonzero(as_tuple=True)
            score[rows, candidate] = self._whitened(flat[rows], m).square().sum(1) / 2 + self.log_det[m]
        return likely.gather(1, score.argmin(1, keepdim=True)).squeeze(1)

    def __call__(self, sent: Tensor) -> Tensor:
        """Estimates of t, float32 (n, D)."""
        members, flat = self.members(sent), sent.flatten(1)
        if not self.whole:
            return (self.mean_signal + self.gains[members] * (flat.double() - self.means[members])).float()
        estimate = torch.empty(len(flat), len(self.mean_signal), device=flat.device)
        for m in members.unique().tolist():
            rows = members == m
            estimate[rows] = self.mean_signal.float() + self._whitened(flat[rows], m) @ self.gain[m].T
        return estimate

    def mean(self, sent: Tensor) -> Tensor:
        """Mean estimates of t over the draws of each input, (n, q, ...): float32 (n, D).

        Draws of the same guessed member are summed before they are undone, for that is linear.
        """
        n, q = sent.shape[:2]
        flat = sent.flatten(0, 1).flatten(1)
        members, rows = self.members(flat), torch.arange(n, device=sent.device).repeat_interleave(q)
        found = torch.zeros(n, len(self.mean_signal), dtype=torch.float64, device=sent.device)
        for m in members.unique().tolist():
            which = members == m
            count = torch.bincount(rows[which], minlength=n)[:, None].double()
            total = torch.zeros_like(found).index_add_(0, rows[which], flat[which].double()) - count * self.means[m]
            undone = (total.float() @ self.whiten[m].T @ self.gain[m].T) if self.whole else self.gains[m] * total
            found += count * self.mean_signal + undone
        return (found / q).float()

    def _whitened(self, flat: Tensor, m: int) -> Tensor:
        return (flat - self.means[m].float()) @ self.whiten[m].T


class Whiten:
    """a' in coordinates in which the noise is uncorrelated and of unit spread.

    Without it the loudest directions of the noise drown the quiet ones, and a network fails to train. Where noise is absent
    and the signal is not, coordinates are of unit spread of the signal; where both are absent there are none.

    Parameters
    ----------
    signal, sent : Tensor, (n, *activation shape)
        The same rows before and after noise.

    Attributes
    ----------
    rank : int
        Of the noise's covariance.
    """

    def __init__(self, signal: Tensor, sent: Tensor):
        clean, noise = signal.flatten(1).double(), (sent - signal).flatten(1).double()
        values, vectors = torch.linalg.eigh(torch.cov(noise.T))
        loud = values > _SINGULAR * values.max().clamp(min=torch.finfo(torch.float64).tiny)
        self.rank = int(loud.sum())
        scales = values.clamp(min=0).sqrt()
        quiet = ~loud
        if quiet.any():
            scales[quiet] = ((clean - clean.mean(0)) @ vectors[:, quiet]).std(0)
        kept = loud | (scales > _SINGULAR * scales.max())
        self.matrix = (vectors[:, kept] / scales[kept]).float()  # (D, kept)
        self.offset = noise.mean(0).float()

    def __call__(self, sent: Tensor) -> Tensor:
        """Coordinates, float32 (n, rank or more)."""
        return (sent.flatten(1) - self.offset) @ self.matrix
