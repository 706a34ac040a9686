"""Kills trainings at random moments, starts them again, and compares them with undisturbed ones.

    python tests/faults/kills.py --trials 100
    python tests/faults/kills.py --trials 100 --fault full
    python tests/faults/kills.py --trials 40 --kinds more

Prints the count and where the kills fell; exit code 1 if a run was stuck or ended otherwise. What
went wrong is kept in the folder that is named.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from parent import Parent
from trials import Field, Trial, summary
from world import MORE, VARIANTS, make_home


def main() -> int:
    """Runs the trials; the exit code."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--trials", type=int, default=10)
    options.add_argument("--fault", choices=("kill", "full", "broken"), default="kill")
    options.add_argument("--kinds", choices=("usual", "more"), default="usual")
    options.add_argument("--seed", type=int, default=random.randrange(10**6))
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ftune-faults-"))
    started = time.monotonic()
    parent = Parent(folder / "said")
    trials: list[Trial] = []
    try:
        names = tuple(MORE if chosen.kinds == "more" else VARIANTS)
        ground = Field(make_home(folder / "home"), parent, folder, names)
        for number in range(chosen.trials):
            rng = random.Random(chosen.seed * 10_000 + number)
            trials.append(ground.trial(number, chosen.fault, rng))
            for line in trials[-1].wrong:
                print(f"trial {number} ({trials[-1].variant}, {trials[-1].places}): {line}")
            if number % 10 == 9:
                print(f"{number + 1} trials, {time.monotonic() - started:.0f} s", flush=True)
    finally:
        parent.close()
    print(summary(trials, chosen.fault))
    print(f"seed {chosen.seed}, {time.monotonic() - started:.0f} s, {folder}")
    return int(any(t.wrong for t in trials))


if __name__ == "__main__":
    sys.exit(main())
