"""The edge runs once: what it sends is the same in memory and on disk, and an interrupted pass is not begun again."""

import dataclasses
import hashlib
import json
import os
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from models.alexnet import pretrained_alexnet
from shredder.inputs.activations import cached_activations, edge_pass, note_of, remove
from shredder.inputs.images import Images
from shredder.io import kept
from shredder.io.cli import InputError
from shredder.split import SplitNetwork
from tasks import alexnet, lenet

# Of the small network below, for images of 1x32x32.
SHAPE = (4, 4, 4)
N = 230  # batches of 50, 50, 50, 50, 30

pytestmark = pytest.mark.usefixtures("quick_digits")


class SmallNetwork(nn.Module):
    """One convolution at the edge and one linear map in the cloud."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv2d(1, 4, 8, stride=8), nn.Linear(64, 10)

    def layers(self):
        return OrderedDict(conv=self.conv, flatten=nn.Flatten(), fc=self.fc)


@pytest.fixture(scope="module")
def split():
    return SplitNetwork(SmallNetwork(), "conv")


@pytest.fixture
def mapped(monkeypatch):
    """Whatever is larger than nothing goes to a file."""
    monkeypatch.setattr("shredder.inputs.activations._BYTES_IN_MEMORY", 0)


def note_after(monkeypatch, batches):
    monkeypatch.setattr("shredder.inputs.activations._BATCHES_BETWEEN_NOTES", batches)


def digits(n):
    return lenet.digits("mnist-5k", Path("data"), {"train": n})["train"]


def some_images(n=N, bad=(), interrupted_at=None, first=0):
    """Digits from the row `first` on; those in `bad` cannot be decoded, and at one of them somebody presses Ctrl-C."""
    whole = digits(first + n)

    def make(rows):
        if interrupted_at in rows:
            raise KeyboardInterrupt
        made = whole.make([first + row for row in rows])
        return [None if row in bad else image for row, image in zip(rows, made, strict=True)] if bad else made

    return Images(whole.labels[first:], [f"digit {row}" for row in range(n)], make, whole.shape)


def cached(split, images, path, key="a", skip_corrupt=False):
    return cached_activations(split, images, SHAPE, path / "activations.f32", key, skip_corrupt)


def direct(split, images):
    """Without any cache, and the labels, of the images that can be decoded."""
    made = images.make(list(range(len(images))))
    rows = [row for row, image in enumerate(made) if image is not None]
    return split.activations(torch.stack([made[row] for row in rows])), images.labels[rows]


def assert_same_bits(found, expected):
    assert all(map(torch.equal, found, expected))


def test_what_alexnet_sends(tmp_path):
    """In memory, where it fits: no file is written."""
    images = dataclasses.replace(alexnet.digits("mnist-5k", Path("data"), {"train": 12})["train"], batch_size=8)
    split, path = SplitNetwork(pretrained_alexnet("digits"), "pool5"), tmp_path / "activations.f32"
    activations, labels = cached_activations(split, images, (256, 6, 6), path, "", skip_corrupt=False)
    assert activations.shape == (12, 256, 6, 6) and activations.dtype == torch.float32 and not activations.requires_grad
    # Convolutions may sum in another order for another batch size.
    torch.testing.assert_close(activations, split.activations(images.make(list(range(12)))), rtol=1e-4, atol=1e-4)
    assert torch.equal(labels, images.labels)
    assert not list(tmp_path.iterdir())


def test_edge_pass_from_a_row_on(split):
    """Row by row: the image, and what the edge sends for it."""
    images = some_images()
    rows, made, activations = (torch.cat(parts) for parts in zip(*edge_pass(split, images, 120), strict=True))
    assert rows.tolist() == list(range(120, N))
    torch.testing.assert_close(made, images.make(rows.tolist()), rtol=0, atol=0)
    torch.testing.assert_close(activations, split.activations(made))


def test_a_mapped_file_holds_the_same_bits(split, tmp_path, monkeypatch):
    expected = cached(split, some_images(), tmp_path)
    assert not list(tmp_path.iterdir())
    torch.testing.assert_close(expected[0], direct(split, some_images())[0])
    monkeypatch.setattr("shredder.inputs.activations._BYTES_IN_MEMORY", 4 * N * 64 - 1)
    assert_same_bits(cached(split, some_images(), tmp_path), expected)
    assert (tmp_path / "activations.f32").read_bytes() == expected[0].numpy().tobytes()


def test_the_size_decides(split, tmp_path, monkeypatch):
    """Four bytes for each element: with as many in memory, no file is needed."""
    monkeypatch.setattr("shredder.inputs.activations._BYTES_IN_MEMORY", 4 * N * 64)
    cached(split, some_images(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("between_notes", "left"),
    [(1, [50, 30]), (2, [50, 50, 30]), (200, [50, 50, 50, 50, 30])],
)
def test_interrupted_and_continued(split, edge, mapped, tmp_path, monkeypatch, between_notes, left):
    """In the fourth batch. The edge runs on what was not noted, and no more; the bits are those of a pass without a break."""
    (tmp_path / "whole").mkdir()
    expected = cached(split, some_images(), tmp_path / "whole")
    note_after(monkeypatch, between_notes)
    with pytest.raises(KeyboardInterrupt):
        cached(split, some_images(interrupted_at=170), tmp_path)
    edge.clear()
    assert_same_bits(cached(split, some_images(), tmp_path), expected)
    assert edge == left


def test_interrupted_more_than_once(split, edge, mapped, tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    expected = cached(split, some_images(bad=[3, 60, 229]), tmp_path / "whole", skip_corrupt=True)
    edge.clear()
    note_after(monkeypatch, 1)
    for row in (60, 110, 170, 220):
        with pytest.raises(KeyboardInterrupt):
            cached(split, some_images(bad=[3, 60, 229], interrupted_at=row), tmp_path, skip_corrupt=True)
    assert_same_bits(cached(split, some_images(bad=[3, 60, 229]), tmp_path, skip_corrupt=True), expected)
    # Each image once, but for those that cannot be decoded.
    assert edge == [49, 49, 50, 50, 29]


def test_a_finished_file_is_found_again(split, edge, mapped, tmp_path):
    expected = [tensor.clone() for tensor in cached(split, some_images(), tmp_path)]
    content = (tmp_path / "activations.f32").read_bytes()
    edge.clear()
    assert_same_bits(cached(split, some_images(), tmp_path), expected)
    assert edge == [] and (tmp_path / "activations.f32").read_bytes() == content


def test_a_file_of_another_key_is_written_anew(split, edge, mapped, tmp_path, capsys):
    """Keys tell apart what the files' names do not: here, other images."""
    cached(split, some_images(), tmp_path, "a")
    edge.clear()
    found = cached(split, some_images(first=40), tmp_path, "b")
    assert sum(edge) == N
    torch.testing.assert_close(found, direct(split, some_images(first=40)))
    assert capsys.readouterr() == ("", "")  # which is no damage
    edge.clear()
    assert_same_bits(cached(split, some_images(first=40), tmp_path, "b"), found)
    assert edge == []


