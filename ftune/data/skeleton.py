"""What a chat template writes around the words of a conversation of given roles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftune.data.sandbox import Rendered, Sandbox
from ftune.data.templating import Segment
from ftune.errors import DataError

PLACEHOLDER = "Zq7fWordsQz"  # a word that no template looks for, and none changes
LEFT, RIGHT = "\n ", " \n"  # white space that a template may strip


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Per message, what the template writes ``before`` its words, in parts.

    ``leads`` is the last part of ``before`` that the assistant writes itself; ``ends`` its end mark
    behind the words; ``tail`` closes the conversation. ``strips`` says whether white space is taken
    off the words on the left and on the right.
    """

    roles: tuple[str, ...]
    before: tuple[str, ...]
    leads: tuple[str, ...]
    ends: tuple[str, ...]
    tail: str
    strips: tuple[tuple[bool, bool], ...]
    end: str  # the end mark without white space round it; empty if there is none
    asks: bool  # a prompt is opened just as a trained answer is

    def marks(self) -> tuple[str, ...]:
        """The texts that are the template's and not the assistant's."""
        return (*self.before, *self.ends, self.tail)

    def segments(self, words: Sequence[str]) -> tuple[Segment, ...]:
        """The text with these words in it."""
        found = []
        for turn, (role, text) in enumerate(zip(self.roles, words, strict=True)):
            left, right = self.strips[turn]
            text = text.lstrip() if left else text
            text = text.rstrip() if right else text
            found += [
                Segment(self.before[turn], "markup", turn, role),
                Segment(self.leads[turn], "lead", turn, role),
                Segment(text, "content", turn, role),
                Segment(self.ends[turn], "end", turn, role),
            ]
        found.append(Segment(self.tail, "markup", len(words), self.roles[-1]))
        return tuple(segment for segment in found if segment.text)


def build(sandbox: Sandbox, roles: tuple[str, ...], tokens: Sequence[str]) -> Skeleton:
    """Finds out what the template writes; ``tokens`` are the vocabulary's added ones.

    Raises:
        DataError: the words don't stand in its text once each and in order, or the template marks
            generation and an assistant's turn lies outside.
    """
    words = [f"{PLACEHOLDER}{turn}x" for turn in range(len(roles))]
    done = _render(sandbox, roles, words)
    places = _places(done.text, words)
    gaps = _gaps(done.text, places)
    padded = [f"{LEFT}{word}{RIGHT}" for word in words]
    loose = _render(sandbox, roles, padded).text
    strips = _strips(gaps, _gaps(loose, _places(loose, words)))
    end = _end_mark(gaps[-1], tokens)
    before, leads, ends, asks = [], [], [], True
    cut = 0  # characters of the gap before that belong to the end mark of the turn before
    for turn, role in enumerate(roles):
        gap, after = gaps[turn][cut:], gaps[turn + 1]
        lead, cut = 0, 0
        if role == "assistant":
            start, stop = places[turn]
            own = _span(done, start, stop)
            lead, knows = _lead(sandbox, roles, words, turn, done, start)
            asks = asks and knows
            lead = min(lead, len(gap))
            cut = _end_length(after, end, last=turn == len(roles) - 1)
            cut = max(cut, own[1] - stop)
        before.append(gap[: len(gap) - lead])
        leads.append(gap[len(gap) - lead :])
        ends.append(after[:cut])
    tail = gaps[-1][cut:]
    return Skeleton(roles, tuple(before), tuple(leads), tuple(ends), tail, tuple(strips), end, asks)


def _render(sandbox: Sandbox, roles: Sequence[str], words: Sequence[str]) -> Rendered:
    pairs = zip(roles, words, strict=True)
    return sandbox.render([{"role": r, "content": w} for r, w in pairs], ask=False)


def _places(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Where the words stand."""
    places = [(text.find(word), text.find(word) + len(word)) for word in words]
    starts = [start for start, _ in places]
    if any(text.count(word) != 1 for word in words) or starts != sorted(starts):
        raise DataError(
            "the model's chat template doesn't write each message once and in order, so what the "
            "assistant says can't be told"
        )
    return places


def _gaps(text: str, places: Sequence[tuple[int, int]]) -> list[str]:
    """What stands before each of the words, and behind the last."""
    edges = [0, *(edge for place in places for edge in place), len(text)]
    return [text[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2)]


def _strips(gaps: Sequence[str], loose: Sequence[str]) -> list[tuple[bool, bool]]:
    """Whether white space round the words is missing from the gaps of the padded rendering."""
    words = len(gaps) - 1
    left, right = [False] * words, [False] * words
    for i, (gap, wide) in enumerate(zip(gaps, loose, strict=True)):
        choices = [(a, b) for a in (RIGHT, "") for b in (LEFT, "")]
        fits = [
            (a, b) for a, b in choices if wide == (a if i else "") + gap + (b if i < words else "")
        ]
        if fits:
            before, behind = fits[0]
            if i:
                right[i - 1] = not before
            if i < words:
                left[i] = not behind
    return list(zip(left, right, strict=True))


def _end_mark(tail: str, tokens: Sequence[str]) -> str:
    """The end mark in what follows the last answer: its first token, or all the text it has."""
    found = [(tail.find(token), -len(token), token) for token in tokens if token in tail]
    return min(found)[2] if found else tail.strip()


def _end_length(gap: str, end: str, last: bool) -> int:
    """How many characters of the gap behind an answer are its end mark, white space included."""
    at = gap.find(end) if end else -1
    if at < 0 or (gap[:at].strip() and not last):
        return 0
    return at + len(end)


def _lead(
    sandbox: Sandbox,
    roles: Sequence[str],
    words: Sequence[str],
    turn: int,
    done: Rendered,
    start: int,
) -> tuple[int, bool]:
    """How many characters before its words an assistant writes itself, and whether that is sure.

    What the template writes when it asks for an answer is the prompt, and never trained, also where
    a generation block begins before its end. Where it opens answers otherwise than it asks for
    them, all that stands before the words counts as the prompt.
    """
    pairs = zip(roles[:turn], words[:turn], strict=True)
    try:
        asked = sandbox.render([{"role": r, "content": w} for r, w in pairs], ask=True).text
    except DataError:
        return 0, False
    if not done.text.startswith(asked) or len(asked) > start:
        return 0, False
    first = _span(done, start, start)[0] if done.spans else 0
    return start - max(len(asked), first), True


def _span(done: Rendered, start: int, stop: int) -> tuple[int, int]:
    """The generation blocks, one behind the other, that hold these characters.

    Just these characters where the template has no such blocks.
    """
    if not done.spans:
        return start, stop
    joined: list[tuple[int, int]] = []
    for first, last in done.spans:
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    for first, last in joined:
        if first <= start and stop <= last:
            return first, last
    raise DataError(
        "the model's chat template has generation blocks, and an answer stands outside of them"
    )
