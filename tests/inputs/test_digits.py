import gzip
import os
import re
import socket
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import Resize

from shredder.inputs.digits import digit_gt5, load_digits, to_network_input, unseen_by
from shredder.io.cli import InputError


def image_set(images):
    return {image.tobytes() for image in images.numpy()}


def test_mnist_5k_split(mnist_5k):
    assert mnist_5k.train_images.shape == (4000, 28, 28) and mnist_5k.test_images.shape == (1000, 28, 28)
    assert mnist_5k.train_images.dtype == torch.uint8 and mnist_5k.train_labels.dtype == torch.int64
    assert mnist_5k.train_labels.bincount().tolist() == [400] * 10
    assert mnist_5k.test_labels.bincount().tolist() == [100] * 10
    # No two of the 5,000 digits are alike, so pixels tell whether the parts are disjoint.
    train, test = image_set(mnist_5k.train_images), image_set(mnist_5k.test_images)
    assert len(train) == 4000 and len(test) == 1000 and not train & test


def test_mnist_5k_is_the_same_each_time(mnist_5k):
    np.random.seed(1)
    torch.manual_seed(1)
    again = load_digits("mnist-5k")
    assert all(torch.equal(value, vars(again)[name]) for name, value in vars(mnist_5k).items())


def test_mnist_5k_is_the_first_500_of_each_class(mnist, mnist_5k):
    for digit in range(10):
        images = torch.cat(
            [mnist_5k.train_images[mnist_5k.train_labels == digit], mnist_5k.test_images[mnist_5k.test_labels == digit]]
        )
        assert image_set(images) == image_set(mnist.train_images[mnist.train_labels == digit][:500])


def test_mnist(mnist):
    assert mnist.train_images.shape == (60_000, 28, 28) and mnist.test_images.shape == (10_000, 28, 28)
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9] and mnist.test_labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_pretraining_leaves_out_mnist_5k(mnist, mnist_5k):
    unseen = unseen_by(mnist, mnist_5k)
    assert unseen.shape == (60_000,) and int((~unseen).sum()) == 5000
    assert mnist.train_labels[~unseen].bincount().tolist() == [500] * 10


def test_input_equals_torchvision(mnist_5k):
    """PIL rounds to whole grey levels, after each of its two passes by half a level: 1/255 at most, plus float32's rounding."""
    images = mnist_5k.test_images[:200]
    found, resize = to_network_input(images), Resize(32)
    expected = np.stack([np.asarray(resize(Image.fromarray(image))) for image in images.numpy()])[:, None] / 255
    assert found.shape == (200, 1, 32, 32) and found.dtype == torch.float32
    assert found.min() >= 0 and 0.9 < found.max() <= 1
    assert np.abs(found.numpy() - expected).max() <= 1 / 255 + 1e-6


def test_input_by_hand():
    """A constant stays so; of a ramp, output pixel i sits at (i + 1/2) 28/32 - 1/2, and the ends are clamped."""
    torch.testing.assert_close(
        to_network_input(torch.full((1, 28, 28), 51, dtype=torch.uint8)), torch.full((1, 1, 32, 32), 0.2)
    )
    ramp = torch.arange(28, dtype=torch.uint8).repeat(28, 1)
    place = ((torch.arange(32) + 0.5) * 28 / 32 - 0.5).clamp(0, 27)
    torch.testing.assert_close(to_network_input(ramp[None])[0, 0], (place / 255).repeat(32, 1))


def test_digit_gt5():
    public = digit_gt5(torch.arange(10))
    assert public.tolist() == [0] * 6 + [1] * 4 and public.dtype == torch.int64


# MNIST's files.

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture
def no_network(monkeypatch):
    """A network that answers nothing; the addresses that were asked for."""
    asked = []

    def download(url, *args):
        asked.append(url)
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return asked


def refused(root):
    """The one line."""
    with pytest.raises(InputError) as error:
        load_digits("mnist", root)
    message = str(error.value)
    assert "\n" not in message and message.startswith(f"--dataset mnist: {root / 'MNIST' / 'raw'}")
    return message


def test_a_folder_that_holds_nothing(tmp_path, no_network, capsys):
    message = refused(tmp_path)
    assert all(part in message for part in (*FILES, "no route to host", "--data-root", "--dataset mnist-5k"))
    assert no_network == [mirror + "train-images-idx3-ubyte.gz" for mirror in torchvision.datasets.MNIST.mirrors]
    assert all(f"fetching {url}" in capsys.readouterr().err for url in no_network[:1])
    assert not list(tmp_path.iterdir())


