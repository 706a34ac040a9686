"""What saves cost the loop, waited for and beside it in turn: python tests/faults/save_cost.py

A random Llama of 30 million parameters trains on rows of 128 tokens, in full and with LoRA, and
saves after each ``--every`` steps. Told is the loop's own time in a save, and each run's time
beside that of one without saves but the last, which is always waited for and not counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "unit"))

import numpy as np
import peft
import torch
from tiny_training import make_job, tiny_llama

from ftune.train import background, checkpoint
from ftune.train.loop import train
from ftune.train.saving import Saver

SIZES = {
    "vocab_size": 8192,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 7,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
}
ROOM = background.free_memory


@dataclass
class Cost:
    """Of the runs of one kind: seconds of each save in the loop's thread, and of all else."""

    saves: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)  # seconds of a run per step, saves included


def model(kind: str) -> Any:
    """The model in full, or with an adapter of rank 16 on all its linear layers."""
    made = tiny_llama(**SIZES)
    if kind == "full":
        return made
    return peft.get_peft_model(
        made, peft.LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
    )


def run(kind: str, every: int, steps: int, batch: int, cost: Cost) -> int:
    """One training; bytes of its checkpoint."""
    random = np.random.default_rng(0)
    rows = [(random.integers(3, 8000, 128), np.ones(128, bool)) for _ in range(steps * batch)]
    took: list[float] = []
    save, finish = Saver.save, Saver.finish

    def timed(self: Saver, *arguments: Any) -> None:
        since = time.perf_counter()
        save(self, *arguments)
        took.append(time.perf_counter() - since)

    def ended(self: Saver) -> None:
        took.append(-time.perf_counter())
        finish(self)
        took[-1] += time.perf_counter()

    with tempfile.TemporaryDirectory(dir=".") as folder:
        job = make_job(
            Path(folder),
            model(kind),
            rows,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=1,
            save_steps=every,
            learning_rate=1e-4,
        )
        Saver.save, Saver.finish = timed, ended  # type: ignore[method-assign]
        try:
            since = time.perf_counter()
            train(job)
            seconds = time.perf_counter() - since
        finally:
            Saver.save, Saver.finish = save, finish  # type: ignore[method-assign]
        last = 2  # the last save and the wait for it
        cost.saves += took[:-last]
        cost.steps.append((seconds - sum(took[-last:])) / steps)
        [newest, *_] = checkpoint.steps(Path(folder) / "checkpoints")
        there = checkpoint.path_of(Path(folder) / "checkpoints", newest)
        return sum(f.stat().st_size for f in there.iterdir())


def main() -> None:
    """Prints a line for each kind of training and of saving."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--every", type=int, default=5)
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--batch", type=int, default=4)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    for kind in ("lora", "full"):
        costs = {"none": Cost(), "waited for": Cost(), "beside": Cost()}
        size = 0
        for _ in range(chosen.rounds):
            for way, cost in costs.items():
                background.free_memory = (lambda: 0) if way == "waited for" else ROOM
                every = 10**6 if way == "none" else chosen.every
                size = run(kind, every, chosen.steps, chosen.batch, cost)
        plain = median(costs["none"].steps)
        print(f"{kind}: {size / 1e6:,.1f} MB a checkpoint, {plain:.3f} s a step without saves")
        for way in ("waited for", "beside"):
            cost = costs[way]
            share = median(cost.saves) / (chosen.every * plain)
            print(
                f"  {way}: {1000 * median(cost.saves):,.0f} ms of the loop a save "
                f"(longest {1000 * max(cost.saves):,.0f}), {100 * share:.2f}% of {chosen.every} "
                f"steps; {median(cost.steps):.3f} s a step in all"
            )


if __name__ == "__main__":
    main()
