"""Models in folders, read whole or not yet, for the tests of the latter."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers

from ftune.model import loading, standins, weights
from ftune.model.resolve import locate
from ftune.recipe.schema import Model

CPU = torch.device("cpu")


class NoTokens:
    """A tokenizer that adds none."""


def saved(folder: Path, config: transformers.PretrainedConfig, **options) -> Path:
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder, **options)
    return folder


def section(folder: Path) -> Model:
    config = json.loads((folder / "config.json").read_text())
    attention = "eager" if config["model_type"] in ("gemma2", "mamba") else "sdpa"
    return Model(name_or_path=str(folder), attn_implementation=attention)


def unread(folder: Path, dtype: str = "float32") -> tuple[torch.nn.Module, standins.StandIns]:
    located, kind = locate(str(folder)), getattr(torch, dtype)
    model = loading.read(section(folder), located, "meta", kind, False)
    return model, standins.take_place(model, weights.files(folder), CPU)


def whole(folder: Path, dtype: str = "float32") -> torch.nn.Module:
    kind = getattr(torch, dtype)
    return loading.read(section(folder), locate(str(folder)), CPU, kind, False)


def same(one: torch.nn.Module, other: torch.nn.Module) -> None:
    for ours, theirs in (
        (one.state_dict(), other.state_dict()),
        (dict(one.named_buffers()), dict(other.named_buffers())),
    ):
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert tensor.dtype == theirs[name].dtype
            assert torch.equal(tensor, theirs[name]), name
