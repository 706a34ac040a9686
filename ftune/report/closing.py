"""What is said at the end of a run: what to try next."""

from __future__ import annotations

import shlex

from ftune.recipe.methods import VIRTUAL
from ftune.report.gather import Gathered

# Objectives whose models don't talk: of what they say something.
ONE_TEXT = ("classification", "regression", "token_classification")
SEVERAL_TEXTS = ("multiple_choice", "question_answering")


def next_steps(run: Gathered) -> tuple[tuple[str, str], ...]:
    """Commands that make sense now, each with what it does."""
    folder = shlex.quote(str(run.folder))
    if run.state != "done":
        return ((f"ftune runs show {folder}", "see how far it came"),)
    task = " --task TASK" * (run.method == "multitask_prompt_tuning")
    steps = [(f"ftune generate {folder} --chat{task}", "talk to the tuned model")]
    if run.objective in ONE_TEXT:
        steps = [(f"ftune generate {folder} --prompt TEXT", "ask what it says of a text")]
    elif run.objective in SEVERAL_TEXTS:
        steps = [(f"ftune generate {folder} --input ROWS.jsonl", "ask what it says of rows")]
    if run.method not in ("full", "", *VIRTUAL):  # those have nothing to merge
        steps.append((f"ftune merge {folder}", "put the adapter into the base model"))
    steps.append((f"ftune runs show {folder}", "see this again, with samples"))
    return tuple(steps)
