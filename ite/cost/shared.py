"""What every estimator has: parameters that are named once, samples that are checked, and values that are finite."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import dataclass_transform

import numpy as np
from scipy.special import ndtri
from torch import Tensor

import ite.cost
from ite.cost.x_kernel import Kernel
from ite.neighbors import refuse_masked
from ite.parts import parts_of

Rng = int | np.random.Generator | None


@dataclass_transform()
@dataclass(repr=False, eq=False)
class Estimator:
    """An estimator is a dataclass: its annotated fields are its parameters, in ITE's order.

    A meta estimator names the estimator it is built from in a field `x_co_name`, and that one's parameters in `x_co_pars`,
    which are left unchanged; `x_co` is made from them and from the meta estimator's own `mult`, `alpha`, and `w` and `rng` if
    it takes them.

    Parameters
    ----------
    mult : bool
        Whether multiplicative constants matter. Only BIHoeffding leaves one out.
    rng : None, int or np.random.Generator
        Of estimators that use chance. An int gives the same bits at each call; it should not be the seed of the sample itself,
        whose numbers would be drawn again.
    """

    mult: bool = True

    def __init_subclass__(cls):
        dataclass(cls, repr=False, eq=False)

    def __post_init__(self):
        if not isinstance(self.mult, bool | np.bool_):
            raise ValueError(f"mult: found {self.mult!r}, expected True or False")
        if not isinstance(getattr(self, "kernel", None), Kernel | None):
            raise ValueError(f"kernel: found {self.kernel!r}, expected an ite.cost.Kernel")
        try:
            np.random.default_rng(getattr(self, "rng", None))
        except (TypeError, ValueError) as error:
            raise ValueError(f"rng: found {self.rng!r}, expected None, an int from 0, or a Generator") from error
        for field in fields(self):
            if field.name.endswith("_co_name"):
                component = field.name.removesuffix("_name")
                name = getattr(self, field.name)
                if str(name)[1:2] != field.default[1]:  # the letter of what is estimated
                    raise ValueError(f"{field.name}: found {name!r}, expected an estimator of the kind of {field.default}")
                made = self._made(name, getattr(self, f"{component}_pars"))
                setattr(self, component, made)

    def _made(self, name: str, pars: dict | None) -> "Estimator":
        taken = {field.name for field in fields(ite.cost.co_class(name))}
        forced = {p: getattr(self, p) for p in ("mult", "alpha", "w") if hasattr(self, p) and (p != "w" or p in taken)}
        chance = {"rng": self.rng} if hasattr(self, "rng") and "rng" in taken else {}
        return ite.cost.co_factory(name, **{**chance, **(pars or {}), **forced})

    @property
    def _component(self) -> "Estimator":
        """The one estimator that this one is built from."""
        return next(value for name, value in vars(self).items() if name.endswith("_co"))

    def __repr__(self) -> str:
        return f"{type(self).__name__} -> {vars(self)}"

    def _finite(self, value: float) -> float:
        """`value` as a float. Raises ValueError where it is none: an infinite estimate is no estimate."""
        if not np.isfinite(value):
            raise ValueError(f"{type(self).__name__}: the estimate is {value}: beyond what float64 holds at these parameters")
        return float(value)


class Knn(Estimator):
    """Parameters of an estimator on distances to the k-th nearest neighbour.

    Parameters
    ----------
    knn_method : str
        "cKDTree" or "KDTree", as in ITE: neighbours are exact with both.
    k : int
        Which neighbour, from 1.
    eps : float
        Accepted for ITE's sake, where neighbours may be farther by this fraction: exact ones satisfy any.
    """

    keeps_float32 = True  # neighbours are exact for it
    k_ndim = 0

    knn_method: str = "cKDTree"
    k: int = 3
    eps: float = 0

    def __post_init__(self):
        super().__post_init__()
        require_search(self.knn_method, self.eps)
        k = np.asarray(self.k)
        if k.dtype.kind not in "iu" or k.min() < 1 or k.ndim != self.k_ndim:
            raise ValueError(f"k: found {self.k!r}, expected {'positive integers' if self.k_ndim else 'a positive integer'}")


class Alpha(Estimator):
    """Parameter of a family that tends to Shannon's at alpha = 1, where its formula divides by zero.

    Parameters
    ----------
    alpha : float
        Not 1.
    """

    alpha: float = 0.99

    def __post_init__(self):
        super().__post_init__()
        require_not_one("alpha", self.alpha)


class AlphaBeta(Estimator):
    """Parameters of Sharma and Mittal's family.

    Parameters
    ----------
    alpha, beta : float
        Neither is 1.
    """

    alpha: float = 0.9
    beta: float = 0.99

    def __post_init__(self):
        super().__post_init__()
        require_not_one("alpha", self.alpha)
        require_not_one("beta", self.beta)


def require_search(knn_method: str, eps: float) -> None:
    """Raise ValueError for a search that ITE does not have."""
    if knn_method not in ("cKDTree", "KDTree"):
        raise ValueError(f'knn_method: found {knn_method!r}, expected "cKDTree" or "KDTree"')
    if not isinstance(eps, int | float | np.number) or not eps >= 0:
        raise ValueError(f"eps: found {eps!r}, expected a number from 0")


def require_not_one(name: str, value: float, low: float = -np.inf) -> None:
    """Raise ValueError unless `value` is finite, above `low` and not 1."""
    if not (np.isfinite(value) and value > low and value != 1):
        above = "" if low == -np.inf else f" above {low}"
        raise ValueError(f"{name}: found {value}, expected a finite number{above} other than 1")


def as_sample(y: np.ndarray | Tensor, name: str = "y", keep_float32: bool = False) -> np.ndarray:
    """`y` as an array of floats (n, d), float64 unless it is to stay float32.

    Raises ValueError unless real, finite, 2-D, not empty, unmasked, and of a size whose squares float64 holds. Where neighbours
    are all that matters, and so float32 will do, `ite.Distances` will, too.
    """
    if hasattr(y, "to_neighbors"):
        if not keep_float32:
            raise ValueError(f"{name}: found {y!r}, expected rows, for more than nearest neighbours is asked of them")
        return y
    refuse_masked(y, name)
    y = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if y.ndim != 2 or y.size == 0 or y.dtype.kind not in "biuf":
        one_column = f"; for one column, {name}[:, None]" if y.ndim == 1 else ""
        raise ValueError(f"{name}: found {y.dtype} of shape {y.shape}, expected real numbers (samples, dimensions){one_column}")
    extremes = [(part.min(), part.max()) for part in parts_of(y)]
    low, high = float(np.min(extremes)), float(np.max(extremes))
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN shows in both; no array of y's size is made
        raise ValueError(f"{name}: found NaN or infinity in {(~np.isfinite(y)).sum()} of {y.size} elements")
    largest = max(-low, high)
    if largest and not 1e-150 <= largest <= 1e150:
        column = int(np.argmax(np.maximum(-y.min(axis=0).astype(float), y.max(axis=0))))
        raise ValueError(f"{name}: column {column} has the largest number, {largest:.3g}, expected 1e-150 to 1e150: rescale")
    return y if keep_float32 and y.dtype == np.float32 else y.astype(np.float64, copy=False)


def as_samples(y1: np.ndarray, y2: np.ndarray, keep_float32: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of one dimension. Raises ValueError otherwise."""
    y1, y2 = as_sample(y1, "y1", keep_float32), as_sample(y2, "y2", keep_float32)
    if y1.shape[1] != y2.shape[1]:
        raise ValueError(f"y1 has {y1.shape[1]} columns, y2 {y2.shape[1]}; expected the same")
    return y1, y2


