"""Rules for objectives: which rows and metrics each goes with, and which keys it never reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftune.recipe.places import KeyPath, Problem, unread_key
from ftune.recipe.schema import Data, Evaluate, Generation
from ftune.registry import FORMATS, METRICS, OBJECTIVES

CONVERSATION = "conversation"  # what formats give, and objectives take, that don't say otherwise
TEMPLATED = ("template", "system_prompt", "train_on", "packing")
GENERATED = ("suites", "retain", "stride", "group_references")


def _taken(recipe: Any) -> str:
    name = recipe.train.objective.name
    if name not in OBJECTIVES.names():
        return CONVERSATION
    found: str = getattr(OBJECTIVES.load(name), "TAKES", CONVERSATION)
    return found


def rows(recipe: Any) -> Iterator[Problem]:
    """Each source has rows of the kind that the objective learns."""
    taken = _taken(recipe)
    for split in ("train", "eval", "test"):
        sources = getattr(recipe.data, split)
        for i, source in enumerate(() if isinstance(sources, float) else sources):
            name = source.format.name
            if name in FORMATS.names() and _given(name) != taken:
                fitting = [other for other in FORMATS.names() if _given(other) == taken]
                at: KeyPath = ("data", split, i, "format")
                yield Problem(
                    at,
                    f"data.{split}[{i}].format: {name} gives rows that train.objective: "
                    f"{recipe.train.objective.name} can't learn; it takes {', '.join(fitting)}",
                )


def _given(name: str) -> str:
    found: str = getattr(FORMATS.load(name), "GIVES", CONVERSATION)
    return found


def keys(recipe: Any) -> Iterator[Problem]:
    """Keys of templates and of generated text mean nothing where rows have labels."""
    objective = recipe.train.objective.name
    if objective == "seq2seq":
        yield from _written(recipe)
    if _taken(recipe) == CONVERSATION:
        return
    why = f"with train.objective: {objective}, which "
    for key in TEMPLATED:
        default = Data.model_fields[key].default
        said = why + "reads each text whole and as it is; remove it"
        yield from unread_key(("data", key), getattr(recipe.data, key), default, said)
    if recipe.data.mixture is not None and recipe.data.mixture.by == "trained_tokens":
        yield Problem(
            ("data", "mixture", "by"),
            f"data.mixture.by: trained_tokens has no meaning with train.objective: {objective}, "
            "which writes none; write rows",
        )
    if recipe.data.on_too_long == "truncate_prompt":
        yield Problem(
            ("data", "on_too_long"),
            f"data.on_too_long: there are no prompts with train.objective: {objective}; write "
            "truncate, drop or error",
        )
    if objective == "question_answering" and recipe.data.on_too_long != "error":
        yield Problem(
            ("data", "on_too_long"),
            "data.on_too_long has no effect with train.objective: question_answering, which reads "
            "long contexts in several windows; remove it",
        )
    for key in GENERATED:
        default = Evaluate.model_fields[key].default
        said = why + "generates no text; remove it"
        yield from unread_key(("evaluate", key), getattr(recipe.evaluate, key), default, said)
    for key, field in Generation.model_fields.items():
        at = ("evaluate", "generation", key)
        said = why + "generates no text; remove it"
        yield from unread_key(at, getattr(recipe.evaluate.generation, key), field.default, said)


def _written(recipe: Any) -> Iterator[Problem]:
    """What an encoder-decoder can't do."""
    why = "with train.objective: seq2seq, whose answers stand in lines of their own; remove it"
    for key in ("packing", "train_on"):
        default = Data.model_fields[key].default
        yield from unread_key(("data", key), getattr(recipe.data, key), default, why)
    if recipe.data.on_too_long == "truncate":
        yield Problem(
            ("data", "on_too_long"),
            "data.on_too_long: truncate would cut the end of a question, which an encoder reads; "
            "write truncate_prompt, drop or error",
        )
    for key in GENERATED:
        default = Evaluate.model_fields[key].default
        said = "with train.objective: seq2seq; remove it"
        yield from unread_key(("evaluate", key), getattr(recipe.evaluate, key), default, said)


def metrics(recipe: Any) -> Iterator[Problem]:
    """Metrics are of what the objective's answers are."""
    objective = recipe.train.objective.name
    known = objective in OBJECTIVES.names()
    kind = getattr(OBJECTIVES.load(objective), "KIND", "causal_lm") if known else "causal_lm"
    labelled = kind not in ("causal_lm", "seq2seq_lm")
    for i, metric in enumerate(recipe.evaluate.metrics):
        if metric.name not in METRICS.names():
            continue
        module = METRICS.load(metric.name)
        wanted = getattr(module, "OBJECTIVES", ())
        at: KeyPath = ("evaluate", "metrics", i)
        if objective in ("classification", "multiple_choice"):
            yield from _of_text(metric, module, objective, at)
        if wanted and objective not in wanted:
            yield Problem(
                at,
                f"evaluate.metrics[{i}]: {metric.name} is a figure of train.objective: "
                f"{' or '.join(wanted)}, and the recipe's is {objective}; take another",
            )
        elif objective in (other := getattr(module, "NOT_FOR", {})):
            yield Problem(
                at,
                f"evaluate.metrics[{i}]: {metric.name} says nothing of train.objective: "
                f"{objective}, whose answers are no labels of a row; take {other[objective]}",
            )
        elif labelled and module.NEEDS in ("likelihood", "choices"):
            yield Problem(
                at,
                f"evaluate.metrics[{i}]: {metric.name} is of the likelihood of text, and "
                f"train.objective: {objective} gives none; take another",
            )


def _of_text(metric: Any, module: Any, objective: str, at: KeyPath) -> Iterator[Problem]:
    """Options that find a label in a text have nothing to find where a head says labels."""
    if not hasattr(module, "NOT_FOR"):
        return
    why = f"with train.objective: {objective}, whose head says one of the labels; remove it"
    for key, field in module.Config.model_fields.items():
        if key != "average":
            yield from unread_key((*at, key), getattr(metric.config, key), field.default, why)


RULES: tuple[Callable[[Any], Iterator[Problem]], ...] = (rows, keys, metrics)
