"""Puts a ``Chosen`` in every place of a plain recipe that names an extension."""

from __future__ import annotations

from typing import Any

from ftune.recipe import wording
from ftune.recipe.base import Chosen
from ftune.recipe.places import KeyPath, Problem, dotted
from ftune.recipe.slots import DEFAULT_OBJECTIVE, FAMILIES, SOURCES, config_path, name_path
from ftune.recipe.validating import validated

Plain = dict[str, Any]


class Choosing:
    """Replaces names and their keys; collects ``problems`` on the way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def recipe(self, plain: Plain) -> Plain:
        """The recipe with a Chosen at each of its slots that is written right."""
        out = dict(plain)
        if isinstance(out.get("data"), dict):
            out["data"] = self.data(out["data"])
        if "tune" in out:
            out["tune"] = self.tune(out["tune"])
        train = out.get("train", {})
        if isinstance(train, dict):
            objective = train.get("objective", DEFAULT_OBJECTIVE)
            slot = ("train", "objective")
            out["train"] = {**train, "objective": self.named(slot, objective)}
        evaluate = out.get("evaluate")
        if isinstance(evaluate, dict):
            out["evaluate"] = self.measured(evaluate, ("evaluate",))
        return out

    def measured(self, section: Plain, path: KeyPath) -> Plain:
        """A section that names metrics, and sets that are retained, which name some as well."""
        out = dict(section)
        if isinstance(out.get("metrics"), tuple):
            out["metrics"] = tuple(
                self.named((*path, "metrics", i), m) for i, m in enumerate(out["metrics"])
            )
        if isinstance(out.get("retain"), tuple):
            out["retain"] = tuple(
                self.retained(one, (*path, "retain", i)) if isinstance(one, dict) else one
                for i, one in enumerate(out["retain"])
            )
        return out

    def retained(self, one: Plain, path: KeyPath) -> Plain:
        """A set of rows with its format and its metrics; by default the loss of each token."""
        found = self.source(path, one)
        return self.measured({**found, "metrics": found.get("metrics") or ("token_loss",)}, path)

    def data(self, data: Plain) -> Plain:
        """The section ``data`` with the formats of all sources."""
        out = dict(data)
        for key in SOURCES:
            if isinstance(out.get(key), tuple):
                out[key] = tuple(
                    self.source(("data", key, i), s) if isinstance(s, dict) else s
                    for i, s in enumerate(out[key])
                )
        return out

    def source(self, path: KeyPath, source: Plain) -> Plain:
        """A source with its format; without one it is left as it is."""
        out = {k: v for k, v in source.items() if k != "columns"}
        slot = (*path, "format")
        if "format" not in source:
            self.add(slot, f"is missing; add format: {self.names('format')}", missing=True)
            return {**out, "format": Chosen("", None)}
        columns = source.get("columns", {})
        return {**out, "format": self.extension(slot, "format", source["format"], columns)}

    def tune(self, tune: Any) -> Any:
        """The method with the keys beside it."""
        slot = ("tune",)
        if not isinstance(tune, dict):
            meant = f"{{method: {tune}}}" if isinstance(tune, str) else "its keys under it"
            self.add(slot, f"must be keys, got {wording.shown(tune)}; write {meant}")
            return Chosen("", None)
        if "method" not in tune:
            path = name_path(slot)
            self.add(path, f"is missing; add method: {self.names('tune')}", missing=True)
            return Chosen("", None)
        keys = {k: v for k, v in tune.items() if k != "method"}
        return self.extension(slot, "tune", tune["method"], keys)

    def named(self, slot: KeyPath, value: Any) -> Chosen:
        """What is written as a name, or as ``{name: {keys}}``."""
        family = next(str(s) for s in reversed(slot) if isinstance(s, str))
        if isinstance(value, dict):
            if len(value) != 1:
                self.add(slot, "holds several names; write one {name: {keys}}")
                return Chosen("", None)
            [(name, keys)] = value.items()
            return self.extension(slot, family, name, {} if keys is None else keys)
        return self.extension(slot, family, value, {})

    def extension(self, slot: KeyPath, kind: str, name: Any, keys: Any) -> Chosen:
        """The extension ``name`` with the Config made of ``keys``."""
        family = FAMILIES[kind]
        if not isinstance(name, str):
            said = f"must be a name, got {wording.shown(name)}; write {self.names(kind)}"
            self.add(name_path(slot), said)
            return Chosen("", None)
        if name not in family.names():
            where = name_path(slot)
            self.problems.append(Problem(where, f"{dotted(where)}: {family.unknown(name)}"))
            return Chosen("", None)
        config = family.load(name).Config
        where = config_path(slot, name)
        if not isinstance(keys, dict):
            self.add(where, f"must be keys, got {wording.shown(keys)}; write its keys under it")
            return Chosen(name, None)
        made, problems = validated(config, keys, where, beside=self.beside(kind))
        self.problems += problems
        return Chosen(name, made)

    def beside(self, kind: str) -> tuple[str, ...]:
        """Keys that stand in the same mapping as those of the Config."""
        return ("method",) if kind == "tune" else ()

    def names(self, kind: str) -> str:
        """All names of a family."""
        return " | ".join(FAMILIES[kind].names())

    def add(self, path: KeyPath, said: str, missing: bool = False) -> None:
        """Notes a problem whose message starts with the key."""
        self.problems.append(Problem(path, f"{dotted(path)} {said}", missing=missing))
