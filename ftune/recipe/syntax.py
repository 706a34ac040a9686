"""Plain words for what a YAML parser says of text that is no YAML."""

from __future__ import annotations

import re

import yaml

REMEDIES = (
    (
        "mapping values are not allowed",
        "a ': ' stands where none can be; put the text in quotes, or "
        "check the indentation and that the line above has its ':'",
    ),
    (
        "could not find expected ':'",
        "a ':' is missing, or the space after it; keys are `name: value`",
    ),
    ("cannot start any token", "this character can't begin a value; put the text in quotes"),
    ("unexpected end of stream", "a quote is opened here and never closed; close it"),
    (
        "did not find expected node content",
        "a value is missing, or a bracket is not closed; check it",
    ),
    ("expected the node content", "a value is missing, or a bracket is not closed; check it"),
    ("did not find expected ',' or", "a ',' or the closing bracket is missing; check the list"),
    ("expected ',' or", "a ',' or the closing bracket is missing; check the list"),
    (
        "did not find expected",
        "the indentation fits no line above, or something stands after a "
        "value; align it with its neighbours",
    ),
    (
        "expected <block end>",
        "the indentation fits no line above, or something stands after a "
        "value; align it with its neighbours",
    ),
    ("unknown escape", "\\ begins an escape in double quotes; use single quotes"),
    ("directive", "a line can't begin with %; put the text in quotes"),
)


def syntax_problem(error: yaml.YAMLError, text: str, file: str) -> str:
    """``file:line:col: what is wrong; what to do`` of a parser's error."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return f"{file}:1:1: this is not YAML ({error}); check the text"
    line, column = mark.line + 1, mark.column + 1
    lines = text.splitlines() or [""]
    shown = lines[min(mark.line, len(lines) - 1)]
    if "\t" in shown[: mark.column + 1] or re.match(r"\s*\t", shown):
        column = shown.index("\t") + 1
        what = "a tab; YAML is indented with spaces, replace it by spaces"
    else:
        said = f"{getattr(error, 'problem', '') or error}"
        what = next((w for key, w in REMEDIES if key in said), f"{said}; check the line")
    return f"{file}:{line}:{column}: {what}"
