import pytest
import torch
import torchvision
from torch.nn import functional

from models.alexnet import CUTTING_POINTS, INPUT_SHAPE, WEIGHTS, AlexNet, narrow_alexnet, pretrained_alexnet
from models.weights import WeightsError
from shredder.inputs.digits import load_digits
from shredder.inputs.images import to_imagenet_input
from shredder.metrics import accuracy
from shredder.split import SplitNetwork


@pytest.fixture(scope="module")
def network():
    return pretrained_alexnet("digits")


def test_state_dict_is_torchvisions():
    ours, theirs = AlexNet().state_dict(), torchvision.models.alexnet().state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: tensor.shape for name, tensor in theirs.items()}
    assert sum(tensor.numel() for tensor in ours.values()) == 61_100_840


def test_answers_are_torchvisions():
    """With its weights: the logarithm of the softmax of what torchvision's network says."""
    theirs, ours = torchvision.models.alexnet().eval(), AlexNet().eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, *INPUT_SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), functional.log_softmax(theirs(images), -1), rtol=0, atol=0)


@pytest.mark.parametrize("cutting_point", CUTTING_POINTS)
def test_cut_in_two_it_is_the_same(network, cutting_point):
    """Bit for bit, although the chain leaves out a pooling and the dropouts; and with the shape that is promised."""
    split = SplitNetwork(network, cutting_point)
    images = to_imagenet_input(load_digits("mnist-5k").test_images[:3])
    with torch.no_grad():
        sent = split.edge(images)
        assert sent.shape[1:] == CUTTING_POINTS[cutting_point]
        torch.testing.assert_close(split.cloud(sent), network(images), rtol=0, atol=0)


def test_shipped_weights(network):
    """98 % are asked for, of digits that it never saw; of the first hundred here, to save time. The run record has all."""
    test = load_digits("mnist-5k")
    with torch.no_grad():
        found = accuracy(network(to_imagenet_input(test.test_images[:100])), test.test_labels[:100])
    assert found >= 0.97
    assert WEIGHTS["digits"].stat().st_size <= 12_000_000
    assert sum(parameter.numel() for parameter in narrow_alexnet().parameters()) == 4_897_610


def test_digits_as_input():
    """Three equal channels before the normalisation; enlarged eightfold, each pixel's middle keeps its value."""
    images = torch.zeros(1, 28, 28, dtype=torch.uint8)
    images[0, 10:20, 5:15] = 255
    found = to_imagenet_input(images)
    assert found.shape == (1, *INPUT_SHAPE) and found.dtype == torch.float32
    pixels = found * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1) + torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    torch.testing.assert_close(pixels[0, 0], pixels[0, 2], rtol=0, atol=1e-6)
    assert pixels[0, 0, 120, 80].item() == pytest.approx(1, abs=1e-6)
    assert pixels[0, 0, 20, 20].item() == pytest.approx(0, abs=1e-6)


def test_weights_of_another_head():
    with pytest.raises(WeightsError, match=r"classifier.1.weight: found \(256, 9216\), expected \(4096, 9216\)"):
        pretrained_alexnet("imagenet", WEIGHTS["digits"])


def test_no_network(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(WeightsError, match=r"not there, and could not be downloaded \(no route\). fetch .*alexnet.*--weights"):
        pretrained_alexnet("imagenet")
