"""Images for AlexNet: each has its own label, its pixels are torchvision's, and what cannot be read is named."""

import dataclasses
import hashlib
import io
import os
import pickle
import re
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import multiprocessing
from torch.nn import functional
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

from shredder.inputs.digits import to_network_input
from shredder.inputs.images import BATCH_SIZE, IMAGENET_SHAPE, _stacked, imagenet_images, random_order, tensor_images
from shredder.io.cli import InputError
from tasks import alexnet, lenet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# What torchvision's documentation says of AlexNet_Weights.IMAGENET1K_V1, one by one.
PIPELINE = Compose([Resize(256), CenterCrop(224), ToTensor(), Normalize(MEAN, STD)])

pytestmark = pytest.mark.usefixtures("quick_digits")


def digits(part, n=None):
    """As AlexNet reads them."""
    return alexnet.digits("mnist-5k", Path("data"), {part: n})[part]


def pixels_of(images):
    """Without the normalisation, (n, 3, 224, 224)."""
    return images * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


def everything(images):
    """Rows and images of all batches."""
    rows, made = zip(*images.batches(), strict=True)
    return torch.cat(rows), torch.cat(made)


# Digits.


def thumbnails(images):
    """Each digit's own 28 x 28, each pixel mixed with its neighbours: the mean of every 8 x 8 square."""
    return functional.avg_pool2d(pixels_of(images)[:, 0], 8).flatten(1)


