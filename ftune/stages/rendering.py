"""How a recipe's rows become tokens: through a template, or whole with the label they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ftune.recipe.view import View
from ftune.run.stage import Place
from ftune.stages import labels, prompting, tasks
from ftune.types import Task

KEYS = (
    "model.name_or_path",
    "model.revision",
    "model.trust_remote_code",
    "data.train",
    "data.mixture",
    "data.eval",
    "data.test",
    "data.template",
    "data.system_prompt",
    "data.max_length",
    "data.on_too_long",
    "data.on_bad_row",
    "data.train_on",
    "train.objective",
    "train.seed",
)


@dataclass(frozen=True)
class Rendering:
    """``encode`` makes tokens of examples; ``contract`` says how, with a few of them for proof.

    ``note`` is told each example that is used. ``task`` is None for a language model.
    """

    encode: Callable[[Any], Any]
    note: Callable[[Any], None]
    contract: Callable[[], Mapping[str, Any]]
    warnings: tuple[str, ...] = ()
    task: Task | None = None


def rendering(recipe: View, tokenizer: Any, place: Place) -> Rendering:
    """That of a recipe. With labels it reads the training rows once, to know which there are.

    Raises:
        DataError: a row is bad and the recipe says to stop, or there are no labels.
        RecipeError: the model can't read so long rows.
    """
    if tasks.is_labelled(recipe):
        task = labels.task(recipe, place)
        return for_labels(recipe, tokenizer, place, task)
    from ftune.data.render import encoding
    from ftune.data.rules import Rules
    from ftune.data.templating import load_template

    template = load_template(
        recipe.data.template, tokenizer, recipe.data.system_prompt, place.folder
    )
    questions = prompting.Questions()
    return Rendering(
        encode=encoding(template, Rules.of(recipe.data)),
        note=questions.add,
        contract=lambda: prompting.contract(
            template, recipe.data.system_prompt, tokenizer, questions.chosen()
        ),
        warnings=tuple(template.warnings),
    )


def for_labels(recipe: View, tokenizer: Any, place: Place, task: Task) -> Rendering:
    """That of labelled rows where it is known which labels there are."""
    rows = labels.Rows(recipe, tokenizer, place, task)
    return Rendering(encode=rows.encode, note=rows.note, contract=rows.contract, task=task)
