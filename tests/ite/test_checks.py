"""What goes beyond the toolbox: KSG, the Gaussian copula, splits, and the checks of an estimate."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import digamma
from scipy.stats import multivariate_t, norm, rankdata
from sklearn.feature_selection import mutual_info_regression

import ite
from benchmarks.mutual_information import gaussian, tasks
from ite.cost import FewEffectiveSamples, MIShannon_DKL, MIShannon_GaussianCopula, MIShannon_HS, MIShannon_KSG


def correlated(rng, n, nats, d1=1, d2=1):
    """Two Gaussian blocks with that mutual information, -log(1 - r^2) / 2 for each of min(d1, d2) pairs."""
    r2 = 1 - np.exp(-2 * nats / min(d1, d2))
    x, y = rng.normal(size=(n, d1)), rng.normal(size=(n, d2))
    pairs = min(d1, d2)
    y[:, :pairs] = np.sqrt(r2) * x[:, :pairs] + np.sqrt(1 - r2) * y[:, :pairs]
    return np.hstack([x, y])


def ksg_by_hand(blocks, k, algorithm):
    """Kraskov's equations (8), (9), (23), (24) with every distance written out."""
    apart = [np.abs(block[:, None] - block).max(axis=2) for block in blocks]
    n, together = len(apart[0]), np.maximum.reduce(apart)
    np.fill_diagonal(together, np.inf)
    nearest = np.argsort(together, axis=1)[:, :k]
    total = 0.0
    for distance in apart:
        for i in range(n):
            others = np.delete(distance[i], i)
            if algorithm == 1:
                total += digamma((others < together[i, nearest[i, -1]]).sum() + 1) / n
            else:
                total += digamma((others <= distance[i, nearest[i]].max()).sum()) / n
    m = len(blocks)
    return digamma(k) - (m - 1) / k * (algorithm == 2) + (m - 1) * digamma(n) - total


@pytest.mark.parametrize("algorithm", [1, 2])
@pytest.mark.parametrize("ds", [(1, 1), (3, 2), (1, 1, 1), (2, 1, 3)])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_ksg_equals_the_formula(ds, algorithm, k):
    y = np.random.default_rng(0).normal(size=(60, sum(ds)))
    y[:, -1] += y[:, 0]
    expected = ksg_by_hand(np.split(y, np.cumsum(ds)[:-1], axis=1), k, algorithm)
    assert MIShannon_KSG(k=k, algorithm=algorithm).estimation(y, ds) == pytest.approx(expected, rel=1e-12)


