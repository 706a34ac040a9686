"""Taking text out of a row's columns, with errors that say what is there and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.errors import DataError

KINDS = {
    "NoneType": "null", "bool": "true or false", "int": "a number", "float": "a number",
    "str": "text", "list": "a list", "tuple": "a list", "dict": "an object", "bytes": "bytes",
}  # fmt: skip


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    name = type(value).__name__
    return KINDS.get(name, f"a {name}")


def value(row: Mapping[str, Any], column: str, option: str) -> Any:
    """The value of ``column``, which the format's ``option`` names.

    Raises:
        DataError: the row has no such column.
    """
    if column in row:
        return row[column]
    there = ", ".join(map(repr, list(row)[:20])) or "none"
    raise DataError(
        f"there is no column {column!r}; the columns are: {there}; "
        f"name the right one in the recipe, columns: {{{option}: NAME}}"
    )


def text(row: Mapping[str, Any], column: str, option: str, empty: bool = False) -> str:
    """The text of a column that must be there; ``empty`` allows white space alone.

    Raises:
        DataError: it is missing, no text, or empty.
    """
    found = value(row, column, option)
    if not isinstance(found, str):
        raise DataError(f"{column!r} is {kind_of(found)} and must be text; correct the row")
    if not empty and not found.strip():
        raise DataError(f"{column!r} is empty; fill it in or leave the row out")
    return found


def optional_text(row: Mapping[str, Any], column: str | None) -> str:
    """The text of a column that may be missing, null or empty; then the empty text.

    Raises:
        DataError: it is something else than text.
    """
    found = row.get(column) if column is not None else None
    if found is None:
        return ""
    if not isinstance(found, str):
        raise DataError(f"{column!r} is {kind_of(found)} and must be text; correct the row")
    return found


def items(found: Any, column: str) -> list[Any]:
    """A list that isn't empty.

    Raises:
        DataError: it is no list, or an empty one.
    """
    if not isinstance(found, list | tuple):
        raise DataError(f"{column!r} is {kind_of(found)} and must be a list; correct the row")
    if not found:
        raise DataError(f"{column!r} is an empty list; fill it in or leave the row out")
    return list(found)


def references(row: Mapping[str, Any], column: str | None) -> tuple[str, ...]:
    """Further right answers: a list of texts in ``column``, or none where no column is named.

    Raises:
        DataError: the column is missing, or holds something else.
    """
    if column is None:
        return ()
    found = value(row, column, "references")
    if found is None:
        return ()
    if not isinstance(found, list | tuple) or not all(isinstance(r, str) for r in found):
        raise DataError(f"{column!r} must be a list of texts (further right answers)")
    return tuple(found)
