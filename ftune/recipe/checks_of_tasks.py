"""Rules of multitask prompt tuning: whose rows are of which task, and where prompts start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftune.recipe.checks_of_sources import every
from ftune.recipe.places import KeyPath, Problem, dotted

METHOD = "multitask_prompt_tuning"
FROM_SOURCE = ("AVERAGE_SOURCE_TASKS", "EXACT_SOURCE_TASK", "ONLY_SOURCE_SHARED")
ONE_TASK = ("AVERAGE_SOURCE_TASKS", "EXACT_SOURCE_TASK")  # all that is trained starts from there
AT: KeyPath = ("tune",)


def rows(recipe: Any) -> Iterator[Problem]:
    """Each source is of a task, and each task has rows."""
    if recipe.tune.name != METHOD:
        for place, source in every(recipe):
            if source.task:
                at = (*place, "task")
                yield Problem(
                    at, f"{dotted(at)}: only tune.method: {METHOD} tells tasks apart; remove it"
                )
        return
    tasks = recipe.tune.config.tasks
    for place, source in every(recipe):
        if source.task not in tasks:
            at = (*place, "task")
            said = f"{source.task!r} is none of tune.tasks" if source.task else "is missing"
            listed = f"there are: {', '.join(tasks)}" if tasks else (
                "name the tasks in tune.tasks, and give each source one of them"
            )  # fmt: skip
            yield Problem(at, f"{dotted(at)} {said}; {listed}", missing=not source.task)
    if bare := [t for t in tasks if t not in {s.task for s in recipe.data.train}]:
        yield Problem(
            (*AT, "tasks"),
            f"tune.tasks: no source of data.train is of {', '.join(bare)}; give one its task, or "
            "take the name out",
        )


def names(recipe: Any) -> Iterator[Problem]:
    """Several tasks, each named once."""
    if recipe.tune.name != METHOD:
        return
    config, at = recipe.tune.config, (*AT, "tasks")
    tasks, start = config.tasks, config.prompt_tuning_init
    if len(set(tasks)) < len(tasks) or "" in tasks:
        yield Problem(at, "tune.tasks: a name is there twice, or empty; give each task its own")
    if start in ONE_TASK and len(tasks) != 1:
        yield Problem(
            at, f"tune.tasks: prompt_tuning_init: {start} starts one new task, and {len(tasks)} "
            "are named; take ONLY_SOURCE_SHARED for several",
        )  # fmt: skip
    if start not in FROM_SOURCE and len(tasks) == 1:
        yield Problem(
            at, "tune.tasks: one task alone has nothing to share; take prompt_tuning, name more, "
            "or start from trained prompts (prompt_tuning_init)",
        )  # fmt: skip


def starts(recipe: Any) -> Iterator[Problem]:
    """What goes with which start."""
    if recipe.tune.name != METHOD:
        return
    config = recipe.tune.config
    start = config.prompt_tuning_init
    for key, value, which in (
        ("prompt_tuning_init_text", config.prompt_tuning_init_text.strip(), ("TEXT",)),
        (
            "prompt_tuning_init_state_dict_path",
            config.prompt_tuning_init_state_dict_path,
            FROM_SOURCE,
        ),
        ("prompt_tuning_init_task", config.prompt_tuning_init_task, ("EXACT_SOURCE_TASK",)),
    ):
        wanted = start in which
        if bool(value) != wanted:
            yield Problem(
                (*AT, key),
                f"tune.{key} goes with prompt_tuning_init: {' | '.join(which)}, and only with it; "
                + ("add it" if wanted else "remove it"),
            )


def elsewhere(recipe: Any) -> Iterator[Problem]:
    """Where rows are asked of which nobody says the task, or rows have no file that says it."""
    if recipe.tune.name != METHOD:
        return
    if recipe.evaluate.suites:
        yield Problem(
            ("evaluate", "suites"),
            f"evaluate.suites: their rows are of no task, and {METHOD} has a prompt for each task "
            "and none for others; remove them",
        )
    if recipe.data.streaming is not None:
        yield Problem(
            ("data", "streaming"),
            f"data.streaming: {METHOD} looks up each row's task in the file of all rows; remove it",
        )


RULES: tuple[Callable[[Any], Iterator[Problem]], ...] = (rows, names, starts, elsewhere)
