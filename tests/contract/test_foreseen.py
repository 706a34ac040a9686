"""What would fail in the evaluation is told before the training, and not after hours of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from calling import call
from small_runs import make_home, row, write_rows

LONG = [{**row(0), "input": "word " * 300}]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_home(tmp_path)
    return tmp_path


def spoil(home: Path, options: dict[str, str]) -> list[str]:
    return [part for key, value in options.items() for part in ("-o", f"{key}={value}")]


@pytest.mark.parametrize(
    ("last", "options", "said"),
    [
        ('{"instruction": ', {}, "test.jsonl:4: line 4"),
        ('{"instruction": "x"}', {}, "test.jsonl:4"),
        (None, {"data.on_too_long": "drop"}, "data.test: no row is left to evaluate"),
        (
            '{"instruction": "x"}',
            {"evaluate.robustness": "[typos]", "evaluate.metrics": "[rouge]"},
            "test.jsonl:4",
        ),
    ],
)
def test_test_rows_are_looked_at_before_the_training(home, last, options, said):
    file = home / "test.jsonl"
    good = file.read_text(encoding="utf-8")
    if last is None:
        write_rows(file, LONG)
    else:
        file.write_text(f"{good}{last}\n", encoding="utf-8")
    ended = call("train", "recipe.yaml", *spoil(home, options), within=home)
    assert ended.code == 3, ended.said
    assert said in ended.said
    run = home / "runs" / "recipe" / "001"
    assert (run / "load" / "done.json").is_file()
    assert not (run / "train").exists()

    file.write_text(good, encoding="utf-8")
    ended = call("train", "recipe.yaml", *spoil(home, options), within=home)
    assert ended.code == 0, ended.said
    assert len(list((home / "runs" / "recipe").glob("[0-9]*"))) == 1


def test_rows_to_be_retained_too(home):
    (home / "kept.jsonl").write_text(json.dumps({"instruction": "x"}) + "\n", encoding="utf-8")
    kept = "[{name: kept, path: kept.jsonl, format: alpaca, metrics: [token_loss]}]"
    ended = call("train", "recipe.yaml", "-o", f"evaluate.retain={kept}", within=home)
    assert ended.code == 3, ended.said
    assert "kept.jsonl:1" in ended.said
    assert not (home / "runs" / "recipe" / "001" / "train").exists()
