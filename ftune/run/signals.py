"""Ctrl-C, SIGTERM and a closed terminal as a flag that long work looks at between its steps."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ftune import environment

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
if hasattr(signal, "SIGHUP"):  # not on Windows
    CODES[signal.SIGHUP] = 129

ECHO = 5.0  # seconds


class StopFlag:
    """Whether the run was asked to stop; ``code`` is the exit code that belongs to the signal.

    ``safe`` says what is left if the work under way is broken off.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.safe = "what was finished before is whole"

    def __bool__(self) -> bool:
        return self.code is not None


class Echoes:
    """Tells a signal that comes once more, from a second sender.

    Where a launcher started this process, SLURM signals both, and the launcher hands it on.
    """

    def __init__(self) -> None:
        self._first: dict[int, float] = {}

    def __call__(self, number: int) -> bool:
        """Whether it is one; called once for each signal."""
        if number == signal.SIGINT or environment.processes()[1] == 1:
            return False
        now = time.monotonic()
        if number not in self._first:
            self._first[number] = now
            return False
        return now - self._first[number] < ECHO


def of_both(one: int, other: int) -> int:
    """The exit code of two signals: Ctrl-C's if it was one of them, then SIGTERM's.

    The order can't decide: of signals that are pending together, the system and Python each take
    the lowest number first, and two threads of this process hear of them.
    """
    return next(code for code in CODES.values() if code in (one, other))


@contextmanager
def stop_flag(grace: float | None = None) -> Iterator[StopFlag]:
    """Turns the first such signal into a flag; a second one ends the process at once.

    So does the end of the ``grace``, in seconds from the first signal, unless that was Ctrl-C.
    Ending at once is safe: every file of a run appears by rename.
    """
    flag = StopFlag()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        echo = echoes(number)
        code = CODES[signal.Signals(number)]
        if flag.code is not None and not echo:
            os._exit(of_both(flag.code, code))
        flag.code = flag.code or code

    echoes = Echoes()
    with _watched(flag, grace), handled(on_signal):
        yield flag


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Hands the signals that ask to stop to ``handler`` while inside.

    What is ignored stays so: that is how nohup keeps a run alive.
    """
    wanted = [s for s in CODES if signal.getsignal(s) is not signal.SIG_IGN]
    before = {s: signal.signal(s, handler) for s in wanted}
    try:
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)


@contextmanager
def _watched(flag: StopFlag, grace: float | None) -> Iterator[None]:
    """A thread that hears of signals at once, also while the main one is inside a long product.

    Python calls a signal's handler between two of its own instructions only; the number of the
    signal is written to the wake-up file at once.
    """
    if sys.platform == "win32":  # wakes by sockets only
        yield
        return
    out, into = os.pipe()
    os.set_blocking(into, False)
    old = signal.set_wakeup_fd(into, warn_on_full_buffer=False)
    thread = threading.Thread(target=_watch, args=(out, flag, grace), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(old)
        os.write(into, b"\0")  # ends the thread
        thread.join()
        os.close(into)
        os.close(out)


def _watch(out: int, flag: StopFlag, grace: float | None) -> None:
    """Ends the process at a second signal, or when the grace is over."""
    first, echoes = 0, Echoes()  # the first one's exit code
    timer: threading.Timer | None = None
    try:
        while True:
            number = os.read(out, 1)[0]
            if number == 0:
                return
            if number not in CODES or echoes(number):
                continue
            code = CODES[signal.Signals(number)]
            if first:
                os._exit(of_both(first, code))
            first = code
            if grace is not None and number != signal.SIGINT:
                timer = threading.Timer(grace, _break_off, (flag, grace, code))
                timer.daemon = True
                timer.start()
    finally:
        if timer is not None:
            timer.cancel()


def _break_off(flag: StopFlag, grace: float, code: int) -> None:
    said = (
        f"\nftune: train.grace_seconds ({grace:g}) are over and the work under way is not, so it "
        f"is broken off; {flag.safe}, and the same command goes on from there\n"
    )
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, said.encode())
    os._exit(code)
