"""``ftune data`` on real rows: what it prints, writes and refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from calling import call


@pytest.fixture(scope="module")
def devset(shared: Path) -> Path:
    return shared / "data/e2e/devset.csv"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def answer(*arguments: object, within: Path):
    ended = call("data", *arguments, "--json", within=within)
    assert ended.code == 0, ended.said
    return json.loads(ended.out)


def test_stats_count_every_row(devset, tmp_path):
    told = answer("stats", devset, "--picture", "p.png", within=tmp_path)[str(devset)]
    rows = rows_of(devset)
    assert (told["rows"], told["bad_rows"], told["examples"]) == (len(rows), 0, len(rows))
    assert told["characters"]["assistant"]["total"] == sum(len(r["ref"]) for r in rows)
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_stats_of_a_recipe_tell_the_trained_share(tmp_path):
    recipe = Path(__file__).parents[2] / "recipes/quickstart.yaml"
    told = answer("stats", recipe, within=tmp_path)
    assert set(told) == {"train", "eval", "test"}
    train = told["train"]
    assert train["tokens"]["count"] == train["ledger"]["used"] == 640
    assert train["trained_tokens"]["total"] == train["ledger"]["trained"]
    assert train["share_trained"] == pytest.approx(
        train["ledger"]["trained"] / train["ledger"]["tokens"]
    )


def test_split_by_group_and_check_that_nothing_is_seen(devset, tmp_path):
    told = answer("split", devset, "--group", "mr", "--out", ".", within=tmp_path)
    parts = {name: rows_of(tmp_path / f"devset.{name}.csv") for name in ("train", "test")}
    assert {n: p["rows"] for n, p in told["parts"].items()} == {n: len(r) for n, r in parts.items()}
    assert sum(map(len, parts.values())) == len(rows_of(devset))
    assert not {r["mr"] for r in parts["train"]} & {r["mr"] for r in parts["test"]}
    files = ("devset.train.csv", "--against", "devset.test.csv")
    seen = answer("check", *files, "--least", 1, within=tmp_path)["seen_in_training"]["against"]
    assert (seen["equal"], seen["same_question"]) == (0, 0)


def test_check_finds_what_was_put_in(devset, tmp_path):
    rows = rows_of(devset)
    lines = [json.dumps({"prompt": r["mr"], "completion": r["ref"]}) for r in rows]
    (tmp_path / "train.jsonl").write_text("\n".join(lines[:300]))
    (tmp_path / "test.jsonl").write_text("\n".join([*lines[-20:], lines[7]]))
    line = ("check", "train.jsonl", "--against", "test.jsonl")
    told = answer(*line, within=tmp_path)
    assert told["seen_in_training"]["against"]["equal"] == 1
    assert told["rows"]["against"][0]["row"] == 21
    ended = call("data", *line, "--most", 0.01, within=tmp_path)
    assert ended.code == 3
    assert "stands in the training data" in ended.err
    assert "test.jsonl:21" in ended.out


def test_check_of_a_recipe(tmp_path):
    recipe = Path(__file__).parents[2] / "recipes/quickstart.yaml"
    told = answer("check", recipe, within=tmp_path)
    assert set(told["seen_in_training"]) == {"eval", "test"}
    assert told["answers"]["train"]["examples"] == 640


def test_dedup_agrees_with_a_plain_count(devset, tmp_path):
    told = answer("dedup", devset, "--out", "out.csv", within=tmp_path)
    rows = rows_of(devset)
    once = list({(r["mr"], r["ref"]): r for r in reversed(rows)}.values())
    assert told["kept"] == len(once) == len(rows) - told["equal"]
    assert len(rows_of(tmp_path / "out.csv")) == len(once)
    near = answer("dedup", devset, "--near", 0.8, within=tmp_path)
    assert near["equal"] == told["equal"]
    assert 0 < near["alike"] < 500


def test_convert_there_and_back(devset, tmp_path):
    answer("convert", devset, "--to", "messages", "--out", "m.parquet", within=tmp_path)
    answer("convert", "m.parquet", "--to", "prompt_completion", "--out", "p.csv", within=tmp_path)
    pairs = [(r["prompt"], r["completion"]) for r in rows_of(tmp_path / "p.csv")]
    assert pairs == [(r["mr"].strip(), r["ref"]) for r in rows_of(devset)]


def test_preview_shows_turns(devset, tmp_path):
    told = answer("preview", devset, "--rows", 2, within=tmp_path)
    first = rows_of(devset)[0]
    assert told[0]["turns"] == [
        {"role": "user", "content": first["mr"]},
        {"role": "assistant", "content": first["ref"]},
    ]
    assert len(told) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("stats", "none.jsonl"), 3, "there is no such file"),
        (("stats", "odd.jsonl"), 3, "no format reads its rows; the columns are a"),
        (("stats", "semi.csv"), 3, "one column with semicolons in its name"),
        (("stats", "folder"), 3, "it is a folder: its files must lie"),
        (("convert", "chat.jsonl", "--to", "messages", "--out", "o.csv"), 3, "can be written so"),
        (("stats", "good.jsonl", "--format", "alpacka"), 3, "--format alpacka: is not a format"),
        (("stats", "good.jsonl", "--column", "x=y", "--format", "text"), 3, "has the columns text"),
        (("stats", "good.jsonl", "--column", "x"), 2, "write OURS=THEIRS"),
        (("split", "good.jsonl", "--into", "a=0.5,b=0.6"), 2, "sum to 1"),
        (("split", "good.jsonl", "--into", "a=1"), 2, "sum to 1"),
        (("split", "good.jsonl", "--into", "../a=0.5,b=0.5"), 2, "sum to 1"),
        (("split", "good.jsonl", "--stratify", "labl"), 3, "there is no column 'labl'"),
        (("dedup", "good.jsonl", "--near", "2"), 2, "--near 2.0: must be from 0.1 to 1"),
        (("dedup", "good.jsonl", "--format", "text"), 2, "give --near as well"),
        (("dedup", "good.jsonl", "--out", "good.jsonl"), 3, "is there already"),
        (("convert", "good.jsonl", "--to", "x", "--out", "o.jsonl"), 2, "is not a shape"),
        (("convert", "good.jsonl", "--to", "alpaca", "--out", "o.jsonl"), 3, "is plain text"),
        (("convert", "good.jsonl", "--out", "o.xml"), 3, "its name must end in"),
        (("check", "good.jsonl", "--against", "good.jsonl"), 2, "is the same file"),
        (("check", "good.jsonl", "--least", "7"), 2, "--least 7.0: must be a share"),
    ],
)
def test_bad_input_is_told(tmp_path, arguments, code, words):
    (tmp_path / "good.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "odd.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "semi.csv").write_text("question;answer\n1;2\n")
    (tmp_path / "chat.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "folder").mkdir()
    before = set(tmp_path.iterdir())
    ended = call("data", *arguments, within=tmp_path)
    assert (ended.code, words in ended.said) == (code, True), ended.said
    assert set(tmp_path.iterdir()) == before


def test_bad_rows_are_counted_and_named(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"text": "a"}\n{bad\n{"text": 5}\n{"text": "b"}\n')
    told = answer("stats", "r.jsonl", within=tmp_path)["r.jsonl"]
    assert (told["rows"], told["bad_rows"], told["examples"]) == (4, 2, 2)
    ended = call("data", "dedup", "r.jsonl", within=tmp_path)
    assert "r.jsonl:2: line 2" in ended.err
