"""The recipe's suites: benchmarks that are asked beside the metrics on its own rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.recipe.view import View
from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.run.signals import StopFlag
from ftune.run.stage import Place

if TYPE_CHECKING:
    from ftune.evaluate.harness import Measured, Suites

NAME = "suites.jsonl"


def wanted(recipe: View, place: Place) -> Suites | None:
    """What the recipe asks of the harness; None where it names no suite."""
    from ftune.evaluate.harness import Suites

    section = recipe.evaluate
    if not section.suites:
        return None
    own = section.harness.include_path
    return Suites(
        names=section.suites,
        folder=None if own is None else place.folder / Path(own).expanduser(),
        num_fewshot=section.harness.num_fewshot,
        limit=section.harness.limit,
        apply_chat_template=section.harness.apply_chat_template,
        batch_size=section.batch_size,
    )


def identity(recipe: View, place: Place) -> dict[str, Any]:
    """The task files by sha256; refuses what could only fail after the training.

    Raises:
        FtuneError: see ``harness.check`` and ``harness.check_chat_template``.
    """
    if not recipe.evaluate.suites:
        return {}
    from ftune.evaluate.harness import check

    found = wanted(recipe, place)
    assert found is not None
    check(found, place.allow_remote_code)
    if found.apply_chat_template:
        from ftune.evaluate.harness import check_chat_template
        from ftune.model.loading import load_tokenizer

        check_chat_template(load_tokenizer(recipe.model, place.allow_remote_code))
    files = sorted(found.folder.rglob("*")) if found.folder else []
    return {"tasks": {str(f.name): atomic.sha256(f) for f in files if f.is_file()}}


def measure(
    model: Any, tokenizer: Any, suites: Suites | None, progress: Progress, stop: StopFlag
) -> Measured | None:
    """The model's figures on the suites; None where there are none."""
    if suites is None:
        return None
    from ftune.evaluate.harness import run
    from ftune.run.pipeline import stop_between

    def between() -> None:
        stop_between(stop, "the evaluation was complete")

    progress.say(f"suites: {', '.join(suites.names)}")
    return run(model, tokenizer, suites, progress, between)


def write(folder: Path, found: dict[str, Measured | None]) -> None:
    """Writes each row that was asked, of the tuned model and of the base, if there were suites."""
    import json

    lines = [
        json.dumps({"model": name, **row}, ensure_ascii=False, default=str)
        for name, measured in found.items()
        if measured is not None
        for row in measured.samples
    ]
    if lines:
        atomic.write_text(folder / NAME, "\n".join(lines) + "\n")
