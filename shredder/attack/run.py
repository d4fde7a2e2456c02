"""Attacks one after the other: each finished one is kept, and all of them become one table."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shredder import figures
from shredder.attack import attacks
from shredder.attack.attacks import ATTACKS, KINDS, QUERIES
from shredder.attack.gallery import identified
from shredder.attack.reading import Reading
from shredder.attack.report import Found, _row, quality
from shredder.attack.setting import Scene
from shredder.io.cli import InputError
from shredder.io.files import write_together
from shredder.io.kept import kept

# Finds what is kept under a name, or makes and keeps it.
Keep = Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]]


def chosen(names: Sequence[str], private_labels: bool) -> list[str]:
    """The attacks that `names` ask for, in the order in which they are run. Raises InputError."""
    possible = ATTACKS if private_labels else ("rounding", "reconstruction")
    if not names:
        raise InputError(f"--attacks: found none, expected all or some of {', '.join(possible)}")
    impossible = [name for name in names if name not in ("all", *possible)]
    if impossible:
        raise InputError(
            f"--attacks {' '.join(impossible)}: no private label is left beside the public one; "
            f"expected {' or '.join(possible)}"
        )
    return [name for name in possible if "all" in names or name in names]


def keeper(folder: Path, fingerprint: str) -> Keep:
    """Keeps what is made in `folder`, with its seconds and the arguments it was made with."""

    def keep(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        def timed() -> dict[str, Any]:
            begin = time.perf_counter()
            return {**make(), "seconds": time.perf_counter() - begin}

        return kept(folder / f"{name}.json", timed, fingerprint)

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

    def ceiling() -> float:
        return keep("ceiling", lambda: {"accuracy": attacks.ceiling(scene).accuracy})["accuracy"]

    def single(name: str) -> dict[str, Any]:
        highest = ceiling()  # before the clock of this attack starts
        kinds = scene.noisy(*KINDS[name])
        return keep(name, lambda: _row(scene, attacks.read(scene, kinds, likelihood=name == "member"), highest))

    readings, images, gallery = {}, {}, {}
    for name in names:
        if name == "untrained":
            readings[name] = keep(name, lambda: _row(scene, *untrained()))
        elif name in KINDS:
            readings[name] = single(name)
        elif name == "averaging":
            best = readings["averaging 1"] = min(map(single, KINDS), key=lambda row: row["held-out nats"])
            for q in QUERIES:

                def mean_of(q: int = q, kind: str = best["kind"], ceiling: float = best["ceiling"]) -> dict[str, Any]:
                    return _row(scene, attacks.averaged(scene, kind, q), ceiling)

                readings[f"averaging {q}"] = keep(f"averaging-{q}", mean_of)
        elif name == "rounding":
            gallery = keep(name, lambda: identified(scene)) if scene.channel.bounded else {}
        else:
            images = keep(name, lambda: reconstruction(scene, scene.noisy(), folder))
    return Found(readings, images, gallery)


def reconstruction(scene: Scene, kinds: dict[str, attacks.Inputs], folder: Path) -> dict[str, Any]:
    """Quality of guessed images, and bits that InfoNCE shows about them; draws some to `folder`."""
    guesses = attacks.reconstructed(scene, kinds)
    kind, truth, side = guesses.pop("kind"), scene.test.images, round(scene.test.images.shape[1] ** 0.5)
    shown = {"input": truth, "from clean": guesses["clean"], "from noisy": guesses["noisy"], "mean image": guesses["mean"]}
    pictures = {name: images[:10].reshape(-1, side, side).numpy() for name, images in shown.items()}
    write_together({folder / "reconstruction.png": figures.png(figures.reconstructions(pictures))})
    bits, error = attacks.image_bits_at_least(scene, kinds[kind])
    return {
        "kind": kind,
        "bits at least (InfoNCE)": bits,
        "bits error": error,
        "rows": [{"images": name} | quality(truth, images, side) for name, images in guesses.items()],
    }
