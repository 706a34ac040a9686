"""Whether two runs came to the same: weights bit for bit, every logged figure, every report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# What no two runs have alike, and where a run was gone on from.
APART = {
    "seconds",
    "tokens_per_second",
    "memory_bytes",
    "eval_seconds",
    "peak_memory_bytes",
    "cost",
    "seconds_per_prompt",
    "prompt_tokens_per_second",
    "generated_tokens_per_second",
    "resumed_from",
}
STAGES = ("format", "load", "train", "evaluate")


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def timeless(value: Any) -> Any:
    """JSON without ``APART``."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in APART}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def curve(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    lines = (run / "train/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [timeless(json.loads(x)) for x in lines]


def weights(run: Path) -> dict[str, bytes]:
    """The trained tensors' files."""
    found = sorted((run / "train/adapter").glob("*.safetensors"))
    return {p.name: p.read_bytes() for p in found}


def differences(run: Path, reference: Path) -> list[str]:
    """What of ``run`` is not as in ``reference``; empty if it came to the same."""
    found = []
    if not weights(run) or weights(run) != weights(reference):
        found.append("other weights")
    steps = [x["step"] for x in curve(run) if "loss" in x]
    if steps != list(range(1, len(steps) + 1)):
        found.append(f"steps {steps}")
    if curve(run) != curve(reference):
        found.append("another metrics.jsonl")
    for stage in STAGES:
        one, two = (timeless(read(r / stage / "report.json")["figures"]) for r in (run, reference))
        found += [f"{stage}: {k} {one.get(k)} != {two[k]}" for k in two if one.get(k) != two[k]]
    one, two = (timeless(read(r / "report.json")) for r in (run, reference))
    found += [f"report: {k}" for k in ("headline", "metrics", "series") if one[k] != two[k]]
    for name in ("format/train.arrow", "evaluate/predictions.jsonl"):
        if (run / name).read_bytes() != (reference / name).read_bytes():
            found.append(f"another {name}")
    if read(run / "run.json")["state"] != "done":
        found.append("state is not done")
    return found + [f"{p} is left behind" for p in leftovers(run)]


def leftovers(folder: Path) -> list[Path]:
    """What is half-written."""
    return [p for p in folder.rglob("*") if p.name.startswith((".part-", ".old-"))]


def not_finite(folder: Path) -> list[str]:
    """Tensors of all safetensors files below that hold NaN or infinity."""
    import torch
    from safetensors.torch import load_file

    return [
        f"{path}: {name}"
        for path in folder.rglob("*.safetensors")
        for name, tensor in load_file(path).items()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all()
    ]
