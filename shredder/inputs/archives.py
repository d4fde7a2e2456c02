"""Data sets of many small files: read from a folder, or from the archive that they come in, which is never unpacked."""

import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from shredder.io.cli import InputError
from shredder.io.files import open_regular

# Bytes of one file at most: recordings of a second and letters have far fewer.
_BYTES = 2_000_000


def files_of(data_root: Path, folder: str, archives: Sequence[str], pattern: str, expected: str) -> dict[str, bytes]:
    """Contents of the files whose path below `data_root`/`folder`, or in an archive, ends in `pattern`, by that ending.

    Parameters
    ----------
    folder : str
        Where unpacked files lie, in `data_root`; it goes before the archives.
    archives : sequence of str
        Names of tar archives in `data_root`, compressed or not, of which the first that is there is read.
    pattern : str
        A regular expression for the end of a path, whose parts are joined by `/`.
    expected : str
        What there should be, for messages.

    Returns
    -------
    dict of str to bytes
        In the order of the names.

    Raises
    ------
    InputError
        If neither is there, or a file or the archive cannot be read, or a file has more than 2 MB.
    """
    ending, whole = re.compile(rf"(?:^|/)({pattern})$"), Path(data_root) / folder
    archive = next((path for path in (Path(data_root) / name for name in archives) if path.is_file()), None)
    if not whole.is_dir() and archive is None:
        names = " nor ".join([f"the folder {folder}", *archives])
        raise InputError(f"--data-root {data_root}: holds neither {names}; expected {expected}")
    found: dict[str, bytes] = {}
    try:
        for name, content in _of_folder(Path(data_root), whole) if whole.is_dir() else _of_archive(archive):
            if match := ending.search(name):
                found[match[1]] = content.read(_BYTES + 1)
                if len(found[match[1]]) > _BYTES:
                    raise InputError(f"{name}: found more than {_BYTES:,} bytes, expected {expected}")
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError, zlib.error) as error:
        where = whole if whole.is_dir() else archive
        reason = " ".join((str(error) or type(error).__name__).split())[:200]
        raise InputError(f"{where}: not readable ({reason}); expected {expected}") from error
    return dict(sorted(found.items()))


def _of_folder(root: Path, folder: Path) -> Iterator:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open_regular(path) as file:
                yield path.relative_to(root).as_posix(), file


def _of_archive(archive: Path) -> Iterator:
    with open_regular(archive) as file, tarfile.open(fileobj=file, mode="r:*") as members:
        for member in members:
            if member.isreg():  # links and devices are none of ours
                yield str(PurePosixPath(member.name)), members.extractfile(member)
        while members.fileobj.read(2**20):  # to its end, where its checksum is
            pass
