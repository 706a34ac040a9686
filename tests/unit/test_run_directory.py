"""Run folders: numbering, links that lead out, locks, atomic files, fingerprints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftune.errors import Interrupted, RunError
from ftune.run import atomic, directory
from ftune.run.borrowing import borrow
from ftune.run.fingerprint import fingerprint
from ftune.run.lock import locked
from ftune.run.pipeline import stop_between
from ftune.run.signals import StopFlag, stop_flag


def test_runs_count_up_and_come_newest_first(tmp_path: Path) -> None:
    made = [directory.create(tmp_path, "a").id for _ in range(3)]
    assert made == ["001", "002", "003"]
    assert [r.id for r in directory.existing(tmp_path, "a")] == ["003", "002", "001"]


def test_numbers_go_on_after_a_gap_and_beyond_999(tmp_path: Path) -> None:
    for name in ("001", "999", "notes", "007.old"):
        (tmp_path / "a" / name).mkdir(parents=True)
    assert directory.create(tmp_path, "a").id == "1000"
    assert next(directory.existing(tmp_path, "a")).id == "1000"


def test_a_run_is_found_by_folder_by_name_and_by_id(tmp_path: Path) -> None:
    for _ in range(2):
        directory.create(tmp_path, "a").note(name="a")
    for target in (tmp_path / "a" / "002", Path("a"), Path("a/002")):
        found = directory.find(target, tmp_path)
        assert found is not None and found.id == "002"
    assert directory.find(Path("b"), tmp_path) is None


def test_a_link_out_of_the_runs_folder_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "a").symlink_to(outside)
    with pytest.raises(RunError, match="leads out"):
        directory.create(runs, "a")
    assert list(outside.iterdir()) == []


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from ftune.run.lock import locked\n"
        f"with locked(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=rf"process {holder.pid} "), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with locked(tmp_path):  # a killed holder leaves nothing that stands in the way
        facts = json.loads((tmp_path / "lock.json").read_text())
        assert facts["pid"] == os.getpid()
    assert not (tmp_path / "lock.json").exists()


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    atomic.write_text(path, "old")

    def half(temporary: Path) -> None:
        temporary.write_text("ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match=r"No space left .* MB are free"):
        atomic.write(path, half)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_damage_is_found(tmp_path: Path) -> None:
    names = ("kept", "cut", "flipped", "gone")
    for name in names:
        (tmp_path / name).write_bytes(b"0123456789" * 10)
    listed = atomic.digests(tmp_path, [tmp_path / n for n in names])
    (tmp_path / "cut").write_bytes(b"0123")
    flipped = bytearray((tmp_path / "flipped").read_bytes())
    flipped[50] ^= 1
    (tmp_path / "flipped").write_bytes(flipped)
    (tmp_path / "gone").unlink()
    problems = "\n".join(atomic.damaged(tmp_path, listed))
    assert "cut has 4 bytes instead of 100" in problems
    assert "flipped is damaged" in problems
    assert "gone is missing" in problems
    assert "kept" not in problems


def test_a_fingerprint_changes_with_each_part() -> None:
    base = ("train", 1, {"a": 1}, ["f"], {"sha256": "x"})
    changed = [
        ("load", *base[1:]),
        ("train", 2, *base[2:]),
        ("train", 1, {"a": 2}, *base[3:]),
        (*base[:3], ["g"], base[4]),
        (*base[:4], {"sha256": "y"}),
    ]
    prints = {fingerprint(*parts) for parts in [base, *changed]}  # type: ignore[arg-type]
    assert len(prints) == 6
    assert fingerprint("s", 1, {"a": 1, "b": 2}, [], {}) == fingerprint(
        "s", 1, {"b": 2, "a": 1}, [], {}
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_becomes_a_flag_with_its_exit_code(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with stop_flag() as flag:
        assert not flag
        os.kill(os.getpid(), number)
        deadline = time.monotonic() + 5
        while not flag and time.monotonic() < deadline:
            time.sleep(0.01)
        assert flag.code == code
        with pytest.raises(Interrupted) as error:
            stop_between(flag, "train")
        assert error.value.exit_code == code
    assert signal.getsignal(number) is before
    stop_between(StopFlag(), "train")


def finished(run: directory.RunDirectory, fingerprint: str) -> Path:
    folder = run.stage("format")
    atomic.write_text(folder / "rows" / "train.arrow", "tokens")
    begin = {"fingerprint": fingerprint}
    atomic.write_json(folder / "begin.json", begin)
    listed = atomic.digests(folder, [folder / "rows" / "train.arrow"])
    atomic.write_json(folder / "done.json", {**begin, "files": listed})
    return folder


def test_a_finished_stage_is_taken_from_another_run(tmp_path: Path) -> None:
    first, second, third = (directory.create(tmp_path, "a") for _ in range(3))
    finished(first, "same")
    finished(second, "other")
    found = borrow(third, "format", "same")
    assert found is not None and found.id == "001"
    taken = third.stage("format") / "rows" / "train.arrow"
    assert taken.read_text() == "tokens"
    assert taken.stat().st_ino == (first.stage("format") / "rows" / "train.arrow").stat().st_ino
    assert (third.stage("format") / "done.json").is_file()
    assert not list(third.folder.glob(".part-*"))
    assert borrow(directory.create(tmp_path, "a"), "format", "unknown") is None


def test_a_damaged_stage_is_not_taken(tmp_path: Path) -> None:
    first, second = (directory.create(tmp_path, "a") for _ in range(2))
    (finished(first, "same") / "rows" / "train.arrow").write_text("tokenz")
    assert borrow(second, "format", "same") is None
    assert not second.stage("format").exists()


@pytest.mark.parametrize("name", ["x" * 300, "circle/a"])
def test_a_runs_folder_that_can_t_be(name: str, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(RunError, match="can't be a folder of runs"):
        directory.create(tmp_path / name, "recipe")


@pytest.mark.parametrize("below", ["train", "train/checkpoints", "evaluations"])
def test_a_link_out_of_a_run_is_refused(below: str, tmp_path: Path) -> None:
    (tmp_path / "run/train").mkdir(parents=True)
    (tmp_path / "run/format").mkdir()
    (tmp_path / "run/inside").symlink_to(tmp_path / "run/format")
    directory.refuse_links(tmp_path / "run")
    link = tmp_path / "run" / below
    if link.is_dir():
        link.rmdir()
    link.symlink_to(tmp_path)
    with pytest.raises(RunError, match="leads out of the run"):
        directory.refuse_links(tmp_path / "run")


def test_the_holder_s_name_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/lock.json").symlink_to(tmp_path / "precious")
    with locked(tmp_path / "run"):
        assert json.loads((tmp_path / "run/lock.json").read_text())["pid"] == os.getpid()
    assert (tmp_path / "precious").read_text() == "mine"


def test_what_killed_processes_left_beside_a_folder_goes(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    gone, alive = child.pid, os.getpid()
    for name in (f"{gone}-m", f"{alive}-m", f"{gone}-old-m", f"{gone}-other"):
        (tmp_path / f"{atomic.TEMPORARY}{name}").mkdir()
    (tmp_path / f"{atomic.TEMPORARY}{gone}-m" / "file").write_text("half")
    atomic.clear_stale(tmp_path / "m")
    left = {p.name.removeprefix(atomic.TEMPORARY) for p in tmp_path.iterdir()}
    assert left == {f"{alive}-m", f"{gone}-old-m", f"{gone}-other"}
    atomic.clear_stale(tmp_path / "none" / "m")
