"""Expected calibration error against a plain computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftune.evaluate.calibration import expected_error


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
