"""torchrun's rendezvous, which gives up after a time when the link to it is cut.

torch bounds only some of its calls to the store: the others wait for an answer for ever, and an
agent that lost the first host would never end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

NAME = "ftune"  # of the backend that torch's registry makes
JOIN = 660.0  # seconds: torch's own limit for joining, and its store's
Answer = tuple[Any, BaseException | None]


class Bounded:
    """A rendezvous handler of torch whose calls are made in a thread, and waited for so long.

    Once a call did not come back, or lost the connection, none is made any more.
    """

    def __init__(self, handler: Any, nodes: int, seconds: float) -> None:
        self._handler = handler
        self._nodes = nodes
        self._seconds = seconds
        self._stuck = False
        self._asked: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def get_backend(self) -> str:
        """The name under which torch knows it."""
        return NAME

    @property
    def use_agent_store(self) -> bool:
        """Whether the processes meet at a store of the agent."""
        return bool(self._handler.use_agent_store)

    def get_run_id(self) -> str:
        """The name of the training."""
        return str(self._handler.get_run_id())

    def next_rendezvous(self) -> Any:
        """Meets the other hosts."""
        return self._within(JOIN, self._handler.next_rendezvous)

    def is_closed(self) -> bool:
        """Whether nobody can join any more."""
        return bool(self._within(self._seconds, self._handler.is_closed))

    def set_closed(self) -> None:
        """Lets nobody join any more."""
        self._within(self._seconds, self._handler.set_closed)

    def num_nodes_waiting(self) -> int:
        """How many hosts want to come in; torch's agent asks it all the time.

        Raises:
            RendezvousConnectionError: besides, a host that was there has not been heard of for as
                long as a host may be silent (torch takes it out then, and goes on).
        """
        from torch.distributed.elastic.rendezvous import RendezvousConnectionError

        waiting = int(self._within(self._seconds, self._handler.num_nodes_waiting))
        there = len(self._handler._state_holder.state.participants)
        if there < self._nodes:
            raise RendezvousConnectionError(
                f"{self._nodes - there} of {self._nodes} hosts are gone"
            )
        return waiting

    def shutdown(self) -> bool:
        """Leaves; False where that could not be told to the others."""
        from torch.distributed.elastic.rendezvous import RendezvousError

        try:
            return bool(self._within(self._seconds, self._handler.shutdown))
        except RendezvousError:
            return False

    def _within(self, seconds: float, call: Callable[[], Any]) -> Any:
        from torch.distributed.elastic.rendezvous import RendezvousConnectionError

        if not self._stuck:
            self._asked.put(call)
            try:
                value, error = self._answers.get(timeout=seconds)
            except Empty:
                self._stuck = True
            else:
                if error is None:
                    return value
                self._stuck = isinstance(error, RendezvousConnectionError)  # no use in more
                raise error
        raise RendezvousConnectionError(f"no answer for {seconds:g} s")

    def _work(self) -> None:
        while True:
            call = self._asked.get()
            try:
                self._answers.put((call(), None))
            except BaseException as error:
                self._answers.put((None, error))


def register(seconds: float) -> None:
    """Makes the bounded rendezvous known to torch, as a backend called ``NAME``."""
    from torch.distributed.elastic.rendezvous import rendezvous_handler_registry
    from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import create_backend
    from torch.distributed.elastic.rendezvous.dynamic_rendezvous import create_handler

    def create(params: Any) -> Any:
        backend, store = create_backend(params)
        return Bounded(create_handler(store, backend, params), params.min_nodes, seconds)

    rendezvous_handler_registry.register(NAME, create)
