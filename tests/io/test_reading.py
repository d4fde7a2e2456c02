"""What step 2 left, read without trust. Most of it is tested where it is used, in tests/sample/test_folder.py."""

import numpy as np

from shredder.io import reading


def test_parts_are_all_rows_of_a_map(tmp_path, monkeypatch):
    """In order, a few at a time; and they can be read again."""
    monkeypatch.setattr(reading, "_BYTES_AT_ONCE", 100)
    rows = np.arange(70, dtype=np.float32).reshape(10, 7)
    np.save(tmp_path / "rows.npy", rows)
    for array in (rows, reading.map_array(tmp_path / "rows.npy")):
        for _ in range(2):
            parts = list(map(np.array, reading.in_parts(array)))
            assert len(parts) == 3
            np.testing.assert_array_equal(np.concatenate(parts), rows)


def test_what_was_written_to_a_map_of_ones_own_stays(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((10, 7), np.float32))
    array = np.load(tmp_path / "rows.npy", mmap_mode="c")
    array[3] = 1
    assert sum(some.sum() for some in reading.in_parts(array)) == array.sum() == 7
