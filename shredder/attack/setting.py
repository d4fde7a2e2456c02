"""What an attack is given: the channel, data of its own to learn from, and the test rows that it is judged on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from shredder.attack.features import Features
from shredder.attack.keeper import Keeper
from shredder.attack.networks import Budget
from shredder.noise.channel import Channel
from shredder.split import SplitNetwork


@dataclass(frozen=True)
class Side:
    """Rows of one part of the data.

    Attributes
    ----------
    clean, signal : Tensor, float32, (n, *activation shape)
        Activations, and what is sent of them but for noise: the same, or of Fresh t, (n, r).
    private, public : Tensor, int64, (n,)
        Labels.
    images : Tensor, float32, (n, P)
        Pictures of the inputs, square, in [0, 1].
    secrets : mapping of str to Tensor, (n,)
        What else may be read: labels, int64, or quantities, of a floating-point type.
    """

    clean: Tensor
    signal: Tensor
    private: Tensor
    public: Tensor
    images: Tensor
    secrets: Mapping[str, Tensor] = field(default_factory=dict)

    def rows(self, which: Tensor | slice) -> "Side":
        """Some of the rows."""
        return self.each(lambda tensor: tensor[which])

    def each(self, make: Callable[..., Tensor], *others: "Side") -> "Side":
        """What `make` makes of each tensor, and of those of `others` of the same name."""
        sides = (self, *others)
        secrets = {name: make(*(side.secrets[name] for side in sides)) for name in self.secrets}
        found = {name: make(*(getattr(side, name) for side in sides)) for name in vars(self) if name != "secrets"}
        return Side(**found, secrets=secrets)


@dataclass(frozen=True)
class Examples:
    """What inputs of the edge look like.

    Attributes
    ----------
    inputs : Tensor, float32, (m, *input shape)
        Some of the adversary's own, as the edge takes them.
    pictures : callable
        From inputs to pictures of them, float32 (m, h, h) in [0, 1].
    """

    inputs: Tensor
    pictures: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """All that an attack sees.

    Attributes
    ----------
    channel : Channel
    split : SplitNetwork
        The public network.
    learning, held_out, test : Side
    private : (SplitNetwork, Tensor) or None
        The untrained adversary's network, and its own activations of the test rows; None where no private label is left.
    budget : Budget
        Of each network that is trained.
    seed : int
    keeper, ceilings : Keeper
        Of finished attacks; of what is read of clean activations, whatever the noise.
    examples : Examples or None
        Of inputs; None where no attack is to look for one.
    plans : int or None
        How many of `attacks.READERS` are tried on a label; None for all.
    made : dict
        See `once`.
    """

    channel: Channel
    split: SplitNetwork
    learning: Side
    held_out: Side
    test: Side
    private: tuple[SplitNetwork, Tensor] | None
    budget: Budget
    seed: int
    keeper: Keeper
    ceilings: Keeper
    examples: Examples | None = None
    plans: int | None = None
    made: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def rng(self, *purpose: str | int) -> np.random.Generator:
        """A generator of its own for each purpose, so that attacks do not depend on which others were run."""
        return np.random.default_rng([self.seed, *"/".join(map(str, purpose)).encode()])

    def once(self, name: Any, make: Callable[[], Any]) -> Any:
        """What is made of channel and signals, made once, whatever label is read: settings that differ in labels share it."""
        of = self.channel, self.learning.signal
        key = (name, *map(id, of))
        if key not in self.made:
            self.made[key] = of, make()  # with what the ids are of, so that nothing else gets them
        return self.made[key][1]

    @property
    def features(self) -> Features:
        """What the adversary makes of noisy activations."""
        return self.once("features", lambda: Features(self.channel, self.learning.signal, self.rng("features")))

    def kinds(self, *wanted: str) -> list[str]:
        """Kinds of features of what is sent; those of `wanted` that there are, or all if none are named."""
        return [kind for kind in self.features.kinds if not wanted or kind in wanted]

    def inputs(self, kind: str, side: Side, rng: np.random.Generator) -> Tensor:
        """What a network is given of rows, (n, F): features of a new draw for each; of the kind `clean` the activations."""
        ((_, features),) = self.inputs_of_each([kind], side, rng)
        return features

    def inputs_of_each(self, kinds: Sequence[str], side: Side, rng: np.random.Generator) -> Iterator[tuple[str, Tensor]]:
        """For each kind its name and `inputs`, all of the same draws."""
        noisy = [kind for kind in kinds if kind != "clean"]
        if len(noisy) < len(kinds):
            yield "clean", side.clean.flatten(1)
        if noisy:
            yield from self.features.each(noisy, self.channel.sent(side.signal, rng))
