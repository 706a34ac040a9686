"""The section ``distributed``: several processes, and what is split between them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ftune.recipe.base import Section


class Fsdp(Section):
    """What each process holds a share of instead of a copy (torch's ``fully_shard``, FSDP2)."""

    reshard_after_forward: bool = True
    """Give a layer's gathered parameters back after its forward pass and gather them once more for
    the backward pass (ZeRO's stage 3); false keeps them until then, so that only gradients and the
    optimizer stay split in a step (near stage 2): more memory, less traffic."""
    transformer_layer_cls_to_wrap: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Classes of modules whose parameters are gathered together, one module at a time; by default
    the model's own layers, as transformers names them (``_no_split_modules``)."""
    cpu_offload: bool = False
    """Keep the shares, their gradients and the optimizer in main memory, and compute on the GPU."""
    param_dtype: Literal["float32", "bfloat16"] | None = None
    """Type in which parameters are gathered and computed with; null: their own. The shares, and
    what the optimizer changes, stay in theirs."""
    reduce_dtype: Literal["float32", "bfloat16"] | None = None
    """Type in which gradients are added over the processes; null: that of the computation."""


class Distributed(Section):
    """Several processes, through accelerate; what they split, by torch."""

    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Autocast for the forward pass."""
    fsdp: Fsdp | None = None
    """Split parameters, gradients and optimizer over the processes; ``{}`` takes the defaults.
    Leave out for a whole copy in each."""
    deepspeed: Annotated[str, Field(min_length=1)] | dict[str, Any] | None = None
    """Train with DeepSpeed (ZeRO): its configuration, as a JSON file, whose relative path starts at
    the recipe's folder, or written out here; ``auto`` in it takes the recipe's value, and what
    contradicts the recipe is refused. Needs ``pip install 'ftune[deepspeed]'``."""
    timeout_seconds: Annotated[float, Field(ge=1.0, le=86_400.0)] = 600.0
    """Longest wait of one process for the others in training; then the run ends, and one that
    hangs is named. Saving a checkpoint must take less."""
