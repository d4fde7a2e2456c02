"""Flags of the methods."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor
from tyro.conf import FlagCreatePairsOff

from shredder.io.cli import InputError, require_at_least
from shredder.learn.fresh import FreshLearning
from shredder.learn.members import Learning, Settings
from shredder.learn.methods import RECIPES, Additive, Distribution, Method, PrivateTerm, SelfSupervised
from shredder.learn.objectives import Clustering
from shredder.noise.fresh import Form
from shredder.split import SplitNetwork

MethodName = Literal["additive", "self-supervised", "distribution", "fresh"]
# Defaults of one method with one recipe, by the flag's name; flags that are not named are not the method's.
Defaults = Mapping[tuple[MethodName, str], Mapping[str, Any]]


@dataclass(frozen=True)
class MethodArguments:
    """Flags that say how noise is learned. Those left out take the method's default, which run.json shows."""

    method: MethodName
    """additive: v1, cross-entropy alone. self-supervised: v2, with multiplicative tensors and a clustering term.
    distribution: v3, Laplace distributions and the order of their values. fresh: beyond the paper, noise drawn anew for every
    query, with a bound in bits on what it lets through."""
    recipe: Literal["suite", "authors"] | None = None
    """Learning rates, weights and epochs: ours, the default, or the authors' (v2: their released code; v3: the paper)."""
    location: float | None = None
    """additive: location of the Laplace distribution that additive tensors start from, in units of the activation."""
    scale: float | None = None
    """Scale b of the Laplace distribution that additive tensors start from; a smaller one hides less."""
    learning_rate: float | None = None
    """additive, distribution, fresh: Adam's at the start, in units of what it learns for each update."""
    clustering: Clustering | None = None
    """self-supervised: the clustering term, normalised: (pos - neg) / (pos + neg), the default, or raw: pos - neg."""
    clustering_weight: float | None = None
    """self-supervised: weight of the clustering term."""
    alpha: float | None = None
    """distribution: weight of sum|n|, which makes noise grow; a tenth after every 500 updates."""
    private_labels: bool = False
    """distribution: also make the private network's answer worse."""
    gamma: float | None = None
    """distribution, with --private-labels: weight of the private network's cross-entropy. Default: 0.01."""
    learn_redrawn: FlagCreatePairsOff[bool] = False
    """self-supervised, distribution: learn from noise redrawn for every update, as queries will draw it. The default of
    distributions, whose tensors do not survive redrawing otherwise; self-supervised ones do."""
    no_learn_redrawn: FlagCreatePairsOff[bool] = False
    """distribution: learn tensors as they are, as the paper does."""
    directions: int | None = None
    """fresh: in how many directions, of those in which the cloud's answer changes most, anything is sent. Default: 64; LeNet,
    quantised: 1."""
    form: Form | None = None
    """fresh: what is sent in each direction before noise. linear: what the device reads of the activation there. saturated: its
    hyperbolic tangent. quantised: its sign, one bit, whose bound holds for any inputs. Default: saturated; quantised for LeNet
    cut last that answers digit > 5."""
    max_sse: float | None = None
    """distribution: accept a tensor whose histogram is within this sum of squared errors of the Laplace fitted to it."""


def completed(args: Any, defaults: Defaults, **common: int) -> Any:
    """`args`, of a class with MethodArguments' flags, with the method's defaults in place of flags that were not given.

    `common` are defaults of flags that a method may have its own for.

    Raises
    ------
    InputError
        If a flag was given that the method does not have, or a value that makes no sense.
    """
    recipe = args.recipe or "suite"
    if (args.method, recipe) not in defaults:
        raise InputError(f"--recipe {recipe}: --method {args.method} has one recipe only, which needs no flag")
    of_method = {"recipe": recipe, **defaults[args.method, recipe]}
    if args.method == "distribution":
        of_method |= {"private_labels": False, "no_learn_redrawn": False} | ({"gamma": 0.01} if args.private_labels else {})
    for field in dataclasses.fields(MethodArguments):
        given = getattr(args, field.name)
        if given is not None and given is not False and field.name not in ("method", *of_method):
            only = "without --private-labels" if field.name == "gamma" else f"with --method {args.method}"
            raise InputError(f"--{field.name.replace('_', '-')}: found {given}, which means nothing {only}")
    if args.learn_redrawn and args.no_learn_redrawn:
        raise InputError("--learn-redrawn: found with --no-learn-redrawn, expected one of them")
    missing = {name: value for name, value in (common | of_method).items() if getattr(args, name) is None}
    missing["learn_redrawn"] = args.learn_redrawn or (of_method.get("learn_redrawn", False) and not args.no_learn_redrawn)
    args = dataclasses.replace(args, **missing)
    require_at_least(args, scale=0, learning_rate=0, clustering_weight=0, alpha=0, gamma=0, max_sse=0, directions=1)
    if args.method == "fresh" and args.members != 1:
        raise InputError(f"--members: found {args.members}, expected 1, for fresh noise has no members")
    if args.method == "distribution" and args.scale == 0:
        raise InputError("--scale: found 0.0, expected more than 0, for a distribution has a scale")
    if args.location is not None and not math.isfinite(args.location):
        raise InputError(f"--location: found {args.location}, expected a finite number")
    return args


def learner(
    args: Any,
    split: SplitNetwork,
    learning_set: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    settings: Settings,
    private: PrivateTerm | None = None,
) -> Learning | FreshLearning:
    """What learns as completed `args` describe; the rest as for `Learning`."""
    rng = np.random.default_rng(args.seed)
    if args.method == "fresh":
        return FreshLearning(split, learning_set, held_out, settings, args.form, args.learning_rate, args.directions, rng)
    return Learning(split, learning_set, held_out, _method(args, private), settings, rng)


def _method(args: Any, private: PrivateTerm | None) -> Method:
    if args.method == "additive":
        return Additive(args.location, args.scale, args.learning_rate)
    if args.method == "self-supervised":
        recipe = RECIPES[args.recipe]
        weight = recipe.clustering_weight[args.clustering] if args.clustering_weight is None else args.clustering_weight
        return SelfSupervised(args.scale, recipe, args.clustering, weight, args.learn_redrawn)
    final_fraction = RECIPES[args.recipe].final_fraction
    return Distribution(args.scale, args.alpha, args.learning_rate, final_fraction, args.learn_redrawn, args.max_sse, private)
