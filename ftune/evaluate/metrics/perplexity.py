"""Perplexity of the references: e to the mean loss of a token, end mark included.

It compares models with the same tokenizer only; token_loss gives bits per byte for others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ftune import __version__
from ftune.errors import RunError
from ftune.evaluate.scoring import loss_rows, total_loss
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "likelihood"


class Config(Section):
    """Nothing to choose."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:  # noqa: ARG001
    """Perplexity over all reference tokens of all rows together; 1 is certainty.

    Raises:
        DataError: no row has a likelihood.
        RunError: the loss is too large for a number.
    """
    total = total_loss(predictions, "perplexity")
    mean = total.loss / total.tokens
    if mean > math.log(1e300):
        raise RunError(f"perplexity: a mean loss of {mean:,.0f} nats; the model is broken")
    signature = f"per:token|tokenizer:dependent|{total.described()}|version:ftune-{__version__}"
    rows = loss_rows(predictions, lambda loss, tokens, _: math.exp(loss / tokens))
    return [Metric("perplexity", math.exp(mean), "", signature, False, rows)]
