"""``ftune runs compare``: two runs key by key, or many by cost and quality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftune.errors import RunError

if TYPE_CHECKING:
    from ftune.cli.screen import Screen
    from ftune.report.compare import Pair

RUNS = Path("runs")
NAMED = "A run's folder, name (its newest run) or name/id."
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="The folder of all runs.")]
MANY = "Of many runs: the metric (default: the first that most have)."


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="A B...", help=NAMED)],
    runs_dir: RunsDir = RUNS,
    metric: Annotated[str | None, typer.Option(help=MANY)] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write cost against quality as a PNG.", dir_okay=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the same as a page.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Put runs side by side: two by recipe, metrics and figures; more by cost and quality.

    Cost and quality are also shown of two runs if --metric, --picture or --html is given.
    """
    from ftune.cli.screen import Screen
    from ftune.report.finding import find_run

    folders = list(dict.fromkeys(find_run(each, runs_dir) for each in runs))
    if len(runs) < 2 or (len(folders) < 2 and len(runs) > 2):
        raise RunError("a comparison needs two runs or more; see `ftune runs list`")
    screen = Screen(json=as_json)
    if len(runs) == 2 and not (metric or picture or html):
        _two(screen, folders[0], folders[-1], as_json)
    else:
        _many(screen, folders, metric, picture, html, as_json)


def _two(screen: Screen, a: Path, b: Path, as_json: bool) -> None:
    from ftune.report.compare import compare as side_by_side
    from ftune.report.gather import gather
    from ftune.stages.two_runs import chances

    one, other = gather(a, whole=False), gather(b, whole=False)
    test = chances(a, b)
    found = side_by_side(one, other, test.p, test.notes)
    if as_json:
        screen.answer(found.to_plain())
        return
    parts = {"metrics": found.metrics, "figures": found.figures}
    for title, pairs in parts.items():
        if pairs:
            heads = (title, found.a, found.b, "change", "")
            screen.table(heads, [_compared(pair) for pair in pairs], right=(1, 2, 3))
            screen.say("")
    if found.recipe:
        rows = [(pair.key, _shown(pair.a), _shown(pair.b)) for pair in found.recipe]
        screen.table(("recipe", found.a, found.b), rows)
    else:
        screen.say("the recipes are equal")
    for note in found.notes:
        screen.warn(note)


def _many(
    screen: Screen,
    folders: list[Path],
    metric: str | None,
    picture: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    from ftune.report.gather import gather
    from ftune.report.html.tradeoff_page import heads, row, tradeoff_page
    from ftune.report.tradeoff_picture import draw_tradeoffs
    from ftune.report.tradeoffs import tradeoffs
    from ftune.run import atomic

    found = tradeoffs([gather(f, whole=html is not None) for f in folders], metric)
    if html:
        with atomic.disk_errors(html):
            atomic.write_text(html, tradeoff_page(found))
    if picture:
        with atomic.disk_errors(picture):
            if not draw_tradeoffs(found, picture):
                raise RunError("no picture: fewer than two of these runs have a metric and a cost")
    if as_json:
        screen.answer(found.to_plain())
        return
    rows, titles = [row(found, one) for one in found.candidates], heads(found)
    screen.table(titles, rows, right=range(2, len(titles)))
    screen.say("")
    for cost, names in found.fronts.items():
        if names:
            screen.say(f"{found.metric} by {cost}: best are {', '.join(names)}")
    for path in filter(None, (picture, html)):
        screen.say(f"written to {path}")
    for note in found.notes:
        screen.warn(note)


def _compared(pair: Pair) -> tuple[str, ...]:
    from ftune.report.numbers import figure, signed

    key = pair.key.rpartition(".")[2]
    change = pair.change
    moved = signed(None) if change is None else ("+" * (change > 0)) + figure(key, change)
    cells = pair.key, figure(key, pair.a), figure(key, pair.b), moved
    return (*cells, pair.verdict)


def _shown(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
