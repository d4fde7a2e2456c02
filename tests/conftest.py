"""Data that several test files share."""

from pathlib import Path

import pytest

from shredder.datasets import Digits, load_digits


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """Folder of torchvision's MNIST; tests that need it are skipped where it is absent, so that none ever downloads."""
    root = Path(__file__).parents[1] / "../shared/data"
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.skip("MNIST is not in ../shared/data")
    return root


@pytest.fixture(scope="session")
def mnist(mnist_root: Path) -> Digits:
    return load_digits("mnist", mnist_root)


@pytest.fixture(scope="session")
def mnist_5k() -> Digits:
    return load_digits("mnist-5k")
