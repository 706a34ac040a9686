"""Expected calibration error against a plain computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftune.errors import DataError
from ftune.evaluate.calibration import error, of_choices
from ftune.evaluate.metrics import rank_calibration
from ftune.types import Prediction, Ranked


def expected_error(rows: list) -> float | None:
    found = of_choices(rows)
    return None if found is None else error(found)


def row(likelihoods: list[float], right: bool) -> dict:
    return {"filtered_resps": [(each, False) for each in likelihoods], "acc": float(right)}


@given(
    st.lists(
        st.tuples(st.lists(st.floats(-30, 0), min_size=2, max_size=5), st.booleans()),
        min_size=1,
        max_size=50,
    )
)
def test_against_numpy(drawn):
    found = expected_error([row(*each) for each in drawn])
    shares = [np.exp(np.array(x) - max(x)) for x, _ in drawn]
    confidence = np.array([s.max() / s.sum() for s in shares])
    right = np.array([float(r) for _, r in drawn])
    wanted = 0.0
    for number in range(10):
        inside = (confidence > number / 10) & (confidence <= (number + 1) / 10)
        if inside.any():
            gap = abs(confidence[inside].mean() - right[inside].mean())
            wanted += inside.mean() * gap
    edges = np.abs(confidence * 10 - np.round(confidence * 10)) < 1e-9
    if not edges.any():
        assert found == pytest.approx(wanted, abs=1e-12)


def test_sure_and_wrong_is_one_and_sure_and_right_is_nought():
    assert expected_error([row([0.0, -900.0], False)] * 3) == pytest.approx(1)
    assert expected_error([row([0.0, -900.0], True)] * 3) == pytest.approx(0)
    half = math.log(0.5)
    assert expected_error([row([half, half], True), row([half, half], False)]) == pytest.approx(0)


def test_rows_without_choices_have_none():
    assert expected_error([{"filtered_resps": ["text"], "exact_match": 1.0}]) is None
    assert expected_error([]) is None


@pytest.mark.parametrize("end_mark", [False, True])
@pytest.mark.parametrize("normalize", ["none", "characters", "tokens"])
def test_ranked_answers_against_numpy(normalize, end_mark):
    draw = np.random.default_rng(3)
    texts, rows, pairs = ("no", "not at all", "yes"), [], []
    for number in range(200):
        ranked = [
            Ranked(t, *draw.uniform(0.1, 4, 1), len(t), *draw.uniform(0, 2, 1), 1) for t in texts
        ]
        right = texts[draw.integers(3)]
        rows.append(Prediction(number, "?", "", (right,), choices=texts, ranked=tuple(ranked)))
        losses = np.array([one.loss + one.end_loss * end_mark for one in ranked])
        if normalize != "none":
            more = int(end_mark and normalize == "tokens")
            losses = losses / np.array([len(text) + more for text in texts])
        shares = np.exp(-losses) / np.exp(-losses).sum()
        pairs.append((shares.max(), texts[int(losses.argmin())] == right))
    sure, right = np.array([p[0] for p in pairs]), np.array([float(p[1]) for p in pairs])
    wanted = 0.0
    for number in range(5):
        inside = (sure > number / 5) & (sure <= (number + 1) / 5)
        if inside.any():
            wanted += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    config = rank_calibration.Config(normalize=normalize, end_mark=end_mark, bins=5)
    [found] = rank_calibration.score(rows, config)
    assert found.value == pytest.approx(wanted, abs=1e-12)
    assert found.higher_is_better is False
    assert found.rows is not None


def test_a_row_without_choices_is_named():
    row = Prediction(3, "?", "", ("no",), "a.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl:3: rank_calibration needs the answers"):
        rank_calibration.score([row], rank_calibration.Config())
