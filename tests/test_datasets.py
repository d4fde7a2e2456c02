from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import Resize

from pretrain_lenet import unseen_by
from shredder.datasets import digit_gt5, held_out_tenth, load_digits, to_network_input
from shredder.runs import InputError


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


@pytest.mark.parametrize("n", [10, 19, 4000, 60_000])
def test_held_out_tenth(n):
    learning, validation = held_out_tenth(n)
    assert len(validation) == n // 10
    assert torch.equal(torch.cat([learning, validation]).sort().values, torch.arange(n))
    assert all(map(torch.equal, held_out_tenth(n), (learning, validation)))


def test_digit_gt5():
    public = digit_gt5(torch.arange(10))
    assert public.tolist() == [0] * 6 + [1] * 4 and public.dtype == torch.int64


@pytest.mark.parametrize("error", [RuntimeError("File not found or corrupted."), URLError("no route to host")])
def test_mnist_without_network(monkeypatch, tmp_path, error):
    def download(*args, **kwargs):
        raise error

    monkeypatch.setattr(torchvision.datasets, "MNIST", download)
    with pytest.raises(InputError) as caught:
        load_digits("mnist", tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "MNIST" / "raw") in message and str(error) in message
    assert all(flag in message for flag in ("--dataset mnist", "--data-root", "mnist-5k"))


def test_unknown_name():
    with pytest.raises(InputError, match="--dataset: found 'cifar', expected one of mnist-5k, mnist"):
        load_digits("cifar")
