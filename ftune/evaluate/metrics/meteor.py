"""METEOR without synonyms: words and stems in common, and their order (nltk).

Published figures mostly count synonyms of WordNet too, which is data that ftune does not fetch: the
signature says ``synonyms:no``. Lavie and Agarwal (2007), "Meteor: An Automatic Metric for MT
Evaluation with High Levels of Correlation with Human Judgments".
"""

from __future__ import annotations

from collections.abc import Sequence

from ftune.evaluate.references import need_references
from ftune.evaluate.rowwise import mean
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "text"
WEIGHTS = {"alpha": 0.9, "beta": 3.0, "gamma": 0.5}


class Config(Section):
    """Nothing to choose."""


class NoSynonyms:
    """A WordNet in which no word has a synonym."""

    def synsets(self, word: str) -> list[object]:  # noqa: ARG002
        """None."""
        return []


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:  # noqa: ARG001
    """Mean over rows in percent; of several references the best counts, for each row by itself.

    Raises:
        DataError: there are no predictions, or a row has no reference.
    """
    from importlib.metadata import version

    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.translate.meteor_score import meteor_score

    need_references(predictions, "meteor")
    words = NLTKWordTokenizer().tokenize
    found = [
        meteor_score(
            [words(r) for r in p.references], words(p.text), wordnet=NoSynonyms(), **WEIGHTS
        )
        for p in predictions
    ]
    weights = "|".join(f"{name}:{value:g}" for name, value in WEIGHTS.items())
    signature = (
        "refs:best|mean:rows|case:lc|tok:nltk-words|match:exact+porter|synonyms:no|"
        f"{weights}|version:{version('nltk')}|library:nltk"
    )
    value = 100 * sum(found) / len(found)
    return [Metric("meteor", float(value), "%", signature, rows=mean(found, 100))]
