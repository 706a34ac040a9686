"""A recipe's stream: its first shard in stage format, the others while it is trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftune.errors import FtuneError, Interrupted, RunError
from ftune.recipe.view import View
from ftune.run.pipeline import stop_between
from ftune.run.stage import Context, Place
from ftune.stages.rendering import KEYS as RENDERING
from ftune.stages.rendering import Rendering, rendering
from ftune.stages.rows import ledger_of

if TYPE_CHECKING:
    from ftune.data.batching import Plan
    from ftune.data.shards import Shards
    from ftune.data.store import TokenStore
    from ftune.data.streamed_plan import StreamedPlan
    from ftune.data.streaming import Lane, Stream

# What further shards are formed by; the first one's fingerprint has all of it already.
KEYS = (*RENDERING, "data.streaming", "data.min_trained")
CHECK_EVERY = 256  # rows between two looks at the stop flag and the progress bar
FOLDER = "stream"
LONG = 2.0  # seconds after which it is told how long rows took to be formed


def stream(recipe: View, place: Place, how: Rendering, at: Sequence[Lane] | None = None) -> Stream:
    """The training rows of a recipe that streams, from a place on."""
    from ftune.data.streaming import How, Stream

    settings = How(
        folder=place.folder,
        encode=how.encode,
        on_bad_row=recipe.data.on_bad_row,
        seed=recipe.train.seed,
        by=recipe.data.streaming.by,
    )
    return Stream(recipe.data.train, settings, at)


def warnings(rows: Stream) -> tuple[str, ...]:
    """What is odd about the first shard."""
    ended = [lane for lane in rows.place if lane.passes]
    if not ended:
        return ()
    return (
        f"data.streaming.buffer: {len(ended)} of {len(rows.place)} sources ended within the first "
        "buffer and began again; data that small need no streaming: leave data.streaming out",
    )


def streamed(context: Context, tokenizer: Any, planned: Any, step_rows: int) -> StreamedPlan:
    """The order of training over shards that are formed when they are come to."""
    from ftune.data.streamed_plan import StreamedPlan

    shards = shards_of(context, tokenizer)

    def opened(number: int) -> TokenStore:
        if number:  # the first one is there
            _together(context, shards, number)
        return shards.open(number)

    def plan(store: TokenStore) -> Plan:
        made: Plan = planned(store)
        return made

    return StreamedPlan(opened, plan, context.recipe.data.streaming.buffer, step_rows)


def shards_of(context: Context, tokenizer: Any) -> Shards:
    """The shards of a run, each formed when it is asked for."""
    from ftune.data.shards import Shards

    recipe, place = context.recipe, context.around.place
    made: list[Rendering] = []  # once, and only where a shard is formed

    def opened(at: Sequence[Lane]) -> Stream:
        if not made:
            made.append(rendering(recipe, tokenizer, place))
        return stream(recipe, place, made[0], at)

    def between(number: int, done: int) -> None:
        if done % CHECK_EVERY == 0:
            stop_between(context.around.stop, f"rows of part {number} of the stream were formed")

    return Shards(
        first=context.folder_of("format"),
        folder=context.folder / FOLDER,
        size=recipe.data.streaming.buffer,
        opened=opened,
        ledger=lambda: ledger_of(recipe, "train"),
        between=between,
        check=lambda ledger: ledger.check(recipe.data.min_trained),
    )


def _together(context: Context, shards: Shards, number: int) -> None:
    """The first process sees that the shard is there, and the others wait for it.

    Raises:
        Interrupted: it was asked to stop; in all processes.
        FtuneError: the shard can't be formed; in the others it says that the first one told why.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    state, error = PartialState(), None
    if state.is_main_process:
        started = time.monotonic()
        try:
            shards.make(number)
            took = time.monotonic() - started
            if took > LONG:
                context.around.progress.say(f"stream: buffer {number + 1} took {took:.1f}s")
        except FtuneError as found:
            error = found
    if state.num_processes > 1:
        box = [None if error is None else getattr(error, "exit_code", 1)]
        broadcast_object_list(box, from_process=0)
        if box[0] is not None and error is None:
            code = box[0]
            if context.around.stop.code is not None or code in (129, 130, 143):
                raise Interrupted("stopped between two parts of the stream", code)
            raise RunError("the first process could not form the next rows, and says why")
    if error is not None:
        raise error


def figures(context: Context, last: int) -> dict[str, Any]:
    """What was read of the stream up to a shard; nothing where the rows are no stream."""
    if context.recipe.data.streaming is None:
        return {}
    return shards_of(context, None).told(last)


def renamed(outcome: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """The figures of a training; of a stream, epochs are buffers."""
    if not told:
        return outcome
    return {"buffers" if key == "epochs" else key: value for key, value in outcome.items()}


def clear(context: Context) -> None:
    """Removes the rows of a training that is done; what they were stays noted."""
    for path in (context.folder / FOLDER).glob("shard-*.arrow"):
        path.unlink(missing_ok=True)


def lines(told: dict[str, Any]) -> tuple[str, ...]:
    """The same as lines of a report."""
    if not told:
        return ()
    whole = sum(one["trained"] for one in told["ledger"]) or 1
    used = sum(one["used"] for one in told["ledger"]) or 1
    found = [
        f"stream: {used:,} rows in {told['shards']:,} buffers, the last one included; "
        f"{sum(one['read'] for one in told['ledger']):,} rows read, "
        f"{sum(one['tokens'] for one in told['ledger']):,} tokens"
    ]
    if len(told["ledger"]) > 1:
        found += [
            f"stream: {one['source']}: {100 * one['used'] / used:.2f}% of the rows, "
            f"{100 * one['trained'] / whole:.2f}% of the trained tokens"
            for one in told["ledger"]
        ]
    again = [f"{one['source']} ({one['passes']})" for one in told["ledger"] if one["passes"]]
    if again:
        found.append(f"stream: began again after its end, so often: {', '.join(again)}")
    return tuple(found)
