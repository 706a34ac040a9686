"""What a tuning method may want of the training besides its trainable parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Hooks:
    """Callables that the loop calls where they are there; most methods have none.

    ``groups()`` gives the optimizer's parameter groups, or None for the usual ones.
    ``begin(total)`` is told the number of steps before the first. ``penalty()`` is added to the
    loss of each step, and not logged with it. ``after_step(step)`` comes after each update, counted
    from 1, while the gradients are still there. ``state()`` and ``load_state(tensors)`` are what a
    checkpoint has to hold for all this to go on.
    """

    groups: Callable[[], list[dict[str, Any]] | None] | None = None
    begin: Callable[[int], None] | None = None
    penalty: Callable[[], Any] | None = None
    after_step: Callable[[int], None] | None = None
    state: Callable[[], Mapping[str, Any]] | None = None
    load_state: Callable[[Mapping[str, Any]], None] | None = None
