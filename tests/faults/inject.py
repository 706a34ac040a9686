"""Faults, set up in a forked child before it becomes ``ftune``; each function is one kind."""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link"}


def act(do: str, folder: str = "") -> None:
    """What happens at the chosen moment."""
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif do == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    elif do == "broken":
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    elif do == "remove":
        gone = Path(folder).rename(f"{folder}-gone")  # at once, whoever writes into it meanwhile
        shutil.rmtree(gone, ignore_errors=True)
    else:  # "SIGTERM", "SIGINT SIGINT" or "SIGTERM pause"
        for name in do.split():
            if name == "pause":
                time.sleep(3600)
            else:
                os.kill(os.getpid(), signal.Signals[name])


def at_file(number: int, do: str, note: str, forever: bool = False) -> None:
    """Acts before the ``number``-th change to a file below ``runs``, counted from 1.

    With ``number`` 0 it only counts. The count, and then what was met, goes to the file ``note``.
    ``forever``: before every change from there on, as a full disk does.
    """
    seen = 0
    inside = str(Path("runs").absolute())
    # An audit hook can't write through open() without meeting itself.
    out = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in FILE_EVENTS or not _changes(event, arguments, inside):
            return
        seen += 1
        if number == 0:
            os.pwrite(out, b"%d" % seen, 0)
        elif seen == number or (forever and seen > number):
            if seen == number:
                os.write(out, f"{event} {arguments[0]}".encode())
            removal = event in ("os.remove", "os.rmdir")
            if not (do in ("full", "broken") and removal):  # a full disk lets one remove
                act(do)

    sys.addaudithook(hook)


def _changes(event: str, arguments: tuple[Any, ...], inside: str) -> bool:
    path = arguments[0]
    if not isinstance(path, str | os.PathLike):
        return False
    if not os.path.abspath(path).startswith(inside):  # noqa: PTH100 (quick, and links as they are)
        return False
    # For open: the mode is None where the flags tell it.
    return event != "open" or bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def at_call(target: str, number: int, do: str, after: bool = False, folder: str = "") -> None:
    """Acts at the ``number``-th call of ``module:name.of.it``, before or after what it does."""
    holder, name = _find(target)
    original = getattr(holder, name)
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        mine = calls == number
        if mine and not after:
            act(do, folder)
        result = original(*args, **kwargs)
        if mine and after:
            act(do, folder)
        return result

    setattr(holder, name, wrapped)


def _find(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    *above, name = path.split(".")
    holder = importlib.import_module(module)
    for part in above:
        holder = getattr(holder, part)
    return holder, name


def file_size(most: int) -> None:
    """No file may grow beyond so many bytes."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def slow_saves(seconds: float) -> None:
    """Each file of a checkpoint takes so long to be synced, so that the loop is far ahead."""
    from ftune.train import checkpoint

    original = checkpoint._sync

    def slow(file: Path) -> None:
        time.sleep(seconds)
        original(file)

    checkpoint._sync = slow


def clock(every: int, by: float) -> None:
    """time.time() jumps to and fro by ``by`` seconds at each ``every``-th call."""
    original = time.time
    calls = 0

    def jumping() -> float:
        nonlocal calls
        calls += 1
        return original() + by * (-1) ** (calls // every)

    time.time = jumping  # type: ignore[assignment]


def count_files(note: str) -> None:
    """Writes down how many files are open, at each rotation of checkpoints."""
    from ftune.train import checkpoint

    original = checkpoint.rotate

    def counting(*arguments: Any) -> None:
        with Path(note).open("a") as handle:
            handle.write(f"{len(os.listdir('/proc/self/fd'))}\n")  # noqa: PTH208
        original(*arguments)

    checkpoint.rotate = counting


def poison(what: str, step: int) -> None:
    """NaN in a weight, in the gradient, or in the loss of a batch, at an optimizer step."""
    import torch

    from ftune.train import loop, stepping
    from ftune.types import LossSum

    original = loop.take_step

    def poisoned(engine: Any, job: Any, one: Any, number: int, *rest: Any) -> Any:
        if number != step:
            return original(engine, job, one, number, *rest)
        first = next(iter(engine.trained.values()))
        if what == "weight":
            with torch.no_grad():
                first.view(-1)[0] = float("nan")
        elif what == "gradient":
            first.register_post_accumulate_grad_hook(_spoil)
        elif what == "batch":
            loss = job.objective.loss

            def spoiled(*arguments: Any) -> LossSum:
                result = loss(*arguments)
                job.objective.loss = loss
                return type(result)(result.total * float("nan"), result.count)

            job.objective.loss = spoiled
        return original(engine, job, one, number, *rest)

    loop.take_step = poisoned
    assert stepping.take_step is original


def _spoil(parameter: Any) -> None:
    parameter.grad.view(-1)[0] = float("nan")


FAULTS: dict[str, Callable[..., None]] = {
    f.__name__: f for f in (at_file, at_call, file_size, slow_saves, clock, count_files, poison)
}


def install(faults: list[dict[str, Any]]) -> None:
    """Sets up each of ``{"fault": name, ...its arguments}``."""
    for fault in faults:
        FAULTS[fault["fault"]](**{k: v for k, v in fault.items() if k != "fault"})
