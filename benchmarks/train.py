"""ftune, TRL and a plain loop on the same work, in turn: tokens/s, memory, time to the first step.

    .venv/bin/python benchmarks/train.py

Each runs in a process of its own, over the same rows once; tokens are counted without padding, and
the first two steps are left out of the rate. They take turns, so that whatever else the machine
does meets all of them; figures are medians over the turns.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from watching import HERE, Seen, answer, watch
from work import Work

SIDES = ("ftune", "trl", "trl-open", "loop", "ftune-plain", "ftune-compiled")
TOLD = {
    "ftune": "ftune",
    "ftune-plain": "ftune, fast paths off",
    "ftune-compiled": "ftune, torch_compile",
    "trl": "TRL's defaults",
    "trl-open": "TRL, no checkpointing",
    "loop": "plain loop",
}
TUNE = {
    "lora": {"method": "lora", "r": 16, "lora_alpha": 32},
    "prompt_tuning": {"method": "prompt_tuning", "num_virtual_tokens": 20},
    "full": {"method": "full"},
}


def main() -> None:
    options = _options()
    sides = options.sides.split(",")
    folder = Path(tempfile.mkdtemp(prefix="ftune-bench-"))
    work = Work(
        method=options.method,
        length=options.length,
        batch=options.batch,
        steps=options.steps,
        layers=options.layers,
        vocabulary=options.vocabulary,
    )
    variables = {"OMP_NUM_THREADS": str(options.threads)} if options.threads else {}
    try:
        answer("prepare", str(folder), json.dumps(asdict(work)))
        rates = [answer("rate", variables=variables)]
        seen: dict[str, list[Seen]] = {side: [] for side in sides}
        for turn in range(options.repeat):
            for side in sides:
                seen[side].append(_run(side, work, folder, turn, variables))
                if not options.json:
                    _say(side, seen[side][-1])
            rates.append(answer("rate", variables=variables))
    finally:
        shutil.rmtree(folder)
    result = _result(work, seen, rates)
    if options.json:
        print(json.dumps(result))
    else:
        _show(result)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--length", type=int, help="tokens of each row (default: as they are)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--method", choices=tuple(TUNE), default="lora")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=0, help="more than the tokenizer's")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, help="OMP_NUM_THREADS of all sides")
    parser.add_argument("--sides", default=",".join(SIDES[:4]), help=f"of {', '.join(SIDES)}")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.sides.split(",")) - set(SIDES):
        parser.error(f"--sides: {', '.join(unknown)} is not among {', '.join(SIDES)}")
    if options.steps < 3:
        parser.error("--steps: two are left out of the rate, so take 3 or more")
    return options


def _run(side: str, work: Work, folder: Path, turn: int, variables: dict[str, str]) -> Seen:
    own = folder / f"{side}-{turn}"
    own.mkdir()
    if side.startswith("ftune"):
        recipe = own / "recipe.yaml"
        recipe.write_text(json.dumps(_recipe(work, folder)), encoding="utf-8")  # JSON is YAML
        plain = {"FTUNE_PLAIN": "1"} if side == "ftune-plain" else {}
        command = [sys.executable, "-m", "ftune", "train", str(recipe), "--json"]
        if side == "ftune-compiled":
            command += ["-o", "train.torch_compile=true"]
        variables = {**variables, **plain}
        return watch(command, own, "runs/*/*/train/metrics.jsonl", variables, running=True)
    script = "loop" if side == "loop" else "trl_trainer"
    command = [sys.executable, str(HERE / f"sides/{script}.py"), str(folder), str(own / "steps")]
    if side != "loop":
        command.append("open" if side == "trl-open" else "defaults")
    return watch(command, own, "steps", variables)


def _recipe(work: Work, folder: Path) -> dict[str, Any]:
    return {
        "name": "benchmark",
        "model": {"name_or_path": str(folder / "model"), "dtype": "float32", "device": "cpu"},
        "data": {
            "train": [{"path": str(folder / "train.jsonl"), "format": "prompt_completion"}],
            "template": "plain",
            "max_length": work.limit,
            "on_too_long": "truncate",
        },
        "tune": TUNE[work.method],
        "train": {
            "num_train_epochs": 1,
            "per_device_train_batch_size": work.batch,
            "logging_steps": 1,
        },
    }


def _result(work: Work, seen: dict[str, list[Seen]], rates: Sequence[Any]) -> dict[str, Any]:
    figures = {
        side: {key: median(asdict(run)[key] for run in runs) for key in asdict(runs[0])}
        for side, runs in seen.items()
    }
    return {
        "work": asdict(work),
        "sides": figures,
        "matrix_gflops": {key: median(rate[key] for rate in rates) for key in rates[0]},
        "turns": {side: [asdict(run) for run in runs] for side, runs in seen.items()},
    }


def _say(side: str, run: Seen) -> None:
    print(
        f"  {TOLD[side]:<24}{run.tokens_per_second:9,.0f} tokens/s {run.peak_bytes / 1e9:6.2f} GB"
        f" {run.first_step_seconds:6.1f} s to the first step",
        flush=True,
    )


def _show(result: dict[str, Any]) -> None:
    rate, sides = result["matrix_gflops"], result["sides"]
    threads = rate["threads"]
    print(
        f"\nfloat32 products: {rate['torch']:,.0f} GFLOP/s by torch, {rate['onednn']:,.0f} by "
        f"oneDNN, {threads:.0f} threads\n"
        f"{'median':<24}{'tokens/s':>9}{'x TRL':>7}{'per CPU s':>11}{'x TRL':>7}"
        f"{'GB':>8}{'of TRL':>8}{'first step':>12}"
    )
    other = sides.get("trl")
    for side, run in sides.items():
        times = {key: run[key] / other[key] if other else float("nan") for key in run}
        print(
            f"{TOLD[side]:<24}{run['tokens_per_second']:>9,.0f}{times['tokens_per_second']:>7.2f}"
            f"{run['tokens_per_cpu_second']:>11,.0f}{times['tokens_per_cpu_second']:>7.2f}"
            f"{run['peak_bytes'] / 1e9:>8.2f}{times['peak_bytes']:>8.2f}"
            f"{run['first_step_seconds']:>10.1f} s"
        )


if __name__ == "__main__":
    main()
