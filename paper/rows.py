"""The numbers of each figure and table, as rows: mappings with the columns of its CSV file."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from models import alexnet
from paper import published
from paper.points import alexnet_point, lenet_point
from paper.profiles import profile
from shredder.io import ranks

# Error of a guess among ten digits, in %.
GUESSING = 90.0
N_PARAMETERS = 61_706  # LeNet's, with ten classes
# Scales b that Fig. 8 tries at each cutting point, in units of the activations' root mean square.
FACTORS = (4, 2, 1, 0.5)
# The accuracy-privacy knob of Fig. 7: alpha, and how much held-out accuracy members may miss. The default is among them.
LENET_ALPHA = 1e-3
KNOB = {0.0: 0.01, 1e-4: 0.01, 3e-4: 0.01, LENET_ALPHA: 0.0134, 2e-3: 0.05, 3e-3: 0.2}
Rows = list[dict[str, Any]]


def targets(args: Any) -> dict[float, float]:
    """The knob; quick runs have few updates and leave members two points weaker."""
    return {alpha: round(may_miss + (0.02 if args.quick else 0), 4) for alpha, may_miss in KNOB.items()}


def reached(point: dict[str, Any], name: str) -> bool:
    """Whether the point's members reached their accuracy; if not, say what they missed."""
    if "unreached" in point:
        print(f"{name}: {point['unreached']}")
    return "unreached" not in point


def flat(parts: Iterable[Rows]) -> Rows:
    """Rows of all parts."""
    return [row for rows in parts for row in rows]


def figure_5(args: Any) -> Rows:
    """Learning with alpha = 0 and with the default; in quick runs of LeNet alone."""

    def rows(of: tuple[str, str]) -> Rows:
        network, run = of
        if network == "lenet":
            alpha = 0.0 if run == "alpha = 0" else LENET_ALPHA
            point = lenet_point(args, alpha=alpha, max_accuracy_loss=targets(args)[alpha])
        else:
            alpha = 0.0 if run == "alpha = 0" else None
            point = alexnet_point(args, alpha=alpha, epochs=10, min_epochs=9, min_accuracy=0.0, scale=8.0)
        if not reached(point, f"figure 5, {network}, {run}"):
            return []
        return [{"network": network, "run": run} | row for row in by_iteration(point)]

    networks = ("lenet",) if args.quick else args.networks
    return flat(ranks.each(rows, [(network, run) for network in networks for run in ("alpha = 0", "Shredder")]))


def by_iteration(point: dict[str, Any]) -> Iterable[dict[str, float]]:
    """Means over members, from before learning to its end."""
    learned = point["learned"]
    curves = np.genfromtxt(point["folder"] / "noise" / "curves.csv", delimiter=",", names=True)
    updates = learned["updates in an epoch"]
    before = learned["average held-out SNR before learning"], learned["average held-out accuracy before learning"]
    yield {"iteration": 0, "in vivo privacy": 1 / before[0], "accuracy (%)": 100 * before[1]}
    for epoch in np.unique(curves["epoch"]):
        some = curves[curves["epoch"] == epoch]
        privacy, accuracy = 1 / some["snr"].mean(), 100 * some["accuracy"].mean()
        yield {"iteration": int(epoch) * updates, "in vivo privacy": privacy, "accuracy (%)": accuracy}


def figure_6(args: Any) -> Rows:
    """Edge, link and cloud. An image is sent as it is stored, 8 bits a pixel and channel; an activation as float32."""
    links = {"Wi-Fi": (args.wifi, args.wifi_round_trip), "LTE": (args.lte, args.lte_round_trip)}
    links = {f"{link}: {rate:g} Mbit/s, {trip:g} ms": (rate, trip) for link, (rate, trip) in links.items()}
    rows = []
    for network in args.networks:
        of_network = profile(args, network)
        first = next(iter(of_network.values()))
        image_bytes = 28 * 28 if network == "lenet" else math.prod(alexnet.INPUT_SHAPE)
        whole = first["edge (ms)"] + first["cloud (ms)"]
        alone = {"edge (ms)": 0.0, "cloud (ms)": whole, "bytes": image_bytes}
        for link, (rate, round_trip) in links.items():
            for name, found in {"cloud only": alone, **of_network}.items():
                parts = {part: found[part] for part in ("edge (ms)", "cloud (ms)")}
                parts["link (ms)"] = round_trip + 8 * found["bytes"] / (1000 * rate)
                row = {"network": network, "link": link, "cutting point": name, "bytes": found["bytes"]}
                rows.append(row | parts | {"total (ms)": sum(parts.values())})
    return rows


