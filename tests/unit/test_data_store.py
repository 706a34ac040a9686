"""Tokens on disk: the same back, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftune.data import store
from ftune.data.store import TokenStore, TokenWriter
from ftune.errors import DataError
from ftune.types import Tokens

EXAMPLES = [
    Tokens([1, 2, 3], [False, True, True], 1, 0),
    Tokens([7], [False], 0, 5),
    Tokens(list(range(100)), [i % 3 == 0 for i in range(100)], 0, 2),
    Tokens([2**31 - 1, 0], [False, True], 1, 0),
]


def write(path: Path, repeats: int = 1) -> None:
    with TokenWriter(path) as writer:
        for number in range(repeats):
            for index, one in enumerate(EXAMPLES):
                writer.add(one, index % 2, number * 10 + index)


@pytest.mark.parametrize("batch_rows", [1, 3, 4096])
def test_what_is_written_is_read(
    tmp_path: Path, batch_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BATCH_ROWS", batch_rows)
    path = tmp_path / "x.arrow"
    write(path, 3)
    found = TokenStore(path)
    assert len(found) == 12
    for i in range(12):
        want = EXAMPLES[i % 4]
        ids, trained = found[i]
        assert ids.dtype == np.int32 and trained.dtype == np.bool_
        assert ids.tolist() == list(want.ids)
        assert trained.tolist() == list(want.trained)
    assert found.lengths.dtype == np.int64
    assert found.lengths.tolist() == [3, 1, 100, 2] * 3
    assert found.trained_counts.tolist() == [2, 0, 34, 1] * 3
    assert found.sources.tolist() == [0, 1, 0, 1] * 3
    assert found.rows.tolist() == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    assert found.truncated.tolist() == [0, 5, 2, 0] * 3
    for index in (-1, 12):
        with pytest.raises(IndexError):
            found[index]


def test_ids_are_views_of_the_file(tmp_path: Path) -> None:
    write(tmp_path / "x.arrow")
    ids, _ = TokenStore(tmp_path / "x.arrow")[2]
    assert not ids.flags.owndata
    assert not ids.flags.writeable


def test_no_example_is_a_file_too(tmp_path: Path) -> None:
    with TokenWriter(tmp_path / "x.arrow"):
        pass
    found = TokenStore(tmp_path / "x.arrow")
    assert len(found) == 0
    assert found.lengths.shape == (0,)


def test_the_file_equals_itself_byte_for_byte(tmp_path: Path) -> None:
    write(tmp_path / "a.arrow", 5)
    write(tmp_path / "b.arrow", 5)
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b.arrow").read_bytes()


def test_nothing_is_left_of_a_block_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    write(path)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), TokenWriter(path) as writer:
        writer.add(EXAMPLES[0], 0, 1)
        raise ZeroDivisionError
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.arrow"]


def test_damaged_files_are_errors(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "x.arrow"
    write(path, 50)
    raw = path.read_bytes()
    for cut in (0, 5, 100, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:cut])
        with pytest.raises(DataError, match=r"x\.arrow: can't be read as tokens"):
            TokenStore(path)
    with pytest.raises(DataError, match="can't be read as tokens"):
        TokenStore(tmp_path / "missing.arrow")
    table = pa.table({"a": [1]})
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match="something else"):
        TokenStore(path)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    from ftune.errors import RunError

    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    writer = TokenWriter(tmp_path / "x.arrow")
    with pytest.raises(RunError, match="No space left"), writer:
        writer._file.close()
        writer._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
        import pyarrow as pa

        writer._writer = pa.ipc.new_file(writer._file, store._schema(False))
        for _ in range(10):
            writer.add(EXAMPLES[2], 0, 1)
    assert list(tmp_path.iterdir()) == []
