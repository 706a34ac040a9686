"""The part of a recipe that a stage may read, noting what it read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import FunctionType, MethodType
from typing import Any

from ftune.recipe.base import Chosen, Section
from ftune.recipe.resolved import to_plain
from ftune.recipe.schema import Recipe
from ftune.recipe.slots import config_path, name_path

# Keys that change nothing in what a stage computes, so that a change of them keeps its results.
COSMETIC = frozenset(
    {
        "name",  # says where the run stands
        "runs_dir",  # the same
        "train.report_to",  # trackers only listen
        "train.logging_steps",  # how often a line is written, not what is trained
        "train.save_steps",  # a checkpoint reads the state of training and leaves it as it is
        "train.save_total_limit",  # how many of them are kept
        "train.on_nan",  # what comes after a step that is no number; a run may go on with another
        "train.on_oom",  # the same gradient, in smaller parts
        "distributed.timeout_seconds",  # when processes give each other up
        "distributed.deepspeed",  # who holds what
        "distributed.fsdp",  # who holds what; the types that it computes in count by themselves
        "train.grace_seconds",  # when a run that was asked to stop ends
    }
)

# Keys that count in a fingerprint only as a stage's ``identity`` tells them.
TOLD = frozenset({"train.on_spike", "train.spikes"})


class View:
    """Reads like the Section or Chosen that it shows, where ``allowed`` lets it.

    ``prefix`` is the dotted key of ``value`` without indexes, empty for the whole recipe.
    ``allowed`` are dotted keys: each allows all below it, and the way to it. Every value that is
    read is noted in ``reads``. Sections and Chosen come back as Views, tuples of them as tuples of
    Views, all else as it is. Reading any other key raises AttributeError: that is a fault of the
    program.
    """

    __slots__ = ("_allowed", "_prefix", "_reads", "_value")

    def __init__(
        self, value: Section | Chosen, prefix: str, allowed: Sequence[str], reads: set[str]
    ) -> None:
        self._value = value
        self._prefix = prefix
        self._allowed = tuple(allowed)
        self._reads = reads

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if isinstance(self._value, Chosen):
            return self._of_chosen(self._value, name)
        if name in type(self._value).model_fields:
            key = f"{self._prefix}.{name}" if self._prefix else name
            return self._show(getattr(self._value, name), key)
        member = getattr(type(self._value), name, None)
        if isinstance(member, property) and member.fget:
            return member.fget(self)
        if isinstance(member, FunctionType):
            return MethodType(member, self)
        raise AttributeError(f"{self._prefix or 'the recipe'} has no key {name!r}")

    def _of_chosen(self, chosen: Chosen, name: str) -> Any:
        """``name`` and ``config`` of a Chosen, under the keys that hold them in a recipe."""
        slot = tuple(self._prefix.split("."))
        if name == "name":
            return self._show(chosen.name, ".".join(map(str, name_path(slot))))
        if name == "config":
            return self._show(chosen.config, ".".join(map(str, config_path(slot, chosen.name))))
        raise AttributeError(f"{self._prefix} is a Chosen, which has no {name!r}")

    def _show(self, value: Any, key: str) -> Any:
        below = any(key == a or key.startswith(f"{a}.") for a in self._allowed)
        above = any(a.startswith(f"{key}.") for a in self._allowed)
        many = isinstance(value, tuple) and value and all(_is_part(v) for v in value)
        if not below and not (above and (many or _is_part(value))):
            raise AttributeError(
                f"{key} is outside of what is declared ({', '.join(self._allowed) or 'nothing'}); "
                "a stage declares what it reads"
            )
        if _is_part(value):
            return View(value, key, self._allowed, self._reads)
        if many:
            return tuple(View(v, key, self._allowed, self._reads) for v in value)
        self._reads.add(key)
        return value

    def model_dump(self) -> dict[str, Any]:
        """All keys, sections and Chosen as dicts; all of them count as read."""
        return {name: _dumped(value) for name, value in self}

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Pairs of key and value, as a Section gives them."""
        fields: tuple[str, ...] = ("name", "config")
        if isinstance(self._value, Section):
            fields = tuple(type(self._value).model_fields)
        for name in fields:
            yield name, getattr(self, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, View) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"View({self._prefix or 'recipe'})"


def _is_part(value: Any) -> bool:
    return isinstance(value, Section | Chosen)


def _dumped(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_dumped(v) for v in value)
    return value.model_dump() if isinstance(value, View) else value


def plain(recipe: Recipe, allowed: Sequence[str]) -> dict[str, Any]:
    """The resolved keys that ``allowed`` names, less the cosmetic ones; dotted key -> plain value.

    A format's ``columns`` stand beside its name, so ``data.train`` holds both.
    """
    whole = to_plain(recipe)
    found = {}
    for key in sorted(set(allowed)):
        if key not in COSMETIC:
            found[key] = _less_cosmetic(_at(whole, key.split(".")), key)
    return found


def _at(value: Any, steps: list[str]) -> Any:
    """What stands at ``steps``, in every entry of the lists on the way."""
    if not steps:
        return value
    if isinstance(value, list):
        return [_at(v, steps) for v in value]
    if not isinstance(value, dict):
        return None
    return _at(value.get(steps[0]), steps[1:])


def _less_cosmetic(value: Any, prefix: str) -> Any:
    if not isinstance(value, dict):
        return value
    pairs = ((f"{prefix}.{k}", k, v) for k, v in value.items())
    return {k: _less_cosmetic(v, key) for key, k, v in pairs if key not in COSMETIC | TOLD}
