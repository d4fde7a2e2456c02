"""How a query draws: what stays of the stored tensors, the moments of what is new, and that every draw is like every other."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from shredder.io.cli import InputError
from shredder.noise.draws import query_generator, redraw_elements, redraw_in_order
from shredder.noise.stored import Collection

SHAPE = (16, 5, 5)
# Seeds are fixed and bounds lie four standard deviations of the estimate away: one stream in 16,000 would exceed one.
SIGMAS = 4


@pytest.fixture
def collection():
    """Twenty pairs; within each w no two elements are equal, as they might be among Normal values in float32."""
    rng = np.random.default_rng(0)
    w = rng.permuted(np.tile(np.linspace(-1, 2, 400), (20, 1)), axis=1).reshape(20, *SHAPE)
    n = rng.normal(size=(20, *SHAPE))
    return Collection(torch.from_numpy(w).float(), torch.from_numpy(n).float())


@pytest.fixture
def additive(collection):
    """The same without multiplicative tensors, as v1 and v3 learn them."""
    return Collection(None, collection.additive)


def drawn_members(additive, collection):
    """Which member each draw is: no two of them are alike in their first element."""
    return (additive[:, 0, 0, 0, None] == collection.additive[:, 0, 0, 0]).int().argmax(1)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([(2,), (7,), (3, 4, 4), (120, 1, 1)]),
    st.floats(0.1, 100),
    st.floats(-10, 10),
    st.sampled_from(["normal", "laplace"]),
)
def test_order_is_kept(seed, shape, std, mean, family):
    rng = np.random.default_rng(seed)
    tensors = torch.from_numpy(mean + std * rng.normal(size=(5, *shape))).float()
    found = redraw_in_order(tensors, family, rng)
    assert found.shape == tensors.shape and found.dtype == torch.float32
    # Walking each tensor from its smallest element up, the new values never fall (two may round to one float32).
    order = tensors.flatten(1).argsort(dim=1, stable=True)
    assert (found.flatten(1).gather(1, order).diff(dim=1) >= 0).all()


@pytest.mark.parametrize("family", ["normal", "laplace"])
def test_argsort_is_kept(collection, family):
    found = redraw_in_order(collection.multiplicative, family, np.random.default_rng(1)).flatten(1)
    assert all(len(tensor.unique()) == 400 for tensor in found)  # or argsort would be ambiguous
    assert torch.equal(found.argsort(1), collection.multiplicative.flatten(1).argsort(1))


def test_redraw_by_hand():
    """Of 3, -1, 1: mean 1, std sqrt(8/3) by maximum likelihood; the places are largest, smallest, middle."""
    low, middle, high = 1 + np.sqrt(8 / 3) * np.sort(np.random.default_rng(5).normal(size=3))
    found = redraw_in_order(torch.tensor([[3.0, -1.0, 1.0]]), "normal", np.random.default_rng(5))
    assert_allclose(found, [[high, low, middle]], rtol=1e-6)


def test_redraw_from_a_laplace_by_hand():
    """Of 3, -1, 1, 9: median 2, mean distance from it (1 + 3 + 1 + 7) / 4 = 3; the places are third, first, second, fourth."""
    lowest, low, high, highest = 2 + 3 * np.sort(np.random.default_rng(5).laplace(size=4))
    found = redraw_in_order(torch.tensor([[3.0, -1.0, 1.0, 9.0]]), "laplace", np.random.default_rng(5))
    assert_allclose(found, [[high, lowest, low, highest]], rtol=1e-6)


@pytest.mark.parametrize(("n", "shape"), [(3, (7,)), (2, (3, 4, 4)), (1, (2, 5, 5))])
def test_redraw_from_the_laplace_that_scipy_fits(n, shape):
    """Element by element of each tensor: that fit's values, sorted, where v3 stores the descending order of its elements."""
    tensors = torch.from_numpy(np.random.default_rng(1).gamma(2, size=(n, *shape))).float()
    standard = np.random.default_rng(2).laplace(size=(n, math.prod(shape)))
    found = redraw_in_order(tensors, "laplace", np.random.default_rng(2))
    for row, tensor in enumerate(tensors.double().numpy()):
        location, scale = stats.laplace.fit(tensor.flatten())
        expected = np.empty(tensor.size)
        expected[np.argsort(-tensor.flatten())] = np.sort(location + scale * standard[row])[::-1]
        assert_allclose(found[row].flatten(), expected, rtol=1e-6, atol=1e-6)


