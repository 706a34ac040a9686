"""What was changed between a kill and the next start makes a run of its own; the old one stays."""

from __future__ import annotations

import shutil

import pytest
from compare import differences
from world import VARIANTS, write_recipe

pytestmark = pytest.mark.golden

KILLED = {"fault": "at_call", "target": "torch:Tensor.backward", "number": 12, "do": "kill"}
CHANGES = {
    "batch size": {"train.per_device_train_batch_size": 3},
    "accumulation": {"train.gradient_accumulation_steps": 2},
    "rate": {"train.learning_rate": 2e-2},
    "epochs": {"train.num_train_epochs": 3},
    "rank": {"tune.r": 4},
}


@pytest.mark.parametrize("what", [*CHANGES, "a row"])
def test_changed(what, parent, home, reference, tmp_path):
    own = tmp_path / "home"
    shutil.copytree(home, own)
    line = own / "lora.yaml"
    assert parent.train(tmp_path, line, faults=[KILLED]).code == -9
    recipe, data = line.read_bytes(), (own / "train.jsonl").read_bytes()
    if what == "a row":
        (own / "train.jsonl").write_bytes(data.replace(b"onions", b"onion", 1))
    else:
        write_recipe(
            own,
            "lora",
            {**VARIANTS["lora"], **CHANGES[what], "model.name_or_path": str(home / "model")},
        )
    runs = tmp_path / "runs/lora"
    before = {p: p.stat().st_mtime_ns for p in (runs / "001").rglob("*")}
    done = parent.train(tmp_path, line)
    assert done.code == 0, done.err
    assert "going on from the checkpoint" not in done.out
    assert {d.name for d in runs.iterdir()} == {"001", "002"}
    assert {p: p.stat().st_mtime_ns for p in (runs / "001").rglob("*")} == before
    assert differences(runs / "002", reference("lora"))
    line.write_bytes(recipe)
    (own / "train.jsonl").write_bytes(data)
    done = parent.train(tmp_path, line)
    assert "going on from the checkpoint of step" in done.out
    assert differences(runs / "001", reference("lora")) == []
