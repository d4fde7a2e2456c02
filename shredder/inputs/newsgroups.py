"""20 Newsgroups by date: letters of twenty groups, as counts of hashed words."""

import re
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shredder.inputs.archives import files_of
from shredder.io.cli import InputError

GROUPS = (
    "alt.atheism", "comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware",
    "comp.windows.x", "misc.forsale", "rec.autos", "rec.motorcycles", "rec.sport.baseball", "rec.sport.hockey", "sci.crypt",
    "sci.electronics", "sci.med", "sci.space", "soc.religion.christian", "talk.politics.guns", "talk.politics.mideast",
    "talk.politics.misc", "talk.religion.misc",
)  # fmt: skip
_LETTERS = {"train": 11_314, "test": 7_532}
# Words of a letter at least: of shorter ones several are the same.
_FEWEST = 5
_ARCHIVES = ("20news-bydate.tar.gz", "20news-bydate.tar.xz")
# Places that words are hashed to.
N_WORDS = 8192
_WORD = re.compile(r"[a-z][a-z']+[a-z]")
# Lines of a letter that are another's, or announce them.
_QUOTE = re.compile(
    r"^(?:[ \t]*(?:[>|:}]|[A-Za-z]{1,3}>)|In article).*|^.*\b(?:writes|wrote|says|said)[ \t]*:?[ \t]*$", re.I | re.M
)


def load_newsgroups(data_root: Path, part: str) -> tuple[Tensor, Tensor]:
    """Letters of one part, of five words or more, as the groups and the letters' numbers order them.

    Parameters
    ----------
    data_root : Path
        Folder that holds `20news-bydate-train/GROUP/NUMBER` and `20news-bydate-test/...`, or the archive of both,
        `20news-bydate.tar.gz` or `.tar.xz`.
    part : "train" or "test"

    Returns
    -------
    (Tensor, Tensor)
        How often each hashed word stands in a letter, uint8 (n, 8192), 255 at most, n < 11,314 or 7,532; places of the letters'
        groups in `GROUPS`, int64 (n,).

    Raises
    ------
    InputError
        If the letters are not there, or not as many.
    """
    what = f"the {_LETTERS[part]:,} letters of 20 Newsgroups by date, {part}"
    groups = "|".join(map(re.escape, GROUPS))
    names = rf"20news-bydate-{part}/(?:{groups})/\d+"
    found = files_of(data_root, f"20news-bydate-{part}", _ARCHIVES, names, what)
    if len(found) != _LETTERS[part]:
        raise InputError(f"--data-root {data_root}: found {len(found):,} letters, expected {what}")
    counts = torch.stack([hashed(body(content.decode("latin-1"))) for content in found.values()])
    groups = torch.tensor([GROUPS.index(name.split("/")[1]) for name in found])
    enough = counts.sum(1) >= _FEWEST
    return counts[enough], groups[enough]


def body(letter: str) -> str:
    """What its author wrote: without headers, which name the group or the sender's house, quotes and the signature."""
    _, _, text = letter.replace("\r\n", "\n").partition("\n\n")
    text, _, _ = text.partition("\n-- \n")
    return _QUOTE.sub("", text)


def hashed(text: str) -> Tensor:
    """How often words of each hash stand in a text, uint8 (8192,); a word has three letters or more, of either case."""
    places = np.fromiter(map(place, _WORD.findall(text.lower())), np.int64)
    return torch.from_numpy(np.bincount(places, minlength=N_WORDS).clip(max=255).astype(np.uint8))


@cache
def place(word: str) -> int:
    """Where a word is counted: its CRC-32, the same for every process and machine."""
    return zlib.crc32(word.encode()) % N_WORDS


def to_words_input(counts: Tensor) -> Tensor:
    """Counts, uint8 (n, 8192), as the network reads them: log(1 + count), each letter of length 1 (or 0, of none); float32."""
    return torch.nn.functional.normalize(counts.float().log1p(), dim=1)
