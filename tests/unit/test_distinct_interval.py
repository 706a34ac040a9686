"""The interval of distinct-n: its arithmetic, and whether it holds what other rows would give."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ftune.evaluate.metrics import distinct_n
from ftune.evaluate.scoreboard import compare
from ftune.types import Metric, Prediction


def scored(texts: list[str], order: int = 1) -> Metric:
    rows = [Prediction(number, "?", text) for number, text in enumerate(texts)]
    [found] = distinct_n.score(rows, distinct_n.Config(orders=(order,)))
    return found


def test_it_is_the_jackknife_of_the_figure_itself() -> None:
    draw = np.random.default_rng(5)
    texts = [" ".join(map(str, draw.integers(0, 30, draw.integers(0, 9)))) for _ in range(25)]
    for order in (1, 2):
        whole = scored(texts, order)
        less = [scored(texts[:i] + texts[i + 1 :], order).value for i in range(len(texts))]
        error = math.sqrt(24 / 25 * sum((one - sum(less) / 25) ** 2 for one in less))
        wanted = (whole.value - 1.96 * error, min(100.0, whole.value + 1.96 * error))
        assert whole.interval == pytest.approx(wanted)


def test_it_holds_the_mean_of_other_rows() -> None:
    """Of answers drawn by a law like that of words, at least 93 in 100 intervals."""
    draw = np.random.default_rng(1)
    found = []
    for _ in range(400):
        words = draw.zipf(1.5, (40, 6)).clip(max=5000)
        found.append(scored([" ".join(map(str, row)) for row in words]))
    mean = sum(one.value for one in found) / len(found)
    spread = math.sqrt(sum((one.value - mean) ** 2 for one in found) / len(found))
    widths = [(one.interval[1] - one.interval[0]) / 2 / 1.96 for one in found if one.interval]
    inside = [one.interval[0] <= mean <= one.interval[1] for one in found if one.interval]
    assert len(inside) == len(found)
    assert sum(inside) / len(inside) >= 0.93
    assert 0.95 <= sum(widths) / len(widths) / spread <= 1.5


def test_where_there_is_none() -> None:
    assert scored(["a b"] * 9).interval is None
    assert scored(["a b"] * 50).interval is None  # all alike
    assert scored([""] * 20).interval is None
    assert scored(["a b", *[""] * 20]).interval is None
    one = scored([f"a {number % 20}" for number in range(30)])
    [line] = compare([], [one], 1000)
    assert line.after_interval == one.interval is not None
    assert line.p is None
    assert compare([], [one], 0)[0].after_interval is None
