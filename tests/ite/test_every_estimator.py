"""Each of ITE's 78 estimators against a direct formula: explicit distance and Gram matrices, sorting, loops over a grid."""

import inspect
import itertools
import math
import re
from fractions import Fraction
from types import MappingProxyType

import numpy as np
import pytest
from numpy import exp, log, sqrt
from scipy.integrate import quad
from scipy.special import digamma
from scipy.stats import rankdata

import ite
from ite.cost import co_factory, dependence
from ite.cost.x_kernel import Kernel

NAMES = [
    "BHShannon_KnnK", "BHShannon_SpacingV", "BHShannon_MaxEnt1", "BHShannon_MaxEnt2", "BHRenyi_KnnK", "BHRenyi_KnnS",
    "BHTsallis_KnnK", "BHSharmaMittal_KnnK", "BHPhi_Spacing", "MHShannon_DKLN", "MHShannon_DKLU", "MHTsallis_HR",
    "BcondHShannon_HShannon",
    "BIDistCov", "BIDistCorr", "BI3WayJoint", "BI3WayLancaster", "BIHSIC_IChol", "BIHoeffding", "BIKGV", "BIKCCA",
    "MIShannon_DKL", "MIShannon_HS", "MIChi2_DChi2", "MIL2_DL2", "MIRenyi_DR", "MITsallis_DT", "MIMMD_CopulaDMMD", "MIRenyi_HR",
    "MIDistCov_HSIC", "BcondIShannon_HShannon",
    "BDKL_KnnK", "BDKL_KnnKiTi", "BDEnergyDist", "BDBhattacharyya_KnnK", "BDHellinger_KnnK", "BDChi2_KnnK", "BDL2_KnnK",
    "BDRenyi_KnnK", "BDTsallis_KnnK", "BDSharmaMittal_KnnK", "BDBregman_KnnK", "BDSymBregman_KnnK", "BDMMD_UStat",
    "BDMMD_VStat", "BDMMD_Online", "BDMMD_UStat_IChol", "BDMMD_VStat_IChol", "MDBlockMMD", "MDEnergyDist_DMMD", "MDf_DChi2",
    "MDJDist_DKL", "MDJR_HR", "MDJT_HT", "MDJS_HS", "MDK_DKL", "MDL_DKL", "MDSymBregman_DB", "MDKL_HSCE",
    "BCCE_KnnK",
    "BKExpected", "BKProbProd_KnnK", "MKExpJR1_HR", "MKExpJR2_DJR", "MKExpJS_DJS", "MKExpJT1_HT", "MKExpJT2_DJT",
    "MKJS_DJS", "MKJT_HT",
    "BASpearman1", "BASpearman2", "BASpearman3", "BASpearman4", "BASpearmanCondLT", "BASpearmanCondUT", "BABlomqvist",
    "MASpearmanLT", "MASpearmanUT",
]  # fmt: skip
# Of these, chance changes the value of the first, and the order of the rows alone of the second.
DRAWS = [
    "MHShannon_DKLN", "MHShannon_DKLU", "MIShannon_DKL", "MIChi2_DChi2", "MIL2_DL2", "MIRenyi_DR", "MITsallis_DT",
    "MIMMD_CopulaDMMD",
]  # fmt: skip
MIXES = [
    "MDJR_HR", "MDJT_HT", "MDJS_HS", "MDK_DKL", "MDL_DKL", "MKExpJR1_HR", "MKExpJR2_DJR", "MKExpJS_DJS", "MKExpJT1_HT",
    "MKExpJT2_DJT", "MKJS_DJS", "MKJT_HT",
]  # fmt: skip

# Samples


