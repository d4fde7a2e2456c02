import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma, gammaln, polygamma

import ite
from ite.cost import BDKL_KnnK, BHShannon_KnnK, MIShannon_DKL, MIShannon_HS, co_factory

# Each estimate is a mean over n samples of logarithms of neighbours' distances. d log rho_k has the variance psi'(k) around
# -log p, and log p its own: n times the estimate's variance is about the sum. Four standard deviations are allowed.
VARIANCE = float(polygamma(1, 3))


def kth_distances(points, queries, k):
    """By brute force; k counts the query itself where it is among the points."""
    return np.sort(np.stack([np.linalg.norm(points - query, axis=1) for query in queries]), axis=1)[:, k - 1]


def direct_kl(y1, y2, k=3):
    (n1, d), n2 = y1.shape, len(y2)
    ratio = kth_distances(y2, y1, k) / kth_distances(y1, y1, k + 1)
    return d * np.log(ratio).mean() + np.log(n2 / (n1 - 1))


def correlated(rng, n, rho):
    return rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=n)


# Entropy


@pytest.mark.parametrize("d", [1, 3])
def test_entropy_of_a_gaussian(d):
    """H = log det(2 pi e C) / 2. Var log p = d / 2 for every Gaussian."""
    n, rng = 5000, np.random.default_rng(d)
    mix = rng.uniform(size=(d, d)) + np.eye(d)
    truth = np.linalg.slogdet(2 * np.pi * np.e * mix @ mix.T)[1] / 2
    found = BHShannon_KnnK().estimation(rng.normal(size=(n, d)) @ mix.T)
    assert found == pytest.approx(truth, abs=4 * np.sqrt((VARIANCE + d / 2) / n))


def test_entropy_by_hand():
    """Of 0, 1, 3 with k = 1: rho = 1, 1, 2, so H = log 2 + gamma + log 2 + log(2) / 3."""
    found = BHShannon_KnnK(k=1).estimation(np.array([[0.0], [1.0], [3.0]]))
    assert found == pytest.approx(7 / 3 * np.log(2) + np.euler_gamma, rel=1e-14)


@pytest.mark.parametrize("d", [341, 342, 400])
def test_entropy_where_the_unit_ball_underflows(d):
    """The corners of a simplex: every rho is sqrt(2). The ball's volume is below float64's range from d = 342 on."""
    truth = np.log(d - 1) - digamma(3) + d / 2 * np.log(np.pi) - gammaln(d / 2 + 1) + d * np.log(2) / 2
    assert BHShannon_KnnK().estimation(np.eye(d)) == pytest.approx(truth, rel=1e-12)


# Divergence


def test_divergence_of_gaussians():
    """N(0, 1)^2 from N(m, s^2)^2, whose log p / q varies by sum_j (1 - 1/s^2)^2 / 2 + m_j^2 / s^4."""
    n, rng = 5000, np.random.default_rng(0)
    m, s = np.array([0.5, -1.0]), 1.5
    truth = (2 / s**2 + m @ m / s**2 - 2 + 2 * np.log(s**2)) / 2
    variance = (1 - 1 / s**2) ** 2 + m @ m / s**4 + 2 * VARIANCE
    found = BDKL_KnnK().estimation(rng.normal(size=(n, 2)), m + s * rng.normal(size=(n, 2)))
    assert found == pytest.approx(truth, abs=4 * np.sqrt(variance / n))


def test_divergence_by_hand():
    """rho = 1, 1, 2 and nu = 1/2, 1/2, 2 with k = 1, and n2 / (n1 - 1) = 1: D = (2 log 1/2) / 3."""
    found = BDKL_KnnK(k=1).estimation(np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [5.0]]))
    assert found == pytest.approx(-2 / 3 * np.log(2), rel=1e-14)


def test_divergence_of_simplices():
    """e_i lies sqrt(2) from every e_j, and sqrt(5) from every 2 e_j but one."""
    n = 200
    found = BDKL_KnnK().estimation(np.eye(n), 2 * np.eye(n))
    assert found == pytest.approx(n / 2 * np.log(5 / 2) + np.log(n / (n - 1)), rel=1e-12)


