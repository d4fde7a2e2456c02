"""Arrays from disk: whatever a file holds, one line names it, nothing waits, and no memory is taken for what is not there."""

import os
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from shredder.io.cli import InputError
from shredder.io.files import npy, read_array, sha256

CASES = Path(__file__).parents[2] / "../shared/cases/npy-headers"
ARRAY = np.arange(36, dtype=np.float32).reshape(3, 12, 1, 1)
GOOD = npy(ARRAY)


def refused(path, reason=""):
    """The one line that names the file."""
    with pytest.raises(InputError) as error:
        read_array(path, "--additive")
    message = str(error.value)
    assert message.startswith(f"--additive {path}: not a readable .npy array of numbers (") and "\n" not in message
    assert re.search(reason, message), message


def with_header(header, version=1):
    """A file of version 1 or 2 with `header` instead of numpy's, before the array's bytes."""
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 * version, "little") + text + ARRAY.tobytes()


def of(shape="(3, 12, 1, 1)", descr="'<f4'"):
    return with_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")


@pytest.mark.parametrize("path", sorted(CASES.glob("*.npy")), ids=lambda path: path.stem)
def test_headers_that_once_ended_in_a_traceback(path):
    refused(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EOF: reading magic string"),
        (b"PK\x03\x04" + GOOD, "magic string is not correct"),
        (GOOD[:50], "EOF: reading array header"),
        (GOOD[:-1], r"the header says float32 \(3, 12, 1, 1\), 144 bytes, and 143 follow it"),
        (GOOD + b"\0", "144 bytes, and 145 follow it"),  # as where a row is gone from the header alone
        (of("(2, 12, 1, 1)"), "96 bytes, and 144 follow it"),
        (of("(10**20, 12)"), "Cannot parse header|malformed|shape is not valid"),
        (of(f"({10**20}, 12)"), f"{48 * 10**20} bytes, and 144 follow it"),
        (of(f"({2**62}, 4)"), f"{2**66} bytes, and 144 follow it"),  # 0 in 64 bits
        (of("(-3, -12)"), "the header says"),
        (of("(3, 12, True)"), "the header says"),
        (of("(0, -1)"), "the header says"),
        (of(descr="'<c8'", shape="(3, 6)"), "found complex64"),
        (of(descr="[('a', '<f4')]"), r"found \[\('a', '<f4'\)\]"),
        (of(descr="('<f4', (3,))"), "found"),
        (of(descr="'|O'"), "found object"),
        (of(descr="'<M8[s]'"), "found datetime64"),
        (with_header("(" * 5000), ""),
        (with_header("[" * 90 + "]" * 90), "Header is not a dictionary"),
        (with_header("{'descr': '<f4'" + " " * 9000 + "}"), "correct keys"),
        (b"\x93NUMPY\x03\x00" + GOOD[8:], r"format version \(3, 0\)"),
    ],
)
def test_damaged_headers(tmp_path, content, reason):
    (tmp_path / "a.npy").write_bytes(content)
    refused(tmp_path / "a.npy", reason)


@pytest.mark.parametrize("seed", range(4))
def test_bytes_changed_at_random(tmp_path, seed):
    """One or two bytes of the header: refused, or what was meant (a blank less), or another dtype, for callers to name."""
    rng, header, read = np.random.default_rng(seed), len(GOOD) - ARRAY.nbytes, 0
    for _ in range(300):
        content = bytearray(GOOD)
        for place in rng.integers(header, size=rng.integers(1, 3)):
            content[place] = rng.integers(256)
        (tmp_path / "a.npy").write_bytes(content)
        try:
            found = read_array(tmp_path / "a.npy")
        except InputError as error:
            assert str(tmp_path / "a.npy") in str(error) and "\n" not in str(error)
        else:
            read += 1
            assert found.dtype.kind in "biufU" and found.nbytes == ARRAY.nbytes
    assert read < 30


def test_memory_is_not_taken_for_what_a_header_says(tmp_path):
    """A sparse file of 2 GB, whose header, it says, has 4 GB."""
    with open(tmp_path / "a.npy", "wb") as file:
        file.write(b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little"))
        file.truncate(2**31)
    tracemalloc.start()
    refused(tmp_path / "a.npy", "EOF: reading array header")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize(
    "array",
    [
        ARRAY,
        np.asfortranarray(ARRAY.reshape(3, 12)),
        np.float64(2.5),
        np.array("saturated"),
        np.zeros((0, 4), np.float32),
        np.arange(6).astype(">i2"),
        np.array([True, False]),
    ],
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_sound_arrays_are_read_as_numpy_does(tmp_path, array, version):
    array = np.asarray(array)
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, array, version)
    found, expected = read_array(tmp_path / "a.npy"), np.load(tmp_path / "a.npy")
    assert found.dtype == expected.dtype and found.strides == expected.strides and np.array_equal(found, array)
    assert found.flags.writeable


def test_a_header_of_python_2(tmp_path):
    (tmp_path / "a.npy").write_bytes(of("(3L, 12L, 1L, 1L)"))
    assert np.array_equal(read_array(tmp_path / "a.npy"), ARRAY)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_only_regular_files(tmp_path):
    """Nobody writes to the FIFO: who opens it as a file waits for ever."""
    os.mkfifo(tmp_path / "a.npy")
    refused(tmp_path / "a.npy", "not a regular file")
    refused(Path("/dev/zero"), "not a regular file")
    refused(tmp_path, "Is a directory")
    with pytest.raises(OSError, match="not a regular file") as error:
        sha256(tmp_path / "a.npy")
    assert error.value.filename == str(tmp_path / "a.npy")
    (tmp_path / "link.npy").symlink_to(tmp_path / "b.npy")
    (tmp_path / "b.npy").write_bytes(GOOD)
    assert np.array_equal(read_array(tmp_path / "link.npy"), ARRAY)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"^--additive .*a\.npy: no such file, expected a \.npy array$"):
        read_array(tmp_path / "a.npy", "--additive")
