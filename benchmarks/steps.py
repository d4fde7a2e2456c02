"""Where the time of `make reproduce` went: seconds and peak memory of each step by its run record, and step 3 by part.

    make reproduce; python -m benchmarks.steps

Step 3 is run again, without a kernel of its own, on the samples of `make reproduce`. A part is a section of the notebook.
"""

import contextlib
import io
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from shredder.io.cli import script
from shredder.io.files import write_together
from shredder.io.record import Record, read_record

ROOT = Path(__file__).parents[1]
STEPS = {
    "LeNet, step 1": "lenet/noise",
    "LeNet, step 2": "lenet/sample",
    "LeNet, step 3": "lenet/figures",
    "AlexNet, step 1": "alexnet/noise",
    "AlexNet, step 2": "alexnet/sample",
    "AlexNet, step 3": "alexnet/figures",
    "quick figures and attacks": "figures",
}


@dataclass(frozen=True)
class Arguments:
    """Say where the time of a finished `make reproduce` went."""

    runs: Path = Path("runs")
    """Where it wrote."""
    output: Path = Path("runs/benchmarks/steps.json")
    """Run record."""


def parts(sample: Path) -> dict[str, float]:
    """Seconds of each section of the notebook on `sample`, by heading."""
    cells = json.loads((ROOT / "mutual_info_ite.ipynb").read_text())["cells"]
    names, seconds, heading = {}, {}, "imports"
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.environ |= {"SAMPLE": str(sample), "FIGURES": folder}
        for cell in cells:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                heading = source.splitlines()[0].strip("# ")
                continue
            started = time.perf_counter()
            exec(source, names)
            seconds[heading] = seconds.get(heading, 0) + time.perf_counter() - started
    return seconds


def main(args: Arguments) -> None:
    """Print seconds and memory, and write them down."""
    record, results = Record(args), {}
    for name, folder in STEPS.items():
        content = read_record(args.runs / folder / "run.json")
        results[f"{name} (s)"] = content["seconds"]
        results[f"{name}, peak memory (MB)"] = content["peak memory (MB)"]
        if folder == "figures":
            results |= {f"{name}, {part}": value for part, value in content["results"].items()}
        elif folder.endswith("figures"):
            sample = args.runs / folder.replace("figures", "sample")
            results |= {f"{name}, {part} (s)": value for part, value in parts(sample).items()}
    for name, value in results.items():
        print(f"{name:78} {value:8.1f}")
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
