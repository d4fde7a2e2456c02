"""The table of defences in words, and a JSON file for each, with a list of attacks reported from outside."""

import json
import statistics
from pathlib import Path
from typing import Any

from paper.attack_tables import lines_of
from paper.defences import DEFENCES, TARGETS, Defence, Rows
from shredder.io.cli import InputError

# What a defence's JSON file says of attacks by others.
OUTSIDE = "attacks reported from outside"
ENTRY = ("who", "date", "cutting point", "dataset", "queries", "what was read", "result", "link")
JOIN = (
    f"Add an object with {', '.join(ENTRY)} to the list above; the result in % of the test rows, or in bits, and the link to "
    "code that others can run. The noise is made by the command above, and handed to attack.py by --noise."
)
FILES = ("defences.md", *(f"defence-{name}.json" for name in DEFENCES))


def grouped(rows: Rows) -> list[Rows]:
    """The rows of each defence, cutting point and dataset: one for each seed."""
    groups: dict[tuple, Rows] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in ("cutting point", "defence", "dataset")), []).append(row)
    return list(groups.values())


def markdown(rows: Rows) -> str:
    """The rows as a table, a line for each defence and cutting point: means over seeds and, of several, their spread."""
    table = [["defence, cut", "public (%)", "bits, measured", "at most: one query, 1,000", "digit read, one query (%)"]]
    table[0] += ["1,000 queries (%)", "dFIL (a pixel)"]
    for group in grouped(rows):
        name = f"{group[0]['defence']}, {group[0]['cutting point']}"
        if missed := [row["unreached"] for row in group if "unreached" in row]:
            table.append([name, f"not reached: {missed[0]}", *[""] * 5])
            continue
        read = "best guess" if "best guess" in group[0] else "worst of one query"
        often = next((column for column in ("averaging 1000", "best guess, 1000 queries") if column in group[0]), "")
        measured = "bits, test" if "bits, test" in group[0] else "measured information, input (bits)"
        bits = (measured,), ("bits at most", "bits at most, 1000 queries")
        told = [", ".join(filter(None, (_mean(group, column) for column in columns))) for columns in bits]
        numbers = [_mean(group, read), _mean(group, often), _mean(group, "dFIL (a pixel)")]
        table.append([name, _mean(group, "public accuracy (%)"), *told, *numbers])
    return "\n".join(lines_of(table)) + "\n"


def _mean(rows: Rows, column: str) -> str:
    """Mean and spread of a column to three digits, or its words; empty where there is none."""
    values = [row[column] for row in rows if column in row]
    if not values or isinstance(values[0], str):
        return values[0] if values else ""
    spread = f" +- {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    mean = statistics.mean(values)
    return (f"{mean:,.0f}" if abs(mean) >= 1000 else f"{mean:.3g}") + spread


def beside(rows: Rows, folder: Path) -> dict[str, bytes]:
    """The table in words, and a JSON file for each defence, by name; attacks from outside that stand in a file there stay."""
    written = {"defences.md": markdown(rows).encode()}
    for name, defence in DEFENCES.items():
        of_defence = [row for row in rows if row["defence"] == name]
        if not of_defence:
            continue
        path, content = folder / f"defence-{name}.json", {"defence": name} | _described(defence)
        content |= {"rows": of_defence, OUTSIDE: outside_of(path), "to join": JOIN}
        written[path.name] = (json.dumps(content, indent=2, default=float) + "\n").encode()
    return written


def _described(defence: Defence) -> dict[str, Any]:
    """What a reader needs to know of a defence, and to make its noise."""
    flags = " ".join(f"--{name} {value}" for name, value in defence.learn.items())
    command = (
        f"train_noise.py --task lenet --dataset DATASET --public-labels gt5 --cutting-point CUT --min-accuracy TARGET {flags}"
    )
    return {
        "what is sent": defence.what,
        "source": defence.source,
        "weights changed": False,
        "device computes": "the whole network" if defence.answer else "the edge",
        "the bound in bits holds for": defence.bound,
        "command": "none: arithmetic, paper/answers.py" if defence.answer else command,
        "held-out accuracy to exceed, by cutting point": TARGETS,
    }


def outside_of(path: Path) -> list[dict[str, Any]]:
    """Attacks reported from outside that a defence's file lists. Raises InputError where it is no such file."""
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text())[OUTSIDE]
        if not isinstance(found, list) or not all(isinstance(entry, dict) and set(ENTRY) <= entry.keys() for entry in found):
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: found no list of {OUTSIDE}, each with {', '.join(ENTRY)}; expected it, or no file"
        ) from error
    return found
