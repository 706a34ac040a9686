"""The processes of one host: torchrun's own agent, with ftune's messages and exit codes.

It is told the arguments that torchrun would be, and only what becomes of them is different.
torchrun alone ends with 1 and a traceback, whatever happened.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from ftune import environment
from ftune.errors import Interrupted, PeerLostError, RunError
from ftune.launch import bounded, network
from ftune.launch.job import Job
from ftune.run import parent
from ftune.run.signals import CODES

# torch's store warns of each client whose address has no name.
QUIET = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
Arguments = Callable[[Job, bool, str], list[str]]


def run_here(job: Job, meeting: str, arguments: Arguments) -> int:
    """Trains in this host's processes, together with those of the other hosts.

    Returns:
        0 if all of them did.

    Raises:
        RunError: the place to meet can't be reached, a process failed, or another host was lost.
        Interrupted: it was asked to stop, and has saved.
    """
    place = network.find(meeting, alone=job.nodes == 1)
    if place.interface and job.nodes > 1:
        # gloo would take the address that the host's own name has, which is often the loopback.
        environment.put({"GLOO_SOCKET_IFNAME": place.interface})
    share = max(1, environment.cores() // job.processes)
    environment.put({"OMP_NUM_THREADS": str(share), **QUIET})
    _tie_to_this_process()
    if not place.is_host:
        network.wait_for(place)
    return _elastic(arguments(job, place.is_host, place.address), job, meeting)


def _tie_to_this_process() -> None:
    """Lets the processes notice when this one is gone, and this one when its own parent is.

    They inherit a standard input into which nothing is written: it ends with this process.
    """
    if environment.launched():
        parent.watch(os.dup(0))
    out, into = os.pipe()
    os.dup2(out, 0)
    os.close(out)
    os.set_inheritable(into, False)
    environment.put({environment.LAUNCHED: "1"})


def _elastic(words: list[str], job: Job, meeting: str) -> int:
    # Else torch makes a folder for logs that it doesn't write, and leaves it behind.
    with tempfile.TemporaryDirectory(prefix="ftune-launch-") as logs:
        return _led(["--log-dir", logs, *words], job, meeting)


def _led(words: list[str], job: Job, meeting: str) -> int:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    logging.disable(logging.ERROR)  # what it says is said again below
    config, program, rest = config_from_args(parse_args(words))
    bounded.register(float(config.rdzv_configs["read_timeout"]) + 1.0)
    config.rdzv_backend = bounded.NAME
    lost = RunError(
        f"this host ({socket.gethostname()}) lost the others, or the place where they met "
        f"({meeting}): the host is down, the link is cut, or it never came; the same command on "
        "all hosts goes on from the newest checkpoint"
    )
    try:
        elastic_launch(config, program)(*rest)
    except ChildFailedError as error:
        raise _verdict(error.failures, job, lost) from error
    except SignalException as error:
        code = CODES.get(signal.Signals(error.sigval), 128 + error.sigval)
        name = signal.Signals(error.sigval).name
        raise Interrupted(
            f"stopped by {name}; the same command on all hosts goes on from the newest checkpoint",
            code,
        ) from error
    except RendezvousError as error:
        raise lost from error
    except RuntimeError as error:  # torch's errors of the network, which have it as their base
        if "Dist" not in type(error).__name__:
            raise
        raise lost from error
    return 0


def _verdict(failures: Mapping[int, Any], job: Job, lost: RunError) -> Exception:
    """What to say of the processes of this host that failed, by their number among all."""
    told = {rank: each.exitcode for rank, each in failures.items()}
    # One that only lost another is no cause; nor is one that NCCL's own watchdog ended.
    causes = {
        rank: code
        for rank, code in told.items()
        if code not in (PeerLostError.exit_code, -signal.SIGABRT)
    }
    if not causes:
        return lost
    saved = {-int(number): code for number, code in CODES.items()}
    rank, code = min(causes.items(), key=lambda each: failures[each[0]].timestamp)
    code = saved.get(code, code)
    if code in CODES.values():
        return Interrupted(
            "stopped, and saved; the same command on all hosts goes on from there", code
        )
    who = f"process {rank} of {job.nodes * job.processes} (on {socket.gethostname()})"
    how = (
        f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    )
    more = "" if code > 0 else ", and the same command goes on from the newest checkpoint"
    error = RunError(f"{who} {how}; what it said stands above{more}")
    error.exit_code = code if code > 0 else RunError.exit_code
    return error
