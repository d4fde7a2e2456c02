"""Data that several test files share."""

import shutil
import wave
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import train_noise
from models.alexnet import AlexNet
from shredder.inputs.digits import Digits, load_digits
from shredder.inputs.newsgroups import GROUPS
from shredder.inputs.spoken import RATE, SPEAKERS
from shredder.split import SplitNetwork
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
def cifar10_root() -> Path:
    """Folder that holds CIFAR-10; tests that need it are skipped where it is absent, so that none ever downloads."""
    if not (ROOT / "data" / "cifar-10-batches-bin" / "test_batch.bin").is_file():
        pytest.skip("CIFAR-10 is not in data")
    return ROOT / "data"


@pytest.fixture
def small_cifar10(tmp_path, monkeypatch) -> Path:
    """Folder of CIFAR-10's files with twenty records of noise in each, the classes in turn."""
    monkeypatch.setattr("shredder.inputs.cifar10._IMAGES", 20)
    folder = tmp_path / "small" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    rows = np.random.default_rng(0).integers(0, 256, (6, 20, 3073)).astype(np.uint8)
    rows[:, :, 0] = np.arange(20) % 10
    for name, some in zip([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"], rows, strict=True):
        some.tofile(folder / name)
    return folder.parent


@pytest.fixture(scope="session")
def grounds_root() -> Path:
    """Folder of spoken digits, letters and house numbers; tests that need it are skipped where it is absent."""
    root = ROOT / "../shared/data"
    names = ("fsdd.tar.xz", "20news-bydate.tar.xz", "svhn-test-4000.npz")
    if not all((root / name).is_file() for name in names):
        pytest.skip(f"{', '.join(names)} are not in ../shared/data")
    return root


@pytest.fixture
def small_speech(tmp_path, monkeypatch) -> Path:
    """Folder of spoken digits' files: three takes, the first for tests; a tone for each digit and speaker."""
    monkeypatch.setattr("shredder.inputs.spoken._TAKES", 3)
    monkeypatch.setattr("tasks.speech.TEST_TAKES", 1)
    folder = tmp_path / "small" / "free-spoken-digit-dataset" / "recordings"
    folder.mkdir(parents=True)
    for speaker, name in enumerate(SPEAKERS):
        for digit in range(10):
            tone = np.sin(2 * np.pi * (300 + 350 * digit + 40 * speaker) * np.arange(2000) / RATE)
            for take in range(3):
                with wave.open(str(folder / f"{digit}_{name}_{take}.wav"), "wb") as file:
                    file.setparams((1, 2, RATE, 0, "NONE", ""))
                    file.writeframes((8000 * tone).astype("<i2").tobytes())
    return folder.parents[1]


@pytest.fixture
def small_newsgroups(tmp_path, monkeypatch) -> Path:
    """Folder of letters to newsgroups, four of each group to learn from and two for tests, which name their group often."""
    n = {"train": 4, "test": 2}
    monkeypatch.setattr("shredder.inputs.newsgroups._LETTERS", {part: 20 * each for part, each in n.items()})
    for part, each in n.items():
        for group in GROUPS:
            folder = tmp_path / "small" / f"20news-bydate-{part}" / group
            folder.mkdir(parents=True)
            for letter in range(each):
                (folder / str(100 + letter)).write_text(
                    f"From: a@b\nSubject: c\n\n{group} {group}, a letter of words {'x' * (3 + letter)}\n"
                )
    return tmp_path / "small"


@pytest.fixture
def small_svhn(tmp_path, monkeypatch) -> Path:
    """Folder of sixty images of noise, the digits in turn, of which forty are to learn from."""
    monkeypatch.setattr("shredder.inputs.svhn._FEW", 60)
    monkeypatch.setattr("tasks.svhn.TRAINING", 40)
    (tmp_path / "small").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "small" / "svhn-test-4000.npz", images=images, labels=np.arange(60) % 10)
    return tmp_path / "small"


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


@pytest.fixture
def mapped(monkeypatch):
    """Activations go to a file, and every batch of them is noted."""
    monkeypatch.setattr("shredder.inputs.activations._BYTES_IN_MEMORY", 0)
    monkeypatch.setattr("shredder.inputs.activations._BATCHES_BETWEEN_NOTES", 1)


@pytest.fixture
def edge(monkeypatch):
    """How many images the edge was run on, a number for each batch."""
    numbers, activations = [], SplitNetwork.activations

    def counted(self, images, *args):
        numbers.append(len(images))
        return activations(self, images, *args)

    monkeypatch.setattr(SplitNetwork, "activations", counted)
    return numbers


@pytest.fixture(scope="session")
def imagenet_sample() -> Path:
    """Folder of 1,000 real images, one of each of ImageNet's classes; tests that need it are skipped where it is absent."""
    root = (ROOT / "../shared/data/imagenet-sample").resolve()
    if not (root / "val").is_dir():
        pytest.skip("ImageNet's images are not in ../shared/data/imagenet-sample")
    return root


@pytest.fixture(scope="session")
def links(imagenet_sample: Path, tmp_path_factory) -> Path:
    """The same folder as links, one for each class, which take a second to make."""
    root = tmp_path_factory.mktemp("links") / "imagenet"
    (root / "val").mkdir(parents=True)
    for folder in (imagenet_sample / "val").iterdir():
        (root / "val" / folder.name).symlink_to(folder)
    return root


@pytest.fixture
def linked_sample(links: Path, imagenet_sample: Path):
    """Those links, among which a test may replace an image, and add and remove what it likes: they are put back after it."""
    yield links
    left = {path.name for path in (links / "val").iterdir() if path.is_symlink()}
    for path in (*links.iterdir(), *(links / "val").iterdir()):
        if path.name not in left | {"val"}:
            path.unlink() if path.is_symlink() else shutil.rmtree(path)
    for folder in (imagenet_sample / "val").iterdir():
        if folder.name not in left:
            (links / "val" / folder.name).symlink_to(folder)


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


def untrained(width: int, path: Path) -> Path:
    """Write weights, untrained, of a network of ImageNet's classes that takes everything for the sample's first image.

    Each matrix of the classifier has one row, many times, which is stored once: 10 MB in the place of 244, which take seconds.
    """
    with torch.device("meta"):
        network = AlexNet(width=width)
    rng, weights = torch.Generator().manual_seed(0), {}
    for name, tensor in network.state_dict().items():
        rows = 1 if name in ("classifier.1.weight", "classifier.4.weight", "classifier.6.weight") else len(tensor)
        drawn = torch.randn(rows, *tensor.shape[1:], generator=rng) / tensor[0].numel() ** 0.5
        weights[name] = drawn.expand(tensor.shape)
    weights["classifier.6.bias"][790] = 100  # a shopping basket
    torch.save(weights, path)
    return path


@pytest.fixture(scope="session")
def imagenet_weights(tmp_path_factory) -> Path:
    """A state dict as torchvision ships it for ImageNet."""
    return untrained(4096, tmp_path_factory.mktemp("weights") / "alexnet.pth")


@pytest.fixture(scope="session")
def narrow_file(tmp_path_factory) -> Path:
    return untrained(32, tmp_path_factory.mktemp("weights") / "narrow.pth")


@pytest.fixture
def narrow_weights(narrow_file: Path, monkeypatch) -> Path:
    """Weights of a network that is a tenth as large, and which is then ImageNet's: reading torchvision's takes a second."""
    monkeypatch.setattr("models.alexnet.AlexNet", partial(AlexNet, width=32))
    return narrow_file


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
