"""What the whole run will need, from what was measured: estimates, and called so."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ftune.stages.rehearsal.walk import Walk

FORWARD = 1 / 3  # of the time of a training step that its forward pass takes, about
BUFFER = 1.1  # on the disk: reports, predictions, metrics


@dataclass(frozen=True)
class Need:
    """One resource: how much the run takes and how much there is, in bytes or seconds.

    ``measured`` says what the estimate stands on; ``there`` is None for time.
    """

    what: str
    amount: float
    there: float | None
    measured: str

    @property
    def holds(self) -> bool:
        """Whether there is enough."""
        return self.there is None or self.amount <= self.there


def needs(walk: Walk) -> list[Need]:
    """Memory, disk and time; what could not be measured is left out."""
    if walk.measured is None or walk.full is None:
        return []
    return [_memory(walk), _disk(walk), _time(walk)]


def _memory(walk: Walk) -> Need:
    import psutil

    measured = walk.measured
    assert measured is not None
    there = float(psutil.virtual_memory().total)
    if measured.device.startswith("cuda"):
        import torch

        there = float(torch.cuda.get_device_properties(measured.device).total_memory)
    said = f"the longest batch, {measured.lines} x {measured.width:,} tokens, on {measured.device}"
    return Need("memory", float(measured.peak_memory_bytes), there, said)


def _disk(walk: Walk) -> Need:
    recipe, measured = walk.loaded.recipe, walk.measured
    assert measured is not None
    assert walk.full is not None
    rows = sum(f.stat().st_size for f in walk.full.stage("format").rglob("*") if f.is_file())
    kept = recipe.train.save_total_limit + 1 + bool(recipe.data.eval)  # one is being written
    amount = BUFFER * (rows + kept * measured.checkpoint_bytes + walk.adapter_bytes)
    runs = Path(recipe.runs_dir).absolute()
    there = next(p for p in (runs, *runs.parents) if p.exists())
    said = f"{kept} checkpoints of {measured.checkpoint_bytes / 1e6:,.1f} MB, tokens and adapter"
    return Need("disk", amount, float(shutil.disk_usage(there).free), said)


def _time(walk: Walk) -> Need:
    from ftune.data.store import TokenStore
    from ftune.stages.rehearsal.miniature import NEW_TOKENS

    recipe, measured = walk.loaded.recipe, walk.measured
    assert measured is not None
    assert walk.full is not None
    training = measured.tokens * measured.seconds_per_token
    held_out = int(TokenStore(walk.full.stage("format") / "eval.arrow").lengths.sum())
    every = recipe.train.eval_steps
    times = measured.steps // every if every else max(1, round(recipe.train.num_train_epochs))
    evaluations = times * held_out * measured.seconds_per_token * FORWARD
    longer = max(1.0, recipe.evaluate.generation.max_new_tokens / NEW_TOKENS)
    asking = walk.test_rows * walk.evaluate_seconds * longer
    said = (
        f"{measured.steps:,} steps of {1 / measured.seconds_per_token:,.0f} tokens/s; "
        f"{times} evaluations of the loss; {walk.test_rows:,} answers of full length"
    )
    return Need("time", training + evaluations + asking, None, said)
