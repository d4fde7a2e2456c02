"""Spoken digits: spectrograms of tones by hand, the real recordings where they are, and every way in which one is none."""

import os
import re
import wave

import pytest
import torch

from shredder.inputs.spoken import FRAME, HOP, RATE, SIDE, load_spoken, of_one_length, spectrograms, to_spoken_input
from shredder.io.cli import InputError


def tone(hertz, seconds, loudness=0.5):
    return loudness * torch.sin(2 * torch.pi * hertz * torch.arange(int(seconds * RATE)) / RATE)


def spectrogram(sound):
    return spectrograms(of_one_length(sound)[None])[0]


@pytest.mark.parametrize("hertz", [500, 1750, 3500])
def test_a_tone_lies_in_its_band(hertz):
    """Bands are two bins of RATE / FRAME = 31.25 Hz, the first without DC; the lowest is the last row."""
    cells = spectrogram(tone(hertz, 0.5)).int()
    bin_of = round(hertz * FRAME / RATE)
    assert cells.shape == (SIDE, SIDE) and cells.max() == 255
    assert cells[:, 10].argmax() == SIDE - 1 - (bin_of - 1) // 2
    assert cells[:, : int(0.5 * RATE / HOP) - 1].max(0).values.min() > 230  # it sounds throughout
    assert cells[:, int(0.5 * RATE / HOP) + 2 :].max() == 0  # and then no more


def test_decibels_by_hand():
    """A tenth of the amplitude is 20 dB less: a third of the scale of 60 dB."""
    cells = spectrogram(torch.cat([tone(500, 0.4), tone(500, 0.4, loudness=0.05)])).int()
    loud, faint = cells[:, 10].max(), cells[:, 40].max()
    assert abs((loud - faint).item() - 255 / 3) <= 1


def test_loudness_and_what_comes_late_do_not_count():
    sound = tone(700, 2.0)
    assert torch.equal(spectrogram(sound), spectrogram(sound / 8)) and torch.equal(
        spectrogram(sound), spectrogram(sound[: SIDE * HOP])
    )
    assert spectrogram(torch.zeros(100)).max() == 0


def test_who_says_what_when(small_speech):
    found = load_spoken(small_speech)
    assert found.cells.shape == (180, SIDE, SIDE) and found.cells.dtype == torch.uint8
    assert [of.bincount().tolist() for of in (found.digits, found.speakers, found.takes)] == [[18] * 10, [30] * 6, [60] * 3]
    low, high = ((found.digits == digit) & (found.speakers == 0) for digit in (0, 9))
    assert found.cells[low][0].sum(1).argmax() > found.cells[high][0].sum(1).argmax()  # the lowest band is the last row
    assert to_spoken_input(found.cells[:2]).shape == (2, 1, SIDE, SIDE) and to_spoken_input(found.cells).max() == 1


def stereo(path):
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(400))


def silent(path):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda path: path.write_bytes(b""), "3_theo_1.wav: not readable (EOFError); expected mono WAV"),
        (lambda path: path.write_bytes(b"RIFF0000WAVE"), "3_theo_1.wav: not readable ("),
        (lambda path: os.truncate(path, 1000), "3_theo_1.wav: found 956 bytes of sound, its header says 4000; expected mono"),
        (stereo, "3_theo_1.wav: found 2 channels of 16 bits and 8,000 samples a second; expected mono WAV of 16 bits"),
        (silent, "3_theo_1.wav: found 0 bytes of sound, its header says 0; expected mono"),
        (lambda path: path.unlink(), "found 179 recordings, none called 3_theo_1.wav; expected 180 recordings"),
    ],
    ids=["empty", "no header", "truncated", "stereo", "silent", "missing"],
)
def test_a_recording_that_is_none(small_speech, change, message):
    change(small_speech / "free-spoken-digit-dataset" / "recordings" / "3_theo_1.wav")
    with pytest.raises(InputError, match=re.escape(message)) as error:
        load_spoken(small_speech)
    assert "\n" not in str(error.value)


def test_the_real_ones(grounds_root):
    """As published: fifty of each digit by each of six speakers."""
    found = load_spoken(grounds_root)
    assert (found.digits * 6 + found.speakers).bincount().tolist() == [50] * 60
    assert found.cells.flatten(1).max(1).values.min() == 255  # each has its loudest cell
