"""Pages of what did not end well, and of evaluations that stand alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fake_run import fake_run, put, put_lines, score

from ftune.report.asking import asked
from ftune.report.ending import ending
from ftune.report.evaluated import evaluation_folders, gather_evaluation, write_evaluation_report
from ftune.report.forgetting import kept
from ftune.report.gather import gather
from ftune.report.headline import headline
from ftune.report.write import write_run_report


def broken(runs: Path, state: str, error: str | None = None) -> Path:
    """A run whose training was begun, saved at step 40, and not ended."""
    folder = fake_run(runs, state=state, error=error)
    for name in ("evaluate", "train/done.json", "train/report.json"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "train/checkpoints/step-000040").mkdir(parents=True)
    (folder / "train/checkpoints/step-000020").mkdir()
    return folder


@pytest.mark.parametrize("state", ["failed", "interrupted", "killed"])
def test_both_pages_say_how_far_it_came_and_how_to_go_on(tmp_path: Path, state: str) -> None:
    folder = broken(tmp_path, state, "RunError: step 41: the loss is <nan>" * (state == "failed"))
    write_run_report(folder)
    found = ending(gather(folder))
    assert found is not None and found.command == "ftune train demo.yaml"
    assert [row[:2] for row in found.stages] == [
        ("format", "done"), ("load", "done"), ("train", "begun"), ("evaluate", "not begun"),
    ]  # fmt: skip
    assert found.stages[2][3].startswith("last logged: step 60, loss 0.")
    assert "training goes on from step 40; format and load are kept" in found.advice[0]
    html = (folder / "report.html").read_text(encoding="utf-8")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "How it ended" in html and "## How it ended" in markdown
    failed = state == "failed"
    assert ("step 41: the loss is &lt;nan&gt;" in html) == failed
    assert ("\nstep 41: the loss is <nan>\n" in markdown) == failed
    assert "RunError" not in html.partition('id="recipe"')[0] and "RunError" not in markdown


def test_a_run_that_is_done_or_under_way_has_no_such_part(tmp_path: Path) -> None:
    assert ending(gather(fake_run(tmp_path))) is None
    assert ending(gather(fake_run(tmp_path, run_id="002", state="mending"))) is None


def test_a_long_error_is_whole_below_and_short_on_top(tmp_path: Path) -> None:
    folder = broken(tmp_path, "failed", "DataError: rows " + ", ".join(map(str, range(500))))
    top = headline(gather(folder))
    assert len(top) < 200 and top.endswith("…")
    found = ending(gather(folder))
    assert found is not None and found.error.endswith("498, 499")


def evaluation(run: Path, base: float | None) -> Path:
    folder = run / "evaluations/001"
    facts = {"recipe": "demo", "started": "2026-03-01T10:00:00+00:00", "seconds": 3.5}
    figures = {"metrics": [score("bleu", base, 64.5)], "rows": 20, "model": "runs/demo/001"}
    put(folder / "report.json", {**figures, "on": "eval", "warnings": ["cut"], "run": facts})
    rows = [{"row": 1, "source": "t", "prompt": "say", "references": ["a"], "tuned": "b"}]
    put_lines(folder / "predictions.jsonl", rows)
    shutil.copy(run / "recipe.resolved.yaml", folder)
    return folder


def test_an_evaluation_has_pages_with_figures_settings_and_answers(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    folder = evaluation(run, base=None)
    before = (folder / "report.json").read_bytes()
    assert headline(write_evaluation_report(folder)) == (
        "bleu is 64.50 (95%: 56.44 to 72.56) on 20 test rows."
    )
    assert (folder / "report.json").read_bytes() == before
    html = (folder / "report.html").read_text(encoding="utf-8")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    for page in (html, markdown):
        assert "Figures" in page and "Before and after" not in page
        assert "evaluate: cut" in page and "Settings" in page and "runs/demo/001" in page
        assert "Training" not in page
    data = json.loads(html.partition('id="data">')[2].partition("</script>")[0])
    assert [one["tuned"] for one in data["predictions"]] == ["b"] and data["charts"] == []
    assert evaluation_folders(run) == [folder] and evaluation_folders(tmp_path) == []


def test_an_evaluation_of_both_has_them_side_by_side(tmp_path: Path) -> None:
    folder = evaluation(fake_run(tmp_path), base=2.0)
    write_evaluation_report(folder)
    assert "Before and after" in (folder / "report.html").read_text(encoding="utf-8")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "| compared with | `ftune:tiny` |" in markdown


def test_what_was_lost_is_said_once_for_each_set(tmp_path: Path) -> None:
    figures = [
        score("bleu", 1.0, 2.0),
        score("old/loss (retained)", 3.0, 4.0, higher=False),
        score("old/em (retained)", 50.0, 49.0, p=0.5),
        score("kept/em (retained)", 50.0, 49.0, p=0.5),
        score("grown/em (retained)", 50.0, 60.0),
        score("alone/em (retained)", None, 60.0),
    ]
    run = fake_run(tmp_path, scores=figures)
    lost, same, grown = kept(gather(run))
    assert lost.startswith("old: partly lost. By the tests 1 of 2 of its figures are worse")
    assert "loss 3.00 to 4.00. Mix" in lost
    assert same.startswith("kept: no loss seen in em 50.00 to 49.00. That is not proof")
    assert grown == "grown: kept, and better than before in em 50.00 to 60.00."
    write_run_report(run)
    for page in ("report.html", "report.md"):
        assert "old: partly lost" in (run / page).read_text(encoding="utf-8")


def test_what_asking_cost_is_shown_for_each_model(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    assert asked(gather(run)) is None
    one = {"prompts": 8, "shared_tokens": 0, "generated_tokens_per_second": 125.25}
    told = {"tuned": {**one, "peak_memory_bytes": 2_000_000}, "base": one}
    put(run / "evaluate/report.json", {"figures": {"metrics": [], "cost": told}})
    found = asked(gather(run))
    assert found is not None and found.heads == ("", "before", "after")
    assert found.rows == (
        ("prompts", "8", "8"),
        ("generated tokens per second", "125.2", "125.2"),
        ("peak memory", "–", "2 MB"),
    )
    write_run_report(run)
    assert "What asking costs" in (run / "report.html").read_text(encoding="utf-8")
    assert "## What asking costs" in (run / "report.md").read_text(encoding="utf-8")


def test_a_damaged_evaluation_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    folder = evaluation(fake_run(tmp_path), base=None)
    (folder / "report.json").write_text("{", encoding="utf-8")
    found = gather_evaluation(folder)
    assert found.scores == () and any("report.json" in line for line in found.warnings)
    write_evaluation_report(folder)
