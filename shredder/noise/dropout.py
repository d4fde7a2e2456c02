"""Channels of the activation left out at random, others for every query: no noise, and no bound."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shredder.io.device import moved
from shredder.io.files import npy
from shredder.noise import draws
from shredder.noise.densities import PairDensity, channels_kept
from shredder.noise.draws import Draws
from shredder.noise.moments import Moments
from shredder.noise.protocol import Elementwise


@dataclass(frozen=True)
class ChannelDropout(Elementwise):
    """a' = w * a, where w is 1 / p for a channel that is kept, with probability p, and 0 for one that is not.

    Channels are kept or not independently of each other, anew for every query; E[a'] is a (inverted dropout; Srivastava et al.
    2014). What is kept is sent as it is, so that no theorem bounds what it tells: `bits` is None.

    Attributes
    ----------
    kept : Tensor, float32, (channels,)
        p, in (0, 1].
    shape : tuple of int
        Of one activation, channels first.
    """

    kept: Tensor
    shape: tuple[int, ...]

    NAMES = ("dropout-kept.npy",)
    rules = ("dropout",)
    formula = "w * a"

    def __len__(self) -> int:
        return 1

    def draw(self, n_queries: int, rule: str, rng: np.random.Generator) -> Draws:
        """w of each query, and nothing added: float32 (n_queries, *activation shape)."""
        draws.require_rule(rule, self.rules)
        uniform = moved(rng.random((n_queries, len(self.kept))), self.kept.device)
        w = torch.where(uniform < self.kept.double(), 1 / self.kept, 0.0).float()
        w = w.view(n_queries, -1, *[1] * (len(self.shape) - 1)).expand(-1, *self.shape)
        return Draws(w, torch.zeros((), device=w.device).expand(w.shape))

    def files(self, folder: Path) -> dict[Path, bytes]:
        """One `.npy` file."""
        return {folder / self.NAMES[0]: npy(self.kept.cpu().numpy())}

    def laplace(self, rule: str) -> None:
        """Nothing is added."""
        return

    def moments(self, rule: str) -> Moments:
        """Of w, element by element."""
        p = self.kept.double().view(-1, *[1] * (len(self.shape) - 1)).expand(self.shape).flatten()[None]
        zero = torch.zeros_like(p)
        return Moments(torch.ones_like(p), (1 - p) / p, zero, zero)

    def density(self, rule: str) -> None:
        """It has none: what is kept is sent as it is."""
        return

    def pair_densities(self, signal: Tensor, rule: str) -> Sequence[PairDensity]:
        """Of which channels are kept, and what they hold."""
        return [channels_kept(signal, self.kept)]

    def bits(self, signal: Tensor, rule: str, rng: np.random.Generator, queries: int = 1) -> None:
        """None: no theorem gives a bound."""
        return
