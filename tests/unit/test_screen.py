"""Lines, warnings, progress and tables, on a terminal and in a log."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_run import fake_run

from ftune.cli.screen import Screen
from ftune.errors import RunError
from ftune.report.write import write_run_report

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def xterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def test_a_log_has_a_line_at_first_then_every_five_seconds_and_at_last() -> None:
    out, clock = io.StringIO(), Clock()
    with Screen(out=out, clock=clock).meter("train", 100, "steps") as meter:
        for step in range(1, 101):
            clock.now += 0.5
            meter.update(step, loss=f"{step / 100:.2f}", grad_norm="1.0")
    lines = out.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[0] == "train: 1/100 steps (1%), loss 0.01, grad norm 1.0"
    assert lines[1] == "train: 11/100 steps (11%), 44s left, loss 0.11, grad norm 1.0, 2.00 steps/s"
    assert lines[-1] == "train: 100/100 steps in 50s, loss 1.00, grad norm 1.0, 2.00 steps/s"
    assert not any(ord(c) < 32 for line in lines for c in line)


def test_the_rate_leaves_out_what_was_done_before() -> None:
    out, clock = io.StringIO(), Clock()
    with Screen(out=out, clock=clock).meter("train", 300, "steps") as meter:
        clock.now += 60  # warming up
        meter.update(201)
        clock.now += 10
        meter.update(211)
    assert "train: 211/300 steps (70%), 1m 29s left, 1.00 steps/s" in out.getvalue()


def test_work_without_a_known_end_and_work_that_never_began() -> None:
    out, clock = io.StringIO(), Clock()
    screen = Screen(out=out, clock=clock)
    with screen.meter("read", None, "rows") as meter:
        meter.update(1000)
        clock.now += 2
        meter.update(3000)
    with screen.meter("nothing", 0, "rows"):
        pass
    expected = ["read: 1,000 rows", "read: 3,000 rows in 2.0s, 1,000 rows/s"]
    assert out.getvalue().splitlines() == expected


def test_work_that_fails_says_where_it_stopped() -> None:
    out = io.StringIO()
    with (
        pytest.raises(RunError),
        Screen(out=out, clock=Clock()).meter("train", 9, "steps") as meter,
    ):
        meter.update(4)
        raise RunError("loss is NaN")
    assert out.getvalue().splitlines()[-1] == "train: stopped at 4/9 steps (44%) in 0.0s"


def test_warnings_go_to_stderr_and_json_keeps_stdout_clean() -> None:
    out, err = io.StringIO(), io.StringIO()
    screen = Screen(json=True, out=out, err=err)
    screen.say("hello")
    screen.warn("careful")
    with screen.meter("train", 2, "steps") as meter:
        meter.update(1)
    screen.table(("a", "b"), [("1", "2")])
    screen.answer({"x": float("nan"), "path": Path("p")}, lines=["not this"])
    assert json.loads(out.getvalue()) == {"x": None, "path": "p"}
    assert "hello\nwarning: careful\ntrain: 1/2" in err.getvalue()
    Screen(out=out, err=err).answer({}, lines=["this"])
    assert out.getvalue().endswith("this\n")


def test_a_table_in_a_log_is_aligned_and_never_cut() -> None:
    out = io.StringIO()
    long = "x" * 300
    Screen(out=out).table(("name", "n"), [(long, "1"), ("b\nc", "22")], right=(1,), title="T")
    lines = out.getvalue().splitlines()
    assert lines == [
        "T",
        f"{'name':300}   n",
        f"{'-' * 300}  --",
        f"{long}   1",
        f"{'b c':300}  22",
    ]


def test_what_a_terminal_shows(xterm: None) -> None:
    out, err = Terminal(), Terminal()
    screen = Screen(out=out, err=err)
    with screen.meter("train", 4, "steps") as outer:
        outer.update(1, loss="[bold]2.5")
        screen.say("a [red]line[/red]")
        screen.warn("careful")
        with screen.meter("evaluate", 2, "batches") as inner:
            inner.update(2)
        outer.update(4, loss="1.5")
        print("from a library", file=sys.stderr)
    screen.say("after")
    seen = CODES.sub("", out.getvalue())
    assert "1/4 steps (25%)  loss [bold]2.5" in seen
    assert "a [red]line[/red]\n" in seen and "careful\n" in seen
    assert "evaluate: 2/2 batches in 0.0s" in seen
    assert "from a library" in seen
    assert seen.endswith("after\n") and "train: 4/4 steps" in seen.splitlines()[-2]
    assert "\x1b[?25h" in out.getvalue()  # the cursor is back
    assert sys.stderr is not out


def test_a_terminal_colours_a_verdict_and_keeps_marks(xterm: None) -> None:
    out = Terminal()
    Screen(out=out).table(("metric", ""), [("[b]x", "better"), ("y", "worse")])
    assert "\x1b[32mbetter" in out.getvalue() and "\x1b[31mworse" in out.getvalue()
    assert "[b]x" in out.getvalue()


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    screen = Screen(out=out, err=out)
    screen.warn("w")
    with screen.meter("train", 2, "steps") as meter:
        meter.update(1)
    assert "\x1b" not in out.getvalue()


def test_escape_codes_and_foreign_letters_in_a_line_do_no_harm() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    Screen(out=out).say("\x1b[31mred\x07 – \ud800")
    assert raw.getvalue() == b"[31mred ? ?\n"


def test_finish_shows_before_and_after_and_what_to_try(tmp_path: Path) -> None:
    folder = fake_run(tmp_path)
    write_run_report(folder)
    out = io.StringIO()
    Screen(out=out).finish(folder)
    shown = out.getvalue()
    assert "bleu rose from 2.12 to 64.50" in shown
    assert re.search(r"metric +before +after +95% interval +change", shown)
    assert re.search(r"perplexity +41\.00 +3\.50 +3\.06 to 3\.94 +-37\.50 +better", shown)
    assert f"run directory: {folder}\nreport:        {folder / 'report.html'}\n" in shown
    assert f"ftune merge {folder} " in shown


def test_finish_as_json_is_the_report(tmp_path: Path) -> None:
    out = io.StringIO()
    Screen(json=True, out=out, err=io.StringIO()).finish(fake_run(tmp_path))
    found = json.loads(out.getvalue())
    assert found["metrics"][0]["tuned"] == 64.5
    assert len(found["series"]["loss"]) == 60


def test_preview_is_what_the_format_stage_wrote(tmp_path: Path, xterm: None) -> None:
    folder = fake_run(tmp_path)
    out, terminal = io.StringIO(), Terminal()
    Screen(out=out).preview(folder, lambda: "coloured")
    assert out.getvalue() == "# Preview\n\n"
    Screen(out=terminal).preview(folder, lambda: "coloured")
    assert "coloured" in terminal.getvalue()


def test_a_reader_that_goes_away_does_not_end_the_work(tmp_path: Path) -> None:
    script = (
        "from ftune.cli.screen import Screen\n"
        "screen = Screen()\n"
        "for i in range(20000): screen.say(f'line {i}')\n"
        f"open({str(tmp_path / 'done')!r}, 'w').close()\n"
    )
    work = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert work.stdout is not None and work.stderr is not None
    assert work.stdout.readline() == b"line 0\n"
    work.stdout.close()
    assert work.wait(timeout=60) == 0
    assert work.stderr.read() == b""
    work.stderr.close()
    assert (tmp_path / "done").exists()
