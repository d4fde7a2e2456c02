"""Values that are no density's: labels, counts, pixels, rounded and rectified numbers, repeated rows, masked and huge cells."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.integrate import quad
from scipy.special import digamma
from scipy.stats import norm
from sklearn.feature_selection import mutual_info_classif

import ite
from ite.cost import MIShannon_DKL, MIShannon_HS, MIShannon_KSG, MIShannon_Mixed
from ite.neighbors import knn_distances

N = 2000


def label_beside_number(distance):
    """A fair label and a Gaussian number whose mean it moves by `distance`: log 2 less the label's entropy given the number."""

    def draw(rng):
        label = rng.integers(0, 2, N)
        return np.stack([label, distance * label + rng.normal(size=N)], axis=1)

    def given(x):
        p, q = norm.pdf(x), norm.pdf(x - distance)
        return (p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))) / 2

    return draw, quad(given, -9, 9 + distance)[0]


def ten_labels(rng):
    label = rng.integers(0, 10, N)
    return np.stack([label, 100 * label + rng.normal(size=N)], axis=1)


def rectified():
    """max(z, 0) beside y = 0.8 z + 0.6 w: h(y) - h(y|x), where y has the density 2 N(y) Phi(-4 y / 3) given x = 0."""

    def draw(rng):
        z = rng.normal(size=N)
        return np.stack([np.maximum(z, 0), 0.8 * z + 0.6 * rng.normal(size=N)], axis=1)

    def skewed(y):
        p = 2 * norm.pdf(y) * norm.cdf(-4 / 3 * y)
        return -p * np.log(p)

    return draw, norm.entropy() - (norm.entropy() + np.log(0.6) + quad(skewed, -7, 4)[0]) / 2


def rectified_both(rng):
    """Of independent columns: a quarter of the rows are (0, 0), which equal one another."""
    return np.maximum(rng.normal(size=(N, 2)), 0)


def noisy_copy(rng):
    """Five values; the second is the first one's in two of three rows, else any."""
    x = rng.integers(0, 5, N)
    return np.stack([x, np.where(rng.random(N) < 2 / 3, x, rng.integers(0, 5, N))], axis=1)


SAME, OTHER = (2 / 3 + 1 / 15) / 5, 1 / 75
NOISY_COPY = 5 * SAME * np.log(25 * SAME) + 20 * OTHER * np.log(25 * OTHER)


def rounded(rng):
    return np.round(rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], size=N), 2)


# What draws rows, the widths of the blocks, the truth in nats.
CASES = {
    "a label beside a number": (label_beside_number(2)[0], [1, 1], 0.337),
    "a label that moves it by 4": (label_beside_number(4)[0], [1, 1], 0.633),
    "ten labels": (ten_labels, [1, 1], np.log(10)),
    "rectified": (rectified()[0], [1, 1], rectified()[1]),
    "both rectified": (rectified_both, [1, 1], 0),
    "five values each": (noisy_copy, [1, 1], NOISY_COPY),
    "pixels": (lambda rng: rng.integers(0, 256, (N, 2)) / 255, [1, 1], 0),
    "pixels of 40 grey levels": (lambda rng: rng.integers(0, 40, (N, 2)) / 39, [1, 1], 0),
    "four pixels": (lambda rng: rng.integers(0, 256, (N, 4)) / 255, [2, 2], 0),
    "twenty bits each": (lambda rng: rng.integers(0, 2, (N, 40)), [20, 20], 0),
    "squared counts": (lambda rng: rng.poisson(1000, (N, 2)) ** 2, [1, 1], 0),
    "rounded to two decimals": (rounded, [1, 1], -np.log(1 - 0.9**2) / 2),
    "float32 beside an offset": (lambda rng: rng.normal(size=(N, 2)).astype(np.float32) + np.float32(3e5), [1, 1], 0),
}
cases = pytest.mark.parametrize("case", CASES)