def test_moments_of_redraws_from_a_laplace():
    n = torch.from_numpy(np.random.default_rng(0).laplace(0.6, 1.2, size=SHAPE)).float()
    location, scale = stats.laplace.fit(n.double().numpy().flatten())
    found = redraw_in_order(n.expand(2000, *SHAPE), "laplace", np.random.default_rng(0)).double().numpy()
    # m independent Laplace values: their mean errs by sqrt(2 / m) scales, the mean distance from the location by 1 / sqrt(m).
    assert found.mean() == pytest.approx(location, abs=SIGMAS * scale * (2 / found.size) ** 0.5)
    assert np.abs(found - location).mean() == pytest.approx(scale, rel=SIGMAS / found.size**0.5)
    assert stats.kstest(found[0].flatten(), stats.laplace(location, scale).cdf).pvalue > 1e-4


@pytest.mark.parametrize("family", ["normal", "laplace"])
def test_redraw_of_a_constant(family):
    """A distribution of no width has one value."""
    assert torch.equal(redraw_in_order(torch.full((2, 9), 0.3), family, np.random.default_rng(0)), torch.full((2, 9), 0.3))


def test_moments_of_redraws():
    w = 0.7 + 0.2 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    mean, std, n = w.mean().item(), w.std(correction=0).item(), 2000 * w.numel()
    found = redraw_in_order(w.expand(2000, *SHAPE), "normal", np.random.default_rng(0)).double()
    # n independent Normal values: their mean errs by std / sqrt(n), their standard deviation by std / sqrt(2 n).
    assert found.mean().item() == pytest.approx(mean, abs=SIGMAS * std / n**0.5)
    assert found.std().item() == pytest.approx(std, abs=SIGMAS * std / (2 * n) ** 0.5)
    assert stats.kstest((found[0].flatten().numpy() - mean) / std, "norm").pvalue > 1e-4


def test_redraw_of_elements_by_hand():
    """Element by element over the members: means 2 and 10, standard deviations 1 and 0, each divided by N."""
    found = redraw_elements(torch.tensor([[1.0, 10.0], [3.0, 10.0]]), 1000, np.random.default_rng(0)).additive
    assert found.shape == (1000, 2) and torch.equal(found[:, 1], torch.full((1000,), 10.0).double())
    # Of a Laplace of scale 1 the mean distance from its location is 1, and so is that distance's standard deviation.
    assert (found[:, 0] - 2).abs().mean().item() == pytest.approx(1, abs=SIGMAS / 1000**0.5)


def test_moments_of_redrawn_elements(additive):
    """Location: the element's mean; scale: its standard deviation over the members; so the draws' is sqrt(2) of that."""
    draws = 4000
    tensors = additive.additive.double().numpy()
    location, scale = tensors.mean(0), tensors.std(0)
    found = redraw_elements(additive.additive, draws, np.random.default_rng(0)).additive
    assert found.shape == (draws, *SHAPE) and found.dtype == torch.float64
    found = found.numpy()
    # In units of their standard errors: the mean's is sqrt(2 / draws) scales; the mean distance's is 1 / sqrt(draws) scales;
    # the variance's is sqrt((24 - 4) / draws) squared scales, since the fourth moment is 24 and the variance 2.
    errors = [
        (found.mean(0) - location) / (scale * (2 / draws) ** 0.5),
        (np.abs(found - location).mean(0) - scale) / (scale / draws**0.5),
        (((found - location) ** 2).mean(0) - 2 * scale**2) / (scale**2 * (20 / draws) ** 0.5),
    ]
    for error in errors:
        # Among 400 elements one in 400 million would lie beyond six; and all of them together are standard Normal.
        assert np.abs(error).max() < 6
        assert abs(error.mean()) < SIGMAS / 400**0.5 and error.std() == pytest.approx(1, rel=SIGMAS / 800**0.5)


def test_redrawn_elements_are_laplace_and_independent(additive):
    draws, tensors = 1000, additive.additive.double().numpy()
    found = redraw_elements(additive.additive, draws, np.random.default_rng(1)).additive.numpy()
    standard = ((found - tensors.mean(0)) / tensors.std(0)).reshape(draws, -1)
    assert stats.kstest(standard.flatten(), "laplace").pvalue > 1e-4
    assert min(stats.kstest(element, "laplace").pvalue for element in standard.T) > 1e-4 / 400
    # Neither elements nor queries know of each other: of independent columns, a correlation's standard error is 1 / sqrt(rows).
    for table in (standard, standard.T):
        correlations = np.corrcoef(table, rowvar=False)[np.triu_indices(table.shape[1], 1)]
        assert np.abs(correlations).max() < 7 / table.shape[0] ** 0.5
        assert correlations.std() == pytest.approx(1 / table.shape[0] ** 0.5, rel=0.05)
        assert abs(correlations.mean()) < SIGMAS / (table.shape[0] * len(correlations)) ** 0.5


