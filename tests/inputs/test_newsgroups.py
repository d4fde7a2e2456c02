"""Letters to newsgroups: what is read of one by hand, the real ones where they are, and every way in which they are not."""

import zlib

import pytest
import torch

from shredder.inputs.newsgroups import GROUPS, N_WORDS, body, hashed, load_newsgroups, to_words_input
from shredder.io.cli import InputError

LETTER = """From: someone@somewhere
Subject: engines
Newsgroups: rec.autos

In article <1@x>, another@there writes:
> What about the brakes?
: and the horn?

Engines are loud. The ENGINES' noise, don't you know?
-- 
someone, Somewhere Motors
"""


def test_a_body_is_what_its_author_wrote():
    assert body(LETTER).split() == ["Engines", "are", "loud.", "The", "ENGINES'", "noise,", "don't", "you", "know?"]
    assert body("no headers end here") == ""
    assert body("From: a\r\n\r\ntext").strip() == "text"


def test_words_are_counted_where_their_checksum_says():
    """CRC-32, the same for every process, unlike Python's own hash."""
    counts = hashed("Engines, engines and an engine's noise: don't!")
    expected = torch.zeros(N_WORDS, dtype=torch.uint8)
    for word, n in {"engines": 2, "and": 1, "engine's": 1, "noise": 1, "don't": 1}.items():
        expected[zlib.crc32(word.encode()) % N_WORDS] += n
    assert torch.equal(counts, expected)
    assert hashed("word " * 300).max() == 255 and hashed("").sum() == 0


def test_input_by_hand():
    counts = torch.zeros(2, N_WORDS, dtype=torch.uint8)
    counts[0, 3], counts[0, 5] = 1, 3
    found = to_words_input(counts)
    torch.testing.assert_close(found[0, [3, 5]], torch.tensor([1.0, 2.0]) / 5**0.5)  # log 2 and log 4
    assert found[0].norm() == pytest.approx(1) and found[1].norm() == 0


def test_letters_and_their_groups(small_newsgroups):
    for part, each in (("train", 4), ("test", 2)):
        counts, groups = load_newsgroups(small_newsgroups, part)
        assert counts.shape == (20 * each, N_WORDS) and groups.bincount().tolist() == [each] * 20
    assert counts[groups == GROUPS.index("rec.autos")][0, zlib.crc32(b"autos") % N_WORDS] == 2


def test_a_letter_is_missing(small_newsgroups):
    next((small_newsgroups / "20news-bydate-test" / "sci.med").iterdir()).unlink()
    with pytest.raises(InputError, match="found 39 letters, expected the 40 letters of 20 Newsgroups by date, test"):
        load_newsgroups(small_newsgroups, "test")


def test_short_letters_are_left_out(small_newsgroups):
    letter = next((small_newsgroups / "20news-bydate-test" / "sci.med").iterdir())
    letter.write_text("From: a\n\nfour words and more\n> which were quoted\n")
    assert len(load_newsgroups(small_newsgroups, "test")[0]) == 39


def test_none_is_there(tmp_path):
    with pytest.raises(InputError, match=r"holds neither the folder 20news-bydate-train nor 20news-bydate\.tar\.gz nor"):
        load_newsgroups(tmp_path, "train")


def test_the_real_ones(grounds_root):
    """As published: 7,532 test letters, most of 394 to 398 a group; headers gone, few are empty."""
    counts, groups = load_newsgroups(grounds_root, "test")
    assert 7400 < len(counts) < 7532 and groups.bincount().max() <= 399 and groups.bincount().min() <= 251
    assert counts.sum(1).min() == 5
