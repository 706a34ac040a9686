"""Trainings on a CUDA device through the command line; skipped where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]
RECIPE = Path(__file__).parents[2] / "recipes" / "ci-smoke.yaml"
FOUR_BITS = ("-o", "tune.method=qlora", "-o", "model.quantization={load_in_4bit: true}")


def losses(folder: Path) -> list[float]:
    lines = (folder / "train" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


def test_float32_trains_as_on_the_cpu(ftune: Callable[..., Any], tmp_path: Path) -> None:
    for name in ("cpu", "cuda"):
        device = ("-o", f"name={name}", "-o", f"model.device={name}")
        ftune("train", RECIPE, *device, "-o", "model.dtype=float32")
    cpu, cuda = (losses(tmp_path / "runs" / name / "001") for name in ("cpu", "cuda"))
    assert cuda == pytest.approx(cpu, abs=1e-3)


@pytest.mark.parametrize(
    "changes",
    [("-o", "model.dtype=bfloat16"), FOUR_BITS, ("-o", "train.optim=paged_adamw_8bit")],
    ids=["bfloat16", "qlora", "paged"],
)
def test_it_learns_and_says_where(
    ftune: Callable[..., Any], tmp_path: Path, changes: tuple[str, ...]
) -> None:
    ftune("train", RECIPE, *changes, "-o", "train.max_steps=20")
    run = tmp_path / "runs" / "ci-smoke" / "001"
    report = json.loads((run / "load" / "report.json").read_text(encoding="utf-8"))
    assert report["figures"]["device"].startswith("cuda")
    found = losses(run)
    assert found[-1] < found[0]