def sample(seed, n, d):
    """Correlated columns, none of them symmetric."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ (rng.uniform(size=(d, d)) + np.eye(d)) + 0.3 * rng.exponential(size=(n, d))


DATA = {
    "H": [(sample(1, 40, 1),), (sample(2, 50, 2),), (sample(3, 33, 3),)],
    "H, one column": [(sample(1, 40, 1),), (sample(4, 36, 1),)],
    "H given": [(sample(5, 40, 3), 1), (sample(5, 40, 3), 2), (sample(6, 35, 2), 1)],
    "I": [(sample(7, 48, 2), [1, 1]), (sample(8, 41, 3), [1, 2]), (sample(9, 45, 4), [2, 1, 1])],
    "I, two blocks": [(sample(7, 48, 2), [1, 1]), (sample(8, 41, 3), [1, 2])],
    "I, three blocks": [(sample(9, 30, 3), [1, 1, 1]), (sample(9, 45, 4), [2, 1, 1])],
    "I, single columns": [(sample(7, 12, 2), [1, 1]), (sample(9, 11, 3), [1, 1, 1])],
    "I given": [(sample(5, 40, 3), [1, 1, 1]), (sample(6, 41, 5), [1, 2, 2]), (sample(9, 40, 5), [1, 1, 1, 2])],
    "D": [(sample(1, 40, 2), sample(2, 50, 2)), (sample(3, 50, 1), sample(4, 41, 1)), (sample(5, 45, 3), sample(6, 45, 3))],
    "D, even": [tuple(sample(seed, n, d) for seed in (2 * d, 2 * d + 1)) for n, d in [(40, 2), (50, 1), (36, 3)]],
    "A": [(sample(1, 40, 2), [1, 1]), (sample(2, 36, 3), [1, 1, 1]), (np.round(sample(3, 50, 4)), [1, 1, 1, 1])],
}  # fmt: skip
# The same rows in another order: the U-statistic of MMD^2 is below zero.
DATA["D, MMD"] = [*DATA["D"], (sample(7, 30, 2), sample(7, 30, 2)[::-1])]
NONE = MappingProxyType({})
ORACLES, CASES, KINDS = {}, {}, {}


def oracle(name, kind, *cases):
    """Registers the direct formula of one class, the samples it is tried on, and parameters (default ones beside them)."""

    def register(formula):
        ORACLES[name], KINDS[name], CASES[name] = formula, kind, cases
        return formula

    return register


def component(name, pars, **forced):
    return lambda *samples: ORACLES[name](*samples, **(dict(pars) | forced))


# What several formulas share


def distances(y1, y2):
    return sqrt(((y1[:, None] - y2[None]) ** 2).sum(axis=2))


def nu(y1, y2, k):
    return np.sort(distances(y1, y2), axis=1)[:, k - 1]


def rho(y, k):
    """The nearest is the point itself."""
    return nu(y, y, k + 1)


def ball(d):
    return math.pi ** (d / 2) / math.gamma(d / 2 + 1)


def i_alpha(y, a, k):
    n, d = y.shape
    constant = (n - 1) / n * ball(d) ** (1 - a) * math.gamma(k) / math.gamma(k + 1 - a)
    return constant * sum(rho(y, k) ** (d * (1 - a))) / (n - 1) ** a


def d1(y1, y2, a, k):
    (n1, d), n2 = y1.shape, len(y2)
    constant = math.gamma(k) ** 2 / (math.gamma(k - a + 1) * math.gamma(k + a - 1))
    return constant * np.mean(((n1 - 1) / n2 * (rho(y1, k) / nu(y1, y2, k)) ** d) ** (1 - a))


def d2(y1, y2, a, b, k):
    (n1, d), n2 = y1.shape, len(y2)
    constant = math.gamma(k) ** 2 / (math.gamma(k - a) * math.gamma(k - b) * ball(d) ** (a + b))
    return constant * np.mean(((n1 - 1) * rho(y1, k) ** d) ** -a * (n2 * nu(y1, y2, k) ** d) ** -b)


def d3(y1, y2, a, k):
    n2, d = y2.shape
    return (n2 * ball(d)) ** (1 - a) * math.gamma(k) / math.gamma(k + 1 - a) * np.mean(nu(y1, y2, k) ** (d * (1 - a)))


def spaced(y, m):
    """y_(i + m) - y_(i - m), the places before the first and after the last being theirs."""
    y = sorted(y[:, 0])
    return np.array([y[min(i + m, len(y) - 1)] - y[max(i - m, 0)] for i in range(len(y))])


def blocks(y, ds):
    return np.split(y, np.cumsum(ds)[:-1], axis=1)


def ranks(y):
    return np.stack([rankdata(column) / len(y) for column in y.T], axis=1)


def root(x):
    return np.sign(x) * sqrt(abs(x))


def mixed(y1, y2, w=(0.5, 0.5)):
    """The largest sample whose shares are w; weights are read as the decimals that they were written as."""
    w = [Fraction(str(share)) for share in w]
    total = min(len(y1) / w[0], len(y2) / w[1])
    return np.vstack([y1[: math.floor(total * w[0])], y2[: math.floor(total * w[1])]])


def split(y, ds, rng):
    half, rng = len(y) // 2, np.random.default_rng(rng)
    return y[:half], np.hstack([rng.permutation(block) for block in blocks(y[half : 2 * half], ds)])


RBF = {"name": "RBF", "sigma": 1}
CAUCHY = {"name": "Cauchy", "sigma": 1.7}
POLYNOMIAL = {"name": "polynomial", "c": 1.5, "exponent": 2}
KERNELS = {
    "RBF": ({"sigma": 0.7}, lambda r, p: exp(-(r**2) / (2 * p["sigma"] ** 2))),
    "exponential": ({"sigma": 0.7}, lambda r, p: exp(-r / (2 * p["sigma"] ** 2))),
    "Cauchy": ({"sigma": 1.7}, lambda r, p: 1 / (1 + r**2 / p["sigma"] ** 2)),
    "student": ({"d": 1.5}, lambda r, p: 1 / (1 + r ** p["d"])),
    "Matern3p2": ({"l": 1.3}, lambda r, p: (1 + sqrt(3) * r / p["l"]) * exp(-sqrt(3) * r / p["l"])),
    "Matern5p2": ({"l": 1.3}, lambda r, p: (1 + sqrt(5) * r / p["l"] + 5 * (r / p["l"]) ** 2 / 3) * exp(-sqrt(5) * r / p["l"])),
    "ratquadr": ({"c": 2.5}, lambda r, p: 1 - r**2 / (r**2 + p["c"])),
    "invmquadr": ({"c": 1.2}, lambda r, p: 1 / sqrt(r**2 + p["c"] ** 2)),
    "polynomial": ({"c": 1.5, "exponent": 3}, None),
}


def gram(par, y1, y2):
    if par["name"] == "polynomial":
        return np.array([[(x @ y + par["c"]) ** par["exponent"] for y in y2] for x in y1])
    return KERNELS[par["name"]][1](distances(y1, y2), par)


def factor(K, tol):
    """Incomplete Cholesky: the point that is explained worst joins, until the trace of what is left is at most tol."""
    left, columns = K, []
    while np.trace(left) > tol:
        i = np.argmax(np.diag(left))
        columns.append(left[:, i] / sqrt(left[i, i]))
        left = left - np.outer(columns[-1], columns[-1])
    return np.stack(columns, axis=1)


def approximated(K, eta):
    """With the smallest eta of the tests nothing is left out, to 1e-12 n."""
    if eta == 1e-12:
        return K
    L = factor(K, len(K) * eta)
    return L @ L.T


def centred(K):
    return K - K.mean(axis=0) - K.mean(axis=1)[:, None] + K.mean()


# H


@oracle("BHShannon_KnnK", "H", {"k": 1}, {"k": 5, "knn_method": "KDTree"}, {"mult": False})
def h_shannon(y, *, k=3, **_):
    n, d = y.shape
    return log(n - 1) - digamma(k) + log(ball(d)) + d * np.mean(log(rho(y, k)))


@oracle("BHShannon_SpacingV", "H, one column")
def h_spacing(y, **_):
    n, m = len(y), int(sqrt(len(y)))
    return np.mean(log(n / (2 * m) * spaced(y, m)))


def max_entropy(y, term):
    s = np.std(y, ddof=1)
    y = (y - y.mean()) / s
    return log(s) + (1 + log(2 * math.pi)) / 2 - 36 / (8 * sqrt(3) - 9) * np.mean(y * exp(-(y**2) / 2)) ** 2 - term(y)


@oracle("BHShannon_MaxEnt1", "H, one column")
def h_max_entropy_1(y, **_):
    return max_entropy(y, lambda y: (np.mean(abs(y)) - sqrt(2 / math.pi)) ** 2 / (2 - 6 / math.pi))


@oracle("BHShannon_MaxEnt2", "H, one column")
def h_max_entropy_2(y, **_):
    return max_entropy(y, lambda y: 24 / (16 * sqrt(3) - 27) * (np.mean(exp(-(y**2) / 2)) - sqrt(1 / 2)) ** 2)


@oracle("BHRenyi_KnnK", "H", {"alpha": 0.6}, {"alpha": 1.4, "k": 5})
def h_renyi(y, *, alpha=0.99, k=3, **_):
    return log(i_alpha(y, alpha, k)) / (1 - alpha)


@oracle("BHRenyi_KnnS", "H", {"alpha": 0.6}, {"alpha": 1.4, "k": [2, 5]}, {"k": [3]})
def h_renyi_graph(y, *, alpha=0.99, k=(1, 2, 4), **_):
    n, d = y.shape
    length = sum(sum(rho(y, j) ** (d * (1 - alpha))) for j in k)
    constant = ((n - 1) * ball(d) / n) ** (alpha - 1) * sum(math.gamma(j + 1 - alpha) / math.gamma(j) for j in k)
    return log(length / (constant * n**alpha)) / (1 - alpha)


@oracle("BHTsallis_KnnK", "H", {"alpha": 0.6}, {"alpha": 1.4, "k": 5})
def h_tsallis(y, *, alpha=0.99, k=3, **_):
    return (1 - i_alpha(y, alpha, k)) / (alpha - 1)


@oracle("BHSharmaMittal_KnnK", "H", {"alpha": 0.6, "beta": 1.3}, {"alpha": 1.4, "beta": 0.5, "k": 5})
def h_sharma_mittal(y, *, alpha=0.9, beta=0.99, k=3, **_):
    return (i_alpha(y, alpha, k) ** ((1 - beta) / (1 - alpha)) - 1) / (1 - beta)


def cube(x):
    return x**3


def square_plus_one(x):
    return x**2 + 1


@oracle("BHPhi_Spacing", "H, one column", {"phi": cube}, {"w": square_plus_one}, {"w": square_plus_one, "phi": sqrt})
def h_phi(y, *, w=lambda x: 1, phi=lambda x: x**2, **_):
    n, m, y = len(y), int(sqrt(len(y))), sorted(y[:, 0])
    return np.mean([phi(m / (n + 1) / (b - a)) * (w(a) + w(b)) for a, b in zip(y, y[m:], strict=False)]) / 2


@oracle("MHShannon_DKLN", "H", {"rng": 1}, {"rng": 2, "kl_co_name": "BDKL_KnnKiTi"}, {"rng": 3, "kl_co_pars": {"k": 4}})
def h_by_normal(y, *, rng, kl_co_name="BDKL_KnnK", kl_co_pars=NONE):
    (n, d), mean, cov = y.shape, y.mean(axis=0), np.atleast_2d(np.cov(y.T))
    drawn = np.random.default_rng(rng).multivariate_normal(mean, cov, size=n, method="cholesky")
    entropy = log((2 * math.pi * math.e) ** d * np.linalg.det(cov)) / 2
    return entropy - component(kl_co_name, kl_co_pars)(y, drawn)


@oracle("MHShannon_DKLU", "H", {"rng": 1}, {"rng": 2, "kl_co_name": "BDKL_KnnKiTi"}, {"rng": 3, "kl_co_pars": {"k": 4}})
def h_by_uniform(y, *, rng, kl_co_name="BDKL_KnnK", kl_co_pars=NONE):
    low, width = y.min(axis=0), y.max(axis=0) - y.min(axis=0)
    return sum(log(width)) - component(kl_co_name, kl_co_pars)((y - low) / width, np.random.default_rng(rng).random(y.shape))


@oracle("MHTsallis_HR", "H", {"alpha": 0.6}, {"alpha": 1.3, "renyi_co_name": "BHRenyi_KnnS", "renyi_co_pars": {"k": [1, 3]}})
def h_tsallis_by_renyi(y, *, alpha=0.99, renyi_co_name="BHRenyi_KnnK", renyi_co_pars=NONE):
    return (exp((1 - alpha) * component(renyi_co_name, renyi_co_pars, alpha=alpha)(y)) - 1) / (1 - alpha)


@oracle("BcondHShannon_HShannon", "H given", {"h_shannon_co_pars": {"k": 5}})
def h_given(y, dim1, *, h_shannon_co_name="BHShannon_KnnK", h_shannon_co_pars=NONE):
    h = component(h_shannon_co_name, h_shannon_co_pars)
    return h(y) - h(y[:, dim1:])


# I


def centred_distances(y, ds, alpha):
    return [centred(distances(block, block) ** alpha) for block in blocks(y, ds)]


@oracle("BIDistCov", "I, two blocks", {"alpha": 0.7}, {"alpha": 1.6})
def i_distance_covariance(y, ds, *, alpha=1, **_):
    A, B = centred_distances(y, ds, alpha)
    return sqrt((A * B).sum()) / len(y)


@oracle("BIDistCorr", "I, two blocks", {"alpha": 0.7}, {"alpha": 1.6})
def i_distance_correlation(y, ds, *, alpha=1, **_):
    A, B = centred_distances(y, ds, alpha)
    return sqrt((A * B).sum() / sqrt((A**2).sum() * (B**2).sum()))


def three_grams(y, ds, *sigmas):
    for block, sigma in zip(blocks(y, ds), sigmas, strict=True):
        pairs = [np.linalg.norm(a - b) for a, b in itertools.combinations(block[:100], 2)]
        yield gram({"name": "RBF", "sigma": np.median(pairs) / sqrt(2) if np.isnan(sigma) else sigma}, block, block)


SIGMAS = [
    {"sigma1": 0.5, "sigma2": 1.5, "sigma3": 3},
    {"sigma1": np.nan, "sigma2": np.nan, "sigma3": np.nan},
    {"sigma2": np.nan},
]


@oracle("BI3WayJoint", "I, three blocks", *SIGMAS)
def i_joint(y, ds, *, sigma1=0.1, sigma2=0.1, sigma3=0.1, **_):
    """|| mean f(x) f(y) f(z) - mean f(x) mean f(y) mean f(z) ||^2."""
    K, L, M = three_grams(y, ds, sigma1, sigma2, sigma3)
    return (K * L * M).mean() - 2 * np.mean(K.mean(axis=0) * L.mean(axis=0) * M.mean(axis=0)) + K.mean() * L.mean() * M.mean()


@oracle("BI3WayLancaster", "I, three blocks", *SIGMAS)
def i_lancaster(y, ds, *, sigma1=0.1, sigma2=0.1, sigma3=0.1, **_):
    return np.mean(math.prod(centred(K) for K in three_grams(y, ds, sigma1, sigma2, sigma3)))


EXACT = {"eta": 1e-12}


@oracle("BIHSIC_IChol", "I", EXACT, {"kernel": CAUCHY, **EXACT}, {"kernel": POLYNOMIAL, "eta": 1e-3}, {"eta": 0.1})
def i_hsic(y, ds, *, kernel=RBF, eta=0.01, **_):
    grams = [centred(approximated(gram(kernel, block, block), eta)) for block in blocks(y, ds)]
    return sum((K * L).sum() for K, L in itertools.combinations(grams, 2)) / len(y) ** 2


def hoeffding_on_a_grid(u):
    """The mean of (C_n(v) - prod v)^2 over the grid {0, ..., (n - 1) / n}^d, of the empirical copula C_n of u."""
    n, d = u.shape
    points = (np.array(v) / n for v in itertools.product(range(n), repeat=d))
    return sum(((u <= v + 1e-9).all(axis=1).mean() - math.prod(v)) ** 2 for v in points) / n**d


def hoeffding_on_the_cube(u):
    """The integral of (C_n(v) - prod v)^2; C_n is constant on each cell, where v and v^2 are integrated by hand."""
    n, d = u.shape
    total = 0
    for v in itertools.product(range(n), repeat=d):
        low, c = np.array(v) / n, (u <= np.array(v) / n + 1e-9).all(axis=1).mean()
        high = low + 1 / n
        total += c**2 / n**d - 2 * c * math.prod((high**2 - low**2) / 2) + math.prod((high**3 - low**3) / 3)
    return total


@oracle(
    "BIHoeffding",
    "I, single columns",
    {"mult": False},
    {"small_sample_adjustment": False},
    {"mult": False, "small_sample_adjustment": False},
)
def i_hoeffding(y, ds, *, mult=True, small_sample_adjustment=True):
    n, d = y.shape
    if small_sample_adjustment:
        phi2, largest = hoeffding_on_a_grid(ranks(y)), hoeffding_on_a_grid(np.tile(np.arange(1, n + 1)[:, None] / n, d))
    else:
        # Over the cube M^2, of M = min v, has the integral of 2 t (1 - t)^d, and M prod v that of ((1 - t^2) / 2)^d.
        phi2 = hoeffding_on_the_cube(ranks(y))
        largest = quad(lambda t: 2 * t * (1 - t) ** d - 2 * ((1 - t**2) / 2) ** d, 0, 1)[0] + 3**-d
    return root(phi2 / largest if mult else phi2)


def kernel_correlations(y, ds, kernel, eta, kappa):
    """Bach and Jordan's R_kappa."""
    n, smoothed = len(y), []
    for block in blocks(y, ds):
        K = centred(approximated(gram(kernel, block, block), eta))
        smoothed.append(K @ np.linalg.inv(K + n * kappa / 2 * np.eye(n)))
    return np.block([[np.eye(n) if i is j else i @ j for j in smoothed] for i in smoothed])


KERNEL_CASES = [EXACT, {"kappa": 0.1, **EXACT}, {"kernel": CAUCHY, "kappa": 0.05, **EXACT}, {"eta": 1e-3}]


