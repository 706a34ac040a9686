"""What goes wrong in the middle of a run: the disk, another process, the numbers, another base."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from calling import Ended, call, contents
from small_runs import make_home, make_model

from ftune.run.atomic import TEMPORARY
from ftune.run.lock import locked

STEPS = ("-o", "train.max_steps=2", "-o", "train.save_steps=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of recipe.yaml."""
    home = tmp_path_factory.mktemp("trained") / "home"
    make_home(home)
    assert call("train", "recipe.yaml", *STEPS, within=home).code == 0
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "home"))


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def lost(before: dict[str, object], after: dict[str, object]) -> set[str]:
    return {name for name in before if after.get(name) != before[name]}


def clear(ended: Ended) -> None:
    assert ended.code == 5, ended.said
    assert "Traceback" not in ended.said
    assert "unexpected" not in ended.said


# From the first file that a run writes to the last: recipe, tokens, checkpoint, adapter.
@pytest.mark.parametrize("size", [0, 200, 700, 1500, 3000, 6000, 12_000, 25_000, 100_000])
def test_a_full_disk(size: int, home: Path) -> None:
    before = contents(home)
    options = (*STEPS, "-o", "data.train.0.max_rows=11")  # rows that no run has formatted yet
    with files_up_to(size):
        ended = call("train", "recipe.yaml", *options, within=home)
    clear(ended)
    assert "MB are free" in ended.err
    after = contents(home)
    assert not lost(before, after)
    assert not [name for name in after if TEMPORARY in name]
    again = call("train", "recipe.yaml", *options, within=home)
    assert again.code == 0, again.said
    assert not lost(before, contents(home))


def test_a_full_disk_in_a_process(home: Path) -> None:
    before = contents(home)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    ended = subprocess.run(
        [sys.executable, "-m", "ftune", "train", "recipe.yaml", "--fresh", *STEPS],
        cwd=home,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        preexec_fn=limit,
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 5, ended.stderr
    assert "MB are free" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not lost(before, contents(home))


def test_another_process_works_in_the_run(home: Path) -> None:
    before = contents(home)
    with locked(home / "runs" / "recipe" / "001"):
        ended = call("train", "recipe.yaml", *STEPS, within=home)
    clear(ended)
    assert f"process {os.getpid()}" in ended.err
    assert "--fresh" in ended.err
    assert not lost(before, contents(home))


@pytest.mark.parametrize(("rate", "words"), [("1e30", "train.jsonl:"), ("3e38", "lora_A")])
def test_a_diverging_training(rate: str, words: str, home: Path) -> None:
    """A loss that is no number names its rows; a weight that is none is named itself."""
    from safetensors.torch import load_file

    options = (*STEPS[2:], "-o", f"train.learning_rate={rate}", "-o", "train.max_steps=20")
    ended = call("train", "recipe.yaml", *options, within=home)
    clear(ended)
    assert "step " in ended.err and words in ended.err and "lower train" in ended.err
    run = home / "runs" / "recipe" / "002"
    assert not (run / "train" / "adapter").exists()
    assert not (run / "train" / "done.json").exists()
    for path in (run / "train" / "checkpoints").rglob("*.safetensors"):
        for name, tensor in load_file(path).items():
            assert bool(tensor.isfinite().all()), f"{path}: {name}"


def test_an_adapter_on_another_base(home: Path) -> None:
    """Of the same shape, so that nothing but the fingerprint tells them apart."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = make_model(home / "other") / "model.safetensors"
    drawn = {name: torch.randn_like(t) for name, t in load_file(weights).items()}
    save_file(drawn, weights, {"format": "pt"})
    adapter = home / "runs" / "recipe" / "001" / "train" / "adapter"
    base = f"model.name_or_path={home / 'other'}"
    ended = call("eval", "recipe.yaml", "--model", adapter, "-o", base, within=home)
    assert ended.code == 4, ended.said
    assert "base" in ended.err and "Traceback" not in ended.said


@pytest.mark.parametrize("verb", ["eval", "merge", "generate"])
def test_a_damaged_adapter(verb: str, home: Path) -> None:
    run = home / "runs" / "recipe" / "001"
    file = run / "train" / "adapter" / "adapter_model.safetensors"
    held = bytearray(file.read_bytes())
    file.write_bytes(bytes(held[: len(held) // 2]))
    ended = call(verb, run, *(["-p", "x"] if verb == "generate" else []), within=home)
    assert ended.code in (4, 5), ended.said
    assert "adapter_model.safetensors" in ended.err
    assert "Traceback" not in ended.said


def test_a_damaged_checkpoint_is_found(home: Path) -> None:
    """Resuming goes on from the older one, says so, and ends as without the damage."""
    run = home / "runs" / "recipe" / "001"
    held = (run / "train" / "adapter" / "adapter_model.safetensors").read_bytes()
    (run / "train" / "done.json").unlink()
    shutil.rmtree(run / "train" / "adapter")
    file = run / "train" / "checkpoints" / "step-000002" / "weights.safetensors"
    spoiled = bytearray(file.read_bytes())
    spoiled[-1] ^= 1
    file.write_bytes(spoiled)
    ended = call("train", "recipe.yaml", *STEPS, within=home)
    assert ended.code == 0, ended.said
    assert "weights.safetensors" in ended.err
    assert (run / "train" / "adapter" / "adapter_model.safetensors").read_bytes() == held


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_merged_model_appears_with_its_report_or_not_at_all(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was once there without, and the same command then refused to go on."""
    run = home / "runs" / "recipe" / "001"
    with monkeypatch.context() as patch:
        patch.setattr("ftune.stages.merge.stage_page", no_room)
        clear(call("merge", run, within=home))
    assert not (run / "merged").exists()
    (run / f"{TEMPORARY}{2**31 - 1}-merged").mkdir()  # of a process that was killed
    assert call("merge", run, within=home).code == 0
    assert (run / "merged" / "report.json").is_file()
    assert not list(run.glob(f"{TEMPORARY}*"))


def test_an_evaluation_appears_whole_or_not_at_all(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluations = home / "runs" / "recipe" / "001" / "evaluations"
    with monkeypatch.context() as patch:
        patch.setattr("ftune.stages.eval_again.write_evaluation_report", no_room)
        clear(call("eval", "recipe/001", within=home))
    assert not list(evaluations.iterdir())
    (evaluations / f"{TEMPORARY}{2**31 - 1}-evaluation").mkdir()
    real = Path.rename

    def late(part: Path, folder: Path) -> Path:
        """Another evaluation takes the number while this one writes."""
        if folder.name == "001" and not folder.exists():
            (folder / "of").mkdir(parents=True)
        return real(part, folder)

    monkeypatch.setattr(Path, "rename", late)
    ended = call("eval", "recipe/001", within=home)
    assert ended.code == 0 and "evaluations/002/report.html" in ended.out
    assert {p.name for p in evaluations.iterdir()} == {"001", "002"}
    assert "evaluations/002" in (evaluations / "002" / "report.json").read_text()


@pytest.mark.parametrize(
    ("file", "code"), [("format/eval.arrow", 5), ("train/adapter/chat_template.jinja", 4)]
)
def test_a_merge_beside_damage(file: str, code: int, home: Path) -> None:
    path = home / "runs" / "recipe" / "001" / file
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 0x80
    path.write_bytes(held)
    ended = call("merge", "recipe/001", within=home)
    assert ended.code == code, ended.said
    assert path.name in ended.err and "bug" not in ended.err
