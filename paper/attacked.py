"""What an informed adversary reads under each method, draw and cutting point, beside what the paper measures."""

import csv
import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.lenet import CUTTING_POINTS
from paper.points import alexnet_point, lenet_point
from shredder.attack.run import QUERIES
from shredder.attack.step import Arguments as Attack
from shredder.io import ranks

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
# Secrets that have a column of a table, and what of each stands there beside the floor.
SECRETS = dict.fromkeys(
    ("ink", "slant", "stroke width", "odd digit", "writer's half", "membership"), ("one query", "1000 queries")
)
Rows = list[dict[str, Any]]


def figure_attacks(args: Any) -> Rows:
    """LeNet, embedded digits, where digit > 5 is public and the digit private; then AlexNet's images; over several seeds."""
    seeds = range(args.seed, args.seed + (1 if args.quick else args.seeds))
    points = [(row | {"seed": seed}, point) for seed in seeds for row, point in _of_seed(dataclasses.replace(args, seed=seed))]
    found = ranks.each(lambda number: seen(points[number][1]()), range(len(points)))
    return [{**row, **columns, "seed": row["seed"]} for (row, _), columns in zip(points, found, strict=True)]


def _of_seed(args: Any) -> list[tuple[dict[str, Any], Callable[[], dict[str, Any]]]]:
    """What each row is of, and what makes its point."""
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
                attack = lenet_attack(args, cutting_point, draw)
                rows.append((row, partial(lenet_point, args, draw=draw, attack=attack, **settings)))
    for method, (learn, draw) in ALEXNET.items() if "alexnet" in args.networks and not args.quick else ():
        attack = Attack(draw=draw, seed=args.seed, device=args.device)
        row = {"network": "alexnet", "method": method, "draw": draw, "cutting point": "pool5"}
        rows.append((row, partial(alexnet_point, args, draw=draw, attack=attack, **(ALEXNET_LEARN | learn))))
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
    if (folder / "secrets.csv").exists():
        for line in table_at(folder / "secrets.csv"):
            for name in ("floor", "one query", "1000 queries", "clean"):
                row[f"{line['secret']}, {name}"] = 100 * float(line[name])
    return row


def table_at(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
