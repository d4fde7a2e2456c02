"""The paper's versions as methods: how noise starts, what it minimises, how far updates go, what is accepted and kept."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from shredder.learn import objectives
from shredder.noise.draws import Draw, Family
from shredder.noise.stored import Collection, Distributions
from shredder.noise.tensors import initial_noise, laplace_fit_error, laplace_noise
from shredder.split import SplitNetwork


class Batch(NamedTuple):
    """What one update sees.

    Attributes
    ----------
    learning_set : (Tensor, Tensor)
        Activations, float32 (n, *activation shape), and their public labels, int64 (n,).
    rows, partner_rows : Tensor, int64, (b,)
        The activations of this update, and those that v2 pairs with them.
    updates : Tensor, int64, (R,)
        How many updates each member has had before this one.
    """

    learning_set: tuple[Tensor, Tensor]
    rows: Tensor
    partner_rows: Tensor
    updates: Tensor


class Method:
    """What the learner asks of a method, and the answers that most have in common.

    A method further has `initial`, the tensors of members before their first update; `losses`, what each member minimises;
    and `rates`, how far each tensor goes in an update.

    Attributes
    ----------
    draw : str
        The rule by which a query draws its noise from what was learned; see `shredder.sampling.draw_noise`.
    redrawn : mapping of str to str
        Tensors that are drawn afresh, in their order, for every update and for validation; and the distributions' family.
    """

    draw: Draw = "order-preserving"
    redrawn: Mapping[str, Family] = {}

    def acceptance(self, noise: dict[str, Tensor]) -> dict[str, tuple[Tensor, float]]:
        """What a member is accepted by besides its accuracy: names to values, (R,), and the largest that will do."""
        return {}

    def stored(self, accepted: Collection) -> Collection | Distributions:
        """What is kept of the members that were accepted."""
        return accepted


@dataclass(frozen=True)
class Additive(Method):
    """Version v1: a' = a + n, learned by cross-entropy alone; that learning stops early balances accuracy and privacy.

    Attributes
    ----------
    location, scale : float
        Of the Laplace distribution that n starts from, in units of the activation.
    learning_rate : float
        Adam's, in units of n for each update.
    """

    location: float
    scale: float
    learning_rate: float

    draw = "elementwise-laplace"

    def initial(self, n_members: int, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Tensor]:
        """Tensors of `n_members` members before their first update, each float32 (n_members, *shape)."""
        return {"additive": laplace_noise(n_members, shape, self.location, self.scale, rng)}

    def losses(self, split: SplitNetwork, noise: dict[str, Tensor], batch: Batch) -> Tensor:
        """The loss of each member, (R,): the cross-entropy of cloud(a + n), in nats."""
        activations, labels = (tensor[batch.rows] for tensor in batch.learning_set)
        return objectives.cross_entropy(split.noisy_cloud(activations, None, noise["additive"]), labels)

    def rates(self, epochs: Tensor, progress: Tensor) -> dict[str, Tensor]:
        """Learning rate of each member, (R,), after `epochs` whole epochs: a tenth after every 30, as in the released code."""
        return {"additive": self.learning_rate * 0.1 ** (epochs // 30)}


@dataclass(frozen=True)
class Recipe:
    """How far one update of v2 goes, and how much its clustering term counts.

    Attributes
    ----------
    multiplicative_rate, additive_rate : float
        Adam's learning rates at the start, in units of w and n for each update.
    final_fraction : float
        What is left of them, after a half cosine (Loshchilov and Hutter 2017), when a member may first be accepted.
    clustering_weight : dict
        What multiplies each form of the clustering term.
    """

    multiplicative_rate: float
    additive_rate: float
    final_fraction: float
    clustering_weight: dict[objectives.Clustering, float]


RECIPES = {
    # As in the authors' released code.
    "authors": Recipe(1e-3, 1e-3, 1.0, {"normalised": 1.01, "raw": 0.01}),
    # n is a hundred times larger than w, and so are its steps: it balances the cloud's decision within an epoch, where the
    # authors' w grows tenfold to do so, and what w amplifies can be read. A lighter clustering term costs less accuracy.
    "suite": Recipe(1e-3, 1e-1, 0.1, {"normalised": 0.3, "raw": 0.003}),
}


@dataclass(frozen=True)
class SelfSupervised(Method):
    """Version v2: a' = w * a + n, learned by cross-entropy and a clustering term.

    Attributes
    ----------
    scale : float
        Of the Laplace distribution around 0 that n starts from, in units of the activation.
    recipe : Recipe
    clustering : "normalised" or "raw"
        Form of the clustering term.
    clustering_weight : float
    learn_redrawn : bool
        Whether every update sees w redrawn, as a query will, instead of w itself.
    """

    scale: float
    recipe: Recipe
    clustering: objectives.Clustering
    clustering_weight: float
    learn_redrawn: bool = False

    @property
    def redrawn(self) -> Mapping[str, Family]:
        """w, if it is learned redrawn, from the Normal fitted to it."""
        return {"multiplicative": "normal"} if self.learn_redrawn else {}

    def initial(self, n_members: int, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Tensor]:
        """Tensors of `n_members` members before their first update, each float32 (n_members, *shape)."""
        return dict(zip(("multiplicative", "additive"), initial_noise(n_members, shape, self.scale, rng), strict=True))

    def losses(self, split: SplitNetwork, noise: dict[str, Tensor], batch: Batch) -> Tensor:
        """The loss of each member, (R,), on the batch's rows, paired with its partner rows.

        cross-entropy + weight * clustering
        """
        w, (activations, labels) = noise["multiplicative"], (tensor[batch.rows] for tensor in batch.learning_set)
        partners, partner_labels = (tensor[batch.partner_rows] for tensor in batch.learning_set)
        same_label = labels == partner_labels
        clustering = objectives.clustering(w, activations, partners, same_label, self.clustering)
        answers = split.noisy_cloud(activations, w, noise["additive"])
        return objectives.cross_entropy(answers, labels) + self.clustering_weight * clustering

    def rates(self, epochs: Tensor, progress: Tensor) -> dict[str, Tensor]:
        """Learning rates of each member, (R,), at `progress`: its updates as a share of those before acceptance, at most 1."""
        fraction = half_cosine(progress, self.recipe.final_fraction)
        return {
            "multiplicative": self.recipe.multiplicative_rate * fraction,
            "additive": self.recipe.additive_rate * fraction,
        }


@dataclass(frozen=True)
class PrivateTerm:
    """What v3 unlearns where private labels are given: another network's answer, under the same noise.

    Attributes
    ----------
    weight : float
        gamma.
    split : SplitNetwork
        The network that answers with the private label, cut where the public one is.
    activations, labels : Tensor, (n, *activation shape), int64 (n,)
        Of its own edge, and private labels, for the rows of the learning set.
    """

    weight: float
    split: SplitNetwork
    activations: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Distribution(Method):
    """Version v3: a' = a + n, with n drawn for each query from a learned Laplace distribution, placed in a learned order.

    Attributes
    ----------
    scale : float
        b of the Laplace distribution around 0 that n starts from, in units of the activation.
    alpha : float
        Weight of sum|n|, in nats for each unit of the activation; a tenth after every 500 updates.
    learning_rate, final_fraction : float
        Adam's rate at the start, in units of n for each update, and what a half cosine leaves of it until acceptance.
    learn_redrawn : bool
        Whether every update sees n redrawn, as a query will, instead of n itself.
    max_sse : float
        A member is accepted up to this sum of squared errors between its histogram and the Laplace density fitted to it.
    private : PrivateTerm or None
    """

    scale: float
    alpha: float
    learning_rate: float
    final_fraction: float
    learn_redrawn: bool
    max_sse: float
    private: PrivateTerm | None = field(default=None, repr=False)

    @property
    def redrawn(self) -> Mapping[str, Family]:
        """n, if it is learned redrawn, from the Laplace distribution fitted to it."""
        return {"additive": "laplace"} if self.learn_redrawn else {}

    def initial(self, n_members: int, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Tensor]:
        """Tensors of `n_members` members before their first update, each float32 (n_members, *shape)."""
        return {"additive": laplace_noise(n_members, shape, 0, self.scale, rng)}

    def losses(self, split: SplitNetwork, noise: dict[str, Tensor], batch: Batch) -> Tensor:
        """The loss of each member, (R,), on the batch's rows.

            cross-entropy(public) - alpha_t * sum_i |n_i| - gamma * cross-entropy(private),   alpha_t = alpha * 0.1^(t div 500)

        The signs follow the paper's intent: noise grows, and the private answer gets worse. Its formula adds the second term,
        with an alpha that the text calls negative in places and gives as positive in others, and writes the third as
        + gamma * sum z log p, which is this.
        """
        n, (activations, labels) = noise["additive"], (tensor[batch.rows] for tensor in batch.learning_set)
        alpha = self.alpha * 0.1 ** (batch.updates // 500)
        loss = objectives.cross_entropy(split.noisy_cloud(activations, None, n), labels) - alpha * n.abs().flatten(1).sum(1)
        if self.private is not None:
            answers = self.private.split.noisy_cloud(self.private.activations[batch.rows], None, n)
            loss = loss - self.private.weight * objectives.cross_entropy(answers, self.private.labels[batch.rows])
        return loss

    def rates(self, epochs: Tensor, progress: Tensor) -> dict[str, Tensor]:
        """Learning rate of each member, (R,), at `progress`: its updates as a share of those before acceptance, at most 1."""
        return {"additive": self.learning_rate * half_cosine(progress, self.final_fraction)}

    def acceptance(self, noise: dict[str, Tensor]) -> dict[str, tuple[Tensor, float]]:
        """The paper's second rule: a member's elements have to look like a sample of the Laplace fitted to them."""
        return {"sse": (laplace_fit_error(noise["additive"]), self.max_sse)}

    def stored(self, accepted: Collection) -> Distributions:
        """Location, scale and order of each tensor; the tensors themselves are discarded."""
        return Distributions.fitted(accepted.additive)


def half_cosine(progress: Tensor, final_fraction: float) -> Tensor:
    """From 1 at progress 0 to `final_fraction` at progress 1 (Loshchilov and Hutter 2017)."""
    return final_fraction + (1 - final_fraction) * (1 + torch.cos(math.pi * progress)) / 2
