"""Stage format: rows of the recipe's sources become tokens with their mask, every one counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.recipe.schema import Recipe
from ftune.recipe.view import View
from ftune.run import atomic
from ftune.run.pipeline import stop_between
from ftune.run.stage import Context, Place, Stage
from ftune.stages import prompted, prompting, streaming, tasks
from ftune.stages.mixing import Mixed, mix, pool
from ftune.stages.rendering import Rendering, rendering
from ftune.stages.rows import identity_of, ledger_of, rows_of
from ftune.types import Report, Task, Tokens

if TYPE_CHECKING:
    from ftune.data.collect import Taken
    from ftune.data.coverage import Characters
    from ftune.data.ledger import Ledger

CHECK_EVERY = 256  # rows between two looks at the stop flag and the progress bar


def _identity(recipe: View, place: Place) -> dict[str, object]:
    from ftune.model.resolve import locate

    code = recipe.model.trust_remote_code and place.allow_remote_code
    located = locate(recipe.model.name_or_path, recipe.model.revision, code)
    return {
        **identity_of(recipe, ("train", "eval"), place),
        **_stream_identity(recipe),
        "tokenizer": located.tokenizer_identity,
        "template": _template_identity(recipe.data.template, place),
    }


def _stream_identity(recipe: View) -> dict[str, object]:
    section = recipe.data.streaming
    return {} if section is None else {"streaming": {"buffer": section.buffer, "by": section.by}}


def _template_identity(name: str, place: Place) -> str | None:
    """sha256 of the template's file; None for the tokenizer's own, and one that isn't there."""
    from ftune.data.template_file import find_template

    path = find_template(name, place.folder)
    return atomic.sha256(path) if path else None


def _run(context: Context) -> Report:
    from ftune.data.coverage import Characters
    from ftune.data.preview import first_rows, markdown
    from ftune.data.store import TokenStore
    from ftune.model.loading import load_tokenizer

    recipe, place = context.recipe, context.around.place
    tokenizer = load_tokenizer(recipe.model, place.allow_remote_code)
    made = rendering(recipe, tokenizer, place)
    ledgers = {split: ledger_of(recipe, split) for split in ("train", "eval")}
    seen = Characters()
    told: tuple[str, ...] = ()
    for split, ledger in ledgers.items():
        told += _write(context, split, ledger, made, seen)
    mixed, task = Mixed(), made.task
    if recipe.data.mixture is not None:
        mixed = mix(context, ledgers["train"], task)
        task = mixed.task
    shown = first_rows(TokenStore(context.folder / "train.arrow"), tokenizer)
    atomic.write_text(context.folder / "preview.md", markdown(shown))
    ledgers["train"].check(recipe.data.min_trained)
    contract = {**made.contract(), **({"task": tasks.plain(task)} if task else {})}
    atomic.write_json(context.folder / prompting.NAME, contract, exact=True)
    warnings = (*made.warnings, *told, *seen.warnings(tokenizer), *mixed.warnings)
    return _report(context, ledgers, warnings, mixed, task)


def _write(
    context: Context,
    split: str,
    ledger: Ledger,
    how: Rendering,
    seen: Characters,
) -> tuple[str, ...]:
    """Writes ``<split>.arrow``, or the pool of a mixture; ``seen`` is shown each example of it.

    Of a stream it writes the first buffer, and where it is behind that; gives warnings.
    """
    from ftune.data.collect import tokenized
    from ftune.data.shards import RECORD, write_record
    from ftune.data.store import TokenWriter

    recipe, place = context.recipe, context.around.place
    path = context.folder / f"{split}.arrow"
    if split == "train" and recipe.data.mixture is not None:
        path = pool(context)
    rows = None
    if split == "train" and recipe.data.streaming is not None:
        rows = streaming.stream(recipe, place, how)
        made = rows.take(recipe.data.streaming.buffer, ledger)
    else:
        taken = rows_of(recipe, split, place, ledger)
        made = tokenized(taken, how.encode, recipe.data.on_bad_row, ledger)
    with (
        context.around.progress.meter(f"format {split}", None, "rows") as meter,
        TokenWriter(path, labelled=how.task is not None) as writer,
    ):
        for number, (one, tokens) in enumerate(_stoppable(context, made), 1):
            seen.add(one.example)
            how.note(one.example)
            for _ in range(one.times):
                writer.add(tokens, one.source, one.row)
            if number % CHECK_EVERY == 0:
                meter.update(number)
        meter.update(writer.rows)
    ledger.balance()
    if rows is None:
        return ()
    write_record(context.folder / RECORD, path, rows, ledger)
    return streaming.warnings(rows)


