"""ROUGE-1, -2, -L and -Lsum: overlap of words with the reference, as F1 in percent (rouge-score).

Of several references the best counts, for each row and each kind by itself. Lines are the sentences
of ROUGE-Lsum. Lin (2004), "ROUGE: A Package for Automatic Evaluation of Summaries".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from ftune.errors import DataError
from ftune.evaluate.references import need_references
from ftune.evaluate.rowwise import mean
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "text"


class Config(Section):
    """Which kinds, and with which words."""

    types: Annotated[
        tuple[Literal["rouge1", "rouge2", "rougeL", "rougeLsum"], ...], Field(min_length=1)
    ] = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    """Which kinds of ROUGE."""
    use_stemmer: bool = False
    """Take words by their stem (Porter, English)."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """One figure a kind: the mean F1 over rows, in percent.

    Raises:
        DataError: there are no predictions, a row has no reference, or no reference has a word
            that ROUGE counts (Latin letters without accents, and digits).
    """
    from importlib.metadata import version

    from rouge_score.rouge_scorer import RougeScorer

    need_references(predictions, "rouge")
    if not any(c.isascii() and c.isalnum() for p in predictions for r in p.references for c in r):
        raise DataError(
            "data.test: ROUGE counts only words of a-z and 0-9, and no reference has one; "
            "use chrf, or bleu with a tokenizer for this script"
        )
    scorer = RougeScorer(list(config.types), use_stemmer=config.use_stemmer)
    best = [scorer.score_multi(p.references, p.text) for p in predictions]
    found = {kind: [float(one[kind].fmeasure) for one in best] for kind in config.types}
    stemmer = "porter" if config.use_stemmer else "no"
    signature = f"refs:best|f1:mean|stemmer:{stemmer}|tok:default|version:{version('rouge-score')}"
    signature += "|library:rouge-score"
    return [
        Metric(kind, 100 * sum(each) / len(each), "%", signature, rows=mean(each, 100))
        for kind, each in found.items()
    ]
