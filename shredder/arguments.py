"""Flags of the methods, which the scripts of step 1 share."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tyro.conf import FlagCreatePairsOff

from shredder import runs
from shredder.methods import RECIPES, Additive, Distribution, Method, PrivateTerm, SelfSupervised
from shredder.objectives import Clustering
from shredder.runs import InputError

MethodName = Literal["additive", "self-supervised", "distribution"]
# Defaults of one method with one recipe, by the flag's name; flags that are not named are not the method's.
Defaults = Mapping[tuple[MethodName, str], Mapping[str, Any]]


@dataclass(frozen=True)
class MethodArguments:
    """Flags that say how noise is learned. Those left out take the method's default, which run.json shows."""

    method: MethodName
    """additive: v1, cross-entropy alone. self-supervised: v2, with multiplicative tensors and a clustering term.
    distribution: v3, Laplace distributions and the order of their values."""
    recipe: Literal["suite", "authors"] | None = None
    """Learning rates, weights and epochs: ours, the default, or the authors' (v2: their released code; v3: the paper)."""
    location: float | None = None
    """additive: location of the Laplace distribution that additive tensors start from, in units of the activation."""
    scale: float | None = None
    """Scale b of the Laplace distribution that additive tensors start from; a smaller one hides less."""
    learning_rate: float | None = None
    """additive, distribution: Adam's at the start, in units of the activation for each update."""
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
    max_sse: float | None = None
    """distribution: accept a tensor whose histogram is within this sum of squared errors of the Laplace fitted to it."""


def completed(args: Any, defaults: Defaults) -> Any:
    """`args`, of a class with MethodArguments' flags, with the method's defaults in place of flags that were not given.

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
    missing = {name: value for name, value in of_method.items() if getattr(args, name) is None}
    missing["learn_redrawn"] = args.learn_redrawn or (of_method.get("learn_redrawn", False) and not args.no_learn_redrawn)
    args = dataclasses.replace(args, **missing)
    runs.require_at_least(args, scale=0, learning_rate=0, clustering_weight=0, alpha=0, gamma=0, max_sse=0)
    if args.method == "distribution" and args.scale == 0:
        raise InputError("--scale: found 0.0, expected more than 0, for a distribution has a scale")
    if args.location is not None and not math.isfinite(args.location):
        raise InputError(f"--location: found {args.location}, expected a finite number")
    return args


def method_of(args: Any, private: PrivateTerm | None = None) -> Method:
    """The method that completed `args` describe."""
    if args.method == "additive":
        return Additive(args.location, args.scale, args.learning_rate)
    if args.method == "self-supervised":
        recipe = RECIPES[args.recipe]
        weight = recipe.clustering_weight[args.clustering] if args.clustering_weight is None else args.clustering_weight
        return SelfSupervised(args.scale, recipe, args.clustering, weight, args.learn_redrawn)
    final_fraction = RECIPES[args.recipe].final_fraction
    return Distribution(args.scale, args.alpha, args.learning_rate, final_fraction, args.learn_redrawn, args.max_sse, private)
