"""What a run of a recipe comes to, stage by stage, less what no two runs have alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from small_runs import json_lines, load, run_here, timeless

from ftune.errors import FtuneError
from ftune.run.directory import RunDirectory
from ftune.stages.whole import STAGES

PARTS = tuple(stage.name for stage in STAGES)


@dataclass
class Recorder:
    """Keeps what parts tell of their work: meters with their totals and updates."""

    told: list[Any] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Lines hold rates; they are not kept."""

    def warn(self, line: str) -> None:
        self.told.append(line)

    @contextmanager
    def meter(self, title: str, total: int | None, unit: str) -> Iterator[Recorder]:
        self.told.append([title, total, unit])
        yield self

    def update(self, done: int, **figures: str) -> None:
        self.told.append(done)


def look(recipe: Path, overrides: tuple[str, ...], part: str) -> dict[str, Any]:
    """By stage up to ``part``: files and figures; under "error" what ended the run early."""
    recorder = Recorder()
    found: dict[str, Any] = {}
    # A folder of its own: beside other runs, stages would be taken over from them.
    runs = Path(mkdtemp(prefix="runs-", dir=recipe.parent))
    stages = STAGES[: PARTS.index(part) + 1]
    try:
        loaded = load(recipe, *overrides)
        run = run_here(loaded, runs, stages=stages, progress=recorder)
    except FtuneError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    for stage in stages:
        found[stage.name] = [_report(run, stage.name), *LOOKS[stage.name](run.stage(stage.name))]
    found["told"] = recorder.told
    return found


def _report(run: RunDirectory, stage: str) -> Any:
    told = timeless(json.loads((run.stage(stage) / "report.json").read_text(encoding="utf-8")))
    figures = told["figures"]
    figures.pop("resumed_from", None)
    figures.get("identity", {}).pop("name", None)
    return figures


def _tokens(folder: Path) -> list[Any]:
    from ftune.data.store import TokenStore

    found = []
    for name in ("train.arrow", "eval.arrow"):
        store = TokenStore(folder / name)
        pairs = [store[i] for i in range(len(store))]
        found.append([(list(map(int, ids)), list(map(bool, trained))) for ids, trained in pairs])
    return found


def _training(folder: Path) -> list[Any]:
    weights = hashlib.sha256((folder / "adapter" / _weights(folder)).read_bytes()).hexdigest()
    saved = sorted(p.name for p in (folder / "checkpoints").glob("*"))
    others = sorted(p.name for p in folder.iterdir())
    return [weights, saved, others, json_lines(folder / "metrics.jsonl")]


def _weights(folder: Path) -> str:
    return next(p.name for p in (folder / "adapter").glob("*.safetensors"))


def _answers(folder: Path) -> list[Any]:
    files = [folder / name for name in ("predictions.jsonl", "suites.jsonl")]
    return [json_lines(file) for file in files if file.is_file()]


LOOKS: dict[str, Any] = {
    "format": _tokens,
    "load": lambda folder: [],
    "train": _training,
    "evaluate": _answers,
}
