"""``evaluate.stride``: perplexity of whole documents, as transformers' guide computes it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import transformers
from commands import Warm

pytestmark = pytest.mark.golden
WIDTH, STRIDE = 64, 24


@pytest.fixture
def home(tmp_path: Path, shared: Path) -> Path:
    text = (shared / "data/tinyshakespeare/input.txt").read_text(encoding="utf-8")
    rows = [{"text": text[start : start + 1500]} for start in (0, 5000)]
    (tmp_path / "plays.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "train.jsonl").write_text('{"text": "A short line."}\n' * 8)
    (tmp_path / "r.yaml").write_text(f"""\
name: strided
model: {{name_or_path: {shared.resolve()}/models/TinyStories-656K}}
data:
  train: [{{path: train.jsonl, format: text}}]
  test: [{{path: plays.jsonl, format: text}}]
  max_length: {WIDTH}
tune: {{method: lora, r: 2}}
train: {{max_steps: 1}}
evaluate: {{metrics: [perplexity], stride: {STRIDE}}}
""")
    return tmp_path


def guide(home: Path, shared: Path) -> float:
    """Each token once, with up to WIDTH - 1 before it; the guide's loop, weighted by tokens."""
    place = shared / "models/TinyStories-656K"
    model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    total = count = 0.0
    for line in (home / "plays.jsonl").open(encoding="utf-8"):
        text = json.loads(line)["text"] + tokenizer.eos_token
        ids = tokenizer(text, return_tensors="pt").input_ids
        previous = 0
        for begin in range(0, ids.shape[1], STRIDE):
            end = min(begin + WIDTH, ids.shape[1])
            part, target = ids[:, begin:end], ids[:, begin:end].clone()
            target[:, : -(end - previous)] = -100
            with torch.no_grad():
                loss = model(part, labels=target).loss
            scored = int((target[:, 1:] != -100).sum())
            total, count, previous = total + float(loss) * scored, count + scored, end
            if end == ids.shape[1]:
                break
    return math.exp(total / count)


def test_as_the_guide_computes_it(home: Path, warm: Warm, shared: Path):
    told = warm.run(home, "train", "r.yaml", "--json").json
    [metric] = told["metrics"]
    assert metric["base"] == pytest.approx(guide(home, shared), rel=1e-5)
    assert metric["signature"].endswith(f"|window:{WIDTH}|stride:{STRIDE}")
    longer = warm.run(
        home, "eval", "r.yaml", "--model", "base", "-o", "evaluate.stride=64", "--json"
    )
    # Touching windows give each token less context.
    assert longer.json["metrics"][0]["tuned"] > metric["base"]


@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("evaluate.stride=65", 2, "more than data.max_length (64)"),
        ("evaluate.metrics=[repetition]", 2, "no effect without a metric of likelihood"),
        ("evaluate.stride=0", 2, "evaluate.stride"),
        ("evaluate.stride=null", 3, "max_length"),
    ],
)
def test_bad_input_is_told(home, warm, override, code, words):
    done = warm.run(home, "train", "r.yaml", "-o", override, code=code)
    assert words in done.err
