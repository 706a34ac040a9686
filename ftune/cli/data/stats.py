"""``ftune data stats``: what a file, or a recipe's data, is made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftune.cli.data.options import Columns, DataOrRecipe, Format, is_recipe, need_some, opened
from ftune.cli.data.options import tell_bad as tell_bad_rows
from ftune.cli.options import Json, Overrides, RemoteCode

if TYPE_CHECKING:
    from ftune.cli.screen import Screen
    from ftune.data.curating.survey import Survey

HEADS = ("", "count", "total", "mean", "min", "p25", "half", "p75", "p95", "p99", "max")
CELLS = ("count", "total", "mean", "min", "p25", "p50", "p75", "p95", "p99", "max")


def stats(
    data: DataOrRecipe,
    override: Overrides = None,
    format: Format = None,
    column: Columns = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the lengths into this PNG.")
    ] = None,
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Lengths, roles, writing systems; of a recipe also tokens, and what share is trained."""
    from ftune.cli.screen import Screen

    screen = Screen(json=json)
    surveys: dict[str, Survey] = {}
    plain: dict[str, Any] = {}
    if is_recipe(data):
        from ftune.recipe.reading import load_recipe
        from ftune.stages.survey import splits_of, survey

        loaded = load_recipe(data, override or ()).alone()
        for split in splits_of(loaded):
            surveys[split], ledger = survey(loaded, split, screen, trust_remote_code)
            plain[split] = {**surveys[split].to_plain(), "ledger": ledger.total.to_json()}
    else:
        from ftune.data.curating.survey import Survey
        from ftune.data.curating.table import Count

        table = opened(data, format, column, screen)
        surveys[data], count = Survey(), Count()
        for _, example in table.examples("survey", count):
            surveys[data].add(example)
        need_some(data, surveys[data].turns.count, count)
        tell_bad_rows(screen, count, "can't be read")
        told = {**surveys[data].to_plain(), "rows": count.rows, "bad_rows": count.bad}
        plain[data] = {**told, "format": table.source.format.name}
    if picture is not None:
        _draw(picture, surveys)
    screen.answer(plain)
    if not json:
        for name, found in plain.items():
            _show(screen, name, found)
        if picture is not None:
            screen.say(f"picture: {picture}")


def _show(screen: Screen, name: str, found: Mapping[str, Any]) -> None:
    screen.say(f"\n{name}: {found['examples']:,} examples")
    lines = {f"characters, {role}": seen for role, seen in found["characters"].items()}
    lines["turns"] = found["turns"]
    for key, words in (("tokens", "tokens"), ("trained_tokens", "trained tokens")):
        if key in found:
            lines[words] = found[key]
    shown = {words: seen for words, seen in lines.items() if seen["count"]}
    rows = [(words, *(f"{seen[c]:,.0f}" for c in CELLS)) for words, seen in shown.items()]
    screen.table(HEADS, rows, right=tuple(range(1, len(HEADS))))
    systems = ", ".join(f"{n.title()} {s:.1%}" for n, s in found["writing_systems"].items())
    screen.say(f"writing systems: {systems or 'no letters'}")
    if "share_trained" in found:
        screen.say(f"share of the tokens that is trained: {found['share_trained']:.1%}")
    if found.get("truncated_tokens"):
        screen.warn(f"{found['truncated_tokens']:,} tokens were cut off")


def _draw(path: Path, surveys: Mapping[str, Survey]) -> None:
    from ftune.report.length_picture import draw

    lengths = {}
    for name, seen in surveys.items():
        prefix = f"{Path(name).name}: " if len(surveys) > 1 else ""
        if seen.tokens.count:
            lengths[f"{prefix}tokens"] = seen.tokens.times
            lengths[f"{prefix}trained tokens"] = seen.trained.times
        else:
            for role, counted in seen.characters.items():
                lengths[f"{prefix}characters, {role}"] = counted.times
    draw(path, lengths, "How long the examples are")
