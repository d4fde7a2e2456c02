"""The paper's figures: rows of numbers in, one matplotlib Figure out, in the look of `figures.py`.

Rows are mappings with the columns of the figure's CSV file. What the authors published is grey.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper import published
from shredder.figures import BLUE, GREY, RED, SKY, WIDTH

Rows = Sequence[Mapping[str, Any]]
NAMES = {"lenet": "LeNet", "alexnet": "AlexNet, digits"}


def learning(rows: Rows) -> Figure:
    """In vivo privacy and accuracy by iteration, with and without the term that makes noise grow (v3 Fig. 5)."""
    networks = _values(rows, "network")
    figure, axes = plt.subplots(len(networks), 2, figsize=(WIDTH, 2.6 * len(networks)), squeeze=False)
    for line, network in zip(axes, networks, strict=True):
        looks = ({"color": RED, "linestyle": "--"}, {"color": BLUE})
        for (label, of_label), look in zip(_groups(_where(rows, network=network), "run"), looks, strict=False):
            style = look | {"label": label}
            line[0].plot(*_columns(of_label, "iteration", "in vivo privacy"), **style)
            line[1].plot(*_columns(of_label, "iteration", "accuracy (%)"), **style)
        line[0].set(xlabel="iteration", ylabel="in vivo privacy, 1/SNR", title=NAMES[network])
        accuracy = _columns(_where(rows, network=network), "accuracy (%)")[0]
        low = np.percentile(accuracy, 5) - 1  # the start would flatten all that follows
        line[1].set(xlabel="iteration", ylabel="held-out accuracy (%)", ylim=(low, 100.3))
        line[1].set_title(f"{NAMES[network]}, from {min(accuracy):.0f} % at the start")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def knob(rows: Rows) -> Figure:
    """Information lost against accuracy lost; what no other point beats in both is joined (v3 Fig. 7)."""
    figure, axis = plt.subplots(figsize=(WIDTH, 4))
    before, published_before = np.mean(_columns(rows, "before (nats)")), published.LENET_V3["before (nats)"]
    axis.plot(*zip(*published.FIGURE_7, strict=True), "s", color=GREY, label="the paper's LeNet")
    axis.axhline(published_before, color=GREY, linestyle=":", label="estimate before noise, the paper's")
    axis.axhline(before, color=BLUE, linestyle=":", label="estimate before noise, ours")
    loss, lost, spread = _columns(rows, "accuracy lost (points)", "information lost (nats)", "spread (nats)")
    axis.errorbar(loss, lost, spread, fmt="o", color=BLUE, capsize=2, label="ours: alpha, with its target")
    front = sorted((loss[i], lost[i]) for i in range(len(rows)) if rows[i]["Pareto front"])
    axis.plot(*zip(*front, strict=True), color=RED, linewidth=1, label="our Pareto front")
    for row, x, y in zip(rows, loss, lost, strict=True):
        axis.annotate(
            f"{row['alpha']:g}",
            (x, y),
            (5, -12) if row["alpha"] else (-12, -12),
            textcoords="offset points",
            fontsize=8,
            color=BLUE,
        )
    axis.set_xscale("symlog", linthresh=1, linscale=1)
    axis.set(
        xlabel="accuracy lost (percentage points; linear up to 1)",
        ylabel=f"information lost (nats, kNN estimate, n = {rows[0]['queries']:,})",
        xlim=(min(0, *loss), 40),
    )
    axis.set_xticks([0, 0.5, 1, 2, 5, 10, 20], ["0", "0.5", "1", "2", "5", "10", "20"])
    axis.set_ylim(0.9 * min(*lost, 190), 1.04 * max(before, published_before))
    axis.legend(loc="center right")
    return figure


def cutting_points(rows: Rows) -> Figure:
    """Information lost and bytes sent against the time that the device computes, by cutting point (v3 Fig. 8)."""
    networks = _values(rows, "network")
    figure, axes = plt.subplots(len(networks), 2, figsize=(WIDTH, 2.8 * len(networks)), squeeze=False)
    for line, network in zip(axes, networks, strict=True):
        of_network = _where(rows, network=network)
        columns = ("information lost, of the last cutting point's (%)", "kilobytes sent")
        for axis, column, colour in zip(line, columns, (BLUE, RED), strict=True):
            if column not in of_network[0]:
                axis.axis("off")
                axis.text(0.5, 0.5, "nothing is learned here\nwith --quick", ha="center", va="center")
                continue
            x, y = _columns(of_network, "edge (ms)", column)
            axis.plot(x, y, "o-", color=colour)
            for row, *place in zip(of_network, x, y, strict=True):
                axis.annotate(row["cutting point"], place, (4, 5), textcoords="offset points", fontsize=8)
            axis.set(xlabel="edge compute for one image (ms)", ylabel=column.replace(", of", ",\nof"), title=NAMES[network])
            axis.set(ylim=(0, 1.2 * max(y)), xlim=(0, 1.15 * max(x)))
    return figure


def private_error(rows: Rows) -> Figure:
    """Private misclassification against public accuracy, with and without private labels in the loss (v3 Fig. 9a)."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.4))
    _runs(axis, rows, "public accuracy (%)", "private misclassification (%)")
    axis.set_ylabel("misread by the private network,\nnever trained on noise (%)")
    axis.axhline(90, color="black", linewidth=0.8, linestyle=":", label="guessing")
    axis.set_ylim(0, 100)
    axis.legend(loc="lower left")
    return figure


