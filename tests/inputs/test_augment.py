"""Augmented images: by hand where nothing is left to chance, and what chance may not do."""

import numpy as np
import torch

from shredder.inputs.augment import mirrored_and_cropped, mirrored_and_shifted, shifted


class Fixed:
    """A generator whose draws are given, each of which has to be asked for."""

    def __init__(self, **draws):
        self.draws = draws

    def integers(self, low, high, size):
        return np.broadcast_to(self.draws["signs" if (low, high) == (0, 2) else "shifts"], size)

    def uniform(self, low, high, size):
        return np.broadcast_to(self.draws["area" if np.ndim(size) == 0 else "offsets"], size)


def image(side=6):
    return torch.arange(float(side * side)).view(1, 1, side, side)


def test_no_offset_changes_nothing():
    rng = np.random.default_rng(0)
    torch.testing.assert_close(shifted(image(), 0.0, rng), image())
    torch.testing.assert_close(mirrored_and_cropped(image(), 6, 1.0, Fixed(signs=1, area=1.0, offsets=0.0)), image())


def test_whole_pixels_are_moved_and_mirrored():
    """One pixel to the right and two down: what was at (3, 2) is at (1, 1); mirrored, it is counted from the other side."""
    moved = mirrored_and_shifted(image(), 4, Fixed(signs=1, shifts=[1, 2]))
    torch.testing.assert_close(moved[..., :4, :5], image()[..., 2:, 1:], atol=1e-4, rtol=0)
    mirrored = mirrored_and_shifted(image(), 4, Fixed(signs=0, shifts=[0, 0]))
    torch.testing.assert_close(mirrored, image().flip(3), atol=1e-4, rtol=0)


def test_a_quarter_of_the_area_is_half_a_side():
    """The centre of 8 x 8 pixels, as it is, for its side is what is asked for."""
    found = mirrored_and_cropped(image(8), 4, 0.25, Fixed(signs=1, area=0.25, offsets=0.0))
    torch.testing.assert_close(found, image(8)[..., 2:6, 2:6], atol=1e-4, rtol=0)


def test_nothing_but_pixels_of_the_image():
    """No value lies outside the image's, nor is any made of what is not there; half are mirrored; same seed, same bits."""
    images = (1 + torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))).sort(3).values
    for augment in (mirrored_and_shifted, lambda x, p, rng: mirrored_and_cropped(x, 12, 0.35, rng)):
        found, again = (augment(images, 2, np.random.default_rng(7)) for _ in range(2))
        assert torch.equal(found, again) and found.min() >= 1 - 1e-5 and found.max() <= 2 + 1e-5
    mirrored = (mirrored_and_cropped(images, 8, 0.35, np.random.default_rng(1)).diff(dim=3).mean((1, 2, 3)) < 0).double().mean()
    assert abs(mirrored - 0.5) < 4 * 0.5 / 20
