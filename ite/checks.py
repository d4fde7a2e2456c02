"""What to ask of an estimate before it is believed: against chance, and against a change of units."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tqdm import tqdm

from ite.cost.dependence import Information
from ite.cost.information import BcondIShannon_HShannon, UnsupportedEstimate
from ite.cost.knn import RepeatedValues
from ite.cost.shared import Rng, as_blocks, normal_scores, spread
from ite.distances import Distances


def standardize(
    y: np.ndarray, ds: Sequence[int] | None = None, how: Literal["block", "column", "scores", "none"] = "block"
) -> np.ndarray:
    """`y` with blocks of comparable scale. Mutual information does not change; estimates from distances do.

    Parameters
    ----------
    y : ndarray, (n, sum(ds))
    ds : sequence of int, optional
        Widths of the blocks; every column is one unless given.
    how : {"block", "column", "scores", "none"}
        Centre each column, then divide by the root mean variance of its block's columns, which keeps the block's shape; or by
        its own standard deviation; or take normal scores of its ranks, which long tails call for; or only check and convert.

    Returns
    -------
    ndarray, float64, (n, sum(ds))

    Raises
    ------
    ValueError
        For a bad sample, or where all of a block, or with "column" or "scores" a column, is constant.
    """
    if how not in ("block", "column", "scores", "none"):
        raise ValueError(f'how: found {how!r}, expected "block", "column", "scores" or "none"')
    y, blocks = as_blocks(y, ds)
    if how == "none":
        return y
    if how == "column":
        return (y - y.mean(axis=0)) / spread(y)
    if how == "scores":
        return np.hstack([normal_scores(block) for block in blocks])
    scales = [np.sqrt(block.var(axis=0, ddof=1).mean()) for block in blocks]
    constant = [i for i, block in enumerate(blocks) if not (scales[i] and np.ptp(block, axis=0).any())]
    if constant:
        raise ValueError(f"y: block {constant[0]} is constant, or its squares underflow; expected one that varies")
    return (y - y.mean(axis=0)) / np.repeat(scales, [block.shape[1] for block in blocks])


@dataclass(frozen=True)
class IndependenceTest:
    """What `independence_test` finds.

    Attributes
    ----------
    estimate : float
        Of the sample as it is.
    null : ndarray, (n_permutations,)
        Of samples whose blocks were made independent.
    p_value : float
        Share of estimates, this one included, that reach it: (1 + #{null >= estimate}) / (1 + n_permutations).
    excess : float
        The estimate minus the null's mean.
    """

    estimate: float
    null: np.ndarray
    p_value: float
    excess: float


def independence_test(
    co: Information,
    y: np.ndarray | Distances,
    ds: Sequence[int] | None = None,
    n_permutations: int = 100,
    rng: Rng = None,
) -> IndependenceTest:
    """Compare an estimate with those of the same rows when every block but the first is permuted by itself.

    `UnsupportedEstimate` and `RepeatedValues` are not given for the latter: every value is returned, and ties are the same.

    Parameters
    ----------
    co : estimator with `estimation(y, ds)`
        Large for dependent blocks.
    y : ndarray, (n, sum(ds)), or Distances
    ds : sequence of int, optional
        Widths of the blocks; every column is one unless given.
    n_permutations : int
        The least p-value is 1 / (1 + n_permutations).
    rng : None, int or np.random.Generator
        Permutes.

    Raises
    ------
    ValueError
        Where the estimator does; if `n_permutations` is not positive; or for a conditional information.

    References: Phipson, Smyth 2010.
    """
    if n_permutations < 1:
        raise ValueError(f"n_permutations: found {n_permutations}, expected at least 1")
    if isinstance(co, BcondIShannon_HShannon):
        raise ValueError("co: found a conditional information; permuted blocks do not depend on the condition any more")
    rng = np.random.default_rng(rng)
    y, (first, *others) = as_blocks(y, ds, keep_float32=True)
    widths = [block.shape[1] for block in (first, *others)]
    estimate, null = co.estimation(y, widths), np.empty(n_permutations)

    def permuted():
        if isinstance(y, Distances):
            return y.rows(None, *(rng.permutation(len(y)) for _ in others))
        return np.hstack([first, *map(rng.permutation, others)])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsupportedEstimate)  # every value is returned
        warnings.simplefilter("ignore", RepeatedValues)  # it was given above
        for i in tqdm(range(n_permutations), desc="permutations", delay=3, leave=False):
            null[i] = co.estimation(permuted(), widths)
    p_value = (1 + (null >= estimate).sum()) / (1 + n_permutations)
    return IndependenceTest(estimate, null, float(p_value), float(estimate - null.mean()))


def scale_sensitivity(
    co: Information,
    y: np.ndarray | Distances,
    ds: Sequence[int] | None = None,
    factors: Sequence[float] = (0.01, 0.1, 1, 10, 100),
) -> np.ndarray:
    """Estimates when the last block is multiplied by each factor, which leaves mutual information as it is.

    `UnsupportedEstimate` is not given here, since every value is returned.

    Parameters
    ----------
    co : estimator with `estimation(y, ds)`
        Give it an int for `rng`, if it takes one, so that only the scale differs.
    y : ndarray, (n, sum(ds)), or Distances
    ds : sequence of int, optional
        Widths of the blocks; every column is one unless given.
    factors : sequence of float
        Positive.

    Returns
    -------
    ndarray, float64, (len(factors),)
        In the estimator's unit.

    Raises
    ------
    ValueError
        Where the estimator does, or if a factor is not positive.
    """
    factors = np.atleast_1d(factors)
    if not factors.size or factors.min() <= 0:
        raise ValueError(f"factors: found {factors.tolist()}, expected positive ones")
    y, blocks = as_blocks(y, ds, keep_float32=isinstance(y, Distances))
    widths = [block.shape[1] for block in blocks]
    if isinstance(y, Distances):
        scaled = (y.scaled(*[1] * (len(blocks) - 1), factor) for factor in factors)
    else:
        scaled = (np.hstack([*blocks[:-1], factor * blocks[-1]]) for factor in factors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsupportedEstimate)  # every value is returned
        return np.array([co.estimation(rows, widths) for rows in scaled])
