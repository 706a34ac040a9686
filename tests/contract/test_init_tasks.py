"""``ftune init`` on rows with labels: it finds the task out, says how, and the recipe runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import small_tasks
from calling import call
from small_runs import load, one_thread, run_here, write_rows

from ftune.data.sniffing import readings
from ftune.data.sniffing_tasks import TaskGuess
from ftune.recipe.reading import load_recipe

ARC = {"question": "Which one?", "choices": ["this", "that"], "answer": 1}
DOLLY = {"instruction": "Say.", "context": "so", "response": "word"}
# The rows, the objective that is found (none: text that is written), and the columns.
SHAPES: list[tuple[str, list[dict[str, Any]], str | None, dict[str, Any]]] = [
    ("texts", [{"text": f"row {i}", "label": "ab"[i % 2]} for i in range(9)], "classification", {}),
    ("numbers", [{"review": f"row {i}", "stars": i % 3} for i in range(9)], "classification",
     {"text": "review", "label": "stars"}),
    ("pair", [{"premise": f"a {i}", "hypothesis": "b", "label": i % 3} for i in range(12)],
     "classification", {"text": "premise", "text_pair": "hypothesis"}),
    ("floats", [{"sentence1": "a", "sentence2": "b", "score": i + 0.5} for i in range(5)],
     "regression", {"text": "sentence1", "text_pair": "sentence2", "label": "score"}),
    ("several", [{"text": f"row {i}", "labels": ["x", "yz"[i % 2]]} for i in range(9)],
     "classification", {"label": "labels"}),
    ("tags", [{"words": ["a", "b"], "ner": ["O", "B-X"]}] * 3, "token_classification",
     {"tokens": "words", "tags": "ner"}),
    ("choices", [ARC] * 3, "multiple_choice", {"context": "question", "label": "answer"}),
    ("letters", [{"question": "Q", "option_a": "x y", "optiona": "a", "optionb": "b", "answer": 0}],
     "multiple_choice", {"context": "question", "choices": ("optiona", "optionb"),
                         "label": "answer"}),
    ("answers", [{"question": "Who?", "context": "So.", "answers":
                  {"text": ["So"], "answer_start": [0]}}], "question_answering", {}),
    # What stands beside a question and its answer makes no task of it.
    ("dolly", [{**DOLLY, "category": "ab"[i % 2]} for i in range(9)], None,
     {"input": "context", "output": "response"}),
    ("yes or no", [{"prompt": f"is {i}?", "completion": ["yes", "no"][i % 2]} for i in range(9)],
     None, {}),
    ("free labels", [{"text": f"row {i}", "label": f"it is {i}"} for i in range(9)], None,
     {"prompt": "text", "completion": "label"}),
    ("one label", [{"text": f"row {i}", "label": "same"} for i in range(9)], None,
     {"prompt": "text", "completion": "label"}),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "objective", "columns"), [s[1:] for s in SHAPES],
                         ids=[s[0] for s in SHAPES])  # fmt: skip
def test_a_shape_of_rows(
    rows: list[dict[str, Any]], objective: str | None, columns: dict[str, Any], tmp_path: Path
) -> None:
    write_rows(tmp_path / "a.jsonl", rows)
    found = readings("a.jsonl", tmp_path)[0]
    assert (found.objective if isinstance(found, TaskGuess) else None) == objective
    assert dict(found.columns) == columns
    ended = call("init", "a.jsonl", within=tmp_path)
    assert ended.code == 0, ended.said
    recipe = load_recipe(tmp_path / "recipe.yaml").recipe
    assert recipe.train.objective.name == (objective or "sft")
    if objective:
        assert f"train.objective: {objective}, since " in ended.out + ended.err


APART = ("seq2seq", "several")  # of so few unlike rows, not every label is left to be trained


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init")
    small_tasks.make_encoder(folder / "model")
    return folder


@pytest.mark.parametrize("name", [n for n in small_tasks.METRICS if n not in APART])
def test_the_recipe_trains(name: str, home: Path) -> None:
    """With rows held out and figures of them."""
    write_rows(home / f"{name}.jsonl", small_tasks.rows(name, 60))
    ended = call(
        "init", f"{name}.jsonl", "--model", "./model", "--output", f"{name}.yaml", within=home
    )
    assert ended.code == 0, ended.said
    assert load_recipe(home / f"{name}.yaml").recipe.train.objective.name == name
    small = ["data.max_length=32", "train.max_steps=1"]
    if name == "question_answering":
        small.append("train.objective={question_answering: {doc_stride: 4}}")
    loaded = load(home / f"{name}.yaml", *small)
    with one_thread():
        run = run_here(loaded, home / "runs")
    told = json.loads((run.stage("evaluate") / "report.json").read_text("utf-8"))
    assert told["figures"]["metrics"]


def test_the_other_readings(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"text": f"row {i}", "label": i % 3} for i in range(12)])
    ended = call("init", "a.jsonl", within=tmp_path)
    said = ended.out + ended.err
    assert "since 'label' has 3 values in 12 rows: 0, 1, 2" in said
    for other in ("sft", "regression"):
        assert f"ftune init a.jsonl --objective {other}" in said
        made = call("init", "a.jsonl", "--objective", other, "--output", other, within=tmp_path)
        assert made.code == 0, made.said
        assert load_recipe(tmp_path / other).recipe.train.objective.name == other


def test_what_the_rows_do_not_say(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [DOLLY])
    ended = call("init", "a.jsonl", "--objective", "classification", within=tmp_path)
    assert ended.code == 3
    assert "nothing in its rows says classification; the columns are instruction" in ended.err
    ended = call("init", "a.jsonl", "--objective", "magic", within=tmp_path)
    assert ended.code == 2 and "'magic' is not an objective" in ended.err
    assert not (tmp_path / "recipe.yaml").exists()


def test_an_encoder_decoder_has_its_template(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [DOLLY])
    ended = call("init", "a.jsonl", "--objective", "seq2seq", within=tmp_path)
    recipe = load_recipe(tmp_path / "recipe.yaml").recipe
    assert (recipe.data.template, recipe.train.objective.name) == ("plain", "seq2seq")
    assert "ftune:tiny can't do seq2seq" in ended.out + ended.err


FIXTURES = "data/hf-fixtures/tests_samples"


@pytest.mark.parametrize(
    ("path", "objective"),
    [
        ("data/sst2/train.tsv", "classification"),
        ("data/imdb/train_4k.jsonl.gz", "classification"),
        (f"{FIXTURES}/STS-B/train.tsv", "regression"),
        (f"{FIXTURES}/conll/sample.json", "token_classification"),
        (f"{FIXTURES}/swag/sample.json", "multiple_choice"),
        (f"{FIXTURES}/MRPC/train.tsv", "classification"),
        ("data/t0-tasks/imdb_Movie_Expressed_Sentiment.jsonl", None),
    ],
)
def test_real_files(path: str, objective: str | None, shared: Path) -> None:
    found = readings(str(shared.resolve() / path), Path())[0]
    assert (found.objective if isinstance(found, TaskGuess) else None) == objective
    assert found.good == found.seen
