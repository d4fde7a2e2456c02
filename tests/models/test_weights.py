"""Weights are compared with their checksums: a damaged file is refused by name, whatever kind of file it is."""

import json
import shutil

import pytest
import torch

from models.lenet import WEIGHTS, pretrained_lenet
from models.weights import WeightsError, load_weights


def lenet_file(folder):
    """A copy of shipped weights with the record beside it."""
    for end in (".safetensors", ".json"):
        shutil.copy(WEIGHTS[2].with_suffix(end), folder)
    return folder / WEIGHTS[2].name


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_every_shipped_record_lists_its_weights():
    for record in WEIGHTS[2].parent.glob("*.json"):
        listed = json.loads(record.read_text())["files"]
        assert record.with_suffix(".safetensors").name in listed, record


def test_one_bit_of_shipped_weights(tmp_path):
    path = lenet_file(tmp_path)
    pretrained_lenet(2, path)
    flip(path, -5)  # of a number, which the file's layout does not show
    with pytest.raises(WeightsError, match=rf"^{path}: not the file that lenet-digit-gt5\.json lists"):
        pretrained_lenet(2, path)
    path.with_suffix(".json").unlink()
    pretrained_lenet(2, path)  # nothing says what it should hold


def test_one_bit_of_an_archive(tmp_path):
    """torch.save writes a checksum of each tensor, and torch.load does not look at it."""
    network, path = torch.nn.Linear(40, 30), tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    load_weights(torch.nn.Linear(40, 30), path)
    place = path.read_bytes().index(network.weight.detach().numpy().tobytes())
    flip(path, place + 100)
    torch.load(path, weights_only=True)
    with pytest.raises(WeightsError, match=rf"^{path}: damaged, for the checksum of "):
        load_weights(network, path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_name_without_end(tmp_path, zipped):
    """Both layouts of torch.save are pickles; of a long name torch's time grows with its square."""
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    if zipped:
        import zipfile

        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, entry in entries.items():
                longer = entry.replace(b"ctorch._utils\n", b"ctorch._utils" + b"x" * 5000 + b"\n")
                archive.writestr(name, longer if name.endswith(".pkl") else entry)
    else:
        path.write_bytes(content.replace(b"ctorch._utils\n", b"ctorch._utils" + b"x" * 5000 + b"\n"))
    with pytest.raises(WeightsError, match=rf"^{path}: found a name of 50\d\d characters"):
        load_weights(torch.nn.Linear(2, 1), path)
