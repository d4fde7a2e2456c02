"""Ink, slant and stroke width of strokes that are drawn so."""

import pytest
import torch

from shredder.inputs.strokes import ink, slant, stroke_width


def stroke(width: int, shift: float = 0.0, length: int = 20) -> torch.Tensor:
    """A vertical stroke of 40 x 40 pixels, each row of which begins `shift` to the left of the row above."""
    picture = torch.zeros(40, 40)
    for row in range(10, 10 + length):
        left = 20 - round(shift * (row - 20))
        picture[row, left : left + width] = 1
    return picture


def test_ink_is_the_sum_of_pixels():
    assert ink(torch.stack([stroke(1), stroke(3), torch.zeros(40, 40)])).tolist() == [20, 60, 0]


@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.5, 1.0])
def test_slant_is_the_shift_of_a_row(shift):
    assert slant(stroke(2, shift)[None]).item() == pytest.approx(shift, abs=0.01)
    assert slant(torch.zeros(1, 40, 40)).item() == 0


@pytest.mark.parametrize("width", [1, 2, 4])
def test_width_of_a_long_stroke(width):
    """Of length l and width b: 2 l b / (2 l + 2 b - (2 - sqrt 2)), for one pixel sees two edges."""
    found = stroke_width(torch.stack([stroke(width), 0.5 * stroke(width)]))
    assert found[0].item() == pytest.approx(40 * width / (40 + 2 * width - (2 - 2**0.5)))
    assert found[1].item() == pytest.approx(found[0].item())  # whatever the brightness
    assert stroke_width(torch.zeros(1, 40, 40)).item() == 0
