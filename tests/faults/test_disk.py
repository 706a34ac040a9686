"""A disk that is full, read-only or gone, and a clock that jumps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from compare import differences, leftovers, read

pytestmark = pytest.mark.golden


def checked_message(done) -> None:
    """A message that tells what is free and what to do, and no traceback."""
    assert done.code == 5, done.out + done.err
    assert "unexpected" not in done.err
    assert "Traceback" not in done.err
    assert re.search(r"[\d,.]+ MB are free on its disk", done.err)
    assert "same command again" in done.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system in memory of a size, or gives the one there is another size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def of(size: str) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={size}"
        line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(line, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no disk of a small size: there is no mount command")
        if done.returncode:
            pytest.skip(f"no disk of a small size may be mounted here ({done.stderr.strip()})")
        mounted = True
        return folder

    yield of
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("variant", ["lora", "full"])
def test_a_full_disk_with_room_made_later(variant, small_disk, parent, home, reference):
    line = (home / f"{variant}.yaml",)
    at_checkpoint = False
    sizes = {"lora": ("16k", "112k", "240k"), "full": ("64k", "700k", "2500k")}[variant]
    for size in sizes:
        folder = small_disk(size)
        done = parent.train(folder, *line)
        checked_message(done)
        if "the checkpoint could not be written" in done.err:
            at_checkpoint = True
            assert re.search(r"it needs [\d,.]+ MB \([\d,]+ bytes\)", done.err)
            told = re.search(r"the checkpoint (\S+) is whole and safe", done.err)
            assert "there is no earlier checkpoint" in done.err or (folder / told[1]).is_dir()
        assert not leftovers(folder), size
    assert at_checkpoint
    folder = small_disk("200m")
    done = parent.train(folder, *line)
    assert done.code == 0, done.err
    assert "damaged" not in done.err
    run = sorted((folder / "runs" / variant).iterdir())[-1]
    assert differences(run, reference(variant)) == []


@pytest.mark.parametrize("most", [1_000, 4_000, 12_000, 24_000, 100_000])
def test_a_limit_on_the_size_of_files(most, parent, home, reference, tmp_path):
    done = parent.train(tmp_path, home / "full.yaml", faults=[{"fault": "file_size", "most": most}])
    checked_message(done)
    assert "File too large" in done.err
    done = parent.train(tmp_path, home / "full.yaml")
    assert done.code == 0, done.err
    run = sorted((tmp_path / "runs/full").iterdir())[-1]
    assert differences(run, reference("full")) == []


def test_a_read_only_folder(small_disk, parent, home, reference, tmp_path):
    """First as a folder without permission, which root passes by, then as a disk."""
    if os.getuid():
        tmp_path.chmod(0o555)
        checked_message(parent.train(tmp_path, home / "lora.yaml"))
        tmp_path.chmod(0o755)
    folder = small_disk("100m,ro")
    checked_message(parent.train(folder, home / "lora.yaml"))
    small_disk("100m,rw")
    at = {"fault": "at_call", "target": "ftune.train.checkpoint:rotate", "number": 3, "do": "kill"}
    assert parent.train(folder, home / "lora.yaml", faults=[at]).code == -9
    small_disk("100m,ro")
    checked_message(parent.train(folder, home / "lora.yaml"))
    small_disk("100m,rw")
    assert parent.train(folder, home / "lora.yaml").code == 0
    assert differences(folder / "runs/lora/001", reference("lora")) == []


@pytest.mark.parametrize("target", ["rotate", "_write"])
def test_its_folder_is_deleted_under_it(target, parent, home, reference, tmp_path):
    fault = {
        "fault": "at_call",
        "target": f"ftune.train.checkpoint:{target}",
        "number": 3,
        "do": "remove",
        "folder": "runs",
    }
    done = parent.train(tmp_path, home / "lora.yaml", faults=[fault])
    assert done.code == 5, done.err
    assert "unexpected" not in done.err
    assert "Traceback" not in done.err
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    assert parent.train(tmp_path, home / "lora.yaml").code == 0
    assert differences(tmp_path / "runs/lora/001", reference("lora")) == []


@pytest.mark.parametrize("by", [86_400.0 * 3650, -86_400.0 * 3650])
def test_a_clock_that_jumps(by, parent, home, reference, tmp_path):
    fault = {"fault": "clock", "every": 5, "by": by}
    kill = {"fault": "at_call", "target": "torch:Tensor.backward", "number": 14, "do": "kill"}
    assert parent.train(tmp_path, home / "lora.yaml", faults=[fault, kill]).code == -9
    done = parent.train(tmp_path, home / "lora.yaml", faults=[fault])
    assert done.code == 0, done.err
    run = tmp_path / "runs/lora/001"
    assert differences(run, reference("lora")) == []
    assert 0 < read(run / "train/report.json")["figures"]["seconds"] < 600


def test_leftovers_are_removed_at_the_next_start(parent, home, reference, tmp_path):
    assert parent.train(tmp_path, home / "lora.yaml").code == 0
    run = tmp_path / "runs/lora/001"
    for place in (run, run / "train", run / "format"):
        (place / ".part-99999-run.json").write_text("{")
        (place / ".part-99999-adapter").mkdir()
        (place / ".part-99999-adapter/half").write_text("")
    (run / "evaluate/predictions.jsonl").rename(run / "evaluate/.part-9-old-predictions.jsonl")
    assert parent.train(tmp_path, home / "lora.yaml").code == 0
    assert differences(run, reference("lora")) == []
