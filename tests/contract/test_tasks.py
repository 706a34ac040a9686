"""Kinds of task through all stages: what is learned, read back, merged, asked, and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import small_tasks
from matrix import BEGIN, BITS, END, MAKERS, cells
from small_runs import load, one_thread, run_here

from ftune.errors import DataError, ModelError, RecipeError
from ftune.registry import KINDS, METHODS
from ftune.run.directory import RunDirectory
from ftune.run.progress import Silent

ROOT = Path(__file__).parents[2]
# The figure that shows that the task was learned, and how much is enough.
LEARNED = {
    "seq2seq": ("exact_match", 95),
    "classification": ("accuracy", 95),
    "several": ("exact_match", 40),
    "regression": ("pearson", 0.9),
    "token_classification": ("entity_f1", 95),
    "multiple_choice": ("exact_match", 95),
    "question_answering": ("squad_f1", 95),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    small_tasks.make_encoder(folder / "model")
    small_tasks.make_seq2seq(folder / "seq2seq-model")
    return folder


@pytest.fixture(scope="module")
def runs(home: Path) -> dict[str, RunDirectory]:
    found = {}
    with one_thread():
        for name in small_tasks.FORMATS:
            found[name] = run_here(load(small_tasks.write(home, name)), home / "runs")
    return found


def figures(run: RunDirectory) -> dict[str, Any]:
    told = json.loads((run.stage("evaluate") / "report.json").read_text("utf-8"))
    return {metric["name"]: metric for metric in told["figures"]["metrics"]}


@pytest.mark.parametrize("name", LEARNED)
def test_it_learns(name: str, runs: dict[str, RunDirectory]) -> None:
    figure, enough = LEARNED[name]
    found = figures(runs[name])[figure]
    assert found["tuned"] >= enough
    assert found["tuned"] > found["base"]


@pytest.mark.parametrize("name", LEARNED)
def test_the_saved_one_says_the_same(name: str, home: Path, runs: dict[str, RunDirectory]) -> None:
    """``ftune eval`` reads the adapter from disk; the figures are those of the run."""
    from ftune.stages.eval_again import Question, answer
    from ftune.stages.target import Found

    with one_thread():
        loaded = load(home / f"{name}.yaml")
        found = Found(loaded, runs[name])
        report = answer(found, Question(output=home / "again" / name), Silent())
    again = {m["name"]: m["tuned"] for m in report.figures["metrics"]}
    assert again == pytest.approx({k: m["tuned"] for k, m in figures(runs[name]).items()})


@pytest.mark.parametrize("name", LEARNED)
def test_the_merged_one_is_equal(name: str, home: Path, runs: dict[str, RunDirectory]) -> None:
    import transformers

    from ftune.stages.merge import merge_run
    from ftune.stages.target import Found

    with one_thread():
        found = Found(load(home / f"{name}.yaml"), runs[name])
        report = merge_run(found, home / "merged" / name, "auto", False, Silent())
    assert report.figures["equal_greedy"] == 1.0
    task = json.loads((home / "merged" / name / "prompting.json").read_text("utf-8"))["task"]
    auto = getattr(transformers, KINDS.load(task["kind"]).AUTO)
    model = auto.from_pretrained(home / "merged" / name)
    if task["labels"]:
        assert list(model.config.id2label.values()) == task["labels"]


def asked(name: str, home: Path, run: RunDirectory, capsys: Any, **wish: Any) -> str:
    from ftune.stages.answer import Ask, ask
    from ftune.stages.target import Found

    given = {"prompt": None, "input": None, "output": None, "chat": False} | wish
    with one_thread():
        ask(Found(load(home / f"{name}.yaml"), run), Ask(**given), Silent())
    return str(capsys.readouterr().out)


def test_one_text_is_asked(home: Path, runs: dict[str, RunDirectory], capsys: Any) -> None:
    said = asked("classification", home, runs["classification"], capsys, prompt="the hat is red")
    assert said.startswith("warm  (cold ")
    said = asked("regression", home, runs["regression"], capsys, prompt="the hat is red")
    assert float(said) == pytest.approx(0.5, abs=0.3)
    said = asked(
        "token_classification", home, runs["token_classification"], capsys, prompt="the pen is red"
    )
    assert said.split() == ["O", "B-THING", "O", "B-COLOUR"]
    with pytest.raises(RecipeError, match="needs more than one text"):
        asked("multiple_choice", home, runs["multiple_choice"], capsys, prompt="x")
    with pytest.raises(RecipeError, match="says labels and does not talk"):
        asked("classification", home, runs["classification"], capsys, chat=True)


@pytest.mark.parametrize("name", LEARNED)
def test_rows_without_labels_are_asked(
    name: str, home: Path, runs: dict[str, RunDirectory], capsys: Any
) -> None:
    rows = small_tasks.rows(name, 3)
    for row in rows:
        for key in ("label", "tags", "answers", "completion"):
            row.pop(key, None)
    path = home / f"ask-{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lines = asked(name, home, runs[name], capsys, input=path).splitlines()
    said = {n: json.loads(line)["answer"] for n, line in enumerate(lines)}
    page = runs[name].stage("evaluate") / "predictions.jsonl"
    expected = [json.loads(line)["prediction"] for line in page.read_text("utf-8").splitlines()]
    assert list(said.values()) == expected[:3]


def test_rows_are_grouped_by_length_where_padding_costs(
    home: Path, runs: dict[str, RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoders that label texts are trained without padding; what is set is taken."""
    from ftune.data import batching

    seen: list[bool] = []

    class Plan(batching.Plan):
        def __post_init__(self) -> None:
            seen.append(self.group_by_length)
            super().__post_init__()

    monkeypatch.setattr(batching, "Plan", Plan)
    short = ("train.max_steps=1",)
    grouped = {}
    with one_thread():
        for name in runs:
            run_here(load(home / f"{name}.yaml", *short), home / "grouped")
            grouped[name] = seen.pop()
        for said in ("true", "false"):
            given = (*short, f"train.group_by_length={said}")
            run_here(load(home / "classification.yaml", *given), home / "grouped")
            grouped[said] = seen.pop()
    free = {"classification", "several", "regression", "token_classification", "false"}
    assert grouped == {name: name not in free for name in grouped}


