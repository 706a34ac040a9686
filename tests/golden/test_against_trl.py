"""The same rows, batches, seed and adapter give the same loss curve as TRL's SFTTrainer."""

from __future__ import annotations

import csv
import json

import numpy as np
import peft
import pytest
import torch
import transformers
from tokenizers import Tokenizer

from ftune.data.collating import collate, targets
from ftune.data.steps import Micro, Step
from ftune.recipe.base import Chosen
from ftune.recipe.schema import Train
from ftune.train.job import Job
from ftune.train.loop import train
from ftune.train.objectives import sft

pytestmark = pytest.mark.golden

STEPS, BATCH, ACCUMULATION = 20, 4, 2
RATE = 1e-3


def e2e_rows(shared):
    """Real meaning representations and references, the reference trained."""
    tokenizer = Tokenizer.from_file(str(shared / "models/TinyStories-656K/tokenizer.json"))
    rows = []
    with (shared / "data/e2e/devset.csv").open(encoding="utf-8") as handle:
        for line in list(csv.DictReader(handle))[:: 4672 // (STEPS * BATCH * ACCUMULATION)]:
            prompt = tokenizer.encode(line["mr"] + "\n").ids
            answer = tokenizer.encode(line["ref"], add_special_tokens=False).ids
            rows.append(([*prompt, *answer, 2], [False] * len(prompt) + [True] * (len(answer) + 1)))
    return rows[: STEPS * BATCH * ACCUMULATION]


class InOrder:
    """A plan that takes the rows as they stand."""

    def __init__(self, rows) -> None:
        self.lengths = np.array([len(ids) for ids, _ in rows])
        self.targets = targets(rows.__getitem__, len(rows))

    def counts(self, epochs, max_steps=None):
        return (STEPS,)

    def epoch(self, number):
        return [self._step(start) for start in range(0, len(self.lengths), BATCH * ACCUMULATION)]

    def _step(self, start):
        rows = range(start, start + BATCH * ACCUMULATION)
        micros = [
            Micro(tuple((i,) for i in rows[a : a + BATCH])) for a in range(0, len(rows), BATCH)
        ]
        return Step(
            micros=(tuple(micros),),
            rows=len(rows),
            targets=int(self.targets[rows].sum()),
            tokens=int(self.lengths[rows].sum()),
        )


def load(shared, tuning):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        shared / "models/TinyStories-656K", dtype=torch.float32
    )
    torch.manual_seed(0)
    if tuning == "lora":
        config = peft.LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")
        return peft.get_peft_model(model, config)
    if tuning == "prompt tuning":
        config = peft.PromptTuningConfig(num_virtual_tokens=8, task_type="CAUSAL_LM")
        return peft.get_peft_model(model, config)
    return model


def ours(model, rows, folder):
    settings = Train(
        objective=Chosen("sft", sft.Config()),
        learning_rate=RATE,
        logging_steps=1,
        warmup_steps=3,
        weight_decay=0.01,
        max_grad_norm=0.5,
    )
    job = Job(
        model=model,
        objective=sft,
        objective_config=sft.Config(),
        settings=settings,
        plan=InOrder(rows),
        collate=lambda micro: collate(micro, rows.__getitem__, 0, packed=False),
        folder=folder,
    )
    train(job)
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    return np.array([[line["loss"], line["grad_norm"]] for line in lines])


def theirs(model, rows, folder):
    import datasets
    import trl

    class Sequential(trl.SFTTrainer):
        def _get_train_sampler(self, dataset=None):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    labels = [
        [token if t else -100 for token, t in zip(ids, trained, strict=True)]
        for ids, trained in rows
    ]
    data = datasets.Dataset.from_dict({"input_ids": [ids for ids, _ in rows], "labels": labels})
    trainer = Sequential(
        model=model,
        args=trl.SFTConfig(
            output_dir=str(folder),
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            gradient_accumulation_steps=ACCUMULATION,
            learning_rate=RATE,
            warmup_steps=3,
            weight_decay=0.01,
            max_grad_norm=0.5,
            lr_scheduler_type="linear",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            max_length=None,
            disable_tqdm=True,
        ),
        train_dataset=data,
        processing_class=transformers.AutoTokenizer.from_pretrained(
            model.config._name_or_path, pad_token="<unk>"
        ),
    )
    trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    return np.array([[line["loss"], line["grad_norm"]] for line in lines])


@pytest.mark.parametrize("tuning", ["lora", "prompt tuning", "full"])
def test_same_loss_curve_as_trl(shared, tmp_path, tuning):
    pytest.importorskip("trl")
    rows = e2e_rows(shared)
    one = ours(load(shared, tuning), rows, tmp_path / "ours")
    other = theirs(load(shared, tuning), rows, tmp_path / "theirs")
    assert one.shape == other.shape == (STEPS, 2)
    assert one[-3:, 0].mean() < one[:3, 0].mean() - 0.005  # something was learned
    residual = one - other
    assert abs(residual[:, 0].mean()) < 1e-4
    assert abs(residual[:, 0]).max() < 1e-5
    assert abs(residual[:, 1] / other[:, 1]).max() < 1e-3
    print(f"{tuning}: loss residual mean {residual[:, 0].mean():.1e}, ", end="")
    print(f"largest {abs(residual[:, 0]).max():.1e}; loss {one[0, 0]:.3f} -> {one[-1, 0]:.3f}")
