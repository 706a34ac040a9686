"""ftune and transformers' Trainer with PEFT on a sentence classifier, in turn, on the same rows.

    python benchmarks/classify.py --model FOLDER --shared ../shared

The model is all-MiniLM-L6-v2 (a folder with config.json and weights); LoRA r=4 on the query
matrices, learning rate 1e-3, two epochs in batches of 16. The Trainer runs twice: padding to the
longest row of a batch, and to a fixed length, as tutorials do.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
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
tune: {{method: lora, r: 4, lora_alpha: 8, target_modules: [query]}}
train:
  objective: classification
  learning_rate: 1.0e-3
  num_train_epochs: 2
  per_device_train_batch_size: 16
evaluate:
  metrics: [accuracy]
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", required=True, help="folder of the encoder")
    options.add_argument("--shared", type=Path, required=True, help="folder of real data")
    options.add_argument("--only", default="sst2,imdb")
    options.add_argument("--sides", default="ftune,longest,max_length")
    given = options.parse_args()
    for name in given.only.split(","):
        folder = Path(tempfile.mkdtemp(prefix="ftune-classify-"))
        length = {"sst2": 64, "imdb": 256}[name]
        for split, count in _COUNTS[name].items():
            rows = islice(_ROWS[name](given.shared / "data" / name, split), count)
            with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        for side in given.sides.split(","):
            made = _ftune if side == "ftune" else _trainer
            found = made(folder, given.model, length, side)
            print(
                f"{name:6} {side:12} accuracy {found['accuracy']:.2f}%  "
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


_ROWS = {"sst2": _sst2, "imdb": _imdb}
_COUNTS = {
    "sst2": {"train": 4000, "test": None},
    "imdb": {"train": 1000, "test": 1000},
}


def _trainer(folder: Path, model: str, length: int, side: str) -> dict[str, float]:
    work = {
        "model": model,
        "length": length,
        "padding": side,
        "folder": str(folder / side),
        "train": str(folder / "train.jsonl"),
        "test": str(folder / "test.jsonl"),
    }
    found: dict[str, float] = answer("classify_trainer", json.dumps(work))
    return found


def _ftune(folder: Path, model: str, length: int, side: str) -> dict[str, float]:  # noqa: ARG001
    (folder / "recipe.yaml").write_text(RECIPE.format(model=model, length=length), "utf-8")
    command = [sys.executable, "-m", "ftune", "train", "recipe.yaml"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    run = folder / "runs" / "classify" / "001"
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
