"""Mixtures of labelled rows and for an encoder-decoder, through all stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import small_tasks
from small_runs import load, one_thread, run_here

from ftune.data.store import TokenStore
from ftune.errors import RecipeError
from ftune.run.directory import RunDirectory

UNIFORM = "data.mixture.sampling=uniform"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    small_tasks.make_encoder(folder / "model")
    small_tasks.make_seq2seq(folder / "seq2seq-model")
    return folder


def mixed(home: Path, name: str, sizes: tuple[int, int], *more: str) -> Any:
    """A recipe of the task over two files of so many rows."""
    small_tasks.write(home, name)
    sources = []
    for at, size in enumerate(sizes):
        rows = small_tasks.rows(name, size)
        path = home / f"{name}-{at}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        sources.append(f"{{path: {path.name}, format: {small_tasks.FORMATS[name]}}}")
    train = f"data.train=[{', '.join(sources)}]"
    return load(home / f"{name}.yaml", train, "data.eval=[]", *more)


def told(run: RunDirectory, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.stage(stage) / "report.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("name", [n for n in small_tasks.FORMATS if n != "several"])
def test_every_task_is_mixed(name: str, home: Path) -> None:
    with one_thread():
        run = run_here(mixed(home, name, (18, 6), UNIFORM, "train.max_steps=3"), home / "runs")
    store = TokenStore(run.stage("format") / "train.arrow")
    assert [int((store.sources == s).sum()) for s in (0, 1)] == [6, 6]
    ledger = told(run, "format")["figures"]["ledger"]["train"]
    assert [one["not_drawn"] for one in ledger] == [12, 0]
    assert [one["trained"] for one in ledger] == [
        int(store.marked[store.sources == s].sum()) for s in (0, 1)
    ]
    assert told(run, "train")["figures"]["steps"] == 3


def test_labels_are_counted_as_they_are_drawn(home: Path) -> None:
    """``class_weights: balanced`` weighs by the rows that are trained."""
    loaded = mixed(
        home,
        "classification",
        (18, 6),
        "data.mixture={sampling: uniform, stop: all_exhausted}",
        "train.objective={classification: {class_weights: balanced}}",
        "train.max_steps=3",
    )
    rows = [json.loads(line) for line in (home / "classification-1.jsonl").read_text().splitlines()]
    for row in rows:
        row["label"] = "cold"
    (home / "classification-1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with one_thread():
        run = run_here(loaded, home / "runs")
    adapter = run.stage("train") / "adapter"
    task = json.loads((adapter / "prompting.json").read_text("utf-8"))["task"]
    assert dict(zip(task["labels"], task["counts"], strict=True)) == {"cold": 27, "warm": 9}
    [warning] = [w for w in told(run, "format")["warnings"] if "labels" in w]
    assert "classification-1.jsonl have the labels 'cold', and not 'warm'" in warning


def test_an_encoder_decoder_draws_anew(home: Path) -> None:
    how = "data.mixture={sampling: uniform, by: trained_tokens, redraw: true}"
    loaded = mixed(home, "seq2seq", (18, 6), how, "train.num_train_epochs=3")
    with one_thread():
        run = run_here(loaded, home / "runs")
    found = told(run, "train")["figures"]
    assert found["rows"] == sum(one["rows"] for one in found["mixture"]["epochs"]) == 36
    assert all(one["percent"] == [50.0, 50.0] for one in found["mixture"]["epochs"])
    assert found["mixture"]["different_rows"] == found["mixture"]["rows"] == 24
    [line] = [x for x in told(run, "train")["summary"] if x.startswith("mixture")]
    assert "3 epochs, 36 rows in all; 24 of 24 rows were drawn at least once" in line


def test_labels_are_counted_by_rows(home: Path) -> None:
    with pytest.raises(RecipeError, match="trained_tokens has no meaning"):
        mixed(home, "classification", (6, 6), "data.mixture.by=trained_tokens")
