"""Stage train: the loop over the tokens that format wrote, and the adapter that it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftune.recipe.view import View
from ftune.registry import OBJECTIVES
from ftune.run.stage import Context, Place, Stage
from ftune.stages import prompting, tasks
from ftune.stages.hooks import hooks
from ftune.stages.models import MODEL_KEYS, Tuned, fresh
from ftune.types import Report


def _identity(recipe: View, place: Place) -> dict[str, object]:  # noqa: ARG001
    return {}


def _run(context: Context) -> Report:
    from ftune.model import adapters
    from ftune.train import memory
    from ftune.train.loop import train

    shared = context.around.shared
    # The load stage's model is as good as new; later stages get it with other weights.
    tuned: Tuned = shared.pop("tuned", None) or fresh(
        context.recipe,
        context.around.place.allow_remote_code,
        tasks.told_in(context.folder_of("format")),
    )
    with memory.told(context.recipe.train):
        job = job_of(context, tuned)
    group = shared.get("group")
    if group is not None:
        group.tell({"run": str(context.around.run), "fingerprint": context.fingerprint})
    outcome = train(job)
    adapter = context.folder / "adapter"
    method = context.recipe.tune.name
    adapters.save(
        tuned.model,
        adapter,
        base=tuned.base.identity,
        tokenizer=tuned.tokenizer,
        method=method,
        beside=[context.folder_of("format") / prompting.NAME],
    )
    shared["trained"] = tuned
    return _report(context, outcome, adapter)


def job_of(context: Context, tuned: Tuned) -> Any:
    """The training that the recipe asks for, over the tokens that format wrote."""
    from functools import partial

    from ftune.data.batching import Plan, in_order
    from ftune.data.collating import collate
    from ftune.data.collating_labels import collate_labelled
    from ftune.data.store import TokenStore
    from ftune.train.job import Job

    recipe, settings = context.recipe, context.recipe.train
    rows = TokenStore(context.folder_of("format") / "train.arrow")
    held_out = TokenStore(context.folder_of("format") / "eval.arrow")
    packing = recipe.data.packing
    pad = tuned.tokenizer.pad_token_id or 0
    plan = Plan(
        lengths=rows.lengths,
        targets=rows.trained_counts,
        batch_size=settings.per_device_train_batch_size,
        accumulation=settings.gradient_accumulation_steps,
        processes=_processes(),
        group_by_length=settings.group_by_length,
        tokens_per_batch=settings.tokens_per_batch,
        pack_length=recipe.data.max_length if packing else None,
        seed=settings.seed,
    )
    eval_size = settings.per_device_eval_batch_size
    objective = OBJECTIVES.load(settings.objective.name)

    def describe(row: int) -> str:
        return _where(recipe.data.train, rows, row)

    def read(store: TokenStore, packed: bool) -> Any:
        if store.labelled:
            return partial(collate_labelled, read=store.encoded, pad_id=pad)
        return partial(collate, read=store.__getitem__, pad_id=pad, packed=packed)

    config = settings.objective.config
    if hasattr(objective, "settle"):
        config = objective.settle(config, tuned.base.task)
    return Job(
        model=tuned.model,
        objective=objective,
        objective_config=config,
        settings=settings,
        plan=plan,
        collate=read(rows, packing),
        folder=context.folder,
        eval_batches=in_order(held_out.lengths, eval_size) if len(held_out) else (),
        eval_collate=read(held_out, packed=False),
        identity={"fingerprint": context.fingerprint},
        mixed_precision=recipe.distributed.mixed_precision,
        hooks=hooks(recipe, tuned.model),
        progress=context.around.progress,
        stop=context.around.stop,
        describe=describe,
        name=f"{context.around.run.name}/{context.around.run.id}",
    )


def _processes() -> int:
    from accelerate import PartialState

    return PartialState().num_processes


def _where(sources: Any, rows: Any, row: int) -> str:
    return f"{sources[int(rows.sources[row])].path}:{int(rows.rows[row])}"


def _report(context: Context, outcome: Any, adapter: Path) -> Report:
    from dataclasses import asdict

    size = sum(f.stat().st_size for f in adapter.rglob("*") if f.is_file())
    figures = {
        **asdict(outcome),
        "adapter_bytes": size,
    }
    line = (
        f"{outcome.steps:,} steps, {outcome.epochs:.2f} epochs, "
        f"{outcome.trained_tokens:,} trained tokens, loss {outcome.final_loss:.4f}, "
        f"{outcome.tokens_per_second:,.0f} tokens/s; adapter {size / 1e6:,.2f} MB"
    )
    context.around.progress.say(f"train: {line}")
    paths = "; ".join(f"{name}: {said}" for name, said in outcome.fast_paths.items())
    return Report("train", figures, (line, f"fast paths: {paths}"))


TRAIN = Stage(
    name="train",
    version=1,
    reads=(
        *MODEL_KEYS,
        "data.packing",
        "data.max_length",
        "data.train",
        "tune",
        "train",
    ),
    needs=("format", "load"),
    writes=("metrics.jsonl", "adapter"),
    identity=_identity,
    run=_run,
)
