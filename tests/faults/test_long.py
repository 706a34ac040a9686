"""Long trainings grow neither in memory nor in open files."""

from __future__ import annotations

import json
import signal

import pytest

from ftune.run.apart import Asked, in_child

pytestmark = pytest.mark.golden

STEPS, FROM = 500, 100  # the first steps fill the allocator's pools
LIMIT = 1e6  # bytes per 100 steps


def test_memory_and_open_files(parent, home, tmp_path):
    overrides = {
        "train.max_steps": STEPS,
        "train.num_train_epochs": 1000,
        "train.gradient_accumulation_steps": 1,
        "train.save_steps": 50,
        "train.eval_steps": 25,
        "evaluate.metrics": "[token_loss]",
    }
    pairs = [part for k, v in overrides.items() for part in ("-o", f"{k}={v}")]
    note = tmp_path / "files"
    fault = {"fault": "count_files", "note": str(note)}
    done = parent.train(tmp_path, home / "lora.yaml", *pairs, faults=[fault])
    assert done.code == 0, done.err
    text = (tmp_path / "runs/lora/001/train/metrics.jsonl").read_text()
    lines = [x for x in map(json.loads, text.splitlines()) if "memory_bytes" in x]
    assert len(lines) == STEPS
    points = [(x["step"], x["memory_bytes"]) for x in lines if x["step"] > FROM]
    growth = 100 * _slope(points)
    opened = [int(x) for x in note.read_text().split()]
    print(f"{growth / 1e6:.3f} MB per 100 steps, {opened[0]} to {opened[-1]} open files")
    assert growth < LIMIT
    assert len(opened) >= STEPS // 50  # and the best ones
    assert max(opened[1:]) <= opened[1]


def _slope(points: list[tuple[int, int]]) -> float:
    """Of the straight line with the least squares."""
    n = len(points)
    x, y = (sum(p[i] for p in points) / n for i in (0, 1))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def test_a_tokenizer_is_used_then_a_fork_uses_it(home):
    """As often as a known deadlock needs; each child has a minute."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(home / "model")
    texts = [f"Buy {number} onions." for number in range(500)]
    expected = [len(ids) for ids in tokenizer(texts)["input_ids"]]

    def work() -> tuple[list[int], int]:
        signal.alarm(60)
        return [len(ids) for ids in tokenizer(texts)["input_ids"]], 0

    for _ in range(25):
        ended = in_child(work, Asked())
        assert (ended.code, ended.answer) == (0, expected)
