"""What `make reproduce` has found, beside the paper's numbers, and where the rest is.

    python -m paper.summary runs

Reads the run records below the folder; what is not there is left out.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from paper import published
from shredder.io.cli import script
from shredder.io.record import RECORD, read_record
from shredder.noise.bracket import MEASURED

HALVES = "over random halves"
WIDE = f"{HALVES}, first 51,984 columns"


@dataclass(frozen=True)
class Arguments:
    """Print a summary."""

    runs: Annotated[Path, Positional] = Path("runs")
    """Folder of the tasks' folders."""


def results_of(folder: Path) -> dict[str, Any]:
    """Results of the run in `folder`; none where there is no run."""
    return read_record(folder / RECORD)["results"] if (folder / RECORD).exists() else {}


def lines(runs: Path) -> list[tuple[str, str, str]]:
    """What is measured, ours, the paper's."""
    found = []
    rows = {
        "lenet": ("LeNet, v2", HALVES, str(published.LENET_V2["accuracy lost (points)"]), "300 -> 31 (paper; n not said)"),
        "alexnet": ("AlexNet, v1", WIDE, "1.95", "13,575 -> 6,835 (released code; n = 985, files' order)"),
    }
    for task, (name, how, lost, nats) in rows.items():
        sampled, measured = results_of(runs / task / "sample"), results_of(runs / task / "figures")
        if sampled:
            ours = 100 * (sampled["clean public accuracy"] - sampled["average public accuracy"])
            found.append((f"{name}: accuracy lost (points)", f"{ours:.2f}", lost))
        keys = [f"mutual information {when} {how} (nats)" for when in ("before", "after")]
        if all(key in measured for key in keys):
            ours = " -> ".join(f"{measured[key]:,.0f}" for key in keys)
            if f"mutual information lost {how} (%)" not in measured:
                ours += ", not told from chance"
            found.append((f"{name}: estimate of mutual information (nats)", ours, nats))
        if MEASURED.format("input") in sampled:
            lower, shown = sampled[MEASURED.format("input")][0], math.log2(sampled["inputs it is measured on"])
            found.append(
                (f"{name}: information measured, at least (bits)", f"{lower:.2f} of {shown:.2f} to be seen", "not measured")
            )
        if "average private accuracy" in sampled:
            ours = f"{100 * sampled['average private accuracy']:.1f}"
            found.append((f"{name}: digit read by a network untrained on noise (%)", ours, "14.1 (released code)"))
    table = runs / "figures" / "attacks.md"
    for method, label in (("v2", "LeNet, v2"), ("fresh, quantised", "LeNet, noise with a bound")):
        for line in table.read_text().splitlines() if table.exists() else ():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if cells[0].startswith(method) and "(" in cells[5]:
                found.append((f"{label}: digit read by informed adversaries (%)", cells[5].split(",")[0], "not measured"))
                break
    return found


def main(args: Arguments) -> None:
    """Print the table."""
    rows = [("", "here", "paper"), *lines(args.runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("The paper's AlexNet reads ImageNet, ours digits; its LeNet all of MNIST, ours 1,000 digits (docs/results.md).")


if __name__ == "__main__":
    script(main, Arguments)
