"""Whether two runs differ by more than chance, from their answers to the same prompts."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftune.errors import FtuneError
from ftune.recipe.reading import load_recipe
from ftune.recipe.schema import Recipe
from ftune.report.tolerant import read_json, text
from ftune.run.directory import RunDirectory
from ftune.types import Prediction


@dataclass(frozen=True)
class Chances:
    """The p-value of each metric that was tested, by its name, and why others were not."""

    p: Mapping[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def chances(a: Path, b: Path) -> Chances:
    """Tests each metric that both runs have and measured alike, row for row.

    The metrics are computed again from predictions.jsonl by the runs' recipes. There is no test
    where a file can't be read or the prompts or references differ; the notes say so.
    """
    files = [folder / "evaluate" / "predictions.jsonl" for folder in (a, b)]
    if not all(file.is_file() for file in files):
        return Chances()
    from ftune.evaluate import predictions

    try:
        left, right = (list(predictions.read(file)) for file in files)
        partners = _paired(left, right)
        if partners is None:
            said = "the prompts or references differ, so no difference of the metrics was tested"
            return Chances(notes=(said,))
        return Chances(_p_values((a, b), left, partners))
    except FtuneError as error:
        return Chances(notes=(f"the differences of the metrics were not tested: {error}",))


def _paired(left: Sequence[Prediction], right: Sequence[Prediction]) -> list[Prediction] | None:
    """``right`` in the order of ``left``; None if they don't answer the same questions."""
    if not left or len(left) != len(right):
        return None
    waiting: dict[Any, deque[Prediction]] = defaultdict(deque)
    for prediction in right:
        waiting[prediction.prompt, prediction.references].append(prediction)
    found = []
    for prediction in left:
        same = waiting[prediction.prompt, prediction.references]
        if not same:
            return None
        found.append(same.popleft())
    return found


def _p_values(
    folders: tuple[Path, Path], left: Sequence[Prediction], right: Sequence[Prediction]
) -> dict[str, float | None]:
    """By both runs' recipes; the more trials of the two are made."""
    from ftune.evaluate.scoreboard import compare, score_all

    sections = [_recipe(folder).evaluate for folder in folders]
    before = score_all(sections[0].metrics, left)
    after = score_all(sections[1].metrics, right)
    lines = compare(before, after, max(section.bootstrap for section in sections))
    return {line.name: line.p for line in lines if None not in (line.before, line.after)}


def _recipe(folder: Path) -> Recipe:
    run = RunDirectory(folder)
    home = text(read_json(run.state_file, []).get("recipe")) or folder / "recipe.yaml"
    return load_recipe(run.resolved_file, home=home).recipe
