"""The test rows as prompts and tokens, and a model's figures on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ftune.errors import DataError
from ftune.recipe.view import View
from ftune.run.progress import Progress
from ftune.run.signals import StopFlag
from ftune.run.stage import Place
from ftune.stages.holding import flags, held
from ftune.stages.predicted import predicted
from ftune.stages.ranking import Options, behind, choices
from ftune.stages.rows import ledger_of, rows_of
from ftune.stages.tasked import names_of
from ftune.types import Metric, Prediction, Prompt

if TYPE_CHECKING:
    from ftune.data.collect import Taken
    from ftune.data.ledger import Ledger
    from ftune.evaluate.cost import Cost

WHOLE = 2**31 - 1  # tokens: nothing is cut
PER = ("per:token", "per:byte")  # how the signatures of likelihoods begin
DATA_KEYS = (
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
    "train.seed",
    "train.objective",
)


@dataclass
class TestSet:
    """Rows of one split, in order; ``tokens[i]`` belongs to the i-th of ``prompts``."""

    __test__ = False  # pytest collects what begins with Test

    prompts: list[Prompt]
    members: list[tuple[int, ...]]  # rows behind each prompt
    tokens: dict[int, tuple[Sequence[int], Sequence[bool]]]  # by row; not for what was dropped
    sizes: dict[int, int]  # UTF-8 bytes of each row's reference
    tasks: dict[int, str] = field(default_factory=dict)  # of each row, where there are any
    options: dict[int, Options] = field(default_factory=dict)  # by row: answers to be ranked
    ledger: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """How whole documents are scored: tokens at once, and by how many each window moves on."""

    width: int
    stride: int

    @classmethod
    def of(cls, recipe: View) -> Window | None:
        """As the recipe says; None where each row is one window."""
        stride = recipe.evaluate.stride
        return None if stride is None else cls(recipe.data.max_length, stride)


@dataclass(frozen=True)
class Asking:
    """One way of measuring: what the metrics need, and how answers are made."""

    chosen: Sequence[Any]
    generation: Any
    batch_size: int
    stop: tuple[str, ...]
    stop_ids: tuple[int, ...]
    window: Window | None = None
    batch_tokens: int | None = None


def measure(
    model: Any,
    tokenizer: Any,
    rows: TestSet,
    asking: Asking,
    progress: Progress,
    stop: StopFlag,
    cost: Cost | None = None,
) -> tuple[list[Prediction], list[Metric]]:
    """The model's predictions for all rows, and the chosen metrics over them; ``cost`` is added
    to."""
    from ftune.evaluate.cost import Cost
    from ftune.evaluate.scoreboard import score_all
    from ftune.run.pipeline import stop_between

    def between() -> None:
        stop_between(stop, "the evaluation was complete")

    cost = cost or Cost()
    with cost.of(model.get_input_embeddings().weight.device):
        predictions = predicted(model, tokenizer, rows, asking, progress, between, cost)
    cost.prompts = cost.prompts or len(rows.prompts)
    return predictions, _signed(asking, score_all(asking.chosen, predictions))


def _signed(asking: Asking, metrics: list[Metric]) -> list[Metric]:
    """The metrics with the window in the signature of those that depend on it."""
    if asking.window is None:
        return metrics
    added = f"|window:{asking.window.width}|stride:{asking.window.stride}"
    return [
        replace(m, signature=m.signature + added) if m.signature.startswith(PER) else m
        for m in metrics
    ]


def read_rows(recipe: View, split: str, tokenizer: Any, place: Place) -> tuple[TestSet, Any]:
    """The rows of ``data.<split>`` rendered by the recipe's template, and that template.

    Raises:
        DataError: the split has no rows, or one can't be used and the recipe says to stop.
    """
    from ftune.data.templating import load_template

    template = load_template(
        recipe.data.template, tokenizer, recipe.data.system_prompt, place.folder
    )
    ledger = ledger_of(recipe, split)
    taken = rows_of(recipe, split, place, ledger)
    named = names_of(recipe, split)
    return rendered(taken, recipe, template, ledger, f"data.{split}", named), template


def rendered(
    taken: Iterable[Taken],
    recipe: View,
    template: Any,
    ledger: Ledger,
    named: str,
    tasks: Sequence[str] = (),
    chosen: Sequence[Any] | None = None,
    on_bad_row: str | None = None,
) -> TestSet:
    """Examples as prompts and tokens, each one counted; ``named`` is the recipe's key of them.

    ``tasks`` are those of the sources, ``chosen`` the metrics, if not ``evaluate.metrics``, and
    ``on_bad_row`` says what becomes of bad ones, if not ``data.on_bad_row``.

    Raises:
        DataError: no row is left, or one can't be used and the recipe says to stop.
    """
    from ftune.data.rules import Rules

    rows, rules = TestSet([], [], {}, {}), Rules.of(recipe.data)
    chosen = recipe.evaluate.metrics if chosen is None else chosen
    policy = on_bad_row or recipe.data.on_bad_row
    if recipe.evaluate.stride is not None:
        rules = replace(rules, max_length=WHOLE)
    for one in taken:
        _add(rows, one, template, rules, ledger, policy, chosen)
        if tasks and tasks[one.source] and len(rows.prompts) > len(rows.tasks):
            rows.tasks[len(rows.prompts) - 1] = tasks[one.source]
            rows.prompts[-1] = replace(rows.prompts[-1], task=tasks[one.source])
    ledger.balance()
    if not rows.prompts:
        raise DataError(
            f"{named}: no row is left to evaluate ({_why(ledger)}); an evaluation of nothing "
            "has no figures: check the source, or leave it out"
        )
    rows.ledger = ledger.total.to_json()
    return rows


def _add(
    rows: TestSet,
    one: Taken,
    template: Any,
    rules: Any,
    ledger: Ledger,
    policy: str,
    chosen: Sequence[Any],
) -> None:
    """Renders one example into ``rows``, or counts why not."""
    from ftune.data.render import prompt, tokens
    from ftune.data.rules import Dropped

    counts = ledger[one.source]
    try:
        asked = prompt(one.example, template, rules, counts.source, one.row)
        whole = tokens(one.example, template, rules)
        options = behind(one.example, choices(chosen, one.example), template, rules)
    except DataError as error:
        said = f"{counts.source}:{one.row}: {error}"
        if policy == "error":
            raise DataError(f"{said}; or set data.on_bad_row: skip") from error
        counts.bad_row(said)
        return
    if isinstance(asked, Dropped) or isinstance(whole, Dropped):
        counts.drop((asked if isinstance(asked, Dropped) else whole).reason)  # type: ignore[union-attr]
        return
    counts.use(whole, example=one.example)
    number = len(rows.prompts)
    rows.options[number] = options
    rows.prompts.append(replace(asked, ids=held(asked.ids)))
    rows.members.append((number,))
    rows.tokens[number] = (held(whole.ids), flags(whole.trained))
    rows.sizes[number] = len(one.example.messages[-1].content.encode())


def _why(ledger: Ledger) -> str:
    total = ledger.total
    reasons = {"bad": total.bad, "held out elsewhere": total.held_out, **total.dropped}
    gone = ", ".join(f"{count} {why}" for why, count in reasons.items() if count)
    return f"{total.read} rows read" + (f", {gone}" if gone else "")


def grouped(rows: TestSet) -> TestSet:
    """Equal prompts asked once, with the answers of all their rows as references."""
    from ftune.evaluate.references import group_references

    joined = group_references(rows.prompts)
    return replace(rows, prompts=list(joined.prompts), members=list(joined.members))
