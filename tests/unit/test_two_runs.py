"""Tests between two runs, from the answers that each has kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from recipe_texts import GOOD

from ftune.evaluate import predictions
from ftune.evaluate.metrics import bleu, exact_match
from ftune.evaluate.resampling import p_value
from ftune.recipe.reading import load_recipe
from ftune.recipe.resolved import to_yaml
from ftune.stages.two_runs import Chances, chances
from ftune.types import Prediction

METRICS = "[exact_match, bleu, distinct_n]"


def answers(rights: int, rows: int = 40) -> list[Prediction]:
    """So many right answers of ``rows``; one question stands there twice."""
    return [
        Prediction(
            row, f"question {row // 2 * 2 if row < 2 else row}",
            f"the right answer is {row}" if row < rights else "no answer at all",
            (f"the right answer is {row}",), "t.jsonl", "stop", 5,
        )
        for row in range(rows)
    ]  # fmt: skip


def a_run(
    home: Path, name: str, given: list[Prediction], metrics: str = METRICS, draws: int = 1000
) -> Path:
    folder = home / name / "001"
    (folder / "evaluate").mkdir(parents=True)
    recipe = home / "recipe.yaml"
    if not recipe.is_file():
        (home / "train.jsonl").write_text("{}\n", encoding="utf-8")
        recipe.write_text(GOOD, encoding="utf-8")
    options = ("data.test=0.1", f"evaluate.metrics={metrics}", f"evaluate.bootstrap={draws}")
    loaded = load_recipe(recipe, options)
    (folder / "recipe.resolved.yaml").write_text(to_yaml(loaded.recipe), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps({"recipe": str(recipe)}), encoding="utf-8")
    predictions.write(folder / "evaluate" / "predictions.jsonl", given)
    return folder


def test_each_metric_is_tested_row_for_row_whatever_the_order(tmp_path: Path) -> None:
    few, many = answers(10), answers(22)
    a = a_run(tmp_path, "a", few)
    b = a_run(tmp_path, "b", list(reversed(many)))
    found = chances(a, b)
    assert found.notes == ()
    assert set(found.p) == {"exact_match", "bleu", "distinct_1", "distinct_2"}
    for name, module in (("exact_match", exact_match), ("bleu", bleu)):
        sides = [module.score(side, module.Config())[0].rows for side in (few, many)]
        assert found.p[name] == p_value(*sides, 1000)
        assert found.p[name] < 0.01
    assert found.p["distinct_1"] is None
    same = chances(a, a)
    assert (same.p["bleu"], same.p["exact_match"]) == (1, 1)


def test_what_was_not_measured_in_both_alike_is_not_tested(tmp_path: Path) -> None:
    a = a_run(tmp_path, "a", answers(10), "[{bleu: {lowercase: true}}, chrf]")
    b = a_run(tmp_path, "b", answers(22), "[bleu, chrf, ter]")
    assert set(chances(a, b).p) == {"chrf"}
    none = a_run(tmp_path, "c", answers(10), draws=0)
    also = a_run(tmp_path, "d", answers(22), draws=0)
    assert set(chances(none, also).p.values()) == {None}


@pytest.mark.parametrize(
    "other",
    [
        answers(22)[:-1],
        [*answers(22)[:-1], replace(answers(22)[-1], prompt="another")],
        [*answers(22)[:-1], replace(answers(22)[-1], references=("another",))],
        [*answers(22)[:-1], answers(22)[0]],
        [],
    ],
    ids=["fewer", "another prompt", "another reference", "one twice", "none"],
)
def test_other_questions_are_not_compared(tmp_path: Path, other: list[Prediction]) -> None:
    a, b = a_run(tmp_path, "a", answers(10)), a_run(tmp_path, "b", other)
    said = "the prompts or references differ, so no difference of the metrics was tested"
    assert chances(a, b) == chances(b, a) == Chances({}, (said,))


def test_broken_runs_are_told_and_not_fatal(tmp_path: Path) -> None:
    a, b = a_run(tmp_path, "a", answers(10)), a_run(tmp_path, "b", answers(22))
    assert chances(a, tmp_path) == Chances()  # nothing was evaluated there
    for file in ("run.json", "recipe.resolved.yaml", "evaluate/predictions.jsonl"):
        kept = (b / file).read_text(encoding="utf-8")
        for junk in ("{", "[1]", ""):
            (b / file).write_text(junk, encoding="utf-8")
            found = chances(a, b)
            if file == "run.json":  # all that it says here is where relative paths start
                assert found.p and not found.notes
            else:
                assert not found.p and len(found.notes) == 1, (file, junk)
        (b / file).write_text(kept, encoding="utf-8")
    assert chances(a, b).p
