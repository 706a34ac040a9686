"""Loss of the references: nats per token, and bits per byte, which compares across tokenizers.

Bits per byte are the summed loss, end marks included, over the UTF-8 bytes of the references.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ftune import __version__
from ftune.evaluate.scoring import loss_rows, total_loss
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "likelihood"


class Config(Section):
    """Nothing to choose."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:  # noqa: ARG001
    """Mean loss over all reference tokens, and bits per byte where bytes are known.

    Raises:
        DataError: no row has a likelihood.
    """
    total = total_loss(predictions, "token_loss")
    behind = f"{total.described()}|version:ftune-{__version__}"
    found = [
        Metric(
            "token_loss",
            total.loss / total.tokens,
            "nats/token",
            f"per:token|tokenizer:dependent|{behind}",
            higher_is_better=False,
            rows=loss_rows(predictions, lambda loss, tokens, _: loss / tokens),
        )
    ]
    if total.bytes:
        value = total.loss / math.log(2) / total.bytes
        signature = f"per:byte|tokenizer:independent|{behind}"
        rows = loss_rows(predictions, lambda loss, _, size: loss / math.log(2) / size)
        found.append(Metric("bits_per_byte", value, "bits/byte", signature, False, rows))
    return found
