"""Run directories, whole and broken, become reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_run import RECIPE, SCORES, fake_run, hold, put, put_lines, score

from ftune.errors import RunError
from ftune.report.gather import gather
from ftune.report.headline import headline
from ftune.report.write import write_run_report


def test_a_whole_run_has_everything_on_its_page(tmp_path: Path) -> None:
    folder = fake_run(tmp_path)
    write_run_report(folder)
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert "bleu rose from 2.12 to 64.50 (+62.38) on 20 test rows" in page
    assert (
        "| bleu | 2.12 | 1.59 to 2.66 | 64.50 | 56.44 to 72.56 | +62.38 | 0.002 | better "
        "| `bleu\\|version:1` |"
    ) in page
    assert (
        "| perplexity | 41.00 | 30.75 to 51.25 | 3.50 | 3.06 to 3.94 | -37.50 | 0.002 | better |"
        in page
    )
    assert "On 20 test rows. Intervals: percentile bootstrap over rows, 1,000 draws." in page
    assert "![Loss by optimizer step](loss.png)" in page
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "train.jsonl | 500 | 2 | 3 | 495 | 40,000 | 12,000" in page
    assert "[The first rows as tokens, with what is trained](format/preview.md)" in page
    assert "| before | after | reference |" in page
    assert "learning\\_rate" not in page and "learning_rate: 0.0005" in page
    assert "| packages: torch | 2.13.0 |" in page
    assert "- train: 2 rows were cut" in page
    assert "train went well" in (folder / "train" / "report.md").read_text(encoding="utf-8")
    assert not list(folder.rglob(".part-*"))


def test_report_json_is_strict_json_with_all_parts(tmp_path: Path) -> None:
    folder = fake_run(tmp_path, scores=[*SCORES, score("odd", float("nan"), float("inf"))])
    write_run_report(folder)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (folder / "report.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=refuse)
    assert found["metrics"][0]["change"] == pytest.approx(62.375)
    assert found["metrics"][0]["tuned_interval"] == pytest.approx([56.4375, 72.5625])
    assert (found["metrics"][0]["p"], found["metrics"][0]["verdict"]) == (0.002, "better")
    assert found["metrics"][2] == {**found["metrics"][2], "base": None, "tuned": None}
    assert found["metrics"][2]["tuned_interval"] is None
    assert found["recipe"] == RECIPE
    assert len(found["series"]["loss"]) == 60
    assert len(found["samples"]) == 8


def test_a_page_is_not_put_into_a_stage_that_is_not_done(tmp_path: Path) -> None:
    folder = fake_run(tmp_path)
    (folder / "train" / "done.json").unlink()
    write_run_report(folder)
    assert not (folder / "train" / "report.md").exists()
    assert (folder / "load" / "report.md").exists()


def test_an_empty_folder_is_a_run_of_which_nothing_is_known(tmp_path: Path) -> None:
    folder = tmp_path / "demo" / "001"
    folder.mkdir(parents=True)
    run = write_run_report(folder)
    assert (run.name, run.id, run.state) == ("demo", "001", "unknown")
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert "Nothing was trained or evaluated." in page
    assert "loss.png" not in page and not (folder / "loss.png").exists()


@pytest.mark.parametrize("junk", ["", "{", "[1, 2]", '"text"', "\x00\xff", "{a: [}", "[" * 100_000])
def test_junk_in_every_file_is_told_and_not_fatal(tmp_path: Path, junk: str) -> None:
    folder = fake_run(tmp_path)
    files = [f for f in folder.rglob("*") if f.is_file()]
    for file in files:
        file.write_bytes(junk.encode("latin-1"))
    run = write_run_report(folder)
    assert "report.json" in " ".join(run.warnings)
    assert (folder / "report.md").is_file()


def test_wrong_types_inside_whole_files_are_not_fatal(tmp_path: Path) -> None:
    folder = fake_run(tmp_path)
    put(folder / "run.json", {"name": 3, "state": None, "seconds": "long", "started": 7})
    for stage in ("format", "load", "train", "evaluate"):
        put(folder / stage / "report.json", {"figures": [1], "warnings": "w", "summary": 3})
    put(folder / "evaluate" / "report.json", {"figures": {"metrics": [1, {"name": "m"}]}})
    put(folder / "format" / "report.json", {"figures": {"ledger": {"train": [1, None, []]}}})
    put_lines(folder / "train" / "metrics.jsonl", [{"step": "x"}, {"loss": 1}, [], {"step": 1}])
    put_lines(folder / "evaluate" / "predictions.jsonl", [{"references": "r", "row": "x"}, {}])
    run = write_run_report(folder)
    assert run.state == "unknown"
    assert [s.name for s in run.scores] == ["m"]


def test_a_line_cut_off_by_a_kill_is_counted(tmp_path: Path) -> None:
    folder = fake_run(tmp_path)
    path = folder / "train" / "metrics.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"step": 61, "lo', encoding="utf-8")
    run = gather(folder)
    assert len(run.series["loss"]) == 60
    assert any("metrics.jsonl: 1 line can't be read" in line for line in run.warnings)


def test_a_full_disk_is_one_message(tmp_path: Path) -> None:
    folder = fake_run(tmp_path)
    (folder / "report.json").mkdir()
    with pytest.raises(RunError, match=r"report\.json"):
        write_run_report(folder)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([score("bleu", 30.0, 20.0)],
         "bleu fell from 30.00 to 20.00 (-10.00) on 20 test rows; that is worse."),
        ([score("ppl", 40.0, 20.0, False)],
         "ppl fell from 40.00 to 20.00 (-20.00) on 20 test rows; that is better."),
        ([score("bleu", 3.0, 3.0)],
         "bleu stayed at 3.00 on 20 test rows; no difference seen."),
        ([score("bleu", 30.0, 31.0, p=0.05)],
         "bleu went from 30.00 to 31.00 (+1.00) on 20 test rows; no difference seen."),
        ([score("bleu", 30.0, 31.0, p=0.049)],
         "bleu rose from 30.00 to 31.00 (+1.00) on 20 test rows; that is better."),
        ([score("bleu", 30.0, 60.0, p=None)],
         "bleu went from 30.00 to 60.00 (+30.00) on 20 test rows; the difference was not tested."),
        ([score("length", 30.0, 20.0, None)],
         "length fell from 30.00 to 20.00 (-10.00) on 20 test rows; that is a difference."),
        ([score("a", 1.0, 2.0), score("b", 2.0, 3.0)],
         "a rose from 1.00 to 2.00 (+1.00) on 20 test rows; "
         "both metrics are better than before."),
        ([score("a", 1.0, 2.0, p=0.5), score("b", 2.0, 1.0, None), score("c", 1.0, 2.0, p=None)],
         "a went from 1.00 to 2.00 (+1.00) on 20 test rows; "
         "of 3 metrics, 1 lower, 1 with no difference seen, 1 not tested."),
        ([score("bleu", None, 3.0)],
         "bleu is 3.00 on 20 test rows; there is nothing to compare it with."),
        ([score("a", 1.0, 2.0), score("b", 2.0, 1.0), score("c", 1.0, 1.0)],
         "a rose from 1.00 to 2.00 (+1.00) on 20 test rows; "
         "of 3 metrics, 1 better, 1 worse, 1 with no difference seen."),
        ([], "Training loss fell from 3.72 to 0.9500 in 60 steps; not evaluated."),
    ],
)  # fmt: skip
def test_the_headline_says_no_more_than_the_figures(
    tmp_path: Path, scores: list[dict], words: str
) -> None:
    assert headline(gather(fake_run(tmp_path, scores=scores))) == words


def test_the_headline_counts_the_test_rows_as_they_are(tmp_path: Path) -> None:
    """Perturbed rows and retained sets are other questions: 2 metrics are not 5."""
    perturbed = [score("em (typos)", 1.0, 5.0), score("em (worst case)", 1.0, 5.0)]
    for one, mark in zip(perturbed, ("perturbed:typos", "worst-of:plain+typos"), strict=True):
        one["signature"] += f"|{mark}"
    scores = [
        score("em", 1.0, 6.0),
        score("loss", 3.0, 2.0, False),
        *perturbed,
        score("stories/loss (retained)", 2.0, 3.0, False),
    ]
    run = gather(fake_run(tmp_path, scores=scores))
    assert headline(run) == (
        "em rose from 1.00 to 6.00 (+5.00) on 20 test rows; both metrics are better than before; "
        "what the base was good at is partly lost: stories."
    )
    assert [s.name for s in run.scores if s.perturbed] == ["em (typos)", "em (worst case)"]


def test_the_headline_of_a_run_that_did_not_end_well(tmp_path: Path) -> None:
    failed = fake_run(tmp_path, run_id="001", state="failed", error="loss is NaN at step 3")
    assert headline(gather(failed)) == "The run failed after 1m 23s: loss is NaN at step 3"
    stopped = fake_run(tmp_path, run_id="002", state="interrupted")
    assert "was interrupted after 1m 23s; the same command goes on" in headline(gather(stopped))


def test_a_running_run_without_its_process_was_killed(tmp_path: Path) -> None:
    folder = fake_run(tmp_path, state="running")
    assert gather(folder).state == "killed"
    hold(folder)
    assert gather(folder).state == "running"
    assert headline(gather(folder)).startswith("The run is under way: bleu rose")
    (folder / "evaluate" / "report.json").unlink()
    said = headline(gather(folder))
    assert said.startswith("The run is under way: training loss fell") and said.endswith("so far.")
    hold(folder, pid=2**22 + 1)  # beyond what Linux gives to a process
    assert gather(folder).state == "killed"


def test_what_a_model_says_cannot_break_the_page(tmp_path: Path) -> None:
    folder = fake_run(tmp_path)
    nasty = "a | b\n```\n# not a head\n<script>x</script>\x1b[31m\ud800 $x_1$"
    row = {
        "row": 1,
        "source": "t.jsonl",
        "prompt": nasty,
        "tuned": nasty,
        "references": [nasty, ""],
    }
    put_lines(folder / "evaluate" / "predictions.jsonl", [row])
    write_run_report(folder)
    page = (folder / "report.md").read_text(encoding="utf-8")
    assert "\x1b" not in page
    assert "````\na | b\n```\n# not a head" in page
    line = next(line for line in page.splitlines() if line.startswith("| a \\| b<br>"))
    assert "<script>" not in line and line.endswith("| *(empty)* |")
    assert "| after | reference 1 | reference 2 |" in page


def test_samples_are_spread_over_the_rows(tmp_path: Path) -> None:
    folder = fake_run(tmp_path)
    rows = [
        {"row": i, "prompt": "p" * 5000, "prediction": "x", "base": {"text": "y"}}
        for i in range(100)
    ]
    put_lines(folder / "evaluate" / "predictions.jsonl", rows)
    samples = gather(folder).samples
    assert [s.row for s in samples] == [0, 12, 25, 37, 50, 62, 75, 87]
    assert samples[0].prompt.endswith("… (3,800 characters more)")
    assert (samples[0].tuned, samples[0].base) == ("x", "y")


def test_the_losses_of_the_headline_may_come_from_the_course(tmp_path: Path) -> None:
    folder = fake_run(tmp_path, scores=[])
    put(folder / "train" / "report.json", {"figures": {"steps": 60}})
    put_lines(
        folder / "train" / "metrics.jsonl", [{"step": 1, "loss": 3.0}, {"step": 9, "loss": 2.0}]
    )
    words = "Training loss fell from 3.00 to 2.00 in 60 steps; not evaluated."
    assert headline(gather(folder)) == words
