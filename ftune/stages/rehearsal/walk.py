"""What has been walked of a rehearsal: each act with its outcome, and what later acts need."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ftune.errors import FtuneError, Interrupted
from ftune.recipe.reading import Loaded
from ftune.run.directory import RunDirectory
from ftune.run.pipeline import stop_between
from ftune.run.progress import Progress
from ftune.run.signals import StopFlag
from ftune.run.stage import Place
from ftune.stages.rehearsal.child import Measured

State = Literal["held", "failed", "left out", "not reached"]


class LeftOut(Exception):  # noqa: N818 (it is no fault)
    """An act has nothing to do with this recipe; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What became of an act."""

    act: str
    state: State
    detail: str
    seconds: float = 0.0


@dataclass
class Walk:
    """A rehearsal under way. All of it stands in ``folder``, which is removed at its end."""

    loaded: Loaded  # the user's recipe
    given: tuple[str, ...]  # and overrides
    folder: Path
    place: Place
    progress: Progress
    stop: StopFlag
    outcomes: list[Outcome] = field(default_factory=list)
    full: RunDirectory | None = None  # whose format stage holds all rows
    small: RunDirectory | None = None  # the miniature, trained
    measured: Measured | None = None
    test_rows: int = 0
    evaluate_seconds: float = 0.0
    adapter_bytes: int = 0
    shared: dict[str, Any] = field(default_factory=dict)

    def act(self, name: str, work: Callable[[Walk], str], after: tuple[str, ...] = ()) -> None:
        """Does one act, unless one that it stands on failed; notes its outcome."""
        stop_between(self.stop, f"the rehearsal's act {name!r}")
        broken = [o.act for o in self.outcomes if o.act in after and o.state != "held"]
        if broken:
            self.outcomes.append(Outcome(name, "not reached", f"needs: {', '.join(broken)}"))
            return
        self.progress.say(f"rehearse: {name}")
        started = time.monotonic()
        state: State = "held"
        try:
            detail = work(self)
        except LeftOut as why:
            state, detail = "left out", str(why)
        except Interrupted:
            raise
        except FtuneError as error:
            state, detail = "failed", str(error)
        self.outcomes.append(Outcome(name, state, detail, round(time.monotonic() - started, 2)))

    @property
    def holds(self) -> bool:
        """Whether no act failed or was cut off by one that did."""
        return all(o.state in ("held", "left out") for o in self.outcomes)
