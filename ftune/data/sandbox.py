"""Rendering templates in a child process, with limits on time and memory; a model's own first.

A chat template is a program that came with a model, a prompt template one that came with data.
Jinja's sandbox keeps it from reaching out; only a process of its own keeps it from never ending and
from taking all memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune import environment
from ftune.data.sandbox_child import GENERATION
from ftune.errors import DataError, FtuneError, ModelError

SECONDS = 2.0  # for one conversation; about a thousand times what one needs
STARTING = 60.0  # for the child to start
PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "SYSTEMROOT", "LD_LIBRARY_PATH")
INSTEAD = "name a template that ships with ftune (data.template: chatml) or a file of your own"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered text, and the parts of it that stand in ``{% generation %}`` blocks."""

    text: str
    spans: tuple[tuple[int, int], ...]


class Child:
    """The process that renders; ``late`` makes the error of one that had to be stopped."""

    def __init__(self, late: Callable[[float], FtuneError]) -> None:
        variables = {name: environment.get(name) for name in PASSED_ON}
        self._late = late
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("sandbox_child.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in variables.items() if value is not None},
            encoding="utf-8",
            start_new_session=True,  # an interrupt is the parent's to handle
        )
        weakref.finalize(self, _end, self._process)
        self.exchange(None, STARTING)

    def exchange(self, request: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
        """Sends a request, if there is one, and waits for the child's next answer.

        Raises:
            FtuneError: none came in so many seconds; the child is stopped.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        watch = threading.Timer(seconds, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            if request is not None:
                self._process.stdin.write(json.dumps(request, default=str) + "\n")
                self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError):  # the latter of a pipe that was closed before
            line = ""
        finally:
            watch.cancel()
        if not line:
            _end(self._process)
            raise self._late(seconds)
        return dict(json.loads(line))


class Sandbox:
    """One chat template, ready to render."""

    def __init__(self, template: str, given: Mapping[str, Any]) -> None:
        """``given`` are further variables of the template, such as ``bos_token``.

        Raises:
            ModelError: the template is not right Jinja, or doesn't come to an end.
        """
        self._child = Child(_too_late)
        start = {"template": template, "given": dict(given), "seconds": 2 * SECONDS}
        said = self._child.exchange(start, SECONDS)
        if "error" in said:
            raise ModelError(f"the model's chat template is wrong ({said['message']}); {INSTEAD}")

    def render(self, messages: Sequence[Mapping[str, str]], ask: bool) -> Rendered:
        """The text of a conversation; ``ask`` is the template's ``add_generation_prompt``.

        Raises:
            DataError: the template refuses the conversation.
            ModelError: it does what no template may, or takes too much time or memory.
        """
        request = {"messages": [dict(m) for m in messages], "ask": ask}
        said = self._child.exchange(request, SECONDS)
        if said.get("error") == "refused":
            raise DataError(f"the model's chat template refuses this row: {said['message']:.300}")
        if "error" in said:
            raise ModelError(
                f"the model's chat template is not safe to use ({said['message']:.300}); {INSTEAD}"
            )
        return _without_marks(said["text"])


def _too_late(seconds: float) -> ModelError:
    return ModelError(
        f"the model's chat template did not end within {seconds:g} seconds, or took too "
        f"much memory; it was stopped: {INSTEAD}"
    )


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue
    child.wait()


def _without_marks(text: str) -> Rendered:
    """The text without the marks of generation blocks, and where these stood."""
    spans: list[tuple[int, int]] = []
    plain = ""
    while GENERATION[0] in text:
        before, _, rest = text.partition(GENERATION[0])
        inside, _, text = rest.partition(GENERATION[1])
        plain += before
        spans.append((len(plain), len(plain) + len(inside)))
        plain += inside
    return Rendered(plain + text, tuple(spans))
