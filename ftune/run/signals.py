"""Ctrl-C, SIGTERM and a closed terminal as a flag that long work looks at between its steps."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
if hasattr(signal, "SIGHUP"):  # not on Windows
    CODES[signal.SIGHUP] = 129


class StopFlag:
    """Whether the run was asked to stop; ``code`` is the exit code that belongs to the signal."""

    def __init__(self) -> None:
        self.code: int | None = None

    def __bool__(self) -> bool:
        return self.code is not None


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Turns the first such signal into a flag; a second one ends the process at once.

    Ending at once is safe: every file of a run appears by rename.
    """
    flag = StopFlag()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if flag:
            os._exit(CODES[signal.Signals(number)])
        flag.code = CODES[signal.Signals(number)]

    # What is ignored stays so: that is how nohup keeps a run alive.
    wanted = [s for s in CODES if signal.getsignal(s) is not signal.SIG_IGN]
    before = {s: signal.signal(s, on_signal) for s in wanted}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
