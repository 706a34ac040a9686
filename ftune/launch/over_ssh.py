"""All hosts started from the first one: its own processes here, those of the others over ssh."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from ftune import environment
from ftune.errors import RunError
from ftune.launch.job import Job, here, quoted
from ftune.run.signals import handled

LOOK = 0.1  # seconds between two looks
PATIENCE = 30.0  # beyond the time in which a host must notice that another is lost
SSH = ("ssh", "-o", "BatchMode=yes")  # no question for a password


def run_all(job: Job, commands: Sequence[Sequence[str]]) -> int:
    """Runs the commands, the first one here; the exit code of the first.

    A host to which the connection is lost, and one whose starter is gone, saves and ends: nothing
    is written into its standard input, and it ends with the connection.

    Raises:
        RunError: another host failed; the message has its name.
    """
    children: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        stack.callback(_close, children)
        with _signals_to(children):
            for rank, command in enumerate(commands):
                own = [sys.executable, "-m", *command]
                words = own if rank == 0 else [*SSH, job.hosts[rank], _over(own)]
                children.append(
                    subprocess.Popen(
                        words,
                        stdin=subprocess.PIPE,
                        env=environment.for_child({environment.LAUNCHED: "1"}),
                        start_new_session=True,  # else a Ctrl-C would reach it twice
                    )
                )
            _wait(children, job.timeout + PATIENCE)
        return _result(job, [child.returncode for child in children])


def _over(words: Sequence[str]) -> str:
    """What the shell of another host is told; no variable of this one goes along."""
    return f"cd {quoted([str(here())])} && exec env {environment.LAUNCHED}=1 {quoted(words)}"


def _wait(children: Sequence[subprocess.Popen[bytes]], patience: float) -> None:
    """Until all have ended; after the first failure they have ``patience`` seconds."""
    deadline = None
    while any(child.poll() is None for child in children):
        if deadline is None and any(child.returncode for child in children):
            deadline = time.monotonic() + patience
        if deadline is not None and time.monotonic() > deadline:
            return
        time.sleep(LOOK)


def _close(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.stdin is not None:
            child.stdin.close()  # a host that still runs saves and ends
        if child.poll() is None:
            child.kill()
        child.wait()


@contextmanager
def _signals_to(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Hands a signal on to the first host, and ends the standard input of the others."""

    def hand_on(number: int, frame: Any) -> None:  # noqa: ARG001
        for rank, child in enumerate(children):
            if rank == 0:
                with suppress(ProcessLookupError):
                    child.send_signal(number)
            elif child.stdin is not None and not child.stdin.closed:
                child.stdin.close()

    with handled(hand_on):
        yield


def _result(job: Job, codes: Sequence[int | None]) -> int:
    first = codes[0]
    if first:
        return first if first > 0 else RunError.exit_code  # it has said why, on the screen
    failed = [rank for rank, code in enumerate(codes) if code != 0]
    if failed and first is None:
        raise RunError(
            f"{job.hosts[failed[-1]]} failed, and this host did not end by itself; the same "
            "command goes on from the newest checkpoint"
        )
    if failed:
        code = codes[failed[0]]
        raise RunError(
            f"{job.hosts[failed[0]]} ended with exit code {code} (255 is ssh's own: no way in); "
            "what it said stands above"
        )
    return 0
