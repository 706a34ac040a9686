"""BLEU of the whole set: overlap of 1- to 4-grams with the references (sacrebleu).

Papineni et al. (2002), "BLEU: a Method for Automatic Evaluation of Machine Translation"; Post
(2018), "A Call for Clarity in Reporting BLEU Scores".
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
    """How words are told apart; published figures only compare where this is equal."""

    lowercase: bool = False
    """Compare without regard to upper and lower case."""
    tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    """How text is split into words: mteval-v13a, international, Chinese, characters, or blanks."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """BLEU from 0 to 100, with sacrebleu's signature; rows may differ in their references' number.

    Raises:
        DataError: there are no predictions, or a row has no reference.
    """
    from sacrebleu.metrics.bleu import BLEU

    need_references(predictions, "bleu")
    # force: text that looks tokenized is scored all the same, without a line in the log.
    scorer = BLEU(
        lowercase=config.lowercase, tokenize=config.tokenize, effective_order=False, force=True
    )
    value, rows = corpus(scorer, predictions)
    return [Metric("bleu", value, "", str(scorer.get_signature()), rows=rows)]