@oracle("BIKGV", "I", *KERNEL_CASES)
def i_kernel_variance(y, ds, *, kernel=RBF, eta=0.01, kappa=0.01, **_):
    return -np.linalg.slogdet(kernel_correlations(y, ds, kernel, eta, kappa))[1] / 2


@oracle("BIKCCA", "I", *KERNEL_CASES)
def i_kernel_correlation(y, ds, *, kernel=RBF, eta=0.01, kappa=0.01, **_):
    return -log(np.linalg.eigvalsh(kernel_correlations(y, ds, kernel, eta, kappa))[0]) / 2


def test_incomplete_factors_leave_little_out():
    """Of the whole matrices' values, though eta = 0.01 is more than kappa / 2 = 0.005."""
    y = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=200)
    for name, formula in (("BIKGV", i_kernel_variance), ("BIKCCA", i_kernel_correlation)):
        assert co_factory(name).estimation(y, [1, 1]) == pytest.approx(formula(y, [1, 1], eta=1e-12), rel=0.01)


@oracle("MIShannon_DKL", "I", {"rng": 1}, {"rng": 2, "kl_co_name": "BDKL_KnnKiTi"}, {"rng": 3, "kl_co_pars": {"k": 5}})
def i_by_kl(y, ds, *, rng, kl_co_name="BDKL_KnnK", kl_co_pars=NONE):
    return component(kl_co_name, kl_co_pars)(*split(y, ds, rng))


@oracle("MIShannon_HS", "I", {"shannon_co_pars": {"k": 5}})
def i_by_entropy(y, ds, *, shannon_co_name="BHShannon_KnnK", shannon_co_pars=NONE):
    h = component(shannon_co_name, shannon_co_pars)
    return sum(h(block) for block in blocks(y, ds)) - h(y)


@oracle("MIChi2_DChi2", "I", {"rng": 1}, {"rng": 2, "chi2_co_pars": {"k": 4, "pxdx": False}})
def i_by_chi2(y, ds, *, rng, chi2_co_name="BDChi2_KnnK", chi2_co_pars=NONE):
    return component(chi2_co_name, chi2_co_pars)(*split(y, ds, rng))


@oracle("MIL2_DL2", "I", {"rng": 1}, {"rng": 2, "l2_co_pars": {"k": 4}})
def i_by_l2(y, ds, *, rng, l2_co_name="BDL2_KnnK", l2_co_pars=NONE):
    return component(l2_co_name, l2_co_pars)(*split(y, ds, rng))


@oracle("MIRenyi_DR", "I", {"rng": 1}, {"rng": 2, "alpha": 0.7}, {"rng": 3, "alpha": 1.2, "renyi_co_pars": {"k": 4}})
def i_by_renyi(y, ds, *, rng, alpha=0.99, renyi_co_name="BDRenyi_KnnK", renyi_co_pars=NONE):
    return component(renyi_co_name, renyi_co_pars, alpha=alpha)(*split(y, ds, rng))


@oracle("MITsallis_DT", "I", {"rng": 1}, {"rng": 2, "alpha": 0.7}, {"rng": 3, "alpha": 1.2, "tsallis_co_pars": {"k": 4}})
def i_by_tsallis(y, ds, *, rng, alpha=0.99, tsallis_co_name="BDTsallis_KnnK", tsallis_co_pars=NONE):
    return component(tsallis_co_name, tsallis_co_pars, alpha=alpha)(*split(y, ds, rng))


@oracle(
    "MIMMD_CopulaDMMD",
    "I, single columns",
    {"rng": 1},
    {"rng": 2, "mmd_co_name": "BDMMD_VStat", "mmd_co_pars": {"kernel": CAUCHY}},
    {"rng": 3, "mmd_co_name": "BDEnergyDist"},
)
def i_by_copula(y, ds, *, rng, mmd_co_name="BDMMD_UStat", mmd_co_pars=NONE):
    return component(mmd_co_name, mmd_co_pars)(ranks(y), np.random.default_rng(rng).random(y.shape))


@oracle("MIRenyi_HR", "I, single columns", {"alpha": 0.7}, {"renyi_co_name": "BHRenyi_KnnS", "renyi_co_pars": {"k": [2, 3]}})
def i_by_copula_entropy(y, ds, *, alpha=0.99, renyi_co_name="BHRenyi_KnnK", renyi_co_pars=NONE):
    return -component(renyi_co_name, renyi_co_pars, alpha=alpha)(ranks(y))


@oracle("MIDistCov_HSIC", "I, two blocks", {"hsic_co_pars": EXACT}, {"hsic_co_pars": {"kernel": CAUCHY, "eta": 1e-3}})
def i_by_hsic(y, ds, *, hsic_co_name="BIHSIC_IChol", hsic_co_pars=NONE):
    return 2 * root(component(hsic_co_name, hsic_co_pars)(y, ds))


@oracle("BcondIShannon_HShannon", "I given", {"h_shannon_co_pars": {"k": 5}})
def i_given(y, ds, *, h_shannon_co_name="BHShannon_KnnK", h_shannon_co_pars=NONE):
    h, (*others, z) = component(h_shannon_co_name, h_shannon_co_pars), blocks(y, ds)
    return -h(y) + sum(h(np.hstack([other, z])) for other in others) - (len(others) - 1) * h(z)


# D


@oracle("BDKL_KnnK", "D", {"k": 1}, {"k": 5, "knn_method": "KDTree"})
def d_kl(y1, y2, *, k=3, **_):
    return y1.shape[1] * np.mean(log(nu(y1, y2, k) / rho(y1, k))) + log(len(y2) / (len(y1) - 1))


@oracle("BDKL_KnnKiTi", "D", {"knn_method": "KDTree"})
def d_kl_of_growing_k(y1, y2, **_):
    (n1, d), n2 = y1.shape, len(y2)
    k1, k2 = int(sqrt(n1)), int(sqrt(n2))
    return d * np.mean(log(nu(y1, y2, k2) / rho(y1, k1))) + log(k1 * n2 / (k2 * (n1 - 1)))


@oracle("BDEnergyDist", "D")
def d_energy(y1, y2, **_):
    return 2 * distances(y1, y2).mean() - distances(y1, y1).mean() - distances(y2, y2).mean()


PXDX = [{"k": 5}, {"pxdx": False}, {"k": 4, "pxdx": False}]


@oracle("BDBhattacharyya_KnnK", "D", {"k": 1}, *PXDX)
def d_bhattacharyya(y1, y2, *, k=3, pxdx=True, **_):
    return -log(d2(y1, y2, -0.5, 0.5, k) if pxdx else d2(y2, y1, -0.5, 0.5, k))


@oracle("BDHellinger_KnnK", "D", {"k": 1}, *PXDX)
def d_hellinger(y1, y2, *, k=3, pxdx=True, **_):
    return root(1 - (d2(y1, y2, -0.5, 0.5, k) if pxdx else d2(y2, y1, -0.5, 0.5, k)))


@oracle("BDChi2_KnnK", "D", *PXDX)
def d_chi2(y1, y2, *, k=3, pxdx=True, **_):
    return (d2(y1, y2, 1, -1, k) if pxdx else d2(y2, y1, -2, 2, k)) - 1


@oracle("BDL2_KnnK", "D", {"k": 4}, {"k": 7})
def d_l2(y1, y2, *, k=3, **_):
    """The integrals of p^2, p q and q^2, each as a mean over p."""
    (n1, d), n2, c = y1.shape, len(y2), ball(y1.shape[1])
    first = (k - 1) * np.mean(rho(y1, k) ** -d) / ((n1 - 1) * c)
    second = 2 * (k - 1) * np.mean(nu(y1, y2, k) ** -d) / (n2 * c)
    third = (n1 - 1) * (k - 2) * (k - 1) * np.mean(rho(y1, k) ** d * nu(y1, y2, k) ** (-2 * d)) / (n2**2 * c * k)
    return root(first - second + third)


ALPHAS = [{"alpha": 0.6}, {"alpha": 1.4, "k": 5}]


@oracle("BDRenyi_KnnK", "D", *ALPHAS)
def d_renyi(y1, y2, *, alpha=0.99, k=3, **_):
    return log(d1(y1, y2, alpha, k)) / (alpha - 1)


@oracle("BDTsallis_KnnK", "D", *ALPHAS)
def d_tsallis(y1, y2, *, alpha=0.99, k=3, **_):
    return (d1(y1, y2, alpha, k) - 1) / (alpha - 1)


@oracle("BDSharmaMittal_KnnK", "D", {"alpha": 0.6, "beta": 1.3}, {"alpha": 1.4, "beta": 0.5, "k": 5})
def d_sharma_mittal(y1, y2, *, alpha=0.9, beta=0.99, k=3, **_):
    return (d1(y1, y2, alpha, k) ** ((1 - beta) / (1 - alpha)) - 1) / (beta - 1)


@oracle("BDBregman_KnnK", "D", *ALPHAS)
def d_bregman(y1, y2, *, alpha=0.99, k=3, **_):
    return i_alpha(y2, alpha, k) + i_alpha(y1, alpha, k) / (alpha - 1) - alpha / (alpha - 1) * d3(y1, y2, alpha, k)


@oracle("BDSymBregman_KnnK", "D", *ALPHAS)
def d_bregman_both_ways(y1, y2, *, alpha=0.99, k=3, **_):
    terms = i_alpha(y1, alpha, k) + i_alpha(y2, alpha, k) - d3(y1, y2, alpha, k) - d3(y2, y1, alpha, k)
    return terms / (alpha - 1)


def mmd2(K, n1, unbiased):
    """K of y1 and y2, one below the other."""
    of_1, of_2, n2 = K[:n1, :n1], K[n1:, n1:], len(K) - n1
    if unbiased:
        within = (of_1.sum() - np.trace(of_1)) / (n1 * (n1 - 1)) + (of_2.sum() - np.trace(of_2)) / (n2 * (n2 - 1))
    else:
        within = of_1.mean() + of_2.mean()
    return within - 2 * K[:n1, n1:].mean()


def stacked_gram(kernel, y1, y2):
    return gram(kernel, np.vstack([y1, y2]), np.vstack([y1, y2]))


@oracle("BDMMD_UStat", "D, MMD", {"kernel": CAUCHY}, {"kernel": POLYNOMIAL})
def d_mmd_u(y1, y2, *, kernel=RBF, **_):
    return root(mmd2(stacked_gram(kernel, y1, y2), len(y1), True))


@oracle("BDMMD_VStat", "D", {"kernel": CAUCHY}, {"kernel": POLYNOMIAL})
def d_mmd_v(y1, y2, *, kernel=RBF, **_):
    return root(mmd2(stacked_gram(kernel, y1, y2), len(y1), False))


@oracle("BDMMD_Online", "D, even", {"kernel": CAUCHY}, {"kernel": POLYNOMIAL})
def d_mmd_online(y1, y2, *, kernel=RBF, **_):
    of_1, of_2, across = gram(kernel, y1, y1), gram(kernel, y2, y2), gram(kernel, y1, y2)
    return root(np.mean([of_1[i, i + 1] + of_2[i, i + 1] - across[i, i + 1] - across[i + 1, i] for i in range(0, len(y1), 2)]))


