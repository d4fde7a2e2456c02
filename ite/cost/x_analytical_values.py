"""Closed forms that estimators are checked against: entropy, information, divergence and kernels of known distributions.

A distribution is a name and a dict `par`; a number stands for an array where d = 1.

    "normal"   {"mean": (d,), "cov": (d, d)}, or "cov" alone where the value depends on nothing else;
               {"mean": (d,), "std": number}, N(mean, std^2 I), where mixtures are concerned
    "normalI"  {"mean": (d,)}, with the identity as covariance
    "uniform"  {"a": (d,), "b": (d,)}, the box [a, b]; "a" alone is [0, a], "b" alone [0, b]

Logarithms are natural; determinants and volumes only appear as logarithms, so that no dimension is too high for them. Each
function returns a float, inf or 0 if it is beyond float64's range. ValueError says which distributions, keys or shapes a
function expected, or why the value does not exist.
"""

from typing import Any

import numpy as np
from scipy.linalg import block_diag, solve_triangular
from scipy.special import logsumexp

from ite.cost.shared import require_not_one, signed_root

__all__ = [
    "analytical_value_h_shannon", "analytical_value_h_renyi", "analytical_value_h_tsallis",
    "analytical_value_h_sharma_mittal", "analytical_value_h_phi", "analytical_value_cond_h_shannon",
    "analytical_value_i_shannon", "analytical_value_i_renyi", "analytical_value_cond_i_shannon",
    "analytical_value_c_cross_entropy", "analytical_value_d_kullback_leibler", "analytical_value_d_renyi",
    "analytical_value_d_tsallis", "analytical_value_d_sharma_mittal", "analytical_value_d_chi_square",
    "analytical_value_d_hellinger", "analytical_value_d_l2", "analytical_value_d_bregman",
    "analytical_value_d_jensen_renyi", "analytical_value_d_mmd", "analytical_value_k_expected",
    "analytical_value_k_prob_product", "analytical_value_k_ejr1", "analytical_value_k_ejr2", "analytical_value_k_ejt1",
    "analytical_value_k_ejt2",
]  # fmt: skip

# What the arguments say


def _kind(expected: str, *distr: str) -> str:
    """The distributions' common name, one of `expected`'s words."""
    if any(name != distr[0] for name in distr) or distr[0] not in expected.split():
        both = " for both" * (len(distr) > 1)
        raise ValueError(f"distr: found {', '.join(map(repr, distr))}, expected {' or '.join(expected.split())}{both}")
    return distr[0]


def _entry(par: dict, key: str, ndim: int) -> np.ndarray:
    """par[key] as float64 with `ndim` axes, finite and not empty."""
    if key not in par:
        raise ValueError(f"par: found the keys {list(par)}, expected {key!r} among them")
    value = np.array(np.asarray(par[key], float), ndmin=ndim)
    if value.ndim != ndim or value.size == 0 or not np.isfinite(value).all():
        raise ValueError(f"par[{key!r}]: found {value.tolist()}, expected finite numbers on {ndim} axes")
    return value


def _positive(value: float, name: str) -> float:
    if not 0 < value < np.inf:
        raise ValueError(f"{name}: found {value}, expected a positive number")
    return float(value)


def _factor(matrix: np.ndarray, name: str) -> np.ndarray:
    """Lower Cholesky factor (d, d)."""
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(matrix)[0]
        raise ValueError(f"{name}: found the eigenvalue {least:.3g}, expected a positive definite matrix") from None


def _log_det(matrix: np.ndarray) -> float:
    return 2 * np.log(np.diag(_factor(matrix, "cov"))).sum()


def _cov(par: dict) -> np.ndarray:
    """par["cov"] (d, d), symmetric and positive definite."""
    cov = _entry(par, "cov", 2)
    if cov.shape[0] != cov.shape[1] or np.abs(cov - cov.T).max() > 1e-10 * np.abs(cov).max():
        raise ValueError(f"cov: found shape {cov.shape}, expected a symmetric matrix")
    _factor(cov, "cov")
    return cov


