"""The figures: arrays in, one matplotlib Figure out, one look for all."""

import io
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from shredder.shown import as_rectangle, bins, hidden, kolmogorov, linear_guess, spread_apart, two_components

# Four of Okabe and Ito's colours, which the colour-blind tell apart.
BLUE, RED, SKY, GREY = "#0072B2", "#D55E00", "#56B4E9", "#999999"
WIDTH = 8.0  # inches: at 100 pixels an inch as wide as a README shows a picture
STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "savefig.bbox": "tight",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "image.cmap": "cividis",
}
plt.rcParams.update(STYLE)


def png(figure: Figure) -> bytes:
    """`figure` as a PNG file's content."""
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return buffer.getvalue()


def pipeline(image: np.ndarray, clean: np.ndarray, noisy: np.ndarray, formula: str, snr: float) -> Figure:
    """Edge | noise | cloud, drawn with one real query.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, 3)
    clean, noisy : ndarray, (D,)
        The activation a, and a'.
    formula : str
        What a' is.
    snr : float
        Average over draws, linear.
    """
    figure, axes = plt.subplots(1, 4, figsize=(WIDTH, 2.5), width_ratios=[1, 1.15, 1.15, 1.15])
    titles = ("input x", "edge computes\na = edge(x)", "noise of this query\na' - a", f"edge sends\na' = {formula}")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    axes[0].imshow(image, cmap="gray")
    limit = max(np.abs(values).max() for values in (clean, noisy - clean, noisy))
    for axis, values in zip(axes[1:], (clean, noisy - clean, noisy), strict=True):
        shown = axis.imshow(as_rectangle(values), cmap="PuOr", vmin=-limit, vmax=limit)
    figure.colorbar(shown, ax=axes[1:], shrink=0.7, label="activation (one colour scale)")
    for axis, text in zip(axes[1:], ("→", "+", "="), strict=True):
        axis.annotate(text, (-0.14, 0.5), xycoords="axes fraction", fontsize=16, ha="center", va="center")
    figure.suptitle(
        f"on the device: x, a and the noise   |   on the server: a' and the answer   (average SNR, of powers: {snr:.2g})",
        fontsize=10,
    )
    return figure


