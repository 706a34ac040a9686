"""Stage evaluate: the base model before and the tuned one after, on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.recipe.view import View
from ftune.run.stage import Context, Place, Stage
from ftune.stages import labelled_testing, perturbed, prompting, retained, robustness, suites, tasks
from ftune.stages.labelled_testing import LabelledSet
from ftune.stages.measuring import measured
from ftune.stages.models import MODEL_KEYS, Tuned, load_base, trained
from ftune.stages.rows import identity_of
from ftune.stages.testing import DATA_KEYS, Asking, TestSet, Window, grouped, read_rows
from ftune.types import Metric, Prediction, Report, Task

if TYPE_CHECKING:
    from ftune.evaluate.harness import Measured, Suites
    from ftune.run.progress import Progress
    from ftune.run.signals import StopFlag

# What it costs to ask the tuned model, beside its other figures.
COSTS = (
    "seconds_per_prompt",
    "generated_tokens_per_second",
    "prompt_tokens_per_second",
    "peak_memory_bytes",
)


@dataclass(frozen=True)
class Work:
    """What models are measured on: rows of the recipe, those to be retained, suites."""

    rows: TestSet | LabelledSet
    asking: Asking
    retained: Sequence[retained.Set]
    suites: Suites | None
    changed: Sequence[perturbed.Perturbed] = ()


@dataclass(frozen=True)
class Scored:
    """What one model answered, and its figures."""

    predictions: Sequence[Prediction]
    metrics: Sequence[Metric]
    retained: Sequence[Metric] = ()
    suites: Measured | None = None
    perturbed: robustness.Held = field(default_factory=robustness.Held)
    cost: Mapping[str, Any] = field(default_factory=dict)

    @property
    def figures(self) -> list[Metric]:
        """Those on the recipe's rows as they are and perturbed, then those to be retained and those
        of the suites."""
        beside = (*self.perturbed.metrics, *self.retained)
        return [*self.metrics, *beside, *(self.suites.metrics if self.suites else ())]


def _identity(recipe: View, place: Place) -> dict[str, object]:
    from ftune.evaluate.scoreboard import check

    check(recipe.evaluate.metrics)
    rows = identity_of(recipe, ("test",), place) if recipe.evaluate.metrics else {}
    return {**rows, **retained.identity(recipe, place), **suites.identity(recipe, place)}


def _foresee(context: Context) -> None:
    """Rows that can't be asked, or none, are told before the training that they are for."""
    from ftune.model.loading import load_tokenizer

    recipe, place = context.recipe, context.around.place
    if recipe.evaluate.metrics or recipe.evaluate.retain:
        tokenizer = load_tokenizer(recipe.model, place.allow_remote_code)
        prepare(recipe, "test", tokenizer, place, tasks.told_in(context.folder_of("format")))


def _run(context: Context) -> Report:
    recipe, around = context.recipe, context.around
    section = recipe.evaluate
    if not (section.metrics or section.suites or section.retain):
        return Report("evaluate", {}, ("evaluate.metrics names none; nothing was scored",))
    adapter = context.folder_of("train") / "adapter"
    tuned: Tuned = around.shared.pop("trained", None) or trained(
        recipe, around.place.allow_remote_code, adapter, around.progress
    )
    prompting.check(adapter, recipe, tuned.tokenizer, around.place, around.progress)
    work = prepare(recipe, "test", tuned.tokenizer, around.place, tasks.told_in(adapter))
    around.progress.say("evaluate: the tuned model")
    asking = (tuned.tokenizer, work, around.progress, around.stop)
    scored = {"tuned": score(tuned.model, *asking)}
    if recipe.evaluate.base:
        around.progress.say("evaluate: the base model")
        code = around.place.allow_remote_code
        scored["base"] = of_base(recipe, code, tasks.told_in(adapter), tuned, asking)
    return write(context.folder, scored, work, recipe.evaluate.bootstrap)


def of_base(recipe: View, code: bool, task: Task | None, tuned: Tuned, asking: Any) -> Scored:
    """The same without the adapter, or with the base loaded again where training changed it."""
    from ftune.model.attaching import keeps_base

    if keeps_base(tuned.model):
        with tuned.model.disable_adapter():
            return score(tuned.model, *asking)
    base = load_base(recipe, code, task)
    return score(base.model, *asking)


def score(model: Any, tokenizer: Any, work: Work, progress: Progress, stop: StopFlag) -> Scored:
    """The model's predictions and figures on the rows, and on the suites."""
    from ftune.evaluate.cost import Cost

    cost, asking = Cost(), work.asking
    found = measured(model, tokenizer, work.rows, asking, progress, stop, cost)
    changed = robustness.measure(model, tokenizer, work.changed, asking, found, progress, stop)
    kept = retained.measure(model, tokenizer, work.retained, progress, stop)
    asked = suites.measure(model, tokenizer, work.suites, progress, stop)
    told = cost.figures() if work.rows.prompts else {}
    return Scored(*found, kept, asked, changed, told)


