"""Figures of few rows and odd values: drawn, or refused with what was found and what was expected."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from shredder import figures

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
    assert figure.get_size_inches() == pytest.approx([figures.WIDTH * (n_shown + 1) / 9, figures.WIDTH * 5 / 9])


def test_a_guess_needs_a_query_to_fit_to():
    with pytest.raises(ValueError, match="images: found 1 row, expected at least 2"):
        figures.what_noise_leaves(rows(1, 4, 4), rows(1, 6), rows(1, 6))


@pytest.mark.filterwarnings("error")
def test_equal_elements_have_no_density_to_fit():
    figure = figures.noise_histograms(rows(3, 4), np.full((2, 4), 0.5, np.float32))
    fitted, equal = ([text.get_text() for text in axis.get_legend().get_texts()] for axis in figure.axes)
    assert fitted[1].startswith("Normal fit: ")
    assert equal[1] == "all equal 0.5, nothing to fit"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [0.25, 0.75]])
def test_accuracy_of_few_draws(values):
    figure = figures.accuracy_over_draws({"accuracy": np.array(values)})
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == len(values)


@pytest.mark.filterwarnings("error")
def test_one_picture_in_each_row():
    figure = figures.reconstructions({"input": rows(1, 4, 4), "guess": rows(2, 4, 4)})
    assert len(figure.axes) == 2


@pytest.mark.filterwarnings("error")
def test_pipeline_of_nothing():
    zeros = np.zeros(6, np.float32)
    figures.png(figures.pipeline(rows(4, 4), zeros, zeros, "a + n", 0.5))