def figure_7(args: Any) -> Rows:
    """A sweep over alpha, with the accuracy that members may miss."""

    def of_alpha(alpha: float) -> Rows:
        may_miss = targets(args)[alpha]
        point = lenet_point(args, alpha=alpha, max_accuracy_loss=may_miss)
        if not reached(point, f"figure 7, alpha {alpha}"):
            return []
        lost, spread = accuracy_lost(point)
        row = {"alpha": alpha, "accuracy that members may miss (points)": 100 * may_miss}
        row |= {"accuracy lost (points)": lost, "spread of it (points)": spread} | information(point)
        return [
            row | {"information lost, standardised blocks (%)": information(point, "standardised ")["information lost (%)"]}
        ]

    rows = flat(ranks.each(of_alpha, [alpha for alpha in targets(args) if not args.quick or alpha in (0.0, LENET_ALPHA, 3e-3)]))
    for row in rows:
        row["Pareto front"] = not any(
            other["accuracy lost (points)"] <= row["accuracy lost (points)"]
            and other["information lost (nats)"] >= row["information lost (nats)"]
            for other in rows
            if other is not row
        )
    return rows


def figure_8(args: Any) -> Rows:
    """At each cutting point the loudest noise of a sweep that costs less than five points of held-out accuracy.

    In quick runs nothing is learned for AlexNet, whose early activations have 60,000 elements: compute and bytes are measured.
    """
    few = {"members": 4, "epochs": 20, "min_epochs": 19} if args.quick else {"members": 8, "epochs": 10, "min_epochs": 9}
    profiles = {network: profile(args, network) for network in args.networks}

    def loudest(of: tuple[str, str]) -> Rows:
        network, name = of
        found = profiles[network][name]
        measured = {"network": network, "cutting point": name, "edge (ms)": found["edge (ms)"]}
        measured["kilobytes sent"] = found["bytes"] / 1000
        if args.quick and network == "alexnet":
            return [measured]
        for factor in FACTORS[1::2] if args.quick or network == "alexnet" else FACTORS:
            scale = float(f"{factor * found['activation']:.2g}")
            settings = {"cutting_point": name, "max_accuracy_loss": 0.05, "scale": scale}
            point = (
                lenet_point(args, n_samples=1000, judged_on=300 if args.quick else None, **few | settings)
                if network == "lenet"
                else alexnet_point(args, **settings)
            )
            if reached(point, f"figure 8, {network}, {name}, scale {scale:g}"):
                row = measured | {"scale": scale, "accuracy lost (points)": accuracy_lost(point)[0]}
                return [row | information(point)]
        return []

    rows = flat(ranks.each(loudest, [(network, name) for network, of_network in profiles.items() for name in of_network]))
    for network, of_network in profiles.items():
        learned = [row for row in rows if row["network"] == network and "information lost (nats)" in row]
        last = {row["cutting point"]: row["information lost (nats)"] for row in learned}.get(list(of_network)[-1], math.nan)
        for row in learned:
            row["information lost, of the last cutting point's (%)"] = 100 * row["information lost (nats)"] / last
    return rows


def figure_9(args: Any) -> Rows:
    """Fig. 9a: distributions, without and with the private term."""
    scales = (0.3, 1.0, 3.0, 10.0)[:: 2 if args.quick else 1]
    flags = {"without private labels": False, "with private labels": True}
    points = [(run, scale) for run in flags for scale in scales]
    found = ranks.each(lambda of: misread(args, *of, private_labels=flags[of[0]]), points)
    return [row for row in found if row]


def figure_v2_4(args: Any) -> Rows:
    """v2 Fig. 4: self-supervised tensors. Misclassification is normalised by that of guessing; the paper does not say how."""
    scales = (0.1, 0.3, 1.0, 3.0, 20.0)[:: 2 if args.quick else 1]
    found = ranks.each(lambda scale: misread(args, "ours", scale, method="self-supervised"), scales)
    return [row for row in found if row]


