"""What an adversary guesses of the input: pictures by decoders and by optimisation, and bits that are shown of it."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from shredder.attack.attacks import Initialised, Plan, Trained, perceptrons, side_by_side
from shredder.attack.invert import HELD_OUT, inverted
from shredder.attack.networks import Decoder, convolutions
from shredder.attack.reading import ends, quality, resampled
from shredder.attack.setting import Setting
from shredder.noise.bracket import inputs_in_seconds, told

# Plans of decoders that are tried on each kind of features, then on the best kind, where the number is of channels.
DECODERS: tuple[Plan, ...] = (((512, 512), 1e-3), ((512, 512), 2e-3))
CONVOLUTIONS: tuple[tuple[int, float], ...] = ((16, 1e-3), (16, 3e-3), (32, 1e-3), (32, 3e-3))
_SPREAD = 20_000  # rows from which the spread of features is taken


class Guess(NamedTuple):
    """Pictures of the first test rows, (n, P), what guessed them, and its mean squared error on a few held-out rows."""

    pictures: Tensor
    by: str
    held_out: float


def decoded(setting: Setting, kinds: Sequence[str]) -> Guess:
    """By the decoder that is best on held-out rows: perceptrons on each kind of features, convolutions on the best kind."""
    images, purpose = setting.learning.images, "/".join(["reconstruct", *kinds])
    plain = perceptrons(setting, Decoder, DECODERS, kinds, images.shape[1], purpose)
    found = side_by_side(setting, plain, "images", purpose, groups=2, of_each_kind=False)
    kind, side = min(found, key=_error).kind, math.isqrt(images.shape[1])
    features = setting.inputs(kind, setting.learning.rows(slice(_SPREAD)), setting.rng(purpose, "convolutions", "spread"))
    networks = [
        Initialised(
            Decoder(convolutions(features, channels, side, setting.rng(purpose, "convolutions", number))),
            kind,
            rate,
            f"convolutions of {channels} channels, rate {rate:g}",
        )
        for number, (channels, rate) in enumerate(CONVOLUTIONS)
    ]
    found += side_by_side(setting, networks, "images", f"{purpose}/convolutions", groups=2, of_each_kind=False)
    best = min(found, key=_error)
    few = setting.held_out.rows(slice(HELD_OUT))
    with torch.no_grad():
        pictures = best.network(best.test).clamp(0, 1)
        again = best.network(setting.inputs(best.kind, few, setting.rng(purpose, "few"))).clamp(0, 1)
    return Guess(pictures, f"{best.name}, on {best.kind}", functional.mse_loss(again, few.images).item())


def reconstructed(setting: Setting) -> dict[str, Any]:
    """Rows of reconstruction.csv, pictures, and which guess is best of a single query, as held-out rows say."""
    guesses = {"noisy": by_decoders(setting), "optimised": by_optimisation(setting)}
    guesses, clean = {name: guess for name, guess in guesses.items() if guess["row"]}, of_clean(setting)
    # On the same held-out rows, which are few.
    best = min(guesses.values(), key=lambda guess: guess["held-out error"])["row"]
    truth = setting.test.images
    mean = setting.learning.images.mean(0).expand_as(truth)
    shown = {"from noisy" if name == "noisy" else name: guess["picture"] for name, guess in guesses.items()}
    rows = [clean["row"], *(guess["row"] for guess in guesses.values())]
    reached = {f"its {name}": best[name] for name in ("mean squared error", "SSIM")}
    return {
        "images": [*rows, _row(setting, "mean", Guess(mean, "the mean image", math.nan))],
        "pictures": {"input": _shown(truth), "from clean": clean["picture"], **shown, "mean image": _shown(mean)},
        "results": {"best reconstruction": best["by"], **reached},
    }


def by_decoders(setting: Setting) -> dict[str, Any]:
    """What decoders guess of what is sent, made once."""
    return setting.keeper.once("decoders", lambda: _kept(setting, "noisy", decoded(setting, setting.kinds())))


def by_optimisation(setting: Setting) -> dict[str, Any]:
    """What optimisation over the input guesses of it, made once; no row where it is not tried."""

    def made() -> dict[str, Any]:
        if (found := inverted(setting)) is None:
            return {"row": None}
        by = f"optimisation, {found.steps} steps, weight {found.weight:g}"
        return _kept(setting, "optimised", Guess(found.pictures.clamp(0, 1), by, found.held_out))

    return setting.keeper.once("optimisation", made)


def of_clean(setting: Setting) -> dict[str, Any]:
    """What decoders guess of clean activations; whatever the noise, made once."""
    return setting.ceilings.once("clean-reconstruction", lambda: _kept(setting, "clean", decoded(setting, ["clean"])))


def image_bits_at_least(setting: Setting) -> tuple[float, float, float, float]:
    """InfoNCE on test rows, in bits, its standard error over them, and the ends of a 95 % interval.

    A lower bound on I(x; a'), up to the log of the images that are told apart: all test rows, or as many as take seconds. None
    is told by a network: whoever knows the defence knows p(a' | t), which is the best critic (see `shredder.noise.bracket`).
    """
    signal, rng = setting.test.signal, setting.rng("InfoNCE")
    bits = told(setting.channel, signal[: inputs_in_seconds(setting.channel, signal)], rng)
    return bits.mean().item(), bits.std().item() / math.sqrt(len(bits)), *ends(resampled(bits[:, None], rng))


def _kept(setting: Setting, name: str, guess: Guess) -> dict[str, Any]:
    """The row of a guess, its held-out error, and the pictures that are shown."""
    return {"row": _row(setting, name, guess), "held-out error": guess.held_out, "picture": _shown(guess.pictures)}


def _row(setting: Setting, name: str, guess: Guess) -> dict[str, Any]:
    truth = setting.test.images[: len(guess.pictures)]
    found = quality(truth, guess.pictures, math.isqrt(truth.shape[1]))
    return {"images": name} | found | {"of": len(truth), "by": guess.by}


def _error(trained: Trained) -> float:
    return trained.held_out


def _shown(images: Tensor, n: int = 10) -> list[list[float]]:
    return [[round(pixel, 3) for pixel in image] for image in images[:n].tolist()]
