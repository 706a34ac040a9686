"""Runs in miniature for the contract tests: a model of a few thousand weights, a few rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftune.recipe.reading import Loaded, load_recipe
from ftune.registry import ROOT
from ftune.run import directory
from ftune.run.directory import RunDirectory
from ftune.run.pipeline import fingerprints, run_stages
from ftune.run.progress import Progress, Silent
from ftune.run.signals import StopFlag
from ftune.run.stage import Place, Stage, Surroundings
from ftune.stages.whole import STAGES

TINY = ROOT / "assets" / "tiny"
# What no two runs have alike, or what names the place where a run stands.
TIMES = {"seconds", "tokens_per_second", "memory_bytes", "eval_seconds", "peak_memory_bytes"}
TIMES |= {"cost", "seconds_per_prompt", "prompt_tokens_per_second", "generated_tokens_per_second"}
WORDS = ("onions", "a kettle", "two spoons", "paper", "red paint", "bread", "nails", "a map")

# What methods need besides their defaults, the widths of small models being no multiple of those.
NARROW: dict[str, dict[str, Any]] = {
    "multitask_prompt_tuning": {"tasks": ("a", "b")},
    "road": {"group_size": 16},
    "fourierft": {"n_frequency": 100, "scaling": 20.0},
    "miss": {"r": 16},
}

RECIPE = """\
model:
  name_or_path: MODEL
  device: cpu
data:
  train:
    - path: train.jsonl
      format: alpaca
  eval:
    - path: eval.jsonl
      format: alpaca
  test:
    - path: test.jsonl
      format: alpaca
  max_length: 128
tune:
  method: lora
  r: 2
train:
  learning_rate: 1e-2
  max_steps: 4
  num_train_epochs: 8
  per_device_train_batch_size: 2
  logging_steps: 1
evaluate:
  metrics: [token_loss]
  generation:
    max_new_tokens: 4
"""


@contextmanager
def one_thread() -> Iterator[None]:
    """Tiny products are quicker on one thread, and cores may be shared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_model(folder: Path, **options: Any) -> Path:
    """A random Llama with the tokenizer and template of ftune:tiny."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {
        "vocab_size": 2048,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "tie_word_embeddings": True,
        "initializer_range": 0.3,
        "attention_bias": True,
    }
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**{**shape, **options})).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TINY / name, folder / name)
    return folder


class StopAt:
    """Asks a training to stop after a step."""

    def __init__(self, stop: StopFlag) -> None:
        self.stop, self.title = stop, ""

    def say(self, line: str) -> None: ...

    def warn(self, line: str) -> None: ...

    @contextmanager
    def meter(self, title: str, total: int | None, unit: str) -> Any:
        self.title = title
        yield self

    def update(self, done: int, **figures: str) -> None:
        if (self.title, done) == ("train", 2):
            self.stop.code = 130


def row(number: int, words: str = "Write it down.") -> dict[str, Any]:
    thing = WORDS[number % len(WORDS)]
    more = " soon" * (number % 3)
    return {"instruction": f"{words} {number}", "input": f"Buy {thing}{more}.", "output": thing}


def write_rows(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def make_data(folder: Path) -> None:
    """train.jsonl, eval.jsonl and test.jsonl, alpaca, no row in two of them."""
    write_rows(folder / "train.jsonl", [row(i) for i in range(12)])
    write_rows(folder / "eval.jsonl", [row(i, "Note.") for i in range(4)])
    write_rows(folder / "test.jsonl", [row(i, "Say it.") for i in range(3)])


def make_home(folder: Path, text: str = RECIPE) -> Path:
    """Model, data and recipe.yaml in ``folder``; gives the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    make_model(folder / "model")
    make_data(folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text(text.replace("MODEL", str(folder / "model")), encoding="utf-8")
    return recipe


SUITE = """\
task: own
dataset_path: json
dataset_kwargs: {data_files: {train: ROWS, test: ROWS}}
test_split: test
training_split: train
output_type: multiple_choice
doc_to_text: "{{instruction}} ASKED"
doc_to_choice: ["{{output}}", "no"]
doc_to_target: 0
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


def make_suite(folder: Path, rows: Path, asked: str = "") -> None:
    """A task file for lm-evaluation-harness over rows of instruction and output."""
    folder.mkdir()
    text = SUITE.replace("ROWS", str(rows)).replace("ASKED", asked)
    (folder / "own.yaml").write_text(text, encoding="utf-8")


def run_here(
    loaded: Loaded,
    runs: Path,
    reads: set[str] | None = None,
    stages: Sequence[Stage] = STAGES,
    progress: Progress | None = None,
) -> RunDirectory:
    """Runs stages of a recipe in a new run; ``reads`` collects the keys that they read."""
    reads = set() if reads is None else reads
    place = Place(loaded.path.parent)
    prints = fingerprints(STAGES, loaded.recipe, place, reads)
    run = directory.create(runs, loaded.recipe.name)
    around = Surroundings(run, place, progress or Silent(), StopFlag())
    run_stages(stages, loaded.recipe, around, prints, reads)
    return run


def load(path: Path, *overrides: str) -> Loaded:
    return load_recipe(path, overrides)


def timeless(value: Any) -> Any:
    """JSON without times, rates and memory, which no two runs have alike."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in TIMES}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def json_lines(path: Path) -> list[Any]:
    return [timeless(json.loads(x)) for x in path.read_text(encoding="utf-8").splitlines()]
