"""Only the weights that matter most to the data are trained, found by their gradients on a sample.

Scores as in Sung et al. 2021, https://arxiv.org/abs/2111.09839 (FISH masks); saved alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """How the weights are chosen, and how many."""

    share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    """Share of all numbers of the model that is trained."""
    by: Literal["parameter", "row", "module"] = "row"
    """What is chosen: single numbers, rows of matrices (outputs), or whole modules."""
    score: Literal["fisher", "gradient"] = "fisher"
    """Mean of each number's squared gradient over the sample, or of its size."""
    sample_rows: Annotated[int, Field(ge=1)] = 64
    """So many rows of data.train are drawn for the scores; each is one backward pass."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:  # noqa: ARG001
    """``model`` itself, with gradients for all that can be chosen; ``choose`` narrows it.

    Raises:
        ModelError: the base is quantized, or the recipe adds tokens.
    """
    from ftune.model import attaching, selecting

    attaching.refuse_added_tokens(tokenizer, "importance")
    return selecting.train_only(model, [n for n, _ in model.named_parameters()], "importance")


def choose(model: Any, config: Config, losses: Iterable[Any]) -> dict[str, Any]:
    """The chosen numbers by parameter, as ``ftune.model.chosen.Chosen`` takes them.

    A task's new head is drawn, not learned, so all of it is trained, beside the share.

    ``losses`` are the sampled rows' mean losses, with gradient.

    Raises:
        ModelError: a gradient is not finite.
    """
    from ftune.model import chosen, heads

    scores = chosen.scores(model, losses, squared=config.score == "fisher")
    new = [name for name in heads.head_parameters(model) if name in scores]
    whole = {name: chosen.every_unit(scores.pop(name), config.by) for name in new}
    return chosen.highest(scores, config.share, config.by) | whole


def take(model: Any, config: Config, found: Mapping[str, Any]) -> None:
    """Leaves gradients to the parameters of which something was chosen, and to no other."""
    from ftune.model import chosen

    chosen.mark(model, chosen.Chosen(config.by, dict(found)))


def begin(model: Any, total: int) -> None:  # noqa: ARG001
    """Keeps what must not change, and has its gradients zeroed."""
    from ftune.model import chosen

    chosen.hold(model)


def after_step(model: Any, step: int) -> None:  # noqa: ARG001
    """Undoes what weight decay did to numbers that were not chosen."""
    from ftune.model import chosen

    chosen.put_back(model)
