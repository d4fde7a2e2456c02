"""The paper's versions as methods: how noise tensors start, what they minimise, and how far each update goes."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shredder import objectives
from shredder.noise import initial_noise, laplace_noise
from shredder.split import SplitNetwork


@dataclass(frozen=True)
class Additive:
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

    def initial(self, n_members: int, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Tensor]:
        """Tensors of `n_members` members before their first update, each float32 (n_members, *shape)."""
        return {"additive": laplace_noise(n_members, shape, self.location, self.scale, rng)}

    def losses(
        self, split: SplitNetwork, noise: dict[str, Tensor], learning_set: tuple[Tensor, Tensor], rows: Tensor, _: Tensor
    ) -> Tensor:
        """The loss of each member, (R,), on `rows` of (activations, labels): the cross-entropy of cloud(a + n), in nats."""
        activations, labels = learning_set
        return objectives.cross_entropy(split.noisy_cloud(activations[rows], None, noise["additive"]), labels[rows])

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
class SelfSupervised:
    """Version v2: a' = w * a + n, learned by cross-entropy and a clustering term.

    Attributes
    ----------
    scale : float
        Of the Laplace distribution around 0 that n starts from, in units of the activation.
    recipe : Recipe
    clustering : "normalised" or "raw"
        Form of the clustering term.
    clustering_weight : float
    """

    scale: float
    recipe: Recipe
    clustering: objectives.Clustering
    clustering_weight: float

    def initial(self, n_members: int, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Tensor]:
        """Tensors of `n_members` members before their first update, each float32 (n_members, *shape)."""
        return dict(zip(("multiplicative", "additive"), initial_noise(n_members, shape, self.scale, rng), strict=True))

    def losses(
        self,
        split: SplitNetwork,
        noise: dict[str, Tensor],
        learning_set: tuple[Tensor, Tensor],
        rows: Tensor,
        partner_rows: Tensor,
    ) -> Tensor:
        """The loss of each member, (R,), on `rows` of (activations, labels), paired with `partner_rows`.

        cross-entropy + weight * clustering
        """
        w, activations, labels = noise["multiplicative"], learning_set[0][rows], learning_set[1][rows]
        partners, same_label = learning_set[0][partner_rows], labels == learning_set[1][partner_rows]
        clustering = objectives.clustering(w, activations, partners, same_label, self.clustering)
        answers = split.noisy_cloud(activations, w, noise["additive"])
        return objectives.cross_entropy(answers, labels) + self.clustering_weight * clustering

    def rates(self, epochs: Tensor, progress: Tensor) -> dict[str, Tensor]:
        """Learning rates of each member, (R,), at `progress`: its updates as a share of those before acceptance, at most 1."""
        cosine = (1 + torch.cos(math.pi * progress)) / 2
        fraction = self.recipe.final_fraction + (1 - self.recipe.final_fraction) * cosine
        return {
            "multiplicative": self.recipe.multiplicative_rate * fraction,
            "additive": self.recipe.additive_rate * fraction,
        }
