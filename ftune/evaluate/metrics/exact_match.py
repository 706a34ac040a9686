"""Exact match: the share of answers that equal one of their references.

With ``pattern``, what it finds in both is compared, such as the figure at the end of a solution.
"""

from __future__ import annotations

from collections.abc import Sequence

from ftune import __version__
from ftune.errors import DataError
from ftune.evaluate.normalizing import Normalization, extract, normalize
from ftune.evaluate.references import need_references
from ftune.evaluate.rowwise import mean
from ftune.types import Metric, Prediction

NEEDS = "text"


class Config(Normalization):
    """What is left out of account before answer and reference are compared."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """Percent of rows; an answer in which ``pattern`` finds nothing is wrong.

    Raises:
        DataError: there are no predictions, or a row has no reference, or none in which
            ``pattern`` finds something.
    """
    need_references(predictions, "exact_match")
    hits: list[bool] = []
    for prediction in predictions:
        found = [extract(reference, config) for reference in prediction.references]
        wanted = {normalize(text, config) for text in found if text is not None}
        if not wanted:
            raise DataError(
                f"{prediction.source}:{prediction.row}: exact_match's pattern "
                f"{config.pattern!r} finds nothing in the reference "
                f"{prediction.references[0][:80]!r}; correct the pattern or the row"
            )
        answer = extract(prediction.text, config)
        hits.append(answer is not None and normalize(answer, config) in wanted)
    signature = f"{config.described()}|rows:{len(predictions)}|version:ftune-{__version__}"
    value = 100 * sum(hits) / len(predictions)
    return [Metric("exact_match", value, "%", signature, rows=mean(hits, 100))]
