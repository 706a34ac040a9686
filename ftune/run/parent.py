"""What a process does when the one that started it is gone: it stops, as if it had been asked."""

from __future__ import annotations

import os
import signal
import threading

from ftune import environment


def watch(stream: int = 0) -> None:
    """Listens to the parent in a thread; does nothing in a process that ftune didn't start.

    ``stream``, which is standard input or was, is a pipe into which nothing is written: it ends
    when the parent does, however that came.
    """
    if environment.launched():
        threading.Thread(target=_listen, args=(stream,), daemon=True).start()


def _listen(stream: int) -> None:
    while os.read(stream, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
