"""The paper's figures and tables, drawn from runs of steps 1, 2 and 3 beside the authors' points. See docs/figures.md.

    python paper_figures.py --quick                        # 5,000 embedded digits, few points, under a minute
    python paper_figures.py --networks lenet               # full MNIST, half an hour on two cores
    python paper_figures.py --figure 7 table               # some of them

Each figure is written as PNG, its numbers as CSV. Every point is a run of steps 1 to 3, kept in `--points` by its
arguments, weights and code: a second call only draws, an interrupted one goes on. The run records are there, too.
"""

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from paper import attack_tables, attacked, defence_files, defences, plots, published, rows
from shredder import figures
from shredder.io import folders, ranks
from shredder.io.cli import InputError, in_float32, require_at_least, script
from shredder.io.device import with_float64
from shredder.io.files import csv_table, write_together
from shredder.io.record import Record, report

# The rows of each figure, and how they are drawn.
FIGURES = {
    "5": (rows.figure_5, plots.learning),
    "6": (rows.figure_6, plots.time_of_an_answer),
    "7": (rows.figure_7, plots.knob),
    "8": (rows.figure_8, plots.cutting_points),
    "9": (rows.figure_9, plots.private_error),
    "v2-4": (rows.figure_v2_4, plots.normalised_private_error),
    "table": (rows.table, None),
    "attacks": (attacked.figure_attacks, lambda made: plots.attacks(attack_tables.over_seeds(made))),
    "defences": (defences.figure_defences, plots.defences),
}
# Those beyond the paper, which are not among `all`, and what is written beside their numbers.
BEYOND = {"attacks": attack_tables.beside, "defences": defence_files.beside}

TITLES = {name: f"figure-{name}" for name in FIGURES} | {"table": "table-lenet", "defences": "table-defences"}
# All that is written, some of it by each call.
WRITTEN = (*(f"{title}.{end}" for title in TITLES.values() for end in ("csv", "png")), "attacks.md", *defence_files.FILES)


@dataclass(frozen=True)
class Arguments:
    """Draw the paper's figures from runs."""

    figure: tuple[Literal["5", "6", "7", "8", "9", "v2-4", "table", "attacks", "defences", "all"], ...] = ("all",)
    """The paper's numbers; 9 is 9a. table: the rows for LeNet of v3 Table 3 and v2 Table 1. Beyond the paper, and not among
    `all`: attacks, what an informed adversary reads; defences, what a user would pick instead (docs/defences.md)."""
    quick: bool = False
    """LeNet on 5,000 embedded digits, and few points; else on full MNIST. AlexNet reads a few embedded digits in both."""
    networks: tuple[Literal["lenet", "alexnet"], ...] = ("lenet", "alexnet")
    """Networks to draw where a figure has both."""
    data_root: Path = Path("data")
    """Folder of torchvision's MNIST; downloaded there if absent."""
    dataset: Literal["mnist-5k", "mnist"] = "mnist-5k"
    """Defences: the digits that they are learned and judged on. mnist: all of MNIST for those that docs/defences.md names, the
    embedded ones for others."""
    grounds: tuple[Literal["lenet", "cifar10"], ...] = ("lenet",)
    """Defences: networks that they are compared on."""
    cuts: tuple[Literal["relu5", "s4", "s2", "pool6", "relu2", "all"], ...] = ("all",)
    """Defences: where networks are cut."""
    defences: tuple[str, ...] = ("all",)
    """Defences: some of them, by the names of their rows."""
    join: tuple[Path, ...] = ()
    """Defences: folders of finished tables, whose rows join this one. None of them is made again."""
    seeds: int = 1
    """Defences and attacks: how many seeds, from --seed on."""
    wifi: float = published.UPLOAD["Wi-Fi"]
    """Figure 6: upload rate of Wi-Fi, in Mbit/s. The default is a mean for the United States (arXiv 1801.08618)."""
    wifi_round_trip: float = 10.0
    """Figure 6: its round trip, in ms. The default is our assumption."""
    lte: float = published.UPLOAD["LTE"]
    """Figure 6: upload rate of LTE, in Mbit/s. The default is from the same source."""
    lte_round_trip: float = 70.0
    """Figure 6: its round trip, in ms. The default is the median of Huang et al., MobiSys 2012."""
    seed: int = 0
    """Of every run."""
    device: str = "auto"
    """Where runs are computed: cpu or cuda. Default: cuda if there is one, else cpu. Figure 6 is of the processor."""
    points: Path = Path("runs/figures/points")
    """Folder for the runs."""
    output: Path = Path("runs/figures")
    """Folder for figures and tables."""


@in_float32
@folders.claims(*WRITTEN)
def main(args: Arguments) -> None:
    """Make the points that are missing, draw, write."""
    args = dataclasses.replace(args, device=with_float64(args.device))
    record = Record(args)
    require_at_least(args, seed=0, seeds=1, wifi_round_trip=0, lte_round_trip=0)
    for name in ("wifi", "lte"):
        if not 0 < getattr(args, name) < math.inf:
            raise InputError(f"--{name}: found {getattr(args, name)}, expected a rate above 0 Mbit/s")
    if not args.networks:
        raise InputError("--networks: found none, expected lenet, alexnet or both")
    if not args.cuts:
        raise InputError("--cuts: found none, expected all, or some of relu5, s4, s2, pool6, relu2")
    unknown = " ".join(name for name in args.defences if name not in ("all", *defences.DEFENCES))
    if unknown or not args.defences:
        raise InputError(f"--defences: found {unknown or 'none'}, expected all, or some of {', '.join(defences.DEFENCES)}")
    if not args.grounds:
        raise InputError("--grounds: found none, expected lenet, cifar10 or both")
    if not args.figure:
        raise InputError("--figure: found none, expected one or more, or all")
    seconds, files = {}, {}
    for name in [name for name in FIGURES if name in args.figure or ("all" in args.figure and name not in BEYOND)]:
        begin, (make, draw) = time.perf_counter(), FIGURES[name]
        of_figure = make(args)
        if ranks.rank():  # the first process draws what all have made
            continue
        if not of_figure:
            raise InputError(f"--figure {name}: no point was reached, so that nothing is to be drawn; see above")
        columns = list(dict.fromkeys(column for row in of_figure for column in row))
        title = TITLES[name]
        content = csv_table(columns, [[row.get(column, "") for column in columns] for row in of_figure])
        written = {args.output / f"{title}.csv": content}
        if name in BEYOND:
            written |= {args.output / file: content for file, content in BEYOND[name](of_figure, args.output).items()}
        if figure := draw and draw(of_figure):
            written[args.output / f"{title}.png"] = figures.png(figure)
        write_together(written)
        files |= written
        seconds[f"{title} (s)"] = time.perf_counter() - begin
    if ranks.rank():
        return
    record.write(args.output / "run.json", files, seconds)
    report(args.output, seconds)


if __name__ == "__main__":
    script(main, Arguments)
