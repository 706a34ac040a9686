"""Everything a run wrote about itself, read into one frozen structure.

A run directory may be of a run that is under way, failed or was killed: what isn't there is empty.
The figures that the stages give, by the key of their report.json's ``figures``:

* format: ``ledger`` {"train": [one mapping of counts per source], "eval": [...]}, ``totals``
* load: ``parameters``, ``trainable``, ``trainable_percent``, ``bytes``, ``dtype``, ``device``
* train: ``steps``, ``epochs``, ``final_loss``, ``best_loss``,
  ``trained_tokens``, ``tokens_per_second``, ``seconds``, ``peak_memory_bytes``
* evaluate: ``metrics`` (see ``scores``), ``rows``, ``seconds``
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.report.samples import Sample, read_samples
from ftune.report.scores import Score, scores
from ftune.report.series import Series, read_series
from ftune.report.state import called, state_of
from ftune.report.tolerant import items, mapping, read_json, read_yaml, text

STAGES = ("format", "load", "train", "evaluate")


@dataclass(frozen=True)
class Gathered:
    """One run, as it was found."""

    folder: Path
    name: str
    id: str
    state: str  # as in run.json, or "killed", or "unknown" where there is no run.json
    facts: Mapping[str, Any]  # run.json
    recipe: Mapping[str, Any]  # with every default
    environment: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Any]]  # report.json of each stage that wrote one
    series: Series
    samples: tuple[Sample, ...]
    problems: tuple[str, ...]  # what could not be read
    evaluation: bool = False  # of ftune eval alone: nothing was trained

    @property
    def answers(self) -> Path:
        """The file of all predictions, which need not be there."""
        return (self.folder if self.evaluation else self.folder / "evaluate") / "predictions.jsonl"

    def figures(self, stage: str) -> Mapping[str, Any]:
        """The figures of a stage; empty if it wrote none."""
        return mapping(self.stages.get(stage, {}).get("figures"))

    @property
    def counted(self) -> Mapping[str, Any]:
        """The figures of the stage format; of a stream with the rows that were read in training,
        of which format had the first ones only."""
        found = self.figures("format")
        stream = mapping(self.figures("train").get("stream"))
        if not stream.get("ledger"):
            return found
        ledger = {**mapping(found.get("ledger")), "train": stream["ledger"]}
        return {**found, "ledger": ledger, "totals": {}}

    @property
    def scores(self) -> tuple[Score, ...]:
        """The metrics, in the recipe's order."""
        return scores(self.figures("evaluate"))

    @property
    def method(self) -> str:
        """The tuning method; empty if the recipe isn't there."""
        return text(mapping(self.recipe.get("tune")).get("method"))

    @property
    def objective(self) -> str:
        """The training objective; empty if the recipe isn't there."""
        found = mapping(self.recipe.get("train")).get("objective")
        return text(next(iter(mapping(found)), "")) or text(found)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the stages warned of, keys of the recipe that did nothing, what can't be read."""
        said = [
            f"{name}: {text(line)}"
            for name, report in self.stages.items()
            for line in items(report.get("warnings"))
        ]
        idle = [f"recipe: {key} had no effect: {why}" for key, why in self.unread]
        return (*said, *idle, *self.problems)

    @property
    def unread(self) -> tuple[tuple[str, str], ...]:
        """Keys that were written into the recipe and did nothing, each with the reason."""
        found = map(mapping, items(self.facts.get("unread")))
        return tuple((text(one.get("key")), text(one.get("why"))) for one in found)


def about(run: Gathered) -> list[tuple[str, str]]:
    """What a run or an evaluation was of, as names and words; what isn't known is empty."""
    model = text(mapping(run.recipe.get("model")).get("name_or_path"))
    if not run.evaluation:
        return [("model", model), ("method", run.method)]
    scored = text(run.facts.get("model"))
    base = model if any(score.base is not None for score in run.scores) else ""
    return [("model", scored), ("compared with", base), ("rows", text(run.facts.get("on")))]


def evaluation_settings(run: Gathered) -> str:
    """The recipe's section evaluate as YAML; empty if it isn't there."""
    import yaml

    found = mapping(run.recipe.get("evaluate"))
    return yaml.safe_dump(dict(found), sort_keys=False, allow_unicode=True) if found else ""


def gather(folder: Path, whole: bool = True) -> Gathered:
    """Reads the run in ``folder``; never fails on what it finds there.

    Without ``whole``, metrics.jsonl and predictions.jsonl, which may be long, are not read.
    """
    problems: list[str] = []
    facts = read_json(folder / "run.json", problems)
    stages = {name: read_json(folder / name / "report.json", problems) for name in STAGES}
    series = Series()
    samples: tuple[Sample, ...] = ()
    if whole:
        series = read_series(folder / "train" / "metrics.jsonl", problems)
        samples = read_samples(folder / "evaluate" / "predictions.jsonl", problems)
    name, number = called(folder, facts)
    return Gathered(
        folder=folder,
        name=name,
        id=number,
        state=state_of(folder, facts),
        facts=facts,
        recipe=read_yaml(folder / "recipe.resolved.yaml", problems),
        environment=read_json(folder / "environment.json", problems),
        stages={name: report for name, report in stages.items() if report},
        series=series,
        samples=samples,
        problems=tuple(problems),
    )
