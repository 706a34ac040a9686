"""Every row is counted: weights, draws, held-out shares, bad and dropped rows, and the ledger."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from chat_families import tokenizer

from ftune.data.collect import drawn, examples, once, side, tokenized
from ftune.data.formats.prompt_completion import Config
from ftune.data.ledger import Ledger
from ftune.data.render import encoding
from ftune.data.rules import Rules
from ftune.data.templating import load_template
from ftune.errors import DataError
from ftune.recipe.base import Chosen
from ftune.recipe.source import Source
from ftune.types import Example, Message, Tokens

TEMPLATE = load_template("plain", tokenizer("bytes"))
GOOD = {"prompt": "two? ", "completion": "four"}
LONG = {"prompt": "two? ", "completion": "four " * 100}
KINDS = {
    "good": json.dumps(GOOD), "long": json.dumps(LONG), "no answer": '{"prompt": "x"}',
    "null": "null", "bad": "{", "empty": '{"prompt": "x", "completion": ""}',
}  # fmt: skip


def source(path: str, **keys: Any) -> Source:
    return Source(path=path, format=Chosen("prompt_completion", Config()), **keys)


def run(
    folder: Path, sources: list[Source], policy: Any = "skip", rules: Rules | None = None
) -> tuple[Ledger, list[tuple[Any, Tokens]]]:
    ledger = Ledger([s.path for s in sources])
    taken = examples(sources, folder, policy, ledger, seed=3)
    rules = rules or Rules(64, on_too_long="drop")
    found = list(tokenized(taken, encoding(TEMPLATE, rules), policy, ledger))
    ledger.balance()
    return ledger, found


@settings(max_examples=40)
@given(
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=12),
    weight=st.sampled_from([0.3, 1.0, 2.5]),
)
def test_no_row_vanishes(tmp_path_factory: Any, kinds: list[str], weight: float) -> None:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "x.jsonl").write_text("".join(KINDS[k] + "\n" for k in kinds))
    ledger, found = run(folder, [source("x.jsonl", weight=weight)])
    counts = ledger[0]
    assert counts.read == len(kinds)
    assert counts.bad == sum(k not in {"good", "long"} for k in kinds)
    rest = counts.used + counts.not_drawn + counts.dropped.get("too long", 0)
    assert rest == len(kinds) - counts.bad
    assert counts.used == len(found)
    assert counts.examples == sum(one.times for one, _ in found)
    assert counts.tokens == sum(one.times * len(t.ids) for one, t in found)
    assert counts.trained == sum(one.times * sum(t.trained) for one, t in found)
    assert counts.masked == counts.tokens - counts.trained
    assert len(counts.bad_rows) == counts.bad


def test_bad_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("\n".join([KINDS["good"], KINDS["no answer"], "null"]))
    ledger, _ = run(tmp_path, [source("x.jsonl")])
    first, second = ledger[0].bad_rows
    assert first.startswith("x.jsonl:2: there is no column 'completion'")
    assert second.startswith("x.jsonl:3: ")
    with pytest.raises(DataError, match=r"x\.jsonl:2: .*; or set data\.on_bad_row: skip"):
        run(tmp_path, [source("x.jsonl")], "error")


def test_rows_that_cannot_be_rendered_are_bad_rows_too(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(KINDS["good"] + "\n" + KINDS["long"])
    rules = Rules(64, on_too_long="error")
    ledger, found = run(tmp_path, [source("x.jsonl")], rules=rules)
    assert len(found) == 1
    assert "x.jsonl:2: the row has" in ledger[0].bad_rows[0]
    with pytest.raises(DataError, match=r"x\.jsonl:2: the row has"):
        run(tmp_path, [source("x.jsonl")], "error", rules)


def test_only_the_first_hundred_bad_rows_are_listed(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(KINDS["good"] + "\n" + "null\n" * 150)
    ledger, _ = run(tmp_path, [source("x.jsonl")])
    assert ledger[0].bad == 150
    assert len(ledger[0].bad_rows) == 100


def test_weights() -> None:
    rows = [(n, Example((Message("text", f"words {n % 7}"),))) for n in range(10_000)]
    for weight in (0.25, 1.0, 1.5, 3.0):
        times = [drawn(weight, 1, *row) for row in rows]
        assert set(times) <= {int(weight), int(weight) + 1}
        assert sum(times) == pytest.approx(weight * len(rows), rel=0.03)
        assert times == [drawn(weight, 1, *row) for row in rows]
        assert [drawn(weight, 1, *row) for row in reversed(rows)] == times[::-1]
    assert [drawn(0.5, 1, *r) for r in rows] != [drawn(0.5, 2, *r) for r in rows]


def test_a_moved_file_gives_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    lines = "".join(json.dumps({**GOOD, "prompt": f"{n}?"}) + "\n" for n in range(60))
    for name in ("a.jsonl", "sub/b.jsonl"):
        (tmp_path / name).write_text(lines)
    places = ("a.jsonl", "sub/b.jsonl", str(tmp_path / "a.jsonl"))
    runs = [run(tmp_path, [source(path, weight=0.5)])[1] for path in places]
    found = [[one.row for one, _ in each] for each in runs]
    assert 10 < len(found[0]) < 50
    assert found[0] == found[1] == found[2]


def test_a_weight_repeats_rows(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(KINDS["good"] + "\n")
    ledger, found = run(tmp_path, [source("x.jsonl", weight=2.0), source("x.jsonl")])
    assert [(one.source, one.times) for one, _ in found] == [(0, 2), (1, 1)]
    assert [s.examples for s in ledger.sources] == [2, 1]
    assert ledger.total.tokens == 3 * len(found[0][1].ids)
    assert once(found[0][0]).times == 1


def test_sides_are_shares_and_equal_rows_stay_together() -> None:
    rows = [Example((Message("user", f"q{i}"), Message("assistant", "a"))) for i in range(10_000)]
    sides = [side(row, 7, 0.1, 0.2) for row in rows]
    assert sides.count("eval") == pytest.approx(1000, rel=0.1)
    assert sides.count("test") == pytest.approx(2000, rel=0.1)
    again = [Example(row.messages, references=("other",)) for row in rows]
    assert [side(row, 7, 0.1, 0.2) for row in again] == sides
    # A larger eval share leaves the test rows as they are.
    assert [side(row, 7, 0.4, 0.2) == "test" for row in rows] == [s == "test" for s in sides]
    assert {side(row, 7, 0.0, 0.0) for row in rows} == {"train"}


def test_too_little_that_is_trained_is_refused() -> None:
    ledger = Ledger(["a", "b"])
    with pytest.raises(DataError, match="none of the 0 rows is left"):
        ledger.check(0.01)
    ledger[0].read = 3
    ledger[0].drop("too long")
    ledger[0].bad_row("a:2: why")
    with pytest.raises(DataError, match=r"none of the 3 rows is left \(1 too long, 1 bad rows\)"):
        ledger.check(0.0)
    ledger[1].use(Tokens([1] * 100, [False] * 100))
    with pytest.raises(DataError, match=r"no token is trained, .*data\.min_trained"):
        ledger.check(0.0)
    ledger[1].use(Tokens([1] * 100, [False] * 99 + [True]))
    ledger.check(0.005)
    with pytest.raises(DataError, match=r"only 0\.50% of 200 tokens are trained"):
        ledger.check(0.01)


def test_a_row_that_nobody_counted_is_a_bug() -> None:
    ledger = Ledger(["a"])
    ledger[0].read = 1
    with pytest.raises(AssertionError):
        ledger.balance()


def test_json() -> None:
    ledger = Ledger(["a"])
    ledger[0].read = 3
    ledger[0].use(Tokens([1, 2], [False, True], truncated=4), times=2)
    ledger[0].drop("too long")
    ledger[0].bad_row("a:2: why")
    assert ledger.to_json() == [
        {
            "source": "a", "read": 3, "used": 1, "bad": 1, "not_drawn": 0, "held_out": 0,
            "examples": 2, "tokens": 4, "trained": 2, "masked": 2, "truncated": 8,
            "dropped": {"too long": 1}, "bad_rows": ["a:2: why"],
        }
    ]  # fmt: skip
    assert json.loads(json.dumps(ledger.to_json())) == ledger.to_json()