def test_truths():
    """The integrals against the numbers that were reported."""
    assert label_beside_number(2)[1] == pytest.approx(0.337, abs=5e-4)
    assert label_beside_number(4)[1] == pytest.approx(0.633, abs=5e-4)
    assert rectified()[1] == pytest.approx(0.39, abs=0.01)


@cases
def test_mixed_estimator(case):
    """The mean of four samples. One estimate spreads by 0.02 at n = 2,000; three of its mean's are 0.03, and 0.01 is bias."""
    draw, ds, truth = CASES[case]
    found = [MIShannon_Mixed(rng=0).estimation(draw(np.random.default_rng(seed)), ds) for seed in range(1, 5)]
    assert np.mean(found) == pytest.approx(truth, abs=0.04)


@pytest.mark.filterwarnings("ignore::ite.RepeatedValues", "ignore::ite.UnsupportedEstimate")
@pytest.mark.parametrize(
    "case, co, found",
    [
        ("pixels", MIShannon_KSG(), 0.12),
        ("pixels", MIShannon_KSG(algorithm=2), -0.19),
        ("a label beside a number", MIShannon_KSG(algorithm=2), 0.00),
        ("a label beside a number", MIShannon_DKL(rng=0), 0.77),
        ("twenty bits each", MIShannon_KSG(), 9.7),
    ],
)
def test_what_the_warning_is_for(case, co, found):
    """What `ite/README.md` quotes of estimators that take a density: the mean of two samples, none of them near the truth."""
    draw, ds, truth = CASES[case]
    mean = np.mean([co.estimation(draw(np.random.default_rng(seed)), ds) for seed in (1, 2)])
    assert mean == pytest.approx(found, abs=0.1) and abs(mean - truth) > 0.09


@cases
def test_repeated_values_are_named(case):
    """By every estimator that takes a density, and not by the one that doesn't."""
    draw, ds, _ = CASES[case]
    y = draw(np.random.default_rng(1))
    for co in (MIShannon_KSG(), MIShannon_KSG(algorithm=2), MIShannon_DKL(rng=0), MIShannon_HS()):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                co.estimation(y, ds)
            except ValueError as error:
                assert "equal 3 or more others" in str(error)
        messages = [str(warning.message) for warning in caught if warning.category is ite.RepeatedValues]
        if case != "twenty bits each" or isinstance(co, MIShannon_KSG):  # where rows differ, and Euclid's distances do
            assert messages and "use MIShannon_Mixed, or ite.jitter" in messages[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MIShannon_Mixed(rng=0).estimation(y, ds)


def test_the_blocks_are_named():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(500, 3))
    y[:40, :2], y[:, 2] = y[60:100, :2], rng.integers(0, 3, 500)
    with pytest.warns(
        ite.RepeatedValues, match="equal to others are 80 of 500 rows in block 0, 500 of 500 rows in block 1; use"
    ):
        MIShannon_DKL(rng=0).estimation(y, [2, 1])
    y[:, 0] = 0.0, *[-0.0] * 499
    with pytest.warns(ite.RepeatedValues, match="80 of 500 rows in block 0"):
        MIShannon_KSG().estimation(y, [2, 1])


@pytest.mark.filterwarnings("ignore::ite.UnsupportedEstimate")
def test_equally_far_neighbours_are_counted():
    """Rows of bits differ, their distances do not."""
    y = np.random.default_rng(0).integers(0, 2, (400, 60))
    with pytest.warns(
        ite.RepeatedValues, match="neighbours 3 and 4 are equally far from 400 of 400 samples; use MIShannon_Mixed"
    ):
        MIShannon_KSG().estimation(y, [30, 30])


@pytest.mark.parametrize("co", [MIShannon_KSG(), MIShannon_DKL(rng=0), MIShannon_HS(), MIShannon_KSG(k=299)])
def test_no_word_where_nothing_repeats(co):
    """Rounding to float32 makes a few equal; a hundredth of the rows are passed over."""
    y = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    y[0, 0] = y[3, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ite.RepeatedValues)
        co.estimation(y, [1, 2])


