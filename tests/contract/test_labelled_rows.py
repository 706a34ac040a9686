"""Labelled rows that are odd: words without tokens, labels that only tests have, tags in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import small_tasks
from small_runs import load, one_thread, run_here

from ftune.errors import DataError, RecipeError
from ftune.registry import ANSWERS, ENCODINGS
from ftune.types import Labelled


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    small_tasks.make_encoder(folder / "model")
    return folder


def test_a_word_without_a_token_moves_no_tag(home: Path) -> None:
    """A tokenizer of BERT's kind leaves out control characters, so such words have no token."""
    import torch
    from transformers import AutoTokenizer

    from ftune.data.rules import Rules
    from ftune.data.wholes import Wholes

    tokenizer = AutoTokenizer.from_pretrained(home / "model")
    rules = Rules(max_length=16, on_too_long="error", train_on="completion")
    wholes = Wholes(tokenizer, rules)
    known = ("O", "B-THING")
    row = Labelled(("the", "\u200b", "box", "\u00ad", "hat"), ("O", "O", "B-THING", "O", "O"))
    encoding = ENCODINGS.load("token_classification")
    [made] = encoding.encode([row], wholes, known, None)
    targets = torch.tensor([made.targets])
    # A model that says of each token what is right.
    logits = torch.nn.functional.one_hot(targets.clamp(min=0).long(), 2).float()
    batch = type("Batch", (), {"targets": targets})
    asked = [encoding.asked(row, wholes, None)]
    [said] = ANSWERS.load("token_classification").said(logits, batch, known, None, asked)
    assert said.text.split() == list(row.target)


def test_a_label_that_only_tests_have_is_told_before_training(home: Path) -> None:
    recipe = small_tasks.write(home, "classification")
    rows = [*small_tasks.rows("classification", 3), {"text": "a box", "label": "lukewarm"}]
    path = home / "unseen.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    loaded = load(recipe, "data.test=[{path: unseen.jsonl, format: labelled}]", "data.eval=[]")
    said = r"unseen\.jsonl:4: its label 'lukewarm' is in no training row"
    with pytest.raises(DataError, match=said), one_thread():
        run_here(loaded, home / "unseen-runs")
    assert not list((home / "unseen-runs").rglob("train/adapter"))


def test_a_tag_is_one_word(home: Path) -> None:
    from ftune.data.formats import tagged

    row = {"tokens": ["a", "b"], "tags": ["O", "B PER"]}
    with pytest.raises(DataError, match="tag 2 is 'B PER' and must be one word"):
        tagged.example(row, tagged.Config())
    row = {"tokens": ["a"], "tags": ["O\n"]}
    assert tagged.example(row, tagged.Config()).target == ("O",)


REFUSED: list[tuple[str, str, str]] = [
    ("token_classification", "[accuracy]", "accuracy says nothing of .*; take seqeval"),
    ("regression", "[classification]", "classification says nothing of .*; take correlation"),
    ("question_answering", "[accuracy]", "accuracy says nothing of .*; take squad"),
    ("multiple_choice", "[classification]", "classification says nothing of .*; take accuracy"),
    ("classification", "[{accuracy: {ignore_case: false}}]", "ignore_case has no effect with"),
    ("classification", "[{classification: {labels: [warm]}}]", "labels has no effect with"),
]


@pytest.mark.parametrize(("name", "metrics", "said"), REFUSED)
def test_metrics_of_other_answers_are_refused(
    name: str, metrics: str, said: str, home: Path
) -> None:
    with pytest.raises(RecipeError, match=said):
        load(small_tasks.write(home, name), f"evaluate.metrics={metrics}")


def test_several_labels_have_figures(home: Path) -> None:
    """Through the stages: what is said and right as sets, in figures and in the file."""
    recipe = small_tasks.write(home, "several")
    given = ("evaluate.metrics=[accuracy, exact_match, classification]", "train.max_steps=4")
    with one_thread():
        run = run_here(load(recipe, *given), home / "several-runs")
    folder = run.stage("evaluate")
    told = json.loads((folder / "report.json").read_text("utf-8"))["figures"]["metrics"]
    found: dict[str, Any] = {one["name"]: one["tuned"] for one in told}
    assert set(found) == {"accuracy", "exact_match", "precision", "recall", "f1"}
    assert found["accuracy"] == found["exact_match"]
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").open(encoding="utf-8")]
    assert lines[1]["labels_right"] == ["green", "hat"] and lines[1]["multi_label"]
    assert all(", ".join(one["labels_said"]) == one["prediction"] for one in lines)
