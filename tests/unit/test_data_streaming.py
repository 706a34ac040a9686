"""Streams: shares met after each row, the same from any place on, every row counted, shards."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from chat_families import tokenizer

from ftune.data.formats.prompt_completion import Config
from ftune.data.ledger import Ledger
from ftune.data.render import AT_ONCE, encoding
from ftune.data.rules import Rules
from ftune.data.shards import RECORD, Shards, write_record
from ftune.data.sources import identity, read_rows, rows_after
from ftune.data.store import TokenStore, TokenWriter
from ftune.data.streaming import How, Stream, plain, read_place
from ftune.data.templating import load_template
from ftune.errors import DataError, RunError
from ftune.recipe.base import Chosen
from ftune.recipe.source import Source

TEMPLATE = load_template("plain", tokenizer("bytes"))
ENCODE = encoding(TEMPLATE, Rules(64, on_too_long="drop"))
ROWS = [{"prompt": f"row {i}? ", "completion": "yes" + "!" * (i % 5)} for i in range(23)]


def source(path: str, **keys: Any) -> Source:
    return Source(path=path, format=Chosen("prompt_completion", Config()), **keys)


def how(folder: Path, **keys: Any) -> How:
    return How(folder, ENCODE, **{"on_bad_row": "skip", **keys})


def ledger(sources: list[Source]) -> Ledger:
    return Ledger([each.path for each in sources])


def lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(f"{json.dumps(r)}\n" for r in rows), encoding="utf-8")


def written(folder: Path, kind: str, rows: list[Any]) -> str:
    """The rows as a file, or a folder in a hub data set's layout, of this kind."""
    name = f"x.{kind}"
    if kind == "jsonl":
        (folder / name).write_text("\n" + "".join(f"{json.dumps(r)}\n\n" for r in rows))
    elif kind == "jsonl.gz":
        with gzip.open(folder / name, "wt") as file:
            file.writelines(f"{json.dumps(r)}\n" for r in rows)
    elif kind == "json":
        (folder / name).write_text(json.dumps(rows))
    elif kind == "csv":
        with (folder / name).open("w", newline="") as file:
            made = csv.DictWriter(file, ["prompt", "completion"])
            made.writeheader()
            made.writerows(rows)
    elif kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), folder / name, row_group_size=5)
    else:
        name = "hub"
        (folder / name).mkdir()
        lines(folder / name / "train.jsonl", rows)
    return name


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "csv", "parquet", "hub"])
def test_a_source_is_read_on_from_any_row(tmp_path: Path, kind: str) -> None:
    one = source(written(tmp_path, kind, ROWS), max_rows=20)
    rows = list(read_rows(one, tmp_path))
    assert len(rows) == 20
    for at in (0, 1, 4, 5, 19):
        after = rows[at].number
        assert list(rows_after(one, tmp_path, after, at + 1)) == rows[at + 1 :]
    assert list(rows_after(one, tmp_path, rows[19].number, 20)) == []


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    weights=st.lists(st.sampled_from([0.1, 1.0, 2.0, 7.0]), min_size=4, max_size=4),
    cut=st.integers(0, 120),
    by=st.sampled_from(["rows", "trained_tokens"]),
)
def test_shares_hold_after_each_row_and_any_place_goes_on_alike(
    tmp_path_factory: Any, sizes: list[int], weights: list[float], cut: int, by: str
) -> None:
    folder = tmp_path_factory.mktemp("stream")
    sources = []
    for i, size in enumerate(sizes):
        rows = [{"prompt": f"{i} {n}", "completion": "y" * (1 + n % 3)} for n in range(size)]
        lines(folder / f"{i}.jsonl", rows)
        sources.append(source(f"{i}.jsonl", weight=weights[i]))
    settings_ = how(folder, by=by)
    whole = Stream(sources, settings_)
    taken = list(whole.take(130, ledger(sources)))
    given_, total = [0.0] * len(sizes), sum(weights[: len(sizes)])
    for one, tokens in taken:
        given_[one.source] += sum(tokens.trained) if by == "trained_tokens" else 1
        largest = 4 if by == "trained_tokens" else 1  # of one row
        for amount, weight in zip(given_, weights, strict=False):
            assert abs(amount - sum(given_) * weight / total) <= largest * len(sizes)
    first = Stream(sources, settings_)
    head = list(first.take(cut, ledger(sources)))
    place = read_place(json.loads(json.dumps(plain(first.place))))
    rest = list(Stream(sources, settings_, place).take(130 - cut, ledger(sources)))
    assert [(a.source, a.row, list(t.ids)) for a, t in head + rest] == [
        (a.source, a.row, list(t.ids)) for a, t in taken
    ]
    for index, size in enumerate(sizes):  # in order, again and again, no row left out
        of_one = [one.row for one, _ in taken if one.source == index]
        assert of_one == [1 + n % size for n in range(len(of_one))]