@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("n1, n2, d", [(60, 90, 2), (90, 60, 40)])
def test_divergence_equals_the_formula(k, n1, n2, d):
    rng = np.random.default_rng(d)
    y1, y2 = rng.normal(size=(n1, d)), 0.2 + 1.1 * rng.normal(size=(n2, d))
    assert BDKL_KnnK(k=k).estimation(y1, y2) == pytest.approx(direct_kl(y1, y2, k), rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 4, 20]), st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_divergence_is_invariant_under_a_common_similarity(seed, d, scale, shift):
    """Distances all grow by `scale`, which cancels in nu / rho."""
    rng = np.random.default_rng(seed)
    y1, y2 = rng.normal(size=(2, 30, d))
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    found = BDKL_KnnK().estimation(*(scale * y @ rotation + shift for y in (y1, y2)))
    # d times a mean logarithm, of distances that are exact to 1e-7; to 1e-6 where a shift of 10 meets a scale of 1e-3
    assert found == pytest.approx(BDKL_KnnK().estimation(y1, y2), abs=d * 1e-6)


# Mutual information


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("co, rows_used, distances", [(MIShannon_DKL(rng=0), 0.5, 2), (MIShannon_HS(), 1, 3)])
def test_mutual_information_of_gaussians(co, rows_used, distances, rho):
    """I = -log(1 - rho^2) / 2; the pointwise information varies by rho^2, and each log-distance in the sum by psi'(k)."""
    n = 10_000
    found = co.estimation(correlated(np.random.default_rng(1), n, rho), ds=[1, 1])
    assert found == pytest.approx(-np.log(1 - rho**2) / 2, abs=4 * np.sqrt((rho**2 + distances * VARIANCE) / (rows_used * n)))


@pytest.mark.parametrize("ds", [(150, 50), (1, 1), (3, 90, 7)])
@pytest.mark.parametrize("n", [120, 121])
def test_dkl_equals_the_formula(ds, n):
    """An odd last row is left out."""
    y = np.random.default_rng(0).normal(size=(n, 200))[:, : sum(ds)]
    y[:, -1] += y[:, 0]
    rng, half = np.random.default_rng(7), n // 2
    blocks = np.split(y[half : 2 * half], np.cumsum(ds)[:-1], axis=1)
    expected = direct_kl(y[:half], np.hstack([rng.permutation(block) for block in blocks]))
    assert MIShannon_DKL(rng=7).estimation(y, ds) == pytest.approx(expected, rel=1e-6)


def test_hs_equals_the_sum_of_entropies():
    y = np.random.default_rng(0).normal(size=(80, 20))
    h = BHShannon_KnnK(k=5).estimation
    found = MIShannon_HS(shannon_co_pars={"k": 5}).estimation(y, [4, 4, 12])
    assert found == pytest.approx(h(y[:, :4]) + h(y[:, 4:8]) + h(y[:, 8:]) - h(y), rel=1e-12)


def test_randomness():
    y = correlated(np.random.default_rng(0), 200, 0.5)
    by_int, generator = MIShannon_DKL(rng=3), np.random.default_rng(3)
    by_generator = MIShannon_DKL(rng=generator)
    first = by_int.estimation(y, [1, 1])
    assert first == by_int.estimation(y, [1, 1]) == by_generator.estimation(y, [1, 1])  # the same bits
    assert first != by_generator.estimation(y, [1, 1])  # the generator has moved on
    before = np.random.get_state()[1].copy()
    MIShannon_DKL().estimation(y, [1, 1])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # numpy's global state is nobody's


@pytest.mark.parametrize("ds", [[1, 1], (1, 1), np.array([1, 1])])
@pytest.mark.parametrize("co", [MIShannon_DKL(rng=0), MIShannon_HS()])
def test_any_sequence_of_widths(co, ds):
    y = correlated(np.random.default_rng(0), 100, 0.5)
    assert co.estimation(y, ds) == co.estimation(y.tolist(), [1, 1])


# Interface


def test_parameters_are_left_unchanged():
    pars = {"k": 4}
    dkl, hs = MIShannon_DKL(kl_co_pars=pars, mult=False), MIShannon_HS(shannon_co_pars=pars)
    assert pars == {"k": 4} and dkl.kl_co.k == hs.shannon_co.k == 4 and dkl.kl_co.mult is False


@pytest.mark.parametrize("name", ["BDKL_KnnK", "BHShannon_KnnK", "MIShannon_DKL", "MIShannon_HS"])
def test_factory_and_print(name):
    co = co_factory(name, mult=True)
    assert type(co) is getattr(ite.cost, name)
    assert str(co) == f"{name} -> {vars(co)}"


@pytest.mark.parametrize("name", ["BDKL", "co_factory", "Any", ""])
def test_factory_knows_no_other_name(name):
    with pytest.raises(ValueError, match=r"cost_name: found .* expected one of BASpearman1, "):
        co_factory(name)


