"""Tokens/s of generated answers: ftune, a loop over rows, and batches as they come, in turn.

    .venv/bin/python benchmarks/evaluate.py

The model is that of benchmarks/train.py with an adapter that is not merged. "Batches" are
``generate`` over padded batches in the rows' order, as transformers' text-generation pipeline makes
them. No answer ends by itself, so that all make equally many tokens.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median

from watching import answer
from work import Work

SIDES = {"ftune": "ftune", "batches": "batches in order", "rows": "row by row"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, help="OMP_NUM_THREADS of all sides")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    variables = {"OMP_NUM_THREADS": str(options.threads)} if options.threads else {}
    folder = Path(tempfile.mkdtemp(prefix="ftune-bench-"))
    rates: dict[str, dict[str, list[float]]] = {}
    try:
        answer("prepare", str(folder), json.dumps(asdict(Work(steps=options.prompts, batch=1))))
        numbers = map(str, (options.prompts, options.new_tokens, options.batch))
        arguments = tuple(numbers)
        for _ in range(options.repeat):
            for side in SIDES:
                made = answer("generate", str(folder), side, *arguments, variables=variables)
                for clock in ("seconds", "cpu"):
                    found = rates.setdefault(side, {}).setdefault(clock, [])
                    found.append(made["tokens"] / made[clock])
    finally:
        shutil.rmtree(folder)
    if options.json:
        print(json.dumps(rates))
        return
    plain = {clock: median(found) for clock, found in rates["rows"].items()}
    print(f"{'median':<20}{'tokens/s':>9}{'x':>6}{'per CPU s':>11}{'x':>6}")
    for side, told in SIDES.items():
        wall, cpu = median(rates[side]["seconds"]), median(rates[side]["cpu"])
        print(
            f"{told:<20}{wall:>9,.0f}{wall / plain['seconds']:>6.1f}"
            f"{cpu:>11,.0f}{cpu / plain['cpu']:>6.1f}"
        )


if __name__ == "__main__":
    main()
