"""What each tuning method costs and gives: one run of each, through the command line, as a table.

    python benchmarks/methods.py --shared ../shared --page docs/methods.md

Every method trains the same small model (TinyStories-656K) on the same rows of E2E for as many
steps, and answers the same rows of the test set. Its learning rate is the best of a ladder, by the
loss on held-out training rows after a short training: three rungs around a first guess, and further
ones as long as the best is the outermost. Searches run side by side; what is measured runs alone.
With ``--page`` the table takes the place of the one in that file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LADDER = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
# Name in the table, the tune section, the rung at which the search for a rate begins.
WAYS: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("lora", {"method": "lora"}, 1e-2),
    ("lora, DoRA", {"method": "lora", "use_dora": True}, 1e-2),
    ("lora, LoRA+", {"method": "lora", "loraplus_lr_ratio": 16}, 3e-3),
    ("lora, EVA", {"method": "lora", "init_lora_weights": "eva"}, 1e-2),
    ("qlora", {"method": "qlora"}, 1e-2),
    ("adalora", {"method": "adalora", "tfinal": 4}, 3e-2),
    ("loha", {"method": "loha"}, 3e-2),
    ("lokr", {"method": "lokr"}, 3e-2),
    ("vera", {"method": "vera"}, 0.1),
    ("randlora", {"method": "randlora"}, 1e-2),
    ("fourierft", {"method": "fourierft", "scaling": 20.0, "init_weights": True}, 0.1),
    ("miss", {"method": "miss"}, 3e-3),
    ("oft", {"method": "oft"}, 3e-3),
    ("boft", {"method": "boft"}, 1e-2),
    ("hra", {"method": "hra"}, 1e-2),
    ("road", {"method": "road"}, 3e-2),
    ("ia3", {"method": "ia3"}, 0.1),
    ("layernorm", {"method": "layernorm"}, 3e-2),
    ("prompt_tuning", {"method": "prompt_tuning"}, 0.3),
    ("multitask_prompt_tuning", {"method": "multitask_prompt_tuning", "tasks": ["a", "b"]}, 0.3),
    ("p_tuning", {"method": "p_tuning"}, 3e-3),
    ("prefix_tuning", {"method": "prefix_tuning"}, 1e-2),
    ("p_tuning_v2", {"method": "p_tuning_v2"}, 0.1),
    ("bitfit", {"method": "bitfit"}, 1e-2),
    ("head", {"method": "head"}, 1e-2),
    ("freeze, the last layer", {"method": "freeze"}, 3e-3),
    ("importance, rows", {"method": "importance"}, 1e-2),
    ("importance, numbers", {"method": "importance", "by": "parameter"}, 1e-2),
    ("bottleneck", {"method": "bottleneck", "size": 16}, 1e-2),
    ("full", {"method": "full"}, 3e-3),
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
    said: str = ""

    def figures(self, metric: str, side: str = "tuned") -> float:
        """A metric of the run."""
        assert self.run is not None
        found = self.run["stages"]["evaluate"]["figures"]["metrics"]
        return float(next(m[side] for m in found if m["name"] == metric))

    def line(self, merges: str) -> str:
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
            merges,
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


def recipe(options: argparse.Namespace, tune: dict[str, Any], rate: float) -> dict[str, Any]:
    """The recipe of one way; a method of several tasks gets half of the rows for each."""
    folder = options.shared.resolve()
    columns = {"prompt": "mr", "completion": "ref"}
    own = {"format": "prompt_completion", "columns": columns}
    rows = {"path": f"{folder}/data/e2e/devset.csv", **own}
    asked = {"path": f"{folder}/data/e2e/testset_w_refs.csv", **own, "max_rows": options.rows}
    tasks = tune.get("tasks", [])
    found: dict[str, Any] = {
        "name": "methods",
        "model": {"name_or_path": f"{folder}/models/TinyStories-656K", "device": "cpu"},
        "data": {
            "train": [{**rows, "task": task, "weight": 0.5} for task in tasks] or [rows],
            "test": [{**asked, "task": tasks[0]} if tasks else asked],
            "template": "plain",
            "max_length": 256,
        },
        "tune": tune,
        "train": {
            "learning_rate": rate,
            "max_steps": options.steps,
            "per_device_train_batch_size": 16,
            "lr_scheduler_type": "cosine",
            "warmup_ratio": 0.05,
            "logging_steps": 20,
        },
        "evaluate": {
            "metrics": ["bleu", "token_loss"],
            "group_references": True,
            "generation": {"max_new_tokens": 60},
        },
    }
    if tune["method"] == "qlora":
        found["model"]["quantization"] = {"load_in_4bit": True}
    return found


def search(home: Path, options: argparse.Namespace, way: tuple[str, dict[str, Any], float]) -> Any:
    """The rung of the lowest loss on held-out training rows, and how many were tried.

    Where the method is refused: None, and why.
    """
    name, tune, guess = way
    folder = _folder(home, f"search {name}")
    told: dict[float, float] = {}
    at = LADDER.index(guess)
    rungs = list(LADDER[max(0, at - 1) : at + 2])
    while rungs:
        text = recipe(options, tune, guess)
        text["train"]["max_steps"] = options.search_steps
        text["data"]["test"] = 0.03
        text["evaluate"] = {"metrics": ["token_loss"], "base": False, "bootstrap": 0}
        text["sweep"] = {"train.learning_rate": rungs}
        (folder / "recipe.yaml").write_text(json.dumps(text), encoding="utf-8")
        done = ftune("sweep", "recipe.yaml", "--json", cwd=folder)
        if done.returncode == 3 or not done.stdout.strip():
            said = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return None, said.partition(" (")[0].strip()
        for point in json.loads(done.stdout)["points"]:
            losses = [m["tuned"] for m in point["metrics"] if m["name"] == "token_loss"]
            told[point["values"]["train.learning_rate"]] = min([*losses, float("inf")])
        best = min(told, key=lambda rate: told[rate])
        place = LADDER.index(best)
        beside = (place - 1, place + 1)
        rungs = [LADDER[n] for n in beside if 0 <= n < len(LADDER) and LADDER[n] not in told]
    return best, len(told)


def _folder(home: Path, name: str) -> Path:
    folder = home / name.replace(" ", "-").replace(",", "")
    folder.mkdir()
    return folder


def measure(
    home: Path,
    options: argparse.Namespace,
    way: tuple[str, dict[str, Any], float],
    found: Any,
    base: bool,
) -> Row:
    """Trains and evaluates one way at the rate that was found, beside the untuned ``base``."""
    name, tune, _ = way
    rate, tried = found
    if rate is None:
        return Row(name, "", None, f"refused: {tried}")
    folder = _folder(home, name)
    text = recipe(options, tune, rate)
    text["evaluate"]["base"] = base
    (folder / "recipe.yaml").write_text(json.dumps(text), encoding="utf-8")
    done = ftune("train", "recipe.yaml", "--json", cwd=folder)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Row(name, "", None, f"refused: {said.partition(' (')[0].strip()}")
    run = folder / "runs" / "methods" / "001"
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return Row(name, f"{rate:g} of {tried}", {**report, "folder": str(run)})


def _merges(row: Row) -> str:
    """Whether what was trained becomes a plain model."""
    if row.run is None:
        return ""
    done = ftune("merge", row.run["folder"], cwd=Path(row.run["folder"]))
    return "yes" if done.returncode == 0 else "no"


def main() -> None:
    """Prints the table, and the figures of the untuned base above it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--search-steps", type=int, default=40, help="of each rate that is tried")
    parser.add_argument("--rows", type=int, default=200, help="of the test set")
    parser.add_argument("--beside", type=int, default=2, help="searches and merges at once")
    parser.add_argument("--only", nargs="*", default=[], help="names of methods")
    parser.add_argument("--page", type=Path, help="file whose table is replaced")
    options = parser.parse_args()
    ways = [way for way in WAYS if not options.only or way[0] in options.only]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.beside) as pool:
        home = Path(folder)
        rates = list(pool.map(lambda way: search(home, options, way), ways))
        print(f"rates found in {time.monotonic() - start:.0f} s", flush=True)
        rows: list[Row] = []
        for way, found in zip(ways, rates, strict=True):
            first = not any(row.run for row in rows)
            rows.append(measure(home, options, way, found, base=first))
            print(rows[-1].line("?"), end="", flush=True)
        merges = list(pool.map(_merges, rows))
        table = _table(rows, merges)
    print(f"\n{table}\nin {time.monotonic() - start:.0f} s")
    if options.page:
        before, _, rest = options.page.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        options.page.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}", encoding="utf-8")
    done = [row for row in rows if row.run is not None]
    base = done[0].figures("token_loss", "base")
    if worse := [row.name for row in done if row.figures("token_loss") >= base]:
        sys.exit(f"no better than the untuned base: {', '.join(worse)}")


def _table(rows: Sequence[Row], merges: Sequence[str]) -> str:
    done = next(row for row in rows if row.run is not None)
    base = [done.figures(metric, "base") for metric in ("bleu", "token_loss")]
    lines = [row.line(how) for row, how in zip(rows, merges, strict=True)]
    untuned = f"| untuned | | 0 | | | | {base[0]:.1f} | {base[1]:.3f} | | |\n"
    return HEAD + untuned + "".join(lines)


if __name__ == "__main__":
    main()