def normalised_private_error(rows: Rows) -> Figure:
    """Private misclassification, as a share of guessing's, against accuracy lost (v2 Fig. 4)."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.4))
    axis.plot(*zip(*published.FIGURE_V2_4, strict=True), "s", color=GREY, label="the paper's LeNet")
    _runs(axis, rows, "accuracy lost (points)", "normalised private misclassification")
    axis.axhline(1, color="black", linewidth=0.8, linestyle=":", label="guessing")
    axis.set_ylim(0, 1.1)
    axis.legend(loc="lower right")
    return figure


def _runs(axis: Axes, rows: Rows, x: str, y: str) -> None:
    """A line for each run, with the scale b of its initial noise at each point."""
    for (label, of_label), colour, marker in zip(_groups(rows, "run"), (BLUE, RED), "ov", strict=False):
        of_label = sorted(of_label, key=lambda row: row["scale"])
        axis.plot(*_columns(of_label, x, y), marker=marker, color=colour, linewidth=0.8, label=label)
        for row in of_label:
            axis.annotate(
                f"b = {row['scale']:g}", (row[x], row[y]), (5, -11), textcoords="offset points", fontsize=8, color=colour
            )
    axis.margins(x=0.08)  # room for the last point's label
    axis.set(xlabel=x, ylabel=y)


def time_of_an_answer(rows: Rows) -> Figure:
    """Edge, link and cloud, by cutting point, as a share of what the cloud alone takes over the same link (v3 Fig. 6)."""
    networks, links = _values(rows, "network"), _values(rows, "link")
    figure, axes = plt.subplots(len(networks), len(links), figsize=(WIDTH, 2.9 * len(networks)), squeeze=False)
    for line, network in zip(axes, networks, strict=True):
        for axis, link in zip(line, links, strict=True):
            of_link = _where(rows, network=network, link=link)
            _stack(axis, of_link)
            axis.set(ylabel="time, of cloud only" if axis is line[0] else "", title=f"{NAMES[network]}, {link}")
            axis.tick_params(axis="x", labelsize=8)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(
        "edge and cloud measured on this machine, one image at a time; the link is a model: round trip + bytes / rate\n"
        "cloud only sends 8-bit pixels, 28x28 (LeNet) or 3x224x224 (AlexNet); the others float32 activations",
        fontsize=9,
    )
    return figure


def _stack(axis: Axes, rows: Rows) -> None:
    whole = next(row["total (ms)"] for row in rows if row["cutting point"] == "cloud only")
    bottom = np.zeros(len(rows))
    for part, colour in (("edge", BLUE), ("link", SKY), ("cloud", RED)):
        heights = np.array([row[f"{part} (ms)"] for row in rows]) / whole
        axis.bar([row["cutting point"] for row in rows], heights, bottom=bottom, color=colour, label=part)
        bottom += heights
    for x, row in enumerate(rows):
        axis.annotate(
            f"{row['total (ms)']:.3g} ms",
            (x, bottom[x]),
            (0, 3),
            textcoords="offset points",
            fontsize=7,
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
        )
    axis.axhline(1, color="black", linewidth=0.8, linestyle=":")
    axis.set_ylim(0, 1.12 * bottom.max())


def attacks(rows: Rows) -> Figure | None:
    """What attacks read of LeNet's private label, between floor and ceiling; None where only images were attacked."""
    rows = [row for row in rows if "trained" in row][::-1]
    if not rows:
        return None
    figure, axis = plt.subplots(figsize=(WIDTH, 1.2 + 0.33 * len(rows)))
    # Hollow and of different size, for they often meet.
    looks = {
        "untrained": ("x", GREY, 6, "untrained, as in the paper"),
        "trained": ("o", BLUE, 9, "trained on noise"),
        "member": ("s", RED, 5, "member guessed, noise undone"),
        "averaging 1000": ("^", "black", 6, "1,000 queries averaged"),
    }
    places = range(len(rows))
    axis.hlines(places, *_columns(rows, "floor", "ceiling"), color=GREY, linewidth=0.8, zorder=1)
    for name, (marker, colour, size, label) in looks.items():
        found = [(row[name], place) for place, row in zip(places, rows, strict=True) if name in row]
        if found:
            look = {"color": colour, "markersize": size, "fillstyle": "none", "label": label}
            axis.plot(*zip(*found, strict=True), marker, zorder=2, **look)
    for place, row in zip(places, rows, strict=True):
        bits = row["bits at most"]
        bound = "no bound" if isinstance(bits, str) else f"{bits:.3g}" if bits < 1000 else f"{bits:,.0f}"
        axis.annotate(
            f"{row['public accuracy (%)']:.1f} %, {bound}",
            (1.01, place),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            va="center",
        )
    draws = [row["method"] if row["draw"] == "fresh" else f"{row['method']}, {row['draw']}" for row in rows]
    axis.set_yticks(places, [f"{draw}, {row['cutting point']}" for draw, row in zip(draws, rows, strict=True)], fontsize=8)
    axis.annotate("public accuracy,\nbits at most", (1.01, len(rows) - 0.4), xycoords=("axes fraction", "data"), fontsize=8)
    axis.set(xlabel="private digit read (%); the line goes from the floor to the ceiling", xlim=(0, 101))
    axis.set_ylim(-0.6, len(rows) - 0.4)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    return figure