def row_codes(y: np.ndarray) -> np.ndarray:
    """A number for each row of `y` (n, d), int (n,), the same for equal rows."""
    # 0.0 equals -0.0. A row is read at a time.
    values = y[:, 0] if y.shape[1] == 1 else [hash((row + 0.0).tobytes()) for part in parts_of(y) for row in part]
    return np.unique(values, return_inverse=True)[1]


def same_rows(y1: np.ndarray, y2: np.ndarray) -> bool:
    """Whether `y1` and `y2` (n, d) are one sample: equal row by row. It stops at the first that differs."""
    if hasattr(y1, "to_neighbors"):
        return y1.equals(y2)
    return y1 is y2 or (y1.shape == y2.shape and all(map(np.array_equal, y1, y2)))


def as_blocks(y: np.ndarray, ds: Sequence[int] | None, keep_float32: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
    """`y` (n, sum(ds)) as floats, and its columns as blocks of `ds` each, or of one. Raises ValueError if they don't add up."""
    y = as_sample(y, keep_float32=keep_float32)
    if hasattr(y, "to_neighbors"):
        return y, y.split(ds)
    ds = np.ones(y.shape[1], dtype=int) if ds is None else np.asarray(ds)
    if ds.ndim != 1 or ds.dtype.kind not in "iu" or len(ds) < 2 or ds.min() < 1 or ds.sum() != y.shape[1]:
        found = ds.tolist() if ds.ndim == 1 and len(ds) < 20 else f"{ds.dtype} of shape {ds.shape}"
        raise ValueError(
            f"ds: found {found}, expected two or more positive integers that sum to {y.shape[1]}, y's columns side by side"
        )
    return y, np.split(y, np.cumsum(ds)[:-1], axis=1)


def spread(y: np.ndarray) -> np.ndarray:
    """Standard deviation of each column of `y` (n, d), with n - 1; (d,). Raises ValueError where a column is constant."""
    constant = np.flatnonzero(y.min(axis=0) == y.max(axis=0))
    if len(constant):
        raise ValueError(f"y: {len(constant)} of {y.shape[1]} columns are constant (first: {constant[0]}), expected a spread")
    found = y.std(axis=0, ddof=1)
    if not found.all():
        raise ValueError(f"y: column {found.argmin()} varies by less than float64's squares hold, expected more: rescale it")
    return found


def jitter(y: np.ndarray, scale: float = 1e-10, rng: Rng = None) -> np.ndarray:
    """`y` with a little Gaussian noise, so that no two values are equal; mutual information stays what it is.

    For values of a grid or a few labels, which estimators from neighbours take for a density's: the order of equal distances is
    then random. It does not make repeated rows new ones. Columns are centred, lest the noise is lost in rounding.

    Parameters
    ----------
    y : ndarray, (n, d)
    scale : float
        The noise's standard deviation over the median distance of the column's values from their median, of those that are
        not equal to it (a far cell or many zeros do not matter); far below the steps between values.
    rng : None, int or np.random.Generator
        Draws the noise. An int gives the same bits at each call.

    Returns
    -------
    ndarray, float64, (n, d)

    Raises
    ------
    ValueError
        For a bad sample, or a negative scale.
    """
    if not 0 <= scale < np.inf:
        raise ValueError(f"scale: found {scale}, expected a number from 0")
    y = as_sample(y)
    centred = y - np.median(y, axis=0)
    distances = np.ma.masked_equal(np.abs(centred), 0)
    spreads = np.ma.median(distances, axis=0).filled(0)  # constant columns have none
    return centred + scale * spreads * np.random.default_rng(rng).standard_normal(y.shape)


def normal_scores(y: np.ndarray) -> np.ndarray:
    """Phi^-1(rank / (n + 1)) of each column of `y` (n, d). Raises ValueError where one is constant, which has no ranks."""
    from scipy.stats import rankdata  # takes most of a second to import, so only where it is asked for

    spread(y)
    return ndtri(rankdata(y, axis=0) / (len(y) + 1))


def copula(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Empirical copula of blocks (n, 1): each column's ranks, from 1, over n; (n, d). Raises ValueError for wider blocks."""
    from scipy.stats import rankdata  # as in normal_scores

    if max(widths := [block.shape[1] for block in blocks]) > 1:
        raise ValueError(f"ds: found {widths}, expected blocks of one column")
    return rankdata(np.hstack(blocks), axis=0) / len(blocks[0])


def mixture(y1: np.ndarray, y2: np.ndarray, w: Sequence[float] = (0.5, 0.5), rng: Rng = None) -> np.ndarray:
    """A sample of w_1 p_1 + w_2 p_2: as many rows of `y1` and `y2`, from the first on, as their proportion allows, shuffled.

    Raises
    ------
    ValueError
        Unless `w` are two positive weights that sum to 1, and both samples have rows for theirs.
    """
    w = np.asarray(w, dtype=float)
    if not (w.shape == (2,) and w.min() > 0 and abs(w.sum() - 1) <= 1e-12):
        raise ValueError(f"w: found {w.tolist()}, expected two positive weights that sum to 1")
    n = min(len(y1) / w[0], len(y2) / w[1])
    n1, n2 = (n * w + 1e-9).astype(int)  # 0.7 * 100 / 0.7 is a little below 100
    if not (n1 and n2):
        raise ValueError(f"found {len(y1)} and {len(y2)} rows, too few to mix them by w = {w.tolist()}")
    return np.random.default_rng(rng).permutation(np.vstack([y1[:n1], y2[:n2]]))


def signed_root(square: float) -> float:
    """sign(s) sqrt(|s|): where the estimate of a square comes out negative, so does the root."""
    return np.sign(square) * np.sqrt(np.abs(square))
