"""Every accepted recipe key is read when a recipe runs: nothing is taken and then passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import small_tasks
from small_runs import (
    load,
    make_home,
    make_model,
    make_suite,
    one_thread,
    row,
    run_here,
    write_rows,
)
from small_tasks import make_encoder

from ftune.recipe.base import Section
from ftune.recipe.fields import section_in, walk
from ftune.recipe.schema import Recipe
from ftune.recipe.slots import FAMILIES
from ftune.recipe.view import View
from ftune.registry import METHODS, METRICS, ROOT
from ftune.stages.whole import STAGES
from ftune.types import Prediction, Ranked

# Read before any stage runs, from the recipe itself; test_key_effects.py shows what they change.
BEFORE = {
    "name": "names the run's folder",
    "runs_dir": "is where that folder stands",
    "distributed.timeout_seconds": "is handed to the group of processes; test_train_launched.py",
    "train.grace_seconds": "is handed to what listens to signals; tests/faults/test_signals.py",
    "sweep": "makes other recipes of this one; tests/golden/test_sweep.py",
}

SOURCES = """[
  {path: a.jsonl, format: alpaca, columns: {references: more}},
  {path: m.jsonl, format: messages}, {path: s.jsonl, format: sharegpt},
  {path: p.jsonl, format: prompt_completion, weight: 2.0}, {path: t.txt, format: text}]"""
SHOWN = """{path: a.jsonl, format: alpaca, few_shot: {k: 1, intro: Do., between: ' ',
  separator: ' ', choose: fixed, as_turns: false, pool: {path: a.jsonl, max_rows: 2}}}"""
PROMPTED = f"""[{SHOWN}, {{path: a.jsonl, format: prompts, columns: {{templates: own.yaml}}}},
  {{path: a.jsonl, format: prompts, columns: {{input: '{{{{input}}}}', target: a}}}}]"""
SCORED = """[rouge, bleu, {chrf: {word_order: 2}}, {exact_match: {ignore_case: true}},
  {accuracy: {labels: [yes, no]}}, classification, distinct_n, length, meteor, repetition, ter,
  perplexity, token_loss]"""
ONE_STEP = ("train.max_steps=1", "evaluate.metrics=[token_loss]", "evaluate.base=false")
# Recipes that together read every key: each a list of overrides.
RUNS: dict[str, tuple[str, ...]] = {
    "everything of lora": (
        f"data.train={SOURCES}",
        f"evaluate.metrics={SCORED}",
        "data.system_prompt=Be short.",
        "train.early_stopping_patience=1",
        "train.load_best_model_at_end=true",
        "evaluate.generation.do_sample=true",
        "evaluate.generation.stop=[zzz]",
        "train.max_steps=2",
    ),
    "4 bits": ("tune={method: qlora, r: 2}", "model.quantization.load_in_4bit=true", *ONE_STEP),
    "8 bits": ("model.quantization.load_in_8bit=true", *ONE_STEP),
    "full": ("tune={method: full}", "train.optim=sgd", "train.warmup_steps=1", *ONE_STEP),
    "retained": (
        "evaluate.retain=[{name: n, path: a.jsonl, format: alpaca, columns: {references: more},"
        " metrics: [token_loss], max_rows: 1}]",
        *ONE_STEP[:2],
    ),
    "suites": (
        "evaluate.suites=[own]",
        "evaluate.harness={include_path: tasks, limit: 1}",
        *ONE_STEP,
    ),
    "mixture": (
        f"data.train={SOURCES}",
        "data.mixture={sampling: temperature, temperature: 2.0, cap: 2}",
        *ONE_STEP,
    ),
    "streaming": (
        f"data.train={SOURCES}",
        "data.streaming={buffer: 8, by: trained_tokens}",
        *ONE_STEP,
    ),
    "spikes": ("train.on_spike=stop", "train.spikes={window: 8, deviations: 5}", *ONE_STEP),
    "layer by layer": (
        "train.layer_rate_decay=2.6",
        "train.unfreeze_every.epochs=1",
        "train.lr_scheduler_type=slanted_triangular",
        *ONE_STEP,
    ),
    "split": ("distributed.fsdp={}", *ONE_STEP),
    "shares": ("data.eval=0.3", "data.test=0.3", *ONE_STEP),
    "prompts": (
        f"data.train={PROMPTED}",
        f"data.eval=[{SHOWN}]",
        f"data.test=[{SHOWN}]",
        f"evaluate.retain=[{SHOWN.replace('{', '{name: n, metrics: [token_loss], ', 1)}]",
        "data.template=plain",
        *ONE_STEP[:2],
    ),
}
# What the runs of small_tasks read besides, which the rows of other runs don't have.
LABELLED = {
    "classification": (
        "train.objective={classification: {class_weights: balanced}}",
        "data.train=[{path: classification.jsonl, format: labelled, columns: {text_pair: other}}]",
    ),
    "multiple_choice": (
        "data.train=[{path: multiple_choice.jsonl, format: choices, columns: {start: context}}]",
    ),
}
# What a method asks of the rest of a recipe; each is attached with its own defaults.
EVA = "tune.init_lora_weights=eva"
NEEDS = {
    "lora": (EVA,),
    "qlora": ("model.quantization.load_in_4bit=true", EVA),
    "fourierft": ("tune.n_frequency=64",),
    "miss": ("tune.r=16",),
    "road": ("tune.group_size=16",),
    "multitask_prompt_tuning": (
        "tune.tasks=[a, b]",
        "data.train=[{path: a.jsonl, format: alpaca, task: a},"
        " {path: a.jsonl, format: alpaca, task: b}]",
        "data.eval=[{path: a.jsonl, format: alpaca, task: b}]",
        "data.test=[{path: a.jsonl, format: alpaca, task: b}]",
    ),
}


def leaves() -> set[str]:
    """All keys of a recipe that hold a value, by their dotted names without indexes."""
    found = {key for key, field in walk(Recipe) if not section_in(field.annotation)}
    found |= {f"tune.{key}" for key in config_keys("tune")} | {"tune.method"}
    for name in FAMILIES["objective"].names():
        found |= {f"train.objective.{name}.{k}" for k, _ in walk(config_of("objective", name))}
    for name in FAMILIES["metrics"].names():
        found |= {f"evaluate.metrics.{name}.{k}" for k, _ in walk(config_of("metrics", name))}
    columns = config_keys("format")
    places = ("data.train", "data.eval", "data.test", "evaluate.retain")
    found |= {f"{place}.columns.{key}" for place in places for key in columns}
    return found - {"tune"}


def config_of(kind: str, name: str) -> type[Section]:
    found: type[Section] = FAMILIES[kind].load(name).Config
    return found


def config_keys(kind: str) -> set[str]:
    return {k for name in FAMILIES[kind].names() for k, _ in walk(config_of(kind, name))}


@pytest.fixture(scope="module")
def read_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What each of RUNS reads, and each method when it is attached."""
    home = tmp_path_factory.mktemp("keys")
    recipe = make_home(home)
    write_rows(home / "a.jsonl", [{**row(i), "more": ["x"]} for i in range(3)])
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    write_rows(home / "m.jsonl", [{"messages": talk}])
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    write_rows(home / "s.jsonl", [{"conversations": turns, "system": "S"}])
    write_rows(home / "p.jsonl", [{"prompt": "Hi", "completion": "Hello"}])
    (home / "t.txt").write_text("A line of text.\n", encoding="utf-8")
    (home / "own.yaml").write_text("one: {input: a, target: b}\n", encoding="utf-8")
    make_suite(home / "tasks", home / "a.jsonl")
    (home / "labelled").mkdir()
    make_encoder(home / "labelled" / "model")
    small_tasks.make_seq2seq(home / "labelled" / "seq2seq-model")
    found: dict[str, set[str]] = {}
    with one_thread():
        for title, overrides in RUNS.items():
            found[title] = set()
            run_here(load(recipe, *overrides), home / "runs", found[title])
        for name in small_tasks.FORMATS:
            found[name] = set()
            path, few = small_tasks.write(home / "labelled", name), ("train.max_steps=1",)
            run_here(load(path, *few, *LABELLED.get(name, ())), home / "runs", found[name])
        for method in METHODS.names():
            found[method] = set()
            # Two steps: adalora gives ranks by what a step before has shown.
            overrides = (f"tune={{method: {method}}}", "train.max_steps=2", *NEEDS.get(method, ()))
            try:
                run_here(load(recipe, *overrides), home / "runs", found[method], STAGES[:3])
            except Exception as error:  # told by the method's own test, and not by those of others
                found[method].add(f"failed: {error}")
    return found


