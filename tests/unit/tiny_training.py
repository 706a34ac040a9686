"""A training in miniature, for the tests of the loop: a random Llama, rows in memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import peft
import torch
import transformers

from ftune.data.batching import Plan, in_order
from ftune.data.collating import collate, targets
from ftune.recipe.base import Chosen
from ftune.recipe.schema import Train
from ftune.train.job import Job
from ftune.train.objectives import sft

TIMINGS = {"seconds", "tokens_per_second", "memory_bytes", "eval_seconds"}


def tiny_llama(seed: int = 0, **options) -> transformers.LlamaForCausalLM:
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        **{
            "vocab_size": 40,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            **options,
        }
    )
    return transformers.LlamaForCausalLM(config)


def tiny_lora(seed: int = 0, dropout: float = 0.2):
    config = peft.LoraConfig(
        r=2, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return peft.get_peft_model(tiny_llama(seed), config)


def some_rows(count: int = 23, seed: int = 0):
    random = np.random.default_rng(seed)
    rows = []
    for length in random.integers(4, 17, count):
        ids = random.integers(3, 40, length)
        trained = np.arange(length) >= length // 2
        rows.append((ids, trained))
    return rows


def settings(**options) -> Train:
    return Train(
        **{
            "objective": Chosen("sft", sft.Config()),
            "learning_rate": 1e-2,
            "logging_steps": 2,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            **options,
        }
    )


def make_plan(rows, train: Train, packed: bool = False, processes: int = 1) -> Plan:
    return Plan(
        np.array([len(ids) for ids, _ in rows]),
        targets(rows.__getitem__, len(rows)),
        batch_size=train.per_device_train_batch_size,
        accumulation=train.gradient_accumulation_steps,
        processes=processes,
        group_by_length=train.group_by_length,
        tokens_per_batch=train.tokens_per_batch,
        pack_length=24 if packed else None,
        seed=train.seed,
    )


def make_job(folder: Path, model=None, rows=None, eval_rows=(), packed=False, job=None, **options):
    rows = some_rows() if rows is None else rows
    train = settings(**options)
    lengths = np.array([len(ids) for ids, _ in eval_rows])
    return Job(
        **{
            "model": tiny_lora() if model is None else model,
            "objective": sft,
            "objective_config": sft.Config(),
            "settings": train,
            "plan": make_plan(rows, train, packed),
            "collate": lambda micro: collate(micro, rows.__getitem__, 0, packed),
            "folder": folder,
            "eval_batches": in_order(lengths, 4) if len(eval_rows) else (),
            "eval_collate": lambda micro: collate(micro, eval_rows.__getitem__, 0, False),
            **(job or {}),
        }
    )


def weights(model) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def same_weights(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def metrics(folder: Path) -> list[dict]:
    """The lines of metrics.jsonl, less what no two runs have alike."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in TIMINGS} for x in lines]
