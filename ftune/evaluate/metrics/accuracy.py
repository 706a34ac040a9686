"""Accuracy of labels: the share of answers that begin with the right label.

Unlike exact_match, which wants the whole answer to equal the reference, text behind the label does
not count: "positive, because ..." names the label "positive". What an answer names is the longest
of all labels it begins with, up to the end of a word: "not entailed" is not "not". A row that says
which answers there are (those of a prompt template) is asked for these alone.

Where a model has a head that says labels, these are compared as they are; of several labels a row
all have to be right.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ftune import __version__
from ftune.evaluate import exactly
from ftune.evaluate.normalizing import Normalization, extract, normalize
from ftune.evaluate.references import need_references
from ftune.evaluate.rowwise import mean
from ftune.types import Metric, Prediction

NEEDS = "text"
NOT_FOR = {
    "token_classification": "seqeval",
    "regression": "correlation",
    "question_answering": "squad",
}


class Config(Normalization):
    """How an answer's label is found."""

    ignore_case: bool = True
    """Compare without regard to upper and lower case."""
    labels: tuple[str, ...] = Field(default=())
    """All labels there are; empty: those that occur as references. Rows with choices of their own
    have these instead."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """Percent of rows with the right label, and percent of rows whose answer names no label.

    The second is left out where a head says labels: it always says one.

    An answer without a label counts as wrong. Without surplus text and unknown answers the first
    figure equals scikit-learn's ``accuracy_score``.

    Raises:
        DataError: there are no predictions, or a row has no reference.
    """
    need_references(predictions, "accuracy")
    if (found := exactly.pairs(predictions)) is not None:
        return [_of_labels(found)]
    rights = [{_plain(r, config) for r in p.references} for p in predictions]
    labels = {normalize(label, config) for label in config.labels}.union(*rights) - {""}
    ordered = sorted(labels, key=_longest)
    own = [sorted({_plain(c, config) for c in p.choices} - {""}, key=_longest) for p in predictions]
    named = [
        named_label(_plain(p.text, config), choices or ordered)
        for p, choices in zip(predictions, own, strict=True)
    ]
    hits = [label in right for label, right in zip(named, rights, strict=True)]
    unnamed = [label is None for label in named]
    signature = (
        f"match:label-at-start|labels:{'row' if any(own) else len(ordered)}|{config.described()}"
        f"|rows:{len(predictions)}|version:ftune-{__version__}"
    )
    percent = 100 / len(predictions)
    return [
        Metric("accuracy", sum(hits) * percent, "%", signature, rows=mean(hits, 100)),
        Metric(
            "accuracy_no_label", sum(unnamed) * percent, "%", signature, False, mean(unnamed, 100)
        ),
    ]


def _of_labels(found: Sequence[exactly.Pair]) -> Metric:
    """The share of rows with the right labels: scikit-learn's ``accuracy_score``."""
    hits = [pair.said == pair.right for pair in found]
    signature = f"match:labels|rows:{len(found)}|version:ftune-{__version__}"
    return Metric("accuracy", 100 * sum(hits) / len(hits), "%", signature, rows=mean(hits, 100))


def named_label(answer: str, labels: Sequence[str]) -> str | None:
    """The first of ``labels`` (longest first) that ``answer`` begins with, at a word's end."""
    for label in labels:
        behind = answer[len(label) : len(label) + 1]
        if answer.startswith(label) and not (behind.isalnum() or behind == "_"):
            return label
    return None


def _longest(label: str) -> tuple[int, str]:
    return -len(label), label


def _plain(text: str, config: Config) -> str:
    return normalize(extract(text, config) or "", config)