def test_every_key_is_read(read_keys: dict[str, set[str]]) -> None:
    read = set().union(*read_keys.values())
    read |= {key for key in leaves() if key.startswith("evaluate.metrics.")}  # see below
    # Formats of rows other than the training ones go through the same function.
    own = {f"data.train.columns.{key}" for key in config_keys("format")}
    missing = leaves() - read - set(BEFORE)
    missing -= {k for k in missing if ".columns." in k and not k.startswith("data.train.")}
    assert own <= read
    assert not missing, "accepted, and read by nobody: wire them up or remove them"


def test_the_table_of_keys_read_elsewhere_is_right(read_keys: dict[str, set[str]]) -> None:
    assert not set(BEFORE) & set().union(*read_keys.values())
    assert set(BEFORE) <= leaves()


def test_nothing_unknown_is_read(read_keys: dict[str, set[str]]) -> None:
    read = set().union(*read_keys.values())
    wholes = {"model.quantization", "data.mixture", "data.streaming", "data.eval", "data.test"}
    wholes |= {"evaluate.metrics", "evaluate.retain", "train.unfreeze_every", "distributed.fsdp"}
    for place in ("data.train", "data.eval", "data.test", "evaluate.retain"):
        wholes |= {f"{place}.few_shot", f"{place}.few_shot.pool"}
    # That is: none, or shares.
    assert {key for key in read - leaves() if not key.startswith("failed")} <= wholes


