"""Rows of what attacks read, as tables: of one seed with intervals over test rows, of several with means and spreads."""

import statistics
from pathlib import Path
from typing import Any

from paper.attacked import AT_LEAST, LABEL_ATTACKS, SECRETS, Rows

# Columns that a row is known by.
POINT = ("network", "method", "draw", "cutting point")
WORST, OFTEN = "worst of one query", "worst of many queries"


def beside(rows: Rows, folder: Path) -> dict[str, bytes]:
    """What is written beside figure and numbers, by name."""
    return {"attacks.md": markdown(rows).encode()}


def over_seeds(rows: Rows) -> Rows:
    """A row for each point: means over its seeds and, of several, standard deviations, `COLUMN, spread`.

    A point that one seed has not reached is not reached. Words are the first seed's.
    """
    groups: dict[tuple, Rows] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in POINT), []).append(_with_worst(row))
    return [_mean_of(group) for group in groups.values()]


def _with_worst(row: dict[str, Any]) -> dict[str, Any]:
    """With the worst attack on one query, and on many. The untrained network does not read what is sent."""
    for name, attacks in ((WORST, LABEL_ATTACKS[1:3]), (OFTEN, LABEL_ATTACKS[3:])):
        if found := [row[attack] for attack in attacks if attack in row]:
            row = row | {name: max(found)}
    return row


def _mean_of(group: Rows) -> dict[str, Any]:
    missed = [row for row in group if "unreached" in row]
    if missed or len(group) == 1:
        return (missed or group)[0]
    found = dict(group[0])
    for column in group[0]:
        values = [row[column] for row in group if column in row]
        if column not in (*POINT, "seed") and not any(isinstance(value, str) for value in values):
            found[column] = statistics.mean(values)
            found[f"{column}, spread"] = statistics.stdev(values) if len(values) > 1 else 0.0
    return found | {"seeds": len(group)}


def markdown(rows: Rows) -> str:
    """The rows as tables: what is promised and what was read; what the paper measures; other secrets, where they were read."""
    read = ["method, draw, cut", "public accuracy, without noise (%)", "bits at most: one query, 1,000"]
    read += ["bits at least: label, image", "floor, ceiling (%)", "worst attack: one query, 1,000 (%)"]
    read += ["identified: exact, with rounding (%)"]
    measured = ["method, draw, cut", "MI estimate before, after (nats)", "untrained (%)", "trained (%)", "member (%)", "PA, PI"]
    measured += ["SSIM: best, clean"]
    secrets = ["method, draw, cut", *(f"{name} (%)" for name in SECRETS)]
    tables = [[read], [measured], [secrets]]
    for row in over_seeds(rows):
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
                ", ".join(filter(None, (_with_interval(row, WORST, ".1f") if WORST in row else "", _both(row, OFTEN)))),
                _both(row, "identified by exact arithmetic (%)", "identified with rounding (%)"),
            ]
        )
        of_paper = [_both(row, "MI estimate before (nats)", "after (nats)"), *(_both(row, name) for name in LABEL_ATTACKS[:3])]
        tables[1].append([name, *of_paper, _both(row, "PA", "PI"), _both(row, "SSIM, best", "SSIM, clean")])
        of_secrets = [_both(row, *(f"{secret}, {of}" for of in ("floor", *SECRETS[secret]))) for secret in SECRETS]
        tables[2].extend([[name, *of_secrets]] if any(of_secrets) else [])
    return "\n\n".join("\n".join(lines_of(table)) for table in tables[: 2 + (len(tables[2]) > 1)]) + "\n"


def lines_of(table: list[list[str]]) -> list[str]:
    """A table in Markdown, its first row the names of the columns."""
    first, *others = (f"| {' | '.join(cells)} |" for cells in table)
    return [first, "|---" * len(table[0]) + "|", *others]


def _both(row: dict[str, Any], *columns: str) -> str:
    return ", ".join(_text(row, column) for column in columns if column in row)


def _with_interval(row: dict[str, Any], column: str, digits: str = ".2f") -> str:
    """A number and its interval over test rows; of several seeds their mean and spread."""
    if f"{column}, spread" in row:
        return f"{row[column]:{digits}} +- {row[f'{column}, spread']:{digits}}"
    return f"{row[column]:{digits}} ({row[f'{column}, low']:{digits}} to {row[f'{column}, high']:{digits}})"


def _text(row: dict[str, Any], column: str) -> str:
    """To three digits, or more of large numbers; with the spread over seeds."""
    value, spread = row[column], row.get(f"{column}, spread", 0.0)
    if isinstance(value, str):
        return value
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}") + (f" +- {spread:.2g}" if spread else "")
