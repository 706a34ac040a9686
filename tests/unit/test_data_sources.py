"""Reading rows: every shape of file, and every fault of a file by its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftune.data.lines import LONGEST, lines
from ftune.data.sources import identity, read_rows
from ftune.errors import DataError
from ftune.types import Row

GOOD = {"a": "one"}


def source(path: str, **keys: Any) -> Any:
    given = {"split": "train", "subset": None, "revision": None, "max_rows": None}
    return SimpleNamespace(path=path, **(given | keys))


def read(folder: Path, name: str, raw: bytes | str, **keys: Any) -> list[Row]:
    raw = raw.encode() if isinstance(raw, str) else raw
    (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return list(read_rows(source(name, **keys), folder))


def values(rows: list[Row]) -> list[Any]:
    assert [r.problem for r in rows] == [None] * len(rows)
    return [dict(r.value) for r in rows]


def second(rows: list[Row]) -> str:
    """The problem of the second of three rows, the others being good."""
    assert [r.problem is None for r in rows] == [True, False, True]
    assert rows[1].value == {}
    return rows[1].problem or ""


# The fourteen faults of JSON lines, one test each (type changes: tests/contract/test_formats.py).


def test_a_byte_order_mark_is_no_part_of_the_row(tmp_path: Path) -> None:
    assert values(read(tmp_path, "x.jsonl", b'\xef\xbb\xbf{"a": "one"}\n')) == [GOOD]


def test_windows_line_ends(tmp_path: Path) -> None:
    assert values(read(tmp_path, "x.jsonl", '{"a": "one"}\r\n{"a": "one"}\r\n')) == [GOOD, GOOD]


def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path: Path) -> None:
    rows = read(tmp_path, "x.jsonl", '\n{"a": "one"}\n  \n\n{"a": "one"}\n\n')
    assert [r.number for r in rows] == [2, 5]


FAULTS = [
    (b'{"a": "caf\xe9"}', "line 2, column 11: byte 0xe9 is not UTF-8"),
    (b'{"a": "x\x00y"}', "line 2, column 9: a NUL"),
    (b'{"a": "x\\u0000y"}', "line 2, column 9: a NUL"),
    (b'{"a": "x", "b": 1, "a": "y"}', "line 2, column 20: the key 'a' stands there twice"),
    (b'{"b": {"a": 1, "a": 2}}', "the key 'a' stands there twice"),
    (b'{"a": "x \\ud83d y"}', "line 2, column 10: an escape is half a surrogate pair"),
    (b"null", "line 2, column 1: is null and must be an object"),
    (b'  ["a"]', "line 2, column 3: is a list and must be an object"),
    (b'{"a": NaN}', "line 2, column 7: NaN is not JSON"),
    (b'{"a": -Infinity}', "line 2, column 7: -Infinity is not JSON"),
    (b'{"a": 1e999}', "line 2, column 7: 1e999 is too large"),
    (b'{"a": "one"', "line 2, column 12: is not JSON"),
    (b'{"a": "one"} {"a": 2}', "line 2, column 14: is not JSON (there is more"),
    (b"[" * 100_000, "line 2, column 1: is not JSON (it is nested too deep)"),
    (b'{"a": ' + b"9" * 5000 + b"}", "line 2, column 7: is not JSON (a number has more"),
]


@pytest.mark.parametrize(("raw", "said"), FAULTS, ids=[said[16:50] for _, said in FAULTS])
def test_a_bad_line_is_a_row_that_says_where_and_why(tmp_path: Path, raw: bytes, said: str) -> None:
    rows = read(tmp_path, "x.jsonl", b'{"a": "one"}\n' + raw + b'\n{"a": "one"}\n')
    assert said in second(rows)
    assert [r.number for r in rows] == [1, 2, 3]


def test_an_emoji_written_as_a_pair_of_escapes_is_fine(tmp_path: Path) -> None:
    assert values(read(tmp_path, "x.jsonl", r'{"a": "\ud83d\ude42"}')) == [{"a": "🙂"}]


def test_a_cut_tail_is_told_from_a_bad_line(tmp_path: Path) -> None:
    rows = read(tmp_path, "x.jsonl", '{"a": "one"}\n{"a": "on')
    assert rows[0].problem is None
    assert "cut off" in (rows[1].problem or "")
    assert "line 2" in (rows[1].problem or "")


def test_a_line_of_12_mb_is_skipped_over(tmp_path: Path) -> None:
    long = b'{"a": "' + b"x" * 12_000_000 + b'"}'
    rows = read(tmp_path, "x.jsonl", b'{"a": "one"}\n' + long + b'\n{"a": "one"}\n')
    assert "line 2 is longer than 10 MB" in second(rows)


def test_a_line_without_an_end_is_told_before_it_is_read(tmp_path: Path) -> None:
    """As in a small .gz of ten gigabytes: only who goes on to the next row reads the rest."""
    with (tmp_path / "long").open("wb+") as handle:
        handle.truncate(100 * LONGEST)
        handle.seek(0)
        first = next(lines(handle))
        assert "longer than 10 MB" in (first.problem or "")
        assert handle.tell() < 2 * LONGEST


def test_a_table_of_many_columns(tmp_path: Path) -> None:
    """Each name was once looked for among all others, which took minutes."""
    names = [f"column {i}" for i in range(100_000)]
    rows = read(tmp_path, "x.csv", ",".join(names) + "\n" + ",".join("1" * len(names)) + "\n")
    assert len(rows[0].value) == len(names)
    with pytest.raises(DataError, match="names 'column 7' twice"):
        read(tmp_path, "x.csv", ",".join([*names, "column 7"]) + "\n")
    keys = ", ".join(f'"{name}": 1' for name in [*names, "column 7"])
    assert "'column 7' stands there twice" in (
        read(tmp_path, "x.jsonl", f"{{{keys}}}")[0].problem or ""
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match=r"x\.jsonl: .*UTF-16; save it as UTF-8"):
        read(tmp_path, "x.jsonl", '{"a": "one"}\n'.encode(encoding))


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.tsv", "x.txt", "x.jsonl.gz"])
@pytest.mark.parametrize("raw", ["", "\n\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, name: str, raw: str) -> None:
    if name in {"x.csv", "x.tsv"} and raw:
        return  # there an empty line would be the header
    with pytest.raises(DataError, match="is empty"):
        read(tmp_path, name, raw)


# Other shapes.


def test_json_array_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftune.data import reading_json

    rows = [{"n": i, "t": "é\n" * (i % 7), "deep": [{"x": [1.5, None]}]} for i in range(300)]
    for piece in (1, 7, 64, 1 << 18):
        monkeypatch.setattr(reading_json, "PIECE", piece)
        for text in (json.dumps(rows), json.dumps(rows, indent=1, ensure_ascii=False)):
            assert values(read(tmp_path, "x.json", text)) == rows


def test_json_holds_one_object_or_several(tmp_path: Path) -> None:
    assert values(read(tmp_path, "x.json", '{\n "a": "one"\n}\n')) == [GOOD]
    assert values(read(tmp_path, "x.json", '{"a": "one"}\n{"a": "one"}')) == [GOOD, GOOD]


def test_json_rows_that_are_wrong_are_told_by_line_and_column(tmp_path: Path) -> None:
    rows = read(tmp_path, "x.json", '[\n {"a": "one"},\n {"a": NaN},\n {"a": "one"}]')
    assert second(rows) == "line 3, column 8: NaN is not JSON; write a number or null"
    assert [r.number for r in rows] == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"a": 1}, {"a": 2}', r"x\.json:1:20: the array is cut off"),
        ('[{"a": 1}\n {"a": 2}]', r"x\.json:2:2: a comma is missing"),
        ('[{"a": 1},]', "a comma before"),
        ('[{"a": 1}] 5', "more behind the array"),
        ('[{"a": 1},\n {"a" 2}]', r"x\.json:2:7: not JSON"),
        (b'[{"a": "\xff"}]', r"x\.json:1:9: byte 0xff is not UTF-8"),
    ],
)
def test_a_json_file_that_breaks_off_is_an_error(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, "x.json", text)


def test_csv_with_quotes_and_line_breaks(tmp_path: Path) -> None:
    text = 'a,b\r\n"one, ""two""\nthree",x\r\n\r\n,\r\n'
    rows = read(tmp_path, "x.csv", text)
    assert values(rows) == [{"a": 'one, "two"\nthree', "b": "x"}, {"a": "", "b": ""}]
    assert [r.number for r in rows] == [2, 5]


def test_csv_rows_that_are_wrong(tmp_path: Path) -> None:
    assert "line 3: has 3 values, and the header 2" in second(
        read(tmp_path, "x.csv", "a,b\n1,2\n1,2,3\n1,2\n")
    )
    assert "line 3, column 3: byte 0xff" in second(
        read(tmp_path, "x.csv", b"a,b\n1,2\n1,\xff\n1,2\n")
    )
    with pytest.raises(DataError, match="names 'a' twice"):
        read(tmp_path, "x.csv", "a,a\n1,2\n")
    rows = read(tmp_path, "x.csv", 'a,b\n1,"never closed\n1,2\n')
    assert "is not CSV" in (rows[0].problem or "")


def test_tsv_has_no_quotes(tmp_path: Path) -> None:
    assert values(read(tmp_path, "x.tsv", 'a\tb\n"one\ttwo"\n')) == [{"a": '"one', "b": 'two"'}]


def test_txt_has_a_row_per_line(tmp_path: Path) -> None:
    rows = read(tmp_path, "x.txt", "one\n\n two \n")
    assert values(rows) == [{"text": "one"}, {"text": " two "}]
    assert [r.number for r in rows] == [1, 3]


@pytest.mark.parametrize("packed", [False, True])
def test_parquet(tmp_path: Path, packed: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    want = [{"a": f"é{i}", "turns": [{"role": "user", "n": i}]} for i in range(1000)]
    pq.write_table(pa.Table.from_pylist(want), tmp_path / "plain.parquet", row_group_size=300)
    raw = (tmp_path / "plain.parquet").read_bytes()
    rows = read(tmp_path, "x.parquet.gz" if packed else "x.parquet", raw)
    assert values(rows) == want
    assert rows[-1].number == 1000
    with pytest.raises(DataError, match="parquet file or damaged"):
        read(tmp_path, "y.parquet", raw[: len(raw) // 2])


def test_gzip(tmp_path: Path) -> None:
    lines = '{"a": "one"}\n' * 1000
    assert values(read(tmp_path, "x.jsonl.gz", lines)) == [GOOD] * 1000
    packed = gzip.compress(lines.encode())
    for raw in (lines.encode(), packed[:-20], packed[:30] + b"\x55\x55\x55" + packed[33:]):
        (tmp_path / "bad.jsonl.gz").write_bytes(raw)
        with pytest.raises(DataError, match="damaged or not gzipped"):
            list(read_rows(source("bad.jsonl.gz"), tmp_path))


def test_max_rows(tmp_path: Path) -> None:
    assert len(read(tmp_path, "x.jsonl", '{"a": "one"}\n' * 10, max_rows=3)) == 3


@pytest.mark.parametrize(
    ("path", "keys", "said"),
    [
        ("missing.jsonl", {}, "no such file"),
        ("data/missing.jsonl", {}, "no such file"),
        ("rows.docx", {}, r"must end in one of \.jsonl"),
        ("rows.jsonl", {"split": "test"}, "a file has no split"),
        ("rows.jsonl", {"subset": "main"}, "a file has no subset"),
        ("rows.jsonl", {"revision": "abc"}, "a file has no revision"),
        ("pipe.jsonl", {}, "not a regular file"),
        ("ro\0ws.jsonl", {}, "NUL"),
        ("ftune:../errors.py", {}, "leads out of"),
        ("ftune:nothing.jsonl", {}, "no such file"),
    ],
)
def test_a_source_that_is_not_there(
    tmp_path: Path, path: str, keys: dict[str, Any], said: str
) -> None:
    import os

    (tmp_path / "rows.docx").write_text("x")
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match=said):
        list(read_rows(source(path, **keys), tmp_path))


def test_identity(tmp_path: Path) -> None:
    import hashlib

    raw = b'{"a": 1}\n'
    (tmp_path / "x.jsonl").write_bytes(raw)
    want = {"path": "x.jsonl", "sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
    assert identity(source("x.jsonl"), tmp_path) == want


def hub_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"a": "one"}\n{"a": "two"}\n')
    (folder / "test.jsonl").write_text('{"a": "three"}\n')


def test_a_folder_of_a_hub_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    hub_folder(tmp_path / "set")
    rows = list(read_rows(source("set"), tmp_path))
    assert values(rows) == [{"a": "one"}, {"a": "two"}]
    assert [r.number for r in rows] == [1, 2]
    assert values(list(read_rows(source("set", split="test"), tmp_path))) == [{"a": "three"}]
    with pytest.raises(DataError, match="split 'validation'"):
        list(read_rows(source("set", split="validation"), tmp_path))
    before = identity(source("set"), tmp_path)
    (tmp_path / "set" / "test.jsonl").write_text('{"a": "four!"}\n')
    assert identity(source("set"), tmp_path)["sha256"] != before["sha256"]


def test_a_hub_id_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set"):
        identity(source("nobody/nothing"), tmp_path)
