"""What a killed process left half-written is removed; what was only moved away comes back."""

from __future__ import annotations

from pathlib import Path

from ftune.run import leftovers


def put(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_removed_where_the_lock_holds(tmp_path):
    put(tmp_path / "run.json")
    put(tmp_path / ".part-7-run.json")
    put(tmp_path / ".part-7-format/train.arrow")
    put(tmp_path / "train/metrics.jsonl")
    put(tmp_path / "train/.part-7-adapter/weights")
    put(tmp_path / "evaluations/.part-7-001/predictions.jsonl")  # another process, under way
    leftovers.remove(tmp_path)
    names = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    under_way = "evaluations/.part-7-001/predictions.jsonl"
    assert names == {"run.json", "train/metrics.jsonl", under_way}


def test_what_was_to_be_replaced_comes_back(tmp_path):
    put(tmp_path / ".part-7-old-merged/model", "old")
    put(tmp_path / ".part-7-merged/model", "half")
    leftovers.remove(tmp_path)
    assert (tmp_path / "merged/model").read_text() == "old"
    put(tmp_path / ".part-7-old-merged/model", "older")
    leftovers.remove(tmp_path)
    assert (tmp_path / "merged/model").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["merged"]


def test_a_link_is_removed_and_not_followed(tmp_path):
    put(tmp_path / "outside/precious")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".part-7-x").symlink_to(tmp_path / "outside")
    leftovers.remove(run)
    assert (tmp_path / "outside/precious").exists()
    assert not list(run.iterdir())
