"""How long learning helps on 5,000 digits: what held-out rows say after more and more epochs, by method and seed.

python -m benchmarks.epochs

Multiples are of the epochs on MNIST, whose epoch has 15 times the updates. Every run decays its rate over its own length, so
each multiple is a run of its own. All else is as by default, v3's as in quick figures. What misses its accuracy has no number.
No test digit has a part in what is reported. About eight minutes.
"""

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shredder.io.cli import require_at_least, script
from shredder.io.files import write_together
from shredder.io.record import RECORD, Record, read_record
from shredder.learn import step
from shredder.learn.learner import OutOfReachError
from tasks.lenet import LEARN

# What is learned; the multiples of its epochs that are tried.
CASES: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "v2": ({"method": "self-supervised"}, (2, 4, 8, 15)),
    "v3, 6 members": ({"method": "distribution", "members": 6, "max_accuracy_loss": 0.0334}, (0.2, 0.6, 1.2, 15)),
    "fresh, quantised, relu5": ({"method": "fresh"}, (2, 4, 15)),
    "fresh, saturated, s4": ({"method": "fresh", "cutting_point": "s4"}, (2, 4, 15)),
}
OF_MEMBERS = ("average held-out accuracy", "average held-out SNR", "members rejected")
REPORTED = (*OF_MEMBERS, "held-out accuracy", "bits at most, held-out")


@dataclass(frozen=True)
class Arguments:
    """Learn for longer and longer, and look at held-out rows."""

    cases: tuple[str, ...] = tuple(CASES)
    """What is learned."""
    longest: float = 15
    """The largest multiple that is tried."""
    seeds: int = 3
    """Seeds of each, from 0."""
    output: Path = Path("runs/benchmarks/epochs.json")
    """Run record."""


def learned(seed: int, multiple: float, **learn: Any) -> dict[str, float]:
    """What held-out rows say of what is learned in `multiple` times the epochs on MNIST; nothing where accuracy is missed."""
    of_method = LEARN[learn["method"], "suite"]
    epochs, min_epochs = (int(multiple * of_method[name]) for name in ("epochs", "min_epochs"))
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        output = Path(folder) / "noise"
        try:
            step.run(step.Arguments(task="lenet", seed=seed, epochs=epochs, min_epochs=min_epochs, output=output, **learn))
        except OutOfReachError:
            return {}
        results = read_record(output / RECORD)["results"]
    return {name: results[name] for name in REPORTED if name in results}


def main(args: Arguments) -> None:
    """Print the results and write them down."""
    require_at_least(args, seeds=1)
    record, results = Record(args), {}
    for case in args.cases:
        learn, multiples = CASES[case]
        for multiple in multiples:
            if multiple <= args.longest:
                found = [learned(seed, multiple, **learn) for seed in range(args.seeds)]
                for seed, values in enumerate(found):
                    of_seed = {f"{case}, {multiple:g} times, seed {seed}: {name}": value for name, value in values.items()}
                    results |= of_seed or {f"{case}, {multiple:g} times, seed {seed}": "missed"}
                shown = ["; ".join(f"{name} {value:.4g}" for name, value in values.items()) or "missed" for values in found]
                print(f"{case}, {multiple:g} times the epochs:", *shown, sep="\n    ", flush=True)
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
