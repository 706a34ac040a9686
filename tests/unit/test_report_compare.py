"""Two runs side by side."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from fake_run import RECIPE, fake_run, score

from ftune.report.compare import compare
from ftune.report.gather import gather


def test_only_what_differs_of_the_recipes_is_named(tmp_path: Path) -> None:
    other = copy.deepcopy(RECIPE)
    other["name"] = "other"
    other["tune"]["r"] = 16
    other["tune"]["target_modules"] = ["q_proj"]
    del other["data"]["max_length"]
    other["data"]["train"].append({"path": "more.jsonl"})
    a, b = fake_run(tmp_path), fake_run(tmp_path, "other", recipe=other)
    found = {p.key: (p.a, p.b) for p in compare(gather(a), gather(b)).recipe}
    assert found == {
        "tune.r": (8, 16),
        "tune.target_modules": (["q_proj", "v_proj"], ["q_proj"]),
        "data.max_length": (256, None),
        "data.train[1].path": (None, "more.jsonl"),
    }


def test_metrics_say_which_is_better_if_they_are_comparable(tmp_path: Path) -> None:
    a = fake_run(
        tmp_path, run_id="001", scores=[score("bleu", 1.0, 50.0), score("ppl", 9.0, 4.0, False)]
    )
    strange = {**score("ppl", 9.0, 5.0, False), "signature": "ppl|version:2"}
    b = fake_run(
        tmp_path, run_id="002", scores=[score("bleu", 1.0, 60.0), strange, score("new", 1.0, 2.0)]
    )
    chances = {"bleu": 0.01, "ppl": 0.01}
    bleu, ppl, new = compare(gather(a), gather(b), chances).metrics
    assert (bleu.change, bleu.better, bleu.note, bleu.verdict) == (10.0, True, "", "better")
    assert bleu.to_plain()["p"] == 0.01
    assert (ppl.change, ppl.better, ppl.p) == (1.0, None, None)
    assert "not comparable" in ppl.verdict
    assert (new.a, new.b, new.change, new.better) == (None, 2.0, None, None)
    assert new.verdict == ""


def test_no_metric_is_better_without_a_test_that_says_so(tmp_path: Path) -> None:
    a = fake_run(tmp_path, run_id="001", scores=[score("bleu", 1.0, 50.0)])
    b = fake_run(tmp_path, run_id="002", scores=[score("bleu", 1.0, 40.0)])
    for chances, better, words in (
        ({}, None, "not tested"),
        ({"bleu": None}, None, "not tested"),
        ({"bleu": 0.06}, None, "no difference seen"),
        ({"bleu": 0.04}, False, "worse"),
    ):
        found = compare(gather(a), gather(b), chances, ["a note"])
        assert (found.metrics[0].better, found.metrics[0].verdict) == (better, words)
        assert found.notes == ("a note",)


def test_a_lower_loss_is_better_and_steps_are_neither(tmp_path: Path) -> None:
    a, b = fake_run(tmp_path, run_id="001"), fake_run(tmp_path, run_id="002", steps=30)
    path = b / "train" / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    report["figures"] |= {"final_loss": 0.5, "tokens_per_second": 1.0}
    path.write_text(json.dumps(report), encoding="utf-8")
    figures = {p.key: p.better for p in compare(gather(a), gather(b)).figures}
    assert figures["train.final_loss"] is True
    assert figures["train.tokens_per_second"] is False
    assert figures["train.steps"] is None
    assert "train.trained_tokens" not in figures  # neither run has it


def test_other_test_rows_are_noted(tmp_path: Path) -> None:
    other = copy.deepcopy(RECIPE)
    other["data"]["test"] = 0.1
    again = copy.deepcopy(other)
    again["train"]["seed"] = 7
    runs = [
        gather(fake_run(tmp_path, run_id=i, recipe=r))
        for i, r in [("001", RECIPE), ("002", other), ("003", again)]
    ]
    assert compare(runs[0], runs[0]).notes == ()
    assert "the test rows differ" in compare(runs[0], runs[1]).notes[0]
    assert "the test rows differ" in compare(runs[1], runs[2]).notes[0]


def test_a_run_that_is_not_done_is_noted_and_empty_ones_compare(tmp_path: Path) -> None:
    empty = tmp_path / "none" / "001"
    empty.mkdir(parents=True)
    found = compare(gather(fake_run(tmp_path, state="failed")), gather(empty))
    assert found.notes[0] == "demo/001 is failed: its figures may not be its last"
    json.dumps(found.to_plain(), allow_nan=False)
    assert compare(gather(empty), gather(empty)).metrics == ()


def test_a_cost_measured_once_is_no_better_for_a_hair(tmp_path: Path) -> None:
    a, b = fake_run(tmp_path, run_id="001"), fake_run(tmp_path, run_id="002")
    for run, seconds, memory in ((a, 100.0, 1000), (b, 96.0, 900)):
        path = run / "train" / "report.json"
        report = json.loads(path.read_text(encoding="utf-8"))
        report["figures"] |= {"seconds": seconds, "peak_memory_bytes": memory}
        path.write_text(json.dumps(report), encoding="utf-8")
    found = {p.key: p.verdict for p in compare(gather(a), gather(b)).figures}
    assert found["train.seconds"] == "" and found["train.peak_memory_bytes"] == "better"
