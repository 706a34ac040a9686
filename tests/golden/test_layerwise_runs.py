"""Layers unfrozen one by one through the command line: killed in the middle, and gone on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from commands import Warm, curve, read
from safetensors import safe_open

pytestmark = pytest.mark.golden

RECIPE = """\
name: ulmfit
model: {name_or_path: "ftune:tiny", device: cpu}
data:
  train: [{path: "ftune:quickstart/train.jsonl", format: alpaca, max_rows: 24}]
tune: {method: freeze, last_layers: 3}
train:
  learning_rate: 1e-3
  num_train_epochs: 3
  per_device_train_batch_size: 4
  weight_decay: 0.1
  lr_scheduler_type: slanted_triangular
  layer_rate_decay: 2.6
  unfreeze_every: {epochs: 1}
  logging_steps: 1
  save_steps: 2
"""
WEIGHTS = "train/adapter/delta.safetensors"


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Path:
    home = tmp_path_factory.mktemp("straight")
    (home / "r.yaml").write_text(RECIPE, encoding="utf-8")
    done = warm.run(home, "train", "r.yaml")
    assert "step 7: layer 2 trained from here on" in done.out
    return home / "runs/ulmfit/001"


def test_the_run_tells_of_its_layers(straight: Path) -> None:
    begun = {x["step"]: x["unfrozen"] for x in curve(straight) if "unfrozen" in x}
    assert begun == {1: ["layer 3"], 7: ["layer 2"], 13: ["layer 1"]}
    layers = read(straight / "train/report.json")["figures"]["layers"]
    assert [round(each["learning_rate"] * 1e6) for each in layers] == [1000, 385, 148]
    assert "from step 13" in (straight / "report.md").read_text(encoding="utf-8")
    with safe_open(straight / WEIGHTS, "pt") as file:
        named = {name.split(".")[2] for name in file.keys()}  # noqa: SIM118
    assert named == {"1", "2", "3"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_it_goes_on_where_a_layer_is_still_frozen(
    number: signal.Signals, straight: Path, warm: Warm, tmp_path: Path
) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE, encoding="utf-8")
    run, end = tmp_path / "runs/ulmfit/001", time.monotonic() + 120
    started = warm.start(tmp_path, "train", "r.yaml")
    while not (run / "train/metrics.jsonl").exists() or len(curve(run)) < 9:
        assert time.monotonic() < end and not started.ended
        time.sleep(0.01)
    started.kill(number)
    started.wait()
    done = warm.run(tmp_path, "train", "r.yaml")
    assert "going on from the checkpoint of step" in done.out
    assert (run / WEIGHTS).read_bytes() == (straight / WEIGHTS).read_bytes()
    assert curve(run) == curve(straight)
