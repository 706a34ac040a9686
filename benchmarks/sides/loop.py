"""The plain loop that one writes by hand: transformers, PEFT, a padded batch, the model's loss."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import peft
import torch
import transformers
from steps import Steps


def rows(folder: Path, tokenizer, limit: int):
    """Token ids of each row, and where its completion begins."""
    for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        prompt = tokenizer(row["prompt"])["input_ids"]
        completion = tokenizer(row["completion"])["input_ids"] + [tokenizer.eos_token_id]
        yield (prompt + completion)[:limit], len(prompt)


def main(folder: Path, path: str) -> None:
    work = json.loads((folder / "work.json").read_text(encoding="utf-8"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    if work["method"] == "lora":
        config = peft.LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        model = peft.get_peft_model(model, config)
    elif work["method"] == "prompt_tuning":
        config = peft.PromptTuningConfig(num_virtual_tokens=20, task_type="CAUSAL_LM")
        model = peft.get_peft_model(model, config)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4)
    data = list(rows(folder, tokenizer, work["length"] or 1024))
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
    steps = Steps(path)
    for start in range(0, len(order), work["batch"]):
        chosen = [data[i] for i in order[start : start + work["batch"]]]
        width = max(len(ids) for ids, _ in chosen)
        ids = torch.full((len(chosen), width), tokenizer.eos_token_id)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for at, (row, prompt) in enumerate(chosen):
            ids[at, : len(row)] = torch.tensor(row)
            labels[at, prompt : len(row)] = torch.tensor(row[prompt:])
            mask[at, : len(row)] = 1
        loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        steps.end(int(mask.sum()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
