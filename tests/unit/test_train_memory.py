"""A lack of memory is told with what the recipe could change; other errors pass."""

from __future__ import annotations

import pytest
import torch

from ftune.errors import RunError
from ftune.recipe.base import Chosen
from ftune.recipe.schema import Train
from ftune.train import memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"
        ),
        MemoryError(),
    ],
)
def test_a_lack_of_memory_names_the_keys_to_change(error: Exception) -> None:
    settings = Train(objective=Chosen("sft", None), per_device_train_batch_size=8)
    with pytest.raises(RunError) as told, memory.told(settings):
        raise error
    words = str(told.value)
    assert "out of memory" in words and "more" not in words
    assert "per_device_train_batch_size to 4" in words
    assert "gradient_accumulation_steps to 2" in words
    assert "gradient_checkpointing: true" in words


def test_nothing_is_advised_that_is_done_already() -> None:
    settings = Train(
        objective=Chosen("sft", None), per_device_train_batch_size=1, gradient_checkpointing=True
    )
    with pytest.raises(RunError) as told, memory.told(settings):
        raise MemoryError
    assert "batch_size" not in str(told.value)
    assert "gradient_checkpointing" not in str(told.value)


def test_other_errors_pass() -> None:
    settings = Train(objective=Chosen("sft", None))
    with pytest.raises(RuntimeError, match="shape"), memory.told(settings):
        raise RuntimeError("shape mismatch")