ICHOL = [EXACT, {"kernel": CAUCHY, **EXACT}, {"eta": 1e-3}, {"kernel": POLYNOMIAL, "eta": 0.1}]


@oracle("BDMMD_UStat_IChol", "D", *ICHOL)
def d_mmd_u_of_low_rank(y1, y2, *, kernel=RBF, eta=0.01, **_):
    return root(mmd2(approximated(stacked_gram(kernel, y1, y2), eta), len(y1), True))


@oracle("BDMMD_VStat_IChol", "D", *ICHOL)
def d_mmd_v_of_low_rank(y1, y2, *, kernel=RBF, eta=0.01, **_):
    return root(mmd2(approximated(stacked_gram(kernel, y1, y2), eta), len(y1), False))


@oracle("MDBlockMMD", "D, even", {"mmd_co_name": "BDMMD_VStat"}, {"mmd_co_pars": {"kernel": CAUCHY}})
def d_mmd_of_blocks(y1, y2, *, mmd_co_name="BDMMD_UStat", mmd_co_pars=NONE):
    b, mmd = int(sqrt(len(y1))), component(mmd_co_name, mmd_co_pars)
    of_blocks = [mmd(y1[i * b : (i + 1) * b], y2[i * b : (i + 1) * b]) for i in range(len(y1) // b)]
    return root(np.mean([np.sign(m) * m**2 for m in of_blocks]))


@oracle(
    "MDEnergyDist_DMMD", "D, MMD", {"mmd_co_pars": EXACT}, {"mmd_co_name": "BDMMD_UStat", "mmd_co_pars": {"kernel": CAUCHY}}
)
def d_energy_by_mmd(y1, y2, *, mmd_co_name="BDMMD_UStat_IChol", mmd_co_pars=NONE):
    m = component(mmd_co_name, mmd_co_pars)(y1, y2)
    return 2 * np.sign(m) * m**2


@oracle("MDf_DChi2", "D", {"hess": 0.5}, {"hess": 3, "chi_square_co_pars": {"pxdx": False, "k": 4}})
def d_f(y1, y2, *, hess=2, chi_square_co_name="BDChi2_KnnK", chi_square_co_pars=NONE):
    return hess / 2 * component(chi_square_co_name, chi_square_co_pars)(y1, y2)


@oracle("MDJDist_DKL", "D", {"kl_co_name": "BDKL_KnnKiTi"}, {"kl_co_pars": {"k": 5}})
def d_kl_both_ways(y1, y2, *, kl_co_name="BDKL_KnnK", kl_co_pars=NONE):
    kl = component(kl_co_name, kl_co_pars)
    return kl(y1, y2) + kl(y2, y1)


def jensen(h, y1, y2, w):
    return h(mixed(y1, y2, w)) - w[0] * h(y1) - w[1] * h(y2)


@oracle("MDJR_HR", "D", {"alpha": 0.6, "w": [0.3, 0.7]}, {"w": [0.85, 0.15], "renyi_co_name": "BHRenyi_KnnS", "rng": 1})
def d_jensen_renyi(y1, y2, *, alpha=0.99, w=(0.5, 0.5), renyi_co_name="BHRenyi_KnnK", renyi_co_pars=NONE, **_):
    return jensen(component(renyi_co_name, renyi_co_pars, alpha=alpha), y1, y2, w)


@oracle(
    "MDJT_HT", "D", {"alpha": 0.6}, {"alpha": 1.4, "tsallis_co_pars": {"k": 5}, "rng": 1}, {"tsallis_co_name": "MHTsallis_HR"}
)
def d_jensen_tsallis(y1, y2, *, alpha=0.99, tsallis_co_name="BHTsallis_KnnK", tsallis_co_pars=NONE, **_):
    return jensen(component(tsallis_co_name, tsallis_co_pars, alpha=alpha), y1, y2, (0.5, 0.5))


@oracle("MDJS_HS", "D", {"w": [0.3, 0.7]}, {"w": [0.85, 0.15], "shannon_co_pars": {"k": 5}, "rng": 1})
def d_jensen_shannon(y1, y2, *, w=(0.5, 0.5), shannon_co_name="BHShannon_KnnK", shannon_co_pars=NONE, **_):
    return jensen(component(shannon_co_name, shannon_co_pars), y1, y2, w)


def second_halves_mixed(y1, y2):
    return mixed(y1[len(y1) // 2 :], y2[len(y2) // 2 :])


@oracle("MDK_DKL", "D, even", {"kl_co_name": "BDKL_KnnKiTi"}, {"kl_co_pars": {"k": 5}, "rng": 1})
def d_k(y1, y2, *, kl_co_name="BDKL_KnnK", kl_co_pars=NONE, **_):
    return component(kl_co_name, kl_co_pars)(y1[: len(y1) // 2], second_halves_mixed(y1, y2))


@oracle("MDL_DKL", "D", {"kl_co_name": "BDKL_KnnKiTi"}, {"kl_co_pars": {"k": 5}, "rng": 1})
def d_l(y1, y2, *, kl_co_name="BDKL_KnnK", kl_co_pars=NONE, **_):
    kl, mixture = component(kl_co_name, kl_co_pars), second_halves_mixed(y1, y2)
    return kl(y1[: len(y1) // 2], mixture) + kl(y2[: len(y2) // 2], mixture)


@oracle("MDSymBregman_DB", "D", {"alpha": 0.6}, {"alpha": 1.4, "bregman_co_pars": {"k": 5}})
def d_bregman_by_one_way(y1, y2, *, alpha=0.99, bregman_co_name="BDBregman_KnnK", bregman_co_pars=NONE):
    bregman = component(bregman_co_name, bregman_co_pars, alpha=alpha)
    return (bregman(y1, y2) + bregman(y2, y1)) / alpha


@oracle("MDKL_HSCE", "D", {"shannon_co_pars": {"k": 5}, "ce_co_pars": {"k": 2}})
def d_by_cross_entropy(
    y1, y2, *, shannon_co_name="BHShannon_KnnK", shannon_co_pars=NONE, ce_co_name="BCCE_KnnK", ce_co_pars=NONE
):
    return component(ce_co_name, ce_co_pars)(y1, y2) - component(shannon_co_name, shannon_co_pars)(y1)


# C


@oracle("BCCE_KnnK", "D", {"k": 1}, {"k": 5, "knn_method": "KDTree"})
def cross_entropy(y1, y2, *, k=3, **_):
    n2, d = y2.shape
    return log(ball(d)) + log(n2) - digamma(k) + d * np.mean(log(nu(y1, y2, k)))


# K


@oracle("BKExpected", "D", {"kernel": CAUCHY}, {"kernel": POLYNOMIAL})
def k_expected(y1, y2, *, kernel=RBF, **_):
    return gram(kernel, y1, y2).mean()


@oracle("BKProbProd_KnnK", "D", {"rho": 1.5}, {"rho": 0.7, "pxdx": False}, {"k": 5, "pxdx": False})
def k_probability_product(y1, y2, *, k=3, rho=2, pxdx=True, **_):
    return d2(y1, y2, rho - 1, rho, k) if pxdx else d2(y2, y1, rho - 1, rho, k)


@oracle("MKExpJR1_HR", "D", {"alpha": 0.6, "u": 0.4}, {"u": 2, "renyi_co_name": "BHRenyi_KnnS", "rng": 1})
def k_exp_renyi(y1, y2, *, alpha=0.99, u=1, renyi_co_name="BHRenyi_KnnK", renyi_co_pars=NONE, **_):
    return exp(-u * component(renyi_co_name, renyi_co_pars, alpha=alpha)(mixed(y1, y2)))


@oracle("MKExpJR2_DJR", "D", {"alpha": 0.6, "u": 0.4}, {"u": 2, "jr_co_pars": {"renyi_co_pars": {"k": 5}}, "rng": 1})
def k_exp_jensen_renyi(y1, y2, *, alpha=0.99, u=1, jr_co_name="MDJR_HR", jr_co_pars=NONE, **_):
    return exp(-u * component(jr_co_name, jr_co_pars, alpha=alpha)(y1, y2))


@oracle("MKExpJS_DJS", "D", {"u": 0.4}, {"u": 2, "js_co_pars": {"shannon_co_pars": {"k": 5}}, "rng": 1})
def k_exp_jensen_shannon(y1, y2, *, u=1, js_co_name="MDJS_HS", js_co_pars=NONE, **_):
    return exp(-u * component(js_co_name, js_co_pars)(y1, y2))


@oracle("MKExpJT1_HT", "D", {"alpha": 0.6, "u": 0.4}, {"u": 2, "tsallis_co_name": "MHTsallis_HR", "rng": 1})
def k_exp_tsallis(y1, y2, *, alpha=0.99, u=1, tsallis_co_name="BHTsallis_KnnK", tsallis_co_pars=NONE, **_):
    return exp(-u * component(tsallis_co_name, tsallis_co_pars, alpha=alpha)(mixed(y1, y2)))


@oracle("MKExpJT2_DJT", "D", {"alpha": 0.6, "u": 0.4}, {"u": 2, "jt_co_pars": {"tsallis_co_pars": {"k": 5}}, "rng": 1})
def k_exp_jensen_tsallis(y1, y2, *, alpha=0.99, u=1, jt_co_name="MDJT_HT", jt_co_pars=NONE, **_):
    return exp(-u * component(jt_co_name, jt_co_pars, alpha=alpha)(y1, y2))


@oracle("MKJS_DJS", "D", {"js_co_pars": {"shannon_co_pars": {"k": 5}}, "rng": 1})
def k_jensen_shannon(y1, y2, *, js_co_name="MDJS_HS", js_co_pars=NONE, **_):
    return log(2) - component(js_co_name, js_co_pars)(y1, y2)


@oracle("MKJT_HT", "D", {"alpha": 0.6}, {"alpha": 2, "tsallis_co_pars": {"k": 5}, "rng": 1})
def k_jensen_tsallis(y1, y2, *, alpha=0.99, tsallis_co_name="BHTsallis_KnnK", tsallis_co_pars=NONE, **_):
    h = component(tsallis_co_name, tsallis_co_pars, alpha=alpha)
    log_2 = (2 ** (1 - alpha) - 1) / (1 - alpha)
    return log_2 - (h(mixed(y1, y2)) - 2**-alpha * (h(y1) + h(y2)))


# A


def spearman_constant(d):
    return (d + 1) / (2**d - d - 1)


@oracle("BASpearman1", "A")
def a_lower(y, ds, **_):
    d = y.shape[1]
    return spearman_constant(d) * (2**d * np.mean(np.prod(1 - ranks(y), axis=1)) - 1)


@oracle("BASpearman2", "A")
def a_upper(y, ds, **_):
    d = y.shape[1]
    return spearman_constant(d) * (2**d * np.mean(np.prod(ranks(y), axis=1)) - 1)


@oracle("BASpearman3", "A")
def a_mean(y, ds, **_):
    return (a_lower(y, ds) + a_upper(y, ds)) / 2


@oracle("BASpearman4", "A")
def a_pairwise(y, ds, **_):
    pairs = [np.mean((1 - a) * (1 - b)) for a, b in itertools.combinations(ranks(y).T, 2)]
    return 12 * np.mean(pairs) - 3


@oracle("BASpearmanCondLT", "A", {"p": 0.2}, {"p": 1})
def a_lower_tail(y, ds, *, p=0.5, **_):
    d = y.shape[1]
    c1, c2 = (p**2 / 2) ** d, p ** (d + 1) / (d + 1)
    return (np.mean(np.prod(np.maximum(p - ranks(y), 0), axis=1)) - c1) / (c2 - c1)


@oracle("BASpearmanCondUT", "A", {"p": 0.2}, {"p": 1})
def a_upper_tail(y, ds, *, p=0.5, **_):
    d = y.shape[1]
    c1, c2 = (p * (2 - p) / 2) ** d, p**d * (d + 1 - p * d) / (d + 1)
    return (np.mean(np.prod(1 - np.maximum(ranks(y) - 1 / (2 * len(y)), 1 - p), axis=1)) - c1) / (c2 - c1)


@oracle("BABlomqvist", "A")
def a_median(y, ds, **_):
    u, d = ranks(y), y.shape[1]
    together = np.mean((u <= 0.5).all(axis=1)) + np.mean((u > 0.5).all(axis=1))
    return 2 ** (d - 1) / (2 ** (d - 1) - 1) * (together - 2 ** (1 - d))


@oracle("MASpearmanLT", "A")
def a_far_lower_tail(y, ds, **_):
    return a_lower_tail(y, ds, p=int(sqrt(len(y))) / len(y))


@oracle("MASpearmanUT", "A")
def a_far_upper_tail(y, ds, **_):
    return a_upper_tail(y, ds, p=int(sqrt(len(y))) / len(y))


# Values

# So few samples that one of them may dominate a mean, which is not the question here.
pytestmark = pytest.mark.filterwarnings("ignore::ite.FewEffectiveSamples", "ignore::ite.RepeatedValues")
ALL_CASES = [(name, case) for name in ORACLES for case in ([] if name in DRAWS else [{}]) + list(CASES[name])]


def with_kernels(pars):
    """The parameters as the class takes them: a Kernel where the formula takes its dictionary."""
    return {
        key: Kernel(value) if key == "kernel" else with_kernels(value) if isinstance(value, dict) else value
        for key, value in pars.items()
    }


@pytest.mark.parametrize(("name", "case"), ALL_CASES, ids=lambda x: re.sub(r"<\w+ '?(\w+).*?>", r"\1", str(x)))
def test_value(name, case):
    for samples in DATA[KINDS[name]]:
        expected = ORACLES[name](*samples, **case)
        found = co_factory(name, **with_kernels(case)).estimation(*samples)
        assert isinstance(found, float) and math.isfinite(expected)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_every_class_has_a_formula():
    assert len(NAMES) == 78 and sorted(ORACLES) == sorted(NAMES)


@pytest.mark.parametrize("name", ["BDMMD_UStat", "BDMMD_UStat_IChol", "BDMMD_Online", "BDL2_KnnK", "BDHellinger_KnnK"])
def test_roots_keep_the_sign(name):
    """Of equal distributions; where the root's sign is lost, no estimate of many is negative."""
    found = [co_factory(name).estimation(*np.random.default_rng(seed).normal(size=(2, 30, 1))) for seed in range(20)]
    formula = [ORACLES[name](*np.random.default_rng(seed).normal(size=(2, 30, 1))) for seed in range(20)]
    assert found == pytest.approx(formula, rel=1e-9) and min(found) < 0 < max(found)


def test_median_of_the_first_hundred_rows():
    y, nan = sample(0, 130, 3), {"sigma1": np.nan, "sigma2": np.nan, "sigma3": np.nan}
    for name in ("BI3WayJoint", "BI3WayLancaster"):
        assert co_factory(name, **nan).estimation(y, [1, 1, 1]) == pytest.approx(ORACLES[name](y, [1, 1, 1], **nan), rel=1e-9)


def test_hoeffding_of_equal_columns():
    """Comonotone: the adjusted value is one exactly, the other for many samples."""
    y = np.random.default_rng(0).normal(size=(200, 1))
    for d in (2, 3, 4):
        assert co_factory("BIHoeffding").estimation(np.tile(y, d), [1] * d) == pytest.approx(1, rel=1e-9)
        unadjusted = co_factory("BIHoeffding", small_sample_adjustment=False).estimation(np.tile(y, d), [1] * d)
        assert unadjusted == pytest.approx(1, abs=0.02) and unadjusted != pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name[1] == "A"] + ["BIHoeffding"])
@pytest.mark.parametrize("d", [200, 1100])
def test_many_columns(name, d):
    """2^d and d! leave float64's range; equal columns are associated wholly, independent ones hardly."""
    rng = np.random.default_rng(0)
    column = rng.permutation(400 if name == "BIHoeffding" else 3000)[:, None]
    if name != "MASpearmanLT":  # of whose 54 ranks none is near enough to 0 to count
        exact = name in ("BIHoeffding", "BABlomqvist")  # otherwise (1 - 1 / n)^d, the largest term, should be 1
        assert co_factory(name).estimation(np.tile(column, d)) == pytest.approx(1, abs=1e-9 if exact else 0.6)
    independent = co_factory(name).estimation(rng.normal(size=(100, d)))
    assert independent == pytest.approx(-0.06 if name == "BASpearman4" else 0, abs=0.01)


def test_upper_tail_of_independent_columns_is_unbiased():
    """With rank / n it is -0.33 at n = 100. The mean of 400 samples, within four standard errors."""
    samples = [np.random.default_rng(seed).random((100, 2)) for seed in range(400)]
    for name, pars in (("MASpearmanUT", {}), ("BASpearmanCondUT", {"p": 0.2}), ("BASpearmanCondUT", {})):
        found = np.array([co_factory(name, **pars).estimation(y) for y in samples])
        assert found.mean() == pytest.approx(0, abs=4 * found.std() / sqrt(400))


def test_blocks_of_normals_that_differ_a_little():
    """MMD^2 of N(0, 1) and N(m, 1) under RBF of width 1 is 2 (1 - exp(-m^2 / 6)) / sqrt(3): its root is 0.0876 at m = 0.2.

    The mean of 200 squares has the standard deviation of one over sqrt(200).
    """
    truth = 2 * (1 - exp(-(0.2**2) / 6)) / sqrt(3)
    assert sqrt(truth) == pytest.approx(0.0876, abs=1e-4)
    rngs = map(np.random.default_rng, range(200))
    found = [co_factory("MDBlockMMD").estimation(rng.normal(size=(400, 1)), 0.2 + rng.normal(size=(400, 1))) for rng in rngs]
    squares = np.sign(found) * np.square(found)
    assert squares.mean() == pytest.approx(truth, abs=4 * squares.std() / sqrt(200))


def test_distance_covariance_of_distance_induced_kernels():
    """dCov^2 = 4 HSIC where k(x, y) = (|x| + |y| - |x - y|) / 2; here HSIC as `BIHSIC_IChol` has it, a squared norm."""
    y, ds = DATA["I, two blocks"][1]
    induced = [(sqrt((b**2).sum(1))[:, None] + sqrt((b**2).sum(1)) - distances(b, b)) / 2 for b in blocks(y, ds)]
    hsic = np.mean(math.prod(map(centred, induced)))
    assert 2 * sqrt(hsic) == pytest.approx(co_factory("BIDistCov").estimation(y, ds), rel=1e-9)
    assert co_factory("MIDistCov_HSIC", hsic_co_pars=EXACT).estimation(y, ds) == pytest.approx(
        2 * sqrt(i_hsic(y, ds, **EXACT)), rel=1e-9
    )


@pytest.mark.parametrize("name", ["BIDistCov", "BIDistCorr", "BI3WayJoint", "BI3WayLancaster"])
def test_matrices_are_made_a_few_rows_at_a_time(name, monkeypatch):
    """64 MB at once, of 3.2 GB for 20,000 rows; parts of seven rows give the same value."""
    assert max(map(len, dependence.some_rows(20_000))) * 20_000 <= 8_000_000 < 20_000**2
    monkeypatch.setattr(dependence, "some_rows", lambda n: np.array_split(np.arange(n), -(-n // 7)))
    for y, ds in DATA[KINDS[name]]:
        assert co_factory(name).estimation(y, ds) == pytest.approx(ORACLES[name](y, ds), rel=1e-9)


def test_where_the_unit_ball_underflows():
    """Corners of a simplex: every rho is sqrt(2), and every nu sqrt(5) but one. From d = 342 on float64 has no volume c."""
    d, k, a = 400, 3, 0.99
    y1, y2 = np.eye(d), 2 * np.eye(d)
    log_c = d / 2 * log(math.pi) - math.lgamma(d / 2 + 1)
    volumes = log_c + log(d - 1) + d / 2 * log(2)
    renyi = volumes + log(math.gamma(k) / math.gamma(k + 1 - a)) / (1 - a)
    affinity = sqrt((d - 1) / d) * (2 / 5) ** (d / 4) * math.gamma(k) ** 2 / (math.gamma(k + 0.5) * math.gamma(k - 0.5))
    expected = {
        "BHRenyi_KnnK": renyi,
        "BHRenyi_KnnS": volumes + log(3 / sum(math.gamma(j + 1 - a) / math.gamma(j) for j in (1, 2, 4))) / (1 - a),
        "BHTsallis_KnnK": (1 - exp((1 - a) * renyi)) / (a - 1),
        "BCCE_KnnK": log_c + log(d) - digamma(k) + d / 2 * log(5),
        "BDBhattacharyya_KnnK": -log(affinity),
        "BDHellinger_KnnK": sqrt(1 - affinity),
        "BDChi2_KnnK": d / (d - 1) * (5 / 2) ** (d / 2) * math.gamma(k) ** 2 / (math.gamma(k - 1) * math.gamma(k + 1)) - 1,
    }
    found = {name: co_factory(name).estimation(*([y1] if name[1] == "H" else [y1, y2])) for name in expected}
    assert found == pytest.approx(expected, rel=1e-9)


# Interface


def parts(*pairs):
    """The parameters of components: ("kl", "BDKL_KnnK") -> kl_co_name="BDKL_KnnK", kl_co_pars=None."""
    return {key: value for x, name in pairs for key, value in ((f"{x}_co_name", name), (f"{x}_co_pars", None))}


ANY = object()  # a default that is checked by what it does
KNN_METHOD = {"knn_method": "cKDTree"}
KNN = KNN_METHOD | {"k": 3, "eps": 0}
ALPHA, BETA = {"alpha": 0.99}, {"alpha": 0.9, "beta": 0.99}
W = {"w": [0.5, 0.5]}
KERNEL = {"kernel": ANY}
ETA = KERNEL | {"eta": 1e-2}
KL, RENYI, TSALLIS = parts(("kl", "BDKL_KnnK")), parts(("renyi", "BHRenyi_KnnK")), parts(("tsallis", "BHTsallis_KnnK"))
SHANNON, H_SHANNON = parts(("shannon", "BHShannon_KnnK")), parts(("h_shannon", "BHShannon_KnnK"))
SIGMA = {"sigma1": 0.1, "sigma2": 0.1, "sigma3": 0.1}
# In this order, after mult=True.
PARAMETERS = {
    "BHShannon_KnnK": KNN,
    "BHShannon_SpacingV": {},
    "BHShannon_MaxEnt1": {},
    "BHShannon_MaxEnt2": {},
    "BHRenyi_KnnK": KNN | ALPHA,
    "BHRenyi_KnnS": KNN | {"k": None} | ALPHA,
    "BHTsallis_KnnK": KNN | ALPHA,
    "BHSharmaMittal_KnnK": KNN | BETA,
    "BHPhi_Spacing": {"w": ANY, "phi": ANY},
    "MHShannon_DKLN": KL,
    "MHShannon_DKLU": KL,
    "MHTsallis_HR": ALPHA | RENYI,
    "BcondHShannon_HShannon": H_SHANNON,
    "BIDistCov": {"alpha": 1},
    "BIDistCorr": {"alpha": 1},
    "BI3WayJoint": SIGMA,
    "BI3WayLancaster": SIGMA,
    "BIHSIC_IChol": ETA,
    "BIHoeffding": {"small_sample_adjustment": True},
    "BIKGV": ETA | {"kappa": 0.01},
    "BIKCCA": ETA | {"kappa": 0.01},
    "MIShannon_DKL": KL,
    "MIShannon_HS": SHANNON,
    "MIChi2_DChi2": parts(("chi2", "BDChi2_KnnK")),
    "MIL2_DL2": parts(("l2", "BDL2_KnnK")),
    "MIRenyi_DR": ALPHA | parts(("renyi", "BDRenyi_KnnK")),
    "MITsallis_DT": ALPHA | parts(("tsallis", "BDTsallis_KnnK")),
    "MIMMD_CopulaDMMD": parts(("mmd", "BDMMD_UStat")),
    "MIRenyi_HR": ALPHA | RENYI,
    "MIDistCov_HSIC": parts(("hsic", "BIHSIC_IChol")),
    "BcondIShannon_HShannon": H_SHANNON,
    "BDKL_KnnK": KNN,
    "BDKL_KnnKiTi": KNN_METHOD | {"eps": 0},
    "BDEnergyDist": {},
    "BDBhattacharyya_KnnK": KNN | {"pxdx": True},
    "BDHellinger_KnnK": KNN | {"pxdx": True},
    "BDChi2_KnnK": KNN | {"pxdx": True},
    "BDL2_KnnK": KNN,
    "BDRenyi_KnnK": KNN | ALPHA,
    "BDTsallis_KnnK": KNN | ALPHA,
    "BDSharmaMittal_KnnK": KNN | BETA,
    "BDBregman_KnnK": KNN | ALPHA,
    "BDSymBregman_KnnK": KNN | ALPHA,
    "BDMMD_UStat": KERNEL,
    "BDMMD_VStat": KERNEL,
    "BDMMD_Online": KERNEL,
    "BDMMD_UStat_IChol": ETA,
    "BDMMD_VStat_IChol": ETA,
    "MDBlockMMD": parts(("mmd", "BDMMD_UStat")),
    "MDEnergyDist_DMMD": parts(("mmd", "BDMMD_UStat_IChol")),
    "MDf_DChi2": {"hess": 2} | parts(("chi_square", "BDChi2_KnnK")),
    "MDJDist_DKL": KL,
    "MDJR_HR": ALPHA | W | RENYI,
    "MDJT_HT": ALPHA | TSALLIS,
    "MDJS_HS": W | SHANNON,
    "MDK_DKL": KL,
    "MDL_DKL": KL,
    "MDSymBregman_DB": ALPHA | parts(("bregman", "BDBregman_KnnK")),
    "MDKL_HSCE": SHANNON | parts(("ce", "BCCE_KnnK")),
    "BCCE_KnnK": KNN,
    "BKExpected": KERNEL,
    "BKProbProd_KnnK": KNN | {"rho": 2, "pxdx": True},
    "MKExpJR1_HR": ALPHA | {"u": 1} | RENYI,
    "MKExpJR2_DJR": ALPHA | {"u": 1} | parts(("jr", "MDJR_HR")),
    "MKExpJS_DJS": {"u": 1} | parts(("js", "MDJS_HS")),
    "MKExpJT1_HT": ALPHA | {"u": 1} | TSALLIS,
    "MKExpJT2_DJT": ALPHA | {"u": 1} | parts(("jt", "MDJT_HT")),
    "MKJS_DJS": parts(("js", "MDJS_HS")),
    "MKJT_HT": ALPHA | TSALLIS,
    "BASpearman1": {},
    "BASpearman2": {},
    "BASpearman3": {},
    "BASpearman4": {},
    "BASpearmanCondLT": {"p": 0.5},
    "BASpearmanCondUT": {"p": 0.5},
    "BABlomqvist": {},
    "MASpearmanLT": parts(("spearman_cond_lt", "BASpearmanCondLT")),
    "MASpearmanUT": parts(("spearman_cond_ut", "BASpearmanCondUT")),
}
ON_DISTRIBUTIONS = [name for name in NAMES if name[1] == "K"]
WITHOUT_WIDTHS = [*(name for name in NAMES if name[1] == "A"), "MIMMD_CopulaDMMD", "MIRenyi_HR"]


def first_samples(name):
    return DATA[KINDS[name]][0]


def seeded(name, **pars):
    return co_factory(name, **pars, **({"rng": 0} if name in DRAWS + MIXES else {}))


@pytest.mark.parametrize("name", NAMES)
def test_factory_and_print(name):
    co = co_factory(name)
    assert name in ite.cost.__all__ and type(co) is getattr(ite.cost, name)
    assert str(co) == f"{name} -> {vars(co)}"


@pytest.mark.parametrize("name", NAMES)
def test_parameters_in_order(name):
    parameters = inspect.signature(getattr(ite.cost, name)).parameters
    by_place = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    expected = {"mult": True} | PARAMETERS[name]
    if name == "MDf_DChi2":
        assert by_place == ["hess"] and set(parameters) == set(expected)
    else:  # what the toolbox doesn't have comes after what it has
        assert by_place[: len(expected)] == list(expected)
    assert ("rng" in parameters) == (name in DRAWS + MIXES)
    for key, value in expected.items():
        found = parameters[key].default
        if value is not ANY:
            assert list(found) == value if key == "w" else (found == value and (found is None) == (value is None))


@pytest.mark.parametrize("name", NAMES)
def test_attributes(name):
    """Defaults can be read from the estimator, by the parameters' names."""
    co = co_factory(name)
    for key, value in ({"mult": True} | PARAMETERS[name]).items():
        if key == "kernel":
            assert isinstance(co.kernel, Kernel) and co.kernel.sigma == 1
        elif key == "k" and value is None:
            assert list(co.k) == [1, 2, 4]
        elif value is ANY:
            assert (co.w(5.0), co.phi(3.0)) == (1, 9)
        elif not key.endswith(("_co_name", "_co_pars")):
            assert list(co.w) == value if key == "w" else getattr(co, key) == value


def forced(name):
    """Parameters that a class hands to its component."""
    own = PARAMETERS[name]
    return {"mult": False} | ({"alpha": 0.7} if "alpha" in own and any(key.endswith("_co_name") for key in own) else {})


@pytest.mark.parametrize("name", [name for name in NAMES if any(key.endswith("_co_pars") for key in PARAMETERS[name])])
def test_parameters_of_components(name):
    """The component takes mult and alpha from the class above it, and the caller's dictionary stays as it was."""
    for key in (key for key in PARAMETERS[name] if key.endswith("_co_pars")):
        own = forced(name)
        theirs = {"mult": True} | ({"alpha": 1.5} if "alpha" in own else {})
        copy, co = dict(theirs), seeded(name, **own, **{key: theirs})
        found = co.estimation(*first_samples(name))
        assert theirs == copy
        assert found == seeded(name, **own).estimation(*first_samples(name))
        inner = [value for value in vars(co).values() if type(value).__name__ == PARAMETERS[name][key[:-4] + "name"]]
        for part in inner:
            assert {given: getattr(part, given) for given in own} == own


def test_mult_reaches_the_component():
    """Hoeffding's is the one value that it changes."""
    y, ds = DATA["I, single columns"][0]
    for mult in (True, False):
        co = co_factory("MIDistCov_HSIC", mult=mult, hsic_co_name="BIHoeffding", hsic_co_pars={"mult": not mult})
        assert co.estimation(y, ds) == pytest.approx(2 * sqrt(i_hoeffding(y, ds, mult=mult)), rel=1e-9)


@pytest.mark.parametrize("name, pars", [("MKExpJR2_DJR", "jr"), ("MKExpJS_DJS", "js"), ("MKJS_DJS", "js")])
def test_kernels_weigh_both_alike(name, pars):
    """Or they would not be symmetric."""
    y1, y2 = first_samples(name)
    co = co_factory(name, **{f"{pars}_co_pars": {"w": [0.3, 0.7]}})
    assert co.estimation(y1, y2) == pytest.approx(ORACLES[name](y1, y2), rel=1e-9)


@pytest.mark.parametrize("name", ["MASpearmanLT", "MASpearmanUT"])
def test_tail_follows_the_number_of_samples(name):
    theirs, samples = {"p": 0.9}, first_samples(name)
    co = co_factory(name, **{f"spearman_cond_{name[-2:].lower()}_co_pars": theirs})
    assert co.estimation(*samples) == co_factory(name).estimation(*samples) and theirs == {"p": 0.9}


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind[0] in "IA"])
def test_any_sequence_of_widths(name):
    y, ds = first_samples(name)
    co = seeded(name)
    found = {co.estimation(y, widths) for widths in (list(ds), tuple(ds), np.array(ds))}
    assert len(found) == 1
    if name in WITHOUT_WIDTHS:
        assert found == {co.estimation(y), co.estimation(y, None), co.estimation(y, ds=None)}


@pytest.mark.parametrize("name", NAMES)
def test_whole_numbers_and_lists(name):
    """Samples are left unchanged."""
    samples = [np.trunc(1e6 * x).astype(int) if isinstance(x, np.ndarray) else x for x in first_samples(name)]
    copies = [x.copy() if isinstance(x, np.ndarray) else x for x in samples]
    co = seeded(name)
    found = co.estimation(*samples)
    for x, copy in zip(samples, copies, strict=True):
        np.testing.assert_array_equal(x, copy)
    assert found == co.estimation(*(x.astype(float) if isinstance(x, np.ndarray) else x for x in samples))
    assert found == co.estimation(*(x.tolist() if isinstance(x, np.ndarray) else x for x in samples))


@pytest.mark.parametrize("name", DRAWS + MIXES)
def test_randomness(name):
    samples, generator = first_samples(name), np.random.default_rng(3)
    by_int, by_generator = co_factory(name, rng=3), co_factory(name, rng=generator)
    first = by_int.estimation(*samples)
    assert first == by_int.estimation(*samples) == by_generator.estimation(*samples)  # the same bits
    if name in DRAWS:  # the order of a mixture's rows changes nothing but the last bits
        assert first != by_generator.estimation(*samples)
    before = np.random.get_state()[1].copy()
    co_factory(name).estimation(*samples)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


# A sample beside itself


def tsallis_of_two(h, a=0.99):
    return (2 ** (1 - a) - 1) / (1 - a) - (1 - 2 ** (1 - a)) * h


OF_ITSELF = {
    "BCCE_KnnK": lambda y: h_shannon(y),
    "BKExpected": lambda y: gram(RBF, y, y).mean(),
    "BKProbProd_KnnK": lambda y: i_alpha(y, 4, 4),  # the mean of p^3 takes four neighbours
    "MKExpJR1_HR": lambda y: exp(-h_renyi(y)),
    "MKExpJT1_HT": lambda y: exp(-h_tsallis(y)),
    "MKJS_DJS": lambda y: log(2),
    "MKJT_HT": lambda y: tsallis_of_two(h_tsallis(y)),
    **dict.fromkeys(("MKExpJR2_DJR", "MKExpJS_DJS", "MKExpJT2_DJT"), lambda y: 1),
}


@pytest.mark.parametrize("name", [name for name in NAMES if name[1] in "DCK"])
def test_a_sample_beside_itself(name):
    """A divergence is 0, a cross-entropy the entropy, a kernel what its formula leaves of one distribution."""
    y = sample(1, 40, 2)
    expected = OF_ITSELF[name](y) if name in OF_ITSELF else 0
    for copy in (y, y.copy(), y.tolist()):
        assert seeded(name).estimation(y, copy) == pytest.approx(expected, rel=1e-9, abs=0)


@pytest.mark.parametrize("name", ON_DISTRIBUTIONS)
def test_gram_matrix(name):
    ys, co = [sample(seed, 30 + 2 * seed, 2) for seed in range(4)], seeded(name)
    found = co.gram_matrix(ys)
    np.testing.assert_array_equal(found, found.T)
    for i, j in itertools.combinations(range(4), 2):
        assert found[i, j] == pytest.approx(ORACLES[name](ys[i], ys[j]), rel=1e-9)
    assert np.diag(found) == pytest.approx([OF_ITSELF[name](y) for y in ys], rel=1e-9)


@pytest.mark.parametrize("name", ON_DISTRIBUTIONS)
def test_gram_matrices_are_positive_semidefinite(name):
    """Of true distributions, so of samples up to the entries' errors.

    Normals, of which two are nearly the same: with m samples the true matrix has a smallest eigenvalue near 0. Errors of
    independent entries with standard deviation s move eigenvalues by 2 s sqrt(m) at most; s is found from other samples.
    """
    m, n, co = 5, 400, seeded(name)
    places = np.array([[0, 0], [0, 0.05], [2, 0], [0, 3], [-2, -2]])
    if name == "BKProbProd_KnnK":
        co.k = 12  # which gives the mean of p^3 a finite variance
    grams = np.array(
        [co.gram_matrix(np.random.default_rng(seed).normal(size=(m, n, 2)) + places[:, None]) for seed in range(6)]
    )
    s = grams.std(axis=0, ddof=1).max()
    assert np.linalg.eigvalsh(grams)[:, 0].min() > -2 * s * sqrt(m)
    assert np.linalg.eigvalsh(grams.mean(axis=0))[0] > -2 * s * sqrt(m / 6)


def test_diagonals_against_closed_forms():
    """Standard normals in two columns: int p^2 = 1 / 4 pi, H = log 2 pi e, int p^a = (2 pi)^(1 - a) / a; n = 5,000."""
    y, a = np.random.default_rng(0).normal(size=(5000, 2)), 0.99
    tsallis = ((2 * math.pi) ** (1 - a) / a - 1) / (1 - a)
    for name, pars, expected in (
        ("BKProbProd_KnnK", {"rho": 1}, 1 / (4 * math.pi)),
        ("BCCE_KnnK", {}, log(2 * math.pi * math.e)),
        ("MKExpJT1_HT", {}, exp(-tsallis)),
        ("MKExpJT1_HT", {"u": 0.25}, exp(-tsallis / 4)),
        ("MKJT_HT", {}, tsallis_of_two(tsallis)),
        ("MKJS_DJS", {}, log(2)),
    ):
        assert co_factory(name, **pars).estimation(y, y) == pytest.approx(expected, rel=0.05), name


# Kernel


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name):
    par = {"name": name, **KERNELS[name][0]}
    copy, (y1, y2) = dict(par), DATA["D"][0]
    kernel = Kernel(par)
    assert par == copy and {key: getattr(kernel, key) for key in KERNELS[name][0]} == KERNELS[name][0]
    np.testing.assert_allclose(kernel.gram_matrix1(y1), gram(par, y1, y1), rtol=1e-9)
    np.testing.assert_allclose(kernel.gram_matrix2(y1, y2), gram(par, y1, y2), rtol=1e-9)
    np.testing.assert_allclose(kernel.gram_matrix_diagonal(y1), np.diag(gram(par, y1, y1)), rtol=1e-9)
    assert kernel.sum(y1, y2[:40]) == pytest.approx(np.trace(gram(par, y1, y2[:40])), rel=1e-9)
    assert name in str(kernel)


def test_kernel_by_default():
    y1, y2 = DATA["D"][0]
    np.testing.assert_allclose(Kernel().gram_matrix2(y1, y2), gram(RBF, y1, y2), rtol=1e-9)
    np.testing.assert_array_equal(Kernel().gram_matrix2(y1, y2), Kernel(None).gram_matrix2(y1, y2))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("tol", [5.0, 0.1, 1e-6])
def test_incomplete_cholesky(name, tol):
    """As few columns as the worst-first rule needs."""
    par, y = {"name": name, **KERNELS[name][0]}, sample(0, 40, 2)
    K, L = gram(par, y, y), Kernel(par).ichol(y, tol)
    left, fewest = K - L @ L.T, factor(K, tol)
    assert np.trace(left) <= tol + 1e-12 * np.trace(K) and np.linalg.eigvalsh(left)[0] > -1e-12 * np.trace(K)
    assert L.shape == fewest.shape
    np.testing.assert_allclose(L @ L.T, fewest @ fewest.T, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "par, message",
    [
        ({"name": "rbf", "sigma": 1}, "'rbf'"),
        ({"name": "RBF"}, "sigma"),
        ({"name": "RBF", "sigma": 0}, "found 0"),
        ({"name": "RBF", "sigma": np.nan}, "found nan"),
        ({"name": "RBF", "sigma": 1, "c": 3}, "'?c'?"),
        ({"sigma": 1}, "name"),
        ({"name": "student", "d": 3}, "d: found 3, expected at most 2: beyond, the kernel is not positive semidefinite"),
        ({"name": "polynomial", "c": -0.5, "exponent": 2}, r"c: found -0\.5, expected a number from 0"),
        ({"name": "polynomial", "c": np.nan, "exponent": 2}, "c: found nan"),
        ({"name": "polynomial", "c": 1, "exponent": 2.5}, r"exponent: found 2\.5, expected a whole number"),
        ({"name": "polynomial", "c": 1, "exponent": -1}, "exponent: found -1"),
    ],
)
def test_bad_kernel(par, message):
    with pytest.raises(ValueError, match=message):
        Kernel(par)


@pytest.mark.parametrize("par", [{"name": name, **pars} for name, (pars, _) in KERNELS.items()] + [{"name": "student", "d": 2}])
def test_kernels_are_positive_semidefinite(par):
    """On a grid, where 1 / (1 + r^3) has an eigenvalue of -0.7."""
    grid = np.stack(np.meshgrid(*[np.arange(9) / 4] * 2), axis=-1).reshape(-1, 2)
    eigenvalues = np.linalg.eigvalsh(Kernel(par).gram_matrix1(grid))
    assert eigenvalues[0] > -1e-12 * eigenvalues[-1]


def test_kernel_of_unpaired_rows():
    with pytest.raises(ValueError, match=r"40.*50|50.*40"):
        Kernel().sum(*DATA["D"][0])


# Bad input


def fails(name, message, *samples, **pars):
    with pytest.raises(ValueError, match=message):
        co_factory(name, **pars).estimation(*samples)


def with_value(value, count):
    def breaks(y):
        y = y.copy()
        y.flat[:count] = value
        return y

    return breaks


BREAKS = {
    "one axis": (lambda y: y[:, 0], "found float64 of shape ({n},)"),
    "three axes": (lambda y: y[None], "found float64 of shape (1, {n}, {d})"),
    "objects": (lambda y: y.astype(object), "found object"),
    "text": (lambda y: y.astype(str), "found <U32"),
    "complex": (lambda y: y.astype(complex), "found complex128"),
    "NaN": (with_value(np.nan, 3), "found NaN or infinity in 3 of {size} elements"),
    "infinity": (with_value(-np.inf, 2), "found NaN or infinity in 2 of {size} elements"),
    "masked": (lambda y: np.ma.masked_array(y, np.arange(y.size).reshape(y.shape) < 3), "found 3 masked of {size} elements"),
    "huge": (with_value(1.79e308, 2), "column 0 has the largest number, 1.79e+308, expected 1e-150 to 1e150"),
    "tiny": (lambda y: 1e-170 * y, "e-170, expected 1e-150 to 1e150"),
    "no rows": (lambda y: y[:0], "of shape (0, {d})"),
    "no columns": (lambda y: y[:, :0], "of shape ({n}, 0)"),
}


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("name", NAMES)
def test_bad_samples(name, broken):
    samples, (breaks, message) = first_samples(name), BREAKS[broken]
    for i, y in enumerate(samples):
        if isinstance(y, np.ndarray):
            expected = re.escape(message.format(n=len(y), d=y.shape[1], size=y.size))
            fails(name, expected, *samples[:i], breaks(y), *samples[i + 1 :])


@pytest.mark.parametrize("name", ON_DISTRIBUTIONS)
@pytest.mark.parametrize("broken", ["one axis", "objects", "NaN", "no rows"])
def test_bad_samples_in_a_gram_matrix(name, broken):
    breaks, message = BREAKS[broken]
    y = sample(0, 30, 2)
    with pytest.raises(ValueError, match=re.escape(message.format(n=30, d=2, size=60))):
        co_factory(name).gram_matrix([y, sample(1, 30, 2), breaks(y)])


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind[0] in "IA"])
def test_bad_widths(name):
    y, ds = first_samples(name)
    for wrong in ([*ds[:-1], ds[-1] + 1], [*ds, 1], [*ds, 0], [sum(ds) + 1, -1, *[1] * (len(ds) - 2)], ds[:-1], [sum(ds)], []):
        fails(name, r"ds: found ", y, wrong)
    half = [0.5, ds[0] + ds[1] - 0.5, *ds[2:]]
    fails(name, r"ds: found .*0\.5", y, half)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind in ("I, single columns", "A")])
def test_blocks_of_one_column(name):
    fails(name, r"ds: found [\[(]2, 1[\])]", sample(0, 40, 3), [2, 1])
    if name in WITHOUT_WIDTHS:
        fails(name, r"ds: found [\[(]1|of shape \(40, 1\)", sample(0, 40, 1))


@pytest.mark.parametrize("name", ["BIDistCov", "BIDistCorr", "MIDistCov_HSIC", "BI3WayJoint", "BI3WayLancaster"])
def test_number_of_blocks(name):
    for ds in ([1, 1], [1, 1, 1], [1, 1, 1, 1]):
        if len(ds) != (3 if "3Way" in name else 2):
            fails(name, f"ds: found {len(ds)} blocks", sample(0, 40, len(ds)), ds)


def test_blocks_of_a_conditional():
    fails("BcondIShannon_HShannon", "ds: found 2 blocks", sample(0, 40, 3), [1, 2])
    for dim1 in (0, 3, 4, -1, 1.5):
        fails("BcondHShannon_HShannon", f"dim1: found {dim1}", sample(0, 40, 3), dim1)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind == "H, one column"])