def defences(rows: Rows) -> Figure | None:
    """What is read of the private label under each defence, a panel for each cutting point; None where none was reached.

    Of several seeds a mark is their mean.
    """
    rows = [row for row in rows if "unreached" not in row]
    names, cuts = _values(rows, "defence")[::-1], _values(rows, "cutting point")
    if not rows:
        return None
    figure, axes = plt.subplots(1, len(cuts), figsize=(WIDTH, 1.4 + 0.3 * len(names)), sharey=True, squeeze=False)
    # Hollow and of different size, for they often meet. The same of a defence whose device computes everything.
    looks = {
        ("worst of one query", "best guess"): ("o", BLUE, 9, "worst attack on one query"),
        ("averaging 1000", "best guess, 1000 queries"): ("^", "black", 5, "1,000 queries averaged"),
        ("private accuracy at most",): ("|", RED, 11, "one query, at most by measured bits"),
    }
    for axis, (cut, of_cut) in zip(axes[0], _groups(rows, "cutting point"), strict=True):
        floor, ceiling = (np.mean([row[end] for row in of_cut if end in row]) for end in ("floor", "ceiling"))
        axis.hlines(range(len(names)), floor, ceiling, color=GREY, linewidth=0.8, zorder=1)
        for columns, (marker, colour, size, label) in looks.items():
            found = []
            for name, of_name in _groups(of_cut, "defence"):
                if values := [row[column] for row in of_name for column in columns if column in row]:
                    found.append((np.mean(values), names.index(name)))
            look = {"color": colour, "markersize": size, "fillstyle": "none", "label": label if cut == cuts[0] else None}
            axis.plot(*(zip(*found, strict=True) if found else ([], [])), marker, zorder=2, **look)
        axis.set(title=f"cut at {cut}", xlim=(0, 103), ylim=(-0.6, len(names) - 0.4))
        axis.set_yticks(range(len(names)), names, fontsize=8)
    figure.supxlabel("private label read (%); the line goes from the floor to the ceiling", fontsize=10)
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure


def _values(rows: Rows, column: str) -> list[Any]:
    return list(dict.fromkeys(row[column] for row in rows))


def _where(rows: Rows, **values: Any) -> Rows:
    return [row for row in rows if all(row[column] == value for column, value in values.items())]


def _groups(rows: Rows, column: str) -> list[tuple[Any, Rows]]:
    return [(value, _where(rows, **{column: value})) for value in _values(rows, column)]


def _columns(rows: Rows, *columns: str) -> list[list[float]]:
    """Each column's values, for plotting."""
    return [[row[column] for row in rows] for column in columns]
