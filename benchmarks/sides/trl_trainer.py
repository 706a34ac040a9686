"""TRL's SFTTrainer with its defaults, in float32; "open" leaves out gradient checkpointing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import datasets
import peft
import torch
import transformers
from steps import Steps
from trl import SFTConfig, SFTTrainer


class Timed(SFTTrainer):
    """Notes each step; a step's tokens are those without padding."""

    tokens = 0

    def training_step(self, model, inputs, *args, **kwargs):
        """As ever, and counts."""
        self.tokens += int(inputs["attention_mask"].sum())
        return super().training_step(model, inputs, *args, **kwargs)


class Watch(transformers.TrainerCallback):
    """From the start of a step to the start of the next one."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.trainer = steps, None

    def on_train_begin(self, *_, **__):
        """The clock starts."""
        self.steps.begin()

    def on_step_end(self, *_, **__):
        """A step is over."""
        self.steps.end(self.trainer.tokens)
        self.trainer.tokens = 0


def tuning(work):
    """PEFT's settings, or none for full fine-tuning."""
    if work["method"] == "lora":
        return peft.LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        )
    if work["method"] == "prompt_tuning":
        return peft.PromptTuningConfig(num_virtual_tokens=20, task_type="CAUSAL_LM")
    return None


def main(folder: Path, path: str, kind: str) -> None:
    work = json.loads((folder / "work.json").read_text(encoding="utf-8"))
    rows = [json.loads(x) for x in (folder / "train.jsonl").read_text("utf-8").splitlines()]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.pad_token = tokenizer.eos_token
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    options = {"gradient_checkpointing": False} if kind == "open" else {}
    watch = Watch(Steps(path))
    trainer = Timed(
        model=model,
        args=SFTConfig(
            output_dir=str(folder / f"trl-{kind}"),
            per_device_train_batch_size=work["batch"],
            num_train_epochs=1,
            max_length=work["length"] or 1024,
            bf16=False,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            **options,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=tuning(work),
        callbacks=[watch],
    )
    watch.trainer = trainer
    trainer.train()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
