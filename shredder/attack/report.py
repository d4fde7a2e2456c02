"""What attacks have found, as tables, measures and bounds."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from skimage.metrics import structural_similarity
from torch import Tensor

from shredder import figures
from shredder.attack.attacks import ATTACKS, KINDS, QUERIES
from shredder.attack.features import Whiten
from shredder.attack.reading import Reading, floor, random
from shredder.attack.setting import Scene
from shredder.io.files import csv_table
from shredder.io.record import RECORD, Record, report
from shredder.noise.channel import Channel
from shredder.noise.fresh import Fresh
from shredder.noise.rounding import bits_left

COLUMNS = ("attack", "private_accuracy", "low", "high", "floor", "ceiling", "seconds", "bits at least", "bits error")
COLUMNS += ("kind", "reader")


IMAGE_COLUMNS = ("images", "mean squared error", "PSNR (dB)", "SSIM", "low", "high")
FILES = ("attacks.csv", "attacks.png", "reconstruction.csv", "reconstruction.png")


# All that is written or removed in the folder of the results: these, and in its folder `attacks` what is kept of each attack.
WRITTEN = (*FILES, *(f"attacks/{name}.json" for name in ("ceiling", *ATTACKS, *(f"averaging-{q}" for q in QUERIES))))


class Found(NamedTuple):
    """What attacks have found.

    Attributes
    ----------
    readings : dict
        Rows of attacks.csv by attack.
    images : dict
        Rows of reconstruction.csv, and bits; empty if no images were guessed.
    gallery : dict
        As from `identified`; empty if it was not asked for, or no bound is claimed.
    """

    readings: dict[str, dict[str, Any]]
    images: dict[str, Any]
    gallery: dict[str, Any]


def _row(scene: Scene, reading: Reading, ceiling: float) -> dict[str, Any]:
    """A reading as a row of attacks.csv, and what else is kept of it."""
    low, high = reading.interval()
    bits, bits_error = reading.bits_at_least()
    return {
        "private_accuracy": reading.accuracy,
        "low": low,
        "high": high,
        "floor": floor(scene.learning, scene.test),
        "ceiling": ceiling,
        "correct, of": [int(reading.correct.sum()), len(reading.correct)],
        "bits at least": bits,
        "bits error": bits_error,
        "held-out nats": reading.held_out_nats,
        "kind": reading.kind,
        "reader": reading.reader,
    }


def quality(images: Tensor, guesses: Tensor, side: int) -> dict[str, float]:
    """How close guesses come to images: pixels in [0, 1], (n, side * side); means over images.

    SSIM is that of Wang, Bovik, Sheikh, Simoncelli 2004 with a uniform window of seven pixels; `low` and `high` its Normal 95 %
    interval.
    """
    errors = (images - guesses).double().square().mean(1)
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


def measures(found: Found, scene: Scene, public: float, clean_public: float) -> dict[str, Any]:
    """The worst attack on what a single query sends, and the measures of "Privacy for Rescue" (2020).

    PA = attacked / public accuracy,   PI = (clean - noisy) / (clean - random)
    """
    results: dict[str, Any] = {"public accuracy": public, "public accuracy without noise": clean_public}
    single = {name: row for name, row in found.readings.items() if name in KINDS}
    if single:
        name = max(single, key=lambda name: single[name]["private_accuracy"])
        worst, ceiling, guess = single[name]["private_accuracy"], single[name]["ceiling"], random(scene.learning, scene.test)
        low, high = worst_of(single.values())
        # By the reader that held-out rows prefer.
        label = min(single.values(), key=lambda row: row["held-out nats"])
        results |= {
            "worst attack on one query": name,
            "its private accuracy": worst,
            "the worst's 95 % interval, low": low,
            "the worst's 95 % interval, high": high,
            "PA": worst / public,
            "PI": (ceiling - worst) / (ceiling - guess),
            "bits at least, private label": label["bits at least"],
            "bits at least, private label, standard error": label["bits error"],
        }
    if found.images:
        # The label is a function of the image, so that what is known of one is known of the other.
        of_image = found.images["bits at least (InfoNCE)"], found.images["bits error"]
        if single:
            of_image = max(of_image, (label["bits at least"], label["bits error"]))
        results["bits at least, image"], results["bits at least, image, standard error"] = of_image
        results["bits at least, image (InfoNCE)"] = found.images["bits at least (InfoNCE)"]
    if found.gallery:
        n, gain = found.gallery["candidates"], found.gallery["with rounding"] - found.gallery["exact"]
        results |= {
            f"identified among {n}, by exact arithmetic": found.gallery["exact"],
            f"identified among {n}, with rounding": found.gallery["with rounding"],
            "standard error of the difference": found.gallery["error"],
            "rounding gains (standard errors)": gain / found.gallery["error"],
        }
    return results


def worst_of(rows: Collection[dict[str, Any]]) -> tuple[float, float]:
    """A 95 % interval of the largest accuracy among attacks' rows: each has its Wilson interval, for all of them at once."""
    level = 1 - 0.05 / len(rows)
    tests = [stats.binomtest(*row["correct, of"]).proportion_ci(level, method="wilson") for row in rows]
    return max(test.low for test in tests), max(test.high for test in tests)