def test_samples_are_left_unchanged():
    y = np.random.default_rng(0).normal(size=(50, 15))
    copy = y.copy()
    for co in (MIShannon_DKL(rng=0), MIShannon_HS()):
        co.estimation(y, [5, 10])
    np.testing.assert_array_equal(y, copy)


# Bad input

GOOD = np.random.default_rng(0).normal(size=(40, 4))
ESTIMATIONS = {
    "H": BHShannon_KnnK().estimation,
    "D1": lambda y: BDKL_KnnK().estimation(y, GOOD),
    "D2": lambda y: BDKL_KnnK().estimation(GOOD, y),
    "I by D": lambda y: MIShannon_DKL().estimation(y, [2, 2]),
    "I by H": lambda y: MIShannon_HS().estimation(y, [2, 2]),
}


def broken(value, count):
    y = GOOD.copy()
    y.flat[:count] = value
    return y


@pytest.mark.parametrize("estimation", ESTIMATIONS.values(), ids=ESTIMATIONS)
@pytest.mark.parametrize(
    "y, message",
    [
        (GOOD[:, 0], r"found float64 of shape \(40,\), expected real numbers \(samples, dimensions\)"),
        (GOOD[None], r"found float64 of shape \(1, 40, 4\)"),
        (GOOD.astype(object), "found object"),
        (GOOD.astype(complex), "found complex128"),
        (GOOD[:0], r"of shape \(0, 4\)"),
        (GOOD[:, :0], r"of shape \(40, 0\)"),
        (broken(np.nan, 3), "found NaN or infinity in 3 of 160 elements"),
        (broken(-np.inf, 2), "found NaN or infinity in 2 of 160 elements"),
        (GOOD[:2], "k: found 3|of shape|found 2 rows"),
    ],
)
def test_bad_samples(estimation, y, message):
    with pytest.raises(ValueError, match=message):
        estimation(y)


@pytest.mark.parametrize("co", [MIShannon_DKL(), MIShannon_HS()])
@pytest.mark.parametrize("ds", [[2.5, 1.5], [4], [2, 1], [2, 3], [4, 0], [5, -1], []])
def test_bad_widths(co, ds):
    with pytest.raises(ValueError, match=r"ds: found .*, expected two or more positive integers that sum to 4"):
        co.estimation(GOOD, ds)


def test_too_few_samples():
    """k + 1 in a sample that is searched for its own neighbours, k in one that is searched for another's."""
    assert np.isfinite(BHShannon_KnnK(k=3).estimation(GOOD[:4]))
    assert np.isfinite(BDKL_KnnK(k=3).estimation(GOOD[:4], GOOD[10:13]))
    with pytest.raises(ValueError, match="k: found 3, expected 1 to 2, for there are 3 points"):
        BHShannon_KnnK(k=3).estimation(GOOD[:3])
    with pytest.raises(ValueError, match="k: found 3, expected 1 to 2, for there are 2 points"):
        BDKL_KnnK(k=3).estimation(GOOD[:4], GOOD[10:12])
    with pytest.raises(ValueError, match="k: found 3, expected 1 to 2, for there are 3 points"):
        MIShannon_DKL().estimation(GOOD[:7], [2, 2])  # halves of three


def test_unequal_dimensions():
    with pytest.raises(ValueError, match="y1 has 4 columns, y2 3"):
        BDKL_KnnK().estimation(GOOD, GOOD[:, :3])


@pytest.mark.filterwarnings("ignore::ite.RepeatedValues")
@pytest.mark.parametrize("d", [2, 30])
def test_repeated_rows(d):
    """Four equal rows have three neighbours at distance zero; three have two, and the third is farther."""
    y = np.random.default_rng(0).normal(size=(40, d))
    y[1:3] = y[0]
    assert np.isfinite(BHShannon_KnnK().estimation(y))
    y[3] = y[0]
    with pytest.raises(ValueError, match=r"4 of 40 samples equal 3 or more others.*larger k"):
        BHShannon_KnnK().estimation(y)
    with pytest.raises(ValueError, match="4 of 40 samples"):
        BDKL_KnnK().estimation(y, y + 1)
    with pytest.raises(ValueError, match="1 of 20 samples"):
        BDKL_KnnK().estimation(np.vstack([y[:1], y[21:]]), y)
    assert np.isfinite(BHShannon_KnnK(k=4).estimation(y))