def test_a_download_that_never_answers(tmp_path, monkeypatch, capsys):
    """A server that accepts and is silent."""
    monkeypatch.setattr("models.download._SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [url])
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert "timed out" in refused(tmp_path)
    assert capsys.readouterr().err.startswith(f"fetching {url}train-images-idx3-ubyte.gz, for at most 0.2 s")
    assert not list(tmp_path.iterdir()) and socket.getdefaulttimeout() is None


@pytest.fixture
def served(monkeypatch, mnist_root):
    """MNIST as its mirrors have it; of `contents`, by name, something else."""
    contents = {}

    def download(url, path, *args):
        name = url.rsplit("/")[-1].removesuffix(".gz")
        Path(path).write_bytes(contents.get(name) or gzip.compress((mnist_root / "MNIST" / "raw" / name).read_bytes(), 0))

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return contents


def test_downloaded(tmp_path, served, mnist, mnist_root):
    """All four, or those that are missing."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES[1:3]:
        (raw / name).symlink_to((mnist_root / "MNIST" / "raw" / name).resolve())
    found = load_digits("mnist", tmp_path)
    assert all(torch.equal(value, vars(mnist)[name]) for name, value in vars(found).items())
    assert sorted(path.name for path in raw.iterdir()) == sorted(FILES)
    assert (raw / FILES[1]).is_symlink() and not (raw / FILES[0]).is_symlink()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>Sign in to the network</html>", "Not a gzipped file"),
        (gzip.compress(b"another file", mtime=0), "found 12 bytes that are no whole idx file, not MNIST's"),
        (gzip.compress(bytes(1000), mtime=0)[:-9], "end-of-stream marker|Error -|CRC"),
    ],
)
def test_what_is_downloaded_is_looked_at(tmp_path, served, content, reason):
    served[FILES[3]] = content
    assert re.search(reason, refused(tmp_path))
    assert not list(tmp_path.iterdir())


def idx(*shape, values=None):
    """An idx file of unsigned bytes, zeros or `values`."""
    content = bytes(int(np.prod(shape))) if values is None else bytes(values)
    return bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + content


def flipped(content):
    return content[:-1] + bytes([content[-1] ^ 1])


OTHER_FILES = [
    ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte", "10000 labels from 0 to 9, expected MNIST's own 60000 labels"),
    (
        "train-images-idx3-ubyte",
        "t10k-images-idx3-ubyte",
        "10000 images of 28 x 28, expected MNIST's own 60000 images of 28 x 28",
    ),
    ("t10k-images-idx3-ubyte", "train-images-idx3-ubyte", "60000 images of 28 x 28, expected MNIST's own 10000 images"),
    ("t10k-labels-idx1-ubyte", idx(9000), "9000 labels from 0 to 0, expected MNIST's own 10000 labels"),
    ("train-labels-idx1-ubyte", idx(59_000), "59000 labels from 0 to 0, expected MNIST's own 60000 labels"),
    ("t10k-labels-idx1-ubyte", idx(10_000, values=[1, *range(1, 27)] * 370 + [26] * 10), "10000 labels from 1 to 26"),
    ("train-images-idx3-ubyte", idx(8, 28, 28), "8 images of 28 x 28"),
    ("train-images-idx3-ubyte", idx(60_000, 14, 56), "60000 images of 14 x 56"),
    ("t10k-labels-idx1-ubyte", flipped, "10000 labels from 0 to 9"),
    ("t10k-labels-idx1-ubyte", lambda content: content + b"1", "10009 bytes that are no whole idx file"),
    ("t10k-labels-idx1-ubyte", lambda content: content[:5000], "5000 bytes that are no whole idx file"),
    ("t10k-labels-idx1-ubyte", b"", "0 bytes that are no whole idx file"),
    ("t10k-labels-idx1-ubyte", b"\0\0\x08\xff", "4 bytes that are no whole idx file"),
    ("t10k-labels-idx1-ubyte", idx(0), "0 labels, expected"),
    ("t10k-labels-idx1-ubyte", idx(2**32 - 1, 2**32 - 1, values=b""), "12 bytes that are no whole idx file"),
    ("t10k-labels-idx1-ubyte", b"\0\0\x0d\x01" + idx(10_000)[4:], "10008 bytes that are no whole idx file"),
]


@pytest.mark.parametrize(("name", "content", "found"), OTHER_FILES)
def test_another_data_set_under_mnists_names(tmp_path, mnist_root, no_network, name, content, found):
    raw, real = tmp_path / "MNIST" / "raw", (mnist_root / "MNIST" / "raw").resolve()
    raw.mkdir(parents=True)
    for other in FILES:
        (raw / other).symlink_to(real / other)
    if isinstance(content, str):
        content = (real / content).read_bytes()
    elif callable(content):
        content = content((real / name).read_bytes())
    (raw / name).unlink()
    (raw / name).write_bytes(content)
    message = refused(tmp_path)
    assert f"{raw / name}: found {found}" in message and "another data set needs a task of its own" in message
    assert no_network == [] and (raw / name).read_bytes() == content


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "Is a directory"),
        (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    ],
)
def test_what_is_no_file_under_mnists_names(tmp_path, no_network, put, reason):
    """It neither hangs nor is it replaced."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        put(raw / name)
    assert refused(tmp_path) == f"--dataset mnist: {raw / FILES[0]}: {reason}, expected MNIST's file"


def test_old_processed_files_are_never_opened(tmp_path, mnist_root, mnist):
    """torchvision took these for its own, whatever they held."""
    (tmp_path / "MNIST" / "processed").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw").symlink_to((mnist_root / "MNIST" / "raw").resolve())
    for name in ("training.pt", "test.pt"):
        (tmp_path / "MNIST" / "processed" / name).write_bytes(b"damaged")
    found = load_digits("mnist", tmp_path)
    assert all(torch.equal(value, vars(mnist)[name]) for name, value in vars(found).items())


def test_unknown_name():
    with pytest.raises(InputError, match="--dataset: found 'cifar', expected one of mnist-5k, mnist"):
        load_digits("cifar")
