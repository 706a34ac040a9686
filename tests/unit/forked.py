"""Trainings in forked processes that form a gloo group, for the tests of several processes."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from tiny_training import make_plan

from ftune.data.redealing import Redealt
from ftune.run.progress import Silent


def in_processes(
    count: int, work: Callable[[int], None], ends: Sequence[int] | None = None
) -> None:
    """Runs ``work(rank)`` in forked children that form a gloo group; ``ends``: how each ends, as
    ``os.waitpid`` says it, by default well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ.update(
                    RANK=str(rank),
                    LOCAL_RANK=str(rank),
                    WORLD_SIZE=str(count),
                    LOCAL_WORLD_SIZE=str(count),
                    MASTER_ADDR="127.0.0.1",
                    MASTER_PORT=str(port),
                    ACCELERATE_USE_CPU="true",
                    OMP_NUM_THREADS="1",  # else accelerate asks for as many as there are cores
                )
                torch.set_num_threads(1)
                work(rank)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == list(ends or [0] * count)


def planned(rows, train_section, processes: int, begun: int | None) -> dict:
    if begun is None:
        return {"plan": make_plan(rows, train_section, processes=processes)}
    plan = make_plan(rows, train_section, processes=begun)
    return {"plan": Redealt(plan, processes), "identity": {"processes": begun}}


class Stops(Silent):
    """Asks the training to stop once a step is done."""

    def __init__(self, job, step) -> None:
        self.job, self.at = job, step

    def meter(self, title, total, unit):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        pass

    def update(self, done, **figures) -> None:
        if done == self.at:
            self.job.stop.code = 143


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A forked child can't use the threads of its parent, and waits for them for ever."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
