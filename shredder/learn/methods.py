"""The paper's versions as methods: their flags, how noise starts, what it minimises, how far updates go, what is kept."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from shredder.io.cli import InputError
from shredder.learn import objectives
from shredder.learn.learner import Batch, MemberMethod, PrivateRows, half_cosine
from shredder.learn.members import Learning
from shredder.noise.draws import Family
from shredder.noise.stored import Collection, Distributions
from shredder.noise.tensors import initial_noise, laplace_fit_error, laplace_noise
from shredder.split import SplitNetwork

# Flags that all methods have, and what they are where a method or a task says nothing else.
COMMON = {"members": 20, "parallel": 50, "epochs": 40, "min_epochs": 0, "batch_size": 256}


@dataclass(frozen=True)
class Additive(MemberMethod):
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

    rule = "elementwise-laplace"
    learning = Learning

    @classmethod
    def defaults(cls, args: Any) -> dict[str, Any]:
        """As for LeNet's ten digits."""
        return COMMON | {"location": 0.0, "scale": 2.0, "learning_rate": 1e-2}

    @classmethod
    def check(cls, args: Any) -> None:
        """A location is a number."""
        if not math.isfinite(args.location):
            raise InputError(f"--location: found {args.location}, expected a finite number")

    @classmethod
    def of(cls, args: Any, private: PrivateRows | None) -> "Additive":
        """From flags."""
        return cls(args.location, args.scale, args.learning_rate)

    def initial(self, n_members: int, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Tensor]:
        """Tensors of `n_members` members before their first update, each float32 (n_members, *shape)."""
        return {"additive": laplace_noise(n_members, shape, self.location, self.scale, rng)}

    def losses(self, split: SplitNetwork, noise: dict[str, Tensor], batch: Batch) -> Tensor:
        """The loss of each member, (R,): the cross-entropy of cloud(a + n), in nats."""
        activations, labels = batch.of(batch.rows, *batch.learning_set)
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
class SelfSupervised(MemberMethod):
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

    recipes = ("suite", "authors")
    learning = Learning

    @classmethod
    def defaults(cls, args: Any) -> dict[str, Any]:
        """As in the authors' released code, but for what a recipe says."""
        form = args.clustering or "normalised"
        weight = RECIPES[args.recipe].clustering_weight[form]
        return COMMON | {"scale": 20.0, "clustering": form, "clustering_weight": weight, "learn_redrawn": False}

    @classmethod
    def of(cls, args: Any, private: PrivateRows | None) -> "SelfSupervised":
        """From flags."""
        return cls(args.scale, RECIPES[args.recipe], args.clustering, args.clustering_weight, args.learn_redrawn)

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
        w, (activations, labels) = noise["multiplicative"], batch.of(batch.rows, *batch.learning_set)
        partners, partner_labels = batch.of(batch.partner_rows, *batch.learning_set)
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
class Distribution(MemberMethod):
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
    private : PrivateRows or None
    gamma : float
        Weight of their cross-entropy.
    """

    scale: float
    alpha: float
    learning_rate: float
    final_fraction: float
    learn_redrawn: bool
    max_sse: float
    private: PrivateRows | None = field(default=None, repr=False)
    gamma: float = 0.0

    recipes = ("suite", "authors")
    learning = Learning

    @classmethod
    def defaults(cls, args: Any) -> dict[str, Any]:
        """As for LeNet's ten digits; the paper does not say its b."""
        of_recipe = {
            "suite": {"scale": 5.0, "alpha": 1e-3, "learning_rate": 7e-2, "learn_redrawn": not args.no_learn_redrawn},
            "authors": {"scale": 20.0, "alpha": 1e-2, "learning_rate": 1e-2, "learn_redrawn": False},
        }[args.recipe]
        private = {"private_labels": False} | ({"gamma": 0.01} if args.private_labels else {})
        return COMMON | of_recipe | private | {"no_learn_redrawn": False, "max_sse": 0.1}

    @classmethod
    def check(cls, args: Any) -> None:
        """A distribution has a scale, and is learned redrawn or not."""
        if args.scale == 0:
            raise InputError("--scale: found 0.0, expected more than 0, for a distribution has a scale")
        if args.learn_redrawn and args.no_learn_redrawn:
            raise InputError("--learn-redrawn: found with --no-learn-redrawn, expected one of them")

    @classmethod
    def of(cls, args: Any, private: PrivateRows | None) -> "Distribution":
        """From flags."""
        final_fraction = RECIPES[args.recipe].final_fraction
        numbers = args.scale, args.alpha, args.learning_rate, final_fraction, args.learn_redrawn, args.max_sse
        return cls(*numbers, private, args.gamma or 0.0)

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
        n, (activations, labels) = noise["additive"], batch.of(batch.rows, *batch.learning_set)
        alpha = self.alpha * 0.1 ** (batch.updates // 500)
        loss = objectives.cross_entropy(split.noisy_cloud(activations, None, n), labels) - alpha * n.abs().flatten(1).sum(1)
        if self.private is not None:
            theirs, private_labels = batch.of(batch.rows, self.private.activations, self.private.labels)
            answers = self.private.split.noisy_cloud(theirs, None, n)
            loss = loss - self.gamma * objectives.cross_entropy(answers, private_labels)
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
