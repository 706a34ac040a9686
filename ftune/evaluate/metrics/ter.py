"""TER of the whole set: edits and shifts of words that lead to a reference (sacrebleu).

Snover et al. (2006), "A Study of Translation Edit Rate with Targeted Human Annotation".
"""

from __future__ import annotations

from collections.abc import Sequence

from ftune.evaluate.references import need_references
from ftune.evaluate.rowwise import corpus
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "text"


class Config(Section):
    """What is made of words before they are compared."""

    normalized: bool = False
    """Set punctuation apart from words, as Tercom does."""
    no_punct: bool = False
    """Leave out punctuation."""
    case_sensitive: bool = False
    """Tell upper and lower case apart."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """Edits for each 100 words of reference, with sacrebleu's signature; 0 is best.

    Raises:
        DataError: there are no predictions, or a row has no reference.
    """
    from sacrebleu.metrics.ter import TER

    need_references(predictions, "ter")
    scorer = TER(
        normalized=config.normalized,
        no_punct=config.no_punct,
        case_sensitive=config.case_sensitive,
    )
    value, rows = corpus(scorer, predictions)
    return [Metric("ter", value, "", str(scorer.get_signature()), False, rows)]