def test_repeated_rows_of_samples():
    """Each row twice: entropies, divergences and cross-entropies say so; three rows in common of 60 are named too."""
    y = np.repeat(np.random.default_rng(0).normal(size=(40, 2)), 2, axis=0)
    other = np.random.default_rng(1).normal(size=(60, 2))
    for name in ("BHShannon_KnnK", "BHTsallis_KnnK", "MHTsallis_HR"):
        with pytest.warns(ite.RepeatedValues, match="80 of 80 samples equal each other, as no density has it: drop"):
            ite.cost.co_factory(name).estimation(y)
    with pytest.warns(ite.RepeatedValues, match="80 of 80 samples equal each other"):
        ite.cost.BDKL_KnnK().estimation(y, other)
    with pytest.warns(ite.RepeatedValues, match="3 of 60 samples equal some of the other sample"):
        ite.cost.BCCE_KnnK().estimation(other, np.vstack([y, other[:3]]))


def test_rows_drawn_again_are_named():
    """Of independent columns, each row twice or a bootstrap sample: no estimator can tell that from dependence."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(500, 2))
    for rows, n, count in ((np.tile(y, (2, 1)), 1000, 1000), (y[rng.integers(0, 500, 500)], 500, r"\d\d\d")):
        for co in (MIShannon_KSG(k=7), MIShannon_KSG(k=7, algorithm=2), MIShannon_DKL(rng=0, kl_co_pars={"k": 7})):
            named = f"{count} of {n} rows in block 0, {count} of {n} rows in block 1; .* drop rows that were only repeated"
            with pytest.warns(ite.RepeatedValues, match=named):
                co.estimation(rows)


def test_one_word_for_all_permutations():
    y = label_beside_number(2)[0](np.random.default_rng(0))[:200]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = ite.independence_test(MIShannon_DKL(rng=1), y, [1, 1], 5, rng=0)
    assert len(found.null) == 5 and [warning.category for warning in caught] == [ite.RepeatedValues]


# The mixed estimator against others


def test_continuous_blocks_are_ksg():
    y = np.random.default_rng(0).normal(size=(400, 4))
    y[:, 3] += y[:, 0]
    for ds in ([2, 2], [1, 3], [1, 1, 2]):
        found = MIShannon_Mixed(k=4, rng=0).estimation(y, ds)
        assert found == pytest.approx(MIShannon_KSG(k=4).estimation(y, ds), abs=1e-9)


def test_one_discrete_block_is_ross():
    """As scikit-learn has it, whatever the labels' numbers and the number's unit."""
    y = label_beside_number(4)[0](np.random.default_rng(0))
    expected = mutual_info_classif(y[:, 1:], y[:, 0].astype(int), n_neighbors=3, random_state=0)[0]
    for unit in (1e-6, 1, 1e6):
        scaled = np.stack([unit * y[:, 1], -7 * y[:, 0]], axis=1)
        assert MIShannon_Mixed(discrete=[1], rng=0).estimation(scaled) == pytest.approx(expected, abs=1e-6)


def test_discrete_blocks_by_hand():
    """a a a a b b b b b, c c c c d d d d d: psi of 4 and of 5 cancel but for one each."""
    x = np.repeat([0.0, 1.0], [4, 5])
    found = MIShannon_Mixed(rng=0).estimation(np.stack([x, 3 - x], axis=1))
    assert found == pytest.approx(digamma(9) - (4 * digamma(4) + 5 * digamma(5)) / 9, rel=1e-12)


def test_randomness_of_the_order():
    y = CASES["pixels"][0](np.random.default_rng(0))
    by_int, generator = MIShannon_Mixed(rng=3), np.random.default_rng(3)
    by_generator = MIShannon_Mixed(rng=generator)
    first = by_int.estimation(y)
    assert first == by_int.estimation(y) == by_generator.estimation(y) != by_generator.estimation(y)


@pytest.mark.parametrize("discrete", [[2], [-1], [0.5], ["x"]])
def test_discrete_names_blocks(discrete):
    with pytest.raises(ValueError, match=r"discrete: found .*, expected numbers of blocks, from 0 to 1"):
        MIShannon_Mixed(discrete=discrete).estimation(np.random.default_rng(0).normal(size=(50, 2)))


# Jitter


@pytest.mark.parametrize("case", ["pixels", "twenty bits each", "float32 beside an offset", "rounded to two decimals"])
def test_jitter(case):
    """Hardly two values are equal any more, differences stay, and KSG finds the truth."""
    draw, ds, truth = CASES[case]
    y = draw(np.random.default_rng(1))
    moved = ite.jitter(y, rng=0)
    assert min(len(np.unique(column)) for column in moved.T) > 0.99 * N
    assert np.ptp((moved - moved[0]) - (y.astype(float) - y[0])) < 1e-8 * y.std()
    assert_array_equal(moved, ite.jitter(y, rng=0))
    assert not np.array_equal(moved, ite.jitter(y, rng=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert MIShannon_KSG().estimation(moved, ds) == pytest.approx(truth, abs=0.07)


def test_bad_jitter():
    with pytest.raises(ValueError, match="scale: found -1"):
        ite.jitter(np.ones((3, 1)), scale=-1)


# Masked and huge cells


def test_masked_arrays():
    """An error, whatever stands below the mask; none where nothing is masked."""
    raw = np.random.default_rng(0).normal(size=(60, 2))
    expected = MIShannon_KSG().estimation(raw)
    assert MIShannon_KSG().estimation(np.ma.masked_less(raw, -9000)) == expected
    raw[[3, 5, 7], 1] = -9999
    masked = np.ma.masked_less(raw, -9000)
    for work in (MIShannon_KSG().estimation, ite.standardize, ite.jitter, lambda y: ite.independence_test(MIShannon_KSG(), y)):
        with pytest.raises(ValueError, match="y: found 3 masked of 120 elements, expected none: drop their rows"):
            work(masked)
    kernel = ite.cost.Kernel()
    for work in (lambda y: knn_distances(y, 3), kernel.gram_matrix1, kernel.gram_matrix_diagonal, lambda y: kernel.sum(raw, y)):
        with pytest.raises(ValueError, match=r"(points|y\d): found 3 masked of 120 elements"):
            work(masked)


def test_cells_beyond_what_squares_hold():
    y = np.random.default_rng(0).normal(size=(300, 3))
    huge, small = y.copy(), y.copy()
    huge[[4, 9], 1], small[:, 2] = 1.79e308, 1e-170 * y[:, 2]
    for work in (MIShannon_KSG().estimation, MIShannon_DKL(rng=0).estimation, ite.standardize):
        with pytest.raises(ValueError, match=r"y: column 1 has the largest number, 1\.79e\+308, expected 1e-150 to 1e150"):
            work(huge)
        with pytest.raises(ValueError, match=r"column \d has the largest number, \de-170, expected 1e-150"):
            work(np.sign(y) * 3e-170)
    with pytest.raises(ValueError, match="block 2 is constant, or its squares underflow"):
        ite.standardize(small)
    with pytest.raises(ValueError, match="column 2 varies by less than float64's squares hold"):
        ite.standardize(small, how="column")
    assert MIShannon_KSG().estimation(small) == pytest.approx(MIShannon_KSG().estimation(y), abs=0.2)  # distances are its
    for scale in (1e-140, 1e140):
        assert MIShannon_DKL(rng=0).estimation(scale * y) == pytest.approx(MIShannon_DKL(rng=0).estimation(y), rel=1e-6)
        assert np.allclose(ite.standardize(scale * y), ite.standardize(y))
