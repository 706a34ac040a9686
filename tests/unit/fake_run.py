"""Run directories as the pipeline leaves them, without running anything."""

from __future__ import annotations

import json
import math
import os
import socket
from pathlib import Path
from typing import Any

import yaml

RECIPE = {
    "name": "demo",
    "runs_dir": "runs",
    "model": {"name_or_path": "ftune:tiny", "dtype": "auto"},
    "data": {
        "train": [{"path": "train.jsonl", "format": {"alpaca": {"columns": {}}}}],
        "test": [{"path": "test.jsonl", "format": {"alpaca": {"columns": {}}}}],
        "max_length": 256,
    },
    "tune": {"method": "lora", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]},
    "train": {"objective": "sft", "learning_rate": 0.0005, "num_train_epochs": 3.0},
    "evaluate": {"metrics": ["bleu", "perplexity"], "base": True},
}
LEDGER = {
    "source": "train.jsonl",
    "rows_read": 500,
    "rows_bad": 2,
    "dropped": {"too long": 3},
    "rows_used": 495,
    "tokens": 40000,
    "trained_tokens": 12000,
}


def score(
    name: str,
    base: float | None,
    tuned: float | None,
    higher: bool | None = True,
    p: float | None = 0.002,
) -> dict:
    """One metric as the evaluation stage writes it; a test was made where both are there."""
    both = base is not None and tuned is not None
    return {
        "name": name,
        "base": base,
        "tuned": tuned,
        "base_interval": None if base is None else [base * 0.75, base * 1.25],
        "tuned_interval": None if tuned is None else [tuned * 0.875, tuned * 1.125],
        "p": (p if base != tuned else 1.0) if both else None,
        "unit": "",
        "signature": f"{name}|version:1",
        "higher_is_better": higher,
    }


SCORES = [score("bleu", 2.125, 64.5), score("perplexity", 41.0, 3.5, higher=False)]


def put(path: Path, value: Any) -> None:
    """Writes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def put_lines(path: Path, values: list[Any]) -> None:
    """Writes JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(v) + "\n" for v in values), encoding="utf-8")


def course(steps: int) -> list[dict[str, Any]]:
    """Lines of a metrics.jsonl: a falling loss with some noise, evaluated five times."""
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        loss = 0.9 + 3 * math.exp(-4 * step / steps) + 0.25 * math.sin(step * 12.9898) ** 3
        rate = 5e-4 * min(1.0, 10 * step / steps) * (1 - step / (steps + 1))
        lines.append({"step": step, "loss": loss, "learning_rate": rate, "tokens_per_second": 2e3})
        if step % max(1, steps // 5) == 0:
            late = max(0.0, step / steps - 0.7)
            eval_loss = 1.1 + 3 * math.exp(-4 * step / steps) + late
            lines.append({"step": step, "eval_loss": eval_loss})
    return lines


def stage(folder: Path, name: str, figures: dict[str, Any], warnings: tuple[str, ...] = ()) -> None:
    """What a finished stage leaves: its report and its done.json."""
    report = {"stage": name, "figures": figures, "summary": [f"{name} went well"]}
    put(folder / name / "report.json", {**report, "warnings": list(warnings), "seconds": 1.5})
    put(folder / name / "done.json", {"stage": name, "files": {}})


def hold(folder: Path, pid: int | None = None) -> None:
    """Makes the run look as if a process (this one) were working in it."""
    put(folder / "lock.json", {"pid": pid or os.getpid(), "host": socket.gethostname()})


def fake_run(
    runs: Path,
    name: str = "demo",
    run_id: str = "001",
    *,
    state: str = "done",
    started: str = "2026-03-01T10:00:00+00:00",
    error: str | None = None,
    scores: list[dict] | None = None,
    recipe: dict[str, Any] | None = None,
    steps: int = 60,
) -> Path:
    """A whole run directory below ``runs``."""
    folder = runs / name / run_id
    facts = {"name": name, "id": run_id, "state": state, "started": started, "finished": None}
    facts |= {"seconds": 83.2, "command": ["ftune", "train", "demo.yaml"], "error": error}
    put(folder / "run.json", facts)
    (folder / "recipe.resolved.yaml").write_text(
        yaml.safe_dump(recipe or RECIPE, sort_keys=False), encoding="utf-8"
    )
    packages = {"torch": "2.13.0", "peft": "0.21.0"}
    put(folder / "environment.json", {"python": "3.11.7", "cores": 2, "packages": packages})
    stage(folder, "format", {"ledger": {"train": [LEDGER], "eval": []}, "totals": {}})
    (folder / "format" / "preview.md").write_text("# Preview\n", encoding="utf-8")
    load = {"parameters": 3_000_000, "trainable": 30_000, "trainable_percent": 1.0}
    stage(folder, "load", {**load, "bytes": 12_000_000, "dtype": "float32", "device": "cpu"})
    train = {"steps": steps, "final_loss": 0.95, "best_loss": 1.2}
    train |= {"tokens_per_second": 2100.0, "seconds": 60.0, "peak_memory_bytes": 900_000_000}
    stage(folder, "train", train, ("2 rows were cut",))
    put_lines(folder / "train" / "metrics.jsonl", course(steps))
    figures = {"metrics": SCORES if scores is None else scores, "rows": 20, "seconds": 9.0}
    figures["bootstrap"] = {"resamples": 1000, "seed": 12345}
    stage(folder, "evaluate", figures)
    rows = [
        {"row": i, "source": "test.jsonl", "prompt": f"say {i}", "references": [f"said {i}"],
         "tuned": f"said {i}", "base": "once upon"}
        for i in range(1, 21)
    ]  # fmt: skip
    put_lines(folder / "evaluate" / "predictions.jsonl", rows)
    return folder
