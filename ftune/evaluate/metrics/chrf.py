"""chrF and chrF++ of the whole set: overlap of characters, for any language (sacrebleu).

Popović (2015), "chrF: character n-gram F-score for automatic MT evaluation".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ftune.evaluate.references import need_references
from ftune.evaluate.rowwise import corpus
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "text"


class Config(Section):
    """What counts beside character 6-grams."""

    word_order: Literal[0, 2] = 0
    """0 for chrF, and 2 for chrF++, which counts words and pairs of words too."""
    lowercase: bool = False
    """Compare without regard to upper and lower case."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """chrF from 0 to 100, with sacrebleu's signature.

    Raises:
        DataError: there are no predictions, or a row has no reference.
    """
    from sacrebleu.metrics.chrf import CHRF

    need_references(predictions, "chrf")
    scorer = CHRF(word_order=config.word_order, lowercase=config.lowercase)
    value, rows = corpus(scorer, predictions)
    name = "chrf++" if config.word_order else "chrf"
    return [Metric(name, value, "", str(scorer.get_signature()), rows=rows)]
