"""Precision, recall and F1 of entities: whole runs of words of one kind (CoNLL).

Tags are B-kind, I-kind and O; an I- that follows another kind begins an entity, as in CoNLL's
script and in seqeval's default mode, whose micro averages these figures are. Tags without B- and I-
are kinds themselves.
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
    kind, start = OUTSIDE, 0
    for at, tag in enumerate([*tags, OUTSIDE]):
        mark, _, name = tag.partition("-")
        now = OUTSIDE if tag == OUTSIDE else (name or tag)
        if now != kind or mark == "B":
            if kind != OUTSIDE:
                found.add((kind, start, at - 1))
            kind, start = now, at
    return found


def _precision(sums: Sequence[float]) -> float:
    return 100 * sums[0] / sums[1] if sums[1] else 0.0


def _recall(sums: Sequence[float]) -> float:
    return 100 * sums[0] / sums[2] if sums[2] else 0.0


def _f1(sums: Sequence[float]) -> float:
    both = sums[1] + sums[2]
    return 200 * sums[0] / both if both else 0.0
