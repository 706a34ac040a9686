"""Published benchmarks through lm-evaluation-harness, on the model as it stands in memory.

The harness renders the prompts, asks, and scores; its figures are taken as they are. What it says
of each row gives an interval and a paired test where the figure is their mean, and, for questions
with choices, how far the model's confidence is off (calibration).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.errors import DataError, ModelError, RecipeError
from ftune.evaluate import rowwise
from ftune.evaluate.calibration import BINS, error, of_choices
from ftune.evaluate.harness_model import asked_model
from ftune.run.progress import Progress
from ftune.types import Metric


@dataclass(frozen=True)
class Suites:
    """Which benchmarks, and how they are asked."""

    names: tuple[str, ...]
    folder: Path | None  # of task files of one's own
    num_fewshot: int | None
    limit: int | None
    apply_chat_template: bool
    batch_size: int


@dataclass(frozen=True)
class Measured:
    """Figures in the order of the suites, and what was asked and answered row by row."""

    metrics: list[Metric]
    samples: list[dict[str, Any]]


def check(suites: Suites, allow_code: bool) -> None:
    """Refuses what could only fail after the training.

    Raises:
        RecipeError: the harness isn't installed, a name is no suite, the folder isn't there, or a
            task file would run code that nobody allowed.
        DataError: a suite's data can't be had.
    """
    _library()
    if suites.folder is not None:
        _check_folder(suites.folder, allow_code)
    manager = _manager(suites)
    with _quiet(), _told(suites):
        manager.load(list(suites.names))


def check_chat_template(tokenizer: Any) -> None:
    """Raises ModelError if the tokenizer has no chat template."""
    if not tokenizer.chat_template:
        raise ModelError(
            "evaluate.harness.apply_chat_template: the tokenizer has no chat template; set it to "
            "false, or take a model that has one"
        )


def run(
    model: Any, tokenizer: Any, suites: Suites, progress: Progress, between: Callable[[], None]
) -> Measured:
    """Asks the model all suites; ``between`` is called before each batch and may raise.

    Raises:
        DataError: a suite's data can't be had, or it has no rows.
    """
    harness = _library()
    manager = _manager(suites)
    with _quiet(), _told(suites):
        asked = asked_model(model, tokenizer, suites.batch_size, progress, between)
        found: Any = harness.simple_evaluate(
            asked,
            tasks=list(suites.names),
            task_manager=manager,
            num_fewshot=suites.num_fewshot,
            limit=suites.limit,
            bootstrap_iters=0,  # ftune draws by itself
            apply_chat_template=suites.apply_chat_template,
        )
    return Measured(_metrics(found, harness.__version__), list(_samples(found)))


def _metrics(found: Mapping[str, Any], version: str) -> list[Metric]:
    metrics = []
    for task, figures in found["results"].items():
        rows = found["samples"].get(task)
        for key, value in figures.items():
            name, comma, filtered = key.partition(",")
            if not comma or name.endswith("_stderr") or not isinstance(value, int | float):
                continue
            signature = _signature(found, task, filtered, version)
            better = found["higher_is_better"].get(task, {}).get(name, True)
            told = f"{task}/{name}" + (f"/{filtered}" if filtered != "none" else "")
            values = _values(rows, name, filtered, float(value))
            own = rowwise.mean(values) if values else None
            metrics.append(Metric(told, float(value), "", signature, better, own))
        if rows and (sure := of_choices(rows)) is not None:
            signature = f"ece|bins:{BINS}|{_signature(found, task, 'none', version)}"
            value = error(sure)
            metrics.append(Metric(f"{task}/calibration_error", value, "", signature, False, sure))
    if not metrics:
        raise DataError("evaluate.suites: the harness gave no figure; are there rows in the data?")
    return metrics


def _signature(found: Mapping[str, Any], task: str, filtered: str, version: str) -> str:
    shots = found["n-shot"].get(task)
    counts = found["n-samples"].get(task, {})
    rows = f"|rows:{counts['effective']}of{counts['original']}" if counts else ""
    return (
        f"lm-eval:{version}|task:{task}:{found['versions'].get(task)}|shots:{shots}"
        f"|filter:{filtered}{rows}"
    )


def _values(
    rows: Sequence[Mapping[str, Any]] | None, name: str, filtered: str, value: float
) -> list[float]:
    """What each row adds to a mean; nothing where the figure is no mean of them."""
    if not rows:
        return []
    mine = [row[name] for row in rows if row.get("filter", "none") == filtered and name in row]
    if not mine or not all(isinstance(v, int | float) for v in mine):
        return []
    values = [float(v) for v in mine]
    return values if math.isclose(sum(values) / len(values), value, abs_tol=1e-9) else []


def _samples(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A line for each row: task, prompt, answer and what it scored."""
    for task, rows in found["samples"].items():
        for row in rows:
            scores = {name: row[name] for name in row["metrics"] if name in row}
            yield {
                "task": task,
                "row": row["doc_id"],
                "filter": row.get("filter", "none"),
                "asked": str(row["arguments"][0][0]) if row["arguments"] else "",
                "target": str(row["target"]),
                "answers": row["filtered_resps"],
                **{n: v for n, v in scores.items() if isinstance(v, int | float | str)},
            }


def _library() -> Any:
    try:
        import lm_eval
        import lm_eval.tasks
    except ImportError as error:
        raise RecipeError(
            "evaluate.suites needs lm-evaluation-harness: pip install 'ftune[suites]'"
        ) from error
    return lm_eval


def _check_folder(folder: Path, allow_code: bool) -> None:
    where = "evaluate.harness.include_path"
    if not folder.is_dir():
        raise RecipeError(f"{where}: {folder} is no folder; name one with task files (.yaml)")
    for file in sorted(folder.rglob("*.yaml")):
        _check_readable(file)
        if not allow_code and "!function" in file.read_text(encoding="utf-8", errors="replace"):
            raise RecipeError(
                f"{where}: {file} names a Python function to run; if you trust it, allow it with "
                "--trust-remote-code on the command line"
            )


def _check_readable(file: Path) -> None:
    """The harness passes over a file that it can't read, and knows its task no more."""
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        load_yaml(file, resolve_func=False)
    except Exception as error:  # whatever the harness's reader raises
        line = " ".join(str(error).split())
        raise RecipeError(
            f"evaluate.harness.include_path: {file} can't be read as a task file: {line}"
        ) from error


def _manager(suites: Suites) -> Any:
    """The harness's register of tasks, without the notes that it makes.

    Raises:
        RecipeError: a name is none of them.
    """
    from ftune.evaluate.harness_tasks import manager

    with _quiet():
        return manager(suites.names, suites.folder)


@contextmanager
def _told(suites: Suites) -> Iterator[None]:
    """Turns the harness's own errors into one that says what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, AssertionError) as error:
        line = (str(error) or type(error).__name__).strip().partition("\n")[0]
        raise DataError(
            f"evaluate.suites: {', '.join(suites.names)} can't be run: {line} (said by the "
            "harness); offline, name task files of your own in evaluate.harness.include_path"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and notes of the harness; ftune tells what is done."""
    import contextlib
    import io
    import logging

    import datasets
    from lm_eval import evaluator

    noisy = logging.getLogger("lm_eval")
    before, bars = noisy.level, datasets.are_progress_bars_disabled()
    noisy.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    git, evaluator.get_git_commit_hash = evaluator.get_git_commit_hash, lambda: None
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        noisy.setLevel(before)
        evaluator.get_git_commit_hash = git
        if not bars:
            datasets.enable_progress_bars()