def mixed(pixels):
    """The same in closed form. Enlarged eightfold, the eight places of a pixel lie 1, 3, 5, 7 sixteenths to the left and
    right of its middle, and each gives that share to the neighbour: 16 / 16 / 8 = 1 / 8 for either neighbour in the mean,
    3 / 4 for the pixel. A border's missing neighbour is the border itself."""
    padded = functional.pad(pixels.unsqueeze(1).float() / 255, (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([1 / 8, 3 / 4, 1 / 8])
    return functional.conv2d(padded, torch.outer(kernel, kernel)[None, None]).flatten(1).double()


@pytest.mark.parametrize(("part", "n_images"), [("test", 200), ("train", 200)])
def test_digits_keep_their_labels_and_their_part(mnist_5k, part, n_images):
    """Pixels tell which digit an image is: in load_digits it has the same label, and is in the same part."""
    images = digits(part, n_images)
    found = torch.cat([thumbnails(some) for _, some in images.batches()]).double()  # or the distance's cancellation shows
    parts = {"train": mnist_5k.train_images, "test": mnist_5k.test_images}
    distance, row = torch.cdist(found, mixed(parts.pop(part))).min(dim=1)
    (other,) = parts.values()
    assert distance.max() < 1e-4 < 0.1 < torch.cdist(found, mixed(other)).min()
    assert len(row.unique()) == len(images) == n_images
    assert torch.equal(images.labels, getattr(mnist_5k, f"{part}_labels")[row])
    # Reordered: the first tenth of the images is held out, so they may not come sorted by anything.
    assert not torch.equal(row, row.sort().values)


def test_the_order_is_the_same_each_time_and_fewer_images_are_its_first(mnist_5k):
    whole = digits("test")
    assert torch.equal(whole.labels, mnist_5k.test_labels[random_order(1000)])
    np.random.seed(1)
    torch.manual_seed(1)
    few = digits("test", 7)
    assert len(few) == 7 and torch.equal(few.labels, whole.labels[:7])
    torch.testing.assert_close(everything(few)[1], whole.make(list(range(7))), rtol=0, atol=0)


def test_digits_are_normalised(mnist_5k):
    """Black and white lie where ImageNet's do, and nothing beyond; enlarged, no place quite shows a pixel's own white."""
    made = everything(digits("test", 20))[1]
    assert made.shape == (20, *IMAGENET_SHAPE) and made.dtype == torch.float32
    for channel, mean, std in zip(made.unbind(1), MEAN, STD, strict=True):
        assert channel.min().item() == pytest.approx((0 - mean) / std, abs=1e-5)
        assert channel.max().item() == pytest.approx((1 - mean) / std, rel=0.01)
        assert channel.max().item() <= (1 - mean) / std + 1e-5


@pytest.mark.parametrize("first", [0, 1, 50, 119, 120])
def test_batches_begin_at_a_row_and_leave_the_global_seed_alone(first):
    images = digits("train", 120)
    before = torch.get_rng_state()
    batches = [rows for rows, _ in images.batches(first)]
    assert [row for rows in batches for row in rows.tolist()] == list(range(first, 120))
    assert all(len(rows) == BATCH_SIZE for rows in batches[:-1])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("n_images", [-1, 0, 1001])
def test_number_of_digits(n_images):
    with pytest.raises(InputError, match=f"found {n_images}.*expected 1 to 1000, the test images of mnist-5k"):
        digits("test", n_images)


@pytest.mark.parametrize("n", [10, 19, 4000, 60_000])
def test_the_order_of_a_dataset(n):
    """Of which the first tenth is held out: the same rows for every run, whatever the global seeds are."""
    np.random.seed(n)
    torch.manual_seed(n)
    order = random_order(n)
    assert torch.equal(order.sort().values, torch.arange(n)) and not torch.equal(order, torch.arange(n))
    assert torch.equal(random_order(n), order)
    np.testing.assert_array_equal(order, np.random.default_rng(5000).permutation(n))


def test_lenets_digits(mnist_5k):
    """Test digits as the file has them; training digits in the order whose first tenth is held out."""
    images = lenet.digits("mnist-5k", Path("data"), {"train": 300, "test": None})
    order = random_order(4000)[:300]
    for part, pixels, labels in (
        ("train", mnist_5k.train_images[order], mnist_5k.train_labels[order]),
        ("test", mnist_5k.test_images, mnist_5k.test_labels),
    ):
        rows, made = everything(images[part])
        assert rows.tolist() == list(range(len(labels))) and torch.equal(images[part].labels, labels)
        torch.testing.assert_close(made, to_network_input(pixels), rtol=0, atol=0)
        assert images[part].shape == (1, 32, 32) and images[part].workers == 0


@pytest.mark.parametrize("n", [1, 60, 120, 500, None])
def test_the_first_of_images(n):
    """As many as there are, at most; each as it is among all of them."""
    whole = dataclasses.replace(digits("test", 120), unreadable=[3, 70])
    few = whole.first(n)
    assert len(few) == min(120, n or 120) and torch.equal(few.labels, whole.labels[:n])
    assert list(few.names) == list(whole.names)[:n] and few.unreadable == []
    torch.testing.assert_close(everything(few)[1], whole.make(list(range(len(few)))), rtol=0, atol=0)
    assert whole.unreadable == [3, 70]  # what is found out of one says nothing of the other


def test_a_digest_tells_pixels_labels_and_order_apart():
    pixels, labels = torch.arange(5 * 28 * 28).view(5, 28, 28).to(torch.uint8), torch.tensor([0, 1, 2, 1, 0])
    forth, back = torch.arange(5), torch.arange(5).flip(0)

    def digest(pixels, labels, order):
        return tensor_images(pixels, labels, order, to_network_input).digest()

    other = pixels.clone()
    other[4, 27, 27] += 1
    found = [digest(pixels, labels, forth), digest(pixels, labels, back), digest(other, labels, forth)]
    found += [digest(pixels, labels + 1, forth), digest(pixels, labels, forth[:4])]
    assert len(set(found)) == 5 and digest(pixels.clone(), labels.clone(), forth) == found[0]


def test_a_number_that_is_too_large_names_the_flag_of_training_images():
    with pytest.raises(InputError, match=r"^--images: found 4001, expected 1 to 4000, the train images of mnist-5k"):
        digits("train", 4001)


# ImageNet.


def test_classes_are_the_networks_answers(imagenet_sample):
    """The files are named by their class, the network's answers by torchvision; two of a name are told apart there."""
    images = imagenet_images(imagenet_sample, "test", None)
    categories = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
    assert sorted(images.labels.tolist()) == list(range(1000))
    told_apart = {"crane": ("crane", "crane bird"), "maillot": ("maillot", "maillot tank suit")}
    for path, label in zip(images.names, images.labels.tolist(), strict=True):
        name = Path(path).stem.split("_", 1)[1].replace("_", " ")
        assert categories[label] in told_apart.get(name, (name,))
    # Both names occur twice, in folders of their own.
    assert categories[134] == "crane bird" and categories[517] == "crane"


def test_images_are_decoded_as_torchvision_does(imagenet_sample):
    images = dataclasses.replace(imagenet_images(imagenet_sample, "test", 16), batch_size=10)
    rows, made = everything(images)
    assert rows.tolist() == list(range(len(images))) and made.dtype == torch.float32
    for row in range(0, len(images), 3):
        expected = PIPELINE(Image.open(images.names[row]).convert("RGB"))
        torch.testing.assert_close(made[row], expected, rtol=0, atol=1e-6)
    assert images.unreadable == []


def test_workers_change_nothing(imagenet_sample):
    images = imagenet_images(imagenet_sample, "test", 12)
    assert images.workers > 0
    assert all(map(torch.equal, everything(images), everything(dataclasses.replace(images, workers=0))))


def test_workers_may_be_spawned(imagenet_sample):
    """Not every system forks processes (macOS; Linux from Python 3.14 on): what workers need has to reach them all the same."""
    images = imagenet_images(imagenet_sample, "test", 2)
    usual = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        _, made = everything(dataclasses.replace(images, workers=1))
    finally:
        multiprocessing.set_start_method(usual, force=True)
    assert torch.equal(made, torch.stack(images.make([0, 1])))


def encoded(mode, size, kind):
    """An image file of some coarse random pattern."""
    coarse = (size[0] // 20, size[1] // 20)
    pixels = np.random.default_rng(0).bytes(coarse[0] * coarse[1] * len(mode))  # a letter for each channel
    buffer = io.BytesIO()
    Image.frombytes(mode, coarse, pixels).resize(size).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "size", "kind"),
    [("L", (500, 300), "JPEG"), ("CMYK", (260, 400), "JPEG"), ("RGBA", (320, 320), "PNG"), ("RGB", (120, 80), "JPEG")],
)
def test_every_kind_that_occurs_in_imagenet(linked_sample, replace_image, mode, size, kind):
    """Grey, of four inks, a PNG that is called .JPEG, and one smaller than what the network reads."""
    path = imagenet_images(linked_sample, "test", 1).names[0]
    replace_image(path, encoded(mode, size, kind))
    (_, made), *_ = imagenet_images(linked_sample, "test", 1).batches()
    torch.testing.assert_close(made[0], PIPELINE(Image.open(path).convert("RGB")), rtol=0, atol=1e-6)


def test_number_of_imagenets_images(imagenet_sample):
    with pytest.raises(InputError, match=r"found 1001.*expected 1 to 1000, the test images of imagenet"):
        imagenet_images(imagenet_sample, "test", 1001)


@pytest.mark.parametrize(("part", "folder"), [("train", "train"), ("test", "val")])
def test_no_folder(tmp_path, part, folder):
    with pytest.raises(InputError) as error:
        imagenet_images(tmp_path, part, None)
    assert str(error.value).startswith(f"--data-root: {tmp_path / folder}: ")


def classes(root, names):
    """An ImageFolder with one file, empty, for each of `names`."""
    for name in names:
        (root / "val" / name).mkdir(parents=True)
        (root / "val" / name / "image.JPEG").touch()


def test_a_folder_with_few_classes(tmp_path):
    classes(tmp_path, ["n01440764", "n01443537", "n01484850"])
    with pytest.raises(InputError, match=r"--data-root: .*/val: found 3 classes, expected ImageNet's 1,000"):
        imagenet_images(tmp_path, "test", None)


def test_an_odd_folder_is_named(linked_sample):
    (linked_sample / "val" / "thumbs").mkdir()
    with pytest.raises(InputError, match=r"val: found 1001 classes, among them thumbs, expected ImageNet's 1,000$"):
        imagenet_images(linked_sample, "test", None)
    (linked_sample / "val" / "n01440764").unlink()
    with pytest.raises(InputError, match=r"found 1,000 folders, n01443537 to thumbs, among them thumbs, that are not named"):
        imagenet_images(linked_sample, "test", None)


def test_hidden_folders_and_files_are_left_out_and_counted(linked_sample, replace_image, capsys):
    """An editor's copies, and what macOS puts beside a file: no class, and no images of one."""
    expected = imagenet_images(linked_sample, "test", None)
    first = Path(expected.names[0])
    content = first.read_bytes()
    replace_image(first, content)
    for copy in (".ipynb_checkpoints/x.png", f"{first.parent.name}/.ipynb_checkpoints/x.JPEG", f"{first.parent.name}/._x.JPEG"):
        place = linked_sample / "val" / copy
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
    capsys.readouterr()
    found = imagenet_images(linked_sample, "test", None)
    assert found.names == expected.names and torch.equal(found.labels, expected.labels) and found.digest() == expected.digest()
    said = capsys.readouterr().out
    assert said.startswith(f"left out: 3 hidden files or folders: {linked_sample / 'val' / '.ipynb_checkpoints'}, ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("target", [".", "..", "elsewhere"])
def test_a_link_to_a_folder_in_a_class(linked_sample, replace_image, target):
    """Followed, one to the parent gave 40,001 images, those of all classes as this one's."""
    path = Path(imagenet_images(linked_sample, "test", 1).names[0])
    replace_image(path, path.read_bytes())
    (path.parent / "elsewhere").mkdir()
    (path.parent / "loop").symlink_to(target)
    with pytest.raises(InputError, match=f"^--data-root: {path.parent / 'loop'}: found a link to a folder in a class"):
        imagenet_images(linked_sample, "test", None)


def test_paths_are_those_of_image_folder(linked_sample, replace_image):
    """With folders in a class, files that are no images, and images that are linked."""
    path = Path(imagenet_images(linked_sample, "test", 1).names[0])
    replace_image(path, path.read_bytes())
    for name in ("images/b.png", "images/a.JPG", "A/z.bmp", "readme.txt", "z.webp"):
        (path.parent / name).parent.mkdir(exist_ok=True)
        (path.parent / name).touch()
    (path.parent / "y.jpeg").symlink_to(path)
    found, expected = imagenet_images(linked_sample, "test", None), torchvision.datasets.ImageFolder(linked_sample / "val")
    order = np.random.default_rng(5000).permutation(1005)
    assert [expected.samples[row] for row in order] == list(zip(found.names, found.labels.tolist(), strict=True))


def test_a_class_without_images(linked_sample, replace_image):
    path = Path(imagenet_images(linked_sample, "test", 1).names[0])
    replace_image(path, b"")
    path.unlink()
    with pytest.raises(InputError, match=f"--data-root: .*/val: .*{path.parent.name}"):
        imagenet_images(linked_sample, "test", None)


def test_a_thousand_folders_of_other_names(tmp_path):
    """As when somebody has renamed the folders to the classes' names: then their order is another one than the network's."""
    classes(tmp_path, [f"class {number:03}" for number in range(1000)])
    with pytest.raises(InputError, match=r"--data-root: .*/val: found 1,000 folders, class 000 to class 999, .*WordNet ids"):
        imagenet_images(tmp_path, "test", None)


def damaged(path, kind):
    if kind == "AVIF":
        head, mark, data = encoded("RGB", (300, 300), "AVIF").partition(b"mdat")
        return head + mark + bytes(len(data))  # PIL says RuntimeError
    if kind in ("I;16", "I", "F"):  # PIL cuts these off: white, or black
        buffer = io.BytesIO()
        Image.fromarray(np.full((300, 300), 0.5) * {"F": 1}.get(kind, 60_000)).convert(kind).save(buffer, "TIFF")
        return buffer.getvalue()
    if kind == "a line of 89,000 pixels, 256 times as wide when it is enlarged":
        buffer = io.BytesIO()
        Image.new("L", (89_000, 1)).save(buffer, "PNG")
        return buffer.getvalue()
    if kind == "truncated":
        return Path(path).read_bytes()[:3000]
    if kind == "a text":
        return b"Not found: the server said 404.\n"
    # Baseline JPEG: height and width, two bytes each, follow the marker FF C0, a length and a byte.
    content = bytearray(encoded("RGB", (300, 300), "JPEG"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = b"\xf0\x00\xf0\x00"
    return bytes(content)


@pytest.mark.parametrize(
    "kind",
    [
        *("truncated", "a text", "4 gigapixels, it says", "AVIF", "I;16", "I", "F"),
        "a line of 89,000 pixels, 256 times as wide when it is enlarged",
    ],
)
def test_unreadable_images_are_left_out_and_named(linked_sample, replace_image, capsys, kind):
    names = imagenet_images(linked_sample, "test", 9).names
    bad = [3, 6]  # one in each batch
    for row in bad:
        replace_image(names[row], damaged(names[row], kind))
    images = dataclasses.replace(imagenet_images(linked_sample, "test", 9), batch_size=5)
    rows, made = everything(images)
    assert images.unreadable == bad and len(made) == 7
    assert rows.tolist() == [row for row in range(9) if row not in bad]
    # Those behind it have not moved up into its place.
    torch.testing.assert_close(made[3], PIPELINE(Image.open(names[4]).convert("RGB")), rtol=0, atol=1e-6)
    named = re.escape(f"2 of 9 images cannot be decoded: {names[3]}, {names[6]}")
    with pytest.raises(InputError, match=f"^{named}[^,]*, .*--skip-corrupt$"):
        images.require_readable(skip_corrupt=False)
    images.require_readable(skip_corrupt=True)
    assert re.fullmatch(f"left out: {named}\n", capsys.readouterr().out)


def test_16_bits_a_channel_are_scaled_where_pil_scales_them(linked_sample, replace_image):
    """In colour: half as bright is 127, not white."""
    path = imagenet_images(linked_sample, "test", 1).names[0]
    replace_image(path, b"P6 300 300 65535\n" + b"\x7f\xff" * 3 * 300 * 300)
    (_, made), *_ = imagenet_images(linked_sample, "test", 1).batches()
    torch.testing.assert_close(pixels_of(made), torch.full_like(made, 127 / 255), rtol=0, atol=1 / 255)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("put", "reason"), [(os.mkfifo, "not a regular file"), (os.mkdir, "Is a directory"), (str, "No such file")]
)
def test_what_is_no_file_ends_the_pass_in_one_line(linked_sample, replace_image, workers, put, reason):
    """A FIFO is not waited for; and it is not the image that is at fault, so it is not left out."""
    images = imagenet_images(linked_sample, "test", 2)
    path = Path(images.names[1])
    replace_image(path, b"")
    path.unlink()
    put(path)
    with pytest.raises(OSError, match=reason) as error:
        everything(dataclasses.replace(images, workers=workers))
    assert error.value.filename == str(path) and "\n" not in str(error.value)


def test_a_name_that_is_not_utf_8(linked_sample, replace_image, capsys):
    """Read like any other, and printed on any terminal, with its byte."""
    path = Path(imagenet_images(linked_sample, "test", 1).names[0])
    content = path.read_bytes()
    replace_image(path, content)
    latin = path.with_name(os.fsdecode(b"caf\xe9 1.JPEG"))
    path.rename(latin)
    images = imagenet_images(linked_sample, "test", 1)
    assert images.names == [str(latin)] and len(everything(images)[1]) == 1
    found = latin.stat()
    version = b" %d %d %d" % (found.st_size, found.st_mtime_ns, images.labels[0])
    assert images.digest() == hashlib.sha256(os.fsencode(str(latin)) + version).hexdigest()
    os.utime(latin, ns=(0, 0))  # another picture may stand under the name
    assert images.digest() != hashlib.sha256(os.fsencode(str(latin)) + version).hexdigest()
    latin.write_bytes(b"")
    images = imagenet_images(linked_sample, "test", 2)
    everything(images)
    images.require_readable(skip_corrupt=True)
    assert "caf\\xe9 1.JPEG" in capsys.readouterr().out.encode("ascii").decode()


def test_batches_need_no_shared_memory(imagenet_sample, monkeypatch):
    """Of which a container has 64 MB: what a worker sends goes through a pipe, and the main process waits for nothing."""

    def full(*args):
        raise RuntimeError("no space left in /dev/shm")

    images = imagenet_images(imagenet_sample, "test", 2)
    batch = _stacked(images.__getitems__([0, 1]), images.shape)
    for name in ("_share_fd_cpu_", "_share_filename_cpu_"):
        monkeypatch.setattr(torch.UntypedStorage, name, full)
    rows, sent, unreadable = pickle.loads(bytes(ForkingPickler.dumps(batch)))
    assert rows == [0, 1] and unreadable == [] and np.array_equal(sent, torch.stack(images.make([0, 1])))


def test_many_unreadable_images_are_counted(capsys):
    """The first five are named."""
    images = dataclasses.replace(digits("test", 9), unreadable=[0, 2, 3, 5, 6, 7, 8])
    images.require_readable(skip_corrupt=True)
    assert capsys.readouterr().out == "left out: 7 of 9 images cannot be decoded: 0, 2, 3, 5, 6, and 2 more\n"


def test_a_batch_without_a_readable_image():
    whole = digits("test", 120)

    def make(rows):
        return [None if 50 <= row < 100 else image for row, image in zip(rows, whole.make(rows), strict=True)]

    images = dataclasses.replace(whole, make=make)
    batches = list(images.batches())
    assert [tuple(made.shape) for _, made in batches] == [(50, *IMAGENET_SHAPE), (0, *IMAGENET_SHAPE), (20, *IMAGENET_SHAPE)]
    assert batches[1][0].tolist() == [] and batches[1][0].dtype == torch.int64
    assert images.unreadable == list(range(50, 100))


def test_readable_images_need_no_permission(capsys):
    digits("test", 3).require_readable(skip_corrupt=False)
    assert capsys.readouterr().out == ""
