"""Rules across sections: what would be read past, or can't go together.

A rule is a function that gives problems of a recipe; all in ``RULES``, ``methods.RULES``,
``objectives.RULES``, ``names.RULES`` and those of the modules ``checks_of_*`` are run.
None may ask whether a key was written or left out: a resolved recipe has them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ftune.recipe import (
    checks_of_deepspeed,
    checks_of_evaluation,
    checks_of_layers,
    checks_of_sharding,
    checks_of_sources,
    checks_of_streaming,
    checks_of_tasks,
    methods,
    names,
    objectives,
)
from ftune.recipe.places import KeyPath, Problem, dotted, unread_key
from ftune.recipe.schema import Quantization, Recipe, Train
from ftune.recipe.spikes import Spikes
from ftune.recipe.view import View

# Rules get a Recipe, or a View of one that reads alike.
Rule = Callable[[Any], Iterator[Problem]]


def check(
    recipe: Recipe, folder: Path, faulty: list[KeyPath], rows_there: bool = True
) -> list[Problem]:
    """All problems that the rules find; relative paths start at ``folder``.

    Without ``rows_there`` the sources of rows are not looked at.

    A rule that reads a key in ``faulty`` is not heard: that key stands at its default here.
    """
    spoiled = [".".join(s for s in path if isinstance(s, str)) for path in faulty]
    found: list[Problem] = []
    everything = tuple(Recipe.model_fields)
    rules = [rule for rule in names.RULES if rows_there or rule is not names.sources]
    rules = [*rules, *checks_of_deepspeed.RULES]
    on_paths: list[Rule] = [partial(rule, folder=folder) for rule in rules]
    others = (
        checks_of_evaluation,
        checks_of_layers,
        checks_of_sharding,
        checks_of_sources,
        checks_of_streaming,
        checks_of_tasks,
        methods,
        objectives,
    )
    for rule in [*RULES, *(rule for one in others for rule in one.RULES), *on_paths]:
        reads: set[str] = set()
        problems = list(rule(View(recipe, "", everything, reads)))
        if not any(_touch(key, bad) for key in reads for bad in spoiled):
            found += problems
    return found


def _touch(key: str, bad: str) -> bool:
    return key == bad or key.startswith(f"{bad}.") or bad.startswith(f"{key}.")


def quantization(recipe: Any) -> Iterator[Problem]:
    """4 or 8 bits, and only the keys of what is chosen."""
    settings = recipe.model.quantization
    at = ("model", "quantization")
    if settings is None:
        return
    if settings.load_in_4bit and settings.load_in_8bit:
        yield Problem(
            (*at, "load_in_8bit"),
            "model.quantization: load_in_4bit and load_in_8bit exclude each other; keep one",
        )
        return
    if not settings.load_in_4bit and not settings.load_in_8bit:
        yield Problem(
            at,
            "model.quantization quantizes nothing; set load_in_4bit: true or load_in_8bit: "
            "true, or remove it",
        )
        return
    other = "bnb_4bit" if settings.load_in_8bit else "llm_int8"
    need = "load_in_4bit" if settings.load_in_8bit else "load_in_8bit"
    for key, field in Quantization.model_fields.items():
        if key.startswith(other):
            why = f"without {need}; remove it, or set {need}: true instead"
            yield from unread_key((*at, key), getattr(settings, key), field.default, why)


def spikes(recipe: Any) -> Iterator[Problem]:
    """What counts as a spike is only asked where one counts."""
    train = recipe.train
    if train.on_spike == "ignore":
        for key, field in Spikes.model_fields.items():
            why = "with on_spike: ignore; remove it, or write on_spike: stop or skip"
            at = ("train", "spikes", key)
            yield from unread_key(at, getattr(train.spikes, key), field.default, why)


def mixture(recipe: Any) -> Iterator[Problem]:
    """Several sources to mix, and only the keys of the sampling that is chosen."""
    mixed, at = recipe.data.mixture, ("data", "mixture")
    if mixed is None:
        return
    if len(recipe.data.train) == 1:
        yield Problem(at, "data.mixture has one source to mix; add one to data.train, or remove it")
    reads = {
        "cap": ("examples_proportional", "temperature"),
        "temperature": ("temperature",),
    }
    for key, samplings in reads.items():
        if mixed.sampling not in samplings:
            why = f"with sampling: {mixed.sampling}; remove it, or set sampling: {samplings[0]}"
            yield from unread_key((*at, key), getattr(mixed, key), None, why)
        elif mixed.sampling == samplings[0] and getattr(mixed, key) is None:
            said = f"sampling: {mixed.sampling} needs a {key}; add it"
            yield Problem((*at, key), f"data.mixture.{key}: {said}")


def held_out(recipe: Any) -> Iterator[Problem]:
    """What looks at the loss on ``data.eval`` needs such rows."""
    train = recipe.train
    if not recipe.data.eval:
        wants = {
            "load_best_model_at_end": train.load_best_model_at_end,
            "early_stopping_patience": train.early_stopping_patience,
            "eval_steps": train.eval_steps,
        }
        for key, value in wants.items():
            if value:
                yield Problem(
                    ("train", key),
                    f"train.{key} needs held-out rows; add data.eval, a share such "
                    f"as 0.05 or a list of sources, or remove {key}",
                )
    if train.early_stopping_patience is None:
        yield from unread_key(
            ("train", "early_stopping_threshold"),
            train.early_stopping_threshold,
            0.0,
            "without early_stopping_patience; set that too, or remove it",
        )


def shares(recipe: Any) -> Iterator[Problem]:
    """Shares that are held out leave rows to train on."""
    parts = [s for s in (recipe.data.eval, recipe.data.test) if isinstance(s, float)]
    if sum(parts) >= 1.0:
        yield Problem(
            ("data", "test"),
            f"data.eval and data.test take {sum(parts):g} of the training rows, "
            "which leaves none; lower them to below 1 together",
        )


def schedule(recipe: Any) -> Iterator[Problem]:
    """One way to say the warm-up, and a schedule that has one."""
    train = recipe.train
    if train.warmup_steps is not None and train.warmup_ratio:
        yield Problem(
            ("train", "warmup_ratio"),
            "train.warmup_ratio says again what train.warmup_steps says; keep one of them",
        )
    if train.lr_scheduler_type == "constant" and (train.warmup_ratio or train.warmup_steps):
        yield Problem(
            ("train", "lr_scheduler_type"),
            "train.lr_scheduler_type: constant has no warm-up; "
            "write constant_with_warmup, or remove the warm-up",
        )


def batches(recipe: Any) -> Iterator[Problem]:
    """A micro-batch is counted in examples or in tokens."""
    train, data = recipe.train, recipe.data
    if train.tokens_per_batch is None:
        return
    size = "per_device_train_batch_size"
    yield from unread_key(
        ("train", size),
        train.per_device_train_batch_size,
        Train.model_fields[size].default,
        "beside tokens_per_batch, which fills a batch by its tokens; remove one of them",
    )
    if data.packing and train.tokens_per_batch < data.max_length:
        yield Problem(
            ("train", "tokens_per_batch"),
            f"train.tokens_per_batch: {train.tokens_per_batch} is "
            f"less than a packed line of data.max_length ({data.max_length}); raise it",
        )


def optimizer(recipe: Any) -> Iterator[Problem]:
    """The keys of AdamW go with AdamW."""
    train = recipe.train
    if "adamw" not in train.optim:
        for key in ("adam_beta1", "adam_beta2", "adam_epsilon"):
            why = f"with optim: {train.optim}; remove it, or write optim: adamw_torch"
            default = Train.model_fields[key].default
            yield from unread_key(("train", key), getattr(train, key), default, why)


def texts(recipe: Any) -> Iterator[Problem]:
    """Texts that must not be empty, and stand once."""
    lists = {
        ("evaluate", "generation", "stop"): recipe.evaluate.generation.stop,
        ("model", "add_tokens"): recipe.model.add_tokens,
    }
    for at, values in lists.items():
        for i, text in enumerate(values):
            where = dotted((*at, i))
            if not text:
                yield Problem((*at, i), f"{where} is an empty text; remove it")
            elif text in values[:i]:
                yield Problem((*at, i), f"{where}: {text!r} is there already; keep one of them")


RULES: tuple[Rule, ...] = (
    quantization,
    mixture,
    spikes,
    held_out,
    shares,
    schedule,
    batches,
    optimizer,
    texts,
)