def _stoppable(
    context: Context, made: Iterator[tuple[Taken, Tokens]]
) -> Iterator[tuple[Taken, Tokens]]:
    for number, pair in enumerate(made):
        if number % CHECK_EVERY == 0:
            stop_between(context.around.stop, "all rows were formatted")
        yield pair


def _report(
    context: Context,
    ledgers: dict[str, Ledger],
    warnings: tuple[str, ...],
    mixed: Mixed,
    task: Task | None,
) -> Report:
    lines, told = [], list(warnings)
    for split, ledger in ledgers.items():
        total = ledger.total
        if not total.read:
            continue
        away = {
            "bad": total.bad,
            "not drawn": total.not_drawn,
            "held out": total.held_out,
            **{f"dropped ({reason})": count for reason, count in total.dropped.items()},
        }
        gone = "".join(f", {count:,} {what}" for what, count in away.items() if count)
        cut = f", {total.truncated:,} truncated" if total.truncated else ""
        lines.append(
            f"{split}: {total.read:,} rows read, {total.used:,} used{gone}; "
            f"{total.tokens:,} tokens, {total.trained:,} trained "
            f"({100 * total.trained / max(1, total.tokens):.1f}%), {total.masked:,} masked{cut}"
        )
        if total.bad:
            told.append(
                f"{split}: {total.bad:,} bad rows were skipped; the first: "
                f"{next(b for one in ledger.sources for b in one.bad_rows)}"
            )
    lines += [*prompted.lines(ledgers), *mixed.lines]
    if task is not None and task.labels:
        counted = zip(task.labels, task.counts, strict=True)
        lines.append(
            f"labels: {len(task.labels)}: " + ", ".join(f"{n} ({c:,})" for n, c in counted)
        )
    for line in lines:
        context.around.progress.say(f"format: {line}")
    figures = {
        "ledger": {split: ledger.to_json() for split, ledger in ledgers.items()},
        "totals": {split: ledger.total.to_json() for split, ledger in ledgers.items()},
        **({"mixture": mixed.figures} if mixed.figures else {}),
        **({"task": tasks.plain(task)} if task is not None else {}),
    }
    return Report("format", figures, tuple(lines), tuple(told))


def coloured_preview(recipe: Recipe, folder: Path, allow_code: bool) -> Any:
    """The first rows of ``folder``'s train.arrow for a terminal, trained tokens in colour."""
    from ftune.data.preview import first_rows, rich_page
    from ftune.data.store import TokenStore
    from ftune.model.loading import load_tokenizer

    tokenizer = load_tokenizer(recipe.model, allow_code)
    return rich_page(first_rows(TokenStore(folder / "train.arrow"), tokenizer))


FORMAT = Stage(
    name="format",
    version=4,
    reads=(
        "model.name_or_path",
        "model.revision",
        "model.trust_remote_code",
        "model.add_tokens",
        "data.train",
        "data.mixture",
        "data.streaming",
        "data.eval",
        "data.test",
        "data.template",
        "data.system_prompt",
        "data.max_length",
        "data.on_too_long",
        "data.on_bad_row",
        "data.train_on",
        "data.min_trained",
        "train.objective",
        "train.seed",
    ),
    needs=(),
    writes=("train.arrow", "eval.arrow", "preview.md", prompting.NAME),
    identity=_identity,
    run=_run,
    # A test set of its own changes no training row; a share does, and identity tells it.
    covered=("data.test", "data.streaming"),
    borrowed=True,
)
