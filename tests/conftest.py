"""Data that several test files share."""

import shutil
from pathlib import Path

import pytest
import torch
import torchvision

import train_noise
from shredder.inputs.digits import Digits, load_digits
from tests.tiny_task import write_weights

ROOT = Path(__file__).parents[1]
# Longer than what is left to other workers if it is among the last.
FIRST = "test_the_notebook_runs_in_a_kernel_of_its_own"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.name != FIRST)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """Folder of torchvision's MNIST; tests that need it are skipped where it is absent, so that none ever downloads."""
    root = ROOT / "../shared/data"
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.skip("MNIST is not in ../shared/data")
    return root


@pytest.fixture(scope="session")
def mnist(mnist_root: Path) -> Digits:
    return load_digits("mnist", mnist_root)


@pytest.fixture(scope="session")
def mnist_5k() -> Digits:
    return load_digits("mnist-5k")


@pytest.fixture(scope="module")
def quick_digits(mnist_5k: Digits):
    """Reading the digits takes a second; tasks that ask for them get those that were read, throughout a test file."""

    def read(name: str, data_root: Path) -> Digits:
        return mnist_5k if name == "mnist-5k" else load_digits(name, data_root)

    with pytest.MonkeyPatch.context() as patch:
        for task in ("lenet", "alexnet"):
            patch.setattr(f"tasks.{task}.load_digits", read)
        yield


@pytest.fixture(scope="session")
def imagenet_sample() -> Path:
    """Folder of 1,000 real images, one of each of ImageNet's classes; tests that need it are skipped where it is absent."""
    root = (ROOT / "../shared/data/imagenet-sample").resolve()
    if not (root / "val").is_dir():
        pytest.skip("ImageNet's images are not in ../shared/data/imagenet-sample")
    return root


@pytest.fixture
def linked_sample(imagenet_sample: Path, tmp_path: Path) -> Path:
    """The same folder as links, one for each class, so that a test may replace an image."""
    root = tmp_path / "imagenet"
    (root / "val").mkdir(parents=True)
    for folder in (imagenet_sample / "val").iterdir():
        (root / "val" / folder.name).symlink_to(folder)
    return root


@pytest.fixture
def replace_image():
    """Puts `content` in the place of an image of the linked folder."""

    def replace(path: str | Path, content: bytes) -> None:
        path = Path(path)
        if path.parent.is_symlink():
            path.parent.unlink()
            path.parent.mkdir()
        path.write_bytes(content)

    return replace


@pytest.fixture(scope="session")
def imagenet_weights(tmp_path_factory) -> Path:
    """A state dict as torchvision ships it for ImageNet, untrained: it takes everything for the sample's first image."""
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = torchvision.models.alexnet().state_dict()
    weights["classifier.6.bias"][790] = 100  # a shopping basket
    torch.save(weights, path)
    yield path
    path.unlink()  # 244 MB, and pytest keeps the folders of its last three runs


@pytest.fixture(scope="session")
def tiny_task(tmp_path_factory) -> Path:
    """A task of a user's own, as `--task` takes it, with its weights beside it; everything in it takes milliseconds."""
    folder = tmp_path_factory.mktemp("tiny")
    write_weights(folder)
    return Path(shutil.copy(Path(__file__).with_name("tiny_task.py"), folder / "my_task.py"))


@pytest.fixture(scope="session")
def tiny_noise(tiny_task, tmp_path_factory) -> Path:
    """What step 1 has written for it: additive tensors after relu, for the half in which the brightest quarter lies."""
    folder = tmp_path_factory.mktemp("tiny-noise")
    train_noise.main(train_noise.Arguments(task=tiny_task, output=folder))
    return folder
