"""The Free Spoken Digit Dataset: ten digits by six speakers, as spectrograms of 64 x 64 cells."""

import io
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shredder.inputs.archives import files_of
from shredder.io.cli import InputError

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
# Recordings of each digit by each speaker; the number in a file's name is the take.
_TAKES = 50
_ARCHIVES = ("fsdd.tar.xz", "fsdd.tar.gz", "free-spoken-digit-dataset.tar.gz")
# Samples a second of a recording; of a frame, 32 ms, and from one to the next.
RATE, FRAME, HOP = 8000, 256, 128
# Cells a side: bands of 62.5 Hz from 31 Hz up, and frames; what is 60 dB below the loudest cell, or less, is 0.
SIDE, DECIBELS = 64, 60.0
# Recordings that are transformed at once.
_AT_ONCE = 250


class Spoken(NamedTuple):
    """All recordings, by speaker, digit and take.

    Attributes
    ----------
    cells : Tensor, uint8, (n, 64, 64)
        Spectrograms, the lowest band last; 255 for the loudest cell, 0 for 60 dB less.
    digits, speakers, takes : Tensor, int64, (n,)
        0 to 9; places in `SPEAKERS`; 0 to 49.
    """

    cells: Tensor
    digits: Tensor
    speakers: Tensor
    takes: Tensor


def load_spoken(data_root: Path) -> Spoken:
    """Read the recordings, `DIGIT_SPEAKER_TAKE.wav`.

    Parameters
    ----------
    data_root : Path
        Folder that holds the data set's repository, `free-spoken-digit-dataset/recordings`, or an archive of it, `fsdd.tar.xz`.

    Raises
    ------
    InputError
        If recordings are missing, or are no mono WAV of 16 bits and 8 kHz.
    """
    what = f"{10 * len(SPEAKERS) * _TAKES:,} recordings DIGIT_SPEAKER_TAKE.wav of the Free Spoken Digit Dataset"
    found = files_of(data_root, "free-spoken-digit-dataset", _ARCHIVES, r"\d_[a-z]+_\d+\.wav", what)
    names = {(d, s, t): f"{d}_{s}_{t}.wav" for s in SPEAKERS for d in range(10) for t in range(_TAKES)}
    if missing := [name for name in names.values() if name not in found]:
        raise InputError(f"--data-root {data_root}: found {len(found):,} recordings, none called {missing[0]}; expected {what}")
    sounds = torch.stack([of_one_length(samples(name, found[name])) for name in names.values()])
    cells = torch.cat([spectrograms(some) for some in sounds.split(_AT_ONCE)])
    digits, speakers, takes = zip(*names, strict=True)
    return Spoken(cells, torch.tensor(digits), torch.tensor([SPEAKERS.index(s) for s in speakers]), torch.tensor(takes))


def samples(name: str, content: bytes) -> Tensor:
    """Samples of a WAV file in [-1, 1], float32 (n,). Raises InputError."""
    expected = f"mono WAV of 16 bits and {RATE:,} samples a second"
    try:
        with wave.open(io.BytesIO(content)) as file:
            kind = file.getnchannels(), 8 * file.getsampwidth(), file.getframerate()
            n, data = file.getnframes(), file.readframes(file.getnframes())
    except (wave.Error, EOFError, ValueError) as error:
        reason = " ".join((str(error) or type(error).__name__).split())[:200]
        raise InputError(f"{name}: not readable ({reason}); expected {expected}") from error
    if kind != (1, 16, RATE):
        raise InputError(
            f"{name}: found {kind[0]} channels of {kind[1]} bits and {kind[2]:,} samples a second; expected {expected}"
        )
    if len(data) != 2 * n or n == 0:
        raise InputError(f"{name}: found {len(data)} bytes of sound, its header says {2 * n}; expected {expected}")
    return torch.from_numpy(np.frombuffer(data, "<i2").astype(np.float32) / 2**15)


def of_one_length(sound: Tensor) -> Tensor:
    """The first 1.02 s, or as much with silence behind it, (8192,)."""
    return functional.pad(sound[: SIDE * HOP], (0, max(0, SIDE * HOP - len(sound))))


def spectrograms(sounds: Tensor) -> Tensor:
    """Power in 64 bands and 64 frames of sounds, float32 (n, 8192), in dB below the loudest cell; uint8 (n, 64, 64).

    Loudness is not kept, which depends on the microphone.
    """
    spectra = torch.stft(sounds, FRAME, HOP, window=torch.hann_window(FRAME), pad_mode="constant", return_complex=True)
    power = spectra[:, 1 : 2 * SIDE + 1, :SIDE].abs().square().unflatten(1, (SIDE, 2)).mean(2)
    loudest = power.amax((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    share = 1 + 10 * (power / loudest).clamp(min=1e-12).log10() / DECIBELS
    return (share.clamp(0, 1) * 255).round().byte().flip(1)


def to_spoken_input(cells: Tensor) -> Tensor:
    """Spectrograms, uint8 (n, 64, 64), as networks read them: float32 (n, 1, 64, 64) in [0, 1]."""
    return cells.unsqueeze(1).float() / 255
