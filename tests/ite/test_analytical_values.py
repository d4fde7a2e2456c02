"""Closed forms against numerical integration, estimators against closed forms, and what estimators keep when samples move."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.special import gamma, gammaln, polygamma
from scipy.stats import differential_entropy, energy_distance, expon, multivariate_normal, spearmanr, uniform
from sklearn.gaussian_process.kernels import RBF, Matern, RationalQuadratic
from sklearn.metrics import pairwise

import ite.cost
from ite.cost import co_factory
from ite.cost import x_analytical_values as values
from ite.cost.x_kernel import Kernel

# Small samples, and powers of densities in the larger ones, rest on few terms: as intended here.
pytestmark = pytest.mark.filterwarnings("ignore::ite.cost.FewEffectiveSamples", "ignore::ite.cost.UnsupportedEstimate")


def value(name, *args):
    return getattr(values, f"analytical_value_{name}")(*args)


# Closed forms against sums over midpoints of a grid: exact for boxes with edges on its lines, and for normal densities, which
# the rule integrates to rounding error once its step is below their width.

STEP = 0.1
AXIS = np.arange(-16, 16, STEP) + STEP / 2
GRID = {1: AXIS[:, None], 2: np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), axis=-1).reshape(-1, 2)}
NORMALS = {
    1: ({"mean": [0.3], "cov": [[0.8]]}, {"mean": [-0.4], "cov": [[1.5]]}),
    2: ({"mean": [0.3, -0.2], "cov": [[1.0, 0.4], [0.4, 0.7]]}, {"mean": [-0.5, 0.4], "cov": [[1.3, -0.3], [-0.3, 0.9]]}),
}
SPHERES = {
    1: ({"mean": [0.3], "std": 0.9}, {"mean": [-0.4], "std": 1.3}),
    2: ({"mean": [0.3, -0.2], "std": 0.9}, {"mean": [-0.5, 0.4], "std": 1.3}),
}
NESTED = {1: ({"a": [0.5], "b": [1.5]}, {"b": [2.0]}), 2: ({"a": [0.5, 0.2], "b": [1.5, 2.0]}, {"a": [2.0, 3.0]})}
CROSSING = {
    1: ({"a": [-0.5], "b": [1.5]}, {"b": [2.0]}),
    2: ({"a": [-0.5, 0.2], "b": [1.5, 2.0]}, {"a": [0.5, 0.5], "b": [2.0, 3.0]}),
}


def density(distr, par, x):
    """Of "normal" {mean, cov} or {mean, std} and "uniform" {a, b}, {a} or {b}, at x (m, d); (m,)."""
    d = x.shape[1]
    if distr == "uniform":
        low = par["a"] if "b" in par and "a" in par else np.zeros(d)
        high = par["b"] if "b" in par else par["a"]
        return ((x > low) & (x < high)).all(axis=1) / np.prod(np.subtract(high, low))
    cov = par["cov"] if "cov" in par else par["std"] ** 2 * np.eye(d)
    return multivariate_normal(par.get("mean", np.zeros(d)), cov).pdf(x)


def integral(integrand):
    """Sum over the grid that `integrand`, (m,), was computed on; where it is NaN, a density is zero."""
    d = {len(points): d for d, points in GRID.items()}[len(integrand)]
    return np.nansum(integrand) * STEP**d


def close(expected, rel=1e-9):
    return pytest.approx(expected, rel=rel, abs=1e-12)


one_and_two = pytest.mark.parametrize("d", [1, 2])


@one_and_two
@pytest.mark.parametrize("distr, pars", [("normal", NORMALS), ("uniform", NESTED), ("uniform", CROSSING)])
def test_entropies(distr, pars, d):
    for par in pars[d]:
        p = density(distr, par, GRID[d])
        with np.errstate(divide="ignore", invalid="ignore"):
            assert value("h_shannon", distr, par) == close(-integral(p * np.log(p)))
        for alpha in (0.6, 0.99, 2.0, 3.5):
            power = integral(p**alpha)
            assert value("h_renyi", distr, alpha, par) == close(np.log(power) / (1 - alpha), rel=1e-8)
            assert value("h_tsallis", distr, alpha, par) == close((1 - power) / (alpha - 1), rel=1e-8)
            for beta in (0.5, 1.4):
                expected = (power ** ((1 - beta) / (1 - alpha)) - 1) / (1 - beta)
                assert value("h_sharma_mittal", distr, alpha, beta, par) == close(expected, rel=1e-8)
        if distr == "uniform":
            for c in (0.5, 1, 2, 3):
                assert value("h_phi", distr, par, c) == close(integral(p * p**c))


def test_entropies_of_a_stretched_box():
    """The image's volume, as the share of points in a larger box whose originals lie in the box; by hand where it is a box."""
    box, stretch = {"a": [-0.5, 0.2], "b": [1.5, 2.0]}, np.array([[1.5, 0.4], [-0.7, 0.9]])
    points = np.random.default_rng(0).uniform(-4, 4, size=(200_000, 2))
    inside = density("uniform", box, points @ np.linalg.inv(stretch).T) > 0
    found, tolerance = inside.mean() * 64, 5 * inside.std() * 64 / np.sqrt(len(points))
    assert np.exp(value("h_shannon", "uniform", {**box, "l": stretch})) == pytest.approx(found, abs=tolerance)
    for name, args in (("h_shannon", ()), ("h_renyi", (0.6,)), ("h_tsallis", (2.0,))):
        doubled = value(name, "uniform", *args, {"a": [-1.0, 0.6], "b": [3.0, 6.0]})
        assert value(name, "uniform", *args, {**box, "l": [[2, 0], [0, -3]]}) == close(doubled)
        assert value(name, "uniform", *args, {**box, "l": [[0.6, -0.8], [0.8, 0.6]]}) == close(
            value(name, "uniform", *args, box)
        )


def test_conditional_entropy_and_information():
    cov = np.array([[1.0, 0.4], [0.4, 0.7]])
    p, p1, p2 = (density("normal", {"cov": c}, x) for c, x in ((cov, GRID[2]), (1.0, GRID[2][:, :1]), (0.7, GRID[2][:, 1:])))
    assert value("cond_h_shannon", "normal", {"cov": cov, "dim1": 1}) == close(-integral(p * np.log(p / p2)))
    assert value("i_shannon", "normal", {"cov": cov, "ds": [1, 1]}) == close(integral(p * np.log(p / (p1 * p2))))
    for alpha in (0.6, 0.99, 1.7):
        expected = np.log(integral(p**alpha * (p1 * p2) ** (1 - alpha))) / (alpha - 1)
        assert value("i_renyi", "normal", alpha, {"cov": cov}) == close(expected, rel=1e-8)


def test_information_of_wider_blocks():
    """Means of log-density ratios over a sample, within five standard errors."""
    rng = np.random.default_rng(0)
    mix = rng.uniform(size=(5, 5)) + np.eye(5)
    cov = mix @ mix.T
    y = rng.normal(size=(100_000, 5)) @ mix.T

    def log_p(columns):
        return multivariate_normal(cov=cov[np.ix_(columns, columns)]).logpdf(y[:, columns])

    joint, z = log_p([0, 1, 2, 3, 4]), log_p([3, 4])
    cases = {
        ("cond_h_shannon", "dim1", 3): z - joint,
        ("i_shannon", "ds", (2, 1, 2)): joint - log_p([0, 1]) - log_p([2]) - z,
        ("cond_i_shannon", "ds", (1, 2, 2)): joint + z - log_p([0, 3, 4]) - log_p([1, 2, 3, 4]),
        ("cond_i_shannon", "ds", (1, 1, 1, 2)): joint + 2 * z - sum(log_p([m, 3, 4]) for m in range(3)),
    }
    for (name, key, blocks), terms in cases.items():
        tolerance = 5 * terms.std() / np.sqrt(len(terms))
        assert value(name, "normal", {"cov": cov, key: blocks}) == pytest.approx(terms.mean(), abs=tolerance)
    ratio = 0.8 * (log_p([0, 1]) + log_p([2]) + z - joint)  # (q / p)^(1 - alpha), alpha = 0.2
    tolerance = 5 * np.exp(ratio).std() / np.sqrt(len(y)) / np.exp(ratio).mean() / 0.8
    found = value("i_renyi", "normal", 0.2, {"cov": cov, "ds": (2, 1, 2)})
    assert found == pytest.approx(np.log(np.exp(ratio).mean()) / -0.8, abs=tolerance)


