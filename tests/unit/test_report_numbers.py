"""Figures in words."""

from __future__ import annotations

import pytest

from ftune.report import numbers
from ftune.report.ledger import ledger_table


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (None, "–"), (0, "0"), (0.0, "0"), (12345, "12,345"), (1234.5, "1,234"), (123.45, "123.5"),
        (64.5, "64.50"), (0.73124, "0.7312"), (0.00012, "0.00012"), (-2.0, "-2.00"),
    ],
)  # fmt: skip
def test_value(figure: float | None, words: str) -> None:
    assert numbers.value(figure) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0s"), (9.96, "10.0s"), (59.4, "59s"), (59.6, "1m 00s"), (125, "2m 05s"),
     (3599.7, "1h 00m"), (11250, "3h 07m"), (187200, "2d 04h"), (None, "–")],
)  # fmt: skip
def test_duration(seconds: float | None, words: str) -> None:
    assert numbers.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (1.534e9, "1.53 GB")],
)  # fmt: skip
def test_size(count: float, words: str) -> None:
    assert numbers.size(count) == words


def test_a_key_says_what_its_figure_counts() -> None:
    figures = {
        "peak_memory_bytes": 9e8,
        "seconds": 61,
        "trainable_percent": 1.0,
        "quantized": False,
    }
    assert numbers.rows({**figures, "dtype": "float32", "gone": None, "list": [1]}) == [
        ("peak memory", "900 MB"),
        ("time", "1m 01s"),
        ("trainable share", "1.00%"),
        ("quantized", "no"),
        ("dtype", "float32"),
    ]


def test_the_ledger_has_a_line_per_source_and_its_totals() -> None:
    one = {"source": "a", "read": 5, "dropped": {"too long": 2}}
    other = {"source": "b", "read": 7, "dropped": {"empty": 1}}
    found = ledger_table({"ledger": {"train": [one], "eval": [other]}, "totals": {"read": 12}})
    assert found.heads == ("part", "source", "read", "dropped: too long", "dropped: empty")
    assert found.rows == (
        ("train", "a", "5", "2", "–"),
        ("eval", "b", "7", "–", "1"),
        ("", "total", "12", "–", "–"),
    )
    assert ledger_table({}).rows == ()
