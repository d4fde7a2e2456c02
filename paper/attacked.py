"""What an informed adversary reads under each method, draw and cutting point, beside what the paper measures."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from models.lenet import CUTTING_POINTS
from paper.points import alexnet_point, lenet_point
from shredder.attack.run import QUERIES
from shredder.attack.step import Arguments as Attack

# Methods as they are learned, and the draws of each that are attacked; at earlier cutting points only the first.
LENET = {
    "v1": ({"method": "additive", "max_accuracy_loss": 0.03}, ("elementwise-laplace", "verbatim")),
    "v2": ({"method": "self-supervised", "members": 20}, ("order-preserving", "verbatim")),
    # At the default scale, which is for ten labels, few members of two labels reach their accuracy.
    "v3": (
        {"method": "distribution", "members": 20, "scale": 1.0, "epochs": 300, "min_epochs": 299, "max_accuracy_loss": 0.03},
        ("order-preserving",),
    ),
    "fresh, linear": ({"method": "fresh", "form": "linear", "directions": 64}, ("fresh",)),
    "fresh, saturated": ({"method": "fresh", "form": "saturated"}, ("fresh",)),
    "fresh, quantised": ({"method": "fresh", "form": "quantised"}, ("fresh",)),
}
ALEXNET = {
    "v1": ({"method": "additive"}, "elementwise-laplace"),
    "v3": ({"method": "distribution"}, "order-preserving"),
    "fresh, saturated": ({"method": "fresh", "members": 1}, "fresh"),
}
# All of the embedded digits, where the figures of the paper have 200.
ALEXNET_LEARN = {"images": None, "members": 20, "batch_size": None, "epochs": None, "min_epochs": None}
QUICK_METHODS = ("v2", "fresh, quantised")
# At earlier cutting points one threshold does not answer, activations are more and smaller, and members take minutes each.
FEW = {"members": 4, "epochs": 100, "min_epochs": 99}
EARLY = {
    "v1": {"scale": 0.5},
    "v2": FEW,
    "v3": FEW | {"scale": 0.3, "alpha": 3e-4, "max_accuracy_loss": 0.05},
    "fresh, saturated": {"epochs": 250, "min_epochs": 149},
}
# In so few epochs these miss their usual accuracy at s2.
AT_CUT = {
    "relu5": {method: {} for method in LENET},
    "s4": EARLY,
    "s2": EARLY
    | {"v2": FEW | {"min_accuracy": 0.85}, "fresh, saturated": EARLY["fresh, saturated"] | {"max_accuracy_loss": 0.03}},
}
# Columns of further bounds, and what a run record calls them.
BOUNDS = {
    "bits at most, 1000 queries": "bits at most, 1000 queries",
    "bits at most, any inputs": "bits at most, any inputs, 1 queries",
    "bits at most, any inputs, 1000 queries": "bits at most, any inputs, 1000 queries",
    "of these without any signal": "of these without any signal (slack)",
}
AT_LEAST = ("bits at least, private label", "bits at least, image")
LABEL_ATTACKS = ("untrained", "trained", "member", *(f"averaging {q}" for q in QUERIES))
Rows = list[dict[str, Any]]


def figure_attacks(args: Any) -> Rows:
    """LeNet, embedded digits, where digit > 5 is public and the digit private; then AlexNet's images."""
    rows = []
    cutting_points = ("relu5",) if args.quick else tuple(CUTTING_POINTS)[::-1]
    for cutting_point in cutting_points if "lenet" in args.networks else ():
        for method, (learn, draws) in LENET.items():
            if method not in AT_CUT[cutting_point] or (args.quick and method not in QUICK_METHODS):
                continue
            settings = {"dataset": "mnist-5k", "public_labels": "gt5", "cutting_point": cutting_point, **learn}
            settings |= AT_CUT[cutting_point][method]
            for draw in draws if cutting_point == "relu5" and not args.quick else draws[:1]:
                row = {"network": "lenet", "method": method, "draw": draw, "cutting point": cutting_point}
                rows.append(
                    row | seen(lenet_point(args, draw=draw, attack=lenet_attack(args, cutting_point, draw), **settings))
                )
    for method, (learn, draw) in ALEXNET.items() if "alexnet" in args.networks and not args.quick else ():
        attack = Attack(draw=draw, seed=args.seed, device=args.device)
        row = {"network": "alexnet", "method": method, "draw": draw, "cutting point": "pool5"}
        rows.append(row | seen(alexnet_point(args, draw=draw, attack=attack, **(ALEXNET_LEARN | learn))))
    return rows


def lenet_attack(args: Any, cutting_point: str, draw: str) -> Attack:
    """All attacks, at earlier cutting points with fewer epochs; quick: those that take seconds."""
    if args.quick:
        few = {"attacks": ("untrained", "trained", "member", "rounding"), "epochs": 10}
    elif cutting_point == "relu5":
        few = {"epochs": 40}
    else:
        few = {"epochs": 15}
    return Attack(draw=draw, seed=args.seed, device=args.device, ceilings=args.points / "ceilings", **few)