def test_conditional_information_is_that_of_the_partial_correlation():
    cov = np.array([[1.0, 0.5, 0.3], [0.5, 2.0, -0.4], [0.3, -0.4, 1.5]])
    precision = np.linalg.inv(cov)
    partial = precision[0, 1] ** 2 / (precision[0, 0] * precision[1, 1])
    assert value("cond_i_shannon", "normal", {"cov": cov, "ds": [1, 1, 1]}) == close(-np.log(1 - partial) / 2)


@one_and_two
@pytest.mark.parametrize("swap", [False, True])
def test_divergences_of_normals(d, swap):
    pars = NORMALS[d][::-1] if swap else NORMALS[d]
    p, q = (density("normal", par, GRID[d]) for par in pars)
    both = ("normal", "normal")
    assert value("c_cross_entropy", *both, *pars) == close(-integral(p * np.log(q)))
    assert value("d_kullback_leibler", *both, *pars) == close(integral(p * np.log(p / q)))
    assert value("d_hellinger", *both, *pars) == close(np.sqrt(1 - integral(np.sqrt(p * q))))
    for rho in (0.5, 1, 2, 3.5):
        assert value("k_prob_product", *both, rho, *pars) == close(integral(p**rho * q**rho))
    for alpha in (0.3, 0.99, 1.3):
        mixed = integral(p**alpha * q ** (1 - alpha))
        assert value("d_renyi", *both, alpha, *pars) == close(np.log(mixed) / (alpha - 1), rel=1e-8)
        assert value("d_tsallis", *both, alpha, *pars) == close((mixed - 1) / (alpha - 1), rel=1e-8)
        for beta in (0.5, 1.4):
            expected = (mixed ** ((1 - beta) / (1 - alpha)) - 1) / (beta - 1)
            assert value("d_sharma_mittal", *both, alpha, beta, *pars) == close(expected, rel=1e-8)
    unit = [{"mean": par["mean"], "cov": np.eye(d)} for par in pars]
    p, q = (density("normal", par, GRID[d]) for par in unit)
    assert value("d_chi_square", "normalI", "normalI", *pars) == close(integral(p**2 / q) - 1)


@one_and_two
@pytest.mark.parametrize("pars", [NESTED, CROSSING])
def test_divergences_of_boxes(pars, d):
    p, q = (density("uniform", par, GRID[d]) for par in pars[d])
    both = ("uniform", "uniform")
    assert value("d_l2", *both, *pars[d]) == close(np.sqrt(integral((p - q) ** 2)))
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN where both densities are zero
        for alpha in (0.6, 0.99, 2.5) if pars is NESTED else (1.5, 2.5):
            expected = integral(q**alpha + p**alpha / (alpha - 1) - alpha / (alpha - 1) * p * q ** (alpha - 1))
            assert value("d_bregman", *both, alpha, *pars[d]) == close(expected)
        if pars is NESTED:
            assert value("d_chi_square", *both, *pars[d]) == close(integral(p**2 / q) - 1)


def test_boxes_that_do_not_meet():
    apart = ({"b": [1.0, 1.0]}, {"a": [2.0, 0.0], "b": [3.0, 2.0]})
    assert value("d_l2", "uniform", "uniform", *apart) == close(np.sqrt(1.5))
    assert value("d_bregman", "uniform", "uniform", 2, *apart) == close(1.5)


@one_and_two
def test_mixtures(d):
    pars, both, u = SPHERES[d], ("normal", "normal"), 0.7
    p, q = (density("normal", par, GRID[d]) for par in pars)
    squares = [integral(f**2) for f in (p, q)]
    for w in ((0.5, 0.5), (0.2, 0.8)):
        expected = -np.log(integral((w[0] * p + w[1] * q) ** 2)) + np.dot(w, np.log(squares))
        assert value("d_jensen_renyi", *both, w, *pars) == close(expected)
    mixed = integral((p + q) ** 2) / 4
    assert value("k_ejr1", *both, u, *pars) == close(mixed**u)
    assert value("k_ejr2", *both, u, *pars) == close((mixed / np.sqrt(squares[0] * squares[1])) ** u)
    assert value("k_ejt1", *both, u, *pars) == close(np.exp(-u * (1 - mixed)))
    assert value("k_ejt2", *both, u, *pars) == close(np.exp(-u * ((1 - mixed) - (1 - squares[0]) / 2 - (1 - squares[1]) / 2)))


KERNELS = [
    Kernel({"name": "RBF", "sigma": 0.8}),
    Kernel({"name": "polynomial", "exponent": 2, "c": 1}),
    Kernel({"name": "polynomial", "exponent": 3, "c": 1}),
]


@one_and_two
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_expected_kernels(kernel, d):
    """p' K q over a coarser grid: 60 points an axis, a step of 0.3 where the narrowest density has a width of 0.6."""
    axis = np.arange(-9, 9, 0.3) + 0.15
    x = np.stack(np.meshgrid(*[axis] * d, indexing="ij"), axis=-1).reshape(-1, d)
    p, q = (density("normal", par, x) * 0.3**d for par in NORMALS[d])
    gram = np.exp(-(cdist(x, x) ** 2) / (2 * 0.8**2)) if kernel.name == "RBF" else (x @ x.T + 1) ** kernel.exponent
    both, pars = ("normal", "normal"), NORMALS[d]
    assert value("k_expected", *both, kernel, *pars) == close(p @ gram @ q)
    assert value("k_expected", *both, kernel, *pars[::-1]) == close(p @ gram @ q)
    assert value("d_mmd", *both, kernel, *pars) == close(np.sqrt((p - q) @ gram @ (p - q)), rel=1e-7)


# Closed forms by hand


@pytest.mark.parametrize("d", [1, 3])
def test_equal_distributions(d):
    rng = np.random.default_rng(d)
    mix, mean = rng.uniform(size=(d, d)) + np.eye(d), rng.normal(size=d)
    normal, sphere, box = {"mean": mean, "cov": mix @ mix.T}, {"mean": mean, "std": 0.7}, {"a": mean - 1, "b": mean + 0.5}
    divergences = [value("d_kullback_leibler", "normal", "normal", normal, normal)]
    divergences += [value(f"d_{name}", "normal", "normal", 0.6, normal, normal) for name in ("renyi", "tsallis")]
    divergences += [value("d_sharma_mittal", "normal", "normal", 0.6, 0.8, normal, normal)]
    divergences += [value("d_mmd", "normal", "normal", kernel, normal, normal) for kernel in KERNELS]
    divergences += [value("d_jensen_renyi", "normal", "normal", (0.3, 0.7), sphere, sphere)]
    divergences += [
        value("d_chi_square", "uniform", "uniform", box, box),
        value("d_chi_square", "normalI", "normalI", normal, normal),
    ]
    divergences += [value("d_l2", "uniform", "uniform", box, box), value("d_bregman", "uniform", "uniform", 0.6, box, box)]
    assert divergences == pytest.approx(np.zeros(len(divergences)), abs=1e-13)
    assert value("d_hellinger", "normal", "normal", normal, normal) == pytest.approx(0, abs=1e-7)  # the root of rounding
    assert [value(f"k_{name}", "normal", "normal", 2.0, sphere, sphere) for name in ("ejr2", "ejt2")] == pytest.approx([1, 1])


def test_isotropic_normals():
    """N(m, I) and N(n, I) with |m - n|^2 = 5."""
    p, q = {"mean": [1, 2], "cov": np.eye(2)}, {"mean": [0, 0], "cov": np.eye(2)}
    both = ("normal", "normal")
    assert value("d_kullback_leibler", *both, p, q) == close(2.5)
    assert value("c_cross_entropy", *both, p, q) == close(2.5 + np.log(2 * np.pi * np.e))
    assert value("d_renyi", *both, 1.7, p, q) == close(1.7 * 2.5)
    assert value("d_hellinger", *both, p, q) == close(np.sqrt(1 - np.exp(-5 / 8)))
    assert value("d_chi_square", "normalI", "normalI", p, q) == close(np.exp(5) - 1)
    assert value("k_prob_product", *both, 1, p, q) == close(np.exp(-5 / 4) / (4 * np.pi))
    assert value("k_expected", *both, KERNELS[0], p, q) == close(0.64 / 2.64 * np.exp(-5 / (2 * 2.64)))
    assert value("h_shannon", "normal", {"cov": 1}) == close(np.log(2 * np.pi * np.e) / 2)  # a number will do
    assert value("h_shannon", "uniform", {"b": 3}) == close(np.log(3))


