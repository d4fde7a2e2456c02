"""Flags that scripts share: of the methods (step 1), and of what they learned (step 2, attacks)."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor
from tyro.conf import FlagCreatePairsOff

from shredder import records, runs
from shredder.fresh import Form, Fresh, load_fresh
from shredder.fresh_learning import FreshLearning
from shredder.learning import Learning, Settings
from shredder.methods import RECIPES, Additive, Distribution, Method, PrivateTerm, SelfSupervised
from shredder.noise import Collection, Distributions, load_noise
from shredder.objectives import Clustering
from shredder.runs import InputError
from shredder.sampling import Draw
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
    runs.require_at_least(args, scale=0, learning_rate=0, clustering_weight=0, alpha=0, gamma=0, max_sse=0, directions=1)
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


@dataclass(frozen=True)
class NoiseArguments:
    """Flags that name what step 1 has learned, and how queries draw from it."""

    additive: Path | None = None
    """Additive tensors, float32 (N, *activation shape); alone (v1) or with --multiplicative (v2). Default: shipped ones."""
    multiplicative: Path | None = None
    """Multiplicative tensors, as many (v2)."""
    distributions: Path | None = None
    """Location and scale of learned Laplace distributions, float32 (N, 2); instead of tensors, and with --orders (v3)."""
    orders: Path | None = None
    """For each distribution the elements of the activation, from the one that receives the largest value down, int64 (N, D)."""
    fresh: Path | None = None
    """The folder that --method fresh has written; instead of all of the above."""
    skip_rows: int = 0
    """Leading rows of the files to leave out; the authors' own files need 1."""
    draw: Draw | None = None
    """elementwise-laplace: each element from Laplace(its mean, its standard deviation over the tensors), v1's rule.
    order-preserving: a tensor redrawn from the distribution fitted to it, in the order of its elements (v2: w, v3: n).
    verbatim: a stored member. fresh: anew. Default: the rule of what is named above."""


def with_noise(args: Any, fits: bool, shipped_for: str, **shipped: Path) -> Any:
    """`args`, of a class with NoiseArguments' flags, with `shipped` files where none are named, and the draw spelled out.

    Raises InputError where none are named and the shipped ones, made for the flags `shipped_for`, do not fit.
    """
    if all(getattr(args, name) is None for name in ("additive", "multiplicative", "distributions", "orders", "fresh")):
        if not fits:
            raise InputError(f"--additive: the shipped tensors are for {shipped_for}; name those learned for your flags")
        args = dataclasses.replace(args, **shipped)
    if args.draw is None:
        tensors_alone = args.additive is not None and args.multiplicative is None
        rule = "fresh" if args.fresh else "elementwise-laplace" if tensors_alone else "order-preserving"
        args = dataclasses.replace(args, draw=rule)
    return args


def source_of(args: Any, shape: tuple[int, ...]) -> Collection | Distributions | Fresh:
    """What `args`, of a class with NoiseArguments' flags, name; checked against the activation's shape. Raises InputError."""
    for path in noise_files(args):
        records.require_intact(path)
    tensors = (args.additive, args.multiplicative, args.distributions, args.orders)
    if args.fresh is None:
        return load_noise(*tensors, shape, args.skip_rows)
    if tensors != (None,) * 4 or args.skip_rows:
        raise InputError("--fresh: found other noise or --skip-rows beside it; expected one or the other")
    return load_fresh(args.fresh, shape)


def noise_files(args: Any) -> list[Path]:
    """The files that `args`, of a class with NoiseArguments' flags, name."""
    named = [args.additive, args.multiplicative, args.distributions, args.orders]
    return [path for path in named if path] + (sorted(args.fresh.glob("fresh-*.npy")) if args.fresh else [])
