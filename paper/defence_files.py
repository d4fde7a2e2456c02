"""The table of defences in words, and a JSON file for each, with a list of attacks reported from outside."""

import json
import statistics
from pathlib import Path
from typing import Any

from paper.attack_tables import lines_of
from paper.attacked import SECRETS
from paper.defences import DEFENCES, Defence, Rows
from paper.grounds import GROUNDS
from shredder.io.cli import InputError

# What stands of a secret in a table: the best guess without a query, what is read, and what bits allow.
_OF_SECRET = ("floor", "one query", "one query, at most", "1000 queries")
# What a defence's JSON file says of attacks by others.
OUTSIDE = "attacks reported from outside"
ENTRY = ("who", "date", "cutting point", "dataset", "queries", "what was read", "result", "link")
JOIN = (
    f"Add an object with {', '.join(ENTRY)} to the list above; the result in % of the test rows, or in bits, and the link to "
    "code that others can run. The noise is made by the command above, and handed to attack.py by --noise."
)
# Commands of defences that step 1 does not make alone.
_BY_ARITHMETIC = "none: arithmetic, paper/answers.py"
_RETRAINED = "paper_figures.py --figure defences: weights by paper/nopeek.py, then train_noise.py --method none --weights FILE"
FILES = ("defences.md", *(f"defence-{name}.json" for name in DEFENCES))


def grouped(rows: Rows) -> list[Rows]:
    """The rows of each defence, cutting point and dataset: one for each seed."""
    groups: dict[tuple, Rows] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in ("cutting point", "defence", "dataset")), []).append(row)
    return list(groups.values())


def markdown(rows: Rows) -> str:
    """The rows as tables, a line for each defence and cutting point: means over seeds and, of several, their spread.

    What is told and read; the image; other secrets, where they were read.
    """
    told = [["defence, cut", "public (%)", "bits, measured", "bits at most: one query, 1,000", "label read, one query (%)"]]
    told[0] += ["at most, by bits (%)", "1,000 queries (%)"]
    image = [["defence, cut", "identified (%)", "SSIM: best, clean", "best guess by", "dFIL (a pixel)"]]
    secrets = [["defence, cut", *(f"{name} (%)" for name in SECRETS)]]
    several = len({row["dataset"] for row in rows if row["network"] == "lenet"}) > 1
    for group in grouped(rows):
        first = group[0]
        name = ", ".join([first["defence"], first["cutting point"], *([first["dataset"]] if several else [])])
        if missed := [row["unreached"] for row in group if "unreached" in row]:
            told.append([name, f"not reached: {missed[0]}", *[""] * 5])
            continue
        columns = [
            ("public accuracy (%)",),
            ("bits, test" if "bits, test" in first else "measured information, input (bits)",),
            ("bits at most", "bits at most, 1000 queries"),
            ("best guess" if "best guess" in first else "worst of one query",),
            ("private accuracy at most",),
            (next((column for column in ("averaging 1000", "best guess, 1000 queries") if column in first), ""),),
        ]
        told.append([name, *(_means(group, *of) for of in columns)])
        of_image = ("identified (%)",), ("SSIM, best", "SSIM, clean"), ("best reconstruction",), ("dFIL (a pixel)",)
        for table, of_table in ((image, of_image), (secrets, [[f"{name}, {of}" for of in _OF_SECRET] for name in SECRETS])):
            cells = [_means(group, *of) for of in of_table]
            table.extend([[name, *cells]] if any(cells) else [])
    return "\n\n".join("\n".join(lines_of(table)) for table in (told, image, secrets) if len(table) > 1) + "\n"


def _means(rows: Rows, *columns: str) -> str:
    return ", ".join(filter(None, (_mean(rows, column) for column in columns)))


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
        f"train_noise.py --task TASK --dataset DATASET --public-labels LABELS --cutting-point CUT --min-accuracy TARGET {flags}"
    )
    return {
        "what is sent": defence.what,
        "source": defence.source,
        "weights changed": defence.retrained is not None,
        "device computes": "the whole network" if defence.answer else "the edge",
        "the bound in bits holds for": defence.bound,
        "command": _BY_ARITHMETIC if defence.answer else _RETRAINED if defence.retrained else command,
        "held-out accuracy to exceed, by network and cutting point": {
            name: {"labels": ground.public_labels, **ground.targets} for name, ground in GROUNDS.items()
        },
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
