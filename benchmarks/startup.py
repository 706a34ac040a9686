"""Seconds until ftune answers: --help, validate, and what its imports cost.

    .venv/bin/python benchmarks/startup.py

The time from the command to the first step of a training stands in benchmarks/train.py.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from statistics import median

from work import ROOT

VERBS = {"--help": ["--help"], "validate": ["validate", str(ROOT / "recipes/quickstart.yaml")]}
# What a training imports, one behind the other; each is charged with what it is the first to need.
LIBRARIES = ("torch", "transformers.models.llama.modeling_llama", "peft", "accelerate")
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
SHOWN = 8


def seconds(command: list[str], repeat: int) -> float:
    """Median wall seconds of a command, the disk's cache warm."""
    taken = []
    for _ in range(repeat + 1):
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - begun)
    return median(taken[1:])


def imports() -> Counter[str]:
    """Seconds of import by top package, for what a training of a Llama imports."""
    code = "; ".join(f"import {name}" for name in LIBRARIES)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], check=True, capture_output=True, text=True
    )
    found: Counter[str] = Counter()
    for match in LINE.finditer(done.stderr):
        found[match[2].partition(".")[0]] += int(match[1]) / 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    ftune = [sys.executable, "-m", "ftune"]
    verbs = {name: seconds([*ftune, *verb], options.repeat) for name, verb in VERBS.items()}
    bare = seconds([sys.executable, "-c", ""], options.repeat)
    found = imports()
    if options.json:
        print(json.dumps({"python": bare, "verbs": verbs, "imports": dict(found.most_common())}))
        return
    print(f"{'python alone':<16}{bare:6.2f} s")
    for name, taken in verbs.items():
        print(f"{'ftune ' + name:<16}{taken:6.2f} s")
    print(f"imports of a training {sum(found.values()):.2f} s, of them")
    for name, taken in found.most_common(SHOWN):
        print(f"  {name:<14}{taken:6.2f} s")


if __name__ == "__main__":
    main()