@pytest.mark.parametrize("method", METHODS.names())
def test_each_method_reads_all_its_keys(method: str, read_keys: dict[str, set[str]]) -> None:
    """Methods share names of keys: each has to read its own."""
    own = {f"tune.{key}" for key, _ in walk(config_of("tune", method))}
    assert not [said for said in read_keys[method] if said.startswith("failed")]
    assert own <= read_keys[method]


ROWS: dict[str, dict[str, Any]] = {
    "alpaca": row(1),
    "messages": {"messages": [{"role": "user", "content": "a"},
                              {"role": "assistant", "content": "b"}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    "prompt_completion": {"prompt": "a", "completion": "b"},
    "text": {"text": "a"},
    "labelled": {"text": "a", "label": "x"},
    "tagged": {"tokens": ["a"], "tags": [0]},
    "choices": {"context": "a", "choices": ["b", "c"], "label": 0},
    "squad": {"question": "q", "context": "a", "answers": {"text": ["a"], "answer_start": [0]}},
    "prompts": {},
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES["format"].names())
def test_each_format_reads_all_its_columns(name: str, tmp_path: Path) -> None:
    reads: set[str] = set()
    module = FAMILIES["format"].load(name)
    configs: list[dict[str, str]] = [{}]
    if name == "prompts":
        (tmp_path / "own.yaml").write_text("one: {input: a, target: b}\n", encoding="utf-8")
        configs = [{"templates": str(tmp_path / "own.yaml")}, {"input": "a", "target": "b"}]
    for config in configs:
        shown = View(module.Config(**config), "columns", ("columns",), reads)
        module.example(ROWS[name], shown)
    assert reads == {f"columns.{key}" for key, _ in walk(module.Config)}


@pytest.mark.parametrize("name", METRICS.names())
def test_each_metric_reads_all_its_options(name: str) -> None:
    reads: set[str] = set()
    module = METRICS.load(name)
    said = "1" if name == "correlation" else "one"
    ranked = (Ranked("one", 1.0, 2, 0.5), Ranked("two", 2.0, 1, 0.5))
    asked = Prediction(0, "p", said, (said, "two"), loss_sum=1.0, loss_count=2, loss_bytes=3,
                       scores=(0.5, 0.5), choices=("one", "two"), ranked=ranked)  # fmt: skip
    needed: dict[str, Any] = {"bertscore": {"model": str(ROOT / "assets/tiny")}}.get(name, {})
    module.score([asked, asked], View(module.Config(**needed), "option", ("option",), reads))
    assert reads == {f"option.{key}" for key, _ in walk(module.Config)}


def test_a_run_reads_the_options_of_its_metrics(read_keys: dict[str, set[str]]) -> None:
    for name in ("rouge", "bleu", "chrf", "exact_match", "accuracy"):
        own = {f"evaluate.metrics.{name}.{key}" for key, _ in walk(config_of("metrics", name))}
        assert own <= read_keys["everything of lora"]


def test_the_small_model_is_small(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    assert (folder / "model.safetensors").stat().st_size < 400_000
