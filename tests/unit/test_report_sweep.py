"""A sweep side by side: its table, its files and its picture."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fake_run import fake_run, score

from ftune.report.gather import gather
from ftune.report.sweep import Spot, Swept, headline, heads, row, swept
from ftune.report.sweep_page import write_sweep

PNG = b"\x89PNG\r\n\x1a\n"


def grid(folder: Path, keys: dict[str, list[Any]], lost: int | None = None) -> list[Spot]:
    """Runs of all points; bleu grows from point to point. One may have failed."""
    spots = []
    for i, values in enumerate(product(*keys.values())):
        label, command = f"at={i}", f"ftune train g.yaml -o x={i}"
        named = dict(zip(keys, values, strict=True))
        if i == lost:
            spots.append(Spot(label, named, "failed", command, error="g.csv:7: | is no row"))
            continue
        figures = [score("bleu", None, 40.0 + i), score("loss", None, 3.0 - i / 9, higher=False)]
        run = fake_run(folder / "runs", f"g,at={i}", scores=figures)
        spots.append(Spot(label, named, "done", command, run, run=gather(run, whole=False)))
    return spots


def made(folder: Path, keys: dict[str, list[Any]], metric: str | None = None, **more: Any) -> Swept:
    return swept("g", folder, grid(folder, keys, **more), metric)


def test_the_table_has_what_each_point_is_costs_and_brings(tmp_path: Path) -> None:
    found = made(tmp_path, {"tune.r": [1, 8], "tune.target_modules": [("q",), ("q", "v")]})
    assert heads(found) == (
        "r", "target_modules", "trainable", "peak memory", "time", "bleu", "95% interval", "loss",
    )  # fmt: skip
    cells = row(found, found.spots[1])
    assert cells == ("1", "q, v", "30,000", "900 MB", "1m 00s", "41.00", "35.88 to 46.12", "2.89")
    assert row(found, found.spots[1], whole=True)[-1] == "2.89 (2.53 to 3.25)"
    assert headline(found) == "4 of 4 points are done; bleu is best at at=3: 43.00."


def test_the_best_is_the_lowest_of_a_loss_and_its_interval_is_heard(tmp_path: Path) -> None:
    found = made(tmp_path, {"train.seed": [1, 2, 3]}, "loss")
    assert found.best is found.spots[2]
    assert "2 of the other 2 points overlap" in found.doubt
    other = swept("g", tmp_path, found.spots, "rouge")
    assert other.metric == "bleu"
    assert any("rouge: no point has such a metric; there are bleu, loss" in n for n in other.notes)


def test_a_failed_point_is_told_with_its_command(tmp_path: Path) -> None:
    found = made(tmp_path, {"tune.r": [1, 2, 4]}, lost=1)
    write_sweep(found, picture=True)
    assert headline(found).startswith("2 of 3 points are done, 1 failed; bleu is best at at=2")
    assert row(found, found.spots[1])[:3] == ("2", "failed", "–")
    drawn = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert 'href="runs/g%2Cat%3D0/001/report.html"' in drawn and "g.csv:7: | is no row" in drawn
    data = json.loads(drawn.partition('id="data">')[2].partition("</script>")[0])["scatter"]
    assert [axis["label"] for axis in data["axes"]][:3] == ["tune.r", "bleu", "loss"]
    assert [point["values"][:2] for point in data["points"]] == [[1, 40.0], [4, 42.0]]
    page = (tmp_path / "sweep.md").read_text(encoding="utf-8")
    assert "ftune train g.yaml -o x=1" in page and "g.csv:7: | is no row" in page
    plain = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert [p["state"] for p in plain["points"]] == ["done", "failed", "done"]
    assert plain["best"] == "at=2" and plain["points"][2]["trainable"] == 30_000
    assert plain["points"][1]["metrics"] == [] and plain["points"][0]["metrics"][0]["tuned"] == 40.0


def test_without_an_evaluation_the_loss_of_the_training_is_taken(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / "runs", f"g{i}", scores=[]) for i in range(2)]
    spots = [Spot(f"at={i}", {"tune.r": i}, "done", "", r, run=gather(r, whole=False))
             for i, r in enumerate(runs)]  # fmt: skip
    found = swept("g", tmp_path, spots)
    assert (found.metric, found.spots[0].scores[0].tuned) == ("eval_loss", 1.2)
    assert headline(found).endswith("eval_loss is best at at=0 (and at 1 other): 1.20.")


KINDS: dict[str, dict[str, list[Any]]] = {
    "lines": {"tune.r": [1, 2, 64], "tune.target_modules": [("q",), ("q", "v")]},
    "a heat map": {"train.optim": ["sgd", "adamw"], "data.template": ["$a$", "b", "c"]},
    "bars": {"train.optim": ["sgd", "adamw", "ada$"]},
    "bars of three": {"a": ["x", "y"], "b": [True, False], "c": ["x", None]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_is_of_its_kind(kind: str, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    before = Figure.savefig

    def kept(self: Figure, *given: Any, **named: Any) -> None:
        drawn.append(self)
        before(self, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", kept)
        write_sweep(made(tmp_path, KINDS[kind], lost=1), picture=True)
    assert (tmp_path / "sweep.png").read_bytes().startswith(PNG)
    axes = drawn[0].axes[0]
    if kind == "lines":
        assert [list(line.get_xdata()) for line in axes.lines] == [[1, 2, 64], [2, 64]]
        assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "2", "64"]
        assert axes.get_xscale() == "log"
    elif kind == "a heat map":
        assert axes.images[0].get_array().shape == (2, 3)
        assert [t.get_text() for t in axes.texts][:2] == ["40.00", "failed"]
    else:
        points = json.loads((tmp_path / "sweep.json").read_text())["points"]
        assert len(axes.patches) == len(points) - 1


def test_one_point_makes_no_picture(tmp_path: Path) -> None:
    (tmp_path / "sweep.png").write_bytes(b"old")
    write_sweep(made(tmp_path, {"tune.r": [1, 2]}, lost=0), picture=True)
    assert not (tmp_path / "sweep.png").exists()
    assert "sweep.png" not in (tmp_path / "sweep.md").read_text(encoding="utf-8")
