"""Precision, recall and F1 of entities: whole runs of words of one kind (CoNLL).

Tags are B-kind, I-kind and O, and E- and S- (or L- and U-) for an entity's last word and for its
only one; an I- that follows another kind begins an entity, as in CoNLL's script and in seqeval's
default mode, whose micro averages these figures are. A mark alone (B, I, O) is of the only kind
there is; other tags without a mark are kinds themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from ftune import __version__
from ftune.errors import DataError
from ftune.evaluate.references import need_references
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction, Rows

NEEDS = "text"
OBJECTIVES = ("token_classification",)
OUTSIDE = "O"
ONLY = ""  # the kind of entities where tags name none
FIRST, LAST = frozenset("BSU"), frozenset("ESLU")  # marks of an entity's first and last word
MARKS = FIRST | LAST | {"I"}

Entity = tuple[str, int, int]  # kind, first word, last word


class Config(Section):
    """It has no options."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:  # noqa: ARG001
    """Entities' precision, recall and F1 in percent, and the percent of words with the right tag.

    Raises:
        DataError: there are no predictions, or one has another number of tags than its reference.
    """
    need_references(predictions, "seqeval")
    counts: list[tuple[int, int, int]] = []
    words: list[tuple[int, int]] = []
    for prediction in predictions:
        said, right = prediction.text.split(), prediction.references[0].split()
        if len(said) != len(right):
            raise DataError(
                f"{prediction.source}:{prediction.row}: {len(said)} tags were said of "
                f"{len(right)} words"
            )
        found, true = entities(said), entities(right)
        counts.append((len(found & true), len(found), len(true)))
        words.append((sum(a == b for a, b in zip(said, right, strict=True)), len(right)))
    signature = f"scheme:IOB|average:micro|rows:{len(predictions)}|version:ftune-{__version__}"
    sums = [sum(column) for column in zip(*counts, strict=True)]
    metrics = [
        Metric(f"entity_{name}", combine(sums), "%", signature, rows=Rows(counts, combine))
        for name, combine in (("precision", _precision), ("recall", _recall), ("f1", _f1))
    ]
    tags = [sum(column) for column in zip(*words, strict=True)]
    return [
        *metrics,
        Metric("tag_accuracy", _precision(tags), "%", signature, rows=Rows(words, _precision)),
    ]


def entities(tags: Sequence[str]) -> set[Entity]:
    """All runs of words that are one entity."""
    found: set[Entity] = set()
    before, ended, start = OUTSIDE, False, 0
    for at, tag in enumerate([*tags, OUTSIDE]):
        mark, kind = _read(tag)
        if kind != before or mark in FIRST or ended:
            if before != OUTSIDE:
                found.add((before, start, at - 1))
            start = at
        before, ended = kind, mark in LAST
    return found


def _read(tag: str) -> tuple[str, str]:
    """A tag's mark, and its kind; the mark is empty where it has none."""
    mark, _, kind = tag.partition("-")
    if tag == OUTSIDE:
        return "", OUTSIDE
    if mark not in MARKS:
        return "", kind or tag
    return mark, kind or ONLY


def _precision(sums: Sequence[float]) -> float:
    return 100 * sums[0] / sums[1] if sums[1] else 0.0


def _recall(sums: Sequence[float]) -> float:
    return 100 * sums[0] / sums[2] if sums[2] else 0.0


def _f1(sums: Sequence[float]) -> float:
    both = sums[1] + sums[2]
    return 200 * sums[0] / both if both else 0.0
