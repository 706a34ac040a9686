from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftune.errors import RunError
from ftune.evaluate import predictions
from ftune.types import Prediction

FULL = Prediction(3, "Q?\n", 'A "b"\u2028\x85 ü', ("r", ""), "t.csv", "stop", 5, 1.25, 4, 9)
BARE = Prediction(4, "p", "t")


def test_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "run" / "predictions.jsonl"
    assert predictions.write(path, iter([FULL, BARE])) == 2
    assert list(predictions.read(path)) == [FULL, BARE]
    lines = path.read_bytes().decode().split("\n")
    assert len(lines) == 3
    assert json.loads(lines[0]) == {
        "row": 3,
        "source": "t.csv",
        "prompt": "Q?\n",
        "prediction": FULL.text,
        "references": ["r", ""],
        "finish": "stop",
        "tokens": 5,
        "loss_sum": 1.25,
        "loss_count": 4,
        "loss_bytes": 9,
    }
    assert "ü" in lines[0]
    assert "loss_sum" not in json.loads(lines[1])


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.builds(Prediction, st.integers(), texts, texts, st.tuples(texts), texts))
def test_any_text_comes_back(one: Prediction) -> None:
    [line] = predictions.line(one).split("\n")
    assert predictions._parse(line, "x") == one


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    predictions.write(path, [BARE])

    def broken() -> Iterator[Prediction]:
        yield FULL
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        predictions.write(path, broken())
    assert list(predictions.read(path)) == [BARE]
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.jsonl"]


@pytest.mark.parametrize("line", ["", "{", "[]", '{"row": 1}', '{"rows": 1}', '"text"', "null"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text(predictions.line(FULL) + "\n" + line + "\n")
    with pytest.raises(RunError, match=r"predictions.jsonl:2: is not a prediction"):
        list(predictions.read(path))


def test_a_missing_or_foreign_file(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="can't be read"):
        list(predictions.read(tmp_path / "none.jsonl"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe{}")
    with pytest.raises(RunError, match="can't be read"):
        list(predictions.read(tmp_path / "bytes"))
