"""What a part tells the screen, without knowing whether there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Meter(Protocol):
    """A piece of work under way."""

    def update(self, done: int, **figures: str) -> None:
        """``done`` units of the total are done; ``figures`` are shown beside them."""


class Progress(Protocol):
    """Where parts say what they do; the command line shows it."""

    def say(self, line: str) -> None:
        """A plain line."""

    def warn(self, line: str) -> None:
        """A line that should not be overlooked."""

    def meter(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Meter]:
        """A progress bar on a terminal, a line every few seconds where there is none."""


class _SilentMeter:
    def update(self, done: int, **figures: str) -> None:
        """Shows nothing."""


class Silent:
    """Shows nothing; for tests and for use as a library."""

    def say(self, line: str) -> None:
        """Shows nothing."""

    def warn(self, line: str) -> None:
        """Shows nothing."""

    @contextmanager
    def meter(self, title: str, total: int | None, unit: str) -> Iterator[Meter]:  # noqa: ARG002
        """A meter that shows nothing."""
        yield _SilentMeter()
