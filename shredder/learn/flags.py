"""Flags of the methods, and the list of them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tyro.conf import FlagCreatePairsOff

from shredder.io.cli import InputError, require_at_least
from shredder.learn.defences import AsItIs, Cloak, Dropout, Isotropic, IsotropicLaplace, Pac
from shredder.learn.fresh import FreshMethod
from shredder.learn.learner import Method
from shredder.learn.methods import Additive, Distribution, SelfSupervised
from shredder.learn.objectives import Clustering
from shredder.noise.fresh import Form

# What `--method` may be.
METHODS: dict[str, type[Method]] = {
    "additive": Additive,
    "self-supervised": SelfSupervised,
    "distribution": Distribution,
    "fresh": FreshMethod,
    "isotropic": Isotropic,
    "isotropic-laplace": IsotropicLaplace,
    "pac": Pac,
    "cloak": Cloak,
    "dropout": Dropout,
    "none": AsItIs,
}


@dataclass(frozen=True)
class MethodArguments:
    """Flags that say how noise is learned. Those left out take the method's default for the task, which run.json shows."""

    method: str | None = None
    """additive: v1, cross-entropy alone. self-supervised: v2, with multiplicative tensors and a clustering term.
    distribution: v3, Laplace distributions and the order of their values. fresh: beyond the paper, noise drawn anew for every
    query, with a bound in bits on what it lets through. Defences of others, as loud as the accuracy allows (docs/defences.md):
    isotropic, isotropic-laplace: noise of one scale. pac: along principal directions. cloak: learned mean and scale of each
    element. dropout: channels left out. none: the activation as it is. Default: the task's."""
    recipe: str | None = None
    """Learning rates, weights and epochs: suite, ours, the default; or authors (v2: their released code; v3: the paper)."""
    location: float | None = None
    """additive: location of the Laplace distribution that additive tensors start from, in units of the activation."""
    scale: float | None = None
    """Scale b of the Laplace distribution that additive tensors start from; a smaller one hides less."""
    learning_rate: float | None = None
    """additive, distribution, fresh, cloak: Adam's at the start, in units of what it learns for each update."""
    clustering: Clustering | None = None
    """self-supervised: the clustering term, normalised: (pos - neg) / (pos + neg), the default, or raw: pos - neg."""
    clustering_weight: float | None = None
    """self-supervised: weight of the clustering term."""
    alpha: float | None = None
    """distribution: weight of sum|n|, which makes noise grow; a tenth after every 500 updates. cloak: of mean log sigma."""
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
    """fresh: in how many directions, of those in which the cloud's answer changes most, anything is sent."""
    hidden_units: int | None = None
    """fresh: hidden units of what the device reads of the activation; 0, the default, where it reads linearly."""
    form: Form | None = None
    """fresh: what is sent in each direction before noise. linear: what the device reads of the activation there. saturated: its
    hyperbolic tangent. quantised: its sign, one bit, whose bound holds for any inputs. flipped: the same bit, flipped by chance
    instead of Normal noise, in one direction. Default: saturated, unless the task says otherwise."""
    max_sse: float | None = None
    """distribution: accept a tensor whose histogram is within this sum of squared errors of the Laplace fitted to it."""


def completed(args: Any, of_task: Mapping[str, Any]) -> Any:
    """`args`, of a class with MethodArguments' flags, with defaults in place of flags that were not given.

    Parameters
    ----------
    of_task : mapping of str to value
        The task's defaults for this method; they go before the method's own. Those of flags that mean nothing to the method
        are left aside.

    Raises
    ------
    InputError
        If a flag was given that the method does not have, or a value that makes no sense.
    """
    if args.method not in METHODS:
        raise InputError(f"--method: found {args.method!r}, expected {', '.join(METHODS)}")
    method, recipe = METHODS[args.method], args.recipe or METHODS[args.method].recipes[0]
    if recipe not in method.recipes:
        raise InputError(f"--recipe {recipe}: --method {args.method} has {', '.join(method.recipes)}")
    args = dataclasses.replace(args, recipe=recipe)
    own = method.defaults(args)
    flags = [field.name for field in dataclasses.fields(MethodArguments) if field.name not in ("method", "recipe")]
    for name in flags:
        given = getattr(args, name)
        if given is not None and given is not False and name not in own:
            only = "without --private-labels" if name == "gamma" else f"with --method {args.method}"
            raise InputError(f"--{name.replace('_', '-')}: found {given}, which means nothing {only}")
    defaults = own | {name: value for name, value in of_task.items() if name in own or name not in flags}
    defaults |= method.own_settings
    missing = {name: value for name, value in defaults.items() if getattr(args, name) is None or getattr(args, name) is False}
    args = dataclasses.replace(args, **missing)
    require_at_least(
        args, scale=0, learning_rate=0, clustering_weight=0, alpha=0, gamma=0, max_sse=0, directions=1, hidden_units=0
    )
    method.check(args)
    return args
