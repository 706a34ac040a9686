"""What a finished run proposes is a command that it does not refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import RECIPE

from ftune.report.closing import next_steps
from ftune.report.gather import Gathered
from ftune.report.series import Series


@pytest.mark.parametrize(
    ("objective", "how"),
    [
        ("sft", "--chat"),
        ({"sft": {}}, "--chat"),
        ({"classification": {"multi_label": True}}, "--prompt TEXT"),
        ({"token_classification": {}}, "--prompt TEXT"),
        ("regression", "--prompt TEXT"),
        ({"question_answering": {}}, "--input ROWS.jsonl"),
        ("multiple_choice", "--input ROWS.jsonl"),
        ({"seq2seq": {}}, "--chat"),
    ],
)
def test_models_that_say_labels_are_not_talked_to(objective: object, how: str) -> None:
    recipe = {**RECIPE, "train": {"objective": objective}}
    folder = Path("runs/demo/001")
    run = Gathered(folder, "demo", "001", "done", {}, recipe, {}, {}, Series(), (), ())
    assert next_steps(run)[0][0] == f"ftune generate runs/demo/001 {how}"
