"""What a process does when the one that started it is gone: it stops, as if it had been asked."""

from __future__ import annotations

import os
import signal
import threading

from ftune import environment


def watch() -> None:
    """Listens to the parent in a thread; does nothing in a process that ``launching`` didn't start.

    Standard input is a pipe into which nothing is written: it ends when the parent does, however
    that came.
    """
    if environment.launched():
        threading.Thread(target=_listen, daemon=True).start()


def _listen() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
