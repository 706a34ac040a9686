"""The recipe's JSON schema (draft 2020-12), for editors: what there is, with its meaning."""

from __future__ import annotations

from typing import Any

from ftune.recipe.base import Section
from ftune.recipe.schema import Recipe
from ftune.recipe.slots import DEFAULT_OBJECTIVE, FAMILIES
from ftune.registry import Family

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Json = dict[str, Any]


def schema() -> Json:
    """The schema, with every extension that is found; equal from call to call."""
    whole = _untitled(Recipe.model_json_schema())
    defs: Json = whole.pop("$defs")
    del defs["Chosen"]
    slots = {kind: Slot(family) for kind, family in FAMILIES.items()}
    for slot in slots.values():
        defs.update(slot.definitions())

    top = whole["properties"]
    top["tune"] = {**slots["tune"].beside("method"), "description": top["tune"]["description"]}
    _set(defs["Train"], "objective", slots["objective"].named() | {"default": DEFAULT_OBJECTIVE})
    entries = {"type": "array", "items": slots["metrics"].named(), "default": []}
    for section in ("Evaluate", "Retained"):
        _set(defs[section], "metrics", entries)
    for source in ("Source", "Retained"):
        _source(defs[source], slots["format"])
    whole["required"] = [k for k in whole["required"] if k not in ("name", "train")]
    defs["Train"].pop("required", None)
    head = {"$schema": DIALECT, "title": "ftune recipe"}
    return {**head, **whole, "$defs": dict(sorted(defs.items()))}


class Slot:
    """The schemas of one family of extensions."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.configs: dict[str, type[Section]] = {
            name: family.load(name).Config for name in family.names()
        }

    def reference(self, name: str) -> Json:
        """A reference to the schema of the Config of ``name``."""
        return {"$ref": f"#/$defs/{self.key(name)}"}

    def key(self, name: str) -> str:
        """Where that schema stands among the definitions."""
        return f"{self.family.noun} {name}".replace(" ", "_")

    def definitions(self) -> Json:
        """The schema of every Config."""
        found: Json = {}
        for name, config in self.configs.items():
            made = _untitled(config.model_json_schema())
            found.update(made.pop("$defs", {}))
            made["description"] = self.family.help(name)
            found[self.key(name)] = made
        return found

    def names(self) -> Json:
        """The names alone."""
        return {"type": "string", "enum": list(self.configs)}

    def named(self) -> Json:
        """A name, or ``{name: {keys}}``."""
        keys = {
            "type": "object",
            "properties": {n: _or_null(self.reference(n)) for n in self.configs},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
        optional = [n for n, c in self.configs.items() if not _required(c)]
        return {"anyOf": [{**self.names(), "enum": optional}, keys]}

    def beside(self, key: str) -> Json:
        """The keys of a Config beside ``key``, which holds its name."""
        cases = []
        for name, config in self.configs.items():
            made = _untitled(config.model_json_schema())
            made.pop("$defs", None)
            made["properties"] = {key: {"const": name}, **made.get("properties", {})}
            cases.append({"if": _is(key, name), "then": made})
        return {
            "type": "object",
            "properties": {key: self.names()},
            "required": [key],
            "allOf": cases,
        }


def _source(source: Json, formats: Slot) -> None:
    """Gives a source its format and the columns that go with that."""
    text = source["properties"]["format"]["description"]
    properties = {}
    for name, value in source["properties"].items():
        properties[name] = value
        if name == "format":
            properties["format"] = {**formats.names(), "description": text}
            said = "Names of columns, where they differ from those of the format."
            properties["columns"] = {"type": "object", "description": said}
    source["properties"] = properties
    source["allOf"] = [
        {"if": _is("format", name), "then": {"properties": {"columns": formats.reference(name)}}}
        for name in formats.configs
    ] + [
        {"if": _is("format", name), "then": {"required": ["columns"]}}
        for name, config in formats.configs.items()
        if _required(config)
    ]


def _required(config: type[Section]) -> bool:
    return any(field.is_required() for field in config.model_fields.values())


def _is(key: str, name: str) -> Json:
    return {"properties": {key: {"const": name}}, "required": [key]}


def _or_null(value: Json) -> Json:
    return {"anyOf": [value, {"type": "null"}]}


def _set(section: Json, key: str, value: Json) -> None:
    """Replaces what a section says of ``key``, save its description."""
    section["properties"][key] = {
        **value,
        "description": section["properties"][key]["description"],
    }


def _untitled(value: Any) -> Any:
    """Without the titles that pydantic makes of names; one line per description."""
    if isinstance(value, list):
        return [_untitled(v) for v in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, inner in value.items():
        if key == "title" and isinstance(inner, str):
            continue
        if key == "description" and isinstance(inner, str):
            out[key] = " ".join(inner.split())
        else:
            out[key] = _untitled(inner)
    return out