def test_a_finished_note_fits_its_rows(split, mapped, tmp_path):
    """From its definition: the key, how many rows are whole, and their SHA-256; and a digest of the note's own."""
    cached(split, some_images(bad=BAD), tmp_path, key="of this", skip_corrupt=True)
    found = kept.read(tmp_path / "activations.kept")
    assert note_of(tmp_path / "activations.f32") == tmp_path / "activations.kept" and found.key == "of this"
    rows = (tmp_path / "activations.f32").read_bytes()[: 4 * 64 * (N - len(BAD))]
    expected = {"kept": N - len(BAD), "unreadable": BAD, "sha256": hashlib.sha256(rows).hexdigest()}
    assert json.loads(found.content) == expected
    first, _, rest = (tmp_path / "activations.kept").read_bytes().partition(b"\n")
    assert first.endswith(hashlib.sha256(rest).hexdigest().encode())


def altered(**changes):
    """The note with another content, but with the digest that it had."""

    def of(note):
        first, key, content = note.split(b"\n", 2)
        return b"\n".join([first, key, json.dumps(json.loads(content) | changes).encode()])

    return of


def flipped(place):
    return lambda note: note[:place] + bytes([note[place] ^ 1]) + note[place + 1 :]


DAMAGED = [b"", b"{", b"[]", b"null", b'{"kept": 230}', b"\xff\xfe", b"[" * 100_000, b'"sha256"']
DAMAGED += [altered(kept=kept) for kept in (-1, 0, 180, 231, 2**70, "9", None, [230], True, float("nan"), 230.0)]
DAMAGED += [altered(unreadable=rows) for rows in ([3], ["3"], [10**9], [-1], 3, None, {}, [[]])]
DAMAGED += [altered(sha256=seal) for seal in (None, 0, "", "a" * 64)]
# In its mark, its digest, its key, what it says; without its end, and with more.
DAMAGED += [flipped(place) for place in (0, 40, 104, -1)]
DAMAGED += [lambda note: note[:-1], lambda note: note + b" ", lambda note: note[: note.index(b"\n")]]