def test_one_member_leaves_its_elements_no_room():
    tensor = torch.tensor([[[0.25, -3.0]]])
    _, drawn, grid = redraw_elements(tensor, 3, np.random.default_rng(0))
    assert torch.equal(drawn, tensor.expand(3, 1, 2).double()) and not grid.any()


@pytest.mark.parametrize("how", ["verbatim", "order-preserving", "elementwise-laplace"])
def test_without_multiplicative_tensors(additive, how):
    """What each rule does with the additive ones; none answers with a multiplicative tensor."""
    w, n, grid = additive.draw(500, how, np.random.default_rng(0))
    assert w is None and n.shape == (500, *SHAPE) and (grid is None) == (how == "verbatim")
    stored, rng = additive.additive, np.random.default_rng(0)
    if how == "elementwise-laplace":
        assert torch.equal(n, redraw_elements(stored, 500, rng).additive)
    if how == "verbatim":
        assert torch.equal(n, stored[drawn_members(n, additive)])
    if how == "order-preserving":
        # Each draw rises where exactly one stored tensor rises, and no two of them are alike.
        orders = stored.flatten(1).argsort(1)
        rises = torch.stack([(n.flatten(1)[:, order].diff(dim=1) >= 0).all(1) for order in orders], dim=1)
        assert (rises.sum(1) == 1).all() and (rises.sum(0) > 0).all()
        assert len({tensor.numpy().tobytes() for tensor in n}) == 500
        rng.integers(20, size=500)  # the members, which are chosen first
        assert torch.equal(n.float(), redraw_in_order(stored[rises.int().argmax(1)], "laplace", rng))


def test_elementwise_laplace_is_for_additive_tensors_alone(collection):
    """The scripts' flag is named; w * a + n would need a rule for w that v1 does not have."""
    with pytest.raises(InputError, match=r"--draw elementwise-laplace: not a rule .* v1's rule is for additive tensors alone"):
        collection.draw(5, "elementwise-laplace", np.random.default_rng(0))


def test_verbatim_returns_stored_pairs(collection):
    w, n, _ = collection.draw(500, "verbatim", np.random.default_rng(0))
    members = drawn_members(n, collection)
    assert torch.equal(n, collection.additive[members]) and torch.equal(w, collection.multiplicative[members])


def test_order_preserving_keeps_the_pair(collection):
    w, n, _ = collection.draw(500, "order-preserving", np.random.default_rng(0))
    members = drawn_members(n, collection)
    stored = collection.multiplicative[members]
    assert torch.equal(n, collection.additive[members])
    order = stored.flatten(1).argsort(1)
    assert (w.flatten(1).gather(1, order).diff(dim=1) >= 0).all() and not (w == stored).any(dim=0).all()
    # No two queries of one member share their multiplicative tensor.
    assert len({tensor.numpy().tobytes() for tensor in w}) == 500


@pytest.mark.parametrize("how", ["verbatim", "order-preserving"])
def test_members_are_drawn_uniformly(collection, how):
    """Pearson's statistic of 5,000 draws among 20 members, below the quantile that one stream in 10,000 exceeds."""
    _, n, _ = collection.draw(5000, how, np.random.default_rng(0))
    counts = drawn_members(n, collection).bincount(minlength=20).numpy()
    assert counts.sum() == 5000 and np.square(counts - 250).sum() / 250 < stats.chi2.ppf(1 - 1e-4, df=19)


@pytest.mark.parametrize("how", ["verbatim", "order-preserving", "elementwise-laplace"])
def test_same_seed_same_bits_without_multiplicative_tensors(additive, how):
    first, again, other = (additive.draw(50, how, np.random.default_rng(seed))[1] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_without_a_seed_nobody_can_repeat_the_draws():
    first, again = (query_generator(None).integers(2**63, size=100) for _ in range(2))
    assert type(query_generator(None).bit_generator).__name__ == "ChaCha" and not (first == again).any()
    assert (query_generator(3).integers(2**63, size=100) == np.random.default_rng(3).integers(2**63, size=100)).all()


@pytest.mark.parametrize("how", ["verbatim", "order-preserving"])
def test_same_seed_same_bits(collection, how):
    first, again, other = (collection.draw(50, how, np.random.default_rng(seed))[:2] for seed in (1, 1, 2))
    assert all(map(torch.equal, first, again)) and not any(map(torch.equal, first, other))