def test_ksg_agrees_with_sklearn():
    """Which scales both columns, adds noise of 1e-10, and clamps at zero: hence a case far above it."""
    y = correlated(np.random.default_rng(0), 800, 1.0)
    y /= y.std(axis=0)
    expected = mutual_info_regression(y[:, :1], y[:, 1], n_neighbors=4, random_state=0)[0]
    assert MIShannon_KSG(k=4).estimation(y, [1, 1]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("algorithm", [1, 2])
@pytest.mark.parametrize("d1, d2", [(1, 1), (2, 2), (2, 3)])
@pytest.mark.parametrize("nats", [0.0, 0.5, 1.0])
def test_ksg_on_gaussians(algorithm, d1, d2, nats):
    """0.10 nats at n = 5,000 up to five dimensions; Kraskov's own figures show errors below that."""
    y = correlated(np.random.default_rng(d1), 5000, nats, d1, d2)
    assert MIShannon_KSG(algorithm=algorithm).estimation(y, [d1, d2]) == pytest.approx(nats, abs=0.1)


@pytest.mark.parametrize("d1, d2", [(1, 1), (5, 3), (40, 40)])
@pytest.mark.parametrize("nats", [0.0, 2.0])
def test_gaussian_copula_is_unbiased(d1, d2, nats):
    """Also at 80 columns for 400 rows, where the plain estimate is 2.3 nats too high; and for any marginals.

    Tolerance: the pointwise information of Gaussians has the variance sum r^2 over pairs; with d1 d2 / (2 n^2) from the
    columns without dependence it is that of the mean of 20 samples, times four standard deviations.
    """
    n, pairs = 400, min(d1, d2)
    r2 = 1 - np.exp(-2 * nats / pairs)
    samples = [correlated(np.random.default_rng(seed), n, nats, d1, d2) for seed in range(20)]
    found = np.mean([MIShannon_GaussianCopula().estimation(np.exp(y), [d1, d2]) for y in samples])
    tolerance = 4 * np.sqrt((pairs * r2 / n + d1 * d2 / (2 * (n - d1 - d2) ** 2)) / 20)
    assert found == pytest.approx(nats, abs=tolerance + 0.01 * nats)  # ranks lose a little of the tails


@pytest.mark.filterwarnings("ignore::ite.UnsupportedEstimate")
def test_gaussian_copula_is_biased_by_much_information():
    """As its docstring says; each mean of ten samples spreads by 0.03 or less, and by 0.1 where blocks are rotated."""
    for (d1, d2, nats), bias in {(1, 1, 2.0): -0.04, (10, 10, 32.0): -1.5}.items():
        samples = [correlated(np.random.default_rng(seed), 400, nats, d1, d2) for seed in range(10)]
        found = np.mean([MIShannon_GaussianCopula().estimation(y, [d1, d2]) for y in samples])
        assert found - nats == pytest.approx(bias, abs=0.1)
    samples = [gaussian(np.random.default_rng(seed), 400, 10, 10, 32) for seed in range(10)]
    found = np.mean([MIShannon_GaussianCopula().estimation(y, [10, 10]) for y in samples])
    assert found - 32 == pytest.approx(-8.3, abs=0.4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_copulas_see_ranks_only(seed):
    rng = np.random.default_rng(seed)
    y = correlated(rng, 100, 0.5, 2, 2)
    order = rng.permutation(100)
    found = MIShannon_GaussianCopula().estimation(y, [2, 2])
    assert found == pytest.approx(MIShannon_GaussianCopula().estimation(np.sinh(y)[order], [2, 2]), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    "y, message",
    [
        (np.random.default_rng(0).normal(size=(5, 6)), "found 5 samples in 6 dimensions"),
        (np.tile(np.random.default_rng(0).normal(size=(50, 3)), 2), "linearly dependent"),
        (np.hstack([np.ones((50, 1)), np.random.default_rng(0).normal(size=(50, 5))]), r"1 of 3 columns are constant"),
    ],
)
def test_gaussian_copula_refuses(y, message):
    with pytest.raises(ValueError, match=message):
        MIShannon_GaussianCopula().estimation(y, [3, 3])


# Splits


def test_one_split_is_the_given_order():
    y, co = correlated(np.random.default_rng(0), 200, 1.0), MIShannon_DKL(rng=0)
    found = co.estimation(y, [1, 1])
    assert_array_equal(co.last_run, [found])


def test_splits_are_random_halves():
    """Each value is that of one split in its order; their mean is returned."""
    y, co = correlated(np.random.default_rng(0), 101, 1.0), MIShannon_DKL(rng=3, n_splits=4)
    found = co.estimation(y, [1, 1])
    rng, values = np.random.default_rng(3), []
    for _ in range(4):
        values.append(MIShannon_DKL(rng=rng).estimation(y[rng.permutation(101)], [1, 1]))
    assert_allclose(co.last_run, values, rtol=1e-12)
    assert found == np.mean(co.last_run) and np.ptp(co.last_run) > 0
    assert found == co.estimation(y, [1, 1])  # the same bits


@pytest.mark.parametrize("n_splits", [0, -1, 2.5, "two"])
def test_bad_splits(n_splits):
    with pytest.raises(ValueError, match="n_splits: found"):
        MIShannon_DKL(n_splits=n_splits)


@pytest.mark.parametrize("algorithm", [0, 3, "1"])
def test_bad_algorithm(algorithm):
    with pytest.raises(ValueError, match="algorithm: found"):
        MIShannon_KSG(algorithm=algorithm)


# Warnings


def test_more_than_the_samples_support():
    """Fifty pairs of columns with 4 nats each; log 300 is 5.7."""
    rng = np.random.default_rng(0)
    y = correlated(rng, 300, 200.0, 50, 50)
    with pytest.warns(ite.UnsupportedEstimate, match=r"nats is more than 300 samples support without assumptions") as caught:
        found = MIShannon_DKL(rng=0).estimation(y, [50, 50])
    warning = caught[0].message
    assert (warning.estimate, warning.n, warning.limit) == (found, 300, pytest.approx(np.log(300)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MIShannon_HS().estimation(correlated(rng, 300, 0.5), [1, 1])


def test_a_mean_that_few_samples_decide():
    """Two samples of N(0, I_200): powers 100 and 200 of distances leave less than a fifth of the 500."""
    y1, y2 = np.random.default_rng(0).normal(size=(2, 500, 200))
    for name in ("BDHellinger_KnnK", "BDChi2_KnnK"):
        with pytest.warns(FewEffectiveSamples, match=r"of 500 samples, \d\d\.\d in effect decide"):
            ite.cost.co_factory(name).estimation(y1, y2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ite.cost.BDHellinger_KnnK().estimation(y1[:, :2], y2[:, :2])


# Scale


def test_standardize():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(50, 5)) * [1, 10, 100, 3, 0.1] + [0, 5, -7, 100, 1]
    blocks = ite.standardize(y, [2, 3])
    assert_allclose(blocks.mean(axis=0), 0, atol=1e-12)
    assert_allclose([block.var(axis=0, ddof=1).mean() for block in (blocks[:, :2], blocks[:, 2:])], 1)
    assert_allclose(blocks[:, 1].std() / blocks[:, 0].std(), y[:, 1].std() / y[:, 0].std())  # a block keeps its shape
    assert_allclose(ite.standardize(y, [2, 3], "column").std(axis=0, ddof=1), 1)
    assert_allclose(ite.standardize(y), ite.standardize(y, [2, 3], "column"))  # without widths, a column is a block
    assert_array_equal(ite.standardize(y, [2, 3], "none"), y)
    constant = np.hstack([np.full((50, 2), 0.1), y])
    with pytest.raises(ValueError, match="block 0 is constant"):
        ite.standardize(constant, [2, 5])
    with pytest.raises(ValueError, match=r"2 of 7 columns are constant \(first: 0\)"):
        ite.standardize(constant, [3, 4], "column")
    assert np.isfinite(ite.standardize(constant, [3, 4])).all()  # a constant column in a block that varies stays at zero
    with pytest.raises(ValueError, match="how: found 'rows'"):
        ite.standardize(y, how="rows")
    scores = ite.standardize(y, [2, 3], "scores")
    assert_allclose(np.sort(scores, axis=0), np.tile(norm.ppf(np.arange(1, 51) / 51)[:, None], 5))
    assert_array_equal(scores, ite.standardize(np.sinh(y / 50), [2, 3], "scores"))
    with pytest.raises(ValueError, match=r"y: 2 of 2 columns are constant"):
        ite.standardize(constant, [2, 5], "scores")


def test_long_tails_take_normal_scores():
    """Student's t with one degree of freedom in two columns a block, 0.73 nats; a quarter of them is missed otherwise."""
    draw, d1, d2, nats = tasks()["Student, 1 degrees, 2 + 2"]
    y, ds = draw(np.random.default_rng(0), 5000), [d1, d2]
    of_scores, of_blocks = (MIShannon_KSG().estimation(ite.standardize(y, ds, how), ds) for how in ("scores", "block"))
    assert of_scores == pytest.approx(nats, abs=0.05) and of_blocks < nats - 0.1


@pytest.mark.parametrize("name", tasks())
def test_truths_of_the_tasks(name):
    """Against closed forms of Gaussians and means of log-density ratios of Student's t, within five standard errors."""
    draw, d1, d2, nats = tasks()[name]
    if name.startswith("Gaussian"):
        y = draw(np.random.default_rng(0), 20_000)
        cov = np.corrcoef(norm.ppf((rankdata(y, axis=0) - 0.5) / 20_000), rowvar=False)
        found, tolerance = ite.cost.analytical_value_i_shannon("normal", {"cov": cov, "ds": [d1, d2]}), 0.03
    else:
        d, freedom = d1 + d2, int(name.split()[1])
        y = draw(np.random.default_rng(0), 20_000)
        shape = 0.5 + 0.5 * np.eye(d)
        first, both = multivariate_t(shape=shape[:d1, :d1], df=freedom), multivariate_t(shape=shape, df=freedom)
        ratio = both.logpdf(y) - first.logpdf(y[:, :d1]) - first.logpdf(y[:, d1:])
        found, tolerance = ratio.mean(), 5 * ratio.std() / np.sqrt(20_000)
    assert found == pytest.approx(nats, abs=tolerance)


def test_scale_sensitivity():
    """Copulas see ranks, so a factor changes nothing."""
    y = correlated(np.random.default_rng(0), 400, 1.0, 2, 2)
    factors = [0.01, 1, 100]
    dkl = MIShannon_DKL(rng=0)
    moved = ite.scale_sensitivity(dkl, y, [2, 2], factors)
    assert moved[1] == dkl.estimation(y, [2, 2])
    scaled = np.hstack([y[:, :2], 100 * y[:, 2:]])
    assert moved[2] == pytest.approx(dkl.estimation(scaled, [2, 2]), rel=1e-9)
    assert np.ptp(moved) > 0.3
    assert_allclose(np.ptp(ite.scale_sensitivity(MIShannon_GaussianCopula(), y, [2, 2], factors)), 0, atol=1e-12)
    standardized = [ite.standardize(np.hstack([y[:, :2], f * y[:, 2:]]), [2, 2]) for f in factors]
    assert_allclose(np.ptp([dkl.estimation(rows, [2, 2]) for rows in standardized]), 0, atol=1e-6)
    with pytest.raises(ValueError, match="factors: found"):
        ite.scale_sensitivity(dkl, y, [2, 2], [1, 0])


# Chance


@pytest.mark.parametrize("co", [MIShannon_KSG(), MIShannon_HS(), ite.cost.BIDistCov()])
def test_dependence_is_found(co):
    found = ite.independence_test(co, correlated(np.random.default_rng(0), 200, 0.7), [1, 1], n_permutations=39, rng=0)
    assert found.p_value == 1 / 40 and (found.null < found.estimate).all()
    assert found.null.shape == (39,) and found.excess == pytest.approx(found.estimate - found.null.mean())
    assert found.estimate == co.estimation(correlated(np.random.default_rng(0), 200, 0.7), [1, 1])


def test_p_values_of_independent_blocks_are_uniform():
    """Each of 20 values is as likely. Of 100 tests, 25 +- 4.3 are at most 0.25: four standard deviations."""
    p = [
        ite.independence_test(ite.cost.BASpearman1(), np.random.default_rng(seed).normal(size=(30, 2)), None, 19, seed).p_value
        for seed in range(100)
    ]
    assert set(np.round(np.array(p) * 20).astype(int)) <= set(range(1, 21))
    assert np.mean(np.array(p) <= 0.25) == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 100))


def test_permutations_by_the_seed():
    y = correlated(np.random.default_rng(0), 100, 0.1, 2, 3)
    first, second, other = (
        ite.independence_test(MIShannon_KSG(), y, [2, 3], 9, rng) for rng in (5, np.random.default_rng(5), 6)
    )
    assert_array_equal(first.null, second.null)
    assert not np.array_equal(first.null, other.null)
    with pytest.raises(ValueError, match="n_permutations: found 0"):
        ite.independence_test(MIShannon_KSG(), y, [2, 3], 0)


def test_no_null_for_a_conditional_information():
    y = np.random.default_rng(0).normal(size=(50, 3))
    with pytest.raises(ValueError, match="co: found a conditional information"):
        ite.independence_test(ite.cost.BcondIShannon_HShannon(), y)


def test_mixtures_have_rows_of_both():
    y1, y2 = np.random.default_rng(0).normal(size=(2, 10, 1))
    with pytest.raises(ValueError, match=r"found 10 and 10 rows, too few to mix them by w = \[0.999, 0.001\]"):
        ite.cost.MDJS_HS(w=(0.999, 0.001)).estimation(y1, y2)


def test_one_neighbour_or_several():
    with pytest.raises(ValueError, match=r"k: found \[1, 2\], expected a positive integer"):
        ite.cost.BHShannon_KnnK(k=[1, 2])
    with pytest.raises(ValueError, match="y: found one row"):
        MIShannon_DKL().estimation(np.zeros((1, 2)), [1, 1])


@pytest.mark.parametrize(
    "name, pars, message",
    [
        ("MIShannon_DKL", {"rng": "a"}, "rng: found 'a', expected None, an int from 0, or a Generator"),
        ("MHShannon_DKLU", {"rng": -1}, "rng: found -1"),
        ("BDKL_KnnK", {"eps": "a"}, "eps: found 'a', expected a number from 0"),
        ("BDKL_KnnKiTi", {"eps": -1}, "eps: found -1"),
        ("BIHSIC_IChol", {"kernel": {"name": "RBF", "sigma": 1}}, r"kernel: found \{.*expected an ite.cost.Kernel"),
        ("BKExpected", {"kernel": "RBF"}, "kernel: found 'RBF'"),
        (
            "MIShannon_DKL",
            {"kl_co_name": "BHShannon_KnnK"},
            "kl_co_name: found 'BHShannon_KnnK', expected .* kind of BDKL_KnnK",
        ),
    ],
)
def test_parameters_of_another_kind(name, pars, message):
    with pytest.raises(ValueError, match=message):
        ite.cost.co_factory(name, **pars)
