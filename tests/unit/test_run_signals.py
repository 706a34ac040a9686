"""Two signals that ask to stop: which exit code they give, in whatever order they are heard."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import nullcontext

import pytest

from ftune.run import signals

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
PAIRS = [
    (signal.SIGTERM, signal.SIGINT, 130),
    (signal.SIGINT, signal.SIGTERM, 130),
    (signal.SIGHUP, signal.SIGTERM, 143),
    (signal.SIGTERM, signal.SIGTERM, 143),
]


def ended(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize(("first", "second", "code"), PAIRS[:3])
def test_both_at_once(first, second, code, monkeypatch):
    """Pending together, Python handles the lower number first, whichever was sent first."""
    monkeypatch.setattr(signals, "_watched", lambda flag, grace: nullcontext())
    pid = os.fork()
    if pid == 0:
        with signals.stop_flag():
            signal.pthread_sigmask(signal.SIG_BLOCK, (first, second))
            os.kill(os.getpid(), first)
            os.kill(os.getpid(), second)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (first, second))
        os._exit(0)
    assert ended(pid) == code


@pytest.mark.parametrize(("first", "second", "code"), PAIRS)
def test_heard_by_the_thread(first, second, code):
    """While the main thread is inside one long call, as a product of matrices is."""
    pid = os.fork()
    if pid == 0:
        out, into = os.pipe()
        os.write(into, bytes((first, second)))
        thread = threading.Thread(target=signals._watch, args=(out, signals.StopFlag(), None))
        thread.start()
        thread.join(10)
        os._exit(0)
    assert ended(pid) == code
