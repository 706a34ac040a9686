"""Where the names of dots stand in a picture, so that none covers another or leaves the frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ASIDE, ROUND = 9.0, 6.0  # from a dot's middle to its name, and how much room a dot takes
LONGEST = 34  # characters of a name; the middle of a longer one is left out


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture's inside: it goes from 0 to ``width`` and, downward, to ``height``; ``letter`` and
    ``line`` are how wide a letter is in the mean, and how high a line of text."""

    width: float
    height: float
    letter: float
    line: float


@dataclass(frozen=True, slots=True)
class Name:
    """A name, where its baseline begins or (``end``) ends."""

    text: str
    x: float
    y: float
    end: bool


Box = tuple[float, float, float, float]  # left, top, right, bottom


def names(dots: Sequence[tuple[str, float, float]], frame: Frame) -> list[Name | None]:
    """The place of the name of each dot (name, x, y); None where there is room for none.

    The first dots choose first: beside the dot, right or left, else a line higher or lower.
    """
    taken: list[Box] = [(x - ROUND, y - ROUND, x + ROUND, y + ROUND) for _, x, y in dots]
    found: list[Name | None] = []
    for at, (text, x, y) in enumerate(dots):
        others = [box for i, box in enumerate(taken) if i != at]
        free = (
            (name, box)
            for name, box in _tried(short(text), x, y, frame)
            if box[0] >= 0 and box[1] >= 0 and box[2] <= frame.width and box[3] <= frame.height
            and not any(_meet(box, other) for other in others)
        )  # fmt: skip
        name, box = next(free, (None, None))
        found.append(name)
        if box is not None:
            taken.append(box)
    return found


def short(text: str) -> str:
    """A name that is not too long; its beginning and its end tell runs apart."""
    if len(text) <= LONGEST:
        return text
    half = (LONGEST - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def _tried(text: str, x: float, y: float, frame: Frame) -> Iterator[tuple[Name, Box]]:
    long = len(text) * frame.letter
    for down in (-0.4, 1.1, 0.3, -1.3, 1.9):  # above a line that leads on from the dot
        base = y + down * frame.line
        for end in (False, True):
            left = x - ASIDE - long if end else x + ASIDE
            box = (left, base - 0.8 * frame.line, left + long, base + 0.2 * frame.line)
            yield Name(text, x - ASIDE if end else x + ASIDE, base, end), box


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
