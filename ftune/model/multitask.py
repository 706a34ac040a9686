"""Soft prompts of several tasks: their names, and which one stands before a line.

Wang et al. 2023, https://arxiv.org/abs/2303.02861; through PEFT.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ftune.errors import ModelError
from ftune.model import manifest, weights

MARK = "ftune_tasks"
KIND = "MULTITASK_PROMPT_TUNING"
FILE = "adapter_model.safetensors"
TENSORS = ("prompt_embeddings", "prefix_task_cols", "prefix_task_rows")


def mark(tuned: Any, names: Sequence[str]) -> None:
    """Notes the tasks' names on the model, and takes the first task where a call names none.

    Only trials of a model on made-up tokens name none; whoever asks it in earnest says the task.
    """
    setattr(tuned, MARK, tuple(names))

    def first(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        indices, numbers = given
        if numbers is None:
            numbers = torch.zeros(len(indices), dtype=torch.long, device=indices.device)
        return indices, numbers

    tuned.prompt_encoder[tuned.active_adapter].register_forward_pre_hook(first)


def names(model: Any) -> tuple[str, ...]:
    """The tasks that a model was trained for; none of any other model, or of one put aside."""
    found: tuple[str, ...] = getattr(model, MARK, ())
    return () if getattr(model, "_adapters_disabled", False) else found


def numbers(model: Any, wanted: Sequence[str]) -> Any:
    """The numbers of tasks, int64 of shape (names,); None where the model knows no tasks.

    Raises:
        ModelError: there is no such task, or none is named.
    """
    there = names(model)
    if not there:
        return None
    for name in wanted:
        if name not in there:
            said = f"there is no task {name!r}" if name else "no task is named"
            raise ModelError(f"{said}; the model was trained for {', '.join(there)}")
    return torch.tensor([there.index(name) for name in wanted], dtype=torch.long)


def read(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The tensors of a trained prompt and the names of its tasks; an adapter's folder, or its file.

    Raises:
        ModelError: it isn't there, is damaged, or is no multitask prompt.
    """
    from safetensors.torch import load_file

    folder = path if path.is_dir() else path.parent
    file = folder / FILE if path.is_dir() else path
    if file.suffix != ".safetensors" or not file.is_file():
        raise ModelError(
            f"tune.prompt_tuning_init_state_dict_path: {path} is no folder of a trained adapter "
            f"(RUN/train/adapter) and no {FILE}"
        )
    manifest.read(folder)  # proves it whole
    weights.header(file)
    found = load_file(file)
    if set(found) != set(TENSORS):
        raise ModelError(
            f"{file}: is no prompt of multitask_prompt_tuning: it holds {', '.join(sorted(found))}"
        )
    return found, manifest.tasks(folder)


def begin_with(tuned: Any, start: str, path: Path, task: str) -> None:
    """Sets the prompt to what source tasks were trained to, as PEFT's starts of that name do.

    Raises:
        ModelError: the file can't be read or has another shape, or there is no such task in it.
    """
    found, there = read(path)
    encoder = tuned.prompt_encoder[tuned.active_adapter]
    parts = {
        "prompt_embeddings": encoder.embedding.weight,
        "prefix_task_cols": encoder.prefix_task_cols,
        "prefix_task_rows": encoder.prefix_task_rows,
    }
    if start == "ONLY_SOURCE_SHARED":
        parts = {"prompt_embeddings": parts["prompt_embeddings"]}
    elif start == "AVERAGE_SOURCE_TASKS":
        found |= {n: found[n].mean(0, keepdim=True) for n in TENSORS[1:]}
    else:
        if task not in there:
            raise ModelError(
                f"tune.prompt_tuning_init_task: {task!r} is no task of {path}; it was trained for "
                f"{', '.join(there) or 'tasks without names (it was not saved by ftune)'}"
            )
        at = there.index(task)
        found |= {n: found[n][at : at + 1] for n in TENSORS[1:]}
    for name, parameter in parts.items():
        if found[name].shape != parameter.shape:
            raise ModelError(
                f"{path}: its {name} is {_shape(found[name])} and {_shape(parameter)} is needed: "
                "take the same model, num_virtual_tokens and num_ranks as in that training"
            )
        parameter.data = found[name].to(parameter.device, parameter.dtype)


def _shape(tensor: Any) -> str:
    return " x ".join(map(str, tensor.shape))
