from __future__ import annotations

from dataclasses import replace

import pytest

from ftune.evaluate.metrics import bleu, classification, exact_match
from ftune.evaluate.perturbing import perturbed
from ftune.stages import perturbed as rows_of
from ftune.stages import robustness
from ftune.types import Example, Message, Prediction

TEXT = "Is not the Cat on the mat?  It is, and I am sure that we cannot move it."


def test_each_kind_changes_what_it_says() -> None:
    assert perturbed(TEXT, "casing", "1") == TEXT.lower()
    assert perturbed(TEXT, "contractions", "1") == (
        "Isn't the Cat on the mat?  It is, and I'm sure that we can't move it."
    )
    assert perturbed("We can't, and he isn't.", "expansions", "1") == "We cannot, and he is not."
    blanks = perturbed("a b " * 200, "whitespace", "1")
    assert blanks.split() == ["a", "b"] * 200
    assert {len(run) for run in blanks.replace("b", "a").split("a")[1:]} == {1, 2, 3}


def test_typos_are_one_in_ten_letters_and_lie_beside() -> None:
    text = "qwertyuiop ASDFGHJKL zxcvbnm 123 ?! " * 200
    found = perturbed(text, "typos", "7")
    changed = [(a, b) for a, b in zip(text, found, strict=True) if a != b]
    letters = sum(letter.isalpha() for letter in text)
    assert 0.08 < len(changed) / letters < 0.12
    assert ("Q", "w") not in changed
    assert all(a.isupper() == b.isupper() and a.isalpha() for a, b in changed)
    assert {b for a, b in changed if a == "s"} | {b for a, b in changed if a == "x"} <= set("adzc")
    assert found == perturbed(text, "typos", "7") != perturbed(text, "typos", "8")


def test_only_the_last_question_changes() -> None:
    shown = "Q: WHO?\nA: ME.\n\n"
    turns = (
        Message("system", "BE BRIEF"),
        Message("user", "FIRST"),
        Message("assistant", "ONE"),
        Message("user", shown + "Q: WHAT?", "GIVEN", cuts=(0, len(shown))),
        Message("assistant", "TWO"),
    )
    found = rows_of.with_question(Example(turns, ("THREE",)), "casing", "1")
    assert found.messages[3].content == shown + "q: what?"
    assert found.messages[3].context == "given"
    assert found.messages[:3] == turns[:3]
    assert found.messages[4] == turns[4]
    assert found.references == ("THREE",)
    text = Example((Message("text", "A STORY"),))
    assert rows_of.with_question(text, "casing", "1") == text


def said(*texts: str) -> list[Prediction]:
    return [Prediction(i, "?", text, ("yes it is so",), "a") for i, text in enumerate(texts, 1)]


def test_the_worst_of_each_row() -> None:
    config = exact_match.Config()
    right, wrong = "yes it is so", "no"
    every = []
    for texts in ((right, right, wrong), (wrong, right, right), (right, right)):
        rows = said(*texts)
        every.append(robustness._by_row(rows, exact_match.score(rows, config)))
    [plain] = exact_match.score(said(right, right, wrong), config)
    worst = robustness._worst(plain, every, "plain+typos+casing")
    assert worst is not None
    assert worst.value == pytest.approx(100 / 3)
    assert worst.signature.endswith("|worst-of:plain+typos+casing")
    assert worst.rows is not None
    assert [v[0] for v in worst.rows.values] == [0, 100, 0]


def test_a_figure_of_the_whole_set_has_no_worst_row() -> None:
    rows = said("yes it is not so", "yes it is")
    assert robustness._by_row(rows, bleu.score(rows, bleu.Config())) == {}


def test_neither_has_one_where_all_rows_are_right() -> None:
    """Where each row's own BLEU or F1 is 100, their mean is the figure by chance."""
    rows = said("yes it is so", "yes it is so")
    assert robustness._by_row(rows, bleu.score(rows, bleu.Config())) == {}
    labels = [replace(row, text="yes", references=("yes",)) for row in rows]
    found = classification.score(labels, classification.Config())
    assert robustness._by_row(labels, found) == {}
    assert set(robustness._by_row(rows, exact_match.score(rows, exact_match.Config())))
