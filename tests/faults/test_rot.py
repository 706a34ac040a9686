"""Files of a run that rotted are found, each one, and it is said what is done about them."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from compare import differences, read
from world import flip

pytestmark = pytest.mark.golden

WAYS = ("flip", "cut", "empty", "gone", "swapped")
CHECKPOINT = ("weights.safetensors", "optimizer.safetensors", "random.safetensors")
PARTS = (*CHECKPOINT, "state.json", "manifest.json")


@pytest.fixture(scope="module")
def killed(parent, home, tmp_path_factory) -> Path:
    """A working folder whose run was killed with whole checkpoints."""
    folder = tmp_path_factory.mktemp("killed")
    at = {"fault": "at_call", "target": "torch:Tensor.backward", "number": 16, "do": "kill"}
    assert parent.train(folder, home / "lora.yaml", faults=[at]).code == -9
    return folder


def spoil(path: Path, way: str, rng: random.Random, other: Path | None = None) -> None:
    """Damages a file; ``other`` is one whose content it gets."""
    if way == "flip":
        flip(path, rng)
    elif way == "cut":
        path.write_bytes(path.read_bytes()[: rng.randrange(1, path.stat().st_size)])
    elif way == "empty":
        path.write_bytes(b"")
    elif way == "gone":
        path.unlink()
    else:
        assert other is not None
        shutil.copy(other, path)


@pytest.mark.parametrize("name", PARTS)
def test_every_flipped_bit_in_a_checkpoint_is_found(name, killed, tmp_path):
    """Several bits a file, each alone."""
    from ftune.train import checkpoint

    rng = random.Random(name)
    source = max((killed / "runs/lora/001/train/checkpoints").iterdir())
    shutil.copytree(source, tmp_path / source.name)
    path = tmp_path / source.name / name
    whole = path.read_bytes()
    assert checkpoint.problems(tmp_path / source.name) == []
    for way in ("flip",) * 50 + ("cut", "empty", "gone"):
        spoil(path, way, rng)
        found = checkpoint.problems(tmp_path / source.name)
        # In the manifest white space is no content.
        same = name == "manifest.json" and way == "flip" and _same_json(path, whole)
        assert found or same, way
        path.write_bytes(whole)


def _same_json(path: Path, whole: bytes) -> bool:
    try:
        return json.loads(path.read_bytes()) == json.loads(whole)
    except ValueError:
        return False


@pytest.mark.parametrize(("name", "way"), [*zip(PARTS, WAYS, strict=True), (PARTS[1], "swapped")])
def test_the_checkpoint_before_is_used(name, way, killed, parent, home, reference, tmp_path):
    shutil.copytree(killed / "runs", tmp_path / "runs")
    run = tmp_path / "runs/lora/001"
    *_, older, newest = sorted((run / "train/checkpoints").iterdir())
    spoil(newest / name, way, random.Random(), older / name)
    done = parent.train(tmp_path, home / "lora.yaml")
    assert done.code == 0, done.err
    assert f"the checkpoint of step {int(newest.name[5:])} is damaged and not used" in done.err
    assert name in done.err or way == "swapped"  # then it is the others that don't fit
    assert f"going on from the checkpoint of step {int(older.name[5:])}" in done.out
    assert differences(run, reference("lora")) == []


def test_a_swapped_checkpoint_folder(killed, parent, home, reference, tmp_path):
    """Whole, but of another step than its name says."""
    shutil.copytree(killed / "runs", tmp_path / "runs")
    run = tmp_path / "runs/lora/001"
    *_, older, newest = sorted((run / "train/checkpoints").iterdir())
    shutil.rmtree(newest)
    older.rename(newest)
    done = parent.train(tmp_path, home / "lora.yaml")
    assert done.code == 0, done.err
    assert differences(run, reference("lora")) == []


FILES = (
    ("train/adapter/adapter_model.safetensors", "flip"),
    ("train/adapter/adapter_config.json", "cut"),
    ("train/adapter/ftune.json", "gone"),
    ("train/metrics.jsonl", "flip"),
    ("format/train.arrow", "flip"),
    ("format/eval.arrow", "swapped"),
    ("load/report.json", "cut"),
    ("train/report.json", "empty"),
    ("format/report.json", "gone"),
    ("train/done.json", "cut"),
    ("format/done.json", "empty"),
    ("train/done.json", "gone"),
    ("load/begin.json", "cut"),
    ("train/begin.json", "empty"),
    ("format/begin.json", "gone"),
    ("evaluate/predictions.jsonl", "flip"),
    ("run.json", "cut"),
    ("run.json", "empty"),
    ("report.json", "cut"),
    ("environment.json", "cut"),
    ("lock.json", "cut"),
)


@pytest.mark.parametrize(("name", "way"), FILES, ids=[f"{n} {w}" for n, w in FILES])
def test_a_damaged_file_of_a_finished_run(name, way, parent, home, reference, tmp_path):
    """It is made again, or the damage is told with what to do; never used as it is."""
    shutil.copytree(reference("lora").parents[1], tmp_path / "runs")
    run = tmp_path / "runs/lora/001"
    if name == "lock.json":
        (run / name).write_text("{}")
    spoil(run / name, way, random.Random(), run / "format/train.arrow")
    done = parent.train(tmp_path, home / "lora.yaml")
    assert "unexpected" not in done.err
    assert "Traceback" not in done.err
    assert done.code == 0, done.err
    newest = sorted((tmp_path / "runs/lora").iterdir())[-1]
    assert differences(newest, reference("lora")) == []
    stage = name.partition("/")[0]
    assert f"{stage}: done before, reused" not in done.out
    # A record that isn't there was never written, and a lock or report is made anew each time.
    unsaid = (("train/done.json", "gone"), ("format/begin.json", "gone"))
    if name not in ("report.json", "lock.json") and (name, way) not in unsaid:
        assert name in done.err
    assert read(newest / "run.json")["state"] == "done"
