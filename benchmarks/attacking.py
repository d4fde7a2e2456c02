"""Seconds for one attack, readers of the digit trained on v2's noise: side by side, one by one, and by scikit-learn.

    python -m benchmarks.attacking

All train the networks of `shredder.attack.attacks.READERS` on the same kinds of features: of the shipped noise, on 3,600 of the
embedded digits, with new draws for every epoch. One by one, each network has draws and features of its own, as a plain loop.
The peer is scikit-learn's MLPClassifier with Adam, of the same layers and batches, whose draws and features are made by ours.
"""

from dataclasses import dataclass
from pathlib import Path

from sklearn.neural_network import MLPClassifier

from benchmarks.neighbors import median_seconds
from shredder.attack import attacks, step
from shredder.attack.keeper import Keeper
from shredder.attack.setting import Setting
from shredder.io.cli import require_at_least, script
from shredder.io.files import write_together
from shredder.io.record import Record
from shredder.system import System, with_noise


@dataclass(frozen=True)
class Arguments:
    """Time one attack."""

    images: int | None = None
    """Training images, a tenth of them held out. Default: all 4,000."""
    epochs: int = 5
    """Of every network."""
    repeats: int = 3
    """Runs of which the median counts, after one that does not."""
    output: Path = Path("runs/benchmarks/attacking.json")
    """Run record."""


def one_by_one(setting: Setting, kinds: list[str]) -> None:
    """Each network by itself."""
    for number, kind in enumerate(kinds):
        for network in attacks.perceptrons(setting, attacks.Reader, attacks.READERS, [kind], 10, f"one by one {number}"):
            attacks.side_by_side(setting, [network], "private", f"{network.name} of {kind}")


def by_the_peer(setting: Setting, kinds: list[str]) -> None:
    """As many networks of scikit-learn's."""
    classes = setting.learning.private.unique().numpy()
    for widths, rate in attacks.READERS:
        for kind in kinds:
            network = MLPClassifier(widths, batch_size=setting.budget.batch_size, learning_rate_init=rate, random_state=0)
            for epoch in range(setting.budget.epochs):
                features = setting.inputs(kind, setting.learning, setting.rng("peer", kind, epoch))
                network.partial_fit(features.numpy(), setting.learning.private.numpy(), classes=classes)


def main(args: Arguments) -> None:
    """Print the times and write them down."""
    require_at_least(args, epochs=1, repeats=1)
    record = Record(args)
    task, flags, channel = with_noise(step.Arguments(task="lenet", dataset="mnist-5k", epochs=args.epochs))
    system = System(task, flags)
    images, nothing_kept = system.images(train=args.images, test=None), Keeper(None, "")
    setting = step.setting_of(system, channel, *images, nothing_kept, nothing_kept)
    kinds = setting.kinds("raw", "whitened", "undone")
    together = median_seconds(lambda: attacks.read(setting, kinds), args.repeats)
    naive = median_seconds(lambda: one_by_one(setting, kinds), args.repeats)
    peer = median_seconds(lambda: by_the_peer(setting, kinds), args.repeats)
    n = len(kinds) * len(attacks.READERS) * args.epochs
    results = {
        f"{len(kinds) * len(attacks.READERS)} networks side by side (s per network and epoch)": together / n,
        "one by one (s per network and epoch)": naive / n,
        "scikit-learn's MLPClassifier (s per network and epoch)": peer / n,
        "one by one / side by side": naive / together,
        "scikit-learn / side by side": peer / together,
    }
    for name, value in results.items():
        print(f"{name:58} {value:9.4g}")
    write_together({args.output: record.content(results)})


if __name__ == "__main__":
    script(main, Arguments)
