"""``distributed.fsdp`` through the command line: shares in two processes, results as of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Warm, curve, read, scores

ROOT = Path(__file__).parents[2]
SETS = (
    "train.eval_steps=4",
    "tune.lora_dropout=0.0",
    "evaluate.metrics=[token_loss]",
    "evaluate.bootstrap=0",
)
SPLIT = ("distributed.fsdp={}", "train.gradient_accumulation_steps=1")


def trained(warm: Warm, folder: Path, *more: str) -> Path:
    sets = [part for each in (*SETS, *more) if "=" in each for part in ("-o", each)]
    options = [each for each in more if "=" not in each]
    warm.run(folder, "train", ROOT / "recipes/ci-smoke.yaml", *options, *sets)
    return folder / "runs/ci-smoke/001"


@pytest.fixture(scope="module")
def split(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(warm, tmp_path_factory.mktemp("split"), "--processes", "2", *SPLIT)


@pytest.fixture(scope="module")
def whole(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(warm, tmp_path_factory.mktemp("whole"))


def test_it_was_really_split(split: Path) -> None:
    told = read(split / "report.json")["stages"]["train"]["figures"]["sharding"]
    assert told["processes"] == 2 and told["layer_classes"] == ["LlamaDecoderLayer"]
    assert told["parameters_split"] == told["parameters"] > told["trained"] > 0
    assert told["gradients_split"] == told["trained"]
    assert told["optimizer_tensors_split"] == told["optimizer_tensors"] == 2 * told["trained"]
    for what in ("parameter", "optimizer"):
        each = told[f"{what}_bytes_of_each"]
        assert sum(each) == told[f"{what}_bytes"] and max(each) < 0.55 * sum(each)
    said = read(split / "report.json")["stages"]["train"]["summary"]
    assert any("56 of 56 gradients" in line and "are DTensors" in line for line in said)
    assert told["read_in_shares"] and any("no process had the whole of it" in x for x in said)
    loaded = read(split / "report.json")["stages"]["load"]["summary"]
    assert any("a layer at a time" in line for line in loaded)


def test_it_trains_as_one_process_does(split: Path, whole: Path) -> None:
    for ours, theirs in zip(curve(split), curve(whole), strict=True):
        for name in ("loss", "eval_loss"):
            assert ours.get(name) == pytest.approx(theirs.get(name), abs=1e-6)
    ours, theirs = (scores(read(run / "report.json")) for run in (split, whole))
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_what_it_saved_is_merged(warm: Warm, split: Path, tmp_path: Path) -> None:
    said = warm.run(tmp_path, "merge", split, "--output", tmp_path / "merged").out
    assert "merged into" in said
    assert (tmp_path / "merged/model.safetensors").stat().st_size > 7_000_000


# All but one left to the recipe.
CONFIG = {
    "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
    "optimizer": {"type": "AdamW", "params": {"lr": "auto"}},
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "train_batch_size": 8,
}


def test_deepspeed_gives_what_one_process_gives(warm: Warm, whole: Path, tmp_path: Path) -> None:
    """From a configuration in a file to the merged model."""
    pytest.importorskip("deepspeed", reason="an extra: pip install 'ftune[deepspeed]'")
    (tmp_path / "ds.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    run = trained(warm, tmp_path, "--processes", "2", SPLIT[1],
                  f"distributed.deepspeed={tmp_path / 'ds.json'}")  # fmt: skip
    report = read(run / "report.json")["stages"]["train"]
    told = report["figures"]["deepspeed"]
    assert told["stage"] == 3 and told["parameters_split"] == told["parameters"] > 0
    assert told["parameter_bytes_of_each"] == [told["parameter_bytes"] // 2] * 2
    assert told["optimizer_bytes_of_each"] == [4 * told["trained_elements"]] * 2
    assert any("DeepSpeed, ZeRO stage 3, 2 processes" in line for line in report["summary"])
    for ours, theirs in zip(curve(run), curve(whole), strict=True):
        for name in ("loss", "eval_loss"):
            assert ours.get(name) == pytest.approx(theirs.get(name), abs=2e-6)
    assert "merged into" in warm.run(tmp_path, "merge", run, "--output", tmp_path / "merged").out
    assert (tmp_path / "merged/model.safetensors").stat().st_size > 7_000_000
