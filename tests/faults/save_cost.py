"""What a checkpoint costs the loop: python tests/faults/save_cost.py [trained parameters ...]"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from ftune.train import checkpoint


def main() -> None:
    """Seconds of a save, with weights and two moments each as AdamW keeps them."""
    for count in [int(x) for x in sys.argv[1:]] or [100_000, 1_000_000, 10_000_000, 40_000_000]:
        parts = {
            "weights": {"w": torch.zeros(count)},
            "optimizer": {"m": torch.zeros(count), "v": torch.zeros(count)},
        }
        took = []
        with tempfile.TemporaryDirectory(dir=".") as folder:
            for step in range(5):
                since = time.perf_counter()
                checkpoint.save(Path(folder), step, {}, parts)
                took.append(time.perf_counter() - since)
                checkpoint.rotate(Path(folder), 2, None)
        print(f"{count:,} parameters, {12 * count / 1e6:,.1f} MB: {median(took):.3f} s")


if __name__ == "__main__":
    main()