def prepare(recipe: View, split: str, tokenizer: Any, place: Place, task: Task | None) -> Work:
    """The rows of a split and how they are asked; no rows where no metric scores them.

    ``task`` is what the model is for; None for a language model.
    """
    section = recipe.evaluate
    rows: TestSet | LabelledSet = TestSet([], [], {}, {})
    stop, stop_ids = (), ()
    changed: Sequence[perturbed.Perturbed] = ()
    if task is not None:
        rows = labelled_testing.read_rows(recipe, split, tokenizer, place, task)
        changed = perturbed.of_labels(recipe, split, tokenizer, place, task)
    elif section.metrics:
        rows, template = read_rows(recipe, split, tokenizer, place)
        stop, stop_ids = template.stop, template.stop_ids
        changed = perturbed.of_prompts(recipe, split, template, place)
        if section.group_references:
            rows = grouped(rows)
    asking = Asking(
        chosen=section.metrics,
        generation=section.generation,
        batch_size=section.batch_size,
        stop=stop,
        stop_ids=stop_ids,
        window=Window.of(recipe),
        batch_tokens=section.batch_tokens,
    )
    others = retained.prepare(recipe, tokenizer, place)
    return Work(rows, asking, others, suites.wanted(recipe, place), changed)


def write(folder: Path, scored: Mapping[str, Scored], work: Work, resamples: int) -> Report:
    """Writes predictions.jsonl; the report has a line for each figure, before and after."""
    from ftune.evaluate import predictions, scoreboard
    from ftune.evaluate.resampling import SEED

    rows, tuned = work.rows, scored["tuned"]
    before = scored.get("base", Scored([], []))
    if rows.prompts:
        predictions.write(folder / "predictions.jsonl", tuned.predictions, before.predictions)
    robustness.write(folder, tuned.perturbed, before.perturbed)
    suites.write(folder, {name: one.suites for name, one in scored.items()})
    lines = scoreboard.compare(before.figures, tuned.figures, resamples)
    figures: dict[str, Any] = {
        "metrics": [
            {
                "name": line.name,
                "base": line.before,
                "tuned": line.after,
                "base_interval": line.before_interval,
                "tuned_interval": line.after_interval,
                "p": line.p,
                "unit": line.unit,
                "signature": line.signature,
                "higher_is_better": line.higher_is_better,
            }
            for line in lines
        ],
        "rows": len(rows.tokens),
        "prompts": len(rows.prompts),
        "cut": sum(p.finish == "length" for p in tuned.predictions),
        "ledger": rows.ledger,
        **{key: tuned.cost[key] for key in COSTS if key in tuned.cost},
        "cost": {name: dict(one.cost) for name, one in scored.items() if one.cost},
        "bootstrap": {"resamples": resamples, "seed": SEED} if resamples else None,
    }
    summary = (*(_line(line) for line in lines), *_costs(scored))
    if work.changed:
        figures["robustness"] = robustness.told(work.changed)
    changed = robustness.warnings(work.changed, len(rows.prompts))
    warnings = (*_warnings(tuned.predictions), *changed, *retained.losses(figures["metrics"]))
    return Report("evaluate", figures, summary, warnings)


def _line(line: Any) -> str:
    after = "-" if line.after is None else f"{line.after:.4g}"
    if line.after_interval:
        after += " (95%: {:.4g} to {:.4g})".format(*line.after_interval)
    if line.before is None:
        return f"{line.name}: {after}"
    return f"{line.name}: {line.before:.4g} -> {after}"


def _costs(scored: Mapping[str, Scored]) -> list[str]:
    """A line for each model: how fast it answered, and what that took."""
    told = []
    for name, one in scored.items():
        cost = one.cost
        if not cost.get("generated_tokens_per_second"):
            continue
        made, read = cost["generated_tokens_per_second"], cost["prompt_tokens_per_second"]
        shared = cost["shared_tokens"] / cost["prompt_tokens"]
        spared = f", {shared:.0%} of them shared and gone through once" if shared else ""
        told.append(f"{name}: {made:,.0f} generated and {read:,.0f} prompt tokens/s{spared}")
    return told


def _warnings(tuned: Sequence[Prediction]) -> tuple[str, ...]:
    cut = sum(p.finish == "length" for p in tuned)
    if 2 * cut <= len(tuned):
        return ()
    return (
        f"{cut:,} of {len(tuned):,} answers reached evaluate.generation.max_new_tokens and were "
        "cut; raise it, or train longer so that the model learns to stop",
    )


EVALUATE = Stage(
    name="evaluate",
    version=2,
    reads=(*MODEL_KEYS, *DATA_KEYS, "evaluate"),
    needs=("train",),
    writes=("report.json",),
    identity=_identity,
    run=_run,
    foresee=_foresee,
)
