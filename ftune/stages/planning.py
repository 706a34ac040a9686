"""Which rows each step of a training has, over the tokens that format wrote or a stream forms."""

from __future__ import annotations

from typing import Any

from ftune.run.stage import Context
from ftune.stages import streaming


def planned(context: Context, tokenizer: Any, processes: int) -> tuple[Any, Any]:
    """The plan of steps for so many processes, and the rows that its numbers mean."""
    from ftune.data.batching import Plan
    from ftune.data.redrawing import Redraw, Told
    from ftune.data.store import TokenStore

    recipe, settings = context.recipe, context.recipe.train
    rows = TokenStore(context.folder_of("format") / "train.arrow")
    told = Told.read(context.folder_of("format"))

    def plan_of(store: TokenStore) -> Plan:
        return Plan(
            lengths=store.lengths,
            targets=store.trained_counts,
            batch_size=settings.per_device_train_batch_size,
            accumulation=settings.gradient_accumulation_steps,
            processes=processes,
            group_by_length=settings.group_by_length,
            tokens_per_batch=settings.tokens_per_batch,
            pack_length=recipe.data.max_length if recipe.data.packing else None,
            seed=settings.seed,
            drawn=Redraw(store, told).rows if told else None,
        )

    plan = plan_of(rows)
    if recipe.data.streaming is None:
        return plan, rows
    streamed = streaming.streamed(context, tokenizer, plan_of, plan.step_rows)
    return streamed, streamed
