"""ftune and transformers' Trainer with PEFT on a sentence classifier, in turn, on the same rows.

    python benchmarks/classify.py --model FOLDER --shared ../shared

The model is all-MiniLM-L6-v2 (a folder with config.json and weights); LoRA r=4 on the query
matrices, learning rate 1e-3, two epochs in batches of 16, with each seed in turn. The sides:
``ftune``, ``ftune-plain`` (without its fast paths), ``longest`` and ``max_length`` (the Trainer
that pads to the longest row of a batch, and to a fixed length, as tutorials do). ``head`` is SST-2
with the head alone trained, for several numbers of epochs.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from watching import answer

RECIPE = """\
name: classify
model: {{name_or_path: {model}, device: cpu}}
data:
  train: [{{path: train.jsonl, format: labelled}}]
  test: [{{path: test.jsonl, format: labelled}}]
  max_length: {length}
  on_too_long: truncate
tune: {tune}
train:
  objective: classification
  learning_rate: 1.0e-3
  num_train_epochs: {epochs}
  seed: {seed}
  per_device_train_batch_size: 16
evaluate:
  metrics: [accuracy]
  base: false
"""
LORA = "{{method: lora, r: 4, lora_alpha: {alpha}, target_modules: [query]}}"
EPOCHS = (1, 2, 5, 10)  # of the head alone


@dataclass(frozen=True)
class Work:
    """One training, the same for all sides."""

    folder: Path
    model: str
    length: int
    seed: int = 42
    epochs: int = 2
    alpha: int | None = 8  # none: the head alone is trained


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", type=Path, required=True, help="folder of the encoder")
    options.add_argument("--shared", type=Path, required=True, help="folder of real data")
    options.add_argument("--only", default="sst2,imdb,head")
    options.add_argument("--sides", default="ftune,longest")
    options.add_argument("--seeds", default="42,43,44")
    options.add_argument("--alpha", type=int, default=8, help="of LoRA")
    given = options.parse_args()
    sides = given.sides.split(",")
    for name in given.only.split(","):
        folder = Path(tempfile.mkdtemp(prefix="ftune-classify-"))
        rows = "imdb" if name == "imdb" else "sst2"
        _write(folder, given.shared, rows)
        length = {"sst2": 64, "imdb": 256}[rows]
        if name == "head":
            for epochs in EPOCHS:
                work = Work(folder, str(given.model.resolve()), length, epochs=epochs, alpha=None)
                _turns(f"head, {epochs} epochs", sorted({*sides, "ftune-plain"}), [work])
            continue
        seeds = [int(seed) for seed in given.seeds.split(",")]
        works = [
            Work(folder, str(given.model.resolve()), length, seed, alpha=given.alpha)
            for seed in seeds
        ]
        _turns(name, sides, works)


def _write(folder: Path, shared: Path, name: str) -> None:
    for split, count in _COUNTS[name].items():
        rows = islice(_ROWS[name](shared / "data" / name, split), count)
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def _turns(name: str, sides: Sequence[str], works: Sequence[Work]) -> None:
    """All sides with the first work, then all with the next; a line for each, and their means."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for work in works:
        for side in sides:
            one = _ftune(work, side) if side.startswith("ftune") else _trainer(work, side)
            found[side].append(one)
            _say(f"{name}, seed {work.seed}", side, one)
    for side, each in found.items():
        if len(each) > 1:
            _say(f"{name}, mean", side, {key: mean(one[key] for one in each) for key in each[0]})
            error = stdev(one["accuracy"] for one in each) / math.sqrt(len(each))
            print(f"{name}, mean of {len(each)} seeds: standard error of accuracy {error:.2f}")
    for side in sides[1:]:
        apart = [
            one["accuracy"] - other["accuracy"]
            for one, other in zip(found[sides[0]], found[side], strict=True)
        ]
        if len(apart) > 1:
            error = stdev(apart) / math.sqrt(len(apart))
            print(f"{name}: {sides[0]} - {side} {mean(apart):+.2f}, standard error {error:.2f}")


def _say(name: str, side: str, found: dict[str, float]) -> None:
    print(
        f"{name:22} {side:12} accuracy {found['accuracy']:.2f}%  "
        f"training {found['seconds']:.1f} s  peak {found['peak_bytes'] / 1e9:.2f} GB",
        flush=True,
    )


def _sst2(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    with (folder / f"{split}.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield {"text": row["sentence"], "label": row["label"]}


def _imdb(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    path = folder / ("train_4k.jsonl.gz" if split == "train" else "test_2k.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    # Half of each label, as the files hold one after the other.
    by_label: dict[Any, list[Any]] = {}
    for row in rows:
        by_label.setdefault(row["label"], []).append(row)
    for pair in zip(*by_label.values(), strict=False):
        for row in pair:
            yield {"text": row["text"], "label": row["label"]}


_ROWS: dict[str, Callable[[Path, str], Iterator[dict[str, Any]]]] = {"sst2": _sst2, "imdb": _imdb}
_COUNTS: dict[str, dict[str, int | None]] = {
    "sst2": {"train": 4000, "test": None},
    "imdb": {"train": 1000, "test": 1000},
}


def _trainer(work: Work, side: str) -> dict[str, float]:
    told = {
        "model": work.model,
        "length": work.length,
        "padding": side,
        "folder": str(work.folder / side),
        "train": str(work.folder / "train.jsonl"),
        "test": str(work.folder / "test.jsonl"),
        "seed": work.seed,
        "epochs": work.epochs,
        "alpha": work.alpha,
    }
    found: dict[str, float] = answer("classify_trainer", json.dumps(told))
    return found


def _ftune(work: Work, side: str) -> dict[str, float]:
    tune = LORA.format(alpha=work.alpha) if work.alpha else "{method: head}"
    text = RECIPE.format(
        model=work.model, length=work.length, tune=tune, epochs=work.epochs, seed=work.seed
    )
    (work.folder / "recipe.yaml").write_text(text, "utf-8")
    subprocess.run(
        [sys.executable, "-m", "ftune", "train", "recipe.yaml", "--fresh"],
        cwd=work.folder,
        env={**os.environ, "FTUNE_PLAIN": str(int(side == "ftune-plain"))},
        check=True,
        capture_output=True,
    )
    run = max((work.folder / "runs" / "classify").glob("[0-9]*"))
    trained = json.loads((run / "train" / "report.json").read_text("utf-8"))["figures"]
    lines = (run / "evaluate" / "report.json").read_text("utf-8")
    metrics = {m["name"]: m["tuned"] for m in json.loads(lines)["figures"]["metrics"]}
    return {
        "accuracy": metrics["accuracy"],
        "seconds": trained["seconds"],
        "peak_bytes": trained["peak_memory_bytes"],
    }


if __name__ == "__main__":
    main()
