"""The token preview: preview.md read back, each token with its mask as a colour."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from ftune.report.html.pieces import words

MOST = 1_000_000  # characters of preview.md that are read
_TITLE = re.compile(r"^## (.*)$")
_TOKEN = re.compile(r"^\| (\d+) \| (\d+) \| (.*) \| (\*\*yes\*\*)? ?\|$")
_MORE = re.compile(r"^\| \| \| (and \d+ more) \| \|$")
_CODE = re.compile(r"^(`+)( ?)(.*)\2\1$", re.DOTALL)


def preview(path: Path) -> str:
    """The rows of a preview.md; empty if there is none. A line that can't be read is left out."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(MOST).split("\n")
    except OSError:
        return ""
    rows: list[tuple[str, list[str]]] = []
    for line in lines:
        if title := _TITLE.match(line):
            rows.append((title[1], []))
        elif rows and (token := _TOKEN.match(line)):
            rows[-1][1].append(_token(token[2], _piece(token[3]), bool(token[4])))
        elif rows and (more := _MORE.match(line)):
            rows[-1][1].append(f'<span class="quiet"> … {words(more[1])}</span>')
    return "".join(
        f'<h3>{words(title)}</h3><p class="tokens">{"".join(tokens)}</p>'
        for title, tokens in rows
        if tokens
    )


def _token(number: str, piece: str, trained: bool) -> str:
    kind = "on" if trained else "off"
    said = "trained" if trained else "masked"
    shown = words(piece.replace("\n", "⏎\n")) or "∅"
    return f'<span class="{kind}" title="{words(number)}, {said}">{shown}</span>'


def _piece(cell: str) -> str:
    """The text of a token from its cell, where it stands as Python writes text, without quotes."""
    found = _CODE.match(cell.strip())
    if not found:
        return ""
    inner = found[3].replace("\\|", "|")
    for quote in ("'", '"'):
        try:
            return str(ast.literal_eval(f"{quote}{inner}{quote}"))
        except (ValueError, SyntaxError):
            continue
    return inner
