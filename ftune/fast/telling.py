"""Says of a model inside ``quick`` which fast paths are taken, and why one is not."""

from __future__ import annotations

from typing import Any

from ftune import environment
from ftune.fast.quick import Paths, paths_of

# The path's kind in ``Paths.modules``, and why no module goes it.
WHY_NOT = {
    "compiled": "train.torch_compile is false",
    "lora": "no LoRA on a plain linear layer",
    "linear": "torch's own product is as good here",
    "norm": "no RMSNorm that gave the same when it was tried",
    "gated": "no SiLU gate that gave the same when it was tried",
    "attention": "no encoder's attention with dropout that gave the same when it was tried",
    "dropout": "no encoder, or torch draws as fast on this processor",
    "no padding": "no encoder that gave the same without padding when it was tried",
    "first token": "no encoder of which behind the last block the first token alone is read",
    "recompute": "not on a CPU, or the model's layers can't be made again",
}

TRAINED = "more than the head is trained, or reads of a text; or there is one epoch, or too much"


def told(model: Any) -> dict[str, str]:
    """For each fast path the number of modules that go it, "taken", or "not taken: " and why."""
    if environment.plain():
        return {"all": "not taken: FTUNE_PLAIN is set"}
    paths = paths_of(model)
    modules = {kind: _modules(paths, kind, why) for kind, why in WHY_NOT.items()}
    rows = paths.modules.get("frozen body")
    return {
        **modules,
        "frozen body": f"computed once for {rows:,} rows" if rows else f"not taken: {TRAINED}",
        "parts": _parts(paths),
        "head": _head(paths),
        "no padding mask": _mask(paths),
    }


def _modules(paths: Paths, kind: str, why: str) -> str:
    if number := paths.modules.get(kind):
        return f"{number} modules"
    if paths.modules.get("compiled"):
        why = "it steps aside for compiled layers"
    return f"not taken: {why}"


def _parts(paths: Paths) -> str:
    if not paths.most_tokens:
        return "not taken: not on a CPU, or what a token keeps is not known"
    return f"batches of more than {paths.most_tokens:,} tokens"


def _head(paths: Paths) -> str:
    if paths.head is None:
        return "not taken: the logits are not a plain linear head's product alone"
    if not paths.head.usable():
        return "not taken: the head is sharded or in float16"
    return "taken"


def _mask(paths: Paths) -> str:
    return "not taken: padding changed the logits" if paths.needs_padding_mask else "taken"
