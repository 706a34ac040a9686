"""The benchmark over lengths, batches, methods, layers, rows, vocabularies: table and picture.

    .venv/bin/python benchmarks/sweep.py --into docs/performance

Runs ``benchmarks/train.py`` for each setting (about half an hour), keeps each answer as JSON in the
folder, and draws from what is there; ``--draw`` only draws.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drawing import draw
from flops import per_token
from work import Work

BESIDE = "ftune,trl"
ALONE = "ftune"
# Name, sides, and the arguments of benchmarks/train.py.
SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("default", "ftune,trl,trl-open,loop", "--steps 12"),
    ("length-128", BESIDE, "--length 128 --steps 16"),
    ("length-512", BESIDE, "--length 512 --steps 6"),
    ("length-2048", BESIDE, "--length 2048 --steps 4"),
    ("batch-1", BESIDE, "--batch 1 --steps 40"),
    ("batch-32", BESIDE, "--batch 32 --steps 5"),
    ("prompt-tuning", BESIDE, "--method prompt_tuning --steps 12"),
    ("full", BESIDE, "--method full --steps 12"),
    ("length-1024", ALONE, "--length 1024 --steps 4"),
    ("layers-4", ALONE, "--layers 4 --steps 8"),
    ("layers-16", ALONE, "--layers 16 --steps 8"),
    ("layers-30", ALONE, "--layers 30 --steps 6"),
    ("rows-64", ALONE, "--steps 8"),
    ("rows-256", ALONE, "--steps 32"),
    ("rows-1024", ALONE, "--steps 128"),
    ("vocabulary-100000", ALONE, "--vocabulary 100000 --steps 8"),
    ("vocabulary-150000", ALONE, "--vocabulary 150000 --steps 8"),
)
TOKENIZER = 50_257  # GPT-2's vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--into", type=Path, required=True, help="folder of answers and picture")
    parser.add_argument("--draw", action="store_true", help="measure nothing again")
    parser.add_argument("--only", help="names of settings, with commas between")
    parser.add_argument("--repeat", default="1")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    chosen = options.only.split(",") if options.only else [name for name, *_ in SETTINGS]
    if unknown := set(chosen) - {name for name, *_ in SETTINGS}:
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    if not options.draw:
        for name, sides, arguments in SETTINGS:
            if name in chosen:
                print(f"{name} ...", flush=True)
                _measure(options.into / f"{name}.json", sides, arguments.split(), options.repeat)
    found = {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name, *_ in SETTINGS
        if (file := options.into / f"{name}.json").is_file()
    }
    print(table(found))
    draw(options.into / "performance.png", found)


def _measure(file: Path, sides: str, arguments: Sequence[str], repeat: str) -> None:
    script = Path(__file__).with_name("train.py")
    command = [sys.executable, str(script), "--json", "--repeat", repeat, "--sides", sides]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{file.stem} failed:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout)
    del found["turns"]  # the medians are kept
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def table(found: dict[str, dict[str, Any]]) -> str:
    """The figures in Markdown, TRL's beside where it ran."""
    heads = ("", "tokens/s", "TRL", "x", "peak GB", "TRL", "share", "first step", "TRL", "of rate")
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for name, one in found.items():
        ours, other = one["sides"]["ftune"], one["sides"].get("trl")
        work = Work(**one["work"])
        operations = per_token(work, max(TOKENIZER, work.vocabulary))
        share = operations * ours["tokens_per_second"] / (one["matrix_gflops"]["onednn"] * 1e9)
        cells = [
            name.replace("-", " ", 1),
            f"{ours['tokens_per_second']:,.0f}",
            f"{other['tokens_per_second']:,.0f}" if other else "",
            f"{ours['tokens_per_second'] / other['tokens_per_second']:.1f}" if other else "",
            f"{ours['peak_bytes'] / 1e9:.2f}",
            f"{other['peak_bytes'] / 1e9:.2f}" if other else "",
            f"{ours['peak_bytes'] / other['peak_bytes']:.2f}" if other else "",
            f"{ours['first_step_seconds']:.1f} s",
            f"{other['first_step_seconds']:.1f} s" if other else "",
            f"{share:.0%}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
