"""Files of a folder and of an archive: the same ones, and every way in which either is none."""

import io
import tarfile

import pytest

from shredder.inputs.archives import files_of
from shredder.io.cli import InputError

CONTENT = {"set/a/1": b"one", "set/b/2": b"two", "set/read.me": b"no letter"}
ASK = "set", ("set.tar.xz", "set.tar.gz"), r"set/[ab]/\d", "two letters"


def archive(path, content):
    with tarfile.open(path, f"w:{path.suffix[1:]}") as file:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("set/a/3")  # followed, it would lead out of the archive
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)


@pytest.mark.parametrize("name", ["set.tar.xz", "set.tar.gz"])
def test_an_archive_holds_what_a_folder_holds(tmp_path, name):
    archive(tmp_path / name, CONTENT)
    packed = files_of(tmp_path, *ASK)
    for path, data in CONTENT.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    assert packed == files_of(tmp_path, *ASK) == {"set/a/1": b"one", "set/b/2": b"two"}


def test_neither_is_there(tmp_path):
    with pytest.raises(InputError, match=r"holds neither the folder set nor set.tar.xz nor set.tar.gz; expected two letters$"):
        files_of(tmp_path, *ASK)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_damaged_archive(tmp_path, share):
    archive(tmp_path / "whole.xz", {"set/a/1": bytes(range(256)) * 50})
    whole = (tmp_path / "whole.xz").read_bytes()
    (tmp_path / "set.tar.xz").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"set\.tar\.xz: not readable \(.+\); expected two letters$") as error:
        files_of(tmp_path, *ASK)
    assert "\n" not in str(error.value)


def test_a_file_of_another_size(tmp_path, monkeypatch):
    monkeypatch.setattr("shredder.inputs.archives._BYTES", 2)
    archive(tmp_path / "set.tar.xz", CONTENT)
    with pytest.raises(InputError, match="set/a/1: found more than 2 bytes, expected two letters"):
        files_of(tmp_path, *ASK)
