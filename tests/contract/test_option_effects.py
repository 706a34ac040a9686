"""Options of formats and metrics: each changes what a row says, or what a score is."""

from __future__ import annotations

from typing import Any

import pytest

from ftune.errors import DataError
from ftune.recipe.base import Section
from ftune.recipe.fields import walk
from ftune.registry import FORMATS, METRICS
from ftune.types import Prediction

TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
TURNS = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
# A row with each of a format's columns, under its usual name.
ROWS: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "a", "input": "i", "output": "b", "system": "s",
               "history": [["c", "d"]], "references": ["e"]},
    "messages": {"messages": TALK, "references": ["e"]},
    "sharegpt": {"conversations": TURNS, "system": "s", "references": ["e"]},
    "prompt_completion": {"prompt": "a", "completion": "b", "references": ["e"]},
    "text": {"text": "a"},
    "labelled": {"text": "a", "text_pair": "b", "label": "x"},
    "tagged": {"tokens": ["a"], "tags": ["O"]},
    "choices": {"context": "a", "start": "d", "choices": ["b", "c"], "label": 1},
    "squad": {"question": "q", "context": "a", "answers": {"text": ["a"], "answer_start": [0]}},
}  # fmt: skip
OPTIONAL = ("references", "text_pair", "start")  # columns that nobody looks for unless named
INSIDE = {"role": "role", "content": "content", "sender": "from", "value": "value"}


def renamed(value: Any, old: str) -> Any:
    """The same row with another name for the key ``old``, at any depth."""
    if isinstance(value, dict):
        return {("other" if k == old else k): renamed(v, old) for k, v in value.items()}
    return [renamed(v, old) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (n, key)
        for n in FORMATS.names()
        for key, _ in walk(FORMATS.load(n).Config)
        if (n, key) != ("tagged", "names") and n != "prompts"  # see tests/unit/test_prompts.py
    ],
)
def test_a_column_by_another_name(name: str, key: str) -> None:
    module = FORMATS.load(name)
    named = {key: key} if key in OPTIONAL else {}
    usual = module.example(ROWS[name], module.Config(**named))
    row = renamed(ROWS[name], INSIDE.get(key, key))
    assert module.example(row, module.Config(**{key: "other"})) == usual
    try:
        found = module.example(row, module.Config())
    except DataError:
        return
    assert found != usual


def test_names_of_numbered_tags() -> None:
    module = FORMATS.load("tagged")
    row = {"tokens": ["a", "b"], "tags": [1, 0]}
    assert module.example(row, module.Config(names=("O", "B-X"))).target == ("B-X", "O")
    with pytest.raises(DataError, match="tag 1 is 1, and names has 1 names"):
        module.example(row, module.Config(names=("O",)))


# Metric, option, another value than the default, and answers and references that show it, a row on
# each line.
SCORES: list[tuple[str, str, Any, str, str]] = [
    ("rouge", "types", ("rouge1",), "a b", "b a"),
    ("rouge", "use_stemmer", True, "walking", "walked"),
    ("bleu", "lowercase", True, "One two three four", "one two three four"),
    ("bleu", "tokenize", "char", "one two three four five", "one two three four fine"),
    ("chrf", "word_order", 2, "one two three", "one three two"),
    ("chrf", "lowercase", True, "One", "one"),
    ("exact_match", "ignore_case", True, "One", "one"),
    ("exact_match", "ignore_punctuation", True, "one!", "one"),
    ("exact_match", "strip", False, " one", "one"),
    ("exact_match", "pattern", "[0-9]+", "so it is 5", "5"),
    ("exact_match", "numeric", True, "1,000.0", "1000"),
    ("accuracy", "ignore_case", False, "One", "one"),
    ("accuracy", "ignore_punctuation", True, "o-n-e", "one"),
    ("accuracy", "strip", False, "  one", "one"),
    ("accuracy", "pattern", "[0-9]+", "so it is 5", "5"),
    ("accuracy", "numeric", True, "1,000.0", "1000"),
    ("accuracy", "labels", ("one more",), "one more", "one"),
    ("classification", "ignore_case", False, "One", "one"),
    ("classification", "ignore_punctuation", True, "o-n-e", "one"),
    ("classification", "strip", False, "  one", "one"),
    ("classification", "pattern", "[0-9]+", "so it is 5", "5"),
    ("classification", "numeric", True, "1,000.0", "1000"),
    ("classification", "labels", ("one more",), "one more", "one"),
    ("classification", "average", "micro", "one\none\none", "one\none\ntwo"),
    ("ter", "normalized", True, "one, two three", "one , two three"),
    ("ter", "no_punct", True, "one, two", "one two"),
    ("ter", "case_sensitive", True, "One two", "one two"),
    ("distinct_n", "orders", (3,), "one two three", "one"),
    ("repetition", "order", 1, "one one two", "one"),
]


@pytest.mark.parametrize(("name", "key", "value", "answer", "reference"), SCORES)
def test_an_option_of_a_metric(
    name: str, key: str, value: Any, answer: str, reference: str
) -> None:
    module = METRICS.load(name)
    pairs = zip(answer.split("\n"), reference.split("\n"), strict=True)
    asked = [Prediction(row, "p", said, (right,)) for row, (said, right) in enumerate(pairs)]

    def figures(config: Section) -> list[tuple[str, float]]:
        return [(m.name, m.value) for m in module.score(asked, config)]

    assert figures(module.Config(**{key: value})) != figures(module.Config())


def test_each_option_is_in_the_table() -> None:
    """Of the metrics that stand in it; others have tests of their own."""
    told = {(name, key) for name, key, *_ in SCORES}
    names = {name for name, *_ in SCORES}
    assert told == {(n, key) for n in names for key, _ in walk(METRICS.load(n).Config)}
