"""What an evaluation holds of each row stays small, however many rows there are.

Run as a program (``python test_evaluation_memory.py FOLDER``) it prints the most memory that
evaluations of FEW and MANY rows had: each in a fork of a process that only imported things.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FEW, MANY = 200, 4000
# Bytes a row: its text, the ids of prompt and answer twice over, an answer, its figures; with what
# 1,000 bootstrap draws need at once. Ids in lists and more draws at once took 31,000.
LIMIT = 6000
METRICS = "[token_loss, exact_match]"


def test_memory_is_flat_in_the_number_of_rows(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    few, many = json.loads(done.stdout.splitlines()[-1])
    a_row = (many - few) / (MANY - FEW)
    print(f"{few / 1e6:.1f} MB of {FEW} rows, {many / 1e6:.1f} MB of {MANY}: {a_row:,.0f} a row")
    assert a_row < LIMIT


def main(folder: Path) -> None:
    """Prints the two peaks in bytes, as JSON."""
    import peft  # noqa: F401  what an evaluation imports, imported once
    import small_runs
    import transformers.models.llama.modeling_llama  # noqa: F401

    from ftune.stages import eval_again  # noqa: F401

    recipe = small_runs.make_home(folder)
    words = "Write it down, and say it then again. " * 5
    for count in (FEW, MANY):
        rows = [small_runs.row(number, words) for number in range(count)]
        small_runs.write_rows(folder / f"{count}.jsonl", rows)
    print(json.dumps([peak(recipe, count) for count in (FEW, MANY)]))


def peak(recipe: Path, rows: int) -> int:
    """Bytes that a process had at most while it evaluated so many rows."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            evaluate(recipe, rows)
            code = 0
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    assert status == 0
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def evaluate(recipe: Path, rows: int) -> None:
    import small_runs

    from ftune.run.progress import Silent
    from ftune.stages.eval_again import Question, answer
    from ftune.stages.target import Found

    loaded = small_runs.load(
        recipe,
        f"data.test.0.path={rows}.jsonl",
        "data.max_length=192",
        f"evaluate.metrics={METRICS}",
        "evaluate.generation.max_new_tokens=1",
        "evaluate.batch_size=128",
        "evaluate.bootstrap=1000",
    )
    answer(
        Found(loaded, None), Question(model="base", output=recipe.parent / f"of-{rows}"), Silent()
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
