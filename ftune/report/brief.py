"""A run in one line: read quickly, since a folder may hold many runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.report.scores import Score, scores
from ftune.report.state import called, state_of
from ftune.report.tolerant import mapping, plain, read_json


@dataclass(frozen=True, slots=True)
class Brief:
    """Which run it is, how it stands and what it scored."""

    folder: Path
    name: str
    id: str
    state: str  # as ``state_of`` gives it
    facts: Mapping[str, Any]  # run.json
    scores: tuple[Score, ...]

    def to_plain(self) -> dict[str, Any]:
        """For ``--json``."""
        named = {"name": self.name, "id": self.id, "path": str(self.folder), "state": self.state}
        facts = {key: self.facts.get(key) for key in ("started", "finished", "seconds", "error")}
        return plain({**named, **facts, "metrics": [score.to_plain() for score in self.scores]})


def brief(folder: Path) -> Brief:
    """Reads run.json and the scores; never fails on what it finds there."""
    facts = read_json(folder / "run.json", [])
    report = read_json(folder / "evaluate" / "report.json", [])
    name, number = called(folder, facts)
    return Brief(
        folder=folder,
        name=name,
        id=number,
        state=state_of(folder, facts),
        facts=facts,
        scores=scores(mapping(report.get("figures"))),
    )
