"""ULMFiT's three, apart and together, beside plain full fine-tuning: a table of means over seeds.

    python benchmarks/layerwise.py --shared ../shared --page docs/ulmfit.md

TinyStories-656K learns E2E (restaurant facts to text) and is scored on it, and on stories like
those that it was made of. With ``--page`` the table takes the place of the one in that file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean

RECIPE = """\
name: layerwise
model:
  name_or_path: {shared}/models/TinyStories-656K
data:
  train:
    - path: {shared}/data/e2e/devset.csv
      format: prompt_completion
      columns: {{prompt: mr, completion: ref}}
  test:
    - path: {shared}/data/e2e/testset_w_refs.csv
      format: prompt_completion
      columns: {{prompt: mr, completion: ref}}
      max_rows: 200
  template: plain
  max_length: 512
  on_too_long: truncate
tune: {{method: full}}
train:
  learning_rate: 3e-3
  max_steps: {steps}
  per_device_train_batch_size: 16
  logging_steps: 20
evaluate:
  metrics: [bleu, token_loss]
  group_references: true
  bootstrap: 0
  retain:
    - {{name: stories, path: {stories}, format: text, max_rows: 200}}
  generation:
    max_new_tokens: 60
"""
USUAL = ("train.lr_scheduler_type=cosine", "train.warmup_ratio=0.05")
SLANTED = ("train.lr_scheduler_type=slanted_triangular",)
RATES = ("train.layer_rate_decay=2.6",)
WAYS: dict[str, tuple[str, ...]] = {
    "plain full": USUAL,
    "rates by layer": (*USUAL, *RATES),
    "gradual unfreezing": (*USUAL, "{every}"),
    "slanted triangle": SLANTED,
    "all three": (*SLANTED, *RATES, "{every}"),
    "all three, factor 1.3": (*SLANTED, "train.layer_rate_decay=1.3", "{every}"),
}
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
HEAD = "| way | BLEU | loss per token | loss on stories |\n| --- | ---: | ---: | ---: |\n"


def run(home: Path, overrides: tuple[str, ...]) -> dict[str, float]:
    """The figures of one run, of the base model before and the tuned one after."""
    sets = [part for each in overrides for part in ("-o", each)]
    done = subprocess.run(
        [sys.executable, "-m", "ftune", "train", "recipe.yaml", *sets, "--json"],
        cwd=home,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    figures = json.loads(done.stdout)["stages"]["evaluate"]["figures"]
    found: dict[str, float] = {}
    for side in ("base", "tuned"):
        own = {m["name"]: m[side] for m in figures["metrics"]}
        stories = next(v for k, v in own.items() if "stories" in k and "token_loss" in k)
        found |= {f"{side} bleu": own["bleu"], f"{side} loss": own["token_loss"]}
        found[f"{side} stories"] = stories
    return found


def main() -> None:
    """Runs each way with each seed and writes the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    table = HEAD
    with tempfile.TemporaryDirectory() as folder:
        home, shared = Path(folder), options.shared.resolve()
        stories = shared / "data" / "tinystories" / "tinystories.txt"
        text = RECIPE.format(shared=shared, steps=options.steps, stories=stories)
        (home / "recipe.yaml").write_text(text, encoding="utf-8")
        every = f"train.unfreeze_every={{steps: {options.steps // 4}}}"
        for name, way in WAYS.items():
            own = tuple(part.replace("{every}", every) for part in way)
            runs = [run(home, (*own, f"train.seed={seed}")) for seed in range(options.seeds)]
            of = {key: mean(each[key] for each in runs) for key in runs[0]}
            if table == HEAD:
                table += f"| untuned | {of['base bleu']:.1f} | {of['base loss']:.3f} "
                table += f"| {of['base stories']:.3f} |\n"
            low, high = (f(each["tuned bleu"] for each in runs) for f in (min, max))
            table += f"| {name} | {of['tuned bleu']:.1f} ({low:.1f} to {high:.1f}) "
            table += f"| {of['tuned loss']:.3f} | {of['tuned stories']:.3f} |\n"
            print(table.splitlines()[-1], flush=True)
    if options.page:
        text = options.page.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN, 1)
        page = f"{before}{BEGIN}\n\n{table}\n{END}{rest.split(END, 1)[1]}"
        options.page.write_text(page, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
