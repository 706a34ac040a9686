"""Work in a child process: its memory, its threads and its faults are gone with it.

The child is a fork, so it starts with all that this process knows. This process must not have begun
to compute: threads and devices don't live on in a fork.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ftune.run.signals import CODES, handled

MOST = 65_536  # bytes of an answer: what a pipe holds unread


class Asked:
    """Whether this process was asked to stop; the child is told, and ends by its own rules."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.child: int | None = None

    def on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Notes the signal and hands it on."""
        self.code = CODES[signal.Signals(number)]
        if self.child is not None:
            with suppress(ProcessLookupError):
                os.kill(self.child, number)


@contextmanager
def handing_on() -> Iterator[Asked]:
    """Signals that ask to stop go to the child that is at work; what is ignored stays ignored."""
    asked = Asked()
    with handled(asked.on_signal):
        yield asked


@dataclass(frozen=True)
class Ended:
    """How the child ended: what it answered, None if it could not, and its exit code.

    A negative code is the signal that ended it.
    """

    answer: Any
    code: int


def in_child(work: Callable[[], tuple[Any, int]], asked: Asked) -> Ended:
    """Does the work in a child, and waits for it.

    ``work`` gives what JSON can hold, of at most ``MOST`` bytes, and an exit code. If this process
    is killed, the child ends at once as well.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    out, into = os.pipe()
    watched, held = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, CODES)
    child = os.fork()
    if child == 0:
        os.close(out)
        os.close(held)
        _become(work, into, watched)
    os.close(into)
    os.close(watched)
    asked.child = child
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CODES)
    try:
        _, status = os.waitpid(child, 0)
    finally:
        asked.child = None
        os.close(held)
    os.set_blocking(out, False)  # a process that the child left behind may hold the other end
    text = b""
    with suppress(BlockingIOError):
        text = os.read(out, MOST)
    os.close(out)
    return Ended(json.loads(text) if text else None, os.waitstatus_to_exitcode(status))


def _become(work: Callable[[], tuple[Any, int]], into: int, watched: int) -> None:
    """The child: does the work, answers, and ends."""
    code = 1
    try:
        os.setpgid(0, 0)  # Ctrl-C reaches it through its parent, once
        for number in CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                usual = number == signal.SIGINT
                signal.signal(number, signal.default_int_handler if usual else signal.SIG_DFL)
        threading.Thread(target=_end_with_parent, args=(watched,), daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CODES)
        answer, code = work()
        os.write(into, json.dumps(answer).encode())
    except KeyboardInterrupt:
        code = CODES[signal.SIGINT]
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with_parent(watched: int) -> None:
    """Ends this process when the other end of the pipe is gone: every file appears by rename."""
    os.read(watched, 1)
    os._exit(CODES[signal.SIGTERM])
