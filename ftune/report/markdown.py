"""report.md: a run's page, and the page of one stage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from ftune.report import numbers
from ftune.report.asking import asked
from ftune.report.ending import HEADS as STAGES
from ftune.report.ending import ending
from ftune.report.forgetting import kept
from ftune.report.gather import Gathered, about, evaluation_settings
from ftune.report.headline import headline
from ftune.report.layers import HEAD as LAYERS
from ftune.report.layers import layer_rows
from ftune.report.ledger import TEMPLATES, ledger_table, template_rows
from ftune.report.overfitting import parting
from ftune.report.samples import Sample
from ftune.report.scores import Score
from ftune.report.state import moment
from ftune.report.tables import block, cell, code, folded, table
from ftune.report.tolerant import items, mapping, number, text
from ftune.report.verdict import LEVEL

INTERVAL = "95% interval"


def run_page(run: Gathered, picture: bool) -> str:
    """The page of a run; ``picture`` says whether loss.png stands beside it."""
    parts = [
        f"# {cell(run.name)} · {cell(run.id)}",
        f"**{cell(headline(run))}**",
        _facts(run),
        _ending(run),
        _warnings(run.warnings),
        _before_and_after(run),
        _asking(run),
        _training(run, picture),
        _ledger(run),
        _predictions(run.samples),
        _recipe(run),
        _environment(run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def stage_page(report: Mapping[str, Any]) -> str:
    """The page of one stage, from its report.json."""
    parts = [
        f"# {cell(text(report.get('stage')))}",
        "\n".join(f"- {cell(text(line))}" for line in items(report.get("summary"))),
        _warnings(tuple(text(line) for line in items(report.get("warnings")))),
        _figures(mapping(report.get("figures"))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(run: Gathered) -> str:
    started = moment(run.facts)
    command = run.facts.get("command")
    words = " ".join(map(text, items(command))) or text(command)
    rows = [
        ("state", cell(run.state)),
        ("started", f"{started.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if started else ""),
        ("took", numbers.duration(number(run.facts.get("seconds")))),
        *((name, code(said)) for name, said in about(run)),
        ("command", code(words)),
    ]
    return table(("", ""), [row for row in rows if row[1] not in ("", numbers.ABSENT)])


def _ending(run: Gathered) -> str:
    found = ending(run)
    if found is None:
        return ""
    rows = [[cell(each) for each in row] for row in found.stages]
    parts = [
        "## How it ended, and how to go on",
        block(found.error) if found.error else "",
        table(STAGES, rows, right=(2,)),
        *(cell(line) for line in found.advice),
        block(found.command) if found.command else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _warnings(lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    return "## Warnings\n\n" + "\n".join(f"- {cell(line)}" for line in lines)


def _before_and_after(run: Gathered) -> str:
    if not run.scores:
        return ""
    head = ("metric", "before", INTERVAL, "after", INTERVAL, "change", "p", "", "signature")
    rows = [_score(score) for score in run.scores]
    if run.evaluation and all(score.base is None for score in run.scores):
        alone = [(row[0], row[3], row[4], row[8]) for row in rows]
        made = table(("metric", "figure", INTERVAL, "signature"), alone, right=(1, 2))
        return "## Figures\n\n" + made + _how_sure(run)
    lines = "".join(f"\n\n{cell(line)}" for line in kept(run))
    return "## Before and after\n\n" + table(head, rows, right=range(1, 7)) + _how_sure(run) + lines


def _how_sure(run: Gathered) -> str:
    """On how many rows the figures stand, and how intervals and tests were made."""
    rows = number(run.figures("evaluate").get("rows"))
    note = f"\n\nOn {numbers.value(rows)} test rows." if rows else "\n\n"
    draws = number(mapping(run.figures("evaluate").get("bootstrap")).get("resamples"))
    if not draws:
        return note.rstrip()
    return (
        f"{note} Intervals: percentile bootstrap over rows, {draws:,} draws. p: paired approximate "
        f"randomization, {draws:,} trials; a difference counts as seen below {LEVEL}."
    )


def _score(score: Score) -> tuple[str, ...]:
    unit = f" ({cell(score.unit)})" if score.unit else ""
    return (
        cell(score.name) + unit,
        numbers.value(score.base),
        numbers.interval(score.base_interval),
        numbers.value(score.tuned),
        numbers.interval(score.tuned_interval),
        numbers.signed(score.change),
        cell(numbers.chance(score.p)),
        score.verdict,
        code(score.signature),
    )


def _asking(run: Gathered) -> str:
    found = asked(run)
    if found is None:
        return ""
    rows = [[cell(each) for each in row] for row in found.rows]
    made = table([cell(head) for head in found.heads], rows, right=range(1, len(found.heads)))
    return f"## What asking costs\n\n{made}"


def _training(run: Gathered, picture: bool) -> str:
    found = parting(run.series)
    parts = [
        cell(found.sentence()) if found else "",
        "![Loss by optimizer step](loss.png)" if picture else "",
        _figures({**run.figures("load"), **run.figures("train")}),
        _layers(run),
    ]
    body = "\n\n".join(part for part in parts if part)
    return f"## Training\n\n{body}" if body else ""


def _layers(run: Gathered) -> str:
    rows = [[cell(each) for each in row] for row in layer_rows(run)]
    return table(LAYERS, rows, right=(1, 2)) if rows else ""


def _figures(figures: Mapping[str, Any]) -> str:
    rows = [(cell(name), cell(words)) for name, words in numbers.rows(figures)]
    return table(("figure", "value"), rows, right=(1,)) if rows else ""


def _ledger(run: Gathered) -> str:
    found = ledger_table(run.counted)
    parts = []
    if found.rows:
        heads = [cell(head) for head in found.heads]
        rows = [[cell(each) for each in row] for row in found.rows]
        parts.append(table(heads, rows, right=range(2, len(heads))))
    wrote = [[cell(each) for each in row] for row in template_rows(run.counted)]
    if wrote:
        parts.append(table(TEMPLATES, wrote, right=(3,)))
    if (run.folder / "format" / "preview.md").is_file():
        parts.append("[The first rows as tokens, with what is trained](format/preview.md)")
    return "## Rows and tokens\n\n" + "\n\n".join(parts) if parts else ""


def _predictions(samples: tuple[Sample, ...]) -> str:
    if not samples:
        return ""
    pieces = ["## Predictions\n\nEvenly spread over the test rows; nobody picked them."]
    for sample in samples:
        where = " ".join(
            part for part in (sample.source, f"row {sample.row}" if sample.row else "") if part
        )
        answers = {"before": sample.base, "after": sample.tuned}
        columns = {name: words for name, words in answers.items() if words is not None}
        columns |= {
            "reference" if len(sample.references) == 1 else f"reference {i}": words
            for i, words in enumerate(sample.references, 1)
        }
        side_by_side = table(
            tuple(columns), [[cell(words) or "*(empty)*" for words in columns.values()]]
        )
        title = f"### {cell(where)}\n\n" if where else ""
        pieces.append(f"{title}{block(sample.prompt)}\n\n{side_by_side if columns else ''}")
    return "\n\n".join(pieces)


def _recipe(run: Gathered) -> str:
    path = run.folder / "recipe.resolved.yaml"
    if not run.recipe:
        return ""
    yaml = block(text(path.read_text(encoding="utf-8", errors="replace")), "yaml")
    whole = folded("recipe.resolved.yaml, with every default", yaml)
    if run.evaluation and (settings := evaluation_settings(run)):
        return f"## Settings\n\n{block(settings, 'yaml')}\n\n{whole}"
    return f"## Recipe\n\n{whole}"


def _environment(run: Gathered) -> str:
    if not run.environment:
        return ""
    lines = numbers.rows(run.environment)
    for key, given in run.environment.items():
        inside = numbers.rows({f"{key}: {name}": each for name, each in mapping(given).items()})
        lines += inside
    rows = [(cell(name), cell(words)) for name, words in lines]
    return "## Environment\n\n" + folded("environment.json", table(("", ""), rows))
