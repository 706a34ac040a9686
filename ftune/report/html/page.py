"""Puts report.html together; the same run directory gives the same bytes."""

from __future__ import annotations

from datetime import UTC

from ftune.report import numbers
from ftune.report.asking import asked
from ftune.report.ending import HEADS as STAGES
from ftune.report.ending import ending
from ftune.report.gather import Gathered, about, evaluation_settings
from ftune.report.headline import headline
from ftune.report.html.bars import before_and_after
from ftune.report.html.content import content
from ftune.report.html.flow import flow
from ftune.report.html.frame import SWITCH, document
from ftune.report.html.pieces import folded, section, table, words
from ftune.report.html.preview import preview
from ftune.report.layers import HEAD as LAYERS
from ftune.report.layers import layer_rows
from ftune.report.ledger import TEMPLATES, ledger_table, template_rows
from ftune.report.overfitting import parting
from ftune.report.state import moment
from ftune.report.tolerant import items, mapping, number, text


def page(run: Gathered, live: bool = False) -> str:
    """The whole page: text, pictures, styles, scripts and data in one file; ``live`` if served."""
    found = content(run)
    parts = [
        _top(run),
        _ending(run),
        _warnings(run),
        before_and_after(run),
        _asking(run),
        _training(run, bool(found["charts"])),
        _rows(run),
        _predictions(len(found["predictions"])),
        section(
            "preview",
            "What the model sees",
            preview(run.folder / "format" / "preview.md"),
            '<span class="on">Coloured tokens</span> are trained, the others are masked. '
            "Point at one for its id.",
        ),
        _recipe(run),
        _environment(run),
    ]
    body = "\n".join(part for part in parts if part)
    return document(f"{run.name} {run.id}", body, found, live)


def _top(run: Gathered) -> str:
    started = moment(run.facts)
    command = run.facts.get("command")
    facts = [
        *about(run),
        ("started", f"{started.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if started else ""),
        ("took", numbers.duration(number(run.facts.get("seconds")))),
        ("command", " ".join(map(text, items(command))) or text(command)),
    ]
    shown = "".join(
        f"<div><dt>{words(name)}</dt><dd>{words(said)}</dd></div>"
        for name, said in facts
        if said not in ("", numbers.ABSENT)
    )
    kind = {"done": "good", "failed": "bad", "killed": "bad"}.get(run.state, "plain")
    return (
        f'<header><div class="bar"><p class="name">{words(run.name)} '
        f'<span class="quiet">{words(run.id)}</span> '
        f'<span class="badge {kind}">{words(run.state)}</span></p>{SWITCH}</div>'
        f'<h1>{words(headline(run))}</h1><dl class="facts">{shown}</dl></header>'
    )


def _ending(run: Gathered) -> str:
    found = ending(run)
    if found is None:
        return ""
    rows = [[words(each) for each in row] for row in found.stages]
    error = f'<pre class="error">{words(found.error)}</pre>' if found.error else ""
    advice = "".join(f"<p>{words(line)}</p>" for line in found.advice)
    command = f"<pre>{words(found.command)}</pre>" if found.command else ""
    made = table(STAGES, rows, right=(2,))
    return section("ending", "How it ended, and how to go on", error + made + advice + command)


def _warnings(run: Gathered) -> str:
    lines = "".join(f"<li>{words(line)}</li>" for line in run.warnings)
    return section("warnings", "Warnings", f'<ul class="warnings">{lines}</ul>' if lines else "")


def _asking(run: Gathered) -> str:
    found = asked(run)
    if found is None:
        return ""
    rows = [[words(each) for each in row] for row in found.rows]
    made = table([words(head) for head in found.heads], rows, right=range(1, len(found.heads)))
    return section("asking", "What asking costs", made)


def _training(run: Gathered, curves: bool) -> str:
    figures = numbers.rows({**run.figures("load"), **run.figures("train")})
    tiles = "".join(
        f"<div><dt>{words(name)}</dt><dd>{words(said)}</dd></div>" for name, said in figures
    )
    drawn = (
        '<div class="tools"><span class="quiet">Drag over a curve to zoom in on all.</span> '
        '<button id="whole" type="button">Whole course</button></div><div id="charts"></div>'
        if curves
        else ""
    )
    found = parting(run.series)
    said = f'<p class="parting">{words(found.sentence())}</p>' if found else ""
    listed = f'<dl class="tiles">{tiles}</dl>' if tiles else ""
    rows = [[words(each) for each in row] for row in layer_rows(run)]
    layers = folded("Layer by layer", table(LAYERS, rows, right=(1, 2))) if rows else ""
    return section("training", "Training", said + listed + layers + drawn)


def _rows(run: Gathered) -> str:
    figures = run.counted
    found = ledger_table(figures)
    if not found.rows:
        return ""
    heads = [words(head) for head in found.heads]
    rows = [[words(each) for each in row] for row in found.rows]
    counted = folded("All counts", table(heads, rows, right=range(2, len(heads))))
    wrote = [[words(each) for each in row] for row in template_rows(figures)]
    listed = folded("Rows by prompt template", table(TEMPLATES, wrote, right=(3,)))
    counted += listed if wrote else ""
    return section("rows", "Rows and tokens", flow(figures) + counted)


def _predictions(shown: int) -> str:
    if not shown:
        return ""
    body = (
        '<div class="tools"><input id="search" type="search" placeholder="Search" '
        'aria-label="Search predictions"><label><input id="differing" type="checkbox"> '
        'only those that differ from the reference</label><span id="found" class="quiet" '
        'aria-live="polite"></span></div><div id="predictions"></div>'
        '<div class="tools pages"><button id="back" type="button">Back</button>'
        '<span id="where" class="quiet"></span><button id="on" type="button">Next</button></div>'
    )
    note = (
        f"{numbers.value(shown)} of the test rows, evenly spread; all are in predictions.jsonl. "
        "Words that only one of answer and reference has are marked."
    )
    return section("answers", "Predictions", body, note)


def _recipe(run: Gathered) -> str:
    pieces = []
    if run.evaluation and (settings := evaluation_settings(run)):
        pieces.append(f"<pre>{words(settings)}</pre>")
    for name, what in (
        ("recipe.yaml", "as it was written"),
        ("recipe.resolved.yaml", "with every default"),
    ):
        try:
            written = (run.folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        pieces.append(folded(f"{name}, {what}", f"<pre>{words(written)}</pre>"))
    return section("recipe", "Settings" if run.evaluation else "Recipe", "".join(pieces))


def _environment(run: Gathered) -> str:
    lines = numbers.rows(run.environment)
    for key, given in run.environment.items():
        lines += numbers.rows({f"{key}: {name}": each for name, each in mapping(given).items()})
    if not lines:
        return ""
    made = table(("", ""), [(words(name), words(said)) for name, said in lines])
    return section("environment", "Environment", folded("environment.json", made))
