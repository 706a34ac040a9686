"""Exact match and F1 of words, as SQuAD's own script counts them.

Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250: upper case, punctuation, articles and
blanks don't count, and of several right answers the nearest one does.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from ftune import __version__
from ftune.evaluate.references import need_references
from ftune.evaluate.rowwise import mean
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "text"


class Config(Section):
    """It has no options."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:  # noqa: ARG001
    """Both in percent of rows. Where nothing is right to say, only nothing is right.

    Raises:
        DataError: there are no predictions, or a row has no reference.
    """
    need_references(predictions, "squad")
    exact, shared = [], []
    for prediction in predictions:
        said = _words(prediction.text)
        rights = [_words(right) for right in prediction.references]
        exact.append(any(said == right for right in rights))
        shared.append(max(_f1(said, right) for right in rights))
    signature = f"rows:{len(predictions)}|version:ftune-{__version__}"
    percent = 100 / len(predictions)
    return [
        Metric("squad_exact_match", sum(exact) * percent, "%", signature, rows=mean(exact, 100)),
        Metric("squad_f1", sum(shared) * percent, "%", signature, rows=mean(shared, 100)),
    ]


def _words(text: str) -> list[str]:
    plain = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def _f1(said: Sequence[str], right: Sequence[str]) -> float:
    if not said or not right:
        return float(said == right)
    same = sum((Counter(said) & Counter(right)).values())
    return 2 * same / (len(said) + len(right))
