"""``ftune runs``: list, show, compare."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_run import fake_run, put, score
from typer.testing import CliRunner

from ftune.cli.runs import runs_app
from ftune.errors import RunError


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    home = tmp_path / "runs"
    fake_run(home, "alpha", "001", started="2026-03-01T10:00:00+00:00")
    fake_run(home, "alpha", "002", started="2026-03-03T10:00:00+00:00", state="failed")
    # 11:30 in Berlin is before 11:00 in London
    fake_run(
        home, "beta", "001", started="2026-03-02T11:30:00+01:00", scores=[score("em", None, 0.5)]
    )
    fake_run(home, "gamma", "001", started="2026-03-02T11:00:00+00:00")
    return home


def call(*arguments: object) -> str:
    result = CliRunner().invoke(runs_app, [str(a) for a in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_list_is_newest_first(runs: Path) -> None:
    lines = call("list", runs).splitlines()
    names = [line.split()[0] for line in lines[2:]]
    assert names == ["alpha/002", "gamma/001", "beta/001", "alpha/001"]
    assert "bleu 2.12 -> 64.50, perplexity 41.00 -> 3.50" in lines[2]
    assert "em 0.5000" in lines[4]


def test_copied_and_moved_runs_are_called_as_they_are_found(runs: Path) -> None:
    shutil.copytree(runs / "alpha" / "001", runs / "beta" / "002")
    (runs / "gamma").rename(runs / "delta")
    names = {line.split()[0] for line in call("list", runs).splitlines()[2:]}
    assert names == {"alpha/001", "alpha/002", "beta/001", "beta/002", "delta/001"}


def test_list_of_one_recipe_and_of_nothing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(call("list", runs / "alpha").splitlines()) == 4
    monkeypatch.chdir(runs.parent)
    assert len(call("list").splitlines()) == 6
    monkeypatch.chdir(runs / "alpha")
    assert call("list") == "no runs below runs\n"
    assert json.loads(call("list", "--json")) == []
    with pytest.raises(RunError, match="is no folder"):
        call("list", runs / "nowhere")


def test_list_skips_what_is_no_run_and_stands_broken_ones(runs: Path) -> None:
    (runs / "alpha" / "notes").mkdir()
    (runs / "README").write_text("x", encoding="utf-8")
    (runs / "alpha" / "001" / "run.json").write_text("{", encoding="utf-8")
    put(runs / "beta" / "001" / "run.json", {"started": "soon", "seconds": None, "state": 4})
    found = json.loads(call("list", runs, "--json"))
    assert [(r["name"], r["id"], r["state"]) for r in found[2:]] == [
        ("beta", "001", "4"),
        ("alpha", "001", "unknown"),
    ]
    assert found[0]["metrics"][0]["change"] == pytest.approx(62.375)


@pytest.mark.parametrize("target", ["{runs}/alpha/002", "{runs}/alpha", "alpha", "alpha/002"])
def test_show_takes_a_path_a_name_or_a_name_and_id(runs: Path, target: str) -> None:
    shown = call("show", target.format(runs=runs), "--runs-dir", runs)
    assert shown.startswith("alpha/002  failed  ")
    assert "trainable share" in shown and "prompt:    say 1" in shown


def test_show_as_json_is_the_report(runs: Path) -> None:
    found = json.loads(call("show", "beta", "--runs-dir", runs, "--json"))
    assert found["path"] == str(runs / "beta" / "001")
    assert found["metrics"][0]["base"] is None
    assert found["stages"]["train"]["figures"]["steps"] == 60


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("alhpa", r"did you mean alpha/002 or alpha/001\?"),
        ("runs/beta/009", r"did you mean beta/001\?"),
        ("002", r"did you mean alpha/002\?"),
        ("zzzzzz", "see `ftune runs list`"),
        ("a" * 5000, "see `ftune runs list`"),
        ("nul\0", "see `ftune runs list`"),
    ],
)
def test_an_unknown_run_is_an_error_with_near_names(runs: Path, target: str, hint: str) -> None:
    with pytest.raises(RunError, match=hint):
        call("show", target, "--runs-dir", runs)


def test_no_runs_at_all_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none below .*empty"):
        call("compare", "a", "b", "--runs-dir", tmp_path / "empty")


def test_compare_shows_both_sides(runs: Path) -> None:
    shown = call("compare", "alpha/001", "gamma", "--runs-dir", runs)
    assert shown.splitlines()[0].split() == ["metrics", "alpha/001", "gamma/001", "change"]
    assert "the recipes are equal" in shown
    found = json.loads(call("compare", "alpha", "beta", "--runs-dir", runs, "--json"))
    assert {m["key"] for m in found["metrics"]} == {"bleu", "perplexity", "em"}
    failed, untested = found["notes"]
    assert failed == "alpha/002 is failed: its figures may not be its last"
    # The answers of these runs are not of the kind that the evaluation writes.
    assert untested.startswith("the differences of the metrics were not tested: ")
    assert "predictions.jsonl:1: is not a prediction" in untested
    assert {m["better"] for m in found["metrics"]} == {None}


def test_nothing_heavy_is_imported(runs: Path) -> None:
    script = (
        "import sys\n"
        "from ftune.cli.runs import runs_app\n"
        "there = ['--runs-dir', sys.argv[1]]\n"
        "for verb in (['list', sys.argv[1]], ['show', 'alpha', *there],\n"
        "             ['compare', 'alpha', 'beta', *there]):\n"
        "    runs_app(verb, standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'numpy', 'matplotlib', 'rich.console'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(runs)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
