"""A Recipe back into the shape it is written in, with every default."""

from __future__ import annotations

from typing import Any

from ftune.recipe.base import Chosen, Section
from ftune.recipe.scalars import is_plain_text
from ftune.recipe.schema import Recipe

WIDTH = 100


def to_plain(recipe: Recipe) -> dict[str, Any]:
    """Dicts, lists and scalars that read back to an equal Recipe."""
    return _section(recipe)


def _section(section: Section) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Chosen) and name == "tune":
            out[name] = {"method": value.name, **_section(value.config)}
        elif isinstance(value, Chosen) and name == "format":
            out[name] = value.name
            columns = _section(value.config)
            if columns:
                out["columns"] = columns
        else:
            out[name] = _value(value)
    return out


def _value(value: Any) -> Any:
    if isinstance(value, Section):
        return _section(value)
    if isinstance(value, Chosen):
        config = _section(value.config)
        return {value.name: config} if config else value.name
    if isinstance(value, tuple):
        return [_value(v) for v in value]
    if isinstance(value, dict):
        return {k: _value(v) for k, v in value.items()}
    return value


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML that reads back to an equal Recipe."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes text that this reader would take for something else, and nothing more."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=_style(value))

    Dumper.add_representer(str, text)
    return yaml.dump(
        to_plain(recipe), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=WIDTH
    )


def _style(text: str) -> str | None:
    """How a text is written: lines as a block, what is no plain text in quotes."""
    # PyYAML knows YAML 1.1 only and would leave 1e-4 bare, which is a number here; and it writes
    # rare line ends as they are.
    if not all(line.isprintable() for line in text.split("\n")):
        return '"'
    if "\n" in text:
        return "|"
    return None if is_plain_text(text) else '"'
