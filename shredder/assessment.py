"""Attacks one after the other: each finished one is kept, and all of them become one table."""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from skimage.metrics import structural_similarity
from torch import Tensor

from shredder import attacks, figures, runs
from shredder.attacks import QUERIES, Reading, Scene
from shredder.channels import Channel
from shredder.fresh import Fresh

AttackName = Literal["all", "untrained", "trained", "member", "averaging", "reconstruction"]
ATTACKS = ("untrained", "trained", "member", "averaging", "reconstruction")
# Features of the attacks that read the private label from a single query.
KINDS = {"trained": ("raw", "whitened"), "member": ("undone",)}
COLUMNS = ("attack", "private_accuracy", "low", "high", "floor", "ceiling", "seconds", "bits at least", "how")
IMAGE_COLUMNS = ("images", "mean squared error", "PSNR (dB)", "SSIM", "low", "high")
# Finds what is kept under a name, or makes and keeps it.
Keep = Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]]


class Found(NamedTuple):
    """Rows of attacks.csv by attack, and what was seen of the images: rows of reconstruction.csv, and bits."""

    readings: dict[str, dict[str, Any]]
    images: dict[str, Any]


def chosen(names: Sequence[str], private_labels: bool) -> list[str]:
    """The attacks that `names` ask for, in the order in which they are run. Raises InputError."""
    possible = ATTACKS if private_labels else ("reconstruction",)
    if not names:
        raise runs.InputError(f"--attacks: found none, expected all or some of {', '.join(possible)}")
    impossible = [name for name in names if name not in ("all", *possible)]
    if impossible:
        raise runs.InputError(
            f"--attacks {' '.join(impossible)}: no private label is left beside the public one; expected reconstruction"
        )
    return [name for name in possible if "all" in names or name in names]