BAD: list[tuple[str, tuple[str, ...], str]] = [
    ("classification", ("data.train=[{path: classification.jsonl, format: text}]",),
     "data.train.0..format: text gives rows that train.objective: classification can't learn; "
     "it takes labelled"),
    ("classification", ("train.objective=sft",), "labelled gives rows that train.objective: sft"),
    ("classification", ("data.template=alpaca",), "data.template: has no effect with "),
    ("classification", ("data.packing=true",), "data.packing: has no effect with "),
    ("classification", ("evaluate.metrics=[perplexity]",), "perplexity is of the likelihood"),
    ("classification", ("evaluate.metrics=[seqeval]",), "seqeval is a figure of .*token_classif"),
    ("classification", ("data.on_too_long=truncate_prompt",), "there are no prompts with"),
    ("classification", ("evaluate.stride=4",), "evaluate.stride: has no effect"),
    ("classification", ("evaluate.generation.max_new_tokens=4",), "generates no text; remove it"),
    ("seq2seq", ("data.packing=true",), "data.packing: has no effect with train.objective: seq2"),
    ("seq2seq", ("data.train_on=all",), "data.train_on: has no effect with train.objective: seq2"),
    ("seq2seq", ("data.on_too_long=truncate",), "would cut the end of a question"),
    ("seq2seq", ("evaluate.stride=4",), "evaluate.stride: has no effect with train.objective"),
    ("question_answering", ("data.on_too_long=drop",), "reads long contexts in several windows"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "said"), BAD)
def test_recipes_that_can_not_be(
    name: str, given: tuple[str, ...], said: str, home: Path, runs: dict[str, RunDirectory]
) -> None:
    assert name in runs
    with pytest.raises(RecipeError, match=said):
        load(home / f"{name}.yaml", *given)


