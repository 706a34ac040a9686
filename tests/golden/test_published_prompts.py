"""Prompt templates and demonstrations through the command line, against published prompts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Warm

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from small_runs import make_model

pytestmark = pytest.mark.golden

STEP = "Let's think step by step."
RATIONALE = (
    "{{ ' ' }}{% if target is defined %}{{target}}{% else %}"
    "{{ answer.split('####')[0] | regex_replace('<<.*?>>') | trim | replace('\\n', ' ') }} "
    "The answer is {{ answer.split('####')[1] | trim }}.{% endif %}"
)
COT = {"input": "Q: {{question}}\nA:", "target": RATIONALE}
BBH = {
    "input": f"Q: {{{{input}}}}\nA: {STEP}",
    "target": "\n{{ rationale if rationale is defined else 'So the answer is ' + target + '.' }}",
}


def write(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows


def prepare(home: Path, shared: Path) -> dict[str, Any]:
    """The data, in a folder of its own; gives what the published prompts are made of."""
    data = shared.resolve() / "data"
    lm_eval = pytest.importorskip("lm_eval")
    task = Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k-cot.yaml"
    shots = yaml.safe_load(task.read_text("utf-8"))["fewshot_config"]["samples"]
    write(home / "gsm8k-shots.jsonl", shots)
    lines = (data / "gsm8k/test.jsonl").read_text("utf-8").splitlines()
    asked = write(home / "gsm8k.jsonl", [json.loads(line) for line in lines[:3]])
    text = (data / "bbh/cot-prompts/word_sorting.txt").read_text("utf-8").partition("-----\n")[2]
    intro, *blocks = text.split("\n\nQ: ")
    pairs = [block.split(f"\nA: {STEP}\n", 1) for block in blocks]
    write(home / "bbh-shots.jsonl", [{"input": a, "rationale": b} for a, b in pairs])
    words = json.loads((data / "bbh/bbh/word_sorting.json").read_text("utf-8"))["examples"][:2]
    write(home / "bbh.jsonl", words)
    reviews = [{"text": f"Review {i}.", "label": i % 2} for i in range(40)]
    write(home / "reviews.jsonl", reviews)
    return {"shots": shots, "asked": asked, "bbh": text, "intro": intro, "words": words}


def recipe(home: Path, shared: Path, intro: str) -> None:
    eight = {"k": 8, "choose": "fixed", "pool": {"path": "gsm8k-shots.jsonl"}}
    three = {"k": 3, "choose": "fixed", "pool": {"path": "bbh-shots.jsonl"}, "intro": intro}
    asked = {"path": "gsm8k.jsonl", "format": "prompts", "columns": COT}
    templates = shared.resolve() / "data/promptsource/imdb/templates.yaml"
    plain = {
        "name": "shots",
        "model": {"name_or_path": "./model", "device": "cpu"},
        "data": {
            "train": [
                {"path": "reviews.jsonl", "format": "prompts",
                 "columns": {"templates": str(templates), "ending": "\n"}},
                {**asked, "few_shot": {"k": [0, 1], "pool": {"path": "gsm8k-shots.jsonl"}}},
            ],
            "test": [
                {**asked, "few_shot": eight},
                {"path": "bbh.jsonl", "format": "prompts", "columns": BBH, "few_shot": three},
            ],
            "template": "plain",
            "max_length": 4096,
        },
        "tune": {"method": "lora", "r": 2},
        "train": {"max_steps": 1},
        "evaluate": {
            "metrics": [{"exact_match": {"pattern": "answer is (.+?)\\.?$"}}],
            "generation": {"max_new_tokens": 2},
            "base": False,
            "bootstrap": 0,
        },
    }  # fmt: skip
    (home / "r.yaml").write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")


def test_published_prompts_come_out_of_a_run(tmp_path: Path, shared: Path, warm: Warm) -> None:
    make_model(tmp_path / "model", max_position_embeddings=8192)
    told = prepare(tmp_path, shared)
    recipe(tmp_path, shared, told["intro"])
    done = warm.run(tmp_path, "train", "r.yaml")
    assert done.code == 0, done.err
    run = tmp_path / "runs/shots/001"
    found = [json.loads(x) for x in (run / "evaluate/predictions.jsonl").read_text().splitlines()]
    eight = "\n\n".join(f"Q: {one['question']}\nA: {one['target']}" for one in told["shots"])
    questions = [f"{eight}\n\nQ: {row['question']}\nA:" for row in told["asked"]]
    questions += [f"{told['bbh']}\n\nQ: {row['input']}\nA: {STEP}" for row in told["words"]]
    assert [one["prompt"] for one in found] == questions
    assert found[0]["references"][0].endswith(" The answer is 18.")
    assert found[3]["references"] == [f"\nSo the answer is {told['words'][0]['target']}."]
    ledger = json.loads((run / "format/report.json").read_text())["figures"]["ledger"]["train"]
    assert sum(ledger[0]["templates"].values()) == 40 and len(ledger[0]["templates"]) > 5
    assert 0 < ledger[1]["shots"] <= 3
    assert "rows by template: " in done.err + done.out
    assert "| prompt template | rows |" in (run / "report.md").read_text()
    assert "Rows by prompt template" in (run / "report.html").read_text()
    tested = json.loads((run / "evaluate/report.json").read_text())["figures"]
    assert "shots" in json.dumps(tested)


@pytest.mark.parametrize(
    ("code", "override", "said"),
    [
        (2, "data.train.0.columns.templates=absent.yaml", "there is no file 'absent.yaml'"),
        (2, "data.train.0.columns.only=[nope]", "there is no template 'nope' in it; there are "),
        (3, "data.train.1.few_shot.k=99", "few_shot.k asks for 99 demonstrations, and gsm8k-shots"),
        (2, "data.train.1.few_shot.pool.path=no.jsonl", "there is no file no.jsonl"),
        (
            3,
            "data.train.1.columns.target='{{x}}'",
            "gsm8k.jsonl:1: the template in columns fails on ",
        ),
        (2, "data.train.1.columns.target=null", "needs templates, a file, or input and target"),
        (
            2,
            "data.train.1.few_shot={k: 1, as_turns: true, between: x}",
            "between has no effect with",
        ),
        (
            2,
            "data.train.1={path: gsm8k.jsonl, format: text, columns: {text: question}, few_shot: "
            "{k: 1}}",
            "have no question and answer that could be shown",
        ),
        (2, "data.train.1.columns.only=[x]", "columns.only: has no effect without templates"),
    ],
)
def test_bad_input_is_told(
    code: int, override: str, said: str, tmp_path: Path, shared: Path, warm: Warm
) -> None:
    told = prepare(tmp_path, shared)
    recipe(tmp_path, shared, told["intro"])
    done = warm.run(
        tmp_path, "train", "r.yaml", "--preview", "-o", "model.name_or_path=ftune:tiny", "-o",
        override, code=code,
    )  # fmt: skip
    assert said in " ".join(done.err.split())
