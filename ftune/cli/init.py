"""``ftune init``: a starter recipe for a data file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ftune.data.sniffing import Guess
    from ftune.data.sniffing_tasks import TaskGuess

RECIPE = """\
# A starter recipe for {data}, made by `ftune init`. Check it with `ftune validate {output}`,
# look at what would be trained with `ftune train {output} --preview`.

model:
  name_or_path: {model}

data:
  train:
    - path: {path}
      format: {format}{columns}
{held_out}{rendering}

tune:
  method: {method}
{tune}
train:
{objective}  learning_rate: {rate}
  num_train_epochs: 3
  per_device_train_batch_size: 8
  lr_scheduler_type: cosine
  warmup_ratio: 0.03
{evaluate}"""
HELD_OUT = """\
  eval: {share:<28}# share of the rows held out for the loss during training
  test: {share:<28}# share of the rows held out for the evaluation
"""
EVALUATE = """
evaluate:
  metrics: [{metrics}]
  generation:
    max_new_tokens: {answer}
"""
EVALUATE_LABELS = """
evaluate:
  metrics: [{metrics}]
"""
TOO_FEW = """\
  # Too few rows to hold some out. With more, add eval, test and evaluate.metrics.
"""
RENDERING = """\
  template: {template:<24}# tokenizer: the model's own; alpaca or chatml if it has none
  max_length: {max_length:<22}# tokens; the longest row seen has {longest:,} characters
  on_too_long: truncate_prompt      # never cuts the answer"""
TEXT_RENDERING = """\
  max_length: {max_length:<22}# tokens; the longest row seen has {longest:,} characters
  on_too_long: truncate             # cuts the end"""
LABEL_RENDERING = """\
  max_length: {max_length:<22}# tokens; the longest row seen has {longest:,} characters
  on_too_long: truncate             # cuts the end, of a pair that of the longer text"""
WINDOWS = """\
  max_length: {max_length:<22}# tokens; longer contexts are read in windows"""
METRICS = {
    "classification": "accuracy, classification",
    "regression": "correlation",
    "token_classification": "seqeval",
    "multiple_choice": "exact_match",
    "question_answering": "squad",
}
# Where a decoder has no head for the task, or writes otherwise.
OTHER_MODELS = {
    "multiple_choice": "google-bert/bert-base-uncased",
    "seq2seq": "google-t5/t5-small",
}
ENCODER_CONTEXT = 512  # tokens that encoders read
FEW = 40  # rows; of fewer a share may be none at all
TINY = "ftune:tiny"
RATES = {"lora": "2e-4", "qlora": "2e-4", "prompt_tuning": "3e-2", "full": "2e-5"}
TINY_RATES = {"lora": "3e-3", "qlora": "3e-3", "prompt_tuning": "0.1", "full": "5e-4"}
TINY_CONTEXT = 512
TUNE = {
    "lora": "  r: 16\n  lora_alpha: 32\n",
    "qlora": "  r: 16\n  lora_alpha: 16\n",
    "prompt_tuning": "  num_virtual_tokens: 20\n",
}


def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A data file of yours.")],
    output: Annotated[Path, typer.Option("--output", help="The recipe to write.")] = Path(
        "recipe.yaml"
    ),
    model: Annotated[
        str, typer.Option("--model", help="Hub id or folder of the base.")
    ] = "ftune:tiny",
    method: Annotated[str, typer.Option("--method", help="Tuning method.")] = "lora",
    objective: Annotated[
        str | None, typer.Option("--objective", help="What is learned, if not what is found out.")
    ] = None,
) -> None:
    """Write a starter recipe for your data file: finds its format and proposes values."""
    from ftune.cli.screen import Screen
    from ftune.data.sniffing import readings
    from ftune.data.sniffing_tasks import TaskGuess
    from ftune.errors import RecipeError
    from ftune.recipe.reading import load_recipe
    from ftune.registry import METHODS, OBJECTIVES
    from ftune.run import atomic

    METHODS.load(method)  # names what there is if there is none of this name
    if objective is not None:
        OBJECTIVES.load(objective)
    if output.exists():
        raise RecipeError(f"{output}: is there already; name another file with --output")
    found, *others = readings(data, Path(), objective)
    learned = found.objective if isinstance(found, TaskGuess) else objective or "sft"
    if model == TINY:
        model = OTHER_MODELS.get(learned, TINY)
    atomic.write_text(output, _recipe(data, output, model, method, found, objective))
    try:
        load_recipe(output)
    except RecipeError:
        output.unlink()
        raise
    screen = Screen()
    columns = "".join(
        f", {ours} from column{'s' * (not isinstance(theirs, str))} "
        f"{theirs if isinstance(theirs, str) else ', '.join(theirs)}"
        for ours, theirs in found.columns.items()
    )
    screen.say(f"{data}: read as {found.format}{columns} ({found.good} of {found.seen} rows)")
    for line in _told(data, found, others, model, learned):
        screen.say(line)
    screen.say(f"wrote {output}; next: ftune train {output} --preview, then ftune train {output}")