def misread(args: Any, run: str, scale: float, **learn: Any) -> dict[str, Any] | None:
    """One point of Fig. 9a or v2 Fig. 4: digit > 5 is public, the digit private; whatever accuracy is reached counts."""
    if not args.quick:
        learn = {"members": 10, "epochs": 40, "min_epochs": 39} | learn
    point = lenet_point(args, n_samples=1000, n_splits=0, public_labels="gt5", scale=scale, min_accuracy=0.0, **learn)
    if not reached(point, f"{run}, scale {scale:g}"):
        return None
    lost, spread = accuracy_lost(point)
    private = 100 * (1 - point["sampled"]["average private accuracy"])
    return {
        "run": run,
        "scale": scale,
        "public accuracy (%)": 100 * point["sampled"]["average public accuracy"],
        "accuracy lost (points)": lost,
        "spread of it (points)": spread,
        "private misclassification (%)": private,
        "normalised private misclassification": private / GUESSING,
    }


def table(args: Any) -> Rows:
    """The row LeNet of v3 Table 3 and of v2 Table 1, and what learning from redrawn noise changes."""
    target = {"max_accuracy_loss": targets(args)[LENET_ALPHA]}
    paper_recipe = {"recipe": "authors"} | target | ({"epochs": 600, "min_epochs": 0} if args.quick else {})
    points: dict[str, dict[str, Any]] = {
        "v3, ours": {"alpha": LENET_ALPHA, **target},
        "v3, ours, --no-learn-redrawn": {"alpha": LENET_ALPHA, "no_learn_redrawn": True, **target},
        "v3, --recipe authors": paper_recipe,
        "v2, ours": {"method": "self-supervised"},
        "v2, ours, --learn-redrawn": {"method": "self-supervised", "learn_redrawn": True},
    }
    rows = [
        {"row": "v3, paper", **published.LENET_V3},
        {"row": "v2, paper", **published.LENET_V2},
        {"row": "v2, authors' released code", **published.LENET_RELEASED},
    ]
    for row in rows:
        row["lost (%)"] = 100 * (1 - row["after (nats)"] / row["before (nats)"])
    return rows + flat(ranks.each(lambda name: of_table(name, lenet_point(args, **points[name])), list(points)))


def of_table(name: str, point: dict[str, Any]) -> Rows:
    """The row of one of our points; none where it missed its accuracy."""
    if not reached(point, f"table, {name}"):
        return []
    raw, standardised, learned = information(point), information(point, "standardised "), point["learned"]
    lost, spread = accuracy_lost(point)
    stored = list((point["folder"] / "noise").glob("*.npy"))
    return [
        {
            "row": name,
            "before (nats)": raw["before (nats)"],
            "after (nats)": raw["after (nats)"],
            "lost (%)": raw["information lost (%)"],
            "standardised blocks: before (nats)": standardised["before (nats)"],
            "standardised blocks: after (nats)": standardised["after (nats)"],
            "standardised blocks: lost (%)": standardised["information lost (%)"],
            "accuracy lost (points)": lost,
            "spread of it (points)": spread,
            "accuracy lost by the tensors themselves (points)": 100
            * (learned["clean test accuracy"] - learned["average test accuracy"]),
            "parameters of a member (% of the network's)": 100 * learned["learned parameters of a member"] / N_PARAMETERS,
            "epochs": learned["average epochs"],
            "members": learned["members"],
            "KB": sum(path.stat().st_size for path in stored) / 1000,
        }
    ]


def accuracy_lost(point: dict[str, Any]) -> tuple[float, float]:
    """Mean over draws and its spread, in points: of the sampled draws, or of step 1's where step 2 judged on a few images."""
    learned, sampled = point["learned"], point["sampled"]
    if sampled["judged on"] > 1:
        before = sampled["clean public accuracy"]
        after, spread = sampled["average public accuracy"], sampled["spread of public accuracy"]
    else:
        before = learned["clean test accuracy"]
        after, spread = (learned[f"{word} test accuracy, order-preserving draws"] for word in ("average", "spread of"))
    return 100 * (before - after), 100 * spread


def information(point: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Means over the random halves and their spreads, in nats, and the share that is lost, in %."""
    before, after = (np.array(point["information"][f"{prefix}{when}"]) for when in ("before", "after"))
    return {
        "queries": point["sampled"]["queries"],
        "before (nats)": before.mean(),
        "after (nats)": after.mean(),
        "spread of after (nats)": after.std(ddof=1),
        "information lost (nats)": before.mean() - after.mean(),
        "spread (nats)": math.hypot(before.std(ddof=1), after.std(ddof=1)),
        "information lost (%)": 100 * (1 - after.mean() / before.mean()),
    }
