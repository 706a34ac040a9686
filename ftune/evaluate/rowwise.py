"""Figures as sums over rows: what an interval and a test are computed from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ftune.evaluate.references import ragged
from ftune.types import Prediction, Rows


def mean(values: Iterable[float], scale: float = 1.0) -> Rows:
    """The rows of a plain mean, times ``scale``."""
    return Rows([(float(value), 1.0) for value in values], lambda sums: scale * sums[0] / sums[1])


def ratio(tops: Iterable[float], bottoms: Iterable[float], scale: float = 1.0) -> Rows:
    """The rows of one sum over another, times ``scale``."""
    pairs = [(float(top), float(bottom)) for top, bottom in zip(tops, bottoms, strict=True)]
    return Rows(pairs, lambda sums: scale * sums[0] / sums[1])


def corpus(scorer: Any, predictions: Sequence[Prediction]) -> tuple[float, Rows]:
    """The corpus score of a metric of sacrebleu, and the counts of each row that it is made of.

    These are the statistics and the formula of sacrebleu's own tests (``sacrebleu.significance``).
    """
    texts, references = [p.text for p in predictions], ragged(predictions)
    values = scorer._extract_corpus_statistics(texts, references)
    rows = Rows(values, lambda sums: float(scorer._compute_score_from_stats(list(sums)).score))
    return rows.combine([sum(column) for column in zip(*values, strict=True)]), rows
