"""Figures of few rows and odd values: drawn, or refused with what was found and what was expected."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from shredder import figures
from shredder.shown import kolmogorov, pictures_of

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def rows(n: int, *shape: int) -> np.ndarray:
    return RNG.normal(size=(n, *shape)).astype(np.float32)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [2, 3])
def test_principal_components_of_fewer_rows_than_columns(n):
    activations = rows(n, 120)
    figure = figures.principal_components(activations, activations, {"digit": np.arange(n)})
    points = np.asarray(figure.axes[0].collections[0].get_offsets())
    # Three points lie in a plane, so that two components keep their distances.
    between = np.linalg.norm(activations[0].astype(float) - activations[1])
    assert np.linalg.norm(points[0] - points[1]) == pytest.approx(between, rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 120), (5, 1)])
def test_principal_components_need_two_of_each(shape):
    with pytest.raises(ValueError, match=rf"found \({shape[0]}, {shape[1]}\), expected at least 2 rows and 2 columns"):
        figures.principal_components(rows(*shape), rows(*shape), {"digit": np.arange(shape[0])})


@pytest.mark.filterwarnings("error")
def test_principal_components_of_values_whose_squares_leave_float32():
    figures.principal_components(1e30 * rows(9, 4), rows(9, 4), {"digit": np.arange(9)})


@pytest.mark.parametrize(
    "labels, ticks, texts",
    [
        (np.array([True, False, True]), [0, 1], ["no", "yes"]),
        (np.array([True, True, True]), [0], ["yes"]),
        (np.array([7, 2, 7]), [0, 1], ["2", "7"]),  # two digits are no answers
        (np.array([7, 1, 0]), [0, 1, 2], ["0", "1", "7"]),
        (np.arange(1000), list(range(0, 1000, 51)), [str(label) for label in range(0, 1000, 51)]),
    ],
)
def test_every_class_has_its_own_colour_and_name(labels, ticks, texts):
    figure = figures.principal_components(rows(len(labels), 4), rows(len(labels), 4), {"class": labels})
    bar = figure.axes[-1]
    assert list(bar.get_yticks()) == ticks
    assert [text.get_text() for text in bar.get_yticklabels()] == texts
    points = figure.axes[0].collections[0]
    assert len(np.unique(points.cmap(points.norm(np.arange(len(np.unique(labels))))), axis=0)) == min(
        len(np.unique(labels)), 256
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n, n_shown", [(2, 1), (3, 1), (9, 4), (16, 8), (50, 8)])
def test_no_more_than_half_of_the_queries_are_shown(n, n_shown):
    figure = figures.what_noise_leaves(rows(n, 4, 4), rows(n, 6), rows(n, 6))
    assert len(figure.axes) == 5 * n_shown
    titles = [axis.get_ylabel() for axis in figure.axes[::n_shown]]
    assert [title.endswith("(each panel its\nown scale)") for title in titles] == [False, True, True, False, False]
    assert figure.get_size_inches() == pytest.approx([figures.WIDTH * (n_shown + 1) / 9, figures.WIDTH * 5 / 9])


def test_inputs_and_guesses_share_a_scale_and_activations_do_not():
    images, clean, noisy = rows(16, 4, 4), rows(16, 6), rows(16, 6)
    figure = figures.what_noise_leaves(images, clean, noisy)
    scales = np.array([axis.images[0].get_clim() for axis in figure.axes]).reshape(5, 8, 2)
    assert scales[[0, 3, 4]].reshape(-1, 2) == pytest.approx(np.tile([images.min(), images.max()], (24, 1)))
    for of_rows, values in ((scales[1], clean), (scales[2], noisy)):
        assert of_rows == pytest.approx(np.stack([values[:8].min(1), values[:8].max(1)], 1))


def test_a_guess_needs_a_query_to_fit_to():
    with pytest.raises(ValueError, match="images: found 1 row, expected at least 2"):
        figures.what_noise_leaves(rows(1, 4, 4), rows(1, 6), rows(1, 6))


def legend(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


@pytest.mark.filterwarnings("error")
def test_equal_elements_have_no_density_to_fit():
    figure = figures.noise_histograms(rows(3, 4), np.full((2, 4), 0.5, np.float32))
    fitted, equal = map(legend, figure.axes)
    assert fitted[1].startswith("Normal fit (off by ")
    assert equal[1] == "all equal 0.5, nothing to fit"


def test_what_fits_is_called_a_fit_and_what_does_not_is_not():
    spike = np.where(RNG.random((20, 120)) < 0.3, 0, RNG.exponential(0.7, (20, 120)))  # as learned w are
    figure = figures.noise_histograms(spike, RNG.laplace(3, 20, (20, 120)))
    (_, of_w), (_, of_n) = map(legend, figure.axes)
    assert of_w.startswith("Normal, no fit (off by ")
    assert of_n.startswith("Laplace fit (off by 0.0")
    assert of_w.endswith(f"\nmean {spike.mean():.2g}, deviation {spike.std():.3g}")
    assert [axis.lines[-1].get_linestyle() for axis in figure.axes] == [":", "-"]
    assert figure.axes[1].get_xlabel() == "additive n, elements of 20 tensors"


def test_the_distance_is_kolmogorov_s():
    values = np.sort(RNG.normal(size=50))
    expected = stats.kstest(values, stats.norm.cdf).statistic
    assert kolmogorov(values, stats.norm.cdf) == pytest.approx(expected, rel=1e-12)


def test_noise_that_is_only_drawn_is_called_that():
    figure = figures.noise_histograms(None, rows(7, 4), drawn=True)
    assert figure.axes[0].get_xlabel() == "noise a' - a, elements of 7 queries"


@pytest.mark.parametrize("n_members, text", [(20, "members"), (51, "50 of 51 members")])
def test_thin_lines_have_a_legend(n_members, text):
    kinds = [("member", int), ("epoch", int), ("accuracy", float), ("snr", float)]
    curves = np.array([(m, e, 0.9 + 0.01 * e, 0.1 * m) for m in range(n_members) for e in (1, 2)], kinds)
    figure = figures.training_curves(curves, 0.95, 1)
    texts = [entry.get_text() for entry in figure.legends[0].get_texts()]
    assert texts == [text, "mean of members", "acceptance may begin", "accuracy to exceed"]
    thin, thick = figure.axes[0].lines[0], figure.axes[0].lines[min(n_members, 50)]
    assert thin.get_label() == text
    assert list(thick.get_ydata()) == pytest.approx([0.91, 0.92])
    texts = [entry.get_text() for entry in figures.training_curves(curves).legends[0].get_texts()]
    assert texts == [text, "mean of members"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [0.25, 0.75]])
def test_accuracy_of_few_draws(values):
    figure = figures.accuracy_over_draws({"accuracy": np.array(values)})
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == len(values)


@pytest.mark.filterwarnings("error")
def test_one_picture_in_each_row():
    figure = figures.reconstructions({"input": rows(1, 4, 4), "guess": rows(2, 4, 4)})
    assert len(figure.axes) == 2


def test_the_edge_sends_the_noisy_activation():
    clean, noisy = rows(6), rows(6)
    figure = figures.pipeline(rows(4, 4), clean, noisy, "a + n", 0.5)
    titles = [axis.get_title() for axis in figure.axes[:4]]
    assert titles == ["input x", "edge computes\na = edge(x)", "noise of this query\na' - a", "edge sends\na' = a + n"]
    shown = [axis.images[0].get_array().ravel() for axis in figure.axes[1:4]]
    for values, expected in zip(shown, (clean, noisy - clean, noisy), strict=True):
        np.testing.assert_array_equal(values, expected)
    assert len({axis.images[0].get_clim() for axis in figure.axes[1:4]}) == 1
    assert figure.axes[1].images[0].get_clim()[1] == max(np.abs(values).max() for values in shown)


@pytest.mark.filterwarnings("error")
def test_pipeline_of_nothing():
    zeros = np.zeros(6, np.float32)
    figures.png(figures.pipeline(rows(4, 4), zeros, zeros, "a + n", 0.5))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "shape, expected",
    [
        ((1, 32, 32), (5, 32, 32)),
        ((28, 28), (5, 28, 28)),
        ((3, 8, 8), (5, 8, 8, 3)),
        ((3, 224, 224), (5, 56, 56, 3)),
        ((1, 128, 65), (5, 64, 33)),
        ((2, 3, 4), (5, 4, 6)),  # no picture: a rectangle of its elements
        ((12,), (5, 3, 4)),
        ((7,), (5, 1, 7)),
    ],
)
def test_inputs_of_any_shape_are_pictures(shape, expected):
    shown = pictures_of(rows(5, int(np.prod(shape))), shape)
    assert shown.shape == expected
    assert (shown.min(), shown.max()) == (0, 1)


def test_pictures_undo_a_network_s_normalisation():
    pixels = RNG.random((4, 3, 8, 8)).astype(np.float32)
    pixels[0, :, 0, 0], pixels[1, :, 3, 3] = 0, 1  # black and white
    mean, deviation = np.array([[0.5, 0.4, 0.3], [0.2, 0.25, 0.3]])[:, :, None, None]
    shown = pictures_of(((pixels - mean) / deviation).astype(np.float32).reshape(4, -1), (3, 8, 8))
    assert shown == pytest.approx(pixels.transpose(0, 2, 3, 1), abs=1e-6)
    assert (pictures_of(np.ones((2, 4), np.float32), (2, 2)) == 0).all()  # a channel of one value


def test_noisy_points_that_hide_nothing_stay_where_they_are():
    activations = rows(200, 6)
    figure = figures.principal_components(activations, activations, {"digit": np.arange(200) % 10})
    clean, noisy = (np.asarray(axis.collections[0].get_offsets()) for axis in figure.axes[:2])
    np.testing.assert_array_equal(clean, noisy)
    assert figure.axes[1].get_title() == "noisy activations"


@pytest.mark.filterwarnings("error")
def test_equal_points_are_drawn():
    figures.principal_components(rows(9, 4), np.zeros((9, 4), np.float32), {"digit": np.arange(9)})


def test_noisy_points_of_one_member_do_not_hide_each_other():
    members = rows(4, 6)[np.arange(200) % 4] * 100  # four clusters of equal points
    figure = figures.principal_components(rows(200, 6), members, {"digit": np.arange(200) % 10})
    points = np.asarray(figure.axes[1].collections[0].get_offsets())
    assert "spread apart" in figure.axes[1].get_title()
    side = np.ptp(points, axis=0)
    for member in range(4):
        cluster = points[member::4] / side
        gaps = np.linalg.norm(cluster[:, None] - cluster, axis=2) + np.eye(50)
        assert gaps.min() > 0.001
        assert np.abs(cluster - cluster.mean(0)).max() < 0.045
