"""Distance correlation against another implementation and a closed form; a retrained edge that still answers."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.spatial.distance import cdist

from paper import nopeek
from paper.nopeek import Retraining, distance_correlation, retrained


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    centred = []
    for of in (x, y):
        d = cdist(of, of)
        centred.append(d - d.mean(0) - d.mean(1)[:, None] + d.mean())
    a, b = centred
    return (a * b).mean() / math.sqrt((a * a).mean() * (b * b).mean())


def test_distance_correlation_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = x[:, :2] ** 2 + 0.1 * rng.normal(size=(60, 2))
    found = distance_correlation(torch.tensor(x), torch.tensor(y)).item()
    assert found == pytest.approx(by_definition(x, y), rel=1e-6)
    # 1 for what is scaled and turned; small, but above 0, for what has nothing to do with it.
    turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    assert distance_correlation(torch.tensor(x), torch.tensor(2 * x @ turned)).item() == pytest.approx(1)
    assert 0 < distance_correlation(*torch.tensor(rng.normal(size=(2, 500, 3)))).item() < 0.05


def test_two_normals_have_the_distance_correlation_of_theory():
    """Szekely, Rizzo, Bakirov 2007, theorem 7, for a correlation rho."""
    rho, rng = 0.8, np.random.default_rng(1)
    x = rng.normal(size=(1500, 1))
    y = rho * x + math.sqrt(1 - rho**2) * rng.normal(size=(1500, 1))
    of = lambda r: r * math.asin(r) + math.sqrt(1 - r * r) - r * math.asin(r / 2) - math.sqrt(4 - r * r)  # noqa: E731
    theory = (of(rho) + 1) / (of(1) + 1)
    assert distance_correlation(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(theory, abs=0.03)


def test_gradients_are_finite_where_rows_are_the_same():
    x = torch.randn(20, 3, dtype=torch.float64)
    y = x.round().requires_grad_()
    y.data[1] = y.data[0]
    distance_correlation(x, y).backward()
    assert y.grad.isfinite().all() and y.grad.abs().sum() > 0


def test_an_edge_is_retrained_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(nopeek, "_UPDATES", 40)
    monkeypatch.setattr(nopeek, "WEIGHTS", (3.0, 0.1))
    how = Retraining("lenet", "mnist-5k", "gt5", "s2", 0.9, 0)
    found = retrained(how, tmp_path, tmp_path)
    assert found["weight"] in nopeek.WEIGHTS and found["held-out accuracy"] > 0.9 and 0 < found["distance correlation"] < 1
    from models.lenet import WEIGHTS

    ours, shipped = load_file(found["weights"]), load_file(WEIGHTS[2])
    changed = {name for name in shipped if not torch.equal(ours[name], shipped[name])}
    # Layers behind the cut stay as they were.
    assert changed and len(changed) == 2 and {name.split(".")[-1] for name in changed} == {"weight", "bias"}
    monkeypatch.setattr(nopeek, "_retrain", None)
    assert retrained(how, tmp_path, tmp_path) == found


def test_an_accuracy_that_no_weight_keeps(tmp_path, monkeypatch):
    monkeypatch.setattr(nopeek, "_UPDATES", 1)
    monkeypatch.setattr(nopeek, "WEIGHTS", (0.1,))
    found = retrained(Retraining("lenet", "mnist-5k", "gt5", "s2", 1.0, 0), tmp_path, tmp_path)
    assert found["unreached"].startswith("no weight down to 0.1 exceeded 1; the best was 0.")
