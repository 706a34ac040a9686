"""``ftune init``: a recipe for whatever shape of data there is, that runs as it is."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calling import call
from small_runs import write_rows

from ftune.data.sniffing import guess
from ftune.errors import DataError
from ftune.recipe.reading import load_recipe
from ftune.registry import METHODS

TALK = [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "Hello you"}]
TURNS = [{"from": "human", "value": "Hi there"}, {"from": "gpt", "value": "Hello you"}]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows in the form that the file's name says."""
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            form = csv.DictWriter(file, rows[0], delimiter="," if path.suffix == ".csv" else "\t")
            form.writeheader()
            form.writerows(rows)
    elif path.suffix == ".txt":
        path.write_text("".join(f"{next(iter(r.values()))}\n" for r in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".gz":
        lines = "".join(json.dumps(r) + "\n" for r in rows)
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        write_rows(path, rows)


ALPACA = {"instruction": "Say it.", "input": "a word", "output": "word"}
# File, its row, and the format and columns that a recipe for it names.
SHAPES: list[tuple[str, dict[str, Any], str, dict[str, str]]] = [
    ("a.jsonl", ALPACA, "alpaca", {}),
    ("a.json", ALPACA, "alpaca", {}),
    ("a.jsonl.gz", ALPACA, "alpaca", {}),
    ("a.parquet", ALPACA, "alpaca", {}),
    ("a.jsonl", {"instruction": "Say it.", "output": "word"}, "alpaca", {}),
    ("dolly.jsonl", {"instruction": "Say.", "context": "so", "response": "word", "category": "x"},
     "alpaca", {"input": "context", "output": "response"}),
    ("squad.jsonl", {"question": "Who?", "context": "So.", "answer": "Me"},
     "alpaca", {"instruction": "question", "input": "context", "output": "answer"}),
    ("m.jsonl", {"messages": TALK}, "messages", {}),
    ("m.jsonl", {"conversation": TALK}, "messages", {"messages": "conversation"}),
    ("s.jsonl", {"conversations": TURNS}, "sharegpt", {}),
    ("s.jsonl", {"id": 3, "dialog": TURNS}, "sharegpt", {"conversations": "dialog"}),
    ("c.csv", {"question": "Who?", "answer": "Me"},
     "prompt_completion", {"prompt": "question", "completion": "answer"}),
    ("c.tsv", {"Question": "Who?", "Answer": "Me"},
     "prompt_completion", {"prompt": "Question", "completion": "Answer"}),
    ("e2e.csv", {"mr": "name[X]", "ref": "X it is."},
     "prompt_completion", {"prompt": "mr", "completion": "ref"}),
    ("p.jsonl", {"prompt": "Who?", "completion": "Me"}, "prompt_completion", {}),
    ("p.jsonl", {"prompt": TALK[:1], "completion": TALK[1:]}, "prompt_completion", {}),
    ("l.jsonl", {"text": "So bad", "label": "negative"},
     "prompt_completion", {"prompt": "text", "completion": "label"}),
    ("t.txt", {"text": "A line of text."}, "text", {}),
    ("t.jsonl", {"text": "A line of text.", "n": 4}, "text", {}),
    ("t.jsonl", {"body": "A line of text.", "n": 4}, "text", {"text": "body"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "row", "form", "columns"), SHAPES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_shape_of_data(
    name: str, row: dict[str, Any], form: str, columns: dict[str, str], tmp_path: Path
) -> None:
    write(tmp_path / name, [row] * 6)
    made = call("init", name, within=tmp_path)
    assert made.code == 0, made.said
    assert form in made.out and "recipe.yaml" in made.out
    [source] = load_recipe(tmp_path / "recipe.yaml").recipe.data.train
    assert (source.path, source.format.name) == (name, form)
    usual = type(source.format.config)()
    told = {k: v for k, v in source.format.config if v != getattr(usual, k)}
    assert told == columns
    assert call("validate", "recipe.yaml", within=tmp_path).code == 0
    shown = call("train", "recipe.yaml", "--preview", within=tmp_path)
    assert shown.code == 0, shown.said
    ledger = tmp_path / "runs" / "recipe" / "001" / "format" / "report.json"
    total = json.loads(ledger.read_text(encoding="utf-8"))["figures"]["totals"]["train"]
    assert total["used"] == total["read"] == 6
    assert total["trained"] > 0


def made_recipe(folder: Path, *arguments: str) -> Any:
    ended = call("init", *arguments, within=folder)
    assert ended.code == 0, ended.said
    return load_recipe(folder / "recipe.yaml").recipe


@pytest.mark.parametrize("method", METHODS.names())
def test_a_recipe_of_each_method_is_right(method: str, tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [ALPACA])
    if method == "multitask_prompt_tuning":  # one file is not several tasks
        done = call("init", "a.jsonl", "--method", method, within=tmp_path)
        assert done.code == 2
        assert "name the tasks in tune.tasks" in done.err
        return
    assert made_recipe(tmp_path, "a.jsonl", "--method", method).tune.name == method


@pytest.mark.parametrize("method", ["lora", "qlora", "prompt_tuning", "full"])
def test_a_recipe_of_the_usual_methods_runs(method: str, tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{**ALPACA, "input": str(i)} for i in range(50)])
    made_recipe(tmp_path, "a.jsonl", "--method", method)
    short = ("train.max_steps=1", "train.per_device_train_batch_size=2", "model.device=cpu")
    options = [x for o in (*short, "evaluate.generation.max_new_tokens=2") for x in ("-o", o)]
    ended = call("train", "recipe.yaml", *options, within=tmp_path)
    assert ended.code == 0, ended.said


@pytest.mark.parametrize("count", [1, 39, 40, 150, 300])
def test_rows_are_held_out_where_there_are_enough(count: int, tmp_path: Path) -> None:
    rows = [{"prompt": f"Count to {i}.", "completion": str(i)} for i in range(count)]
    write_rows(tmp_path / "a.jsonl", rows)
    recipe = made_recipe(tmp_path, "a.jsonl")
    shown = call("train", "recipe.yaml", "--preview", within=tmp_path)
    assert shown.code == 0, shown.said
    if count < 40:
        assert recipe.data.eval == recipe.data.test == () and not recipe.evaluate.metrics
    else:
        assert count * recipe.data.eval >= 8 and recipe.evaluate.metrics


def test_a_recipe_elsewhere_finds_its_data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "my rows.jsonl", [ALPACA] * 3)
    ended = call("init", "data/my rows.jsonl", "--output", "deep/er/r.yaml", within=tmp_path)
    assert ended.code == 0, ended.said
    recipe = load_recipe(tmp_path / "deep" / "er" / "r.yaml").recipe
    assert recipe.data.train[0].path == "../../data/my rows.jsonl"


def test_what_ships_is_named_as_it_is(tmp_path: Path) -> None:
    recipe = made_recipe(tmp_path, "ftune:quickstart/train.jsonl")
    assert recipe.data.train[0].path == "ftune:quickstart/train.jsonl"


def test_it_never_overwrites(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [ALPACA])
    (tmp_path / "recipe.yaml").write_text("mine")
    ended = call("init", "a.jsonl", within=tmp_path)
    assert ended.code == 2 and "--output" in ended.err
    assert (tmp_path / "recipe.yaml").read_text() == "mine"


BAD: list[tuple[str, Callable[[Path], object], str]] = [
    ("empty.jsonl", lambda p: p.touch(), "empty"),
    ("odd.jsonl", lambda p: write_rows(p, [{"a": 1, "b": [2]}]), "a, b"),
    ("bad.jsonl", lambda p: p.write_bytes(b"\xff\xfe\n"), "UTF-16"),
    ("rows.xyz", lambda p: p.touch(), ".jsonl"),
    ("none.jsonl", lambda p: None, "no such file"),
    ("list.jsonl", lambda p: p.write_text("[1]\n"), "list.jsonl"),
]


@pytest.mark.parametrize(("name", "make", "word"), BAD, ids=lambda v: v if str(v) == v else "")
def test_data_that_it_can_make_nothing_of(
    name: str, make: Callable[[Path], object], word: str, tmp_path: Path
) -> None:
    make(tmp_path / name)
    ended = call("init", name, within=tmp_path)
    assert ended.code == 3, ended.said
    assert name in ended.err and word in ended.err
    assert "Traceback" not in ended.said
    assert not (tmp_path / "recipe.yaml").exists()


def test_most_rows_decide(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"x": 1}, *[ALPACA] * 9])
    found = guess("a.jsonl", tmp_path)
    assert (found.format, found.good, found.seen) == ("alpaca", 9, 10)
    write_rows(tmp_path / "b.jsonl", [{"x": 1}, ALPACA])
    with pytest.raises(DataError, match="no format reads its rows"):
        guess("b.jsonl", tmp_path)
