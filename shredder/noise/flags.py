"""Flags that name what step 1 has learned, and how queries draw from it."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shredder.io.cli import InputError
from shredder.io.record import require_intact
from shredder.noise.draws import Draw
from shredder.noise.fresh import Fresh, load_fresh
from shredder.noise.stored import Collection, Distributions, load_noise


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
        require_intact(path)
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
