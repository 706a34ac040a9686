from __future__ import annotations

import pytest

from ftune.errors import RecipeError
from ftune.evaluate.metrics import bleu, exact_match, perplexity, rouge
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
    assert compare(before, after) == [
        Line("perplexity", "", "x", 9.0, 4.0, -5.0, True),
        Line("bleu", "", "13a", 10.0, 4.0, -6.0, False),
        Line("rouge1", "%", "s", 5.0, 5.0, 0.0, None),
        Line("new", "%", "", None, 2.0, None, None),
        Line("old", "", "", 1.0, None, None, None),
    ]


def test_figures_measured_differently_are_not_compared() -> None:
    lines = compare([Metric("bleu", 1.0, "", "lc")], [Metric("bleu", 2.0, "", "mixed")])
    assert [(x.before, x.after, x.difference) for x in lines] == [
        (None, 2.0, None),
        (1.0, None, None),
    ]
