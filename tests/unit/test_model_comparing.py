"""How far two sets of logits are apart."""

from __future__ import annotations

import math

import pytest
import torch

from ftune.model.comparing import HELD, compare, shortened


def test_largest_mean_and_greedy():
    one = [torch.tensor([[1.0, 2.0], [4.0, 3.0]]), torch.tensor([[0.0, -5.0]])]
    other = [torch.tensor([[1.0, 2.5], [2.0, 3.0]]), torch.tensor([[0.0, -5.0]])]
    found = compare(one, other)
    assert (found.largest, found.scale, found.positions) == (2.0, 5.0, 3)
    assert found.mean == pytest.approx(2.5 / 6)
    assert found.equal_greedy == pytest.approx(2 / 3)


def test_nan_is_not_hidden_by_a_later_row():
    one = [torch.tensor([[math.nan, 1.0]]), torch.tensor([[0.0, 1.0]])]
    found = compare(one, [torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])])
    assert math.isnan(found.largest)


def test_rows_are_cut_to_what_fits_into_memory():
    room = 40
    rows = [[1] * 30, [], [2] * 30, [3] * 30]
    assert [len(row) for row in shortened(rows, HELD // room)] == [30, 10]
    assert [len(row) for row in shortened(rows, 100)] == [30, 30, 30]
