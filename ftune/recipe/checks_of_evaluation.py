"""Rules of the section ``evaluate``: what would be read past, or can't go together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftune.recipe.harness import Harness
from ftune.recipe.places import Problem, unread_key
from ftune.recipe.schema import Evaluate, Generation
from ftune.registry import METRICS, OBJECTIVES

KEEP_WORDS = ("typos", "casing")  # changes after which a row has the words that it had
FEWEST_DRAWS = 100  # beyond each end of a 95% interval lie 1 in 40


def metrics(recipe: Any) -> Iterator[Problem]:
    """Metrics need rows, and each is named once."""
    chosen = recipe.evaluate.metrics
    if chosen and not recipe.data.test:
        yield Problem(
            ("evaluate", "metrics"),
            "evaluate.metrics needs rows to score; add data.test, a share "
            "such as 0.05 or a list of sources, or remove the metrics",
        )
    seen = []
    for i, metric in enumerate(chosen):
        if metric.name in seen:
            said = f"evaluate.metrics[{i}]: {metric.name} is there already; keep one of them"
            yield Problem(("evaluate", "metrics", i), said)
        seen.append(metric.name)
    section = recipe.evaluate
    if not section.suites:
        for key, default in Harness():
            at = ("evaluate", "harness", key)
            why = "without evaluate.suites; name some, or remove it"
            yield from unread_key(at, getattr(recipe.evaluate.harness, key), default, why)
    scored = chosen or section.suites or section.retain
    if scored and 0 < section.bootstrap < FEWEST_DRAWS:
        yield Problem(
            ("evaluate", "bootstrap"),
            f"evaluate.bootstrap: {section.bootstrap} draws say nothing of an interval "
            f"of 95%; take at least {FEWEST_DRAWS}, or 0 for no intervals",
        )
    if chosen:
        return
    if recipe.data.test:
        yield Problem(
            ("data", "test"),
            "data.test is never scored without evaluate.metrics; add some, such as [rouge], or "
            "remove it",
        )
    of_all = () if section.suites or section.retain else ("base", "bootstrap")
    for key in ("group_references", *of_all):
        default = Evaluate.model_fields[key].default
        why = "without evaluate.metrics; add some, or remove it"
        yield from unread_key(("evaluate", key), getattr(recipe.evaluate, key), default, why)


def stride(recipe: Any) -> Iterator[Problem]:
    """Windows overlap or touch, and something is scored in them."""
    section, at = recipe.evaluate, ("evaluate", "stride")
    if section.stride is None:
        return
    if section.stride > recipe.data.max_length:
        yield Problem(
            at,
            f"evaluate.stride: {section.stride} is more than data.max_length "
            f"({recipe.data.max_length}), so tokens between two windows would never be scored; "
            "take at most half of it",
        )
    named = [*section.metrics, *(m for one in section.retain for m in one.metrics)]
    if not any(METRICS.load(m.name).NEEDS == "likelihood" for m in named if m.name):
        yield Problem(
            at,
            "evaluate.stride has no effect without a metric of likelihood; add perplexity or "
            "token_loss to evaluate.metrics, or remove it",
        )


def retained(recipe: Any) -> Iterator[Problem]:
    """Sets to be retained have names of their own, and something to be compared with."""
    sets = recipe.evaluate.retain
    names = [one.name for one in sets]
    for i, name in enumerate(names):
        if name in names[:i]:
            said = f"evaluate.retain[{i}].name: {name} is there already; give it another"
            yield Problem(("evaluate", "retain", i, "name"), said)
    if sets and not recipe.evaluate.base:
        yield Problem(
            ("evaluate", "base"),
            "evaluate.base: false leaves nothing to compare evaluate.retain with; remove one of "
            "the two",
        )


def robustness(recipe: Any) -> Iterator[Problem]:
    """Perturbed rows stand beside the rows as they are, each kind once."""
    kinds, at = recipe.evaluate.robustness, ("evaluate", "robustness")
    if not kinds:
        return
    if len(set(kinds)) < len(kinds):
        yield Problem(at, "evaluate.robustness: names a kind twice; name each once")
    if not recipe.evaluate.metrics:
        said = "evaluate.robustness has no effect without evaluate.metrics; add some, or remove it"
        yield Problem(at, said)
    if recipe.evaluate.group_references:
        yield Problem(
            at,
            "evaluate.robustness: equal questions are perturbed in different ways, and can't be "
            "grouped; set evaluate.group_references: false, or remove it",
        )
    objective = recipe.train.objective.name
    tagged = objective and getattr(OBJECTIVES.load(objective), "TAKES", "") == "tagged"
    if tagged and (other := [kind for kind in dict.fromkeys(kinds) if kind not in KEEP_WORDS]):
        yield Problem(
            at,
            f"evaluate.robustness: {', '.join(other)}: with train.objective: {objective} each word "
            "has a tag, and these join, split or leave the words as they are; of its rows there "
            f"are {', '.join(KEEP_WORDS)}",
        )


def generation(recipe: Any) -> Iterator[Problem]:
    """Sampling keys go with sampling."""
    settings = recipe.evaluate.generation
    at = ("evaluate", "generation")
    if not settings.do_sample:
        for key in ("temperature", "top_k", "top_p"):
            default = Generation.model_fields[key].default
            why = "without sampling; set do_sample: true, or remove it"
            yield from unread_key((*at, key), getattr(settings, key), default, why)
    elif settings.num_beams > 1:
        yield Problem(
            (*at, "num_beams"),
            "evaluate.generation.num_beams: beam search draws nothing; set "
            "do_sample: false, or num_beams: 1",
        )


RULES: tuple[Callable[[Any], Iterator[Problem]], ...] = (
    metrics,
    retained,
    stride,
    robustness,
    generation,
)