ROWS: list[tuple[str, list[dict[str, Any]], tuple[str, ...], str]] = [
    ("classification", [{"text": "a", "label": "x"}, {"text": "b", "label": "x"}], (),
     "all rows have the label 'x'"),
    ("classification", [{"text": "a", "label": ["x"]}, {"text": "b", "label": "y"}], (),
     r"bad\.jsonl:1: its label is a list; set multi_label: true"),
    ("classification", [{"text": "a", "label": "x"}, {"text": "b", "label": None}], (),
     r"bad\.jsonl:2: 'label' is null"),
    ("classification", [{"text": "the red box " * 20, "label": "x"}, {"text": "b", "label": "y"}],
     (), r"bad\.jsonl:1: has \d+ tokens, and data\.max_length is 32"),
    ("classification", [{"text": "a", "label": "warm"}, {"text": "b", "label": "cold"}],
     ("data.max_length=128",), "data.max_length: 128 is more than the 64 tokens"),
    ("classification", [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}],
     ("train.objective={classification: {labels: [x]}}",), "the training rows have 'y' besides"),
    ("classification", [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], (),
     r"classification\.jsonl:1: its label 'warm' is in no training row"),
    ("regression", [{"text": "a", "label": "much"}], (), "'much' is not a finite number"),
    ("token_classification", [{"tokens": ["a", "b"], "tags": ["O"]}], (),
     r"bad\.jsonl:1: 'tokens' has 2 words and 'tags' has 1 tags"),
    ("seq2seq", [{"prompt": "why " * 30, "completion": "so"}], (),
     r"bad\.jsonl:1: its question has \d+ tokens, and data\.max_length has room for"),
    ("seq2seq", [{"prompt": [{"role": "user", "content": "a"}],
                  "completion": [{"role": "user", "content": "b"}]}], (), r"bad\.jsonl:1"),
    ("question_answering", [{"question": "why " * 30, "context": "so", "answers": []}], (),
     r"bad\.jsonl:1: its question has \d+ tokens, which leaves"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rows", "given", "said"), ROWS)
def test_rows_that_can_not_be(
    name: str,
    rows: list[dict[str, Any]],
    given: tuple[str, ...],
    said: str,
    home: Path,
    runs: dict[str, RunDirectory],
) -> None:
    assert name in runs
    (home / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    form = small_tasks.FORMATS[name]
    loaded = load(
        home / f"{name}.yaml", f"data.train=[{{path: bad.jsonl, format: {form}}}]", *given
    )
    with pytest.raises((DataError, RecipeError), match=said), one_thread():
        run_here(loaded, home / "bad-runs")


def test_another_task_is_refused(home: Path, runs: dict[str, RunDirectory]) -> None:
    from ftune.stages.eval_again import Question, answer
    from ftune.stages.target import Found

    adapter = runs["token_classification"].stage("train") / "adapter"
    found = Found(load(home / "classification.yaml"), runs["classification"])
    with pytest.raises(ModelError, match=r"(token_classification|TOKEN_CLS)"):
        answer(found, Question(model=str(adapter), output=home / "no"), Silent())


def test_a_language_model_keeps_its_body(tmp_path: Path) -> None:
    """Embeddings stored under the head's name, and a body that is called otherwise."""
    import torch
    from safetensors.torch import load_file, save_file
    from small_runs import make_model

    from ftune.model.loading import load_model, load_tokenizer
    from ftune.recipe.schema import Model
    from ftune.types import Task

    folder = make_model(tmp_path / "m")
    path = folder / "model.safetensors"
    stored = load_file(path)
    embedding = stored.pop("model.embed_tokens.weight")
    save_file({**stored, "lm_head.weight": embedding}, path, metadata={"format": "pt"})
    section = Model(name_or_path=str(folder), device="cpu")
    tokenizer = load_tokenizer(section)
    whole = load_model(section, tokenizer).model.base_model.state_dict()
    for kind in ("sequence_classification", "question_answering"):
        task = Task(kind, ("a", "b"), (1, 1))
        found = load_model(section, tokenizer, task=task).model.base_model.state_dict()
        assert found.keys() == whole.keys()
        assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_the_matrix_is_as_the_docs_say(tmp_path: Path) -> None:
    """All cells of full precision; those of few bits are made again with the page."""
    page = (ROOT / "docs" / "tasks.md").read_text("utf-8")
    lines = page.partition(BEGIN)[2].partition(END)[0].splitlines()
    told = {
        line.split("`")[1]: [cell.strip() for cell in line.split("|")[2:-1]]
        for line in lines
        if line.startswith("| `")
    }
    assert list(told) == list(METHODS.names())
    for (kind, architecture, base, method), why in cells(tmp_path, ("full",)):
        halves = told[method][KINDS.names().index(kind)].split(" ")
        mark = halves[list(MAKERS).index(architecture)][list(BITS).index(base)]
        assert (mark == "✓") == (not why), (kind, architecture, base, method, why)
