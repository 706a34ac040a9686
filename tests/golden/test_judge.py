"""``ftune judge``: a real model judges, through the command line, as transformers would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from commands import Warm

from ftune.evaluate.judge_prompt import CHOICES, asked

pytestmark = pytest.mark.golden
QUESTIONS = {"1": "Name a colour.", "2": "Say hello.", "3": "What is two and two?"}
SIDES = {"a": ("Blue.", "Hello!", "Four."), "b": ("Dog.", "No.", "A fish swims in the sea.")}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, texts in SIDES.items():
        rows = [
            {"question_id": int(key), "text": text}
            for key, text in zip(QUESTIONS, texts, strict=True)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    rows = [{"question_id": int(key), "text": text} for key, text in QUESTIONS.items()]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return tmp_path


def likeliest(model, tokenizer, text: str) -> int:
    """The verdict whose words are likeliest, one prompt at a time."""
    start = tokenizer(text)["input_ids"]
    found = {}
    for verdict, words in CHOICES.items():
        more = tokenizer(words, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([start + more])).logits[0].double().log_softmax(-1)
        found[verdict] = sum(
            float(logits[len(start) - 1 + at, token]) for at, token in enumerate(more)
        )
    return max(found, key=found.__getitem__)


def test_verdicts_by_likelihood(place: Path, warm: Warm, shared: Path):
    folder = shared / "models/TinyStories-656K"
    line = ("a.jsonl", "b.jsonl", "--questions", "q.jsonl", "--model", folder.resolve())
    told = warm.run(place, "judge", "ask", *line, "--json").json
    written = [json.loads(x) for x in (place / "judged/judgments.jsonl").open()]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for one in written:
        at = int(one["question"]) - 1
        texts = [SIDES[side][at] for side in ("a", "b")]
        texts = texts if one["order"] == "forward" else texts[::-1]
        prompt = asked(QUESTIONS[one["question"]], *texts, explain=False)
        assert one["verdict"] == likeliest(model, tokenizer, prompt)
    assert len(written) == 2 * told["pairs"] == 6
    again = warm.run(place, "judge", "read", "judged/judgments.jsonl", "--json").json
    assert [again[k] for k in ("a_wins", "ties", "b_wins")] == [
        told[k] for k in ("a_wins", "ties", "b_wins")
    ]


def test_tuned_against_base_of_a_run(place, warm, shared):
    (place / "run/evaluate").mkdir(parents=True)
    rows = [
        {"row": at, "prompt": f"Say {at}.", "prediction": f"{at}", "base": "no"} for at in range(3)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (place / "run/evaluate/predictions.jsonl").write_text(text)
    model = (shared / "models/stories260K").resolve()
    line = ("run", "run:base", "--model", model, "--out", "j", "--json")
    told = warm.run(place, "judge", "ask", *line).json
    assert (told["pairs"], told["a"], told["b"]) == (3, "run", "run:base")
    assert json.loads((place / "j/report.json").read_text())["win_rate"] == told["win_rate"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("ask", "a.jsonl", "none", "--model", "M"), 5, "there are no answers"),
        (("ask", "a.jsonl", "b.jsonl", "--model", "M"), 3, "questions are not in the file"),
        (("ask", "a.jsonl", "q2.jsonl", "--model", "M"), 3, "answered by one of them only"),
        (("ask", "bad.jsonl", "b.jsonl", "--model", "M"), 3, "bad.jsonl:1: needs an answer"),
        (("ask", "a.jsonl", "b.jsonl", "--model", "nowhere", "--questions", "q.jsonl"), 4, ""),
        (("read", "a.jsonl"), 3, "needs a question and a verdict"),
        (("read", "v.jsonl"), 3, "have a verdict in one order only"),
        (("read", "v.jsonl", "--names", "x"), 2, "write two names"),
    ],
)
def test_bad_input_is_told(place, warm, arguments, code, words):
    (place / "q2.jsonl").write_text('{"question_id": 9, "text": "x"}\n')
    (place / "bad.jsonl").write_text('{"x": 1}\n')
    (place / "v.jsonl").write_text('{"question_id": 1, "score": 1}\n')
    done = warm.run(place, "judge", *arguments, code=code)
    assert words in done.err
    assert not (place / "judged").exists()


def test_a_judge_without_a_verdict_is_told(place, warm, shared):
    model = (shared / "models/stories260K").resolve()
    line = ("a.jsonl", "b.jsonl", "--questions", "q.jsonl", "--model", model, "--explain")
    done = warm.run(place, "judge", "ask", *line, code=3)
    assert "none of its 6 judgments ends with 1, 2 or 3" in done.err
    assert "text" in json.loads((place / "judged/judgments.jsonl").open().readline())
