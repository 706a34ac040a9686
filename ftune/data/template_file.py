"""What a template file holds, and reading one: strictly, with the line of what is wrong."""

from __future__ import annotations

from pathlib import Path

from ftune.errors import RecipeError
from ftune.recipe.base import Section
from ftune.recipe.source_text import read_text
from ftune.recipe.validating import validated
from ftune.recipe.yaml_tree import parse
from ftune.registry import ROOT, template_names

FOLDER = ROOT / "data" / "templates"


class Turn(Section):
    """The text around a system message or a tool's answer."""

    before: str = ""
    """Opens the turn."""
    after: str = ""
    """Closes it."""


class UserTurn(Section):
    """The text around a user's turn."""

    before: str = ""
    """Opens the turn."""
    context: str = "\n\n"
    """Stands between the words and their context (alpaca's input), where there is one."""
    after: str = ""
    """Closes the turn."""


class AssistantTurn(Section):
    """The text around an assistant's turn."""

    before: str = ""
    """Opens the turn; a prompt ends with it."""
    end: str = "{eos}"
    """The end mark, which is trained with the words; ``{eos}`` is the tokenizer's own."""
    after: str = ""
    """Stands between the end mark and the next turn."""


class TemplateFile(Section):
    """A template: how turns become text. ``{eos}`` stands for the tokenizer's end mark."""

    bos: bool = True
    """Whether the tokenizer's beginning mark stands first, if it is one that adds a mark."""
    marks: tuple[str, ...] = ()
    """Texts that should be one token each; where one is not, a warning says so."""
    preamble: str = ""
    """Stands first where there is no system message."""
    preamble_with_context: str | None = None
    """The same, where the first user turn has a context; by default as ``preamble``."""
    system: Turn | None = None
    """Around the system message; without this key the template has no place for one."""
    user: UserTurn = UserTurn()
    """Around a user's turn."""
    tool: Turn | None = None
    """Around a tool's answer; without this key the template has no place for one."""
    assistant: AssistantTurn
    """Around an assistant's turn."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer when a model writes them, besides the end mark."""


def find_template(name: str, folder: Path) -> Path | None:
    """The file of template ``name``: one that ships, or a path from ``folder``; else None."""
    shipped = FOLDER / f"{name}.yaml"
    if name in template_names() and shipped.is_file():
        return shipped
    path = folder / Path(name).expanduser()
    return path if path.suffix in {".yaml", ".yml"} and path.is_file() else None


def read_template(path: Path) -> TemplateFile:
    """The template in a YAML file.

    Raises:
        RecipeError: all that is wrong with the file, each with its line and column.
    """
    data, places, faults = parse(read_text(path), str(path))
    if faults:
        raise RecipeError(*(f"{path}:{mark[0]}:{mark[1]}: {what}" for mark, what in faults))
    if not isinstance(data, dict):
        raise RecipeError(f"{path}:1:1: a template is a mapping; see the ones that ship with ftune")
    template, problems = validated(TemplateFile, data)
    if problems or template is None:
        raise RecipeError(*dict.fromkeys(map(places.line, problems)))
    return template
