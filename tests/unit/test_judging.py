"""Verdicts in both orders: outcomes, bias, and published judgments counted again."""

from __future__ import annotations

import json
from itertools import permutations, product
from pathlib import Path

import pytest
from scipy.stats import binomtest

from ftune.errors import DataError
from ftune.evaluate.judge_prompt import CHOICES, asked, choices
from ftune.evaluate.judging import Pair, figures, sentence, verdict_of
from ftune.stages.sides import answers, common


def test_only_the_same_verdict_twice_is_a_win():
    won = {(f, s) for f, s in product((0, 1, 2), repeat=2) if Pair("q", f, s).outcome == 1}
    lost = {(f, s) for f, s in product((0, 1, 2), repeat=2) if Pair("q", f, s).outcome == 0}
    assert (won, lost) == ({(1, 2)}, {(2, 1)})
    same = {(f, s) for f, s in product((0, 1, 2), repeat=2) if Pair("q", f, s).consistent}
    assert same == {(1, 2), (2, 1), (0, 0)}


def test_a_judge_that_takes_the_first_sees_no_difference():
    found = figures([Pair(str(n), 1, 1) for n in range(40)])
    assert (found["win_rate"], found["ties"], found["consistent"]) == (50, 40, 0)
    assert found["first_preferred"] == 100
    assert found["bias_p"] == pytest.approx(binomtest(80, 80).pvalue)
    assert "no difference seen" in sentence({**found, "p": 1.0}, "x", "y")


def test_a_sure_judge():
    found = figures([Pair(str(n), 2, 1) for n in range(39)] + [Pair("t", 0, 0)])
    assert (found["a_wins"], found["ties"], found["b_wins"]) == (0, 1, 39)
    assert found["p"] < 0.01
    assert sentence(found, "x", "y").startswith("y is judged better than x")
    assert found["interval"][0] <= found["win_rate"] <= found["interval"][1]


def test_all_ties_are_nobodys_wins():
    found = figures([Pair(str(n), 0, 0) for n in range(12)])
    assert sentence(found, "x", "y").endswith("neither wins a question, all are ties")


def test_a_question_asked_twice_is_judged_twice(tmp_path: Path):
    """The rows of a data set may share a prompt; none of their answers may go unjudged."""
    sides = []
    for name in "ab":
        rows = [{"prompt": "same?", "text": f"{name}{n}"} for n in range(3)]
        text = "\n".join(map(json.dumps, [*rows, {"prompt": "other", "text": name}]))
        (tmp_path / name).write_text(f"{text}\n\n", encoding="utf-8-sig")
        sides.append(answers(str(tmp_path / name)))
    keys = common(*sides)
    assert [sides[1].texts[key] for key in keys] == ["b0", "b1", "b2", "b"]
    assert [sides[0].questions[key] for key in keys] == ["same?"] * 3 + ["other"]


@pytest.mark.parametrize(
    ("second", "said"),
    [('{"question_id": 1, "text": "b"}', "2: question_id 1 is answered twice"), ("{", "2: can't")],
)
def test_a_line_that_cannot_be_judged_is_named(tmp_path: Path, second: str, said: str):
    (tmp_path / "a").write_text('{"question_id": 1, "text": "a"}\n' + second)
    with pytest.raises(DataError, match=f"a:{said}"):
        answers(str(tmp_path / "a"))


def test_published_judgments(shared: Path):
    """QLoRA's own files: GPT-4 on all pairs of eight systems, both orders, 80 questions each."""
    folder = shared / "data/vicuna-bench/ratings-gpt4/vicuna/pairwise"
    end = "-gpt-4-reviewer-threeclass.jsonl"
    files = {
        tuple(path.name.removesuffix(end).split("-vs-")): path for path in folder.glob(f"*{end}")
    }
    names = sorted({name for pair in files for name in pair})
    first = second = tried = 0
    for a, b in permutations(names, 2):
        if a > b or (a, b) not in files or (b, a) not in files:
            continue
        scores = [
            {r["question_id"]: r["score"] for r in map(json.loads, path.open(encoding="utf-8"))}
            for path in (files[a, b], files[b, a])
        ]
        tried += 1
        found = figures([Pair(str(q), scores[0][q], scores[1][q]) for q in scores[0]], draws=100)
        wins = sum(scores[0][q] == 1 and scores[1][q] == 2 for q in scores[0])
        losses = sum(scores[0][q] == 2 and scores[1][q] == 1 for q in scores[0])
        assert (found["a_wins"], found["b_wins"]) == (wins, losses)
        assert found["win_rate"] == pytest.approx(100 * (wins + (80 - wins - losses) / 2) / 80)
        for side in ("forward", "swapped"):
            first += found[side]["first"]
            second += found[side]["second"]
    assert tried >= 6
    # "GPT-4 assigns higher scores to the system appearing first" (Dettmers et al. 2023, 6.2).
    assert first > 1.1 * second


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Both are good.\n\n1", 1), ("...\n2.\n", 2), ("x\n3", 0), ("x\n**2**", 2), ("0", 0),
        ("I prefer 1 of them", None), ("", None), ("1\nand so on", 1), ("4", None),
    ],
)  # fmt: skip
def test_the_verdict_is_the_last_line_with_a_number(text, verdict):
    assert verdict_of(text) == verdict


def test_the_prompt_has_both_answers_in_order():
    text = asked("Why?", "Because.", "No idea.", explain=False)
    assert text.index("Why?") < text.index("Because.") < text.index("No idea.")
    assert set(CHOICES) == {0, 1, 2}


def test_in_a_turn_of_its_own_a_verdict_has_no_blank_before_it():
    assert choices(in_turns=False) == CHOICES == {1: " 1", 2: " 2", 0: " 3"}
    assert choices(in_turns=True) == {1: "1", 2: "2", 0: "3"}
