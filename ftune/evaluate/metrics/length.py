"""Length of the answers: mean words, characters and tokens, and their ratio to the references."""

from __future__ import annotations

from collections.abc import Sequence

from ftune import __version__
from ftune.evaluate.references import need_references
from ftune.evaluate.rowwise import mean, ratio
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "text"


class Config(Section):
    """Nothing to choose."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:  # noqa: ARG001
    """Means over rows, and characters of all answers over those of their references.

    Words lie between blanks; tokens are the model's, without the end mark. Of several references
    the one of the closest length counts, and of two as close the shorter. Without the ratio where
    all references are empty.

    Raises:
        DataError: there are no predictions, or a row has no reference.
    """
    need_references(predictions, "length")
    characters = [len(p.text) for p in predictions]
    counted = {
        "words": [len(p.text.split()) for p in predictions],
        "characters": characters,
        "tokens": [p.tokens for p in predictions],
    }
    behind = f"version:ftune-{__version__}"
    found = [
        Metric(
            f"length_{unit}",
            sum(values) / len(values),
            unit,
            f"mean:rows|{'tokenizer:dependent|' if unit == 'tokens' else ''}{behind}",
            None,
            mean(values),
        )
        for unit, values in counted.items()
    ]
    closest = [_closest(p) for p in predictions]
    if sum(closest):
        value = sum(characters) / sum(closest)
        signature = f"of:characters|refs:closest|{behind}"
        rows = ratio(characters, closest)
        found.append(Metric("length_ratio", value, "", signature, None, rows))
    return found


def _closest(prediction: Prediction) -> int:
    """Characters of the reference whose length is closest to the answer's."""
    own = len(prediction.text)
    return min((len(r) for r in prediction.references), key=lambda size: (abs(size - own), size))