def _normals(distr1: str, distr2: str, par1: dict, par2: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """mean1 (d,), cov1 (d, d), mean2, cov2."""
    _kind("normal", distr1, distr2)
    parts = _entry(par1, "mean", 1), _cov(par1), _entry(par2, "mean", 1), _cov(par2)
    if len(set(map(len, parts))) > 1:
        raise ValueError(f"mean1, cov1, mean2, cov2: found {', '.join(str(p.shape) for p in parts)}, expected one dimension")
    return parts


def _blocks(par: dict, cov: np.ndarray) -> list[np.ndarray]:
    """The rows of `cov` that belong to each block of widths par["ds"]."""
    ds = _entry(par, "ds", 1)
    if (ds < 1).any() or (ds % 1).any() or ds.sum() != len(cov):
        raise ValueError(f"ds: found {ds.tolist()}, expected positive integers that sum to {len(cov)}, cov's rows")
    return np.split(np.arange(len(cov)), np.cumsum(ds.astype(int))[:-1])


def _box(par: dict) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner (d,)."""
    high = _entry(par, "b" if "b" in par else "a", 1)
    low = _entry(par, "a", 1) if {"a", "b"} <= set(par) else np.zeros_like(high)
    if low.shape != high.shape or not (low < high).all():
        raise ValueError(f"box: found the corners {low.tolist()} and {high.tolist()}, expected the first below the second")
    return low, high


def _log_volume(par: dict) -> float:
    """Of the box in `par`, stretched by the matrix "l" if there is one."""
    low, high = _box(par)
    stretch = _entry(par, "l", 2) if "l" in par else np.eye(len(low))
    if stretch.shape != (len(low), len(low)) or np.linalg.slogdet(stretch)[0] == 0:
        raise ValueError(f"l: found shape {stretch.shape}, expected an invertible matrix ({len(low)}, {len(low)})")
    return float(np.log(high - low).sum() + np.linalg.slogdet(stretch)[1])


def _log_volumes(distr1: str, distr2: str, par1: dict, par2: dict) -> tuple[float, float, float]:
    """Of two boxes, and of what they share (-inf where they do not meet)."""
    _kind("uniform", distr1, distr2)
    (low1, high1), (low2, high2) = _box(par1), _box(par2)
    if low1.shape != low2.shape:
        raise ValueError(f"boxes: found {len(low1)} and {len(low2)} dimensions, expected the same")
    shared = np.minimum(high1, high2) - np.maximum(low1, low2)
    log_shared = np.log(shared).sum() if (shared > 0).all() else -np.inf
    return np.log(high1 - low1).sum(), np.log(high2 - low2).sum(), log_shared


# The integrals behind the values


def _log_integral(a: float, b: float, shift: np.ndarray, cov1: np.ndarray, cov2: np.ndarray) -> float:
    """Log of int p^a q^b, p = N(shift, cov1), q = N(0, cov2).

    Up to a factor the integrand is normal, of precision a cov1^-1 + b cov2^-1 = cov1^-1 M cov2^-1 with M = a cov2 + b cov1:

        (d (1 - a - b) log 2 pi + (1 - a) log|cov1| + (1 - b) log|cov2| - log|M| - a b shift' M^-1 shift) / 2

    It is finite where M is positive definite.
    """
    factor = _factor(a * cov2 + b * cov1, f"integral of p^{a:.4g} q^{b:.4g}: {a:.4g} cov2 + {b:.4g} cov1")
    whitened = solve_triangular(factor, shift, lower=True)
    log_dets = (1 - a) * _log_det(cov1) + (1 - b) * _log_det(cov2) - 2 * np.log(np.diag(factor)).sum()
    return (len(shift) * (1 - a - b) * np.log(2 * np.pi) + log_dets - a * b * whitened @ whitened) / 2


def _log_squares(distr1: str, distr2: str, w: Any, par1: dict, par2: dict) -> np.ndarray:
    """Logs of int (w_1 p + w_2 q)^2, int p^2 and int q^2, p and q spherical normal: a square is a sum of int p p, p q, q q."""
    w = np.asarray(w, float)
    if w.shape != (2,) or not (w > 0).all() or abs(w.sum() - 1) > 1e-12:
        raise ValueError(f"w: found {w.tolist()}, expected two positive weights that sum to 1")
    std1, std2 = (_positive(_entry(par, "std", 0), "std") for par in (par1, par2))
    full1, full2 = ({**par, "cov": s**2 * np.eye(_entry(par, "mean", 1).size)} for par, s in ((par1, std1), (par2, std2)))
    mean1, cov1, mean2, cov2 = _normals(distr1, distr2, full1, full2)
    zero = np.zeros_like(mean1)
    products = [_log_integral(1, 1, *pair) for pair in ((zero, cov1, cov1), (mean1 - mean2, cov1, cov2), (zero, cov2, cov2))]
    return np.array([logsumexp(products, b=[w[0] ** 2, 2 * w[0] * w[1], w[1] ** 2]), products[0], products[2]])


def _deform(renyi: float, q: float) -> float:
    """(e^(q R) - 1) / q, which makes Tsallis' and Sharma and Mittal's quantities of Renyi's R."""
    return float(np.expm1(q * renyi) / q)


# Entropy


def analytical_value_h_shannon(distr: str, par: dict) -> float:
    """Shannon entropy in nats: log|2 pi e cov| / 2 of "normal" {"cov"}, log volume of "uniform" {"a", "b"}.

    A matrix "l" (d, d) in the latter's `par` multiplies the sample and adds log|det l|. T. Cover, J. Thomas, "Elements of
    Information Theory", Wiley, 1991, chapter 9.
    """
    if _kind("uniform normal", distr) == "uniform":
        return _log_volume(par)
    cov = _cov(par)
    return float((len(cov) * np.log(2 * np.pi * np.e) + _log_det(cov)) / 2)


def analytical_value_h_renyi(distr: str, alpha: float, par: dict) -> float:
    """Renyi entropy log(int p^alpha) / (1 - alpha) in nats of "normal" {"cov"} and "uniform" {"a", "b", optionally "l"}.

    (log|2 pi cov| + d log(alpha) / (alpha - 1)) / 2, or the log volume. K. Zografos, S. Nadarajah, Statistics & Probability
    Letters 71, 2005.
    """
    require_not_one("alpha", alpha, low=0)
    if _kind("uniform normal", distr) == "uniform":
        return _log_volume(par)
    cov = _cov(par)
    return float(_log_integral(alpha, 0, np.zeros(len(cov)), cov, cov) / (1 - alpha))


def analytical_value_h_tsallis(distr: str, alpha: float, par: dict) -> float:
    """Tsallis entropy (1 - int p^alpha) / (alpha - 1) of "normal" {"cov"} and "uniform" {"a", "b", optionally "l"}.

    With Renyi's H: (e^((1 - alpha) H) - 1) / (1 - alpha). C. Tsallis, J. Statistical Physics 52, 1988.
    """
    return _deform(analytical_value_h_renyi(distr, alpha, par), 1 - alpha)


def analytical_value_h_sharma_mittal(distr: str, alpha: float, beta: float, par: dict) -> float:
    """Sharma-Mittal entropy ((int p^alpha)^((1 - beta) / (1 - alpha)) - 1) / (1 - beta); distributions as for Renyi's.

    With Renyi's H: (e^((1 - beta) H) - 1) / (1 - beta). F. Nielsen, R. Nock, J. Physics A 45, 032003, 2012.
    """
    require_not_one("beta", beta)
    return _deform(analytical_value_h_renyi(distr, alpha, par), 1 - beta)


def analytical_value_h_phi(distr: str, par: dict, c: float) -> float:
    """Phi-entropy int p phi(p), phi(x) = x^c, of "uniform" {"a", "b"}: volume^-c.

    B. van Es, Scandinavian J. Statistics 19, 1992.
    """
    _kind("uniform", distr)
    low, high = _box(par)
    return float(np.exp(-c * np.log(high - low).sum()))


def analytical_value_cond_h_shannon(distr: str, par: dict) -> float:
    """H(first dim1 coordinates | the rest) = H(all) - H(the rest), in nats, of "normal" {"cov": (d, d), "dim1": integer}."""
    _kind("normal", distr)
    cov, dim1 = _cov(par), float(_entry(par, "dim1", 0))
    if dim1 not in range(1, len(cov)):
        raise ValueError(f"dim1: found {dim1:g}, expected an integer from 1 to {len(cov) - 1}")
    rest = cov[int(dim1) :, int(dim1) :]
    return analytical_value_h_shannon("normal", {"cov": cov}) - analytical_value_h_shannon("normal", {"cov": rest})


# Mutual information


def analytical_value_i_shannon(distr: str, par: dict) -> float:
    """Mutual information log(prod_m |C_m| / |C|) / 2 in nats of "normal" {"cov": C (d, d), "ds": widths of the blocks}.

    C_m is the m-th block on C's diagonal. T. Cover, J. Thomas, "Elements of Information Theory", Wiley, 1991, chapter 9.
    """
    _kind("normal", distr)
    cov = _cov(par)
    return float((sum(_log_det(cov[np.ix_(m, m)]) for m in _blocks(par, cov)) - _log_det(cov)) / 2)


def analytical_value_i_renyi(distr: str, alpha: float, par: dict) -> float:
    """Renyi divergence, in nats, of the joint from the product of its marginals: "normal" {"cov": (d, d)}.

    Blocks have one column each unless "ds" gives their widths.
    """
    _kind("normal", distr)
    cov = _cov(par)
    blocks = _blocks({"ds": np.ones(len(cov)), **par}, cov)
    zero, product = np.zeros(len(cov)), block_diag(*(cov[np.ix_(m, m)] for m in blocks))
    return analytical_value_d_renyi("normal", "normal", alpha, {"mean": zero, "cov": cov}, {"mean": zero, "cov": product})


def analytical_value_cond_i_shannon(distr: str, par: dict) -> float:
    """I(y_1; ...; y_M | z) in nats of "normal" {"cov": (d, d), "ds": widths of y_1, ..., y_M, z}, M at least 2.

    -H(y_1, ..., y_M, z) + sum_m H(y_m, z) - (M - 1) H(z). T. Cover, J. Thomas, 1991, chapter 2.
    """
    _kind("normal", distr)
    cov = _cov(par)
    *blocks, z = _blocks(par, cov)
    if len(blocks) < 2:
        raise ValueError(f"ds: found {len(blocks) + 1} blocks, expected three or more, the last being the condition")
    log_dets = [_log_det(cov[np.ix_(rows, rows)]) for rows in [*(np.append(m, z) for m in blocks), z]]
    return float((sum(log_dets[:-1]) - _log_det(cov) - (len(blocks) - 1) * log_dets[-1]) / 2)


# Divergence, each of the first distribution p from the second, q


def analytical_value_c_cross_entropy(distr1: str, distr2: str, par1: dict, par2: dict) -> float:
    """Cross-entropy -int p log q in nats of "normal" {"mean", "cov"}.

    (log|2 pi cov2| + tr(cov2^-1 cov1) + m' cov2^-1 m) / 2 with m = mean1 - mean2.
    """
    mean1, cov1, mean2, cov2 = _normals(distr1, distr2, par1, par2)
    columns = np.column_stack([_factor(cov1, "cov"), mean1 - mean2])
    whitened = solve_triangular(_factor(cov2, "cov"), columns, lower=True)  # sum of squares: the trace and m' cov2^-1 m
    return float((len(cov2) * np.log(2 * np.pi) + _log_det(cov2) + (whitened**2).sum()) / 2)


def analytical_value_d_kullback_leibler(distr1: str, distr2: str, par1: dict, par2: dict) -> float:
    """Kullback-Leibler divergence int p log(p / q), cross-entropy less entropy, in nats, of "normal" {"mean", "cov"}."""
    cross_entropy = analytical_value_c_cross_entropy(distr1, distr2, par1, par2)
    return cross_entropy - analytical_value_h_shannon(distr1, par1)


def analytical_value_d_renyi(distr1: str, distr2: str, alpha: float, par1: dict, par2: dict) -> float:
    """Renyi divergence log(int p^alpha q^(1 - alpha)) / (alpha - 1) in nats of "normal" {"mean", "cov"}.

    Finite where M = alpha cov2 + (1 - alpha) cov1 is positive definite; with m = mean1 - mean2 it is then
    alpha m' M^-1 m / 2 - log(|M| / (|cov1|^(1 - alpha) |cov2|^alpha)) / (2 (alpha - 1)).
    M. Gil, F. Alajaji, T. Linder, Information Sciences 249, 2013.
    """
    require_not_one("alpha", alpha, low=0)
    mean1, cov1, mean2, cov2 = _normals(distr1, distr2, par1, par2)
    return float(_log_integral(alpha, 1 - alpha, mean1 - mean2, cov1, cov2) / (alpha - 1))


def analytical_value_d_tsallis(distr1: str, distr2: str, alpha: float, par1: dict, par2: dict) -> float:
    """Tsallis divergence (int p^alpha q^(1 - alpha) - 1) / (alpha - 1) of "normal" {"mean", "cov"}, finite where Renyi's is.

    B. Poczos, J. Schneider, "On the estimation of alpha-divergences", AISTATS 2011.
    """
    return _deform(analytical_value_d_renyi(distr1, distr2, alpha, par1, par2), alpha - 1)


def analytical_value_d_sharma_mittal(distr1: str, distr2: str, alpha: float, beta: float, par1: dict, par2: dict) -> float:
    """Sharma-Mittal divergence ((int p^alpha q^(1 - alpha))^((1 - beta) / (1 - alpha)) - 1) / (beta - 1).

    "normal" {"mean", "cov"}, finite where Renyi's is. F. Nielsen, R. Nock, J. Physics A 45, 032003, 2012.
    """
    require_not_one("beta", beta)
    return _deform(analytical_value_d_renyi(distr1, distr2, alpha, par1, par2), beta - 1)


def analytical_value_d_chi_square(distr1: str, distr2: str, par1: dict, par2: dict) -> float:
    """Pearson's chi^2 int p^2 / q - 1: volume2 / volume1 - 1 of "uniform", exp|mean1 - mean2|^2 - 1 of "normalI" {"mean"}.

    The first box {"a", "b"} must lie inside the second. F. Nielsen, R. Nock, IEEE Signal Processing Letters 21(1), 2014.
    """
    if _kind("uniform normalI", distr1, distr2) == "uniform":
        log_volume1, log_volume2, log_shared = _log_volumes(distr1, distr2, par1, par2)
        if log_shared != log_volume1:
            raise ValueError("chi^2 is infinite: found a first box that is not inside the second, expected one that is")
        return float(np.expm1(log_volume2 - log_volume1))
    mean1, mean2 = _entry(par1, "mean", 1), _entry(par2, "mean", 1)
    if mean1.shape != mean2.shape:
        raise ValueError(f"mean: found {len(mean1)} and {len(mean2)} dimensions, expected the same")
    return float(np.expm1(((mean1 - mean2) ** 2).sum()))


def analytical_value_d_hellinger(distr1: str, distr2: str, par1: dict, par2: dict) -> float:
    """Hellinger distance sqrt(1 - int sqrt(p q)) of "normal" {"mean", "cov"}, from 0 to 1.

    L. Pardo, "Statistical Inference Based on Divergence Measures", Chapman & Hall, 2006.
    """
    mean1, cov1, mean2, cov2 = _normals(distr1, distr2, par1, par2)
    return float(signed_root(-np.expm1(_log_integral(0.5, 0.5, mean1 - mean2, cov1, cov2))))


def analytical_value_d_l2(distr1: str, distr2: str, par1: dict, par2: dict) -> float:
    """L2 distance sqrt(int (p - q)^2) of "uniform" {"a", "b"}, in units of density.

    The integral is (1 - V / V1) / V2 + (1 - V / V2) / V1, V being the volume that the boxes share.
    """
    log_volume1, log_volume2, log_shared = _log_volumes(distr1, distr2, par1, par2)
    unit = min(log_volume1, log_volume2)  # kept out of the root, whose argument then stays in range
    squared = -np.expm1(log_shared - log_volume1) * np.exp(unit - log_volume2)
    squared -= np.expm1(log_shared - log_volume2) * np.exp(unit - log_volume1)
    return float(np.exp(-unit / 2) * np.sqrt(squared))


def analytical_value_d_bregman(distr1: str, distr2: str, alpha: float, par1: dict, par2: dict) -> float:
    """Bregman divergence int q^alpha + (int p^alpha - alpha int p q^(alpha - 1)) / (alpha - 1) of "uniform" {"a", "b"}.

    Infinite for alpha < 1 unless the first box lies inside the second. N. Leonenko, L. Pronzato, V. Savani, Annals of
    Statistics 36(5), 2008.
    """
    require_not_one("alpha", alpha, low=0)
    log_volume1, log_volume2, log_shared = _log_volumes(distr1, distr2, par1, par2)
    if alpha < 1 and log_shared != log_volume1:
        raise ValueError("infinite for alpha < 1: found a first box that is not inside the second, expected one that is")
    power1, power2 = np.exp((1 - alpha) * log_volume1), np.exp((1 - alpha) * log_volume2)
    return float(power2 + (power1 - alpha * np.exp(log_shared - log_volume1) * power2) / (alpha - 1))


def analytical_value_d_jensen_renyi(distr1: str, distr2: str, w: Any, par1: dict, par2: dict) -> float:
    """Jensen-Renyi divergence H(w_1 p + w_2 q) - w_1 H(p) - w_2 H(q) in nats, alpha = 2, of "normal" {"mean", "std"}.

    H = -log int p^2. F. Wang, T. Syeda-Mahmood, B. Vemuri, D. Beymer, A. Rangarajan, MICCAI 2009.
    """
    mixed, first, second = -_log_squares(distr1, distr2, w, par1, par2)
    return float(mixed - w[0] * first - w[1] * second)


def analytical_value_d_mmd(distr1: str, distr2: str, kernel: Any, par1: dict, par2: dict) -> float:
    """Maximum mean discrepancy sqrt(K(p, p) + K(q, q) - 2 K(p, q)), K as in `k_expected`, of "normal" {"mean", "cov"}.

    A. Gretton, K. Borgwardt, M. Rasch, B. Scholkopf, A. Smola, J. Machine Learning Research 13, 2012.
    """
    pairs = ((par1, par1), (par2, par2), (par1, par2))
    pp, qq, pq = (analytical_value_k_expected(distr1, distr2, kernel, *pair) for pair in pairs)
    return float(signed_root(pp + qq - 2 * pq))


# Kernels on distributions


def analytical_value_k_expected(distr1: str, distr2: str, kernel: Any, par1: dict, par2: dict) -> float:
    """Expected kernel E k(x, y), x of p and y of q independent, of "normal" {"mean", "cov"}.

    `kernel` is a `Kernel`: RBF, where an integral over x - y gives sigma^d |S|^(-1/2) exp(-m' S^-1 m / 2) with
    m = mean1 - mean2 and S = cov1 + cov2 + sigma^2 I; or polynomial with c = 1 and the exponent 2 or 3, from the moments of
    x.y. K. Muandet, K. Fukumizu, F. Dinuzzo, B. Scholkopf, "Learning from distributions via support measure machines",
    NIPS 2012.
    """
    mean1, cov1, mean2, cov2 = _normals(distr1, distr2, par1, par2)
    if getattr(kernel, "name", None) == "RBF":
        bell = _positive(kernel.sigma, "sigma") ** 2 * np.eye(len(mean1))  # covariance of what the kernel is a multiple of
        height = (len(mean1) * np.log(2 * np.pi) + _log_det(bell)) / 2
        return float(np.exp(height + _log_integral(1, 1, mean1 - mean2, cov1 + cov2, bell)))
    if getattr(kernel, "name", None) != "polynomial" or kernel.exponent not in (2, 3) or kernel.c != 1:
        raise ValueError(f"kernel: found {kernel}, expected RBF, or polynomial with c = 1 and the exponent 2 or 3")
    first = mean1 @ mean2  # E x.y; of (x.y)^2 and (x.y)^3 below
    variance = (cov1 * cov2).sum() + mean1 @ cov2 @ mean1 + mean2 @ cov1 @ mean2
    second = first**2 + variance
    if kernel.exponent == 2:
        return float(second + 2 * first + 1)
    third = first**3 + 3 * first * variance + 6 * mean1 @ cov2 @ cov1 @ mean2
    return float(third + 3 * second + 3 * first + 1)


def analytical_value_k_prob_product(distr1: str, distr2: str, rho: float, par1: dict, par2: dict) -> float:
    """Probability product kernel int p^rho q^rho, rho > 0, of "normal" {"mean", "cov"}.

    p^rho is a multiple of N(mean, cov / rho). T. Jebara, R. Kondor, A. Howard, J. Machine Learning Research 5, 2004.
    """
    mean1, cov1, mean2, cov2 = _normals(distr1, distr2, par1, par2)
    rho = _positive(rho, "rho")
    return float(np.exp(_log_integral(rho, rho, mean1 - mean2, cov1, cov2)))


def analytical_value_k_ejr1(distr1: str, distr2: str, u: float, par1: dict, par2: dict) -> float:
    """Exponentiated Jensen-Renyi kernel exp(-u H((p + q) / 2)), H = -log int p^2, u > 0, of "normal" {"mean", "std"}.

    For this and the next three: A. Martins, N. Smith, E. Xing, P. Aguiar, M. Figueiredo, J. Machine Learning Research 10, 2009.
    """
    return float(np.exp(_positive(u, "u") * _log_squares(distr1, distr2, (0.5, 0.5), par1, par2)[0]))


def analytical_value_k_ejr2(distr1: str, distr2: str, u: float, par1: dict, par2: dict) -> float:
    """Exponentiated Jensen-Renyi kernel exp(-u D), D as in `d_jensen_renyi` with equal weights, of "normal" {"mean", "std"}."""
    return float(np.exp(-_positive(u, "u") * analytical_value_d_jensen_renyi(distr1, distr2, (0.5, 0.5), par1, par2)))


def analytical_value_k_ejt1(distr1: str, distr2: str, u: float, par1: dict, par2: dict) -> float:
    """Exponentiated Jensen-Tsallis kernel exp(-u H((p + q) / 2)), H = 1 - int p^2 (alpha = 2), of "normal" {"mean", "std"}."""
    return float(np.exp(_positive(u, "u") * np.expm1(_log_squares(distr1, distr2, (0.5, 0.5), par1, par2)[0])))


def analytical_value_k_ejt2(distr1: str, distr2: str, u: float, par1: dict, par2: dict) -> float:
    """Exponentiated Jensen-Tsallis kernel exp(-u (H((p + q) / 2) - H(p) / 2 - H(q) / 2)), H and `par` as in `k_ejt1`."""
    mixed, first, second = np.exp(_log_squares(distr1, distr2, (0.5, 0.5), par1, par2))
    return float(np.exp(_positive(u, "u") * (mixed - first / 2 - second / 2)))
