"""Stage train: the loop over the tokens that format wrote, and the adapter that it leaves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ftune.recipe.view import View
from ftune.registry import ENCODINGS, OBJECTIVES
from ftune.run.stage import Context, Place, Stage
from ftune.stages import choosing, mixing, prompting, shares, streaming, tasks, zeroed
from ftune.stages.hooks import hooks, layers
from ftune.stages.models import MODEL_KEYS, Tuned
from ftune.stages.planning import planned
from ftune.stages.tasked import with_tasks
from ftune.stages.together import noticing
from ftune.types import Report


def _identity(recipe: View, place: Place) -> dict[str, object]:  # noqa: ARG001
    """What counts as a spike, if one counts: a run that one stopped goes on with ``skip``."""
    train = recipe.train
    if train.on_spike == "ignore":
        return {}
    return {"spikes": [train.spikes.deviations, train.spikes.window]}


def _run(context: Context) -> Report:
    from ftune.model import adapters
    from ftune.train import memory
    from ftune.train.loop import train

    shared = context.around.shared
    # The load stage's model is as good as new; later stages get it with other weights.
    tuned: Tuned = shared.pop("tuned", None) or choosing.take(
        context.recipe,
        shares.fresh(
            context.recipe,
            context.around.place.allow_remote_code,
            tasks.told_in(context.folder_of("format")),
        ),
        context.folder_of("load"),
    )
    begun = _begun_with(context)
    with memory.told(context.recipe.train):
        job = job_of(context, tuned, begun)
    group = shared.get("group")
    if group is not None:
        told = {"run": str(context.around.run), "fingerprint": context.fingerprint}
        group.tell({**told, "processes": str(begun)})
        group.meet()
    with noticing():
        outcome = train(job)
    adapter = context.folder / "adapter"
    if not shares.written(outcome):
        adapters.save(
            tuned.model,
            adapter,
            base=tuned.base.identity,
            tokenizer=tuned.tokenizer,
            method=context.recipe.tune.name,
            beside=[context.folder_of("format") / prompting.NAME],
        )
    streaming.clear(context)
    if tuned.base.unread is None:
        shared["trained"] = tuned
    return _report(context, outcome, adapter)


def _begun_with(context: Context) -> int:
    """The number of processes that this training began with, whose steps it keeps."""
    from ftune.train import checkpoint

    now = _processes()
    begun = checkpoint.begun_with(context.folder / "checkpoints") or now
    if begun != now:
        context.around.progress.say(
            f"train: began in {begun} and goes on in {now} processes: each step keeps its rows"
        )
    return begun


def _check_room(recipe: View, tuned: Tuned, *stores: Any) -> None:
    """That virtual tokens leave room for the rows; labelled test rows come up to the limit."""
    from ftune.data.store import TokenStore
    from ftune.model import soft

    known = [store for store in stores if isinstance(store, TokenStore)]
    longest = max((int(one.lengths.max()) for one in known if len(one)), default=0)
    labelled = any(one.labelled for one in known)
    soft.refuse_beyond(tuned.model, recipe.data.max_length if labelled else longest)


def job_of(context: Context, tuned: Tuned, begun: int | None = None) -> Any:
    """The training that the recipe asks for, over the tokens that format wrote.

    ``begun``: the number of processes that it began with; by default those of now.
    """
    from functools import partial

    from ftune.data.batching import in_order
    from ftune.data.collating import collate
    from ftune.data.collating_labels import collate_labelled
    from ftune.data.redealing import Redealt
    from ftune.data.store import TokenStore
    from ftune.train.job import Job

    recipe, settings = context.recipe, context.recipe.train
    begun = begun or _processes()
    plan, rows = planned(context, tuned, begun)
    held_out = TokenStore(context.folder_of("format") / "eval.arrow")
    _check_room(recipe, tuned, rows, held_out)
    pad = tuned.tokenizer.pad_token_id or 0
    eval_size = settings.per_device_eval_batch_size
    objective = OBJECTIVES.load(settings.objective.name)

    def describe(row: int) -> str:
        return _where(recipe.data.train, getattr(rows, "rows_now", rows), row)

    def read(store: TokenStore, packed: bool) -> Any:
        if store.labelled:
            own = getattr(ENCODINGS.load(settings.objective.name), "collate", collate_labelled)
            return partial(own, read=store.encoded, pad_id=pad)
        return partial(collate, read=store.__getitem__, pad_id=pad, packed=packed)

    config = settings.objective.config
    if hasattr(objective, "settle"):
        config = objective.settle(config, tuned.base.task)
    return Job(
        model=tuned.model,
        objective=objective,
        objective_config=config,
        settings=settings,
        plan=plan if begun == _processes() else Redealt(plan, _processes()),
        collate=with_tasks(read(rows, recipe.data.packing), rows, recipe, "train", tuned.model),
        folder=context.folder,
        eval_batches=in_order(held_out.lengths, eval_size) if len(held_out) else (),
        eval_collate=with_tasks(
            read(held_out, packed=False), held_out, recipe, "eval", tuned.model
        ),
        identity={"fingerprint": context.fingerprint, "processes": begun},
        mixed_precision=recipe.distributed.mixed_precision,
        fsdp=recipe.distributed.fsdp,
        deepspeed=zeroed.configuration(recipe, context.around.place.folder, _processes()),
        **shares.for_job(context, tuned),
        hooks=hooks(recipe, tuned.model),
        layers=layers(recipe, tuned.model),
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
    mixture = mixing.redrawn(context, outcome.epochs)
    stream = streaming.figures(context, max(0, math.ceil(round(outcome.epochs, 6)) - 1))
    figures = {
        **streaming.renamed(asdict(outcome), stream),
        "adapter_bytes": size,
        **({"mixture": mixture} if mixture else {}),
        **({"stream": stream} if stream else {}),
    }
    line = (
        f"{outcome.steps:,} steps, {outcome.epochs:.2f} {'buffers' if stream else 'epochs'}, "
        f"{outcome.trained_tokens:,} trained tokens, loss {outcome.final_loss:.4f}, "
        f"{outcome.tokens_per_second:,.0f} tokens/s; adapter {size / 1e6:,.2f} MB"
    )
    more = (
        *mixing.epoch_lines(mixture),
        *streaming.lines(stream),
        *shares.lines(outcome.sharding),
        *zeroed.lines(outcome.deepspeed),
    )
    for said in (line, *more):
        context.around.progress.say(f"train: {said}")
    paths = "; ".join(f"{name}: {said}" for name, said in outcome.fast_paths.items())
    lines = (line, *more, *_layers(outcome), f"fast paths: {paths}")
    return Report("train", figures, lines)


def _layers(outcome: Any) -> tuple[str, ...]:
    """Rate and first step of each layer, where training went layer by layer."""
    said = (
        f"{each['name']} {each['learning_rate']:.3g} "
        + ("never" if each["from_step"] is None else f"from step {each['from_step']}")
        for each in outcome.layers
    )
    return (f"layers, their highest rate and first step: {'; '.join(said)}",) * bool(outcome.layers)


# Keys by which the training counts itself, whatever rows are formed by.
OWN = (*MODEL_KEYS, "data.max_length", "data.train")

TRAIN = Stage(
    name="train",
    version=1,
    reads=(
        *MODEL_KEYS,
        "distributed.deepspeed",
        "distributed.fsdp",
        "distributed.fsdp.param_dtype",
        "distributed.fsdp.reduce_dtype",
        "data.packing",
        "data.max_length",
        "data.train",
        "tune",
        "train",
        *streaming.KEYS,
    ),
    # The fingerprint of format has them.
    covered=tuple(key for key in streaming.KEYS if key not in OWN),
    needs=("format", "load"),
    writes=("metrics.jsonl", "adapter"),
    identity=_identity,
    run=_run,
)
