"""Rows of any columns, written by prompt templates of which each row draws one.

The templates are a file of promptsource as it is, a file of one's own, or one that stands in the
recipe: Jinja, whose variables are the row's columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.errors import DataError, RecipeError
from ftune.recipe.base import Section
from ftune.types import Example, Row

if TYPE_CHECKING:
    from ftune.data.forming import Setting
    from ftune.data.prompt_rows import PromptRows

INLINE = "columns"  # what a template in the recipe itself is called in messages


class Config(Section):
    """The templates."""

    templates: str | None = None
    """A file of templates: promptsource's ``templates.yaml``, or ``{name: {input, target}}``. A
    relative path starts at the recipe's folder."""
    only: tuple[str, ...] = ()
    """Names of the templates to draw from; empty for all of the file."""
    original_task_only: bool = False
    """Leave out templates that ask for something else than the data set was made for."""
    input: str | None = None
    """What is asked, in Jinja, in place of a file: ``Question: {{question}}``."""
    target: str | None = None
    """The answer, in Jinja; goes with ``input``."""
    choices: str | None = None
    """The answers that there are, in Jinja with ``|||`` between them; goes with ``input``."""
    ending: str = ""
    """Put behind each prompt, such as a line end: promptsource's prompts have no blank at their
    end."""


def opened(config: Config, setting: Setting) -> PromptRows:
    """The templates, ready to write rows.

    Raises:
        RecipeError: there are none, or the file of them is wrong.
    """
    from ftune.data.prompt_rows import PromptRows
    from ftune.data.prompt_sets import PromptTemplate, chosen, read_set

    if config.templates is not None:
        found = read_set(setting.folder / Path(config.templates).expanduser())
        found = chosen(found, config.only, config.original_task_only, config.templates)
        return PromptRows(found, config.templates, config.ending, setting)
    if config.input is None or config.target is None:
        raise RecipeError(
            "format: prompts needs columns.templates, a file of templates, or columns.input and "
            "columns.target; write them"
        )
    one = PromptTemplate(INLINE, (config.input, config.target), config.choices)
    return PromptRows((one,), INLINE, config.ending, setting)


def files(config: Config) -> tuple[str, ...]:
    """The files that the examples depend on besides the rows."""
    return () if config.templates is None else (config.templates,)


def example(row: Mapping[str, Any], config: Config) -> Example:
    """One row by itself, drawn as the first one of a source.

    Raises:
        DataError: the templates can't be used, or write nothing right for this row.
    """
    from ftune.data.forming import Setting

    try:
        return opened(config, Setting(Path())).example(Row("", 1, row))
    except RecipeError as error:
        raise DataError(str(error)) from error