def training_curves(curves: np.ndarray, min_accuracy: float | None = None, min_epochs: float | None = None) -> Figure:
    """Held-out accuracy and SNR by epoch: at most 50 members, and the mean over all that still learn.

    Parameters
    ----------
    curves : structured ndarray
        Columns member, epoch, loss, accuracy, snr, as in curves.csv.
    min_accuracy, min_epochs : float, optional
        When members are accepted.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    epochs, members = np.unique(curves["epoch"]), np.unique(curves["member"])
    thin = "members" if len(members) <= 50 else f"50 of {len(members)} members"
    for axis, column, label in zip(axes, ("accuracy", "snr"), ("held-out accuracy", "SNR"), strict=True):
        for i, member in enumerate(members[:50]):
            of_member = curves[curves["member"] == member]
            look = {"color": SKY, "linewidth": 0.5, "alpha": 0.4 if len(members) > 20 else 0.7}
            axis.plot(of_member["epoch"], of_member[column], label=thin if i == 0 else None, **look)
        mean = [curves[column][curves["epoch"] == epoch].mean() for epoch in epochs]
        axis.plot(epochs, mean, color=BLUE, linewidth=2, label="mean of members")
        if min_epochs is not None:
            axis.axvline(min_epochs, color=GREY, linestyle=":", label="acceptance may begin")
        axis.set(xlabel="epoch", ylabel=label)
    if min_accuracy is not None:
        axes[0].axhline(min_accuracy, color=RED, linestyle="--", label="accuracy to exceed")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, columnspacing=1.2)
    axes[1].ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    return figure


def noise_histograms(multiplicative: np.ndarray | None, additive: np.ndarray, drawn: bool = False) -> Figure:
    """All elements of a collection's tensors, and a Normal (w) and a Laplace (n) fitted to them together.

    A density whose distribution function is off by more than 0.05, and more than chance makes it, is not called a fit.
    Elements that are all equal have no density at all.

    Parameters
    ----------
    multiplicative, additive : ndarray, (N, *activation shape)
        None where the method has no multiplicative tensors.
    drawn : bool
        `additive` is a' - a of N queries, where a method keeps no tensors.
    """
    figure, axes = plt.subplots(1, 1 + (multiplicative is not None), figsize=(WIDTH, 3.3), squeeze=False)
    if multiplicative is not None:
        _histogram(axes[0, 0], multiplicative, stats.norm, ("Normal", "mean", "deviation"))
        axes[0, 0].set_xlabel(f"multiplicative w, elements of {len(multiplicative)} tensors")
    _histogram(axes[0, -1], additive, stats.laplace, ("Laplace", "location", "scale"))
    of = f"noise a' - a, elements of {len(additive)} queries" if drawn else f"additive n, elements of {len(additive)} tensors"
    axes[0, -1].set_xlabel(of)
    return figure


def _histogram(axis: plt.Axes, tensors: np.ndarray, distribution: stats.rv_continuous, names: tuple[str, str, str]) -> None:
    """Elements of `tensors`, and the `distribution` that suits them best; `names` of it and of its two parameters."""
    values = np.sort(tensors, axis=None)
    location, scale = distribution.fit(values)
    low, high = np.quantile(values, [0.0005, 0.9995])
    axis.hist(values, bins=80, range=(low, high), density=True, color=SKY, label="elements")
    if scale > 0:
        distance = kolmogorov(values, lambda x: distribution.cdf(x, location, scale))
        fits = distance <= 0.05 + 1.36 / np.sqrt(len(values))  # 95 % of samples of the very distribution stay below the latter
        name, *parameters = names
        text = f"{name}{' fit' if fits else ', no fit'} (off by {distance:.2g}):\n"
        text += f"{parameters[0]} {location:.2g}, {parameters[1]} {scale:.3g}"
        grid = np.linspace(low, high, 400)
        axis.plot(grid, distribution.pdf(grid, location, scale), color=RED, linestyle="-" if fits else ":", label=text)
    else:
        axis.plot([], [], " ", label=f"all equal {location:.3g}, nothing to fit")
    axis.set(ylabel="density", ylim=(0, axis.get_ylim()[1] * 1.5))
    axis.legend(loc="upper left")


def accuracy_over_draws(columns: Mapping[str, np.ndarray]) -> Figure:
    """Accuracy on many test images under each query's draw, of one network or two.

    Parameters
    ----------
    columns : mapping of str to ndarray, (n,)
        What each network answers, to its accuracies in [0, 1].
    """
    figure, axes = plt.subplots(1, len(columns), figsize=(WIDTH, 2.8), squeeze=False)
    for axis, (label, values), colour in zip(axes[0], columns.items(), (BLUE, RED), strict=False):
        axis.hist(100 * values, bins=bins(100 * values), color=colour, alpha=0.7)
        axis.axvline(100 * values.mean(), color="black", linestyle="--", label=f"mean {100 * values.mean():.2f} %")
        axis.set(xlabel=f"{label} (%)", ylabel="draws")
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def principal_components(clean: np.ndarray, noisy: np.ndarray, classes: Mapping[str, np.ndarray]) -> Figure:
    """Clean and noisy activations in their own two principal components, a row of pictures for each kind of label.

    Queries of one member's noise lie on top of each other, so that one colour hides the others. Where most noisy points do,
    they are spread over discs of a twenty-fifth of the picture's side, and the title says so.

    Parameters
    ----------
    clean, noisy : ndarray, (n, D)
        n and D at least 2.
    classes : mapping of str to ndarray, (n,)
        Labels; False and True are named no and yes.

    Raises
    ------
    ValueError
        If there are fewer rows or columns.
    """
    figure, axes = plt.subplots(len(classes), 2, figsize=(WIDTH, 3 * len(classes)), squeeze=False)
    points, title = two_components(noisy), "noisy activations"
    if hidden(points):
        points, title = spread_apart(points), f"{title}, points spread apart"
    both = (two_components(clean), "clean activations"), (points, title)
    for row, (name, labels) in zip(axes, classes.items(), strict=True):
        values, places = np.unique(labels, return_inverse=True)
        two = plt.matplotlib.colors.ListedColormap([BLUE, RED])
        palette = two if len(values) == 2 else plt.get_cmap("viridis", len(values))
        for axis, (points, title) in zip(row, both, strict=True):
            shown = axis.scatter(*points.T, c=places, cmap=palette, s=6, linewidths=0, alpha=0.8)
            axis.set(title=title, xlabel="component 1", ylabel="component 2")
        some = np.arange(0, len(values), 1 + len(values) // 20)  # room for so many labels
        bar = figure.colorbar(shown, ax=row, label=name, ticks=some)
        bar.mappable.set_clim(-0.5, len(values) - 0.5)
        bar.ax.set_yticklabels([{False: "no", True: "yes"}[value] if labels.dtype == bool else value for value in values[some]])
    return figure


def what_noise_leaves(images: np.ndarray, clean: np.ndarray, noisy: np.ndarray, n_shown: int = 8) -> Figure:
    """Inputs beside what is sent, and beside the best linear guess of the input from it.

    The guess is a ridge regression of pixels on activations, fitted to all but the shown queries: the weakest of adversaries.
    Inputs and guesses share one scale. Every panel of an activation has its own, and its row says so.

    Parameters
    ----------
    images : ndarray, (n, H, W) or (n, H, W, 3)
        n at least 2.
    clean, noisy : ndarray, (n, D)
    n_shown : int
        Queries to show, of which there are never more than half.

    Raises
    ------
    ValueError
        If there is a single row, for then none is left to fit to.
    """
    if len(images) < 2:
        raise ValueError(f"images: found {len(images)} row, expected at least 2, to show one and fit a guess to the other")
    n_shown = min(n_shown, len(images) // 2)
    pixels = {"cmap": "gray", "vmin": images.min(), "vmax": images.max(), "aspect": "auto"}
    elements = {"cmap": "cividis", "aspect": "auto"}
    rows = {
        "input": (images[:n_shown], pixels),
        "a, clean\n(each panel its\nown scale)": ([as_rectangle(values) for values in clean[:n_shown]], elements),
        "a', sent\n(each panel its\nown scale)": ([as_rectangle(values) for values in noisy[:n_shown]], elements),
        "guess from a": (linear_guess(clean, images, n_shown), pixels),
        "guess from a'": (linear_guess(noisy, images, n_shown), pixels),
    }
    return _gallery(rows, WIDTH / 9)  # eight pictures and their titles fill the width


def private_label(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """What each attack reads of the private label, with its interval, between floor and ceiling.

    Parameters
    ----------
    rows : mapping of str to mapping
        By attack: private_accuracy, low, high, floor, ceiling, all in [0, 1].
    """
    columns = ("private_accuracy", "low", "high", "floor", "ceiling")
    read, low, high, floor, ceiling = (100 * np.array([row[name] for row in rows.values()]) for name in columns)
    figure, axis = plt.subplots(figsize=(WIDTH, 1.2 + 0.35 * len(rows)))
    places = -np.arange(len(rows))
    axis.hlines(
        places, floor, ceiling, color=GREY, linewidth=0.8, label="from the floor (the public label alone) to the ceiling"
    )
    axis.errorbar(read, places, xerr=[read - low, high - read], fmt="o", color=RED, capsize=3, label="read, and 95 % interval")
    axis.set_yticks(places, [f"{name} queries" if name.startswith("averaging") else name for name in rows])
    axis.set(xlabel="private label read from noisy activations (%)", xlim=(0, 101))
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def reconstructions(pictures: Mapping[str, np.ndarray]) -> Figure:
    """Rows of pictures, (n, H, W) each, with pixels in [0, 1]."""
    n_shown = min(len(images) for images in pictures.values())
    look = {"cmap": "gray", "vmin": 0, "vmax": 1}
    return _gallery({title: (images[:n_shown], look) for title, images in pictures.items()}, WIDTH / (n_shown + 1), 0.85)


def _gallery(rows: Mapping[str, tuple], side: float, height: float = 1) -> Figure:
    """By title: pictures, as many in each row, and how `imshow` shows them. `side` and `height` times it are inches."""
    n_shown = len(next(iter(rows.values()))[0])
    figure, axes = plt.subplots(len(rows), n_shown, figsize=(side * (n_shown + 1), height * side * len(rows)), squeeze=False)
    for line, (title, (pictures, look)) in zip(axes, rows.items(), strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            axis.imshow(picture, **look)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        line[0].set_ylabel(title, rotation=0, ha="right", va="center")
    return figure