def seen(point: dict[str, Any]) -> dict[str, Any]:
    """Columns of a row: what the paper measures, what is known for certain, and what attacks found, in %, nats and bits."""
    if "unreached" in point:
        return {"unreached": point["unreached"]}
    attacked, folder = point["attacked"], point["folder"] / "attacks"
    before, after = (np.mean(point["information"][when]) for when in ("before", "after"))
    row = {
        "public accuracy (%)": 100 * attacked["public accuracy"],
        "without noise (%)": 100 * attacked["public accuracy without noise"],
        "MI estimate before (nats)": before,
        "after (nats)": after,
        "bits at most": attacked["bits at most, one query"],
    }
    for column, name in BOUNDS.items():
        if name in attacked:
            row[column] = attacked[name]
    if (folder / "attacks.csv").exists():
        for line in table_at(folder / "attacks.csv"):
            row |= {name: 100 * float(line[name]) for name in ("floor", "ceiling")}
            row[line["attack"]] = 100 * float(line["private_accuracy"])
            row |= {f"{line['attack']}, {end}": 100 * float(line[end]) for end in ("low", "high")}
        row |= {f"worst of one query, {end}": 100 * attacked[f"the worst's 95 % interval, {end}"] for end in ("low", "high")}
        row |= {name: attacked[name] for name in ("PA", "PI")}
    for column in AT_LEAST:
        names = (column, *(f"{column}, {of}" for of in ("standard error", "low", "high")))
        row |= {name: attacked[name] for name in names if name in attacked}
    for name, value in attacked.items():
        if name.startswith("identified among"):
            row["candidates"] = int(name.split()[2].rstrip(","))
            row[f"identified{name.split(',')[1]} (%)"] = 100 * value
    if (folder / "reconstruction.csv").exists():
        row |= {f"SSIM, {line['images']}": float(line["SSIM"]) for line in table_at(folder / "reconstruction.csv")}
        row |= {"SSIM, best": attacked["its SSIM"], "best reconstruction": attacked["best reconstruction"]}
    return row


def beside(rows: Rows, folder: Path) -> dict[str, bytes]:
    """What is written beside figure and numbers, by name."""
    return {"attacks.md": markdown(rows).encode()}


def table_at(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def markdown(rows: Rows) -> str:
    """The rows as two tables: what is promised and what was read; and what the paper measures."""
    read = ["method, draw, cut", "public accuracy, without noise (%)", "bits at most: one query, 1,000"]
    read += ["bits at least: label, image", "floor, ceiling (%)", "worst attack: one query, 1,000 (%)"]
    read += ["identified: exact, with rounding (%)"]
    measured = ["method, draw, cut", "MI estimate before, after (nats)", "untrained (%)", "trained (%)", "member (%)", "PA, PI"]
    measured += ["SSIM: best, clean"]
    tables = [[read], [measured]]
    for row in rows:
        name = row["method"] if row["draw"] == "fresh" else f"{row['method']}, {row['draw']}"
        name = f"{name}, {row['cutting point']}" if row["network"] == "lenet" else f"AlexNet: {name}, {row['cutting point']}"
        if "unreached" in row:
            tables[0].append([name, f"not reached: {row['unreached']}", *[""] * 5])
            continue
        tables[0].append(
            [
                name,
                _both(row, "public accuracy (%)", "without noise (%)"),
                _both(row, "bits at most", "bits at most, 1000 queries"),
                ", ".join(_with_interval(row, column) for column in AT_LEAST if column in row),
                _both(row, "floor", "ceiling"),
                _worst(row),
                _both(row, "identified by exact arithmetic (%)", "identified with rounding (%)"),
            ]
        )
        of_paper = [_both(row, "MI estimate before (nats)", "after (nats)"), *(_both(row, name) for name in LABEL_ATTACKS[:3])]
        tables[1].append([name, *of_paper, _both(row, "PA", "PI"), _both(row, "SSIM, best", "SSIM, clean")])
    return "\n\n".join("\n".join(lines_of(table)) for table in tables) + "\n"


def lines_of(table: list[list[str]]) -> list[str]:
    """A table in Markdown, its first row the names of the columns."""
    first, *others = (f"| {' | '.join(cells)} |" for cells in table)
    return [first, "|---" * len(table[0]) + "|", *others]


def _both(row: dict[str, Any], *columns: str) -> str:
    return ", ".join(_text(row[column]) for column in columns if column in row)


def _with_interval(row: dict[str, Any], column: str) -> str:
    return f"{row[column]:.2f} ({row[f'{column}, low']:.2f} to {row[f'{column}, high']:.2f})"


def _worst(row: dict[str, Any]) -> str:
    """The worst attack on one query with its interval, and on many. The untrained network does not read what is sent."""
    single = [row[name] for name in LABEL_ATTACKS[1:3] if name in row]
    if not single:
        return ""
    low, high = (row[f"worst of one query, {end}"] for end in ("low", "high"))
    often = [row[name] for name in LABEL_ATTACKS[3:] if name in row]
    return f"{max(single):.1f} ({low:.1f} to {high:.1f})" + (f", {max(often):.1f}" if often else "")


def _text(value: float | str) -> str:
    """To three digits, or more of large numbers."""
    return value if isinstance(value, str) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
