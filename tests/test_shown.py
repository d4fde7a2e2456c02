"""What figures show of arrays."""

import numpy as np
import pytest

from shredder.shown import two_components


@pytest.mark.parametrize("shape", [(20, 5), (5, 20), (6, 6), (2, 2)])
def test_two_components_are_those_of_the_singular_values(shape):
    """Each up to its sign, more rows than columns or fewer."""
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    centred = rows - rows.mean(0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    found, expected = two_components(rows), left[:, :2] * values[:2]
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-6)
