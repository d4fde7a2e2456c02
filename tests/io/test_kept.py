"""What is made once and kept: found again, or made anew."""

import json

import pytest

from shredder.io.kept import kept

FOUND = {"accuracy": 0.1 + 0.2, "rows": [{"name": "a", "value": None}, {"name": "b", "value": 3}], "nats": -1e-9}


def never():
    pytest.fail("made again")


def test_once(tmp_path, capsys):
    path = tmp_path / "folder" / "entry.json"
    assert kept(path, lambda: FOUND, "of these arguments") == FOUND == kept(path, never, "of these arguments")
    assert kept(path, lambda: [1], "of others") == [1] == kept(path, never, "of others")
    assert capsys.readouterr().out == ""


def test_whatever_has_been_kept_is_read_or_made_anew(tmp_path, capsys):
    """Every byte changed in turn, cut at every length, and other JSON; never a traceback, never other values."""
    path = tmp_path / "entry.json"
    kept(path, lambda: FOUND, "of these arguments")
    content = path.read_bytes()
    flips = [(i, 1 << (0, 3, 7)[i % 3]) for i in range(len(content))]
    damaged = [content[:i] + bytes([content[i] ^ bit]) + content[i + 1 :] for i, bit in flips]
    damaged += [content[:n] for n in range(0, len(content), 9)]
    damaged += [b"[]", b"3", b'{"sha256": 3, "found": 4}', b"[" * 10**5, json.dumps(FOUND).encode()]
    n_anew = 0
    for some in damaged:
        path.write_bytes(some)
        anew = []
        assert kept(path, lambda anew=anew: anew.append(1) or FOUND, "of these arguments") == FOUND
        n_anew += len(anew)
    assert n_anew > 0.8 * len(damaged)  # the rest are blanks that say nothing
    assert f"{path}: damaged, made anew" in capsys.readouterr().out
