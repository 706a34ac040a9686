"""Guesses from its rows what kind of task a user's file is for: labels, tags, choices, answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ftune.errors import DataError
from ftune.registry import FORMATS

# What people call columns, in the order in which they are tried; the lower case of a name counts.
LABELS = ("label", "labels", "sentiment", "class", "category", "intent", "emotion", "topic",
          "gold_label", "quality", "score", "similarity", "similarity_score", "stars", "rating",
          "target", "tag", "genres")  # fmt: skip
PAIRS = (("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"),
         ("#1 string", "#2 string"), ("text_a", "text_b"), ("text1", "text2"),
         ("question", "sentence"))  # fmt: skip
TEXTS = ("text", "sentence", "content", "review", "review_body", "body", "tweet", "utterance",
         "comment", "document", "title")  # fmt: skip
CHOICES = ("choices", "endings", "options")
SPLIT_CHOICES = ("ending", "choice", "option", "answer")  # with a number or a letter behind
BEFORE = ("context", "sent1", "ctx", "question", "premise", "prompt", "startphrase")
RIGHT = ("label", "answer", "gold", "target", "correct")
WORDS, TAGS = ("tokens", "words"), ("tags", "ner_tags", "ner", "labels", "pos_tags", "pos")
MOST_LABELS = 100
MOST_TAGS = 200
SHORT = 40  # characters of a label
SEEN_TWICE = 3  # times a label is seen on average, so that it is no text of its own


@dataclass(frozen=True)
class TaskGuess:
    """A task, the format of its rows with the columns, and by what it was known."""

    objective: str
    format: str
    columns: Mapping[str, Any]
    good: int
    seen: int
    longest: int  # characters of the longest row
    why: str
    options: Mapping[str, Any] = field(default_factory=dict)  # of the objective


def guesses(values: Sequence[Mapping[str, Any]]) -> Iterator[TaskGuess]:
    """What the rows may be for, the surest first; nothing where they speak of no task."""
    names: dict[str, str] = {}
    for value in values[:20]:
        for name in value:
            names.setdefault(name.lower().lstrip("\ufeff"), name)
    for finds in (_squad, _choices, _tagged, _labelled):
        for one in finds(names, values):
            tried = _tried(one, values)
            if 2 * tried.good > tried.seen:
                yield tried


def _tried(one: TaskGuess, values: Sequence[Mapping[str, Any]]) -> TaskGuess:
    module = FORMATS.load(one.format)
    config = module.Config(**one.columns)
    good = longest = 0
    for value in values:
        try:
            example = module.example(value, config)
        except DataError:
            continue
        good += 1
        between = 1 if one.format == "tagged" else 0
        longest = max(longest, sum(len(text) + between for text in example.texts))
    columns = {k: v for k, v in one.columns.items() if v != getattr(module.Config(), k)}
    return TaskGuess(
        one.objective, one.format, columns, good, len(values), longest, one.why, one.options
    )


def _guess(objective: str, form: str, columns: Mapping[str, Any], why: str) -> TaskGuess:
    return TaskGuess(objective, form, columns, 0, 0, 0, why)


def _squad(names: Mapping[str, str], values: Sequence[Mapping[str, Any]]) -> Iterator[TaskGuess]:
    wanted = [names.get(n) for n in ("question", "context", "answers")]
    if None in wanted:
        return
    column = str(wanted[2])
    found = next((v[column] for v in values if v.get(column)), None)
    first = found[0] if isinstance(found, list | tuple) and found else found
    if isinstance(first, Mapping) and "answer_start" in first:
        columns = dict(zip(("question", "context", "answers"), map(str, wanted), strict=True))
        why = f"{column!r} says where in {wanted[1]!r} each answer begins"
        yield _guess("question_answering", "squad", columns, why)


def _choices(names: Mapping[str, str], values: Sequence[Mapping[str, Any]]) -> Iterator[TaskGuess]:
    before = next((names[n] for n in BEFORE if n in names), None)
    right = next((names[n] for n in RIGHT if n in names), None)
    listed = next((names[n] for n in CHOICES if n in names), None)
    several: Any = listed if listed and isinstance(values[0].get(listed), list | tuple) else None
    said = f"{several!r} is a list"
    if several is None:
        for start in SPLIT_CHOICES:
            parts = sorted(n for n in names if n.startswith(start) and len(n) == len(start) + 1)
            if len(parts) > 1 and all(ord(b[-1]) - ord(a[-1]) == 1 for a, b in pairwise(parts)):
                several = tuple(names[n] for n in parts)
                said = f"{several[0]!r} to {several[-1]!r} stand side by side"
                break
    if several is None or before is None or right is None:
        return
    columns = {"context": before, "choices": several, "label": right}
    if before.lower() == "sent1" and "sent2" in names:
        columns["start"] = names["sent2"]
    yield _guess("multiple_choice", "choices", columns, f"{said}, and {right!r} names one of them")


def _tagged(names: Mapping[str, str], values: Sequence[Mapping[str, Any]]) -> Iterator[TaskGuess]:
    words = next((names[n] for n in WORDS if n in names), None)
    if words is None:
        return
    for name in (names[n] for n in TAGS if n in names):
        pairs = [(v.get(words), v.get(name)) for v in values]
        if not all(isinstance(one, list | tuple) for pair in pairs for one in pair):
            continue
        alike = sum(len(a) == len(b) for a, b in pairs)  # type: ignore[arg-type]
        tags = {str(tag) for _, given in pairs for tag in given}  # type: ignore[union-attr]
        if 2 * alike > len(pairs) and 2 <= len(tags) <= MOST_TAGS:
            why = f"{name!r} has a tag for each word of {words!r}, {len(tags)} different ones"
            yield _guess("token_classification", "tagged", {"tokens": words, "tags": name}, why)


def _labelled(names: Mapping[str, str], values: Sequence[Mapping[str, Any]]) -> Iterator[TaskGuess]:
    for label in (names[n] for n in LABELS if n in names):
        told = list(_labels_of([v[label] for v in values if v.get(label) is not None]))
        texts = next(_texts(names, values, label), None)
        if not told or texts is None:
            continue
        columns = {"text": texts[0], "label": label}
        if len(texts) > 1:
            columns["text_pair"] = texts[1]
        for objective, why, options in told:
            why = f"{label!r} {why}"
            yield TaskGuess(objective, "labelled", columns, 0, 0, 0, why, options)
        return


def _texts(
    names: Mapping[str, str], values: Sequence[Mapping[str, Any]], label: str
) -> Iterator[tuple[str, ...]]:
    """The column, or the two, that a label may be of."""
    for pair in PAIRS:
        if all(name in names for name in pair):
            yield tuple(names[name] for name in pair)
    for name in TEXTS:
        if name in names and names[name] != label:
            yield (names[name],)
    other = [name for name in names.values() if name != label]
    spoken = [n for n in other if all(isinstance(v.get(n), str) and " " in v[n] for v in values)]
    if len(spoken) in (1, 2):
        yield tuple(spoken)


def _labels_of(found: Sequence[Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What the values of a column may be the labels of, and how that shows; the likelier first."""
    if not found:
        return
    if all(isinstance(one, list | tuple) for one in found):
        flat = [label for one in found for label in one]
        kinds = sorted({str(label) for label in flat})
        if _few(flat, kinds) and all(isinstance(label, str | int) for label in flat):
            why = f"is a list of labels: {_shown(kinds)} in {len(found):,} rows"
            yield "classification", why, {"multi_label": True}
        return
    if not all(isinstance(one, str | int | float) for one in found):
        return
    texts = [str(one).strip() for one in found]
    kinds = sorted(set(texts))
    if _few(texts, kinds):
        why = f"has {len(kinds)} values in {len(texts):,} rows: {_shown(kinds)}"
        told = [("classification", why, dict[str, Any]())]
    else:
        told = []
    numbers = [_number(one) for one in texts]
    whole = all(number is None or number.is_integer() for number in numbers)
    if None not in numbers and (len(kinds) > 2 or not whole):
        number = ("regression", f"is a number ({_shown(kinds)})", dict[str, Any]())
        told.insert(len(told) if whole else 0, number)
    yield from told


def _few(texts: Sequence[Any], kinds: Sequence[str]) -> bool:
    """Whether these are few short labels that come back again and again."""
    return (
        2 <= len(kinds) <= MOST_LABELS
        and len(texts) >= SEEN_TWICE * len(kinds)
        and all(0 < len(kind) <= SHORT for kind in kinds)
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _shown(kinds: Sequence[str]) -> str:
    return ", ".join(kinds[:5]) + (", ..." if len(kinds) > 5 else "")
