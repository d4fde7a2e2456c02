"""What attacks have found, as tables, figures, measures and bounds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shredder.attack.reading import guessing, worst_of
from shredder.attack.run import ATTACKS, QUERIES, Outcome
from shredder.attack.setting import Setting
from shredder.io.files import csv_table
from shredder.io.record import RECORD, Record, report
from shredder.noise.channel import Channel

COLUMNS = ("attack", "private_accuracy", "low", "high", "floor", "ceiling", "seconds", "bits at least", "bits error")
COLUMNS += ("bits low", "bits high", "kind", "reader")
IMAGE_COLUMNS = ("images", "mean squared error", "PSNR (dB)", "SSIM", "low", "high", "of", "by")
SECRET_COLUMNS = ("secret", "floor", *(f"{q}{end}" for q in ("one query", "1000 queries") for end in ("", ", low", ", high")))
SECRET_COLUMNS += ("one query, at most", "clean", "bits at least", "bits low", "bits high", "of")
FILES = ("attacks.csv", "attacks.png", "reconstruction.csv", "reconstruction.png", "secrets.csv")


def written() -> tuple[str, ...]:
    """All that is written or removed in the folder of the results: in its folder `attacks` what is kept of each attack."""
    parts = (part for attack in ATTACKS.values() for part in attack.parts)
    return (
        *FILES,
        *(
            f"attacks/{name}.kept"
            for name in ("ceiling", "clean-secrets", *parts, *ATTACKS, *(f"averaging-{q}" for q in QUERIES))
        ),
    )


def rows_of(found: Mapping[str, Outcome]) -> dict[str, dict[str, Any]]:
    """Rows of attacks.csv, by name."""
    return {
        name: {"seconds": outcome["seconds"], **row}
        for outcome in found.values()
        for name, row in outcome.get("rows", {}).items()
    }


def measures(found: Mapping[str, Outcome], setting: Setting, public: float, clean_public: float) -> dict[str, Any]:
    """The worst attack on what a single query sends, and the measures of "Privacy for Rescue" (2020).

    PA = attacked / public accuracy,   PI = (clean - noisy) / (clean - guessing)

    PI is "none" where clean is guessing.
    """
    results: dict[str, Any] = {"public accuracy": public, "public accuracy without noise": clean_public}
    single, label = {name: found[name]["rows"][name] for name in found if ATTACKS[name].of_one_query}, None
    if single:
        name = max(single, key=lambda name: single[name]["private_accuracy"])
        worst, ceiling = single[name]["private_accuracy"], single[name]["ceiling"]
        guess = guessing(setting.learning, setting.test)
        low, high = worst_of(single.values())
        # By the reader that held-out rows prefer.
        best = min(single.values(), key=lambda row: row["held-out nats"])
        label = _shown(best, "bits at least")
        results |= {
            "worst attack on one query": name,
            "its private accuracy": worst,
            "the worst's 95 % interval, low": low,
            "the worst's 95 % interval, high": high,
            "PA": worst / public,
            "PI": (ceiling - worst) / (ceiling - guess) if ceiling != guess else "none",
            **_named("bits at least, private label", label),
        }
    for outcome in found.values():
        if "bits at least (InfoNCE)" in outcome:
            by_images = _shown(outcome, "bits at least (InfoNCE)")
            # The label is a function of the image, so that what is known of one is known of the other.
            results |= _named("bits at least, image", max(by_images, label) if label else by_images)
            results["bits at least, image (InfoNCE)"] = by_images[0]
        results |= outcome.get("results", {})
    return results


def _shown(found: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """A lower bound, its standard error, and the ends of its 95 % interval."""
    return tuple(found[of] for of in (name, "bits error", "bits low", "bits high"))


def _named(name: str, shown: tuple[float, ...]) -> dict[str, float]:
    return dict(zip((name, *(f"{name}, {of}" for of in ("standard error", "low", "high"))), shown, strict=True))


def bounds(channel: Channel, signal: Any, rng: np.random.Generator, input_bits: int) -> dict[str, Any]:
    """Upper bounds in bits, or "none", and what they rest on.

    Parameters
    ----------
    channel : Channel
    signal : Tensor, (n, ...)
        t of held-out rows.
    rng : np.random.Generator
        As for `Channel.bits_at_most`.
    input_bits : int
        What the input is stored in; no bound is above it.
    """
    source, one = channel.source, channel.bits_at_most(signal, rng)
    if one is None:
        hidden, none = source.hidden_at_most(channel.rule), {"bits at most, one query": "none"}
        if hidden is None:
            return none | {"no bound, since": f"no theorem gives one for {channel.rule} draws of {source.formula}"}
        text = f"log2 {len(source)} = {hidden:.3f} bits of the activation: a finite collection used verbatim"
        return none | {"hidden at most": text}
    found: dict[str, Any] = {"bits at most, one query": min(one, input_bits)}
    for q in QUERIES:  # noise is drawn anew for every query, so that q of them say at most q times as much as one
        found[f"bits at most, {q} queries"] = min(channel.bits_at_most(signal, rng, q), q * one, input_bits)
    found["bits of an input"] = input_bits
    for q in (1, QUERIES[-1]):
        if (for_any := source.bits_for_any_inputs(q)) is not None:
            found[f"bits at most, any inputs, {q} queries"] = min(for_any, input_bits)
    if (slack := channel.slack(signal, rng)) is not None:
        found["of these without any signal (slack)"] = slack
    rests = f"inputs with the covariance that {len(signal)} held-out activations suggest, at 99 % confidence"
    if source.for_any_inputs:
        rests = "nothing else: it holds for any inputs"
    found["the finite grid of the noise adds at most (bits a query)"] = source.bits_of_grid(channel.rule)
    return found | {"the bound rests on": rests}


def rank_of_noise(setting: Setting) -> dict[str, str]:
    """In how many of the activation's dimensions there is noise, if that is known."""
    rank = setting.features.rank if setting.channel.source.rank is None else setting.channel.source.rank
    return {} if rank is None else {"rank of the noise's covariance": f"{rank} of {setting.test.clean[0].numel()}"}


