"""The plan of batches: every row once, the same steps however they are split, nothing dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftune.data.batching import Plan, in_order
from ftune.data.collating import IGNORE, collate, targets
from ftune.data.packing import pack
from ftune.data.steps import Micro
from ftune.errors import DataError, RecipeError


def make(lengths, **options):
    lengths = np.array(lengths)
    return Plan(lengths, lengths // 2, **{"batch_size": 4, **options})


def rows_of(step):
    return [
        row
        for process in step.micros
        for micro in process
        if not micro.idle
        for line in micro.lines
        for row in line
    ]


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=90),
    batch=st.integers(1, 5),
    accumulation=st.integers(1, 3),
    processes=st.integers(1, 3),
    group=st.booleans(),
    kind=st.sampled_from(["rows", "tokens", "packed", "packed tokens"]),
    epoch=st.integers(0, 2),
)
def test_each_row_once_in_every_epoch(lengths, batch, accumulation, processes, group, kind, epoch):
    plan = make(
        lengths,
        batch_size=batch,
        accumulation=accumulation,
        processes=processes,
        group_by_length=group,
        tokens_per_batch=80 if "tokens" in kind else None,
        pack_length=50 if "packed" in kind else None,
    )
    steps = list(plan.epoch(epoch))
    seen = [row for step in steps for row in rows_of(step)]
    assert sorted(seen) == list(range(len(lengths)))
    assert plan.counts(epoch + 1.0)[epoch] == len(steps)
    for step in steps:
        assert len({len(process) for process in step.micros}) == 1
        assert len(step.micros) == processes
        assert len(step.micros[0]) <= accumulation
        rows = rows_of(step)
        assert step.rows == len(rows)
        assert step.tokens == sum(lengths[r] for r in rows)
        assert step.targets == sum(lengths[r] // 2 for r in rows)
        for micro in (m for process in step.micros for m in process):
            widths = [sum(lengths[r] for r in line) for line in micro.lines]
            if "packed" in kind:
                assert max(widths) <= 50
            if "tokens" in kind:
                assert max(widths) * len(widths) <= 80
            else:
                assert len(micro.lines) <= batch


@pytest.mark.parametrize("group_by_length", [True, False])
def test_however_a_step_is_split_or_packed_it_sees_the_same_rows(group_by_length):
    lengths = np.random.default_rng(0).integers(1, 64, 203)
    plans = [
        make(
            lengths,
            batch_size=batch,
            accumulation=accumulation,
            processes=processes,
            pack_length=pack_length,
            group_by_length=group_by_length,
        )
        for batch, accumulation, processes in [(8, 1, 1), (4, 2, 1), (1, 8, 1), (2, 2, 2)]
        for pack_length in (None, 64)
    ]
    assert len({plan.counts(2.5) for plan in plans}) == 1
    for steps in zip(*(plan.epoch(1) for plan in plans), strict=True):
        assert len({tuple(sorted(rows_of(step))) for step in steps}) == 1


def test_order_is_a_function_of_seed_and_epoch():
    lengths = np.random.default_rng(0).integers(1, 64, 100)
    first = [rows_of(s) for s in make(lengths).epoch(0)]
    assert first == [rows_of(s) for s in make(lengths).epoch(0)]
    assert first != [rows_of(s) for s in make(lengths).epoch(1)]
    assert first != [rows_of(s) for s in make(lengths, seed=1).epoch(0)]


def test_like_lengths_save_padding():
    lengths = np.random.default_rng(0).integers(1, 500, 2000)

    def padded(plan):
        return sum(
            max(lengths[list(line)].sum() for line in m.lines) * len(m.lines)
            for s in plan.epoch(0)
            for m in s.micros[0]
        )

    assert padded(make(lengths)) < 1.03 * lengths.sum()
    assert padded(make(lengths, group_by_length=False)) > 1.4 * lengths.sum()


def test_fractional_epochs_and_a_number_of_steps():
    plan = make([5] * 40)  # 10 steps
    assert plan.counts(1.0) == (10,)
    assert plan.counts(1.1) == (10, 1)
    assert plan.counts(2.55) == (10, 10, 6)
    assert plan.counts(0.01) == (1,)
    assert plan.counts(1.0, max_steps=23) == (10, 10, 3)
    assert plan.counts(9.0, max_steps=7) == (7,)
    assert make([5] * 41).counts(1.0) == (11,)


def test_a_row_longer_than_the_budget_is_refused():
    with pytest.raises(RecipeError, match=r"tokens_per_batch: 9 is less .* \(10 tokens\)"):
        make([3, 10], tokens_per_batch=9)
    with pytest.raises(RecipeError, match=r"data\.max_length"):
        make([3, 10], pack_length=9)
    with pytest.raises(DataError, match="no row"):
        make(np.array([], dtype=int))


def test_packing_fills_lines_and_takes_little_time_over_many_rows():
    lengths = np.random.default_rng(0).integers(1, 300, 20_000)
    lines = pack(np.arange(20_000), lengths, 512)
    assert sorted(r for line in lines for r in line) == list(range(20_000))
    assert max(lengths[list(line)].sum() for line in lines) <= 512
    assert len(lines) * 512 < 1.01 * lengths.sum()


def test_evaluation_batches_hold_every_row_longest_first():
    batches = in_order(np.array([3, 9, 1, 9, 5]), 2)
    assert [[line[0] for line in m.lines] for m in batches] == [[1, 3], [4, 0], [2]]


ROWS = [([5, 6, 7], [True, False, True]), ([8, 9], [False, True]), ([4], [True])]


def test_collate_pads_right_and_never_trains_a_first_token():
    batch = collate(Micro(((0,), (1,))), ROWS.__getitem__, pad_id=0, packed=False)
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch.labels.tolist() == [[IGNORE, IGNORE, 7], [IGNORE, 9, IGNORE]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert (batch.count, batch.examples, batch.rows) == (2, 2, (0, 1))
    assert targets(ROWS.__getitem__, 3).tolist() == [1, 1, 0]


def test_collate_packed_restarts_positions_at_examples_and_padding():
    batch = collate(Micro(((0, 1), (2,))), ROWS.__getitem__, pad_id=0, packed=True)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9], [4, 0, 0, 0, 0]]
    assert batch.labels.tolist() == [[IGNORE, IGNORE, 7, IGNORE, 9], [IGNORE] * 5]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1], [0, 0, 1, 2, 3]]
    assert batch.attention_mask is None
    assert (batch.count, batch.examples, batch.rows) == (2, 3, (0, 1, 2))


def test_an_idle_batch_trains_nothing():
    batch = collate(Micro(((0,),), idle=True), ROWS.__getitem__, pad_id=0, packed=False)
    assert batch.count == 0
    assert (batch.labels == IGNORE).all()
