"""Mixtures: the rates against Raffel et al.'s formula, the draw, the counts, and bad input."""

from __future__ import annotations

from decimal import Decimal, getcontext
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_texts import GOOD, said

from ftune.data.batching import Plan
from ftune.data.drawing import draw, write
from ftune.data.ledger import Ledger
from ftune.data.mixing import draws, rates
from ftune.data.redrawing import Redraw, Told, amounts
from ftune.data.store import TokenStore, TokenWriter
from ftune.errors import DataError
from ftune.recipe.mixture import Mixture
from ftune.stages.mixing import labels_drawn
from ftune.types import Encoded, Task, Tokens

# Examples of GLUE's and SuperGLUE's tasks: between them a factor of 1,500.
SIZES = [392_702, 363_846, 104_743, 67_349, 8_551, 5_749, 3_668, 2_490, 635, 400, 250]
STOPS = ("first_exhausted", "all_exhausted")


@pytest.mark.parametrize("cap", [2**12, 2**16, 2**21])
def test_the_published_formula_in_other_arithmetic(cap: int) -> None:
    """r_m = min(e_m, K) / sum min(e_n, K); to the power 1/T and normalised again."""
    getcontext().prec = 50
    capped = [min(size, cap) for size in SIZES]
    exact = [Fraction(size, sum(capped)) for size in capped]
    found = rates(SIZES, "examples_proportional", cap=cap)
    assert found == pytest.approx([float(rate) for rate in exact], rel=1e-12)
    for temperature in (2, 4, 8):
        shares = [Decimal(r.numerator) / Decimal(r.denominator) for r in exact]
        roots = [share ** (1 / Decimal(temperature)) for share in shares]
        wanted = [float(root / sum(roots)) for root in roots]
        found = rates(SIZES, "temperature", float(temperature), cap)
        assert found == pytest.approx(wanted, rel=1e-12)


def test_known_shares() -> None:
    assert rates([900, 100], "temperature", 2.0) == pytest.approx((0.75, 0.25))
    assert rates([900, 100], "examples_proportional", cap=300) == pytest.approx((0.75, 0.25))
    assert rates([900, 100], "proportional") == pytest.approx((0.9, 0.1))
    assert rates([900, 100], "uniform") == pytest.approx((0.5, 0.5))
    assert rates([900, 100], "uniform", weights=[3.0, 1.0]) == pytest.approx((0.75, 0.25))


def test_the_ends_of_the_temperature() -> None:
    one = rates(SIZES, "temperature", 1.0, 4096)
    assert one == pytest.approx(rates(SIZES, "examples_proportional", cap=4096))
    assert rates(SIZES, "temperature", 1e6) == pytest.approx(rates(SIZES, "uniform"), rel=1e-4)
    assert sum(rates([2**40, 1], "temperature", 0.1)) == pytest.approx(1.0)


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(60, 300), min_size=2, max_size=6),
    by_tokens=st.booleans(),
    stop=st.sampled_from(STOPS),
    temperature=st.sampled_from([1.0, 2.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_the_mix_is_met(
    sizes: list[int], by_tokens: bool, stop: str, temperature: float, seed: int
) -> None:
    sources = np.repeat(np.arange(len(sizes)), sizes)
    # Answers of a word up to summaries, and of another length in each source.
    lengths = 2 + np.random.default_rng(seed).geometric(1 / (5 + 20 * sources))
    amounts = lengths if by_tokens else np.ones(len(sources), np.int64)
    have = np.bincount(sources, weights=amounts)
    wanted = rates(have.tolist(), "temperature", temperature)
    times = draws(sources, amounts, wanted, stop, seed)
    made = np.bincount(sources, weights=times * amounts)
    assert np.abs(made / made.sum() - wanted).max() < 0.01
    full = [times[sources == s] for s in range(len(sizes))]
    assert all(each.max() - each.min() <= 1 for each in full)
    if stop == "first_exhausted":
        assert times.max() == 1
        assert any(each.min() == 1 for each in full)
    else:
        assert times.min() == 1
        assert any(each.max() == 1 for each in full)
    assert (times == draws(sources, amounts, wanted, stop, seed)).all()


def test_another_seed_draws_other_rows() -> None:
    sources = np.repeat([0, 1], [50, 100])
    ones, wanted = np.ones(150, np.int64), (0.5, 0.5)
    first, other = (draws(sources, ones, wanted, STOPS[0], seed) for seed in (1, 2))
    assert first.sum() == other.sum() == 100
    assert (first[:50] == 1).all() and (first != other).any()


def test_as_large_as_they_are_is_every_row_once() -> None:
    sources = np.repeat([0, 1, 2], [7, 11, 13])
    amounts = np.arange(1, 32)
    for counted in (np.ones(31, np.int64), amounts):
        wanted = rates(np.bincount(sources, weights=counted).tolist(), "proportional")
        for stop in STOPS:
            assert (draws(sources, counted, wanted, stop, 0) == 1).all()


class Counted(SimpleNamespace):
    """What a draw looks at of a file of tokens."""

    def __len__(self) -> int:
        return len(self.sources)


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(20, 120), min_size=2, max_size=4),
    by=st.sampled_from(["rows", "trained_tokens"]),
    stop=st.sampled_from(STOPS),
    seed=st.integers(0, 99),
)
def test_each_epoch_meets_the_mix(sizes: list[int], by: str, stop: str, seed: int) -> None:
    sources = np.repeat(np.arange(len(sizes)), sizes)
    lengths = 2 + np.random.default_rng(seed).geometric(0.1, len(sources))
    store: Any = Counted(sources=sources, trained_counts=lengths)
    counted = amounts(store, by)
    wanted = rates(np.bincount(sources, weights=counted).tolist(), "uniform")
    made = Redraw(store, Told(wanted, by, stop, seed))
    assert (made.times(0) == draws(sources, counted, wanted, stop, seed)).all()
    epochs = [made.times(epoch) for epoch in range(4)]
    for times in epochs:
        share = np.bincount(sources, weights=times * counted)
        assert np.abs(share / share.sum() - wanted).max() < 0.03
        assert times.max() <= 1 or stop == "all_exhausted"
    # Asked for a late epoch at once, or for an earlier one again, it gives the same.
    assert (Redraw(store, Told(wanted, by, stop, seed)).times(3) == epochs[3]).all()
    assert (made.times(1) == epochs[1]).all()
    assert (made.rows(2) == np.repeat(np.arange(len(sources)), epochs[2])).all()
    if by == "rows":
        seen = sum(epochs)
        assert all(np.ptp(seen[sources == s]) <= 1 for s in range(len(sizes)))


