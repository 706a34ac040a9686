"""What is done with an example that has more tokens than ``data.max_length``.

* "error" stops; "drop" drops it (reason "too long").
* "truncate" cuts the end off. Where the whole answer would go, the example is dropped instead.
* "truncate_prompt" never touches the system message, the markup and the last answer. The oldest
  exchanges (a user's turn and all up to the next one) go first, whole, while another user's turn
  remains; then that turn's words are cut from the left. Where that is not enough, the example is
  dropped (reason "answer too long").

Demonstrations before a question (``few_shot``) go before all else under both: whole, the first one
first, as long as there is one; see ``render``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ftune.data.encoding import Encoder
from ftune.data.layout import Part
from ftune.data.rules import Dropped, Rules
from ftune.data.templating import Segment
from ftune.errors import DataError
from ftune.types import Message


def shortened(
    plan: Sequence[Part],
    length: int,
    encoder: Encoder,
    rules: Rules,
    shots: int = 0,
    asking: bool = False,
) -> list[Part] | Dropped:
    """The parts with at most ``rules.max_length`` ids, or why that can't be.

    A prompt without its answer (``asking``) has no end to cut off: its left is cut instead.
    ``shots`` is how many demonstrations are in it.

    Raises:
        DataError: the rules say that nothing may be too long.
    """
    if rules.on_too_long == "error":
        what = "the prompt" if asking else "the row"
        what += f" with {shots} demonstrations (few_shot)" if shots else ""
        raise DataError(
            f"{what} has {length} tokens, and data.max_length is {rules.max_length}; raise it, or "
            "set data.on_too_long: truncate_prompt, truncate or drop"
        )
    if rules.on_too_long == "drop":
        return Dropped("too long")
    if rules.on_too_long == "truncate" and not asking:
        return _head(plan, rules.max_length)
    return _without_left(plan, length - rules.max_length, encoder)


def fewer(messages: Sequence[Message]) -> tuple[Message, ...] | None:
    """The messages without their first demonstration; None where there is none left."""
    for at, message in enumerate(messages):
        if len(message.cuts) > 1:
            start, end, *rest = message.cuts
            content = message.content[:start] + message.content[end:]
            cuts = (start, *(cut - (end - start) for cut in rest))
            less = replace(message, content=content, cuts=cuts)
            return (*messages[:at], less, *messages[at + 1 :])
    starts = [i for i, m in enumerate(messages) if m.shown and m.role == "user"]
    if not starts:
        return None
    behind = max(i for i, m in enumerate(messages) if m.shown) + 1
    end = starts[1] if len(starts) > 1 else behind
    return (*messages[: starts[0]], *messages[end:])


def _head(plan: Sequence[Part], room: int) -> list[Part]:
    kept = []
    for part in plan:
        kept.append(replace(part, ids=part.ids[:room]))
        room -= len(kept[-1].ids)
    return [part for part in kept if part.ids]


def _without_left(plan: Sequence[Part], excess: int, encoder: Encoder) -> list[Part] | Dropped:
    """The plan without ``excess`` tokens or a few more, taken from the prompt's left."""
    owners = [owner for part in plan for owner in _owners(part, encoder)]
    words = [
        i for i, (segment, _) in enumerate(owners)
        if segment is not None and segment.kind == "content" and segment.role == "user"
    ]  # fmt: skip
    turns = sorted({_turn(owners[i][0]) for i in words})
    starts = {turn: next(i for i in words if _turn(owners[i][0]) == turn) for turn in turns}
    gone: set[int] = set()
    while len(gone) < excess and len(turns) > 1:
        gone |= set(range(starts[turns[0]], starts[turns[1]]))
        turns = turns[1:]
    left = [i for i in words if turns and _turn(owners[i][0]) == turns[0]]
    while len(gone) < excess and left:
        gone.add(left.pop(0))
        while left and not owners[left[0]][1]:  # the rest of a character that was cut
            gone.add(left.pop(0))
    if len(gone) < excess:
        return Dropped("answer too long")
    return _without(plan, gone)


def _turn(segment: Segment | None) -> int:
    return -1 if segment is None else segment.turn


def _owners(part: Part, encoder: Encoder) -> list[tuple[Segment | None, bool]]:
    """The segment that each token of the part belongs to, and whether it begins a character."""
    if part.run is None:
        segment = part.pieces[0][0] if part.pieces else None
        return [(segment, True)] * len(part.ids)
    owners: list[tuple[Segment | None, bool]] = []
    before = 0
    for start, end in encoder.offsets(part.run):
        here = next((s for s, first, last in part.pieces if first <= start < last), None)
        owners.append((here or part.pieces[-1][0], start >= before))
        before = max(before, end)
    return owners


def _without(plan: Sequence[Part], gone: set[int]) -> list[Part]:
    kept = []
    at = 0
    for part in plan:
        ids = [token for i, token in enumerate(part.ids, at) if i not in gone]
        at += len(part.ids)
        kept.append(replace(part, ids=ids))
    return [part for part in kept if part.ids]