def test_one_column(name):
    fails(name, r"of shape \(40, 2\)|2 columns", sample(0, 40, 2))


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind[0] == "D"])
def test_unequal_dimensions(name):
    fails(name, "2.*3|3.*2", sample(0, 40, 2), sample(1, 40, 3))


@pytest.mark.parametrize("name", ["BHShannon_MaxEnt1", "BHShannon_MaxEnt2", "MHShannon_DKLU", "MHShannon_DKLN"])
def test_constant_columns(name):
    y = np.full((40, 1), 0.1)
    fails(name, "constant|singular", y)
    if name.startswith("M"):
        fails(name, "constant|singular", np.hstack([sample(0, 40, 1), y]))


def test_constant_blocks():
    y = sample(0, 40, 3)
    y[:, 1:] = 0.1, 0.7
    fails("BIDistCorr", "constant", y, [1, 2])
    fails("BIDistCorr", "constant", y[:, ::-1], [2, 1])
    y[:, 1] = sample(1, 40, 1)[:, 0]
    assert math.isfinite(co_factory("BIDistCorr").estimation(y, [1, 2]))


def with_k(name, k):
    """Parameters that give k to the class or to its component."""
    own = PARAMETERS[name]
    if "k" in own:
        return {"k": [k] if own["k"] is None else k}
    inner = {key: with_k(own[key[:-4] + "name"], k) for key in own if key.endswith("_co_pars")}
    return {key: value for key, value in inner.items() if value}