def test_every_row_is_counted_once_where_it_is_come_to(tmp_path: Path) -> None:
    rows = [*ROWS[:3], {"prompt": "x"}, {"prompt": "x", "completion": "y" * 200}, *ROWS[3:6]]
    lines(tmp_path / "x.jsonl", rows)
    sources = [source("x.jsonl")]
    stream, counts = Stream(sources, how(tmp_path)), ledger(sources)
    list(stream.take(3, counts))
    assert (counts[0].read, counts[0].used, counts[0].bad) == (3, 3, 0)  # though more were formed
    list(stream.take(5, counts))
    counts.balance()
    assert (counts[0].read, counts[0].used, counts[0].bad) == (10, 8, 1)
    assert counts[0].dropped == {"too long": 1} and "x.jsonl:4:" in counts[0].bad_rows[0]
    assert stream.place[0].passes == 1 and stream.place[0].number == 2
    strict = Stream(sources, how(tmp_path, on_bad_row="error"))
    assert len(list(strict.take(3, ledger(sources)))) == 3
    with pytest.raises(DataError, match=r"x.jsonl:4: there is no column 'completion'"):
        list(strict.take(1, ledger(sources)))


@pytest.mark.parametrize("text", ['{"prompt": "x"}\n', ""])
def test_a_source_of_which_nothing_is_used_is_an_error_and_no_endless_search(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    sources = [source("x.jsonl")]
    with pytest.raises(DataError, match=r"x.jsonl: none of its rows is left"):
        list(Stream(sources, how(tmp_path)).take(1, ledger(sources)))


def test_max_rows_ends_a_pass(tmp_path: Path) -> None:
    lines(tmp_path / "x.jsonl", ROWS)
    sources = [source("x.jsonl", max_rows=4)]
    stream = Stream(sources, how(tmp_path))
    head = [one.row for one, _ in stream.take(3, ledger(sources))]
    again = Stream(sources, how(tmp_path), stream.place)
    assert head + [one.row for one, _ in again.take(4, ledger(sources))] == [1, 2, 3, 4, 1, 2, 3]


def test_a_streamed_file_is_known_by_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"a" * (1 << 20))
    one = source("x.jsonl")
    before = identity(one, tmp_path, streamed=True)
    with path.open("ab") as file:
        file.write(b"more")
    assert identity(one, tmp_path, streamed=True) == before != identity(one, tmp_path)
    path.write_bytes(b"b")
    assert identity(one, tmp_path, streamed=True) != before


def shards(folder: Path, sources: list[Source]) -> Shards:
    def between(number: int, done: int) -> None:
        pass

    return Shards(
        folder, folder / "more", 6, lambda at: Stream(sources, how(folder), at),
        lambda: ledger(sources), between, lambda _: None,
    )  # fmt: skip


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Path, list[Source]]:
    """Shard 0 of a stream of two sources."""
    lines(tmp_path / "x.jsonl", ROWS)
    lines(tmp_path / "y.jsonl", ROWS[::-1])
    sources = [source("x.jsonl", weight=2.0), source("y.jsonl")]
    stream, counts = Stream(sources, how(tmp_path)), ledger(sources)
    with TokenWriter(tmp_path / "train.arrow") as writer:
        for one, tokens in stream.take(6, counts):
            writer.add(tokens, one.source, one.row)
    write_record(tmp_path / RECORD, tmp_path / "train.arrow", stream, counts)
    return tmp_path, sources


def test_a_shard_that_is_gone_or_damaged_is_made_again_and_is_the_same(begun: Any) -> None:
    folder, sources = begun
    one = shards(folder, sources)
    for number in range(5):
        one.make(number)
    assert sorted(p.name for p in (folder / "more").glob("*.arrow")) == [
        "shard-000003.arrow", "shard-000004.arrow",
    ]  # fmt: skip
    kept = one.path(4).read_bytes()
    one.path(4).write_bytes(kept[:-9])
    again = shards(folder, sources)
    again.make(4)
    assert again.path(4).read_bytes() == kept
    again.make(2)
    assert list(TokenStore(again.path(2)).rows) == [9, 5, 10, 11, 6, 12]
    told = again.told(4)
    assert told["shards"] == 5 and [c["used"] for c in told["ledger"]] == [20, 10]
    assert len(ROWS) < AT_ONCE  # more was formed than was counted


def test_a_source_that_changed_is_told_and_not_trained(begun: Any) -> None:
    folder, sources = begun
    one = shards(folder, sources)
    one.make(2)
    one.path(2).unlink()
    changed = [*ROWS[:9], {**ROWS[9], "completion": "no"}, *ROWS[10:]]
    lines(folder / "x.jsonl", changed)
    with pytest.raises(RunError, match="a source has changed"):
        shards(folder, sources).make(2)
    assert not one.path(2).exists()
    lines(folder / "x.jsonl", ROWS)
    shards(folder, sources).make(2)


def test_what_breaks_off_leaves_no_part_and_does_not_skip_rows(begun: Any) -> None:
    folder, sources = begun
    one = shards(folder, sources)
    one.make(1)
    whole = one.path(1).read_bytes()
    one.path(1).unlink()
    stops = replace(one, between=lambda number, done: [None][done and 1])
    with pytest.raises(IndexError):
        stops.make(1)
    assert [p.name for p in (folder / "more").iterdir()] == ["shard-000001.json"]
    replace(stops, between=one.between).make(1)
    assert one.path(1).read_bytes() == whole
