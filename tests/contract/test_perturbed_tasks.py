"""``evaluate.robustness`` of every kind of task: its figures are those of rows changed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_tasks
from small_runs import load, one_thread

from ftune.errors import RecipeError
from ftune.evaluate.perturbing import perturbed
from ftune.run.progress import Silent
from ftune.stages.eval_again import Question, answer
from ftune.stages.target import Found
from ftune.types import Report

Row = dict[str, Any]
Change = Callable[[str, int], str]  # of a text, and which of its row's it is

# What is asked in a row; what is right to say of it stands elsewhere.
BY_HAND: dict[str, Callable[[Row, Change], Row]] = {
    "classification": lambda row, to: {"text": to(row["text"], 0)},
    "pairs": lambda row, to: {"text": to(row["text"], 0), "other": to(row["other"], 1)},
    "several": lambda row, to: {"text": to(row["text"], 0)},
    "regression": lambda row, to: {"text": to(row["text"], 0)},
    "multiple_choice": lambda row, to: {"context": to(row["context"], 0)},
    "question_answering": lambda row, to: {"question": to(row["question"], 0)},
    "token_classification": lambda row, to: {
        "tokens": [to(word, at) for at, word in enumerate(row["tokens"])]
    },
}
MEANS = {"accuracy", "exact_match", "squared_error", "squad_f1", "squad_exact_match"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("perturbed")
    small_tasks.make_encoder(folder / "model")
    small_tasks.make_seq2seq(folder / "seq2seq-model")
    for name in small_tasks.FORMATS:
        small_tasks.write(folder, name)
    text = (folder / "classification.yaml").read_text("utf-8")
    pair = "format: labelled, columns: {text_pair: other}"
    (folder / "pairs.yaml").write_text(text.replace("format: labelled", pair), "utf-8")
    return folder


def evaluated(home: Path, name: str, output: str, *overrides: str) -> Report:
    """The figures of the model as it is before training."""
    with one_thread():
        found = Found(load(home / f"{name}.yaml", *overrides), None)
        return answer(found, Question(model="base", output=home / output), Silent())


def figures(report: Report) -> dict[str, float]:
    return {metric["name"]: metric["tuned"] for metric in report.figures["metrics"]}


@pytest.mark.parametrize("name", BY_HAND)
def test_figures_are_those_of_rows_changed_by_hand(name: str, home: Path) -> None:
    task = "classification" if name == "pairs" else name
    rows = small_tasks.rows(task)
    for at, row in enumerate(rows, 1):

        def change(text: str, which: int, at: int = at) -> str:
            return perturbed(text, "typos", f"42:0:{at}:{which}")

        row.update(BY_HAND[name](row, change))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (home / f"{name}-typos.jsonl").write_text(lines, "utf-8")

    given = figures(evaluated(home, name, f"{name}-1", f"data.test.0.path={name}-typos.jsonl"))
    report = evaluated(home, name, f"{name}-2", "evaluate.robustness=[typos]")
    told = figures(report)
    assert {f"{key} (typos)": value for key, value in given.items()}.items() <= told.items()
    assert {key.removesuffix(" (worst case)") for key in told if "worst" in key} == MEANS & {*told}
    for key in MEANS & {*told}:
        worse = max if key == "squared_error" else min
        assert worse(told[f"{key} (worst case)"], told[key]) == told[f"{key} (worst case)"]
    assert report.figures["robustness"]["typos"]["rows"] == len(rows)
    assert 0 < report.figures["robustness"]["typos"]["changed"] <= len(rows)
    kept = (home / f"{name}-2/robustness.jsonl").read_text("utf-8").splitlines()
    assert len(kept) == len(rows)
    for page in ("report.md", "report.html"):
        assert "(typos)" in (home / f"{name}-2" / page).read_text("utf-8")


def test_an_encoder_decoder_is_asked_perturbed_questions(home: Path) -> None:
    report = evaluated(home, "seq2seq", "seq2seq", "evaluate.robustness=[typos, casing]")
    assert {"exact_match (typos)", "exact_match (casing)"} <= {*figures(report)}
    asked = [json.loads(x) for x in (home / "seq2seq/robustness.jsonl").read_text().splitlines()]
    rows = small_tasks.rows("seq2seq")
    assert [one["references"] for one in asked] == 2 * [[row["completion"]] for row in rows]
    assert any("casing changed none of 20 questions" in said for said in report.warnings)


def test_a_row_that_typos_make_too_long_is_missing_and_told(home: Path) -> None:
    """A word of the vocabulary is one token, and one with a typo as many as it has letters."""
    overrides = ("data.max_length=8", "evaluate.robustness=[typos]")
    report = evaluated(home, "classification", "long", *overrides)
    told = report.figures["robustness"]["typos"]
    assert 0 < told["rows"] < 20 == told["rows"] + told["dropped"]
    assert any("rows are too long with typos" in said for said in report.warnings)
    assert report.figures["rows"] == 20


def test_tags_refuse_what_changes_the_words(home: Path) -> None:
    with pytest.raises(RecipeError, match=r"contractions, whitespace: .* each word has a tag"):
        load(
            home / "token_classification.yaml",
            "evaluate.robustness=[typos, contractions, whitespace]",
        )
