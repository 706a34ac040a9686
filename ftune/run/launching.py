"""Starts several processes of one command on this machine, and watches them until the last ends.

They find each other by torchrun's variables, so a process can't tell which of the two began it. Not
torchrun itself: it asks those that are left to end (which here means to save) though they wait for
one that is gone, needs torch to be imported once more, and knows nothing of exit codes.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from ftune import environment
from ftune.errors import PeerLostError, RunError
from ftune.run.signals import CODES, handled

HOST = "127.0.0.1"
PATIENCE = 15.0  # seconds that the others have to end by themselves when one has failed
LOOK = 0.1  # seconds between two looks at the processes
LINES = 12  # of a process's messages that are told


@dataclass
class Worker:
    """One of the processes; ``said`` holds its messages, if they don't go to the screen."""

    rank: int
    process: subprocess.Popen[bytes]
    said: IO[bytes] | None
    hung: bool = False  # it did not end by itself

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs.

        One that was asked to stop before it could listen counts as if it had.
        """
        code = self.process.poll()
        asked = {-int(number): saved for number, saved in CODES.items()}
        return code if code is None else asked.get(code, code)


@dataclass
class Watch:
    """What is known of all of them: the failed ones in the order in which they ended."""

    workers: list[Worker]
    failed: list[Worker] = field(default_factory=list)

    @property
    def running(self) -> list[Worker]:
        """Those that have not ended."""
        return [w for w in self.workers if w.code is None]

    def look(self) -> None:
        """Notes which have failed since the last time."""
        for worker in self.workers:
            known = any(worker is one for one in self.failed)
            if not known and worker.code not in (None, 0, *CODES.values()):
                self.failed.append(worker)


def launch(arguments: Sequence[str], count: int) -> int:
    """Runs ``python -m ftune ARGUMENTS`` in ``count`` processes that train together.

    The first one has this one's screen; what the others say is kept, and told if one fails. Signals
    are handed on to all of them. If one fails, the others get ``PATIENCE`` seconds to end and are
    then killed. If this process is killed itself, they are asked to stop, and save.

    Returns:
        The exit code of the first process, where none failed before it.

    Raises:
        RunError: another one failed, was killed, or had to be.
    """
    with ExitStack() as stack:
        watch = Watch([])
        stack.callback(_kill, watch)
        with _signals_to(watch):
            port = _free_port()
            for rank in range(count):
                watch.workers.append(_start(stack, arguments, rank, count, port))
            _wait(watch)
        return _result(watch)


def _start(stack: ExitStack, arguments: Sequence[str], rank: int, count: int, port: int) -> Worker:
    variables = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        environment.LAUNCHED: "1",
    }
    if environment.get("OMP_NUM_THREADS") is None:
        variables["OMP_NUM_THREADS"] = str(max(1, environment.cores() // count))
    said = stack.enter_context(tempfile.TemporaryFile()) if rank else None  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, "-m", "ftune", *arguments],
        env=environment.for_child(variables),
        stdin=subprocess.PIPE,  # its end tells the process that this one is gone
        stdout=said,
        stderr=said,
        start_new_session=True,  # else a Ctrl-C would reach it twice
    )
    return Worker(rank, process, said)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


@contextmanager
def _signals_to(watch: Watch) -> Iterator[None]:
    """Hands signals on to all processes; what is ignored here stays ignored there."""

    def hand_on(number: int, frame: Any) -> None:  # noqa: ARG001
        for worker in watch.running:
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(number)

    with handled(hand_on):
        yield


def _wait(watch: Watch) -> None:
    """Until all have ended, or were killed because they did not after one failed or the first."""
    deadline = None
    while watch.running:
        watch.look()
        if deadline is None and (watch.failed or watch.workers[0].code is not None):
            deadline = time.monotonic() + PATIENCE
        if deadline is not None and time.monotonic() > deadline:
            for worker in watch.running:
                worker.hung = True
            _kill(watch)
        time.sleep(LOOK)
    watch.look()


def _kill(watch: Watch) -> None:
    for worker in watch.running:
        worker.process.kill()
    for worker in watch.workers:
        worker.process.wait()
        if worker.process.stdin is not None:
            worker.process.stdin.close()


def _result(watch: Watch) -> int:
    first = watch.workers[0].code or 0
    if first == 0:
        return 0  # all is written
    # One that only lost another is no cause; nor is one that NCCL's own watchdog ended.
    lost = (PeerLostError.exit_code, -signal.SIGABRT)
    hung = [w for w in watch.failed if w.hung]
    causes = [w for w in watch.failed if not w.hung and w.code not in lost]
    guilty = causes[0] if causes else hung[0] if hung else None
    if guilty is None:
        return RunError.exit_code if first == PeerLostError.exit_code else first
    if first > 0 and first not in lost and not watch.workers[0].hung:
        return first  # it has said why, on the screen
    error = RunError(_told(guilty, len(watch.workers)))
    if not guilty.hung and guilty.code is not None and guilty.code > 0:
        error.exit_code = guilty.code
    raise error


def _told(worker: Worker, count: int) -> str:
    who = f"process {worker.rank} of {count} (pid {worker.process.pid}; they count from 0)"
    if worker.hung:
        how = f"did not answer, nor end within {PATIENCE:g} s of the others, and was killed"
    elif worker.code is not None and worker.code < 0:
        how = f"was ended by {signal.Signals(-worker.code).name}"
    else:
        how = f"failed with exit code {worker.code}"
    words = _last_lines(worker)
    more = f"; its last words:\n{words}\n" if words else "; "
    return f"{who} {how}{more}the same command goes on from the newest checkpoint"


def _last_lines(worker: Worker) -> str:
    if worker.said is None:
        return ""
    worker.said.seek(0)
    lines = worker.said.read().decode("utf-8", "replace").strip().splitlines()
    return "\n".join(f"  {line}" for line in lines[-LINES:])
