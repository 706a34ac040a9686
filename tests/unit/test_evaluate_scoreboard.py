from __future__ import annotations

import pytest

from ftune.errors import RecipeError
from ftune.evaluate.metrics import bleu, exact_match, perplexity, rouge
from ftune.evaluate.resampling import interval, p_value
from ftune.evaluate.rowwise import mean
from ftune.evaluate.scoreboard import Line, compare, needs, score_all
from ftune.recipe.base import Chosen
from ftune.types import Metric, Prediction

ROWS = [Prediction(1, "?", "a b c d e", ("a b c d e",), loss_sum=2.0, loss_count=2)]
CHOSEN = (
    Chosen("exact_match", exact_match.Config()),
    Chosen("rouge", rouge.Config(types=("rouge1", "rougeL"))),
    Chosen("perplexity", perplexity.Config()),
)


def test_all_metrics_in_their_order() -> None:
    found = score_all(CHOSEN, ROWS)
    assert [m.name for m in found] == ["exact_match", "rouge1", "rougeL", "perplexity"]
    assert found[0].value == found[1].value == 100
    assert score_all((), ROWS) == []
    assert needs(CHOSEN) == {"text", "likelihood"}
    assert needs(CHOSEN[:1]) == {"text"}
    assert needs(()) == frozenset()


def test_a_figure_has_one_value() -> None:
    twice = (Chosen("bleu", bleu.Config()), Chosen("bleu", bleu.Config(lowercase=True)))
    with pytest.raises(RecipeError, match="bleu gives bleu a second time"):
        score_all(twice, ROWS)
    with pytest.raises(RecipeError, match="did you mean bleu"):
        score_all((Chosen("blue", None),), ROWS)


def test_before_and_after() -> None:
    up = Metric("bleu", 10.0, "", "13a")
    down = Metric("perplexity", 9.0, "", "x", higher_is_better=False)
    before = [up, down, Metric("rouge1", 5.0, "%", "s"), Metric("old", 1.0)]
    after = [
        Metric("perplexity", 4.0, "", "x", higher_is_better=False),
        Metric("bleu", 4.0, "", "13a"),
        Metric("rouge1", 5.0, "%", "s"),
        Metric("new", 2.0, "%"),
    ]
    assert compare(before, after, 1000) == [
        Line("perplexity", "", "x", False, 9.0, 4.0),
        Line("bleu", "", "13a", True, 10.0, 4.0),
        Line("rouge1", "%", "s", True, 5.0, 5.0),
        Line("new", "%", "", True, None, 2.0),
        Line("old", "", "", True, 1.0, None),
    ]


def test_intervals_and_a_test_of_what_both_sides_have() -> None:
    def figure(name: str, *values: float) -> Metric:
        return Metric(name, sum(values) / len(values), rows=mean(values))

    before = [figure("a", *range(20)), figure("old", *range(20))]
    after = [figure("a", *range(1, 21)), figure("few", 1, 2, 3)]
    a, few, old = compare(before, after, 500)
    assert a.before_interval == interval(before[0].rows, 500) is not None
    assert a.after_interval == interval(after[0].rows, 500) is not None
    assert a.p == p_value(before[0].rows, after[0].rows, 500) == 1 / 501
    assert (few.after_interval, few.before_interval, few.p) == (None, None, None)
    assert old.before_interval == a.before_interval and old.p is None
    [a, *_] = compare(before, after)
    assert (a.before_interval, a.after_interval, a.p) == (None, None, None)


def test_figures_measured_differently_are_not_compared() -> None:
    rows = mean(range(20))
    lines = compare(
        [Metric("bleu", 1.0, "", "lc", rows=rows)],
        [Metric("bleu", 2.0, "", "mixed", rows=rows)],
        100,
    )
    assert [(x.before, x.after, x.p) for x in lines] == [(None, 2.0, None), (1.0, None, None)]
