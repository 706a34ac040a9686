"""Multitask prompt tuning: one shared soft prompt, and a small change of it for each task.

Wang et al. 2023, https://arxiv.org/abs/2303.02861; through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``MultitaskPromptTuningConfig``, with names in place of task numbers."""

    tasks: tuple[str, ...] = ()
    """The tasks' names; each source of the recipe's rows says under ``task`` which it is of."""
    num_virtual_tokens: Annotated[int, Field(ge=1)] = 20
    """How many vectors; each takes a place of the context."""
    num_ranks: Annotated[int, Field(ge=1)] = 1
    """Rank of each task's own factor."""
    prompt_tuning_init: Literal[
        "RANDOM", "TEXT", "AVERAGE_SOURCE_TASKS", "EXACT_SOURCE_TASK", "ONLY_SOURCE_SHARED"
    ] = "RANDOM"
    """Start of the shared prompt: drawn, or the embeddings of a text. The other three start a new
    task from prompts that were trained for others: from the mean of the tasks, from one of them,
    or from the shared prompt alone."""
    prompt_tuning_init_text: str = ""
    """That text; repeated or cut to the number of vectors (TEXT only)."""
    prompt_tuning_init_state_dict_path: str = ""
    """Where the trained prompts are: a run's ``train/adapter``; a relative path starts at the
    folder in which ftune is started."""
    prompt_tuning_init_task: str = ""
    """The task to start from (EXACT_SOURCE_TASK only)."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with the shared vectors and the tasks' factors, in float32.

    Raises:
        ModelError: no tasks are named, trained prompts don't fit, or the recipe adds tokens.
    """
    from pathlib import Path

    from peft import MultitaskPromptTuningConfig

    from ftune.errors import ModelError
    from ftune.model import attaching, multitask

    attaching.refuse_added_tokens(tokenizer, "multitask_prompt_tuning")
    if not config.tasks:
        raise ModelError("tune.tasks: name the tasks, and give each source of rows its task")
    settings = MultitaskPromptTuningConfig(
        num_virtual_tokens=config.num_virtual_tokens,
        num_ranks=config.num_ranks,
        num_tasks=len(config.tasks),
    )
    start, text = config.prompt_tuning_init, config.prompt_tuning_init_text
    path, task = Path(config.prompt_tuning_init_state_dict_path), config.prompt_tuning_init_task
    table = model.get_input_embeddings().weight.detach()
    tuned = attaching.attach(model, settings)
    weight = tuned.prompt_encoder[tuned.active_adapter].embedding.weight
    if start == "TEXT":
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise ModelError("tune.prompt_tuning_init_text: the tokenizer makes no token of it")
        rows = [ids[at % len(ids)] for at in range(len(weight))]
        weight.data = table[rows].float().to(weight.device)
    elif start != "RANDOM":
        multitask.begin_with(tuned, start, path, task)
    multitask.mark(tuned, config.tasks)
    return tuned


def identity(config: Config) -> dict[str, str]:
    """What the start depends on besides the keys: sha256 of the trained prompts."""
    from pathlib import Path

    from ftune.model.multitask import FILE
    from ftune.run import atomic

    named = Path(config.prompt_tuning_init_state_dict_path)
    path = named / FILE if named.is_dir() else named
    return {"start": atomic.sha256(path)} if path.is_file() else {}
