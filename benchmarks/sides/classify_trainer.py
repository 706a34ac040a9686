"""The classic tutorial: transformers' Trainer and PEFT on a classifier, as one would write it.

Takes one argument of JSON: model, train, test (files of rows with text and label), length, padding,
folder, seed, epochs, alpha (none: the head alone is trained). Prints accuracy in percent, seconds
of training and peak resident bytes.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)


def main() -> None:
    work = json.loads(sys.argv[1])
    set_seed(work["seed"])
    tokenizer = AutoTokenizer.from_pretrained(work["model"])
    model: Any = AutoModelForSequenceClassification.from_pretrained(work["model"], num_labels=2)
    if work["alpha"]:
        config = LoraConfig(
            task_type="SEQ_CLS", r=4, lora_alpha=work["alpha"], target_modules=["query"]
        )
        model = get_peft_model(model, config)
    else:
        model.base_model.requires_grad_(False)

    def tokens(rows: dict[str, Any]) -> Any:
        padding = "max_length" if work["padding"] == "max_length" else False
        return tokenizer(rows["text"], truncation=True, max_length=work["length"], padding=padding)

    data = {}
    for split in ("train", "test"):
        lines = Path(work[split]).read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        made = Dataset.from_list(
            [{"text": row["text"], "label": int(row["label"])} for row in rows]
        )
        data[split] = made.map(tokens, batched=True, remove_columns=["text"])
    settings = TrainingArguments(
        output_dir=work["folder"],
        learning_rate=1e-3,
        num_train_epochs=work["epochs"],
        per_device_train_batch_size=16,
        per_device_eval_batch_size=16,
        save_strategy="no",
        report_to=[],
        seed=work["seed"],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model=model,
        args=settings,
        train_dataset=data["train"],
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
    begun = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - begun
    said: Any = trainer.predict(data["test"])
    right = float(np.mean(said.predictions.argmax(-1) == said.label_ids))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"accuracy": 100 * right, "seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
