"""Pieces of HTML, safe for whatever text a model or a file puts into them."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ftune.report.tolerant import plain, text

_ESCAPED = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}


def words(given: Any) -> str:
    """Text that shows as it is, inside an element or a quoted attribute."""
    return html.escape(text(given), quote=True)


def data(value: Any) -> str:
    """JSON that can stand inside a script element: nothing in it could end that, or a line."""
    found = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return found.translate(_ESCAPED)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of cells that are HTML already; the columns in ``right`` hold figures."""

    def cells(tag: str, row: Sequence[str]) -> str:
        made = (
            f'<{tag} class="figure">{each}</{tag}>' if i in right else f"<{tag}>{each}</{tag}>"
            for i, each in enumerate(row)
        )
        return f"<tr>{''.join(made)}</tr>"

    top = f"<thead>{cells('th', head)}</thead>" if any(head) else ""
    body = "".join(cells("td", row) for row in rows)
    return f'<div class="wide"><table>{top}<tbody>{body}</tbody></table></div>'


@dataclass(frozen=True, slots=True)
class Cell:
    """HTML, and what it is sorted by: a number, "" for none (at the end), None for its words."""

    html: str
    value: float | str | None = None


def sortable(head: Sequence[str], rows: Iterable[Sequence[Cell]], right: Sequence[int] = ()) -> str:
    """A table that the page's script sorts; heads are HTML."""

    def kind(i: int) -> str:
        return ' class="figure"' if i in right else ""

    def by(value: float | str | None) -> str:
        return "" if value is None else f' data-value="{words(value)}"'

    top = "".join(f"<th{kind(i)}>{each}</th>" for i, each in enumerate(head))
    lines = "".join(
        "<tr>"
        + "".join(f"<td{kind(i)}{by(c.value)}>{c.html}</td>" for i, c in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table class="sortable"><thead><tr>{top}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def section(name: str, title: str, body: str, note: str = "") -> str:
    """A part of the page; empty if it has no body."""
    if not body:
        return ""
    said = f'<p class="note">{note}</p>' if note else ""
    return f'<section id="{name}"><h2>{words(title)}</h2>{said}{body}</section>'


def folded(title: str, body: str) -> str:
    """``body`` behind a title that opens it."""
    return f"<details><summary>{words(title)}</summary>{body}</details>"
