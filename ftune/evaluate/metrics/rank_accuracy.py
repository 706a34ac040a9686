"""Rank classification: how often the right one of given answers is the likeliest.

Nothing is generated: each answer's log-likelihood behind the prompt is computed, as Brown et al.
2020 and Sanh et al. 2021 (T0) do. Figures of lm-evaluation-harness: its acc is ``normalize: none``,
and its acc_norm ``normalize: characters``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ftune import __version__
from ftune.errors import DataError
from ftune.evaluate.references import need_references
from ftune.evaluate.rowwise import mean
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction, Ranked

NEEDS = "choices"


class Config(Section):
    """Which answers there are, and how their likelihoods are compared."""

    choices: tuple[str, ...] = ()
    """The answers that there are for each row; empty: those that the row says, as those of prompt
    templates with answer_choices do."""
    normalize: Literal["none", "characters", "bytes", "tokens"] = "none"
    """Divide a log-likelihood by the answer's length, so that short ones are not preferred."""
    end_mark: bool = False
    """Count the mark that ends an answer, too: how likely the model says this and no more."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """Percent of rows whose likeliest answer is a reference; of equal ones the first counts.

    Raises:
        DataError: there are no predictions, a row has no choices, or its answer is none of them.
    """
    need_references(predictions, "rank_accuracy")
    hits = [best(p, config) in [r.strip() for r in p.references] for p in predictions]
    counts = {len(of_row(p, config)) for p in predictions}
    many = str(counts.pop()) if len(counts) == 1 else "row"
    signature = (
        f"rank:likelihood|norm:{config.normalize}|end:{'yes' if config.end_mark else 'no'}"
        f"|choices:{many}|rows:{len(predictions)}|version:ftune-{__version__}"
    )
    value = 100.0 * sum(hits) / len(predictions)
    return [Metric("rank_accuracy", value, "%", signature, rows=mean(hits, 100))]


def best(prediction: Prediction, config: Config, metric: str = "rank_accuracy") -> str:
    """The likeliest answer of a row, without space around it; ``metric`` asks."""
    rows = of_row(prediction, config, metric)
    return min(rows, key=lambda one: loss(one, config)).text.strip()


def of_row(prediction: Prediction, config: Config, metric: str = "rank_accuracy") -> list[Ranked]:
    """The answers of a row with their likelihoods; ``metric`` asks.

    Raises:
        DataError: it has none, or its right answer is not among them.
    """
    wanted = {text.strip() for text in config.choices or prediction.choices}
    found = [one for one in prediction.ranked if one.text.strip() in wanted]
    place = f"{prediction.source}:{prediction.row}"
    if not found:
        raise DataError(
            f"{place}: {metric} needs the answers that there are, and the row names none; "
            f"list them: {{{metric}: {{choices: [...]}}}}"
        )
    if not {r.strip() for r in prediction.references} & {one.text.strip() for one in found}:
        raise DataError(
            f"{place}: {metric}: the right answer {prediction.references[0]!r} is none of the "
            f"choices {', '.join(repr(one.text) for one in found)}; correct the row, or list all "
            f"answers in {metric}'s choices"
        )
    return found


def loss(one: Ranked, config: Config) -> float:
    """The loss of an answer in nats, by the length that the options say."""
    total = one.loss + (one.end_loss if config.end_mark else 0.0)
    lengths = {
        "none": 1,
        "characters": len(one.text.strip()),
        "bytes": len(one.text.strip().encode()),
        "tokens": one.tokens + (one.end_tokens if config.end_mark else 0),
    }
    return total / max(1, lengths[config.normalize])
