"""The user's own recipe made small: a few rows of each source, three steps, short answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ftune.recipe.overrides import read_override, read_path
from ftune.recipe.places import KeyPath, dotted
from ftune.recipe.resolved import to_plain
from ftune.recipe.schema import Recipe
from ftune.recipe.source import Source
from ftune.registry import OBJECTIVES

STEPS = 3
DIES_AT = 2  # the step in which the process is killed
ROWS = 16  # of each training source
FEW = 4  # of each other source
NEW_TOKENS = 16


def miniature(
    recipe: Recipe, given: Sequence[str], runs_dir: Path, labels: Sequence[str] = ()
) -> tuple[str, ...]:
    """Overrides that make the recipe small: those ``given`` that still count, and its own.

    ``labels`` are those of all rows, of which few have only some.

    All else stays as it is: model, template, method, batches, optimizer, precision, metrics.
    """
    own = {
        "runs_dir": json.dumps(str(runs_dir)),
        "train.max_steps": str(STEPS),
        "train.save_steps": "1",
        "train.save_total_limit": str(STEPS),
        "train.logging_steps": "1",
        "train.report_to": "[]",
        **_rows(recipe),
    }
    if recipe.train.unfreeze_every is not None:
        own["train.unfreeze_every"] = "{steps: 1}"
    if recipe.data.eval:
        own["train.eval_steps"] = "2"
    if labels:
        name, config = recipe.train.objective.name, recipe.train.objective.config
        told = {**config.model_dump(mode="json"), "labels": list(labels)}
        own["train.objective"] = json.dumps({name: told}, ensure_ascii=False)
    writes = OBJECTIVES.load(recipe.train.objective.name)
    writing = getattr(writes, "KIND", "causal_lm") in ("causal_lm", "seq2seq_lm")
    if writing and recipe.evaluate.generation.max_new_tokens > NEW_TOKENS:
        own["evaluate.generation.max_new_tokens"] = str(NEW_TOKENS)
    mine = [read_path(key) for key in own]
    kept = [text for text in given if not _under(read_override(text)[0], mine)]
    return (*kept, *(f"{key}={value}" for key, value in own.items()))


def _under(path: KeyPath, others: Sequence[KeyPath]) -> bool:
    return any(path[: len(other)] == other for other in others)


def _rows(recipe: Recipe) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, source in enumerate(recipe.data.train):
        at = dotted(("data", "train", number))
        found[f"{at}.max_rows"] = str(min(source.max_rows or ROWS, ROWS))
        if source.weight < 1:  # it might draw none of so few
            found[f"{at}.weight"] = "1.0"
        found |= _shots(at, source)
    for split in ("eval", "test"):
        own = getattr(recipe.data, split)
        if isinstance(own, float):
            # A share of so few rows may be none: the training rows stand in for it.
            small = recipe.model_copy(
                update={"data": recipe.data.model_copy(update={"train": _few(recipe.data.train)})}
            )
            plain = to_plain(small)["data"]["train"]
            found[f"data.{split}"] = json.dumps(plain, ensure_ascii=False)
            continue
        for number, source in enumerate(own):
            rows = min(source.max_rows or FEW, FEW)
            at = dotted(("data", split, number))
            found |= {f"{at}.max_rows": str(rows), **_shots(at, source)}
    return found


def _few(sources: Sequence[Source]) -> tuple[Source, ...]:
    """The sources with few rows, and no more demonstrations than these can give."""
    found = []
    for source in sources:
        shots = source.few_shot
        if shots is not None and shots.pool is None:
            shots = shots.model_copy(update={"k": _fewer(shots.k)})
        found.append(source.model_copy(update={"max_rows": FEW, "few_shot": shots}))
    return tuple(found)


def _shots(at: str, source: Source) -> dict[str, str]:
    """The source's own rows, which are few now, can't give many demonstrations."""
    shots = source.few_shot
    if shots is None or shots.pool is not None:
        return {}
    return {f"{at}.few_shot.k": json.dumps(_fewer(shots.k))}


def _fewer(k: int | tuple[int, ...]) -> int | tuple[int, ...]:
    """Demonstrations that ``FEW`` rows give each other."""
    return tuple(min(one, FEW - 1) for one in k) if isinstance(k, tuple) else min(k, FEW - 1)
