"""The attacks by name. Each is a function of the setting; what it returns is kept, and goes into the tables by `report`.

It returns a dict that JSON can hold: `rows`, of attacks.csv, by name (see `row`); `images`, rows of reconstruction.csv;
`secrets`, of secrets.csv; `pictures`, by title; `results`, of run.json. A new attack is a function and an entry in `ATTACKS`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from shredder.attack.attacks import read, untrained
from shredder.attack.averaging import averaged
from shredder.attack.gallery import identified
from shredder.attack.reading import Reading, floor
from shredder.attack.reconstruct import by_decoders, by_optimisation, image_bits_at_least, of_clean, reconstructed
from shredder.attack.secrets import read_secrets
from shredder.attack.setting import Setting
from shredder.io import ranks
from shredder.io.cli import InputError
from shredder.metrics import clean_accuracy

Outcome = dict[str, Any]
QUERIES = (10, 100, 1000)
# Kinds of features from which each attack on a single query reads the private label.
KINDS = {
    "trained": ("raw", "whitened", "raw and rounding", "whitened and rounding"),
    "member": ("undone", "undone and rounding"),
}


class Attack(NamedTuple):
    """An attack.

    Attributes
    ----------
    run : callable
    of_label : bool
        Whether it reads a private label.
    of_picture : bool
        Whether it guesses pictures of the input.
    of_one_query : bool
        Whether its row, of its own name, is what one query tells: the worst of these is reported.
    parts : mapping of str to callable
        What it looks up, each made once and kept under its name.
    after_others : bool
        Whether it looks up other attacks, or parts of its own.
    """

    run: Callable[[Setting], Outcome]
    of_label: bool
    of_one_query: bool = False
    of_picture: bool = False
    parts: Mapping[str, Callable[[Setting], Any]] = MappingProxyType({})
    after_others: bool = False


def row(setting: Setting, reading: Reading) -> dict[str, Any]:
    """A reading as a row of attacks.csv, but for the ceiling, and what else is kept of it."""
    low, high = reading.interval()
    bits, bits_error = reading.bits_at_least()
    bits_low, bits_high = reading.bits_interval(setting.rng("bootstrap"))
    return {
        "private_accuracy": reading.accuracy,
        "low": low,
        "high": high,
        "floor": floor(setting.learning, setting.test),
        "correct, of": [int(reading.correct.sum()), len(reading.correct)],
        "bits at least": bits,
        "bits error": bits_error,
        "bits low": bits_low,
        "bits high": bits_high,
        "held-out nats": reading.held_out_nats,
        "kind": reading.kind,
        "reader": reading.reader,
    }


def ceiling(setting: Setting) -> float:
    """What the same readers make of clean activations."""
    return setting.ceilings.once("ceiling", lambda: {"accuracy": read(setting, ["clean"]).accuracy})["accuracy"]


def outcome(setting: Setting, name: str) -> Outcome:
    """What the attack `name` has found, made once."""
    return setting.keeper.once(name, lambda: ATTACKS[name].run(setting))


def untrained_adversary(setting: Setting) -> Outcome:
    """The authors' test."""
    found = row(setting, untrained(setting)) | {"ceiling": clean_accuracy(*setting.private, setting.test.private)}
    return {"rows": {"untrained": found}}


def trained_readers(setting: Setting) -> Outcome:
    """Networks that are trained on what is sent."""
    return {"rows": {"trained": row(setting, read(setting, setting.kinds(*KINDS["trained"])))}}


def member_guessed(setting: Setting) -> Outcome:
    """The member is guessed, its noise undone; or Bayes' rule where the density is known."""
    reading = read(setting, setting.kinds(*KINDS["member"]), likelihood=True)
    return {"rows": {"member": row(setting, reading)}}


def averaging(setting: Setting) -> Outcome:
    """The same input queried often, read from the features that are best of one query."""
    single = [of_one(setting, name) for name in KINDS]
    best = min(single, key=lambda found: found["held-out nats"])
    rows = {"averaging 1": best}
    for q, reading in averaged(setting, best["kind"], QUERIES).items():
        rows[f"averaging {q}"] = row(setting, reading)
    return {"rows": rows}