def _told(
    data: str,
    found: Guess | TaskGuess,
    others: list[Guess | TaskGuess],
    model: str,
    learned: str,
) -> list[str]:
    """How a task was found out, and how to get the other readings."""
    from ftune.data.sniffing_tasks import TaskGuess

    said = []
    if model == OTHER_MODELS.get(learned):
        said.append(f"model.name_or_path: {model}, since ftune:tiny can't do {learned}; or --model")
    if isinstance(found, TaskGuess):
        said.append(f"train.objective: {found.objective}, since {found.why}")
    for one in others:
        name, what = "sft", f"as {one.format}, text that is written"
        if isinstance(one, TaskGuess):
            name, what = one.objective, f"as {one.objective}, since {one.why}"
        said.append(f"it can be read {what}: ftune init {data} --objective {name}")
    return said


def _task_lines(found: Guess | TaskGuess, objective: str | None) -> str:
    """The objective's line; none for the default."""
    import json

    from ftune.data.sniffing_tasks import TaskGuess

    if not isinstance(found, TaskGuess):
        return f"  objective: {objective}\n" if objective not in (None, "sft") else ""
    told = json.dumps({found.objective: dict(found.options)}) if found.options else found.objective
    return f"  objective: {told}\n"


def _recipe(
    data: str,
    output: Path,
    model: str,
    method: str,
    found: Guess | TaskGuess,
    objective: str | None = None,
) -> str:
    import json

    from ftune.data.sniffing_tasks import TaskGuess

    columns = "".join(f"\n        {k}: {json.dumps(v)}" for k, v in found.columns.items())
    quantization = "\n  quantization:\n    load_in_4bit: true" if method == "qlora" else ""
    # Three characters a token is low for English and right for code and most other languages.
    tokens = max(128, 1 << (found.longest // 3 + 64 - 1).bit_length())
    tiny, text_only = model == TINY, found.format == "text"
    enough = found.seen >= FEW
    metrics = "perplexity" if text_only else "rouge, token_loss"
    rendering = TEXT_RENDERING if text_only else RENDERING
    evaluate, most = EVALUATE, TINY_CONTEXT if tiny else 4096
    if isinstance(found, TaskGuess):
        metrics, evaluate, most = METRICS[found.objective], EVALUATE_LABELS, ENCODER_CONTEXT
        rendering = LABEL_RENDERING
        if found.format == "squad":  # room for a question beside a window and its overlap
            rendering, tokens = WINDOWS, 384
    rates = TINY_RATES if tiny else RATES
    return RECIPE.format(
        data=Path(data).name,
        output=output,
        model=json.dumps(model) + quantization,
        path=json.dumps(_path_from(data, output.parent)),
        format=found.format,
        columns=f"\n      columns:{columns}" if columns else "",
        held_out=HELD_OUT.format(share=_share(found.seen)) if enough else TOO_FEW,
        rendering=rendering.format(
            max_length=min(tokens, most),
            longest=found.longest,
            template="plain" if objective == "seq2seq" else "tokenizer",
        ),
        method=method,
        tune=TUNE.get(method, ""),
        rate=rates.get(method, "2e-4"),
        objective=_task_lines(found, objective),
        evaluate=evaluate.format(metrics=metrics, answer=128) if enough else "",
    )


def _share(rows: int) -> str:
    """A share that leaves some rows on each side."""
    return "0.2" if rows < 100 else "0.1" if rows < 200 else "0.05"


def _path_from(data: str, folder: Path) -> str:
    """The data's path as a recipe in ``folder`` names it; a name that is no file stays."""
    import os

    if not Path(data).exists():
        return data
    return os.path.relpath(Path(data).absolute(), folder.absolute())
