"""Pieces of Markdown, safe for whatever text a model or a file puts into them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARKS = re.compile(r"([\\`*_\[\]|$~#])")
_RUNS = re.compile(r"`+")


def cell(words: str) -> str:
    """``words`` as they are, on one line of a table."""
    words = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    words = _MARKS.sub(r"\\\1", words)
    return words.strip().replace("\n", "<br>").replace("\t", " ")


def code(words: str) -> str:
    """``words`` as code inside a line or a table."""
    if not words:
        return ""
    fence = "`" * (1 + max((len(run) for run in _RUNS.findall(words)), default=0))
    room = " " if "`" in words else ""
    words = words.replace("\n", " ").replace("|", "\\|")
    return f"{fence}{room}{words}{room}{fence}"


def block(words: str, language: str = "") -> str:
    """``words`` as a block of their own; the fence is longer than any inside."""
    longest = max((len(run) for run in _RUNS.findall(words)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{words.rstrip()}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of cells that are Markdown already; the columns in ``right`` hold figures."""
    rule = ["---:" if i in right else "---" for i in range(len(head))]
    lines = (" | ".join(cells) for cells in [head, rule, *rows])
    return "\n".join(f"| {line} |" for line in lines)


def folded(title: str, body: str) -> str:
    """``body`` behind a title that opens it."""
    return f"<details>\n<summary>{cell(title)}</summary>\n\n{body}\n\n</details>"
