"""Which rows each step of a training has, over the tokens that format wrote or a stream forms."""

from __future__ import annotations

from typing import Any

from ftune.run.stage import Context
from ftune.stages import streaming
from ftune.stages.models import Tuned

# Objectives whose heads read tokens and no padding (docs/decisions/089).
READ_TOKENS = ("classification", "regression", "token_classification")


def planned(context: Context, tuned: Tuned, processes: int) -> tuple[Any, Any]:
    """The plan of steps for so many processes, and the rows that its numbers mean."""
    from ftune.data.batching import Plan
    from ftune.data.redrawing import Redraw, Told
    from ftune.data.store import TokenStore
    from ftune.fast.encoder import unpadded

    recipe, settings = context.recipe, context.recipe.train
    rows = TokenStore(context.folder_of("format") / "train.arrow")
    told = Told.read(context.folder_of("format"))
    grouped = settings.group_by_length
    if grouped is None:
        padded = settings.torch_compile or not unpadded(tuned.model)
        grouped = padded or settings.objective.name not in READ_TOKENS

    def plan_of(store: TokenStore) -> Plan:
        return Plan(
            lengths=store.lengths,
            targets=store.trained_counts,
            batch_size=settings.per_device_train_batch_size,
            accumulation=settings.gradient_accumulation_steps,
            processes=processes,
            group_by_length=grouped,
            tokens_per_batch=settings.tokens_per_batch,
            pack_length=recipe.data.max_length if recipe.data.packing else None,
            seed=settings.seed,
            drawn=Redraw(store, told).rows if told else None,
        )

    plan = plan_of(rows)
    if recipe.data.streaming is None:
        return plan, rows
    streamed = streaming.streamed(context, tuned.tokenizer, plan_of, plan.step_rows)
    return streamed, streamed
