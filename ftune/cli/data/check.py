"""``ftune data check``: rows seen in training and in evaluation, empty and repeated answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftune.cli.data.options import Columns, DataOrRecipe, Format, is_recipe, need_some, opened
from ftune.cli.data.options import tell_bad as tell_bad_rows
from ftune.cli.options import Json, Overrides
from ftune.errors import DataError, RecipeError

if TYPE_CHECKING:
    from ftune.cli.screen import Screen
    from ftune.data.curating.checking import Overlap
    from ftune.types import Example

Found = tuple[str, int, "Example"]  # source, row, example
SHOWN = 5


def check(
    data: DataOrRecipe,
    against: Annotated[
        str | None,
        typer.Option("--against", help="An evaluation file, looked for in DATA (of a file)."),
    ] = None,
    override: Overrides = None,
    format: Format = None,
    column: Columns = None,
    words: Annotated[
        int, typer.Option("--words", min=1, help="Words in a group that is looked for.")
    ] = 13,
    least: Annotated[
        float, typer.Option("--least", help="Share of its groups from which a row counts as seen.")
    ] = 0.5,
    most: Annotated[
        float | None,
        typer.Option("--most", help="End with 3 if a larger share of the rows was seen."),
    ] = None,
    json: Json = False,
) -> None:
    """Look for evaluation rows that stand in the training data, and for answers that teach nothing.

    Of a recipe, its eval and test rows are held against its training rows.
    """
    from ftune.cli.screen import Screen

    for name, share in {"--least": least, "--most": most}.items():
        if share is not None and not 0 <= share <= 1:
            raise RecipeError(f"{name} {share}: must be a share from 0 to 1")
    screen = Screen(json=json)
    sets = (
        _of_recipe(data, against, override, screen)
        if is_recipe(data)
        else _of_files(data, against, format, column, screen)
    )
    plain = _checked(sets, words, least)
    screen.answer(plain)
    if not json:
        _show(screen, plain)
    worst = max((o["share"] for o in plain["seen_in_training"].values()), default=0.0)
    if most is not None and worst > most:
        raise DataError(
            f"{data}: {worst:.2%} of an evaluation set stands in the training data, more than "
            f"--most {most:.2%}; take those rows out of the training data (they are listed above)"
        )


def _of_recipe(
    data: str, against: str | None, override: list[str] | None, screen: Screen
) -> dict[str, Iterator[Found]]:
    from ftune.recipe.reading import load_recipe
    from ftune.stages.rows import sources_of
    from ftune.stages.survey import examples, splits_of, view_of

    if against is not None:
        raise RecipeError("--against is for a data file; a recipe names its own sets")
    loaded = load_recipe(data, override or ()).alone()

    def of(split: str) -> Iterator[Found]:
        names = [source.path for source in sources_of(view_of(loaded), split)]
        for one in examples(loaded, split, screen):
            yield names[one.source], one.row, one.example

    return {split: of(split) for split in splits_of(loaded)}


def _of_files(
    data: str, against: str | None, form: str | None, columns: list[str] | None, screen: Screen
) -> dict[str, Iterator[Found]]:
    from ftune.data.curating.table import Count

    def of(path: str) -> Iterator[Found]:
        table, count, used = opened(path, form, columns, screen), Count(), 0
        for row, example in table.examples("read", count):
            used += 1
            yield path, row.number, example
        tell_bad_rows(screen, count, f"of {path} can't be read")
        need_some(path, used, count)

    if against == data:
        raise RecipeError(f"--against {against}: is the same file; name another")
    return {"train": of(data), **({"against": of(against)} if against else {})}


def _checked(sets: dict[str, Iterator[Found]], words: int, least: float) -> dict[str, Any]:
    """The evaluation sets are read first, the training set once, whatever its size."""
    from dataclasses import asdict

    from ftune.data.curating.checking import Answers, Overlap, shares

    answers = {name: Answers() for name in sets}
    overlaps: dict[str, Overlap] = {}
    for name in [n for n in sets if n != "train"]:
        overlaps[name] = Overlap(words)
        for source, row, example in sets[name]:
            answers[name].add(example)
            overlaps[name].expect(source, row, example)
    for _, _, example in sets["train"]:
        answers["train"].add(example)
        for overlap in overlaps.values():
            overlap.meet(example)
    seen = {name: overlap.found(least) for name, overlap in overlaps.items()}
    return {
        "answers": {name: found.to_plain() for name, found in answers.items()},
        "seen_in_training": {n: shares(s, answers[n].examples) for n, s in seen.items()},
        "rows": {name: [asdict(one) for one in found] for name, found in seen.items()},
    }


def _show(screen: Screen, plain: dict[str, Any]) -> None:
    heads = ("set", "examples", "empty", "like the question", "different", "repeated")
    keys = ("examples", "empty_answers", "answers_equal_to_the_question", "different_answers")
    rows = [
        (name, *(f"{found[key]:,}" for key in (*keys, "repeated_answers")))
        for name, found in plain["answers"].items()
    ]
    screen.table(heads, rows, right=(1, 2, 3, 4, 5))
    for name, found in plain["answers"].items():
        if labels := found.get("labels"):
            total = sum(labels.values())
            said = ", ".join(f"{label[:40]} {times / total:.1%}" for label, times in labels.items())
            screen.say(f"{name}: answers are {said}")
    for name, found in plain["seen_in_training"].items():
        screen.say(
            f"{name}: {found['found']:,} of {found['examples']:,} rows ({found['share']:.2%}) "
            f"stand in the training data: {found['equal']:,} whole, {found['same_question']:,} "
            "by their question, the rest by their words"
        )
        for one in plain["rows"][name][:SHOWN]:
            text = " ".join(one["text"].split())[:80]
            how = "whole:" if one["equal"] else "question:" if one["same_question"] else ""
            screen.say(f"  {one['source']}:{one['row']}: {how or _percent(one)} {text}")
        if len(plain["rows"][name]) > SHOWN:
            screen.say(f"  and {len(plain['rows'][name]) - SHOWN:,} more (--json lists all)")


def _percent(one: dict[str, Any]) -> str:
    return f"{one['share']:.0%} of its words:"
