"""The pages that are made from the recipe's sections: the reference page and the JSON schema.

``python -m ftune.recipe.reference`` writes both; with ``--check`` it says which has drifted.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ftune.recipe.base import Section
from ftune.recipe.fields import section_in
from ftune.recipe.jsonschema import schema
from ftune.recipe.schema import Recipe
from ftune.recipe.slots import DEFAULT_OBJECTIVE
from ftune.registry import FORMATS, METHODS, METRICS, OBJECTIVES, ROOT, Family, template_names

PAGE = ROOT.parent / "docs" / "reference" / "recipe.md"
SCHEMA = ROOT.parent / "recipes" / "schema.json"

INTRODUCTION = """\
# Recipe reference

Made from the code by `make docs`: every key of a recipe with its type, its default and its meaning.
A key without a default must be written. `-o train.learning_rate=1e-4` on the command line sets a
key for one call. `ftune validate recipe.yaml --resolved` shows a recipe with every default.

Only `true` and `false` are truth values; `1e-4` is a number; `no`, `0755` and `12:30:45` are text.
"""
EXTENSIONS: tuple[tuple[str, Family, str], ...] = (
    ("Tuning methods", METHODS, "Named by `tune.method`; their keys stand beside it."),
    ("Row formats", FORMATS, "Named by `format` of a source; their keys stand under `columns`."),
    (
        "Objectives",
        OBJECTIVES,
        "Named by `train.objective`, or written `objective: {name: {key: value}}`.",
    ),
    (
        "Metrics",
        METRICS,
        "Entries of `evaluate.metrics`: a name, or `{name: {key: value}}`.",
    ),
)
# Keys whose type or default is not that of the field: (section, key) -> type, default.
SPECIAL = {
    ("Recipe", "name"): ("text", "the recipe file's name"),
    ("Recipe", "tune"): ("a method and its keys", None),
    ("Recipe", "train"): ("section", "see below"),
    ("Recipe", "sweep"): ("keys, each with a list of values", "null"),
    ("Source", "format"): ("a row format", None),
    ("Train", "objective"): ("an objective", DEFAULT_OBJECTIVE),
    ("Evaluate", "metrics"): ("list of metrics", "[]"),
}
TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}
LIMITS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "above",
    "exclusiveMaximum": "below",
}


def schema_text() -> str:
    """The JSON schema as text."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def page() -> str:
    """The reference page in Markdown."""
    parts = [INTRODUCTION, _section("The top level", "", Recipe)]
    parts += _inner(Recipe, "")
    for title, family, how in EXTENSIONS:
        parts.append(f"## {title}\n\n{how}\n")
        parts += [_extension(family, name) for name in family.names()]
    names = ", ".join(f"`{name}`" for name in template_names())
    parts.append(
        f"## Templates\n\nNamed by `data.template`: {names}, or the path of a .yaml file.\n"
    )
    return "\n".join(parts)


def _inner(model: type[Section], prefix: str) -> list[str]:
    """The sections below ``model``, each before those below it."""
    parts: list[str] = []
    shown: set[type[Section]] = set()
    for name, field in model.model_fields.items():
        inner = section_in(field.annotation)
        if inner and inner not in shown:
            shown.add(inner)
            key = f"{prefix}{name}"
            title = f"`{key}`"
            if inner.__name__ == "Source":
                title = "a source: an entry of `data.train`, `data.eval` or `data.test`"
            parts.append(_section(title, _line(inner.__doc__), inner))
            parts += _inner(inner, f"{key}.")
    return parts


def _section(title: str, text: str, model: type[Section]) -> str:
    table = _table(model)
    return f"## {title}\n\n" + (f"{text}\n\n" if text else "") + table


def _extension(family: Family, name: str) -> str:
    """Name, help and keys of one extension."""
    config: type[Section] = family.load(name).Config
    table = _table(config) if config.model_fields else "It has no keys.\n"
    return f"### `{name}`\n\n{family.help(name)}\n\n{table}"


def _table(model: type[Section]) -> str:
    """The keys of a section as a table."""
    made = model.model_json_schema()
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        facts = made["properties"][name]
        kind = _type(facts, made.get("$defs", {}))
        default = "" if field.is_required() else f"`{_written(facts.get('default'))}`"
        if (model.__name__, name) in SPECIAL:
            kind, known = SPECIAL[model.__name__, name]
            default = "" if known is None else known if " " in known else f"`{known}`"
        if default == "`{...}`":
            default = "see below"
        meaning = _line(field.description).replace("|", "\\|")
        lines.append("| " + " | ".join([f"`{name}`", kind, default, meaning]) + " |")
        if model.__name__ == "Source" and name == "format":
            said = "Names of columns, where they differ from those of the format."
            lines.append(f"| `columns` | keys of the format | `{{}}` | {said} |")
    return "\n".join(lines) + "\n"


def _type(facts: dict[str, Any], defs: dict[str, Any]) -> str:
    """A JSON schema's type in words."""
    if "$ref" in facts:
        return "section"
    if "anyOf" in facts:
        kinds = [_type(f, defs) for f in facts["anyOf"]]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in facts or "const" in facts:
        values = facts.get("enum") or [facts["const"]]
        return ", ".join(f"`{_written(v)}`" for v in values)
    if facts.get("type") == "array":
        return f"list of {_type(facts.get('items', {}), defs)}"
    if facts.get("type") == "null":
        return "null"
    if facts.get("type") == "object":
        inner = facts.get("additionalProperties")
        return f"names, each with a {_type(inner, defs)}" if isinstance(inner, dict) else "keys"
    kind = TYPES.get(facts.get("type", ""), "any")
    limits = [f"{word} {facts[key]:g}" for key, word in LIMITS.items() if key in facts]
    return kind + (f", {' and '.join(limits)}" if limits else "")


def _written(value: Any) -> str:
    """A default as YAML shows it."""
    if isinstance(value, dict):
        return "{...}"
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value)


def _line(text: str | None) -> str:
    """A docstring as one line of Markdown."""
    return " ".join((text or "").replace("``", "`").split())


def main(arguments: list[str]) -> int:
    """Writes both files, or with ``--check`` compares them; 1 if one has drifted."""
    drifted = []
    for path, text in ((PAGE, page()), (SCHEMA, schema_text())):
        if "--check" in arguments:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                drifted.append(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in drifted:
        sys.stderr.write(f"{path}: is not what the code says; run `make docs`\n")
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
