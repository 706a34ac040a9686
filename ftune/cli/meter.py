"""How far a piece of work is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ftune.report.numbers import duration, value

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

EVERY = 5.0  # seconds between two plain lines


class Pace:
    """What is done of a piece of work, how fast it goes and how long it will take.

    ``clock`` gives seconds. The rate is taken from the first update on: what was done before it
    (by an earlier process, or while things warmed up) would spoil it.
    """

    def __init__(
        self, title: str, total: int | None, unit: str, clock: Callable[[], float]
    ) -> None:
        self.title, self.total, self.unit, self.clock = title, total, unit, clock
        self.done = 0
        self.figures: dict[str, str] = {}
        self.began = self.now = clock()
        self._first: tuple[int, float] | None = None

    def note(self, done: int, figures: dict[str, str]) -> None:
        """Takes an update."""
        self.done, self.figures, self.now = done, figures, self.clock()
        if self._first is None:
            self._first = (done, self.now)

    @property
    def begun(self) -> bool:
        """Whether there was an update."""
        return self._first is not None

    @property
    def rate(self) -> float | None:
        """Units a second; None as long as that can't be known."""
        done, when = self._first or (0, self.now)
        return (self.done - done) / (self.now - when) if self.now > when else None

    def count(self) -> str:
        """For instance ``120/400 steps (30%)``."""
        if not self.total:
            return f"{self.done:,} {self.unit}"
        return f"{self.done:,}/{self.total:,} {self.unit} ({100 * self.done // self.total}%)"

    def details(self, left: bool = True) -> list[str]:
        """Time left, the figures of the work, and its rate, as far as they are known."""
        rate = self.rate
        remaining = (self.total or 0) - self.done
        words = [f"{duration(remaining / rate)} left"] if left and rate and remaining > 0 else []
        words += [f"{name.replace('_', ' ')} {each}" for name, each in self.figures.items()]
        return [*words, f"{value(rate)} {self.unit}/s"] if rate else words

    def line(self) -> str:
        """The state as a plain line."""
        return f"{self.title}: {', '.join([self.count(), *self.details()])}"

    def last_line(self, stopped: bool) -> str:
        """What remains to be seen when the work has ended."""
        count = self.count() if stopped else self.count().removesuffix(" (100%)")
        took = f"{'stopped at ' * stopped}{count} in {duration(self.clock() - self.began)}"
        return f"{self.title}: {', '.join([took, *self.details(left=False)])}"


class PlainMeter:
    """Writes a line at the first update, and then every few seconds."""

    def __init__(self, pace: Pace, write: Callable[[str], None]) -> None:
        self._pace, self._write = pace, write
        self._written: float | None = None

    def update(self, done: int, **figures: str) -> None:
        """Takes the state, and writes it if it is time."""
        self._pace.note(done, figures)
        if self._written is None or self._pace.now - self._written >= EVERY:
            self._written = self._pace.now
            self._write(self._pace.line())


class BarMeter:
    """One bar of a rich display; the display draws itself, ten times a second."""

    def __init__(self, pace: Pace, display: Progress, task: TaskID) -> None:
        self._pace, self._display, self._task = pace, display, task

    def update(self, done: int, **figures: str) -> None:
        """Takes the state."""
        self._pace.note(done, figures)
        words = "  ".join([self._pace.count(), *self._pace.details()])
        self._display.update(self._task, completed=done, words=words)


def display_on(console: Console, redirect_stderr: bool) -> Progress:
    """A display that draws on a rich console and vanishes when it stops."""
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.description}", markup=False, style="bold"),
        BarColumn(bar_width=16),
        TextColumn(
            "{task.fields[words]}",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        console=console,
        transient=True,
        expand=True,  # only the last column gives way on a narrow terminal
        redirect_stdout=False,
        redirect_stderr=redirect_stderr,
    )