def test_limits():
    """alpha -> 1 is Shannon's; beta -> alpha is Tsallis', beta -> 1 is Renyi's."""
    (p, q), both = NORMALS[2], ("normal", "normal")
    for alpha in (1 - 1e-6, 1 + 1e-6):
        assert value("h_renyi", "normal", alpha, p) == pytest.approx(value("h_shannon", "normal", p), abs=1e-5)
        assert value("d_renyi", *both, alpha, p, q) == pytest.approx(value("d_kullback_leibler", *both, p, q), abs=1e-5)
    assert value("h_sharma_mittal", "normal", 0.6, 0.6, p) == close(value("h_tsallis", "normal", 0.6, p))
    assert value("d_sharma_mittal", *both, 0.6, 0.6, p, q) == close(value("d_tsallis", *both, 0.6, p, q))
    assert value("h_sharma_mittal", "normal", 0.6, 1 - 1e-7, p) == pytest.approx(value("h_renyi", "normal", 0.6, p), rel=1e-5)
    assert value("d_sharma_mittal", *both, 0.6, 1 - 1e-7, p, q) == pytest.approx(value("d_renyi", *both, 0.6, p, q), rel=1e-5)


def test_a_thousand_dimensions():
    """Independent coordinates: what is additive is d times its value in one dimension, though determinants are 1e+-900."""
    d, both = 1000, ("normal", "normal")
    for variance in (0.125, 8.0):
        p, p1 = ({"mean": np.zeros(n), "cov": variance * np.eye(n)} for n in (d, 1))
        q, q1 = ({"mean": np.full(n, 0.1), "cov": 1.2 * variance * np.eye(n)} for n in (d, 1))
        assert value("h_shannon", "normal", p) == close(d * value("h_shannon", "normal", p1))
        assert value("h_renyi", "normal", 0.9, p) == close(d * value("h_renyi", "normal", 0.9, p1))
        assert value("d_kullback_leibler", *both, p, q) == close(d * value("d_kullback_leibler", *both, p1, q1), rel=1e-8)
        assert value("d_renyi", *both, 0.9, p, q) == close(d * value("d_renyi", *both, 0.9, p1, q1), rel=1e-8)
        box = {"b": np.full(d, variance)}
        assert value("h_shannon", "uniform", box) == close(d * np.log(variance))
        assert value("d_chi_square", "uniform", "uniform", box, {"b": 1.1 * box["b"]}) == close(1.1**d - 1)
    small, larger = {"b": np.full(d, 0.25)}, {"b": np.r_[0.5, np.full(d - 1, 0.25)]}  # volumes 4^-1000 and 2 * 4^-1000
    assert value("d_l2", "uniform", "uniform", small, larger) == close(2.0**1000 / np.sqrt(2))
    pair = np.kron(np.eye(d // 2), [[1, 0.6], [0.6, 1]])
    assert value("i_shannon", "normal", {"cov": pair, "ds": np.ones(d, int)}) == close(-d / 4 * np.log(0.64))


# Closed forms that are refused

GOOD, BOX, BALL = {"mean": [0, 0], "cov": np.eye(2)}, {"a": [0, 0], "b": [1, 1]}, {"mean": [0, 0], "std": 1}


@pytest.mark.parametrize(
    "name, args, message",
    [
        ("h_shannon", ("cauchy", GOOD), "distr: found 'cauchy', expected uniform or normal"),
        ("h_phi", ("normal", GOOD, 2), "distr: found 'normal', expected uniform"),
        ("i_shannon", ("uniform", BOX), "distr: found 'uniform', expected normal"),
        ("d_renyi", ("normal", "uniform", 0.5, GOOD, BOX), "distr: found 'normal', 'uniform', expected normal for both"),
        ("d_chi_square", ("uniform", "normalI", BOX, GOOD), "expected uniform or normalI for both"),
        ("h_shannon", ("normal", {"mean": [0]}), r"par: found the keys \['mean'\], expected 'cov' among them"),
        ("h_shannon", ("uniform", {}), r"par: found the keys \[\], expected 'a' among them"),
        ("d_renyi", ("normal", "normal", 0.5, GOOD, {"cov": np.eye(2)}), "expected 'mean' among them"),
        ("k_ejr1", ("normal", "normal", 1, BALL, GOOD), "expected 'std' among them"),
        ("h_shannon", ("normal", {"cov": [[1, np.nan], [np.nan, 1]]}), "expected finite numbers on 2 axes"),
        ("h_shannon", ("normal", {"cov": np.ones((2, 2, 2))}), "expected finite numbers on 2 axes"),
        ("h_shannon", ("normal", {"cov": np.ones((2, 3))}), r"cov: found shape \(2, 3\), expected a symmetric matrix"),
        ("h_shannon", ("normal", {"cov": [[1, 0.5], [0.4, 1]]}), "expected a symmetric matrix"),
        (
            "h_shannon",
            ("normal", {"cov": [[1, 2], [2, 1]]}),
            "cov: found the eigenvalue -1, expected a positive definite matrix",
        ),
        ("h_renyi", ("normal", 0.5, {"cov": -1}), "cov: found the eigenvalue -1"),
        ("h_shannon", ("uniform", {"a": [0, 1], "b": [1, 1]}), "box: found the corners"),
        ("h_shannon", ("uniform", {"a": [0], "b": [1, 1]}), "box: found the corners"),
        ("h_shannon", ("uniform", {**BOX, "l": np.eye(3)}), r"l: found shape \(3, 3\), expected an invertible matrix \(2, 2\)"),
        ("h_shannon", ("uniform", {**BOX, "l": [[1, 0], [0, 0]]}), "expected an invertible matrix"),
        ("h_renyi", ("normal", 1, GOOD), "alpha: found 1"),
        ("h_renyi", ("uniform", 1, BOX), "alpha: found 1"),
        ("h_tsallis", ("normal", -0.5, GOOD), "alpha: found -0.5"),
        ("h_sharma_mittal", ("normal", 0.5, 1, GOOD), "beta: found 1"),
        ("d_bregman", ("uniform", "uniform", 1, BOX, BOX), "alpha: found 1"),
        ("d_sharma_mittal", ("normal", "normal", 0.5, 1, GOOD, GOOD), "beta: found 1"),
        ("cond_h_shannon", ("normal", {**GOOD, "dim1": 2}), "dim1: found 2, expected an integer from 1 to 1"),
        ("cond_h_shannon", ("normal", {**GOOD, "dim1": 0.5}), "dim1: found 0.5"),
        ("i_shannon", ("normal", {**GOOD, "ds": [1, 2]}), r"ds: found .* expected positive integers that sum to 2"),
        ("i_shannon", ("normal", {**GOOD, "ds": [0.5, 1.5]}), "ds: found"),
        ("cond_i_shannon", ("normal", {**GOOD, "ds": [1, 1]}), "ds: found 2 blocks, expected three or more"),
        ("d_renyi", ("normal", "normal", 0.5, GOOD, {"mean": [0], "cov": 1}), "expected one dimension"),
        (
            "d_renyi",
            ("normal", "normal", 3, {"mean": 0, "cov": 4}, {"mean": 0, "cov": 1}),
            "integral of p.3 q.-2: .*eigenvalue -5",
        ),
        ("d_l2", ("uniform", "uniform", BOX, {"b": 1}), "boxes: found 2 and 1 dimensions"),
        ("d_chi_square", ("normalI", "normalI", GOOD, {"mean": 0}), "mean: found 2 and 1 dimensions"),
        ("d_chi_square", ("uniform", "uniform", {"a": [2, 1]}, {"a": [1, 2]}), "first box that is not inside the second"),
        ("d_bregman", ("uniform", "uniform", 0.5, {"a": [2, 1]}, BOX), "first box that is not inside the second"),
        (
            "d_jensen_renyi",
            ("normal", "normal", [0.5, 0.6], BALL, BALL),
            r"w: found \[0.5, 0.6\], expected two positive weights",
        ),
        ("d_jensen_renyi", ("normal", "normal", [1.5, -0.5], BALL, BALL), "w: found"),
        ("k_ejt1", ("normal", "normal", 0, BALL, BALL), "u: found 0, expected a positive number"),
        ("k_ejt2", ("normal", "normal", 1, BALL, {"mean": [0, 0], "std": -1}), "std: found -1"),
        ("k_prob_product", ("normal", "normal", -2, GOOD, GOOD), "rho: found -2"),
        ("k_expected", ("normal", "normal", Kernel({"name": "Cauchy", "sigma": 1}), GOOD, GOOD), "kernel: found Kernel"),
        ("d_mmd", ("normal", "normal", Kernel({"name": "polynomial", "exponent": 4, "c": 1}), GOOD, GOOD), "exponent 2 or 3"),
        ("d_mmd", ("normal", "normal", Kernel({"name": "polynomial", "exponent": 2, "c": 2}), GOOD, GOOD), "with c = 1"),
        ("d_mmd", ("normal", "normal", "RBF", GOOD, GOOD), "kernel: found RBF, expected RBF, or"),
    ],
)
def test_refusals(name, args, message):
    with pytest.raises(ValueError, match=message):
        value(name, *args)


def test_every_value_is_exported():
    names = [name for name in vars(values) if name.startswith("analytical_value_")]
    assert len(names) == 26 and set(names) <= set(ite.cost.__all__)


def test_values_are_floats():
    for name, args in {
        "h_shannon": ("uniform", BOX),
        "h_phi": ("uniform", BOX, 2),
        "h_tsallis": ("normal", 0.5, GOOD),
        "cond_h_shannon": ("normal", {**GOOD, "dim1": 1}),
        "i_shannon": ("normal", {**GOOD, "ds": [1, 1]}),
        "d_kullback_leibler": ("normal", "normal", GOOD, GOOD),
        "d_l2": ("uniform", "uniform", BOX, BOX),
        "d_mmd": ("normal", "normal", KERNELS[1], GOOD, GOOD),
        "k_ejt2": ("normal", "normal", 1, BALL, BALL),
    }.items():
        assert type(value(name, *args)) is float


# Estimators against closed forms, over n samples.
#
# Two things move an estimate. Which samples were drawn moves the integral as its derivative by the densities does, which are
# known here. And n p c rho^d is about a Gamma(k, 1) variable (tests/test_ite.py), whose logarithm varies by psi'(k), and whose
# powers do as its moments say. That neighbours share their noise is left out: over many seeds, errors are between as large and
# 1.3 times as large as the sum of both variances says. Four standard deviations are allowed; wherever the method has a bias, it
# is added by name.

N = 5000


def sample(distr, par, seed, n=N):
    """(n, d), of a distribution as `density` knows it."""
    rng = np.random.default_rng(seed)
    if distr == "uniform":
        high = np.array(par["b"] if "b" in par else par["a"], dtype=float)
        low = np.array(par["a"], dtype=float) if "a" in par and "b" in par else 0 * high
        return rng.uniform(low, high, size=(n, len(high)))
    d = len(par["mean"])
    cov = par["cov"] if "cov" in par else par["std"] ** 2 * np.eye(d)
    return rng.normal(size=(n, d)) @ np.linalg.cholesky(cov).T + par["mean"]


def deviation(terms, log_distances, ratio=1.0, k=3):
    """Of a mean over `terms`, (n,), each with so many log-distances to neighbour k.

    If some are to a sample of q, `ratio` is p / q at the samples of p: int p log q moves with a row of q by p / q, of which the
    variance over q is E_p p / q - 1.
    """
    return np.sqrt((np.var(terms) + np.mean(ratio) - 1 + log_distances * polygamma(1, k)) / len(terms))


def relative_deviation(p, s, q=1.0, r=0, k=3):
    """Of the estimate of int p^(1 + s) q^r as a mean of p^s q^r over samples of p, over its value; p, q at these, (n,).

    The integral moves with a row of p by (1 + s) p^s q^r, with one of q by r p^(1 + s) q^(r - 1). For a Gamma(k, 1) variable X,
    X^-s over its mean has the second moment G(k) G(k - 2 s) / G(k - s)^2.
    """
    terms = p**s * q**r
    mean = terms.mean()
    drawn = (1 + s) ** 2 * terms.var() + (r**2 * ((p ** (2 * s + 1) * q ** (2 * r - 1)).mean() - mean**2) if r else 0)
    second = np.prod([gamma(k) * gamma(k - 2 * power) / gamma(k - power) ** 2 for power in (s, r)])
    return np.sqrt((drawn + (second - 1) * (terms**2).mean()) / len(terms)) / mean


def edge_share(distr, par, k=3, n=N):
    """Part of a box's samples that are nearer to an edge than to neighbour k, where half a ball is empty; none of a normal's.

    Corners, where three quarters are, count twice: so log rho^d grows by at most log 2 times this share.
    """
    if distr == "normal":
        return 0
    sides = np.subtract(par["b"], par["a"]) if "a" in par and "b" in par else np.array(par.get("a", par.get("b")))
    d = len(sides)
    ball = np.pi ** (d / 2) / gamma(d / 2 + 1)
    return (2 / sides).sum() * (k * np.prod(sides) / (n * ball)) ** (1 / d)


def direct_gram(kernel, y1, y2):
    """k(y1_i, y2_j) of `KERNELS`, by scikit-learn."""
    if kernel.name == "RBF":
        return pairwise.rbf_kernel(y1, y2, gamma=1 / (2 * kernel.sigma**2))
    return pairwise.polynomial_kernel(y1, y2, degree=kernel.exponent, gamma=1, coef0=kernel.c)


def close_to(truth, deviation, bias=0.0):
    assert np.isfinite(deviation) and deviation > 0
    return pytest.approx(truth, rel=0, abs=4 * deviation + bias)


SOURCES = [("normal", NORMALS[1][0]), ("normal", NORMALS[2][0]), ("uniform", NESTED[1][0]), ("uniform", NESTED[2][0])]
sources = pytest.mark.parametrize("distr, par", SOURCES, ids=["normal 1-D", "normal 2-D", "uniform 1-D", "uniform 2-D"])


@sources
def test_shannon_entropy(distr, par):
    y = sample(distr, par, 0)
    log_p = np.log(density(distr, par, y))
    truth, edges = value("h_shannon", distr, par), edge_share(distr, par) * np.log(2)
    assert co_factory("BHShannon_KnnK").estimation(y) == close_to(truth, deviation(log_p, 1), edges)
    # log p / q of the fitted normal q and its entropy: together they vary by no more than log p and log q, one after the other.
    log_q = multivariate_normal(y.mean(axis=0), np.cov(y, rowvar=False)).logpdf(y)
    tolerance = deviation(log_p, 2, np.exp(log_p - log_q)) + deviation(log_q, 0)
    assert co_factory("MHShannon_DKLN", rng=100).estimation(y) == close_to(truth, tolerance, edges)
    # The box is the sample's own, which leaves out a part 2 / n of a uniform's side and next to nothing of a normal.
    box = 2 * y.shape[1] / N
    tolerance = deviation(log_p, 2, np.exp(log_p) * np.prod(np.ptp(y, axis=0)))
    assert co_factory("MHShannon_DKLU", rng=100).estimation(y) == close_to(truth, tolerance, edges + box)


@pytest.mark.parametrize("distr, par", [SOURCES[0], SOURCES[2]], ids=["normal", "uniform"])
def test_shannon_entropy_from_spacings(distr, par):
    """Windows of 2m samples: each log varies by psi'(2m) = 1 / 2m around -log p, and shares samples with 4m others.

    At each end, m windows are cut to between half and all of their width, which takes (m / n)(1 - log 2) each, and a normal's
    tails, where the density changes within a window, as much again.
    """
    y, m = sample(distr, par, 0), int(np.sqrt(N))
    expected = value("h_shannon", distr, par)
    found = co_factory("BHShannon_SpacingV").estimation(y)
    terms = np.log(density(distr, par, y))
    assert found == close_to(expected, np.sqrt((terms.var() + 2) / N), 4 * m / N * (1 - np.log(2)))
    assert found == pytest.approx(differential_entropy(y[:, 0], window_length=m, method="vasicek"), rel=1e-12)


@pytest.mark.parametrize("name", ["BHShannon_MaxEnt1", "BHShannon_MaxEnt2"])
def test_maximum_entropy_of_a_normal(name):
    """log s varies by 1 / 2n; what is taken off it are squares of order 1 / n."""
    par = NORMALS[1][0]
    found = co_factory(name).estimation(sample("normal", par, 0))
    assert found == close_to(value("h_shannon", "normal", par), np.sqrt(1 / (2 * N)))


@pytest.mark.parametrize("distribution", [uniform(-np.sqrt(3), 2 * np.sqrt(3)), expon(-1)], ids=["symmetric", "skewed"])
def test_maximum_entropy_of_others(distribution):
    """An approximation, 0.1 to 0.5 nats too large for these: compared is what it says of an infinite sample.

    No deviation is derived, for standardising moves the moments too: four times that of the mean over 16 samples is allowed.
    """
    z = distribution.ppf((np.arange(10**6) + 0.5) / 10**6)  # mean 0, variance 1
    bell = np.exp(-(z**2) / 2)
    first = np.log(2 * np.pi * np.e) / 2 - 36 / (8 * np.sqrt(3) - 9) * (z * bell).mean() ** 2
    last = {
        "BHShannon_MaxEnt1": (np.abs(z).mean() - np.sqrt(2 / np.pi)) ** 2 / (2 - 6 / np.pi),
        "BHShannon_MaxEnt2": (bell.mean() - np.sqrt(1 / 2)) ** 2 * 24 / (16 * np.sqrt(3) - 27),
    }
    rng = np.random.default_rng(0)
    samples = [distribution.rvs((20_000, 1), random_state=rng) for _ in range(16)]
    for name, term in last.items():
        found = [co_factory(name).estimation(y) for y in samples]
        assert np.mean(found) == close_to(first - term, np.std(found, ddof=1) / 4)
        assert 0.1 < first - term - distribution.entropy() < 0.5


@sources
@pytest.mark.parametrize("alpha", [0.7, 0.99, 1.4])
def test_renyi_family_of_entropies(distr, par, alpha):
    """int p^alpha is a mean of p^(alpha - 1). The terms of KnnS vary no more than those of its first neighbour alone."""
    y, beta = sample(distr, par, 0), 0.6
    edges, edges4 = (edge_share(distr, par, k) * np.log(2) for k in (3, 4))
    renyi = value("h_renyi", distr, alpha, par)
    sd, sd1 = (relative_deviation(density(distr, par, y), alpha - 1, k=k) / abs(1 - alpha) for k in (3, 1))
    assert co_factory("BHRenyi_KnnK", alpha=alpha).estimation(y) == close_to(renyi, sd, edges)
    assert co_factory("BHRenyi_KnnS", alpha=alpha).estimation(y) == close_to(renyi, sd1, edges4)
    # Functions of Renyi's H: their derivatives scale the tolerance.
    slope = np.exp((1 - alpha) * renyi)
    for name in ("BHTsallis_KnnK", "MHTsallis_HR"):
        truth = value("h_tsallis", distr, alpha, par)
        assert co_factory(name, alpha=alpha).estimation(y) == close_to(truth, slope * sd, slope * edges)
    slope = np.exp((1 - beta) * renyi)
    truth = value("h_sharma_mittal", distr, alpha, beta, par)
    found = co_factory("BHSharmaMittal_KnnK", alpha=alpha, beta=beta).estimation(y)
    assert found == close_to(truth, slope * sd, slope * edges)


@pytest.mark.parametrize("c", [1, 2, 3])
def test_phi_entropy(c):
    """Spacings of a uniform are Beta(m, n + 1 - m) parts of its side.

    Their moment of order -c is known: at c = 3 and m = 70 it makes the estimate 9 % too large. The power c of one varies by
    c^2 / m, and it shares samples with 2m others.
    """
    par, m = {"a": [0.5], "b": [3.0]}, int(np.sqrt(N))
    moment = np.exp(gammaln(m - c) - gammaln(m) + gammaln(N + 1) - gammaln(N + 1 - c))
    truth = value("h_phi", "uniform", par, c)
    expected = truth * (m / (N + 1)) ** c * moment
    found = co_factory("BHPhi_Spacing", phi=lambda x: x**c).estimation(sample("uniform", par, 0))
    assert found == close_to(expected, truth * c * np.sqrt(2 / N))
    assert expected == pytest.approx(truth, rel=c * (c + 1) / m)


CHAIN = np.array([[1, 0.7, 0.4], [0.7, 1, 0.3], [0.4, 0.3, 1]])


def log_normal(cov, y, columns):
    """Log density of some of the columns of a centred normal sample."""
    return multivariate_normal(cov=cov[np.ix_(columns, columns)]).logpdf(y[:, columns])


def test_shannon_information():
    y, cov = sample("normal", {"mean": np.zeros(3), "cov": CHAIN}, 0), CHAIN
    joint, first, rest, last = (log_normal(cov, y, columns) for columns in ([0, 1, 2], [0], [1, 2], [2]))
    truth = value("i_shannon", "normal", {"cov": cov, "ds": [1, 2]})
    terms = joint - first - rest
    assert co_factory("MIShannon_HS").estimation(y, [1, 2]) == close_to(truth, deviation(terms, 3))
    terms = terms[: N // 2]
    found = co_factory("MIShannon_DKL", rng=100).estimation(y, [1, 2])
    assert found == close_to(truth, deviation(terms, 2, np.exp(terms)))

    truth = value("cond_h_shannon", "normal", {"cov": cov, "dim1": 1})
    assert co_factory("BcondHShannon_HShannon").estimation(y, 1) == close_to(truth, deviation(joint - rest, 2))

    truth = value("cond_i_shannon", "normal", {"cov": cov, "ds": [1, 1, 1]})
    terms = joint + last - rest - log_normal(cov, y, [0, 2])
    found = co_factory("BcondIShannon_HShannon").estimation(y, [1, 1, 1])
    assert found == close_to(truth, deviation(terms, 4))


@pytest.mark.parametrize("alpha", [0.7, 0.99, 1.2])
def test_renyi_information(alpha):
    """As a divergence of half the rows from the other half; as a copula's entropy, biased by the edges of the unit square."""
    y, cov = sample("normal", {"mean": np.zeros(3), "cov": CHAIN}, 0), CHAIN
    p, q = np.exp([log_normal(cov, y, [0, 1, 2]), sum(log_normal(cov, y, [j]) for j in range(3))])[:, : N // 2]
    truth = value("i_renyi", "normal", alpha, {"cov": cov})
    sd = relative_deviation(p, alpha - 1, q, 1 - alpha) / abs(1 - alpha)
    assert co_factory("MIRenyi_DR", alpha=alpha, rng=100).estimation(y, [1, 1, 1]) == close_to(truth, sd)

    n, par = 4 * N, {"mean": [0, 0], "cov": np.array([[1, 0.6], [0.6, 1]])}
    y = sample("normal", par, 0, n)
    copula = np.exp(log_normal(par["cov"], y, [0, 1]) - sum(log_normal(par["cov"], y, [j]) for j in range(2)))
    truth = value("i_renyi", "normal", alpha, par)
    sd = relative_deviation(copula, alpha - 1) / abs(1 - alpha)
    edges = edge_share("uniform", {"b": [1, 1]}, n=n) * np.log(2)
    assert co_factory("MIRenyi_HR", alpha=alpha).estimation(y) == close_to(truth, sd, edges)


normal_pairs = pytest.mark.parametrize("pars", [NORMALS[1], NORMALS[2]], ids=["1-D", "2-D"])
NORMAL, UNIFORM = ("normal", "normal"), ("uniform", "uniform")


def two_samples(distr, pars, n=N):
    """Samples of two distributions and, at the first one's, both densities."""
    y1, y2 = (sample(distr, par, seed, n) for seed, par in enumerate(pars))
    return y1, y2, *(density(distr, par, y1) for par in pars)


@normal_pairs
def test_cross_entropy_and_kullback_leibler(pars):
    y1, y2, p, q = two_samples("normal", pars)
    truth = value("c_cross_entropy", *NORMAL, *pars)
    assert co_factory("BCCE_KnnK").estimation(y1, y2) == close_to(truth, deviation(np.log(q), 1, p / q))
    truth = value("d_kullback_leibler", *NORMAL, *pars)
    for name in ("BDKL_KnnK", "MDKL_HSCE"):
        assert co_factory(name).estimation(y1, y2) == close_to(truth, deviation(np.log(p / q), 2, p / q))


def test_kullback_leibler_of_growing_k():
    """With k = 70 and 100, densities are averaged over balls of a part k / n of each sample: a bias of that order."""
    y1, _, p, q = two_samples("normal", NORMALS[1])
    y2 = sample("normal", NORMALS[1][1], 2, n=2 * N)
    truth = value("d_kullback_leibler", *NORMAL, *NORMALS[1])
    sd = deviation(np.log(p / q), 2, p / q, k=70)
    assert co_factory("BDKL_KnnKiTi").estimation(y1, y2) == close_to(truth, sd, 70 / N + 100 / (2 * N))
    equal = co_factory("BDKL_KnnKiTi").estimation(y1, y2[:N])
    assert equal == pytest.approx(co_factory("BDKL_KnnK", k=70).estimation(y1, y2[:N]), rel=1e-12)


@normal_pairs
@pytest.mark.parametrize("alpha", [0.7, 0.99, 1.2])
def test_renyi_family_of_divergences(pars, alpha):
    """int p^alpha q^(1 - alpha) is a mean of (p / q)^(alpha - 1) over p's sample."""
    y1, y2, p, q = two_samples("normal", pars)
    beta = 0.6
    sd = relative_deviation(p, alpha - 1, q, 1 - alpha) / abs(1 - alpha)
    renyi = value("d_renyi", *NORMAL, alpha, *pars)
    assert co_factory("BDRenyi_KnnK", alpha=alpha).estimation(y1, y2) == close_to(renyi, sd)
    truth = value("d_tsallis", *NORMAL, alpha, *pars)
    assert co_factory("BDTsallis_KnnK", alpha=alpha).estimation(y1, y2) == close_to(truth, np.exp((alpha - 1) * renyi) * sd)
    truth = value("d_sharma_mittal", *NORMAL, alpha, beta, *pars)
    found = co_factory("BDSharmaMittal_KnnK", alpha=alpha, beta=beta).estimation(y1, y2)
    assert found == close_to(truth, np.exp((beta - 1) * renyi) * sd)


@normal_pairs
@pytest.mark.parametrize("pxdx", [True, False])
def test_integral_of_root_densities(pars, pxdx):
    """Hellinger's root has the slope -1 / 2H; Bhattacharyya's distance is half of Renyi's divergence at 1 / 2."""
    y1, y2, p, q = two_samples("normal", pars)
    if not pxdx:
        q, p = (density("normal", par, y2) for par in pars)
    sd = relative_deviation(p, -1 / 2, q, 1 / 2)
    hellinger = value("d_hellinger", *NORMAL, *pars)
    found = co_factory("BDHellinger_KnnK", pxdx=pxdx).estimation(y1, y2)
    assert found == close_to(hellinger, sd * (1 - hellinger**2) / (2 * hellinger))
    found = co_factory("BDBhattacharyya_KnnK", pxdx=pxdx).estimation(y1, y2)
    assert found == close_to(value("d_renyi", *NORMAL, 0.5, *pars) / 2, sd)


def chi_square_deviation(distr, pars, y1, y2, pxdx):
    """Relative, and a neighbour for which the second moments of the powers in it are moderate."""
    p, q = (density(distr, par, y1 if pxdx else y2) for par in pars)
    return (relative_deviation(p, 1, q, -1, k=6), 6) if pxdx else (relative_deviation(q, -2, p, 2, k=12), 12)


@one_and_two
@pytest.mark.parametrize("pxdx", [True, False])
def test_chi_square_of_normals(d, pxdx):
    pars = [{"mean": np.multiply(0.5, par["mean"]), "cov": np.eye(d)} for par in NORMALS[d]]
    y1, y2, _, _ = two_samples("normal", pars)
    sd, k = chi_square_deviation("normal", pars, y1, y2, pxdx)
    truth = value("d_chi_square", "normalI", "normalI", *pars)
    assert co_factory("BDChi2_KnnK", k=k, pxdx=pxdx).estimation(y1, y2) == close_to(truth, (truth + 1) * sd)


@one_and_two
@pytest.mark.parametrize("pxdx", [True, False])
def test_chi_square_of_boxes(d, pxdx):
    """At the edges p falls to a half, and p^2 to a quarter, of what it is."""
    pars = NESTED[d]
    y1, y2, _, _ = two_samples("uniform", pars)
    sd, k = chi_square_deviation("uniform", pars, y1, y2, pxdx)
    truth = value("d_chi_square", *UNIFORM, *pars)
    edges = (1 / 2 if pxdx else 3 / 4) * edge_share("uniform", pars[0], k)
    found = co_factory("BDChi2_KnnK", k=k, pxdx=pxdx).estimation(y1, y2)
    assert found == close_to(truth, (truth + 1) * sd, (truth + 1) * edges)


@one_and_two
def test_l2(d):
    """p over the larger box: the estimator writes int q^2 as a mean over p's sample, so that it sees q where p is.

    The three integrals of its square may err together. At the edges p and q fall to a half, q^2 / p to a quarter or rises to 2.
    """
    n, k, pars = 2 * N, 6, NESTED[d][::-1]
    y1, y2, p, q = two_samples("uniform", pars, n)
    truth = value("d_l2", *UNIFORM, *pars)
    integrals = np.array([p.mean(), 2 * q.mean(), (q**2 / p).mean()])
    sd = integrals @ [relative_deviation(p, s, q, r, k) for s, r in ((1, 0), (0, 1), (-1, 2))]
    share1, share2 = (edge_share("uniform", par, k, n) for par in pars)
    edges = integrals @ [share1 / 2, share2 / 2, share1 + share2]
    found = co_factory("BDL2_KnnK", k=k).estimation(y1, y2)
    assert found**2 == close_to(truth**2, sd, edges)
    # The other way round it cannot see the part of q where p is zero.
    y1, y2, p, q = two_samples("uniform", pars[::-1], n)
    seen = integral(
        (density("uniform", pars[1], GRID[d]) > 0) * (np.subtract(*(density("uniform", par, GRID[d]) for par in pars))) ** 2
    )
    assert seen < 0.75 * truth**2
    assert co_factory("BDL2_KnnK", k=k).estimation(y1, y2) ** 2 == close_to(seen, sd, edges)


@one_and_two
@pytest.mark.parametrize("pars, alpha", [(NESTED, 0.7), (NESTED, 0.99), (NESTED, 2.0), (CROSSING, 2.0)])
def test_bregman(pars, alpha, d):
    """Three integrals, each of which may err. At the edges a density falls to a half."""
    y1, y2, p, q = two_samples("uniform", pars[d])
    q2, a = density("uniform", pars[d][1], y2), alpha - 1
    factors = np.array([1, alpha, abs(a)]) / abs(a) * [(p**a).mean(), (q**a).mean(), (q2**a).mean()]
    sd = factors @ [relative_deviation(p, a), relative_deviation(p, 0, q, a), relative_deviation(q2, a)]
    share1, share2 = (edge_share("uniform", par) for par in pars[d])
    edges = factors @ [share1, share2, share2] * abs(2 ** (1 - alpha) - 1)
    truth = value("d_bregman", *UNIFORM, alpha, *pars[d])
    found = co_factory("BDBregman_KnnK", alpha=alpha).estimation(y1, y2)
    assert found == close_to(truth, sd, edges)


@normal_pairs
def test_probability_product(pars):
    """int p^2 q^2 as a mean of p q^2, whose second moment takes k > 4."""
    y1, y2, p, q = two_samples("normal", pars)
    truth = value("k_prob_product", *NORMAL, 2, *pars)
    sd = truth * relative_deviation(p, 1, q, 2, k=8)
    assert co_factory("BKProbProd_KnnK", k=8).estimation(y1, y2) == close_to(truth, sd)
    truth = value("k_prob_product", *NORMAL, 0.5, *pars)
    sd = truth * relative_deviation(p, -1 / 2, q, 1 / 2)
    assert co_factory("BKProbProd_KnnK", rho=0.5).estimation(y1, y2) == close_to(truth, sd)


@one_and_two
@pytest.mark.parametrize("w", [(0.5, 0.5), (0.2, 0.8)])
def test_mixtures_of_spheres(d, w):
    """int f^2 as a mean of f, for the mixture over both samples. The three entropies share samples and may err together.

    With w = (0.2, 0.8) the mixture takes a quarter of the first sample.
    """
    n, pars = 4 * N, ({"mean": np.full(d, -1.5), "std": 0.9}, {"mean": np.full(d, 1.0), "std": 1.3})
    y1, y2, p, _ = two_samples("normal", pars, n)
    q = density("normal", pars[1], y2)
    mixed = np.vstack([y1[: int(n * w[0] / w[1])], y2])
    f = sum(weight * density("normal", par, mixed) for weight, par in zip(w, pars, strict=True))
    own = np.array([relative_deviation(terms, 1) for terms in (p, q)])
    of_mixture = relative_deviation(f, 1)
    jensen = of_mixture + own @ w
    truth = value("d_jensen_renyi", *NORMAL, w, *pars)
    assert truth > 8 * jensen
    assert co_factory("MDJR_HR", alpha=2, w=w, rng=100).estimation(y1, y2) == close_to(truth, jensen)
    if w == (0.5, 0.5):
        u, squares = 0.7, np.array([terms.mean() for terms in (p, q)])
        tsallis = of_mixture * f.mean()
        for short, name, tolerance in (
            ("ejr1", "MKExpJR1_HR", of_mixture),
            ("ejr2", "MKExpJR2_DJR", jensen),
            ("ejt1", "MKExpJT1_HT", tsallis),
            ("ejt2", "MKExpJT2_DJT", tsallis + own @ squares / 2),
        ):
            truth = value(f"k_{short}", *NORMAL, u, *pars)
            found = co_factory(name, alpha=2, u=u, rng=100).estimation(y1, y2)
            assert found == close_to(truth, truth * u * tolerance), name  # truth * u: slope of exp(-u x)


@normal_pairs
def test_symmetric_divergences(pars):
    """Bregman's at alpha = 2 is int (p - q)^2.

    The J-distance is of normals that overlap: where one has few samples in the other's tails, log-distances to them are too
    small, by 0.5 nats for this second pair as it is.
    """
    y1, y2, p, q = two_samples("normal", pars)
    p2, q2 = (density("normal", par, y2) for par in pars)
    pp, pq, qq = (value("k_prob_product", *NORMAL, 1, pars[i], pars[j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    terms = ((p, 1, q, 0), (p, 0, q, 1), (q2, 1, p2, 0), (q2, 0, p2, 1))  # int p^2, p q, q^2, q p
    sd = sum((x**s * y**r).mean() * relative_deviation(x, s, y, r) for x, s, y, r in terms)
    for name in ("BDSymBregman_KnnK", "MDSymBregman_DB"):
        assert co_factory(name, alpha=2).estimation(y1, y2) == close_to(pp - 2 * pq + qq, sd)

    near = [{"mean": np.multiply(0.5, par["mean"]), "cov": pars[0]["cov"]} for par in pars]
    y1, y2, p, q = two_samples("normal", near)
    p2, q2 = (density("normal", par, y2) for par in near)
    truth = sum(value("d_kullback_leibler", *NORMAL, *order) for order in (near, near[::-1]))
    sd = deviation(np.log(p / q), 2, p / q) + deviation(np.log(q2 / p2), 2, q2 / p2)
    assert co_factory("MDJDist_DKL").estimation(y1, y2) == close_to(truth, sd)


@one_and_two
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_embeddings(kernel, d):
    """Means over pairs vary as the means over either sample of what the other one's mean makes of each row.

    The square of MMD, E k(x, x') + E k(y, y') - 2 E k(x, y), moves with a row x by 2 (E k(x, x') - E k(x, y)) / n. In each of a
    V-statistic's own means, n of n^2 pairs are of a row with itself.
    """
    n, pars = 2000, NORMALS[d]
    y1, y2, _, _ = two_samples("normal", pars, n)
    xx, xy, yy = (direct_gram(kernel, *pair) for pair in ((y1, y1), (y1, y2), (y2, y2)))
    truth = value("k_expected", *NORMAL, kernel, *pars)
    sd = np.sqrt((xy.mean(axis=1).var() + xy.mean(axis=0).var()) / n)
    assert co_factory("BKExpected", kernel=kernel).estimation(y1, y2) == close_to(truth, sd)

    truth = value("d_mmd", *NORMAL, kernel, *pars)
    sd = 2 * np.sqrt(((xx.mean(axis=1) - xy.mean(axis=1)).var() + (yy.mean(axis=1) - xy.mean(axis=0)).var()) / n)
    own_pairs = (np.diag(xx).mean() - xx.mean() + np.diag(yy).mean() - yy.mean()) / n
    found = {name: co_factory(f"BDMMD_{name}", kernel=kernel).estimation(y1, y2) ** 2 for name in ("UStat", "VStat")}
    assert found["UStat"] == close_to(truth**2, sd)
    assert found["VStat"] - own_pairs == close_to(truth**2, sd)
    assert found["VStat"] - found["UStat"] == pytest.approx(own_pairs * n / (n - 1), rel=1e-6)
    for name in found:
        low_rank = co_factory(f"BDMMD_{name}_IChol", kernel=kernel, eta=1e-9).estimation(y1, y2) ** 2
        assert low_rank == pytest.approx(found[name], abs=1e-7)
    # Pairs of neighbouring rows: the square is a mean over n / 2 terms.
    even, odd = slice(0, None, 2), slice(1, None, 2)
    x, y = np.diag(xx[even, odd]), np.diag(yy[even, odd])
    terms = x + y - np.diag(xy[even, odd]) - np.diag(xy[odd, even])
    online = co_factory("BDMMD_Online", kernel=kernel).estimation(y1, y2)
    assert np.sign(online) * online**2 == close_to(truth**2, deviation(terms, 0))


# Other implementations


@pytest.mark.parametrize("d", [1, 3])
def test_kernels_agree(d):
    y1, y2 = np.random.default_rng(0).normal(size=(2, 20, d))
    oracles = [
        ({"name": "RBF", "sigma": 0.7}, RBF(0.7)),
        ({"name": "Matern3p2", "l": 0.7}, Matern(0.7, nu=1.5)),
        ({"name": "Matern5p2", "l": 0.7}, Matern(0.7, nu=2.5)),
        ({"name": "Cauchy", "sigma": 0.7}, RationalQuadratic(0.7 / np.sqrt(2), alpha=1)),
        ({"name": "exponential", "sigma": 0.7}, Matern(2 * 0.7**2, nu=0.5)),
        ({"name": "RBF", "sigma": 0.7}, lambda *ys: pairwise.rbf_kernel(*ys, gamma=1 / (2 * 0.7**2))),
        ({"name": "polynomial", "c": 0.5, "exponent": 3}, lambda *ys: pairwise.polynomial_kernel(*ys, gamma=1, coef0=0.5)),
    ]
    for par, oracle in oracles:
        kernel, expected = Kernel(par), oracle(y1, y2)
        np.testing.assert_allclose(kernel.gram_matrix2(y1, y2), expected, rtol=1e-12)
        np.testing.assert_allclose(kernel.gram_matrix1(y1), oracle(y1, y1), rtol=1e-12)
        np.testing.assert_allclose(kernel.gram_matrix_diagonal(y1), np.diag(oracle(y1, y1)), rtol=1e-12)
        assert kernel.sum(y1, y2) == pytest.approx(np.trace(expected), rel=1e-12)
    # Laplace's kernel is of the sum of coordinates' distances, which is Euclid's in one dimension only.
    laplacian = pairwise.laplacian_kernel(y1, y2, gamma=1 / (2 * 0.7**2))
    assert np.allclose(Kernel({"name": "exponential", "sigma": 0.7}).gram_matrix2(y1, y2), laplacian) == (d == 1)


@pytest.mark.parametrize("d", [2, 4])
def test_spearman_agrees(d):
    """12 mean (n - R)(n - S) / n^2 - 3 is (1 - 1 / n^2) rho - 6 / n + 3 / n^2 of the classical rho, of each pair."""
    n, rng = 50, np.random.default_rng(0)
    y = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    rho = np.mean([spearmanr(y[:, i], y[:, j]).statistic for i in range(d) for j in range(i)])
    expected = (1 - 1 / n**2) * rho - 6 / n + 3 / n**2
    assert co_factory("BASpearman4").estimation(y, np.ones(d, int)) == pytest.approx(expected, rel=1e-10)


def test_energy_distance_agrees():
    """SciPy's is the root, of samples in one dimension."""
    rng = np.random.default_rng(0)
    y1, y2 = rng.normal(size=(60, 1)), 0.5 + 2 * rng.normal(size=(80, 1))
    found = co_factory("BDEnergyDist").estimation(y1, y2)
    assert found == pytest.approx(energy_distance(y1[:, 0], y2[:, 0]) ** 2, rel=1e-10)
    y1, y2 = rng.normal(size=(60, 3)), 0.5 + 2 * rng.normal(size=(80, 3))
    expected = 2 * cdist(y1, y2).mean() - 2 * pdist(y1).sum() / 60**2 - 2 * pdist(y2).sum() / 80**2
    assert co_factory("BDEnergyDist").estimation(y1, y2) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("alpha", [0.5, 1, 1.5])
def test_distance_covariance_agrees(alpha):
    """Without centred matrices: dCov^2 = mean ab + mean a mean b - 2 mean of products of row means."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(60, 5))
    y[:, 3] += y[:, 0]

    def covariance(a, b):
        return (a * b).mean() + a.mean() * b.mean() - 2 * (a.mean(axis=0) * b.mean(axis=0)).mean()

    a, b = (squareform(pdist(block)) ** alpha for block in (y[:, :2], y[:, 2:]))
    found = co_factory("BIDistCov", alpha=alpha).estimation(y, [2, 3])
    assert found == pytest.approx(np.sqrt(covariance(a, b)), rel=1e-10)
    found = co_factory("BIDistCorr", alpha=alpha).estimation(y, [2, 3])
    assert found == pytest.approx(np.sqrt(covariance(a, b) / np.sqrt(covariance(a, a) * covariance(b, b))), rel=1e-10)


# What stays when samples move, are shuffled or change places

ESTIMATORS = [name for name in ite.cost.__all__ if name[0] in "BM" and isinstance(getattr(ite.cost, name), type)]
RANDOM = [name for name in ESTIMATORS if "rng" in inspect.signature(getattr(ite.cost, name)).parameters]
# What an incomplete factor leaves out depends on the order of the rows; this leaves out nothing that shows.
COMPLETE = {"eta": 1e-12}
PARS = {name: {"rng": 0} for name in RANDOM} | {
    "BDMMD_UStat_IChol": COMPLETE,
    "BDMMD_VStat_IChol": COMPLETE,
    "BIHSIC_IChol": COMPLETE,
    "BIKCCA": COMPLETE,
    "BIKGV": COMPLETE,
    "MDEnergyDist_DMMD": {"mmd_co_pars": COMPLETE},
    "MIDistCov_HSIC": {"hsic_co_pars": COMPLETE},
}
seeds = st.integers(0, 10**6)


def estimate(name, y1, y2, **pars):
    """Of y1, (n, 3), of which each column is a block unless there must be two, or of y1 and y2."""
    co = co_factory(name, **{**PARS.get(name, {}), **pars})
    if name[1] in "DCK":
        return co.estimation(y1, y2)
    if name in {"BHShannon_SpacingV", "BHShannon_MaxEnt1", "BHShannon_MaxEnt2", "BHPhi_Spacing"}:
        return co.estimation(y1[:, :1])
    if name[1] == "H":
        return co.estimation(y1)
    if name == "BcondHShannon_HShannon":
        return co.estimation(y1, 1)
    return co.estimation(y1, np.array([2, 1] if name in {"BIDistCov", "BIDistCorr", "MIDistCov_HSIC"} else [1, 1, 1]))


def three_columns(seed, n1=40, n2=40):
    rng = np.random.default_rng(seed)
    y1, y2 = rng.normal(size=(n1, 3)), 0.3 + 1.2 * rng.normal(size=(n2, 3))
    y1[:, 2] += y1[:, 0]
    return y1, y2


# After scaling by s and turning: what the estimate of three columns, or of one, becomes. "straight" are those that name
# columns or draw samples of their own: they are scaled, not turned.
ADD_3_LOG_S = ["BHShannon_KnnK", "BHRenyi_KnnK", "BHRenyi_KnnS", "BCCE_KnnK"]
ADD_3_LOG_S_STRAIGHT = ["MHShannon_DKLN", "MHShannon_DKLU"]
ADD_LOG_S_STRAIGHT = ["BHShannon_SpacingV", "BHShannon_MaxEnt1", "BHShannon_MaxEnt2", "BcondHShannon_HShannon"]
STAY = ["BDKL_KnnK", "BDKL_KnnKiTi", "BDRenyi_KnnK", "BDTsallis_KnnK", "BDSharmaMittal_KnnK", "BDBhattacharyya_KnnK"]
STAY += ["BDHellinger_KnnK", "BDChi2_KnnK", "MDf_DChi2", "MDKL_HSCE", "MDJDist_DKL", "MDJS_HS", "MDJR_HR", "MDK_DKL", "MDL_DKL"]
STAY += ["MKExpJS_DJS", "MKExpJR2_DJR", "MKJS_DJS"]
STAY_STRAIGHT = ["MIShannon_HS", "MIShannon_DKL", "MIRenyi_DR", "MITsallis_DT", "MIChi2_DChi2", "BcondIShannon_HShannon"]
STAY_STRAIGHT += ["BIDistCorr", "MIRenyi_HR", "MIMMD_CopulaDMMD", *(name for name in ESTIMATORS if name[1] == "A")]
TIMES_POWER_OF_S = {  # with alpha = 0.7: 3 (1 - alpha) = 0.9
    "BDBregman_KnnK": (0.9, {"alpha": 0.7}),
    "BDSymBregman_KnnK": (0.9, {"alpha": 0.7}),
    "MDSymBregman_DB": (0.9, {"alpha": 0.7}),
    "MDJT_HT": (0.9, {"alpha": 0.7}),
    "BDL2_KnnK": (-1.5, {}),
    "BKProbProd_KnnK": (-9, {}),
    "BDEnergyDist": (1, {}),
}
Q_EXPONENTIAL = {"BHTsallis_KnnK": (0.7, {"alpha": 0.7}), "MHTsallis_HR": (0.7, {"alpha": 0.7})}
Q_EXPONENTIAL |= {"BHSharmaMittal_KnnK": (0.6, {"alpha": 0.7, "beta": 0.6})}


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_similarity(seed, scale, shift):
    """Distances all grow by `scale`, volumes by its cube; to 1e-6, for a shift of 10 meets a scale of 1e-3."""
    samples = three_columns(seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turned, straight = [scale * y @ rotation + shift for y in samples], [scale * y + shift for y in samples]

    def check(name, moved, expected, pars, unit=1.0):
        found, before = (estimate(name, *ys, **pars) for ys in (moved, samples))
        assert found / unit == pytest.approx(expected(before) / unit, rel=1e-6, abs=1e-6), name

    for names, moved, added in (
        (ADD_3_LOG_S, turned, 3 * np.log(scale)),
        (ADD_3_LOG_S_STRAIGHT, straight, 3 * np.log(scale)),
        (ADD_LOG_S_STRAIGHT, straight, np.log(scale)),
        (STAY, turned, 0),
        (STAY_STRAIGHT, straight, 0),
    ):
        for name in names:
            check(name, moved, lambda before, added=added: before + added, {})
    for name, (power, pars) in TIMES_POWER_OF_S.items():
        check(name, turned, lambda before, power=power: before * scale**power, pars, unit=scale**power)
    for name, (q, pars) in Q_EXPONENTIAL.items():  # 1 + (1 - q) H is a power of a volume
        check(name, turned, lambda before, q=q: (scale ** (3 * (1 - q)) * (1 + (1 - q) * before) - 1) / (1 - q), pars)
    wider = {"kernel": Kernel({"name": "RBF", "sigma": scale})}
    for name in ("BDMMD_UStat", "BDMMD_VStat", "BDMMD_Online", "BKExpected"):
        assert estimate(name, *turned, **wider) == pytest.approx(estimate(name, *samples), rel=1e-6, abs=1e-6), name


SYMMETRIC = [
    "MDJDist_DKL",
    "BDSymBregman_KnnK",
    "MDSymBregman_DB",
    "BDEnergyDist",
    "MDEnergyDist_DMMD",
    "BKExpected",
    "MDBlockMMD",
]
SYMMETRIC += [name for name in ESTIMATORS if name.startswith("BDMMD_")]
# The mixture's rows are the same ones in another order, of which entropies know nothing.
SYMMETRIC += ["MDJS_HS", "MDJR_HR", "MDJT_HT", "MDL_DKL", *(name for name in ESTIMATORS if name.startswith("MK"))]


@settings(max_examples=10, deadline=None)
@given(seeds, st.integers(30, 50))
def test_symmetry(seed, n2):
    """Samples of different sizes too; a mixture takes as many rows of each as the smaller one has."""
    for name in SYMMETRIC:
        y1, y2 = three_columns(seed, n2=40 if name in {"BDMMD_Online", "MDBlockMMD"} else n2)
        assert estimate(name, y1, y2) == pytest.approx(estimate(name, y2, y1), rel=1e-8, abs=1e-8), name


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_order_of_the_rows(seed):
    """It does not matter but to chance, and to those that take rows in pairs or blocks. Complete factors agree to 1e-8."""
    y1, y2 = three_columns(seed)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(y1), rng.permutation(y2)
    for name in set(ESTIMATORS) - set(RANDOM) - {"BDMMD_Online", "MDBlockMMD"}:
        assert estimate(name, *shuffled) == pytest.approx(estimate(name, y1, y2), rel=1e-8, abs=1e-8), name


@settings(max_examples=20, deadline=None)
@given(
    seeds,
    st.sampled_from(
        [
            {"name": "RBF", "sigma": 0.5},
            {"name": "polynomial", "c": 1, "exponent": 3},
            {"name": "exponential", "sigma": 1},
            {"name": "Cauchy", "sigma": 1},
            {"name": "Matern5p2", "l": 1},
        ]
    ),
)
def test_gram_matrix_of_expected_kernels(seed, par):
    """Inner products of mean embeddings: symmetric, no eigenvalue below zero but for rounding."""
    rng = np.random.default_rng(seed)
    ys = [rng.normal(loc=rng.normal(), scale=rng.uniform(0.5, 2), size=(rng.integers(1, 9), 2)) for _ in range(6)]
    gram = co_factory("BKExpected", kernel=Kernel(par)).gram_matrix(ys)
    np.testing.assert_array_equal(gram, gram.T)
    eigenvalues = np.linalg.eigvalsh(gram)
    assert eigenvalues[0] >= -1e-12 * eigenvalues[-1]


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_seed_gives_the_same_bits(name):
    """At each call and from each object, whatever else was drawn in between."""
    y1, y2 = three_columns(0)
    first, other = (estimate(name, y1, y2, rng=5) for _ in range(2))
    np.random.default_rng(1).normal(size=10)
    assert first == other == estimate(name, y1, y2, rng=np.random.default_rng(5))
