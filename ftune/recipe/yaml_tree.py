"""YAML text -> plain values with the line and column of every key and value.

Works on the parser's events, so that depth, aliases and tags are bounded before anything is built.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from ftune.errors import RecipeError
from ftune.recipe.places import KeyPath, Mark, Places
from ftune.recipe.scalars import plain_scalar
from ftune.recipe.syntax import syntax_problem

DEEPEST = 50
LONGEST_KEY = 200  # characters
MOST_VALUES = 20_000  # with aliases expanded
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # only its parser is used

Fault = tuple[Mark, str]


@dataclass(slots=True)
class Node:
    """A value: ``content`` is a scalar, a list of nodes, or a dict of (key's mark, node)."""

    content: Any
    mark: Mark
    size: int = 1


class _Builder:
    """Builds nodes from events; what is wrong but can be gone over goes to ``faults``."""

    def __init__(self, events: Iterator[Any], tags: Collection[str]) -> None:
        self.events = events
        self.tags = tags
        self.faults: list[Fault] = []
        self.anchors: dict[str, Node | None] = {}
        self.values = 0

    def node(self, event: Any, depth: int) -> Node:
        """The value that begins with ``event``."""
        mark = _mark(event)
        if depth > DEEPEST:
            raise _StopError(
                mark, f"is nested more than {DEEPEST} deep; a recipe needs about 6 levels"
            )
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, mark)
        if event.tag is not None and event.tag not in self.tags:
            self.faults.append((mark, f"the tag {_tag(event.tag)} is not allowed; remove it"))
        self.count(1, mark)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = self.scalar(event, mark)
        elif isinstance(event, yaml.SequenceStartEvent):
            items = [self.node(e, depth + 1) for e in self.until(yaml.SequenceEndEvent)]
            node = Node(items, mark, 1 + sum(n.size for n in items))
        else:
            node = self.mapping(mark, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def until(self, end: type) -> Iterator[Any]:
        """Events up to ``end``."""
        while not isinstance(event := next(self.events), end):
            yield event

    def count(self, size: int, mark: Mark) -> None:
        self.values += size
        if self.values > MOST_VALUES:
            raise _StopError(
                mark,
                f"here the recipe has more than {MOST_VALUES:,} values, aliases "
                "expanded; write a smaller one",
            )

    def alias(self, event: Any, mark: Mark) -> Node:
        """The node that an alias stands for."""
        node = self.anchors.get(event.anchor)
        if node is None:
            what = "stands inside its own anchor" if event.anchor in self.anchors else "is unknown"
            raise _StopError(mark, f"the alias *{event.anchor} {what}; write the value out")
        self.count(node.size, mark)
        return node

    def scalar(self, event: Any, mark: Mark) -> Node:
        """Text, or what a plain scalar means."""
        if not event.implicit[0] or event.tag is not None:
            return Node(event.value, mark)
        try:
            return Node(plain_scalar(event.value), mark)
        except ValueError as error:
            self.faults.append((mark, str(error)))
            return Node(None, mark)

    def mapping(self, mark: Mark, depth: int) -> Node:
        """A mapping whose keys are text."""
        content: dict[str, tuple[Mark, Node]] = {}
        size = 1
        for event in self.until(yaml.MappingEndEvent):
            at = _mark(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise _StopError(at, "a key must be plain text; is a ':' missing or one too many?")
            key = event.value
            if len(key) > LONGEST_KEY:
                raise _StopError(at, f"a key of {len(key):,} characters; is a ':' missing?")
            if event.tag is not None:
                self.faults.append((at, f"the tag {_tag(event.tag)} is not allowed; remove it"))
            if event.anchor is not None:
                self.anchors[event.anchor] = Node(key, at)
            node = self.node(next(self.events), depth + 1)
            size += node.size
            if key == "<<" and event.implicit[0]:
                self.faults.append((at, "the merge key << is not allowed; write the keys out"))
            elif key in content:
                line = content[key][0][0]
                self.faults.append(
                    (at, f"{key} stands here again (first in line {line}); keep one of them")
                )
            else:
                content[key] = (at, node)
        return Node(content, mark, size)


class _StopError(Exception):
    """A fault after which the text is not read on."""

    def __init__(self, mark: Mark, message: str) -> None:
        super().__init__(message)
        self.mark = mark


def _mark(event: Any) -> Mark:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def parse(text: str, file: str, tags: Collection[str] = ()) -> tuple[Any, Places, list[Fault]]:
    """The plain value of one YAML document: dicts, tuples and scalars; places; faults found.

    ``tags`` may stand before a value, and are read past: nothing is built of them.

    Raises:
        RecipeError: the text can't be read to its end; names the place.
    """
    events = yaml.parse(text, Loader=LOADER)
    builder = _Builder(events, tags)
    try:
        next(events)  # start of the stream
        if isinstance(next(events), yaml.StreamEndEvent):
            raise _StopError((1, 1), "the recipe is empty; `ftune init` writes one to start from")
        root = builder.node(next(events), 1)
        next(events)  # end of the document
        if not isinstance(event := next(events), yaml.StreamEndEvent):
            raise _StopError(
                _mark(event), "a second document begins; a recipe is one, remove the ---"
            )
    except _StopError as stop:
        lines = [(m, w) for m, w in builder.faults if m < stop.mark] + [(stop.mark, str(stop))]
        raise RecipeError(*(f"{file}:{m[0]}:{m[1]}: {what}" for m, what in lines)) from None
    except yaml.YAMLError as error:
        raise RecipeError(syntax_problem(error, text, file)) from None
    places = Places(file)
    return _plain(root, (), places), places, builder.faults


def _plain(node: Node, path: KeyPath, places: Places) -> Any:
    """The node's plain value; notes the places of all that is in it."""
    places.values[path] = node.mark
    if isinstance(node.content, list):
        return tuple(_plain(n, (*path, i), places) for i, n in enumerate(node.content))
    if isinstance(node.content, dict):
        for key, (mark, _) in node.content.items():
            places.keys[(*path, key)] = mark
        return {k: _plain(n, (*path, k), places) for k, (_, n) in node.content.items()}
    return node.content