NEIGHBOURS = [name for name in NAMES if with_k(name, 3)]


# A density is continuous, so that equal samples deny what these assume, even where the sum remains finite.
WITHIN_THE_FIRST = [name for name in NEIGHBOURS if name[1] in "HDK" and name != "BHRenyi_KnnS"]  # whose smallest k is one
FROM_FIRST_TO_SECOND = [
    "BDKL_KnnK", "MDJDist_DKL", "BCCE_KnnK", "MDKL_HSCE", "BDBhattacharyya_KnnK", "BDHellinger_KnnK", "BDL2_KnnK",
    "BDChi2_KnnK", "MDf_DChi2", "BDRenyi_KnnK", "BDTsallis_KnnK", "BDSharmaMittal_KnnK", "BDBregman_KnnK",
    "BDSymBregman_KnnK", "MDSymBregman_DB", "BKProbProd_KnnK",
]  # fmt: skip


@pytest.mark.parametrize("name", WITHIN_THE_FIRST)
def test_equal_rows(name):
    """Four equal rows have three neighbours at distance zero, three have two."""
    rows, others = sample(0, 40, 2), () if name[1] == "H" else (sample(1, 40, 2),)
    rows[1:3] = rows[0]
    assert math.isfinite(co_factory(name).estimation(rows, *others))
    rows[3] = rows[0]
    fails(name, "4 of [248]0 ", rows, *others)