@pytest.mark.parametrize("note", [None, *DAMAGED])
def test_damaged_note(split, edge, mapped, tmp_path, capsys, note):
    """Nobody knows then what the file holds, so it is written anew."""
    expected = [tensor.clone() for tensor in cached(split, some_images(), tmp_path)]
    if note is None:
        (tmp_path / "activations.kept").unlink()
    else:
        whole = (tmp_path / "activations.kept").read_bytes()
        (tmp_path / "activations.kept").write_bytes(note(whole) if callable(note) else note)
    edge.clear()
    capsys.readouterr()
    assert_same_bits(cached(split, some_images(), tmp_path), expected)
    assert sum(edge) == N
    assert json.loads(kept.read(tmp_path / "activations.kept").content)["kept"] == N
    said = capsys.readouterr()
    assert (f"{tmp_path / 'activations.kept'}: damaged, made anew\n" in said.out + said.err) == (note is not None)


ANEW = "does not fit what is kept beside it; all activations are computed anew\n"


def test_activations_are_removed_with_their_note(split, mapped, tmp_path):
    cached(split, some_images(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["activations.f32", "activations.kept"]
    for _ in range(2):  # also where there are none
        remove(tmp_path / "activations.f32")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", [0, 4 * 64 * 100 + 2, 4 * 64 * N - 1])
def test_a_flipped_bit_is_noticed(split, edge, mapped, tmp_path, capsys, place):
    """In what a finished pass has kept: found again with another bit, it would be learned from."""
    expected = [tensor.clone() for tensor in cached(split, some_images(), tmp_path)]
    with open(tmp_path / "activations.f32", "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 4]))
    edge.clear()
    assert_same_bits(cached(split, some_images(), tmp_path), expected)
    assert sum(edge) == N and ANEW in capsys.readouterr().err


@pytest.mark.parametrize(("row", "left"), [(99, N), (100, N - 100)])
def test_a_flipped_bit_in_an_unfinished_pass(split, edge, mapped, tmp_path, monkeypatch, row, left):
    """Where the note says that it is kept, not behind it."""
    (tmp_path / "whole").mkdir()
    expected = cached(split, some_images(), tmp_path / "whole")
    note_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        cached(split, some_images(interrupted_at=170), tmp_path)
    with open(tmp_path / "activations.f32", "r+b") as file:
        file.seek(4 * 64 * row)
        file.write(b"flip")
    edge.clear()
    assert_same_bits(cached(split, some_images(), tmp_path), expected)
    assert sum(edge) == left


@pytest.mark.parametrize("name", ["activations.f32", "activations.kept"])
def test_a_fifo_is_not_waited_for(split, edge, mapped, tmp_path, name):
    """It ends the run in one line, before the edge runs."""
    cached(split, some_images(), tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    edge.clear()
    with pytest.raises((InputError, OSError), match="not a regular file") as error:
        cached(split, some_images(), tmp_path)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value) and edge == []


@pytest.mark.parametrize("left", [None, 0, 4 * 64 * 100])
def test_damaged_file(split, mapped, tmp_path, left):
    """A file that is missing, or shorter than its note says: what it lacks may not be taken for zeros."""
    expected = [tensor.clone() for tensor in cached(split, some_images(), tmp_path)]
    path = tmp_path / "activations.f32"
    if left is None:
        path.unlink()
    else:
        content = path.read_bytes()[:left]
        path.unlink()
        path.write_bytes(content)
    assert_same_bits(cached(split, some_images(), tmp_path), expected)


# In the first batch, a whole batch, and the last image.
BAD = [3, *range(50, 100), 229]


@pytest.mark.parametrize("bytes_in_memory", [0, 2**30])
def test_unreadable_images_are_left_out_with_their_labels(split, tmp_path, monkeypatch, capsys, bytes_in_memory):
    monkeypatch.setattr("shredder.inputs.activations._BYTES_IN_MEMORY", bytes_in_memory)
    activations, labels = cached(split, some_images(bad=BAD), tmp_path, skip_corrupt=True)
    expected_activations, expected_labels = direct(split, some_images(bad=BAD))
    torch.testing.assert_close(activations, expected_activations)
    assert torch.equal(labels, expected_labels) and len(labels) == N - len(BAD)
    assert "52 of 230 images cannot be decoded: digit 3, digit 50, digit 51" in capsys.readouterr().out


@pytest.mark.parametrize("bytes_in_memory", [0, 2**30])
def test_unreadable_images_end_the_pass(split, tmp_path, monkeypatch, bytes_in_memory):
    """Once all have been edge, so that one message names them all."""
    monkeypatch.setattr("shredder.inputs.activations._BYTES_IN_MEMORY", bytes_in_memory)
    with pytest.raises(InputError, match=r"2 of 230 images cannot be decoded: digit 7, digit 229\. .*--skip-corrupt"):
        cached(split, some_images(bad=[7, 229]), tmp_path)


def test_a_pass_that_unreadable_images_ended_is_not_repeated(split, edge, mapped, tmp_path):
    """The user asks to leave them out: hours of work are still there."""
    with pytest.raises(InputError):
        cached(split, some_images(bad=BAD), tmp_path)
    edge.clear()
    activations, labels = cached(split, some_images(bad=BAD), tmp_path, skip_corrupt=True)
    assert sum(edge) == 0
    torch.testing.assert_close(activations, direct(split, some_images(bad=BAD))[0])
    assert torch.equal(labels, direct(split, some_images(bad=BAD))[1])


def test_an_image_that_was_replaced_is_read(split, mapped, tmp_path):
    """As the message about unreadable images proposes."""
    with pytest.raises(InputError, match="Replace or remove them"):
        cached(split, some_images(bad=[7]), tmp_path)
    activations, labels = cached(split, some_images(), tmp_path)
    torch.testing.assert_close(activations, direct(split, some_images())[0])
    assert torch.equal(labels, some_images().labels)


@pytest.mark.parametrize("bytes_in_memory", [0, 2**30])
def test_a_second_pass_over_the_same_images(split, tmp_path, monkeypatch, bytes_in_memory):
    """What the first has found out about them does not shift the rows of the second."""
    monkeypatch.setattr("shredder.inputs.activations._BYTES_IN_MEMORY", bytes_in_memory)
    images = some_images(bad=BAD)
    expected = [tensor.clone() for tensor in cached(split, images, tmp_path, skip_corrupt=True)]
    assert_same_bits(cached(split, images, tmp_path, skip_corrupt=True), expected)
    assert images.unreadable == BAD


def test_a_disk_too_small_is_noticed_before_the_edge_runs(split, edge, mapped, tmp_path, monkeypatch):
    needed = 4 * N * 64
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed - 1))
    with pytest.raises(InputError, match=r"0\.00 GB are to be written, and the disk has 0\.00 GB left"):
        cached(split, some_images(), tmp_path)
    assert edge == [] and not list(tmp_path.iterdir())
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed))
    assert len(cached(split, some_images(), tmp_path)[0]) == N
