"""Answers to GSM8K's questions, greedy, by ftune, row by row, or in batches as they come."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import peft
import torch
import transformers

from ftune.evaluate.predicting import generate
from ftune.recipe.schema import Generation
from ftune.types import Prompt


def load(folder: Path, tokenizer):
    """The base with a LoRA adapter that is not merged, as after training."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    model = peft.get_peft_model(model, config).eval()
    # No answer ends by itself, so that all sides make equally many tokens.
    model.generation_config.eos_token_id = None
    tokenizer.pad_token = tokenizer.eos_token
    return model


def by_ftune(model, tokenizer, texts: list[str], new: int, batch: int) -> list[int]:
    """As stage evaluate does it."""
    ids = tokenizer(texts)["input_ids"]
    prompts = [Prompt(tuple(row), text) for row, text in zip(ids, texts, strict=True)]
    tokenizer.eos_token_id = None
    settings = Generation(max_new_tokens=new)
    return [p.tokens for p in generate(model, tokenizer, prompts, settings, batch_size=batch)]


def row_by_row(model, tokenizer, texts: list[str], new: int, batch: int) -> list[int]:  # noqa: ARG001
    """The plain loop."""
    made = []
    for text in texts:
        given = tokenizer(text, return_tensors="pt")
        answer = model.generate(
            **given, max_new_tokens=new, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
        made.append(answer.shape[1] - given["input_ids"].shape[1])
    return made


def in_batches(model, tokenizer, texts: list[str], new: int, batch: int) -> list[int]:
    """Batches in the rows' order, padded on the left, as transformers' pipeline makes them."""
    tokenizer.padding_side = "left"
    made = []
    for start in range(0, len(texts), batch):
        given = tokenizer(texts[start : start + batch], return_tensors="pt", padding=True)
        answer = model.generate(
            **given, max_new_tokens=new, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
        made += [answer.shape[1] - given["input_ids"].shape[1]] * len(given["input_ids"])
    return made


SIDES = {"ftune": by_ftune, "rows": row_by_row, "batches": in_batches}


def main(folder: Path, side: str, count: int, new: int, batch: int) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    model = load(folder, tokenizer)
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    texts = [json.loads(line)["prompt"] for line in lines]
    begun, cpu = time.perf_counter(), time.process_time()
    made = SIDES[side](model, tokenizer, texts, new, batch)
    taken = {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}
    print(json.dumps({"tokens": sum(made), **taken}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6]))
