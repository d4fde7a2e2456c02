"""What figures show of arrays: pictures, rectangles, bins, components, points spread apart, guesses."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh
from scipy.spatial import cKDTree

from shredder.io.reading import in_parts


def rectangle(n: int) -> tuple[int, int]:
    """Height and width of the rectangle of `n` elements that is closest to a square."""
    height = max(h for h in range(1, int(n**0.5) + 1) if n % h == 0)
    return height, n // height


def pictures_of(inputs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Inputs as `imshow` takes them, at most about 64 pixels a side: enough to look at.

    Every channel is stretched from its least value among `inputs` to its largest, which undoes a network's normalisation where
    black and white occur. What is no picture of one or three channels is shown as a rectangle of its elements.

    Parameters
    ----------
    inputs : ndarray, (n, elements of an input)
        It may be a memory map.
    shape : tuple of int
        Of one input: (H, W), (1, H, W), (3, H, W) or any other.

    Returns
    -------
    ndarray, float32, (n, H', W') or (n, H', W', 3), in [0, 1]
    """
    shape = (1, *shape) if len(shape) == 2 else shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        shape = (1, *rectangle(inputs.shape[1]))
    step = -(-max(shape[1:]) // 64)
    channels = np.concatenate(
        [np.array(some.reshape(-1, *shape)[:, :, ::step, ::step], np.float32) for some in in_parts(inputs)]
    )
    low, high = (extreme(axis=(0, 2, 3), keepdims=True) for extreme in (channels.min, channels.max))
    channels = (channels - low) / np.where(high > low, high - low, 1)
    return channels[:, 0] if shape[0] == 1 else channels.transpose(0, 2, 3, 1)


def as_rectangle(values: np.ndarray) -> np.ndarray:
    """D values as the rectangle closest to a square, for showing."""
    return values.reshape(rectangle(len(values)))


def bins(values: np.ndarray) -> np.ndarray | int:
    """Edges half a step beside each value, for values that are multiples of a step, as counts are; 40 bins for others."""
    steps = np.diff(np.unique(values))
    if len(steps) == 0 or np.ptp(values) > 60 * steps.min():
        return min(40, len(steps) + 1)
    step = steps.min()
    return values.min() + step * (np.arange(round(np.ptp(values) / step) + 2) - 0.5)


def two_components(activations: np.ndarray) -> np.ndarray:
    """Coordinates of `activations` (n, D) along their first two principal components, (n, 2)."""
    if min(activations.shape) < 2:
        raise ValueError(f"activations: found {activations.shape}, expected at least 2 rows and 2 columns for two components")
    centred = activations - activations.mean(0, dtype=np.float64)
    wide = len(centred) < centred.shape[1]
    gram = centred @ centred.T if wide else centred.T @ centred  # the smaller of the two, of the same eigenvalues
    values, vectors = eigh(gram, subset_by_index=[len(gram) - 2, len(gram) - 1])
    coordinates = vectors * np.sqrt(np.maximum(values, 0)) if wide else centred @ vectors
    return coordinates[:, ::-1]


def hidden(points: np.ndarray) -> bool:
    """Whether most of `points` (n, 2) lie within a 300th of the picture's side of another one, far less than a marker."""
    side = np.ptp(points, axis=0)
    scaled = points / np.where(side > 0, side, 1)
    return bool(np.median(cKDTree(scaled).query(scaled, 2)[0][:, 1]) < 1 / 300)


def spread_apart(points: np.ndarray) -> np.ndarray:
    """`points` (n, 2), each moved within a disc of a twenty-fifth of the points' range, evenly and without chance."""
    # Roberts' sequence fills the square [0, 1)^2 evenly; its first coordinate becomes a radius, its second an angle.
    turns = np.outer(np.arange(len(points)), [0.7548776662466927, 0.5698402909980532]) % 1
    radius, angle = np.sqrt(turns[:, 0]), 2 * np.pi * turns[:, 1]
    return points + 0.04 * np.ptp(points, axis=0) * np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def linear_guess(activations: np.ndarray, images: np.ndarray, n_shown: int) -> np.ndarray:
    """The first `n_shown` images as ridge regression on standardised activations, fitted to the other rows, sees them."""
    features = ((activations - activations.mean(0)) / (activations.std(0) + 1e-12)).astype(np.float64)
    shown, known, pixels = features[:n_shown], features[n_shown:], images[n_shown:].reshape(len(images) - n_shown, -1)
    penalty = 0.1 * len(known)
    if len(known) < known.shape[1]:  # the same weights from the smaller of the two Gram matrices
        weights = np.linalg.solve(known @ known.T + penalty * np.eye(len(known)), known @ shown.T)
    else:
        weights = known @ np.linalg.solve(known.T @ known + penalty * np.eye(known.shape[1]), shown.T)
    guess = weights.T @ (pixels - pixels.mean(0))
    return np.clip(guess + pixels.mean(0), images.min(), images.max()).reshape(images[:n_shown].shape)


def kolmogorov(values: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> float:
    """The largest distance between the distribution function of `values`, ascending, and another one."""
    expected, steps = function(values), np.arange(len(values) + 1) / len(values)
    return float(max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max()))
