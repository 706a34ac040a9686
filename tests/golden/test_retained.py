"""``evaluate.retain``: what training took from what the base was good at, on real stories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from commands import Warm

pytestmark = pytest.mark.golden
ROWS = 24


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    folder = tmp_path_factory.mktemp("retained")
    text = (shared / "data/tinystories/tinystories_sample.txt").read_text(encoding="utf-8")
    stories = [" ".join(s.split()) for s in text.split("<|endoftext|>") if len(s) < 900]
    rows = [json.dumps({"text": s}) for s in stories if len(s) > 100][:ROWS]
    (folder / "stories.jsonl").write_text("\n".join(rows))
    (folder / "r.yaml").write_text(f"""\
name: kept
model: {{name_or_path: {shared.resolve()}/models/TinyStories-656K}}
data:
  train:
    - {{path: {shared.resolve()}/data/e2e/devset.csv, format: prompt_completion,
       columns: {{prompt: mr, completion: ref}}, max_rows: 200}}
  template: plain
  max_length: 512
tune: {{method: lora, r: 8}}
train: {{max_steps: 25, learning_rate: 2e-2}}
evaluate:
  retain:
    - {{name: stories, path: stories.jsonl, format: text, metrics: [token_loss, perplexity]}}
""")
    return folder


@pytest.fixture(scope="module")
def report(home: Path, warm: Warm) -> dict:
    return warm.run(home, "train", "r.yaml", "--json").json


def plain_loss(home: Path, shared: Path) -> float:
    """Nats a token of the base, story by story, as transformers computes it."""
    place = shared / "models/TinyStories-656K"
    model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    total = count = 0.0
    for line in (home / "stories.jsonl").open(encoding="utf-8"):
        text = json.loads(line)["text"] + tokenizer.eos_token
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            loss = model(ids, labels=ids).loss
        total += float(loss) * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    return total / count


def test_what_was_lost_is_measured_and_said(home, shared, report):
    told = {m["name"]: m for m in report["metrics"]}
    loss = told["stories/token_loss (retained)"]
    assert loss["base"] == pytest.approx(plain_loss(home, shared), rel=1e-4)
    assert loss["tuned"] > loss["base"] + 0.1
    assert loss["verdict"] == "worse"
    assert "stories/perplexity (retained)" in told
    [warning] = [w for w in report["warnings"] if "stories/token_loss went from" in w]
    assert "mix such rows into data.train" in warning
    assert "stories/token" in (home / "runs/kept/001/report.md").read_text().replace("\\", "")


def test_what_was_kept_is_not_warned_of(home, report, warm):
    told = warm.run(home, "train", "r.yaml", "-o", "train.learning_rate=1e-7", "--json").json
    [loss] = [m for m in told["metrics"] if m["name"] == "stories/token_loss (retained)"]
    assert loss["verdict"] in ("no difference seen", "better")
    assert not [w for w in told["warnings"] if "partly lost" in w]


@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("evaluate.base=false", 2, "nothing to compare evaluate.retain with"),
        ("evaluate.retain[0].path=none.txt", 3, "there is no such file"),
        ("evaluate.retain[0].metrics=[tokn_loss]", 2, "did you mean token_loss"),
        ("evaluate.retain[0].nam=x", 2, "is not a key of evaluate.retain[0]"),
    ],
)
def test_bad_input_is_told_before_the_training(home, warm, override, code, words):
    done = warm.run(home, "train", "r.yaml", "-o", "name=other", "-o", override, code=code)
    assert words in done.err
    assert not (home / "runs/other").exists()
