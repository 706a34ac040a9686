"""What a person sees: lines, warnings, progress and tables, on a terminal or in a log.

rich is imported only where something is drawn on a terminal.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ftune import environment
from ftune.cli.meter import BarMeter, Pace, PlainMeter, display_on
from ftune.report import numbers
from ftune.report.closing import next_steps
from ftune.report.gather import gather
from ftune.report.headline import headline
from ftune.report.scores import Score
from ftune.report.tolerant import plain, text
from ftune.report.write import report_json
from ftune.run.progress import Meter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Display

# Cells of tables that are coloured on a terminal.
STYLES = {"better": "green", "worse": "red", "done": "green", "failed": "red"}
STYLES |= {"killed": "red", "interrupted": "yellow", "running": "cyan"}
SCORE_HEADS = ("metric", "before", "after", "95% interval", "change", "")
SCORE_FIGURES = (1, 2, 3, 4)


class Screen:
    """Implements ``run.progress.Progress``; with ``json`` only ``answer`` writes to stdout."""

    def __init__(
        self,
        json: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stdout = out or sys.stdout
        self._err = err or sys.stderr
        self._out = self._err if json else self._stdout
        self._clock = clock
        self._display: Display | None = None
        self._json = json

    def say(self, line: str) -> None:
        """A plain line."""
        self._line(self._out, line)

    def warn(self, line: str) -> None:
        """A line on stderr, yellow on a terminal."""
        self._line(self._err, f"warning: {line}", "yellow")

    def answer(self, value: Any, lines: Sequence[str] = ()) -> None:
        """An answer on stdout: ``value`` as JSON if that is asked for, else its ``lines``."""
        if self._json:
            _write(self._stdout, dumps(plain(value), indent=2, ensure_ascii=False))
        else:
            for line in lines:
                self.say(line)

    @contextmanager
    def meter(self, title: str, total: int | None, unit: str) -> Iterator[Meter]:
        """A bar on a terminal, which gives way to one line at the end; plain lines elsewhere."""
        pace = Pace(title, total, unit, self._clock)
        stopped = True
        try:
            if _is_terminal(self._out):
                with self._bar(pace) as bar:
                    yield bar
            else:
                yield PlainMeter(pace, self.say)
            stopped = False
        finally:
            if pace.begun:
                self.say(pace.last_line(stopped))

    @contextmanager
    def _bar(self, pace: Pace) -> Iterator[BarMeter]:
        """A bar below those that are there already; the first one starts the display."""
        first = self._display is None
        if self._display is None:
            self._display = display_on(self._console(self._out), _is_terminal(self._err))
            self._display.start()
        display = self._display
        task = display.add_task(pace.title, total=pace.total, words=pace.count())
        try:
            yield BarMeter(pace, display, task)
        finally:
            display.remove_task(task)
            if first:
                display.stop()
                self._display = None

    def table(
        self,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        right: Sequence[int] = (),
        title: str = "",
    ) -> None:
        """A table of words; the columns in ``right`` hold figures."""
        cells = [[text(cell).replace("\n", " ") for cell in row] for row in rows]
        if _is_terminal(self._out):
            self._drawn_table(heads, cells, right, title)
            return
        lines = [title] if title else []
        _write(self._out, "\n".join([*lines, *_aligned([list(heads), *cells], right)]))

    def _drawn_table(
        self, heads: Sequence[str], rows: list[list[str]], right: Sequence[int], title: str
    ) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        drawn = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, show_edge=False)
        for i, head in enumerate(heads):
            drawn.add_column(Text(head), justify="right" if i in right else "left", overflow="fold")
        for row in rows:
            drawn.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in row))
        self._console(self._out).print(drawn)

    def finish(self, folder: Path) -> None:
        """The end of the run in ``folder``: before and after, where everything is, what to try
        next; report.json's content where JSON is asked for."""
        run = gather(folder)
        if self._json:
            self.answer({**report_json(run), "path": str(folder)})
            return
        self.say("")
        self.say(headline(run))
        self.say("")
        if run.scores:
            self.table(SCORE_HEADS, [score_row(s) for s in run.scores], right=SCORE_FIGURES)
            self.say("")
        self.say(f"run directory: {run.folder}")
        if (run.folder / "report.html").is_file():
            self.say(f"report:        {run.folder / 'report.html'}")
        commands = next_steps(run)
        self.say("")
        self.say("what to try next:")
        width = max(len(command) for command, _ in commands)
        for command, why in commands:
            self.say(f"  {command:{width}}  # {why}")

    def preview(self, folder: Path, coloured: Callable[[], Any]) -> None:
        """The first rows of the run in ``folder`` as tokens, with what is trained.

        ``coloured()`` gives them as something that rich draws, for a terminal.
        """
        shown = folder / "format" / "preview.md"
        words = shown.read_text(encoding="utf-8")
        if self._json:
            self.answer({"path": str(folder), "preview": words})
        elif _is_terminal(self._out):
            self._console(self._out).print(coloured())
        else:
            self.say(words)

    def _console(self, stream: TextIO) -> Console:
        from rich.console import Console

        return Console(file=stream, highlight=False, markup=False, emoji=False)

    def _line(self, stream: TextIO, line: str, style: str = "") -> None:
        line = text(line)
        if self._display is not None and _is_terminal(stream):
            from rich.text import Text

            self._display.console.print(Text(line, style), soft_wrap=True)
        elif style and _is_terminal(stream):
            from rich.text import Text

            self._console(stream).print(Text(line, style), soft_wrap=True)
        else:
            _write(stream, line)


def score_row(score: Score) -> tuple[str, ...]:
    """A metric as a row under ``SCORE_HEADS``."""
    unit = f" ({score.unit})" if score.unit else ""
    return (
        score.name + unit,
        numbers.value(score.base),
        numbers.value(score.tuned),
        numbers.interval(score.tuned_interval),
        numbers.signed(score.change),
        score.verdict,
    )


def _is_terminal(stream: TextIO) -> bool:
    """Whether ``stream`` can draw: a terminal that knows more than plain lines."""
    return stream.isatty() and environment.get("TERM") not in ("dumb", "unknown")


def _write(stream: TextIO, words: str) -> None:
    """Writes a line whatever the stream's encoding, and lets it be seen at once."""
    encoding = stream.encoding or "utf-8"
    try:
        print(words.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        # Who was reading has gone (``| head``): that must not end a training.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _aligned(rows: list[list[str]], right: Sequence[int]) -> list[str]:
    """Rows as lines of equally wide columns; the first row is the head, with a rule below it."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
