"""How a run that isn't done ended: how far it came, the error, and how to go on."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from ftune.report.gather import STAGES, Gathered
from ftune.report.numbers import ABSENT, duration, value
from ftune.report.tolerant import items, number, text

HEADS = ("stage", "state", "took", "")
_KIND = re.compile(r"^(?:[A-Z][A-Za-z]*Error|Interrupted): ")
_CHECKPOINT = re.compile(r"step-(\d+)")


@dataclass(frozen=True, slots=True)
class Ending:
    """``stages`` are cells under ``HEADS``; ``advice`` is whole sentences, ``command`` a line."""

    stages: tuple[tuple[str, str, str, str], ...]
    error: str
    advice: tuple[str, ...]
    command: str


def reason(run: Gathered) -> str:
    """Why a run ended, in the words that the screen had; empty if nothing was noted."""
    return _KIND.sub("", text(run.facts.get("error")))


def ending(run: Gathered) -> Ending | None:
    """None for a run that is done, under way or an evaluation: nothing is to be gone on with."""
    if run.evaluation or run.state not in {"failed", "interrupted", "killed"}:
        return None
    given = run.facts.get("command")
    command = shlex.join(map(text, items(given))) or text(given)
    return Ending(
        stages=tuple(_stage(run, name) for name in STAGES),
        error=reason(run) if run.state == "failed" else "",
        advice=_advice(run),
        command=command,
    )


def _stage(run: Gathered, name: str) -> tuple[str, str, str, str]:
    folder, report = run.folder / name, run.stages.get(name, {})
    if (folder / "done.json").is_file():
        said = next((text(line) for line in items(report.get("summary"))), "")
        return name, "done", duration(number(report.get("seconds"))), said
    if not folder.is_dir():
        return name, "not begun", ABSENT, ""
    return name, "begun", ABSENT, _came_to(run) if name == "train" else ""


def _came_to(run: Gathered) -> str:
    """The last step that was logged, and the newest checkpoint."""
    course, parts = run.series["loss"], []
    if course:
        parts.append(f"last logged: step {value(course[-1][0])}, loss {value(course[-1][1])}")
    saved = checkpoint(run)
    parts.append("no checkpoint yet" if saved is None else f"saved: step {value(saved)}")
    return "; ".join(parts)


def checkpoint(run: Gathered) -> int | None:
    """The step of the newest checkpoint."""
    try:
        names = [each.name for each in (run.folder / "train" / "checkpoints").iterdir()]
    except OSError:
        return None
    steps = [int(found[1]) for name in names if (found := _CHECKPOINT.fullmatch(name))]
    return max(steps, default=None)


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:])


def _advice(run: Gathered) -> tuple[str, ...]:
    saved = checkpoint(run)
    done = [name for name in STAGES if (run.folder / name / "done.json").is_file()]
    parts = []
    if saved is not None and "train" not in done:
        parts.append(f"training goes on from step {value(saved)}")
    if done:
        parts.append(f"{_listed(done)} {'is' if len(done) == 1 else 'are'} kept")
    first = "The same command goes on in this run"
    if run.state == "failed":
        first = "When the cause is mended, run the same command again; it goes on in this run"
    said = [f"{first}: {'; '.join(parts) or 'from its beginning, since nothing was finished'}."]
    if run.state == "failed":
        said.append(
            "If that changes a row of the data, or a key of data, model, tune or train, it is "
            "another training: a new run beside this one, which takes over formatted rows where "
            "they are the same."
        )
    if run.state == "killed":
        said.append(
            "Nothing was noted when the process ended, as happens by kill -9, by a power cut, and "
            "where the system runs out of memory (then `dmesg` names it)."
        )
    return tuple(said)
