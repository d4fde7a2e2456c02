"""What is made once and kept: found again under its key, or made anew."""

import os

import pytest

from shredder.io import kept

FOUND = {"accuracy": 0.1 + 0.2, "rows": [{"name": "a", "value": None}, {"name": "b", "value": 3}], "nats": -1e-9}
KEY = '{"flags": {"seed": 0}}'


def never():
    pytest.fail("made again")


def test_once(tmp_path, capsys):
    path = tmp_path / "folder" / "entry.kept"
    assert kept.once(path, KEY, lambda: FOUND) == FOUND == kept.once(path, KEY, never)
    # Of another key it is not found, and what is made then takes its place.
    assert kept.once(path, "another", lambda: [1]) == [1] == kept.once(path, "another", never)
    assert kept.once(path, KEY, lambda: FOUND) == FOUND
    assert [other.name for other in path.parent.iterdir()] == ["entry.kept"]
    assert capsys.readouterr().out == ""


def test_what_is_made_is_returned_as_it_will_be_read(tmp_path):
    """The first time and any other: a tuple is a list, a number among names is text."""
    first, second = (kept.once(tmp_path / "entry.kept", KEY, lambda: {3: (1, 2.0)}) for _ in range(2))
    assert first == second == {"3": [1, 2.0]}


def test_nothing_is_kept_of_what_fails(tmp_path):
    with pytest.raises(ZeroDivisionError):
        kept.once(tmp_path / "entry.kept", KEY, lambda: 1 / 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"\n", b"\x00\xff\n\n{", bytes(range(256)) * 100])
@pytest.mark.parametrize("key", [KEY, "", "two\nlines", "Ω \udce9"])
def test_any_bytes_under_any_key(tmp_path, content, key):
    path = tmp_path / "entry"
    assert kept.found(path, key) is None
    kept.write(path, key, content)
    assert kept.read(path) == (key, content) and kept.found(path, key) == content
    assert kept.found(path, key + " ") is None


def test_whatever_has_been_kept_is_read_or_made_anew(tmp_path, capsys):
    """Every byte changed in turn, cut at every length, and other content; never a traceback, never other values."""
    path = tmp_path / "entry.kept"
    kept.once(path, KEY, lambda: FOUND)
    content = path.read_bytes()
    flips = [(i, 1 << (0, 3, 7)[i % 3]) for i in range(len(content))]
    damaged = [content[:i] + bytes([content[i] ^ bit]) + content[i + 1 :] for i, bit in flips]
    damaged += [content[:n] for n in range(0, len(content), 9)]
    damaged += [b"[]", b"3", b'{"sha256": 3, "found": 4}', b"[" * 10**5, content + b" ", b"\n" + content]
    for some in damaged:
        path.write_bytes(some)
        anew = []
        assert kept.read(path) is None
        assert kept.once(path, KEY, lambda anew=anew: anew.append(1) or FOUND) == FOUND
        assert anew == [1] and path.read_bytes() == content
    assert capsys.readouterr().out.splitlines() == [f"{path}: damaged, made anew"] * len(damaged)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "entry.kept")
    (tmp_path / "folder.kept").mkdir()
    for name in ("entry.kept", "folder.kept"):
        with pytest.raises(OSError) as error:
            kept.once(tmp_path / name, KEY, never)
        assert error.value.filename == str(tmp_path / name)