def keeper(folder: Path, fingerprint: str) -> Keep:
    """Keeps what is made in `folder`, with its seconds and the arguments it was made with."""

    def keep(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = folder / f"{name}.json"
        if path.exists():
            state = json.loads(path.read_text())
            if state["fingerprint"] == fingerprint:
                return state["found"]
        found, seconds = attacks.timed(make)
        found["seconds"] = seconds
        runs.write_together({path: (json.dumps({"fingerprint": fingerprint, "found": found}, indent=2) + "\n").encode()})
        return found

    return keep


def assess(
    scene: Scene, names: Sequence[str], untrained: Callable[[], tuple[Reading, float]] | None, keep: Keep, folder: Path
) -> Found:
    """Run the attacks `names`, or read what was kept of them.

    Parameters
    ----------
    scene : Scene
    names : sequence of str
        As from `chosen`.
    untrained : callable, optional
        Gives the untrained adversary's reading, and its accuracy without noise.
    keep : callable
        As from `keeper`.
    folder : Path
        For the figure of reconstructions.
    """
    features = functools.cache(scene.features)
    floor = attacks.floor(scene.learning, scene.test) if untrained else 0.0

    def ceiling() -> float:
        return keep("ceiling", lambda: {"accuracy": attacks.ceiling(scene).accuracy})["accuracy"]

    def row(reading: Reading, ceiling: float) -> dict[str, Any]:
        low, high = reading.interval()
        return {
            "private_accuracy": reading.accuracy,
            "low": low,
            "high": high,
            "floor": floor,
            "ceiling": ceiling,
            "bits at least": attacks.entropy_bits(scene.test.private) - reading.nats / np.log(2),
            "held-out nats": reading.held_out_nats,
            "how": reading.how,
        }

    def single(name: str) -> dict[str, Any]:
        return keep(
            name,
            lambda: row(attacks.read(scene, {kind: features()[kind] for kind in KINDS[name] if kind in features()}), ceiling()),
        )

    def averaging() -> dict[str, Any]:
        strongest = min(map(single, KINDS), key=lambda row: row["held-out nats"])["how"].split(",")[0]
        readings = attacks.averaged(scene, strongest, features()[strongest])
        return {str(q): row(reading, ceiling()) for q, reading in readings.items()}

    readings, images = {}, {}
    for name in names:
        if name == "untrained":
            readings[name] = keep(name, lambda: row(*untrained()))
        elif name in KINDS:
            readings[name] = single(name)
        elif name == "averaging":
            found = keep(name, averaging)
            readings |= {f"averaging {q}": found[str(q)] | {"seconds": found["seconds"]} for q in QUERIES}
        else:
            images = keep(name, lambda: reconstruction(scene, features(), folder))
    return Found(readings, images)


def reconstruction(scene: Scene, features: dict[str, attacks.Features], folder: Path) -> dict[str, Any]:
    """Quality of guessed images, and bits that InfoNCE shows about them; draws some to `folder`."""
    guesses = attacks.reconstructed(scene, features)
    how, truth, side = guesses.pop("how"), scene.test.images, round(scene.test.images.shape[1] ** 0.5)
    shown = {"input": truth, "from clean": guesses["clean"], "from noisy": guesses["noisy"], "mean image": guesses["mean"]}
    pictures = {name: images[:10].reshape(-1, side, side).numpy() for name, images in shown.items()}
    runs.write_together({folder / "reconstruction.png": figures.png(figures.reconstructions(pictures))})
    return {
        "how": how,
        "bits at least (InfoNCE)": attacks.image_bits_at_least(scene, features[how]),
        "rows": [{"images": name} | quality(truth, images, side) for name, images in guesses.items()],
    }


def quality(images: Tensor, guesses: Tensor, side: int) -> dict[str, float]:
    """How close guesses come to images: pixels in [0, 1], (n, side * side); means over images.

    SSIM is that of Wang, Bovik, Sheikh, Simoncelli 2004 with a uniform window of seven pixels; `low` and `high` its Normal 95 %
    interval.
    """
    errors = (images - guesses).double().square().mean(1).clamp(min=1e-12)
    pairs = zip(images.view(-1, side, side).numpy(), guesses.reshape(-1, side, side).numpy(), strict=True)
    similarity = np.array([structural_similarity(image, guess, data_range=1.0) for image, guess in pairs])
    margin = 1.96 * similarity.std(ddof=1) / len(similarity) ** 0.5
    return {
        "mean squared error": errors.mean().item(),
        "PSNR (dB)": (-10 * errors.log10()).mean().item(),
        "SSIM": float(similarity.mean()),
        "low": float(similarity.mean() - margin),
        "high": float(similarity.mean() + margin),
    }


def measures(found: Found, public: float, clean_public: float) -> dict[str, Any]:
    """The worst attack on a single query, and the measures of "Privacy for Rescue" (2020).

    PA = attacked / public accuracy,   PI = (clean - noisy) / (clean - random), where random is the floor
    """
    results: dict[str, Any] = {"public accuracy": public, "public accuracy without noise": clean_public}
    single = {name: row for name, row in found.readings.items() if not name.startswith("averaging")}
    if single:
        name = max(single, key=lambda name: single[name]["private_accuracy"])
        worst, ceiling, floor = (single[name][column] for column in ("private_accuracy", "ceiling", "floor"))
        results |= {
            "worst attack on one query": name,
            "its private accuracy": worst,
            "PA": worst / public,
            "PI": (ceiling - worst) / (ceiling - floor),
        }
        results["bits at least, private label"] = max(row["bits at least"] for row in single.values())
    if found.images:
        results["bits at least, image (InfoNCE)"] = found.images["bits at least (InfoNCE)"]
    return results


def bounds(channel: Channel, signal: Tensor) -> dict[str, Any]:
    """Upper bounds in bits, or "none", and what they rest on."""
    bound = channel.bits_at_most(signal)
    found: dict[str, Any] = {"bits at most, one query": "none" if bound is None else bound}
    if isinstance(channel.source, Fresh):
        found |= {f"bits at most, {q} queries": channel.source.bits(signal, q) for q in QUERIES[1:]}
    if isinstance(channel.source, Fresh) and channel.source.form == "quantised":
        found["the bound rests on"] = "the two levels alone: it holds for any inputs"
    elif bound is not None:
        found["the bound rests on"] = f"inputs with the covariance of the {len(signal)} test activations"
    elif channel.draw == "verbatim":
        n = len(channel.source)
        found["hidden at most"] = f"log2 {n} = {np.log2(n):.3f} bits of the activation: a finite collection used verbatim"
    else:
        found["no bound, since"] = "w * a has no noise where a is 0"
    return found


def files(found: Found, folder: Path) -> dict[Path, bytes]:
    """attacks.csv and its figure, and reconstruction.csv if images were guessed."""
    written = {}
    if found.readings:
        rows = [[name, *(row[column] for column in COLUMNS[1:])] for name, row in found.readings.items()]
        written[folder / "attacks.csv"] = runs.csv_table(COLUMNS, rows)
        written[folder / "attacks.png"] = figures.png(figures.readings(found.readings))
    if found.images:
        rows = [[row[column] for column in IMAGE_COLUMNS] for row in found.images["rows"]]
        written[folder / "reconstruction.csv"] = runs.csv_table(IMAGE_COLUMNS, rows)
    return written
