"""Names of dots in a picture: inside it, beside their dots, and none on another."""

from __future__ import annotations

import random

from ftune.report.naming import Frame, Name, names, short

FRAME = Frame(width=400, height=220, letter=6.4, line=13)


def box(name: Name) -> tuple[float, float, float, float]:
    long = len(name.text) * FRAME.letter
    left = name.x - long if name.end else name.x
    return left, name.y - 0.8 * FRAME.line, left + long, name.y + 0.2 * FRAME.line


def test_no_name_covers_another_or_leaves_the_picture() -> None:
    draw = random.Random(1)
    dots = [
        (f"sweep,r={n},learning_rate=0.{n}/001", draw.uniform(10, 390), draw.uniform(10, 210))
        for n in range(12)
    ]
    boxes = [box(name) for name in names(dots, FRAME) if name is not None]
    assert len(boxes) >= 8
    for at, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and top >= 0 and right <= FRAME.width and bottom <= FRAME.height
        for other in boxes[:at]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart


def test_a_dot_at_the_right_has_its_name_at_the_left() -> None:
    [left], [right] = (names([("a long name of a run", x, 100)], FRAME) for x in (20.0, 380.0))
    assert left is not None and not left.end and left.x > 20
    assert right is not None and right.end and right.x < 380


def test_the_same_place_is_no_reason_to_write_over_each_other() -> None:
    found = names([(f"run/{n:03d}", 200.0, 100.0) for n in range(30)], FRAME)
    there = [name for name in found if name is not None]
    assert found[0] is not None and 4 <= len({(n.y, n.end) for n in there}) == len(there)


def test_a_long_name_keeps_both_ends() -> None:
    assert short("a" * 34) == "a" * 34
    cut = short("begin" + "x" * 60 + "end")
    assert len(cut) <= 34 and cut.startswith("begin") and cut.endswith("end")