def test_a_plan_of_drawn_rows(tmp_path: Path) -> None:
    """The same rows in the same steps, however many processes; another set in each epoch."""
    store = stored(tmp_path / "pool", [(0, 1 + i % 5) for i in range(40)] + [(1, 3)] * 10)
    told = Told((0.5, 0.5), "rows", "first_exhausted", 7)
    told.write(tmp_path)
    assert Told.read(tmp_path) == told

    def plan(size: int, processes: int) -> Plan:
        drawn = Redraw(store, told).rows
        counts = store.trained_counts
        return Plan(store.lengths, counts, size, processes=processes, seed=1, drawn=drawn)

    one, two = plan(4, 1), plan(2, 2)
    assert one.counts(3) == two.counts(3) == (5, 5, 5)
    sets = []
    for epoch in (2, 0, 1):
        rows = [
            [sorted(r for p in s.micros for m in p for line in m.lines for r in line) for s in e]
            for e in (one.epoch(epoch), two.epoch(epoch))
        ]
        assert rows[0] == rows[1]
        sets.append(sorted(row for step in rows[0] for row in step))
        assert sets[-1] == Redraw(store, told).rows(epoch).tolist()
        assert one.tokens(epoch) == sum(step.tokens for step in one.epoch(epoch))
    assert sets[0] != sets[1] != sets[2] != sets[0]


def test_labelled_rows_are_kept_whole(tmp_path: Path) -> None:
    with TokenWriter(tmp_path / "pool", labelled=True) as writer:
        for number in range(6):
            tags = [float(number % 3), -100.0]
            row = Encoded([number, 9], [True, False], 0, number, 0, tags, 1, [0, 1], [2])
            writer.add(row, number % 2, number)
    store = TokenStore(tmp_path / "pool")
    times = np.array([2, 1, 0, 0, 1, 0])
    [*_] = write(store, times, tmp_path / "train.arrow")
    made = TokenStore(tmp_path / "train.arrow")
    assert made.labelled and made.rows.tolist() == [0, 0, 1, 4]
    assert made.truncated.tolist() == [0, 0, 1, 4]
    assert made.encoded(3).targets == [1.0, -100.0] and list(made.encoded(3).kinds) == [0, 1]
    assert made.marked.tolist() == [1, 1, 1, 1]
    task = Task("token_classification", ("a", "b", "c"), (2, 2, 2))
    counted = labels_drawn(store, times, task, 2, several=False)
    assert counted.tolist() == [[2, 1, 0], [0, 1, 0]]


def stored(path: Path, rows: list[tuple[int, int]]) -> TokenStore:
    """Rows of (source, trained tokens), each with two tokens before them."""
    with TokenWriter(path) as writer:
        for number, (source, trained) in enumerate(rows, 1):
            mask = [False] * 2 + [True] * trained
            writer.add(Tokens([number] * len(mask), mask), source, number)
    return TokenStore(path)


