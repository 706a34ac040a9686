"""The same rows, split into batches otherwise, padded, packed, or over processes, train alike.

The classes and their bounds are those of ``make alike`` (tests/alike.py), here on real rows.
"""

from __future__ import annotations

from pathlib import Path

import alike
import pytest
from commands import curve

pytestmark = pytest.mark.golden

SHORT = (*alike.COMMON, "train.learning_rate=1.0", "evaluate.group_references=false")


def overrides(way: alike.Way, name: str) -> list[str]:
    kept = {o.partition("=")[0]: o for o in (*SHORT, *way.overrides, f"name={name}")}
    return list(kept.values())


def check(runs: list[Path]) -> None:
    losses = [line["loss"] for line in curve(runs[0])]
    assert losses[-1] < losses[0] - 0.3
    for run in runs[1:]:
        found = alike.compare(runs[0], run)
        print(found)
        assert found.holds, found


@pytest.mark.parametrize("name", ["order", "batch", "padding", "packing", "checkpointing"])
def test_one_process(warm, recipe, tmp_path, name):
    runs = []
    for number, way in enumerate(alike.CLASSES[name]):
        warm.run(tmp_path, "train", *recipe("lora", *overrides(way, f"v{number}")))
        runs.append(tmp_path / f"runs/v{number}/001")
    check(runs)


def test_two_processes(warm, recipe, tmp_path):
    runs = []
    for number, way in enumerate(alike.CLASSES["processes"][:2]):
        arguments = ["train", *recipe("lora", *overrides(way, f"v{number}"))]
        if way.processes == 1:
            warm.run(tmp_path, *arguments)
        else:
            alike.launch([*arguments, "-o", f"runs_dir={tmp_path}/runs"], way)
        runs.append(tmp_path / f"runs/v{number}/001")
    check(runs)
    # One run directory, written by one process.
    assert [p.name for p in (tmp_path / "runs/v1").iterdir()] == ["001"]
    assert (runs[1] / "report.md").is_file()
