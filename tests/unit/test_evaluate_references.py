from __future__ import annotations

import pytest

from ftune.errors import DataError
from ftune.evaluate.references import group_references, need_references, ragged
from ftune.types import Prediction, Prompt


def test_equal_prompts_become_one() -> None:
    prompts = [
        Prompt([1, 2], "a", ("x",), "s", 1),
        Prompt([3], "b", ("y", "z"), "s", 2),
        Prompt((1, 2), "a", ("w",), "s", 3),
        Prompt([1, 2], "a", ("x",), "t", 1),
        Prompt([2, 1], "a", (), "t", 2),
    ]
    found = group_references(prompts)
    assert found.members == ((0, 2, 3), (1,), (4,))
    assert [p.references for p in found.prompts] == [("x", "w", "x"), ("y", "z"), ()]
    assert [(p.source, p.row) for p in found.prompts] == [("s", 1), ("s", 2), ("t", 2)]
    assert group_references([]).prompts == ()


def test_rows_without_reference_are_counted() -> None:
    rows = [Prediction(n, "", "", ("r",) * (n % 2), "f.csv") for n in range(1, 6)]
    with pytest.raises(DataError, match=r"f.csv:2: bleu needs a reference, and 2 of 5 rows"):
        need_references(rows, "bleu")
    need_references(rows[::2], "bleu")


def test_ragged() -> None:
    rows = [Prediction(1, "", "", ("a", "b")), Prediction(2, "", "", ("c",))]
    assert ragged(rows) == [["a", "c"], ["b", None]]