@pytest.mark.parametrize("name", FROM_FIRST_TO_SECOND)
def test_rows_of_both_samples(name):
    y1, y2 = sample(0, 40, 2), sample(1, 40, 2)
    y2[:2] = y1[0]
    assert math.isfinite(co_factory(name).estimation(y1, y2))
    y2[2] = y1[0]
    fails(name, "1 of 40 ", y1, y2)


def test_equal_values():
    """m = 6 of 40: y_(i + 6) = y_(i - 6) once among thirteen equal values, y_(i + 6) = y_i seven times."""
    y = np.sort(sample(0, 40, 1), axis=0)
    y[10:22] = y[10]
    assert math.isfinite(co_factory("BHShannon_SpacingV").estimation(y))
    y[22] = y[10]
    fails("BHShannon_SpacingV", "1 of 40 ", y)
    fails("BHPhi_Spacing", "7 of 34 ", y)


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_more_neighbours_than_samples(name):
    samples = first_samples(name)
    fails(name, r"k: found \[?300", *samples, **with_k(name, 300))
    fails(name, r"k: found \[?0", *samples, **with_k(name, 0))
    fails(name, r"k: found \[?2\.5", *samples, **with_k(name, 2.5))


def test_as_many_neighbours_as_others():
    y = sample(0, 40, 2)
    for name in ("BHShannon_KnnK", "BHRenyi_KnnK", "BHTsallis_KnnK", "BHSharmaMittal_KnnK"):
        assert co_factory(name, k=39).estimation(y) == pytest.approx(ORACLES[name](y, k=39), rel=1e-9)
        fails(name, "k: found 40", y, k=40)
    fails("BHRenyi_KnnS", "k: found .*40", y, k=[1, 40])
    for name in ("BDKL_KnnK", "BDRenyi_KnnK", "BDL2_KnnK", "BDBregman_KnnK"):
        fails(name, "k: found 40", y, sample(1, 50, 2), k=40)
        fails(name, "k: found 41", sample(1, 50, 2), y, k=41)
    assert co_factory("BCCE_KnnK", k=40).estimation(y[:5], y) == pytest.approx(cross_entropy(y[:5], y, k=40), rel=1e-9)
    fails("BCCE_KnnK", "k: found 41", y[:5], y, k=41)


