"""A home folder with a random model of a few thousand weights, a few rows, and recipes for them."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parents[2] / "ftune" / "assets" / "tiny"
WORDS = ("onions", "a kettle", "two spoons", "paper", "red paint", "bread", "nails", "a map")

BASE = {
    "model.name_or_path": "{home}/model",
    "model.device": "cpu",
    "data.eval[0].path": "eval.jsonl",
    "data.eval[0].format": "alpaca",
    "data.test[0].path": "test.jsonl",
    "data.test[0].format": "alpaca",
    "data.max_length": 128,
    "tune.method": "lora",
    "train.learning_rate": 1e-2,
    "train.num_train_epochs": 2,
    "train.per_device_train_batch_size": 2,
    "train.logging_steps": 1,
    "train.save_steps": 1,
    "train.eval_steps": 3,
    "evaluate.metrics": ["token_loss", "exact_match"],
    "evaluate.generation.max_new_tokens": 6,
}
# 22 rows and weights 1 and 0.5: 17 or so a pass, which no accumulation below divides.
ONE = {"data.train[0].path": "train.jsonl", "data.train[0].format": "alpaca"}
TWO = {
    **ONE,
    "data.train[1].path": "other.jsonl",
    "data.train[1].format": "alpaca",
    "data.train[0].weight": 0.5,
    "data.train[1].weight": 2.0,
}
LORA = {"tune.r": 2, "tune.lora_dropout": 0.1}
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {**ONE, **LORA, "train.gradient_accumulation_steps": 3},
    "qlora": {
        **ONE,
        **LORA,
        "tune.method": "qlora",
        "model.quantization.load_in_4bit": True,
        "train.gradient_accumulation_steps": 2,
        "train.lr_scheduler_type": "cosine",
    },
    "prompt": {
        **TWO,
        "tune.method": "prompt_tuning",
        "tune.num_virtual_tokens": 4,
        "train.load_best_model_at_end": True,
        "train.gradient_accumulation_steps": 2,
    },
    "full": {**TWO, "tune.method": "full", "data.packing": True, "data.max_length": 96},
    "packed": {
        **TWO,
        **LORA,
        "data.packing": True,
        "data.max_length": 64,
        "train.gradient_accumulation_steps": 2,
        "train.save_total_limit": 1,
    },
    "mixture": {
        **{k: v for k, v in TWO.items() if "weight" not in k},
        **LORA,
        "data.mixture.sampling": "uniform",
        "data.mixture.redraw": True,
        "data.packing": True,
        "data.max_length": 64,
        "train.num_train_epochs": 5,
        "train.eval_steps": 1,
        "train.early_stopping_patience": 3,
        "train.load_best_model_at_end": True,
        "train.gradient_accumulation_steps": 2,
        "train.save_total_limit": 1,
        "train.on_spike": "skip",
        "train.spikes.window": 8,
        "train.spikes.deviations": 1.0,
    },
    "early": {
        **ONE,
        **LORA,
        "train.num_train_epochs": 4,
        "train.eval_steps": 2,
        "train.early_stopping_patience": 1,
        "train.early_stopping_threshold": 0.6,
        "train.load_best_model_at_end": True,
        "train.gradient_accumulation_steps": 2,
    },
}
# Trainings that remember more than weights and optimizer, or do more beside them; by hand, as
# `kills.py --kinds more`.
LABELLED = {
    "data.train[0].path": "labelled.jsonl",
    "data.train[0].format": "labelled",
    "data.eval[0].path": "labelled-eval.jsonl",
    "data.eval[0].format": "labelled",
    "data.test[0].path": "labelled-test.jsonl",
    "data.test[0].format": "labelled",
    "train.objective": "classification",
    "train.num_train_epochs": 3,
    "evaluate.metrics": ["accuracy", "classification"],
    "evaluate.generation.max_new_tokens": None,
}
MORE: dict[str, dict[str, Any]] = {
    # A body that rests: what the head reads is kept from the first epoch on.
    "head": {**LABELLED, "tune.method": "head", "train.gradient_accumulation_steps": 2},
    "classify": {
        **LABELLED,
        **LORA,
        "train.early_stopping_patience": 2,
        "train.load_best_model_at_end": True,
        "train.eval_steps": 2,
    },
    "ulmfit": {
        **ONE,
        "tune.method": "full",
        "train.unfreeze_every.steps": 5,
        "train.layer_rate_decay": 2.6,
        "train.lr_scheduler_type": "slanted_triangular",
        "train.gradient_accumulation_steps": 2,
    },
    "importance": {**ONE, "tune.method": "importance", "tune.by": "row", "tune.sample_rows": 8},
    "adalora": {
        **ONE,
        "tune.method": "adalora",
        "tune.init_r": 4,
        "tune.target_r": 2,
        "tune.tinit": 2,
        "tune.tfinal": 4,
        "tune.lora_dropout": 0.1,
        "train.gradient_accumulation_steps": 2,
    },
    "multitask": {
        **{k: v for k, v in TWO.items() if "weight" not in k},
        "data.train[0].task": "a",
        "data.train[1].task": "b",
        "data.eval[0].task": "a",
        "data.test[0].task": "b",
        "data.mixture.sampling": "uniform",
        "data.mixture.redraw": True,
        "tune.method": "multitask_prompt_tuning",
        "tune.tasks": ["a", "b"],
        "tune.num_virtual_tokens": 4,
        "train.learning_rate": 0.3,
        "train.gradient_accumulation_steps": 2,
    },
    "streaming": {
        **TWO,
        **LORA,
        "data.streaming.buffer": 8,
        "train.max_steps": 14,
        "train.gradient_accumulation_steps": 2,
        "data.packing": True,
        "data.max_length": 96,
    },
    "pissa": {
        **ONE,
        **LORA,
        "tune.init_lora_weights": "pissa",
        "train.optim": "adamw_8bit",
        "train.tokens_per_batch": 200,
        "train.per_device_train_batch_size": None,
    },
}


def make_home(folder: Path) -> Path:
    """Model, data, and a recipe for each variant."""
    folder.mkdir(parents=True, exist_ok=True)
    _model(folder / "model")
    for name, count, words in (
        ("train", 22, "Write it down."),
        ("other", 5, "Take a note."),
        ("eval", 5, "Note."),
        ("test", 4, "Say it."),
    ):
        lines = (json.dumps(_row(i, words)) + "\n" for i in range(count))
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    for name, count in (("labelled", 22), ("labelled-eval", 6), ("labelled-test", 4)):
        rows = ({"text": f"Buy {WORDS[i % 8]} {name} {i}", "label": i % 3} for i in range(count))
        lines = (json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    for name, keys in {**VARIANTS, **MORE}.items():
        write_recipe(folder, name, keys)
    return folder


def write_recipe(home: Path, name: str, keys: dict[str, Any]) -> Path:
    """``<name>.yaml`` with the base's keys and these; None leaves one out."""
    tree: dict[str, Any] = {}
    for key, value in {**BASE, **keys}.items():
        if value is None:
            continue
        if isinstance(value, str):
            value = value.replace("{home}", str(home))
        *above, last = key.replace("]", "").replace("[", ".").split(".")
        at = tree
        for part in above:
            at = at.setdefault(part, {})
        at[last] = value
    path = home / f"{name}.yaml"
    path.write_text(json.dumps(_lists(tree), indent=1), encoding="utf-8")
    return path


def _lists(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if tree and all(key.isdigit() for key in tree):
        return [_lists(tree[key]) for key in sorted(tree, key=int)]
    return {key: _lists(value) for key, value in tree.items()}


def _row(number: int, words: str) -> dict[str, str]:
    thing = WORDS[number % len(WORDS)]
    more = " soon" * (number % 3)
    return {"instruction": f"{words} {number}", "input": f"Buy {thing}{more}.", "output": thing}


def _model(folder: Path) -> None:
    """A random Llama of two layers with the tokenizer and template of ftune:tiny."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(ASSETS / name, folder / name)


def flip(path: Path, rng: random.Random) -> None:
    """Flips one bit of a file."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