def write(found: Mapping[str, Outcome], results: dict[str, Any], folder: Path, record: Record) -> None:
    """Write attacks.csv, reconstruction.csv and secrets.csv with their figures; remove what other noise has left."""
    from matplotlib import pyplot  # half a second to import, so only where something is drawn

    from shredder import figures

    written: dict[Path, bytes | None] = dict.fromkeys(folder / name for name in FILES)
    rows = rows_of(found)
    if rows:
        table = [[name, *(row[column] for column in COLUMNS[1:])] for name, row in rows.items()]
        written[folder / "attacks.csv"] = csv_table(COLUMNS, table)
        written[folder / "attacks.png"] = figures.png(figures.private_label(rows))
    for outcome in found.values():
        for name, columns, file in (
            ("images", IMAGE_COLUMNS, "reconstruction.csv"),
            ("secrets", SECRET_COLUMNS, "secrets.csv"),
        ):
            if name in outcome:
                written[folder / file] = csv_table(columns, [[row[column] for column in columns] for row in outcome[name]])
        if "pictures" in outcome:
            pictures = {title: _square(images) for title, images in outcome["pictures"].items()}
            written[folder / "reconstruction.png"] = figures.png(figures.reconstructions(pictures))
    pyplot.close("all")  # it keeps what is not closed, and a process may attack often
    record.write(folder / RECORD, written, results)
    for name, row in rows.items():
        print(f"{name:15} {row['private_accuracy']:.4f}  floor {row['floor']:.4f}, ceiling {row['ceiling']:.4f}")
    report(folder, results)


def _square(images: list[list[float]]) -> np.ndarray:
    side = round(len(images[0]) ** 0.5)
    return np.array(images).reshape(-1, side, side)