def bounds(channel: Channel, signal: Tensor, rng: np.random.Generator, input_bits: int) -> dict[str, Any]:
    """Upper bounds in bits, or "none", and what they rest on.

    Parameters
    ----------
    channel : Channel
    signal : Tensor, (n, *activation shape); of Fresh (n, r)
        Of held-out rows.
    rng : np.random.Generator
        As for `Channel.bits_at_most`.
    input_bits : int
        What the input is stored in; no bound is above it.
    """
    source, one = channel.source, channel.bits_at_most(signal, rng)
    if one is None and channel.draw == "verbatim":
        hidden = f"log2 {len(source)} = {np.log2(len(source)):.3f} bits of the activation: a finite collection used verbatim"
        return {"bits at most, one query": "none", "hidden at most": hidden}
    if one is None:
        return {"bits at most, one query": "none", "no bound, since": "w * a has no noise where a is 0"}
    found: dict[str, Any] = {"bits at most, one query": min(one, input_bits)}
    for q in QUERIES:  # noise is drawn anew for every query, so that q of them say at most q times as much as one
        found[f"bits at most, {q} queries"] = min(channel.bits_at_most(signal, rng, q), q * one, input_bits)
    found["bits of an input"] = input_bits
    rests = f"inputs with the covariance that {len(signal)} held-out activations suggest, at 99 % confidence"
    if isinstance(source, Fresh):
        for q in (1, QUERIES[-1]):
            for_any = source.bits_for_any_inputs(q)
            found[f"bits at most, any inputs, {q} queries"] = min(for_any, input_bits)
        left = bits_left(len(source.scales), 1)
        if source.form == "quantised":
            rests = "the two levels alone: it holds for any inputs"
    else:
        found["of these without any signal (slack)"] = channel.bits_at_most(torch.zeros_like(signal), rng)
        left = bits_left(signal[0].numel(), 1, laplace=True, ordered=channel.draw == "order-preserving")
    found["the finite grid of the noise adds at most (bits a query)"] = left
    return found | {"the bound rests on": rests}


def rank_of_noise(scene: Scene) -> dict[str, str]:
    """In how many of the activation's dimensions there is noise, if that is known."""
    d, source = scene.test.clean[0].numel(), scene.channel.source
    whiten = None if isinstance(source, Fresh) else scene.features.get("whitened")
    if isinstance(source, Fresh):
        return {"rank of the noise's covariance": f"{len(source.scales)} of {d}"}
    return {"rank of the noise's covariance": f"{whiten.rank} of {d}"} if isinstance(whiten, Whiten) else {}


def write(found: Found, results: dict[str, Any], folder: Path, record: Record) -> None:
    """Write attacks.csv and its figure, and reconstruction.csv if images were guessed; remove what other noise has left."""
    written: dict[Path, bytes | None] = dict.fromkeys(folder / name for name in FILES)
    if found.readings:
        rows = [[name, *(row[column] for column in COLUMNS[1:])] for name, row in found.readings.items()]
        written[folder / "attacks.csv"] = csv_table(COLUMNS, rows)
        written[folder / "attacks.png"] = figures.png(figures.readings(found.readings))
    if found.images:
        rows = [[row[column] for column in IMAGE_COLUMNS] for row in found.images["rows"]]
        written[folder / "reconstruction.csv"] = csv_table(IMAGE_COLUMNS, rows)
        if (folder / "reconstruction.png").exists():  # drawn when the images were guessed
            written[folder / "reconstruction.png"] = (folder / "reconstruction.png").read_bytes()
    record.write(folder / RECORD, written, results)
    for name, row in found.readings.items():
        print(f"{name:15} {row['private_accuracy']:.4f}  floor {row['floor']:.4f}, ceiling {row['ceiling']:.4f}")
    report(folder, results)
