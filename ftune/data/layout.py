"""Segments -> parts to encode: single special tokens, and runs of text between them.

A run goes on from markup into people's words and back, so that its ids are what the tokenizer
makes of the whole text; it ends at a special token and where trained text begins or ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ftune.data.encoding import Encoder, Run
from ftune.data.templating import Segment


@dataclass(slots=True)
class Part:
    """A run, or one token where ``run`` is None; ``ids`` of a run are filled in later.

    ``pieces`` are the segments in a run, each with the characters of the run that it has.
    """

    run: Run | None
    ids: list[int]
    spoken: bool
    turn: int
    pieces: list[tuple[Segment, int, int]] = field(default_factory=list)
    trained: bool = False


@dataclass(slots=True)
class _Open:
    """The run that is being put together."""

    prefix: bool
    text: str = ""
    pieces: list[tuple[Segment, int, int]] = field(default_factory=list)
    strip: bool = False  # the token before it drops white space


def lay_out(segments: Sequence[Segment], encoder: Encoder, bos: bool) -> list[Part]:
    """The parts of a text, with what the tokenizer puts before it unless the text spells that."""
    parts: list[Part] = []
    run = _Open(prefix=True)
    before: Segment | None = None
    for segment in segments:
        if before is not None and _breaks(before, segment):
            run = _close(run, parts)
        before = segment
        if segment.kind == "content":
            _extend(run, segment, segment.text)
            continue
        for piece in encoder.pieces(segment.text):
            if isinstance(piece, str):
                _extend(run, segment, piece)
                continue
            _close(run, parts)
            parts.append(Part(None, [piece], segment.spoken, segment.turn, [(segment, 0, 0)]))
            run = _Open(encoder.prefix_after_mark, strip=encoder.swallows(piece))
    _close(run, parts)
    opening = list(encoder.opening) if bos else []
    if opening and not (parts and parts[0].run is None and parts[0].ids == opening[:1]):
        parts.insert(0, Part(None, opening, spoken=False, turn=-1))
    return parts


def _breaks(before: Segment, segment: Segment) -> bool:
    """Whether trained text may begin or end between the two."""
    if before.spoken != segment.spoken:
        return True
    return segment.spoken and before.turn != segment.turn


def _extend(run: _Open, segment: Segment, text: str) -> None:
    if run.strip and not run.text:
        text = text.lstrip()
    start = len(run.text)
    run.text += text
    run.pieces.append((segment, start, len(run.text)))


def _close(run: _Open, parts: list[Part]) -> _Open:
    """Adds the run to the parts; the next one stands in the middle of the text."""
    if not run.text:
        return _Open(run.prefix, strip=run.strip)
    segment = run.pieces[-1][0]
    parts.append(Part(Run(run.text, run.prefix), [], segment.spoken, segment.turn, run.pieces))
    return _Open(prefix=False)