def of_one(setting: Setting, name: str) -> dict[str, Any]:
    """The row of an attack on one query, with its seconds."""
    found = outcome(setting, name)
    return found["rows"][name] | {"seconds": found["seconds"]}


def rounding(setting: Setting) -> Outcome:
    """Which input it was, by exact arithmetic and by what rounding leaves; nothing where no bound is claimed."""
    if not setting.channel.bounded:
        return {}
    found = identified(setting)
    n, gain = found["candidates"], found["with rounding"] - found["exact"]
    return {
        "results": {
            f"identified among {n}, by exact arithmetic": found["exact"],
            f"identified among {n}, with rounding": found["with rounding"],
            "standard error of the difference": found["error"],
            "rounding gains (standard errors)": gain / found["error"],
        }
    }


def reconstruction(setting: Setting) -> Outcome:
    """Quality of guessed images, and bits that are shown about them."""
    bits, error, low, high = image_bits_at_least(setting)
    found = {"bits at least (InfoNCE)": bits, "bits error": error, "bits low": low, "bits high": high}
    return reconstructed(setting) | found


def other_secrets(setting: Setting) -> Outcome:
    """What else the task names, and membership; nothing where it names none."""
    rows = read_secrets(setting)
    return {"secrets": rows} if rows else {}


ATTACKS = {
    "untrained": Attack(untrained_adversary, of_label=True),
    "trained": Attack(trained_readers, of_label=True, of_one_query=True),
    "member": Attack(member_guessed, of_label=True, of_one_query=True),
    "averaging": Attack(averaging, of_label=True, after_others=True),
    "rounding": Attack(rounding, of_label=False),
    "reconstruction": Attack(
        reconstruction,
        of_label=False,
        of_picture=True,
        parts={"decoders": by_decoders, "clean-reconstruction": of_clean, "optimisation": by_optimisation},
        after_others=True,
    ),
    "secrets": Attack(other_secrets, of_label=False),
}


def chosen(names: Sequence[str], private_labels: bool, private_network: bool = True, pictures: bool = True) -> list[str]:
    """The attacks that `names` ask for, in the order in which they are run. Raises InputError.

    Without a private label there is none to read, without a network for it no untrained adversary, and without pictures of the
    inputs none is guessed.
    """
    possible = [name for name, attack in ATTACKS.items() if private_labels or not attack.of_label]
    possible = [name for name in possible if pictures or not ATTACKS[name].of_picture]
    possible = [name for name in possible if private_network or name != "untrained"]
    if not names:
        raise InputError(f"--attacks: found none, expected all or some of {', '.join(possible)}")
    if unknown := [name for name in names if name not in ("all", *ATTACKS)]:
        raise InputError(f"--attacks: found {' '.join(unknown)}, expected all or some of {', '.join(ATTACKS)}")
    if impossible := [name for name in names if name not in ("all", *possible)]:
        of_label = any(ATTACKS[name].of_label for name in impossible)
        reason = "no private label is left beside the public one" if of_label else "the task's inputs have no pictures"
        raise InputError(f"--attacks {' '.join(impossible)}: {reason}; expected {' or '.join(possible)}")
    return [name for name in possible if "all" in names or name in names]


def attacked(setting: Setting, names: Sequence[str]) -> dict[str, Outcome]:
    """Run the attacks `names`, or read what was kept of them.

    Several processes take a part or an attack each, but for attacks that look those up. Where processes are more than these,
    they divide the networks of each.
    """
    attacks = [ATTACKS[name] for name in reversed(names)]  # the last take longest
    pieces: list[Callable[[Setting], Any]] = [part for attack in attacks for part in attack.parts.values()]
    below_ceiling = any(ATTACKS[name].of_label for name in names if name != "untrained")
    if below_ceiling:
        pieces.append(ceiling)
    pieces += [partial(outcome, name=name) for name in reversed(names) if not ATTACKS[name].after_others]
    if 1 < ranks.world() <= len(pieces):
        ranks.each(lambda make: make(setting) and None, pieces)
    reached = ceiling(setting) if below_ceiling else None
    found = {name: outcome(setting, name) for name in names}
    for reading in (reading for of in found.values() for reading in of.get("rows", {}).values()):
        reading.setdefault("ceiling", reached)
    return found
