"""What crosses the cut, as whoever knows the defence sees it: stored noise and the rule by which queries draw from it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from shredder.noise.densities import Density, PairDensity
from shredder.noise.draws import Draws
from shredder.noise.moments import LaplaceNoise, Moments
from shredder.noise.protocol import Stored
from shredder.noise.tensors import noisy

# Elements of a' that a cloud is given at once: those of 10,000 activations, unless these have more than 3,000.
_ELEMENTS_AT_ONCE = 30_000_000


@dataclass(frozen=True)
class Channel:
    """a' = w * t + n for each query, where t is what the device sends before noise; every draw of the suite goes through it.

    Attributes
    ----------
    source : Stored
        What was learned.
    rule : str
        How a query draws its noise from it. InputError of one that does not fit.
    """

    source: Stored
    rule: str

    def __post_init__(self):
        self.draws(1, np.random.default_rng(0))

    def to(self, device: str | torch.device) -> "Channel":
        """The same with all its tensors there."""
        found = {field.name: getattr(self.source, field.name) for field in fields(self.source)}
        moved = {name: value.to(device) for name, value in found.items() if isinstance(value, Tensor)}
        return replace(self, source=replace(self.source, **moved))

    def signal(self, activations: Tensor) -> Tensor:
        """t, float32 (n, ...)."""
        return self.source.signal(activations)

    def draws(self, n_queries: int, rng: np.random.Generator) -> Draws:
        """One draw for each query."""
        return self.source.draw(n_queries, self.rule, rng)

    def applied(self, signal: Tensor, drawn: Draws) -> Tensor:
        """a' of each row of `signal` under a draw of its own, float32 (n, *activation shape): all that leaves the device."""
        return self.source.sent(signal, drawn)

    def sent(self, signal: Tensor, rng: np.random.Generator) -> Tensor:
        """The same with a new draw for each row."""
        return self.applied(signal, self.draws(len(signal), rng))

    def answered(self, cloud: Callable[[Tensor], Tensor], signal: Tensor, rng: np.random.Generator) -> Tensor:
        """What `cloud` makes of a' of each row of `signal` under a new draw, (n, classes); in blocks, so that few are held."""
        blocks = signal.split(max(1, _ELEMENTS_AT_ONCE // math.prod(self.source.shape)))
        return torch.cat([self.source.answered(cloud, some, self.draws(len(some), rng)) for some in blocks])

    def unrounded(self, signal: Tensor, rng: np.random.Generator) -> Tensor:
        """What a' says of each row of `signal` with a new draw, before it is rounded to its grid: float64 (n, F)."""
        w, n, _ = self.draws(len(signal), rng)
        return noisy(signal.double(), None if w is None else w.double(), n.double()).flatten(1)

    @property
    def bounded(self) -> bool:
        """Whether a bound is claimed of what is sent, which then lies on a grid."""
        return self.draws(1, np.random.default_rng(0)).grid is not None

    def moments(self) -> Moments:
        """Of w and n given the member."""
        return self.source.moments(self.rule)

    def laplace(self) -> list[LaplaceNoise] | None:
        """The additive noise of each member, if it is Laplace noise."""
        return self.source.laplace(self.rule)

    def density(self) -> Density | None:
        """The density of a' given t, where it is that of independent Laplace or Normal values."""
        return self.source.density(self.rule)

    def pair_densities(self, signal: Tensor) -> Sequence[PairDensity]:
        """p(a' | t_j) given each member, for signals t_j, (K, ...)."""
        return self.source.pair_densities(signal, self.rule)

    def averaged(self, queries: int) -> "Channel | None":
        """The channel of the mean of so many draws for one input, where that mean is all that they say; else None."""
        source = self.source.averaged(queries)
        return None if source is None else replace(self, source=source)

    def bits_at_most(self, signal: Tensor, rng: np.random.Generator, queries: int = 1) -> float | None:
        """Upper bound on the mutual information of input and `queries` a' of it, in bits; None where no theorem gives one.

        Parameters
        ----------
        signal : Tensor, (n, ...)
            Rows that say the covariance of t, n > 9: held-out ones, for a bound that nothing was fitted to.
        rng : np.random.Generator
            Of the mixture that Laplace noise is.
        """
        return self.source.bits(signal, self.rule, rng, queries)

    def slack(self, signal: Tensor, rng: np.random.Generator) -> float | None:
        """What the bound says, in bits, of rows like `signal` that carry nothing; None where a bound holds for any inputs."""
        if self.source.bits_for_any_inputs() is not None:
            return None
        return self.bits_at_most(torch.zeros_like(signal), rng)
