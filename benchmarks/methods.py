"""What each tuning method costs and gives: one run of each, through the command line, as a table.

    python benchmarks/methods.py --shared ../shared --page docs/methods.md

Every method trains the same small model (TinyStories-656K) on the same rows of E2E for as many
steps, each at a learning rate that suits it, and answers the same rows
of the test set. With ``--page`` the table takes the place of the one in that file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECIPE = """\
name: methods
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
      max_rows: {rows}
  template: plain
  max_length: 256
tune: {tune}
train:
  learning_rate: {rate}
  max_steps: {steps}
  per_device_train_batch_size: 16
  lr_scheduler_type: cosine
  warmup_ratio: 0.05
  logging_steps: 20
evaluate:
  metrics: [bleu, token_loss]
  group_references: true
  generation:
    max_new_tokens: 60
"""
# Name in the table, the tune section, the learning rate.
WAYS: tuple[tuple[str, str, str], ...] = (
    ("lora", "{method: lora}", "1e-2"),
    ("lora, DoRA", "{method: lora, use_dora: true}", "1e-2"),
    ("lora, LoRA+", "{method: lora, loraplus_lr_ratio: 16}", "3e-3"),
    ("qlora", "{method: qlora}", "1e-2"),
    ("adalora", "{method: adalora, tfinal: 20}", "3e-2"),
    ("vera", "{method: vera}", "0.1"),
    ("oft", "{method: oft}", "3e-3"),
    ("boft", "{method: boft}", "1e-2"),
    ("ia3", "{method: ia3}", "0.1"),
    ("layernorm", "{method: layernorm}", "3e-2"),
    ("prompt_tuning", "{method: prompt_tuning}", "0.1"),
    ("p_tuning", "{method: p_tuning}", "3e-3"),
    ("prefix_tuning", "{method: prefix_tuning}", "1e-2"),
    ("p_tuning_v2", "{method: p_tuning_v2}", "0.1"),
    ("bitfit", "{method: bitfit}", "1e-2"),
    ("head", "{method: head}", "1e-2"),
    ("freeze, the last layer", "{method: freeze}", "3e-3"),
    ("importance, rows", "{method: importance}", "1e-2"),
    ("importance, numbers", "{method: importance, by: parameter}", "1e-2"),
    ("bottleneck", "{method: bottleneck, size: 16}", "1e-2"),
    ("full", "{method: full}", "3e-3"),
)
HEAD = (
    "| method | learning rate | trained | of all | peak memory | seconds | BLEU | loss per token "
    "| on disk | merges |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n"
)
BEGIN, END = "<!-- table -->", "<!-- end of table -->"


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    name: str
    rate: str
    run: dict[str, Any] | None
    merges: str
    said: str = ""

    def figures(self, metric: str, side: str = "tuned") -> float:
        """A metric of the run."""
        assert self.run is not None
        found = self.run["stages"]["evaluate"]["figures"]["metrics"]
        return float(next(m[side] for m in found if m["name"] == metric))

    def line(self) -> str:
        """In Markdown."""
        if self.run is None:
            return f"| {self.name} | | | | | | | | | {self.said} |\n"
        load = self.run["stages"]["load"]["figures"]
        train = self.run["stages"]["train"]["figures"]
        cells = (
            self.name,
            self.rate,
            f"{load['trainable']:,}",
            f"{load['trainable_percent']:.2f}%",
            f"{train['peak_memory_bytes'] / 2**20:,.0f} MiB",
            f"{train['seconds']:.1f}",
            f"{self.figures('bleu'):.1f}",
            f"{self.figures('token_loss'):.3f}",
            f"{_weights(Path(self.run['folder'])) / 1000:,.0f} kB",
            self.merges,
        )
        return "| " + " | ".join(cells) + " |\n"


def ftune(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """One command, with one thread and without a network."""
    own = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "ftune", *arguments],
        cwd=cwd,
        env={**os.environ, **own},
        text=True,
        capture_output=True,
        check=False,
    )


def _weights(run: Path) -> int:
    """Bytes of the trained weights, without the tokenizer beside them."""
    return sum(f.stat().st_size for f in (run / "train" / "adapter").glob("*.safetensors"))


def measure(home: Path, options: argparse.Namespace, way: tuple[str, str, str]) -> Row:
    """Trains, evaluates and merges one way."""
    name, tune, rate = way
    folder = home / name.replace(" ", "-").replace(",", "")
    folder.mkdir()
    text = RECIPE.format(
        shared=options.shared.resolve(),
        tune=tune,
        rate=rate,
        steps=options.steps,
        rows=options.rows,
    )
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    extra = ["-o", "model.quantization.load_in_4bit=true"] if name == "qlora" else []
    done = ftune("train", "recipe.yaml", *extra, "--json", cwd=folder)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Row(name, rate, None, "", f"refused: {said.partition('(')[0].strip()}")
    run = folder / "runs" / "methods" / "001"
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    merged = ftune("merge", str(run), cwd=folder)
    merges = "yes" if merged.returncode == 0 else "no"
    return Row(name, rate, {**report, "folder": str(run)}, merges)


def main() -> None:
    """Prints the table, and the figures of the untuned base above it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--rows", type=int, default=200, help="of the test set")
    parser.add_argument("--only", nargs="*", default=[], help="names of methods")
    parser.add_argument("--page", type=Path, help="file whose table is replaced")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as home:
        for way in WAYS:
            if options.only and way[0] not in options.only:
                continue
            rows.append(measure(Path(home), options, way))
            print(rows[-1].line(), end="", flush=True)
        done = [row for row in rows if row.run is not None]
        base = [done[0].figures(m, "base") for m in ("bleu", "token_loss")]
        table = HEAD + f"| untuned | | 0 | | | | {base[0]:.1f} | {base[1]:.3f} | | |\n"
        table += "".join(row.line() for row in rows)
    print(table)
    worse = [row.name for row in done if row.figures("token_loss") >= base[1]]
    if options.page:
        before, _, rest = options.page.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        options.page.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}", encoding="utf-8")
    if worse:
        sys.exit(f"no better than the untuned base: {', '.join(worse)}")


if __name__ == "__main__":
    main()