def counted(store: TokenStore, sources: int = 2) -> Ledger:
    ledger = Ledger([f"{name}.jsonl" for name in "abc"[:sources]])
    for i in range(len(store)):
        ids, trained = store[i]
        ledger[int(store.sources[i])].read += 1
        ledger[int(store.sources[i])].use(Tokens(list(ids), list(map(bool, trained))))
    return ledger


def test_the_ledger_tells_what_is_written(tmp_path: Path) -> None:
    store = stored(tmp_path / "pool", [(0, 3)] * 40 + [(1, 5)] * 10)
    ledger = counted(store)
    mixture = Mixture(sampling="uniform", stop="all_exhausted")
    found = draw(store, mixture, [1.0, 1.0], ledger, 0)
    assert [*write(store, found.times, tmp_path / "train.arrow")][-1] == 80
    ledger.balance()
    made = TokenStore(tmp_path / "train.arrow")
    for source, counts in enumerate(ledger.sources):
        mine = made.sources == source
        assert counts.examples == mine.sum() == 40
        assert counts.tokens == made.lengths[mine].sum()
        assert counts.trained == made.trained_counts[mine].sum()
        assert counts.used == len(set(made.rows[mine].tolist()))
        assert counts.to_json()["rows_percent"] == 50.0
    assert ledger[0].shares["trained_percent"] == pytest.approx(100 * 3 / 8)
    assert found.warnings == ()
    tokens = {(int(r), *map(int, made[i][0])) for i, r in enumerate(made.rows)}
    assert tokens == {(int(r), *map(int, store[i][0])) for i, r in enumerate(store.rows)}


def test_rows_that_are_left_are_not_drawn(tmp_path: Path) -> None:
    store = stored(tmp_path / "pool", [(0, 3)] * 40 + [(1, 5)] * 10)
    ledger = counted(store)
    draw(store, Mixture(sampling="uniform"), [3.0, 1.0], ledger, 0)
    assert (ledger[0].used, ledger[0].not_drawn, ledger[1].used) == (30, 10, 10)
    ledger.balance()


def test_what_can_not_be_met_is_told(tmp_path: Path) -> None:
    store = stored(tmp_path / "pool", [(0, 100)] * 3 + [(1, 4)] * 2)
    mixture = Mixture(sampling="uniform", by="trained_tokens")
    (warning,) = draw(store, mixture, [1.0, 1.0], counted(store), 0).warnings[:1]
    assert "a.jsonl has 0.0% of the trained tokens, and 50.0% was asked" in warning
    assert "stop: all_exhausted" in warning


@pytest.mark.parametrize(
    ("rows", "keys", "why"),
    [
        ([(0, 3)], {}, r"data.train\[1\]: b.jsonl has no row left \(0 rows read\)"),
        ([(0, 3), (1, 0)], {"by": "trained_tokens"}, "b.jsonl has 1 rows and no trained token"),
        ([(0, 3)] * 2500 + [(1, 3)], {"stop": "all_exhausted"}, "repeat data.train.1. 2,500 times"),
    ],
)
def test_a_source_that_can_not_give(
    tmp_path: Path, rows: list[tuple[int, int]], keys: dict[str, Any], why: str
) -> None:
    store = stored(tmp_path / "pool", rows)
    with pytest.raises(DataError, match=why):
        draw(store, Mixture(sampling="uniform", **keys), [1.0, 1.0], counted(store), 0)


TWO = (
    "data.train=[{path: ftune:quickstart/train.jsonl, format: alpaca}, "
    "{path: ftune:quickstart/test.jsonl, format: alpaca}]"
)
WRONG = {
    "{sampling: uniform, cap: 5}": "data.mixture.cap has no effect with sampling: uniform",
    "{cap: 5}": "data.mixture.cap has no effect with sampling: proportional",
    "{temperature: 2}": "data.mixture.temperature has no effect with sampling: proportional",
    "{sampling: temperature}": "sampling: temperature needs a temperature",
    "{sampling: examples_proportional}": "sampling: examples_proportional needs a cap",
    "{sampling: temperature, temperature: 0}": "must be at least 0.1",
    "{sampling: even}": "must be one of proportional, examples_proportional",
}


@pytest.mark.parametrize("mixture", WRONG)
def test_keys_that_do_not_go_together(tmp_path: Path, mixture: str) -> None:
    (problem,) = said(GOOD, tmp_path, TWO, f"data.mixture={mixture}")
    assert WRONG[mixture] in problem


def test_one_source_is_no_mixture(tmp_path: Path) -> None:
    (problem,) = said(GOOD, tmp_path, "data.mixture={}")
    assert "has one source to mix; add one" in problem
