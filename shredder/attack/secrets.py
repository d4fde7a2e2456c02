"""What else may be read of what is sent: secrets that the task names, and whether an input was among the training inputs.

Each is a label. Quantities become one: whether they are above the median of the adversary's own inputs. The reader is the first
of the private label's.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from shredder.attack.attacks import read
from shredder.attack.averaging import averaged
from shredder.attack.reading import Reading, floor
from shredder.attack.setting import Setting, Side
from shredder.attack.terms import label_at_most
from shredder.noise.bracket import brackets

# Queries of the column of many, and what the secret of every task is called.
QUERIES, MEMBERSHIP = 1000, "membership"
# Of rows whose secret is known for test inputs alone: shares that are learned from, and held out; the others are judged on.
_LEARNED, _HELD_OUT = 0.45, 0.05
_SIDES = ("learning", "held_out", "test")
# Rows that secrets of inputs are learned from, and that what a query says of one is measured on, at most.
_LEARNED_FROM, _MEASURED_ON = 10_000, 2000
# Plans of readers that are tried on each.
_PLANS = 1


def asked(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """Each secret, and the setting in which it is the private label; none where the task names none."""
    if not setting.test.secrets:
        return
    for name, own in setting.learning.secrets.items():
        threshold = own.median() if own.is_floating_point() else None
        sides = {side: getattr(setting, side) for side in _SIDES}
        yield (
            name,
            replace(setting, **{side: replace(of, private=_label(of.secrets[name], threshold)) for side, of in sides.items()}),
        )
    for name, of_test in setting.test.secrets.items():
        if name not in setting.learning.secrets and len(of_test.unique()) > 1:  # the first test rows may all have the same
            yield name, _parted(setting, replace(setting.test, private=of_test), name)
    n = min(len(setting.learning.signal), len(setting.test.signal))
    ours, others = (replace(side.rows(slice(n)), secrets={}) for side in (setting.learning, setting.test))
    together = ours.each(lambda *tensors: torch.cat(tensors), others)
    member = (torch.arange(2 * n, device=together.private.device) < n).long()
    yield MEMBERSHIP, _parted(setting, replace(together, private=member), MEMBERSHIP)


def _label(secret: Tensor, threshold: Tensor | None) -> Tensor:
    return secret if threshold is None else (secret > threshold).long()


def _parted(setting: Setting, side: Side, name: str) -> Setting:
    """The setting with rows of `side`, in a random order, in place of its own."""
    n = len(side.signal)
    order = torch.from_numpy(setting.rng("secrets", name).permutation(n)).to(side.signal.device)
    ends = 0, int(_LEARNED * n), int((_LEARNED + _HELD_OUT) * n), n
    parts = (side.rows(order[first:last]) for first, last in pairwise(ends))
    return replace(setting, **dict(zip(_SIDES, parts, strict=True)))


def read_secrets(setting: Setting) -> list[dict[str, Any]]:
    """Rows of secrets.csv."""
    few = replace(setting, learning=setting.learning.rows(slice(_LEARNED_FROM)), plans=_PLANS)
    settings = dict(asked(few))
    if not settings:
        return []
    clean = setting.ceilings.once(
        "clean-secrets", lambda: {name: read(of, ["clean"]).accuracy for name, of in settings.items()}
    )
    rows = []
    for name, of in settings.items():
        one = read(of, of.kinds("whitened" if "whitened" in of.kinds() else "raw", "undone"), likelihood=True)
        often = averaged(of, one.kind, (QUERIES,))[QUERIES]
        bits, _ = one.bits_at_least()
        low, high = one.bits_interval(of.rng("bootstrap"))
        rows.append(
            {"secret": name, "floor": floor(of.learning, of.test)}
            | _named("one query", one)
            | _named(f"{QUERIES} queries", often)
            | {"one query, at most": _at_most(of), "clean": clean[name]}
            | {"bits at least": bits, "bits low": low, "bits high": high, "of": len(one.labels)}
        )
    return rows


def _at_most(setting: Setting) -> float:
    """How often the secret is guessed at most from one query by whoever knows the public label, by what is measured."""
    test = setting.test.rows(slice(_MEASURED_ON))
    found = brackets(setting.channel, test.signal, setting.rng("measured"), 1, test.public, test.private)
    _, *of_secret = found["private label, given the public one"]
    return label_at_most(*of_secret, test.public, test.private)


def _named(name: str, reading: Reading) -> dict[str, float]:
    """Accuracy, and its 95 % interval."""
    return dict(zip((name, f"{name}, low", f"{name}, high"), (reading.accuracy, *reading.interval()), strict=True))