@pytest.mark.parametrize(
    "name, k, pars",
    [
        ("BHRenyi_KnnK", 1, {"alpha": 2}),
        ("BHRenyi_KnnS", [1, 2], {"alpha": 2.5}),
        ("BHTsallis_KnnK", 2, {"alpha": 3.5}),
        ("BDRenyi_KnnK", 1, {"alpha": 2}),
        ("BDChi2_KnnK", 2, {"pxdx": False}),
        ("BDL2_KnnK", 2, {}),
        ("BKProbProd_KnnK", 2, {}),
        ("BKProbProd_KnnK", 3, {"rho": 3.5}),
    ],
)
def test_more_power_than_neighbours(name, k, pars):
    """The mean of a density's estimate to the power of k or more is infinite: gamma functions in the formulas have poles."""
    fails(name, r"k: found", *DATA[KINDS[name]][0], k=k, **pars)


WITH_ALPHA = [name for name in NAMES if "alpha" in PARAMETERS[name] and not name.startswith("BIDist")]


@pytest.mark.parametrize("name", WITH_ALPHA)
def test_alpha_of_one(name):
    fails(name, "alpha: found 1", *first_samples(name), alpha=1)
    fails(name, "alpha: found nan", *first_samples(name), alpha=np.nan)


@pytest.mark.parametrize(
    "name, key, wrong",
    [
        *itertools.product(["BIDistCov", "BIDistCorr"], ["alpha"], [0, 2, -0.5, 2.5]),
        ("MKJT_HT", "alpha", 0),
        ("MKJT_HT", "alpha", 2.1),
        ("BHSharmaMittal_KnnK", "beta", 1),
        ("BDSharmaMittal_KnnK", "beta", 1),
        *itertools.product([name for name in NAMES if "u" in PARAMETERS[name]], ["u"], [0, -1]),
        *itertools.product(["BI3WayJoint", "BI3WayLancaster"], ["sigma1", "sigma2", "sigma3"], [0, -1]),
        *itertools.product(["BASpearmanCondLT", "BASpearmanCondUT"], ["p"], [0, -0.1, 1.1]),
        *itertools.product([name for name in NAMES if "eta" in PARAMETERS[name]], ["eta"], [-1]),
        *itertools.product(["BIKGV", "BIKCCA"], ["kappa"], [0, -1]),
    ],
)
def test_bad_parameters(name, key, wrong):
    fails(name, rf"{key.rstrip('123')}\d?: found {wrong!r}", *first_samples(name), **{key: wrong})


def test_unknown_search():
    for name in (name for name in NAMES if "knn_method" in PARAMETERS[name]):
        fails(name, "knn_method: found 'tree'", *first_samples(name), knn_method="tree")


@pytest.mark.parametrize("name", ["MDJR_HR", "MDJS_HS"])
@pytest.mark.parametrize("w", [[0.5, 0.6], [0.3, 0.3], [0, 1], [1.5, -0.5], [1], [0.2, 0.3, 0.5], [np.nan, 0.5], 0.5])
def test_bad_weights(name, w):
    fails(name, "w: found", *first_samples(name), w=w)


@pytest.mark.parametrize("name", ["MDJR_HR", "MDJS_HS"])
@pytest.mark.parametrize("first", [0.1, 0.15, 0.3, 0.35, 0.55, 0.7, 0.9])
def test_shares_of_a_mixture(name, first):
    """n / w * w is a little below n for some numbers, and no row is lost by that."""
    w = [first, round(1 - first, 6)]
    for n1, n2 in [(49, 56), (33, 60), (45, 41)]:
        y1, y2 = sample(1, n1, 1), sample(2, n2, 1)
        h = component("BHRenyi_KnnK" if name == "MDJR_HR" else "BHShannon_KnnK", NONE)
        expected = jensen(h, y1, y2, w)
        assert co_factory(name, w=w).estimation(y1, y2) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if any(key.endswith("_co_name") for key in PARAMETERS[name])])
def test_unknown_component(name):
    key = next(key for key in PARAMETERS[name] if key.endswith("_co_name"))
    fails(name, "found 'BDKL'", *first_samples(name), **{key: "BDKL"})


def test_numbers_of_samples():
    y = sample(0, 41, 2)
    fails("BDMMD_Online", "41", y, y[::-1])
    fails("BDMMD_Online", "40.*38|38.*40", y[:40], y[:38])
    fails("MDBlockMMD", "40.*41|41.*40", y[:40], y)
    for name in ("BDMMD_UStat", "BDMMD_UStat_IChol"):  # no pair
        fails(name, "one row|1 row", y[:1], y)
        fails(name, "one row|1 row", y, y[:1])
    fails("MIShannon_DKL", "k: found 3|found 7 rows", y[:7], [1, 1])  # halves of three


@pytest.mark.parametrize("name", ["BHShannon_SpacingV", "BHPhi_Spacing", "BHShannon_MaxEnt1", "BHShannon_MaxEnt2"])
def test_single_value(name):
    fails(name, "(one|1) (row|sample|of)|constant", np.ones((1, 1)))
