"""The ledger as a flow: from the rows that were read to the tokens that are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftune.report.html.pieces import words
from ftune.report.numbers import value
from ftune.report.tolerant import items, mapping, number, text

WIDTH, HEIGHT, NODE, SLOT = 900, 220, 12, 38  # in the picture's own units
COLUMNS = (0, 330, 650)  # left edges: sources, what became of rows, what became of tokens
LONGEST = 34  # characters of a label
REASONS = {"bad": "bad rows", "not_drawn": "not drawn", "held_out": "held out"}


@dataclass(frozen=True, slots=True)
class Node:
    """A box of the picture; ``share`` of the whole height."""

    label: str
    count: str
    share: float
    kind: str  # its colour


def flow(figures: Mapping[str, Any], part: str = "train") -> str:
    """An SVG of the format stage's figures; empty where nothing was counted."""
    sources = [mapping(one) for one in items(mapping(figures.get("ledger")).get(part))]
    read = sum(_count(one, "read") for one in sources)
    if not read:
        return ""
    outcomes = [_outcomes(one) for one in sources]
    names = list(dict.fromkeys(name for one in outcomes for name in one))
    shares = [[one.get(name, 0) / read for name in names] for one in outcomes]
    left = [
        Node(_short(one.get("source")), _rows(_count(one, "read")), sum(row), "in")
        for one, row in zip(sources, shares, strict=True)
    ]
    middle = [
        Node(_short(name), _rows(share * read), share, "used" if name == "used" else "off")
        for name, share in zip(names, map(sum, zip(*shares, strict=True)), strict=True)
    ]
    tokens, trained = (sum(_count(one, key) for one in sources) for key in ("tokens", "trained"))
    right = []
    if tokens:
        share = middle[0].share
        part_trained = min(1.0, trained / tokens)
        right = [
            Node("trained", _tokens(trained, tokens), share * part_trained, "trained"),
            Node("masked", _tokens(tokens - trained, tokens), share * (1 - part_trained), "off"),
        ]
    return _drawn(left, middle, right, shares)


def _outcomes(one: Mapping[str, Any]) -> dict[str, float]:
    """What became of a source's rows; "used" is always there, and first."""
    found = {"used": _count(one, "used")}
    found |= {name: _count(one, key) for key, name in REASONS.items() if _count(one, key)}
    for reason, count in mapping(one.get("dropped")).items():
        found[f"dropped: {text(reason)}"] = max(0, number(count) or 0)
    return found


def _drawn(
    left: list[Node], middle: list[Node], right: list[Node], shares: list[list[float]]
) -> str:
    columns = [_places(left), _places(middle), _places(right)]
    height = max(bottom for _, bottom in columns)
    lines = _links(columns[0][0], columns[1][0], middle, shares)
    if right:
        start = columns[1][0][0][0]
        for (to, size), node in zip(columns[2][0], right, strict=True):
            lines.append(_ribbon(COLUMNS[1] + NODE, start, COLUMNS[2], to, size, node.kind))
            start += size
    boxes = [
        _box(x, top, size, node)
        for x, (places, _), nodes in zip(COLUMNS, columns, (left, middle, right), strict=True)
        for (top, size), node in zip(places, nodes, strict=True)
    ]
    said = ", ".join(f"{node.label} {node.count}" for node in (*left, *middle, *right))
    return (
        f'<div class="wide"><svg class="flow" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{words(said)}">{"".join(lines)}{"".join(boxes)}</svg></div>'
    )


def _places(nodes: list[Node]) -> tuple[list[tuple[float, float]], float]:
    """The top and the height of each box, one below the other, and where the last slot ends."""
    places, top = [], 4.0
    for node in nodes:
        size = max(1.5, node.share * HEIGHT)
        places.append((top, size))
        top += max(size + 8, SLOT)
    return places, top


def _links(
    left: list[tuple[float, float]],
    right: list[tuple[float, float]],
    middle: list[Node],
    shares: list[list[float]],
) -> list[str]:
    """Ribbons from every source to what became of its rows."""
    lines, filled = [], [top for top, _ in right]
    for (start, _), row in zip(left, shares, strict=True):
        for i, (node, share) in enumerate(zip(middle, row, strict=True)):
            size = share * HEIGHT
            lines.append(_ribbon(COLUMNS[0] + NODE, start, COLUMNS[1], filled[i], size, node.kind))
            start += size
            filled[i] += size
    return lines


def _ribbon(x: float, top: float, to: float, end: float, size: float, kind: str) -> str:
    half = (x + to) / 2
    return (
        f'<path class="ribbon {kind}" d="M{x:.1f} {top:.1f}C{half:.1f} {top:.1f} {half:.1f} '
        f"{end:.1f} {to:.1f} {end:.1f}V{end + size:.1f}C{half:.1f} {end + size:.1f} {half:.1f} "
        f'{top + size:.1f} {x:.1f} {top + size:.1f}Z"/>'
    )


def _box(x: float, top: float, size: float, node: Node) -> str:
    at = x + NODE + 8
    return (
        f'<rect class="box {node.kind}" x="{x}" y="{top:.1f}" width="{NODE}" height="{size:.1f}" '
        f'rx="2"/><text x="{at}" y="{top + 13:.1f}">{words(node.label)}</text>'
        f'<text class="quiet" x="{at}" y="{top + 28:.1f}">{words(node.count)}</text>'
    )


def _count(one: Mapping[str, Any], key: str) -> float:
    return max(0, number(one.get(key)) or 0)


def _rows(count: float) -> str:
    return f"{value(round(count))} rows"


def _tokens(count: float, whole: float) -> str:
    return f"{value(count)} tokens ({100 * count / whole:.1f}%)"


def _short(given: Any) -> str:
    name = text(given)
    return name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]
