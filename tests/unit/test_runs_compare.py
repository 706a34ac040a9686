"""Many runs side by side: costs, intervals, the front, and what is said of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fake_run import fake_run, put, score
from typer.testing import CliRunner

from ftune.cli.runs import runs_app
from ftune.errors import RunError
from ftune.report.gather import gather
from ftune.report.html.tradeoff_page import scatter, tradeoff_page
from ftune.report.tradeoffs import tradeoffs


def make(runs: Path, name: str, bleu: float | None, size: int, seconds: float = 60.0) -> Path:
    folder = fake_run(runs, name, scores=[] if bleu is None else [score("bleu", 1.0, bleu)])
    load = {"figures": {"trainable": size}}
    put(folder / "load" / "report.json", load)
    train = {"peak_memory_bytes": size * 100, "seconds": seconds, "adapter_bytes": size * 4}
    put(folder / "train" / "report.json", {"figures": {**train, "tokens_per_second": 1000.5}})
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    make(tmp_path, "small", 20.0, 100)
    make(tmp_path, "middle", 40.0, 1000)
    make(tmp_path, "wasteful", 30.0, 2000, 10.0)
    make(tmp_path, "large", 50.0, 10_000)
    return tmp_path


def call(*arguments: object) -> str:
    result = CliRunner().invoke(
        runs_app, ["compare", *map(str, arguments)], catch_exceptions=False, standalone_mode=False
    )
    return result.output


ALL = ("small", "middle", "wasteful", "large")


def test_the_table_the_front_and_the_files(runs: Path) -> None:
    html, picture = runs / "all.html", runs / "all.png"
    shown = call(*ALL, "--runs-dir", runs, "--html", html, "--picture", picture)
    line = next(one for one in shown.splitlines() if one.startswith("middle/001"))
    assert re.split(r"\s{2,}", line.strip()) == [
        "middle/001", "lora", "1,000", "100 kB", "1m 00s", "4 kB", "1,000", "40.00",
        "35.00 to 45.00",
    ]  # fmt: skip
    assert "bleu by trainable: best are small/001, middle/001, large/001" in shown
    assert "bleu by training time: best are wasteful/001, large/001" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    page = html.read_text(encoding="utf-8")
    assert page.count('class="panel"') == 4 and page.count('class="best"') == 3 + 3 + 2 + 3
    assert "4 runs compared" in page and "default-src 'none'" in page
    held = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])
    assert [len(chart["lines"]) for chart in held["charts"]] == [4, 4]


def test_json_has_the_same(runs: Path) -> None:
    found = json.loads(call(*ALL, "--runs-dir", runs, "--json"))
    assert found["pareto"]["trainable"] == ["small/001", "middle/001", "large/001"]
    assert found["runs"][0]["costs"]["size on disk"] == 400
    assert found["runs"][0]["metrics"][0]["tuned_interval"] == [17.5, 22.5]


def test_what_makes_figures_unlike_is_said(runs: Path) -> None:
    make(runs, "blind", None, 50)
    other = {**score("bleu", 1.0, 60.0), "signature": "bleu|version:2"}
    fake_run(runs, "other", state="failed", scores=[other], error="x")
    folders = [runs / name / "001" for name in ("small", "blind", "other")]
    found = tradeoffs([gather(folder) for folder in folders])
    notes = " | ".join(found.notes)
    assert "other/001 is failed" in notes
    assert "blind/001: no bleu, so on no front" in notes
    assert "bleu has other signatures" in notes and "so no run is called the best" in notes
    assert not any(found.fronts.values())
    page = tradeoff_page(found)
    assert 'class="best"' not in page and "Orange: no other run" not in page
    axes = {axis.label: axis.better for axis in scatter(found).axes}
    assert axes["bleu"] == "" and axes["trainable"] == "low"


def test_a_lower_figure_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    folders = [make(tmp_path, "a", 3.0, 10), make(tmp_path, "b", 2.0, 10)]
    for folder, value, sign in ((folders[0], 3.0, False), (folders[1], 2.0, False)):
        figures = {"metrics": [score("loss", 9.0, value, sign)]}
        put(folder / "evaluate" / "report.json", {"figures": figures})
    assert tradeoffs([gather(f) for f in folders]).fronts["trainable"] == ("b/001",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("small",), "needs two runs or more"),
        (("small", "small", "small/001"), "needs two runs or more"),
        (("small", "large", "--metric", "bloo"), "bloo: no metric of these runs; there are bleu"),
        (("small", "large", "smal"), "did you mean small/001"),
    ],
)
def test_bad_input(runs: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(RunError, match=message):
        call(*words, "--runs-dir", runs)


def test_no_picture_of_runs_without_metrics(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path, name, None, 10)
    assert "a/001" in call("a", "b", "--runs-dir", tmp_path, "--html", tmp_path / "x.html")
    with pytest.raises(RunError, match="no picture"):
        call("a", "b", "--runs-dir", tmp_path, "--picture", tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_names_and_metrics_stay_text_on_the_page(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>\u2028"
    folders = [make(tmp_path, "a", 1.0, 10), make(tmp_path, "b", 2.0, 20)]
    for folder in folders:
        put(folder / "run.json", {"name": evil, "id": folder.parent.name, "state": evil})
        put(folder / "evaluate" / "report.json", {"figures": {"metrics": [score(evil, 1.0, 2.0)]}})
    html, picture = tmp_path / "x.html", tmp_path / "x.png"
    call("a", "b", "--runs-dir", tmp_path, "--html", html, "--picture", picture)
    page = html.read_text(encoding="utf-8")
    assert "<img" not in page and page.count("</script>") == 4
