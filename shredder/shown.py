"""What figures show of arrays: rectangles, bins, components, points spread apart, guesses."""

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree


def rectangle(n: int) -> tuple[int, int]:
    """Height and width of the rectangle of `n` elements that is closest to a square."""
    height = max(h for h in range(1, int(n**0.5) + 1) if n % h == 0)
    return height, n // height


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
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:2].T


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
    penalty, centred = 0.1 * len(known), pixels - pixels.mean(0)
    if len(known) < known.shape[1]:  # the same solution from the smaller of the two Gram matrices
        guess = shown @ known.T @ np.linalg.solve(known @ known.T + penalty * np.eye(len(known)), centred)
    else:
        guess = shown @ np.linalg.solve(known.T @ known + penalty * np.eye(known.shape[1]), known.T @ centred)
    return np.clip(guess + pixels.mean(0), images.min(), images.max()).reshape(images[:n_shown].shape)


def kolmogorov(values: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> float:
    """The largest distance between the distribution function of `values`, ascending, and another one."""
    expected, steps = function(values), np.arange(len(values) + 1) / len(values)
    return float(max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max()))
