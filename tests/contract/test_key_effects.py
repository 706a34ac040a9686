"""A recipe key with another value makes another run, and what stands before it stays as it was."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from looking import PARTS, look
from small_runs import load, make_home, make_model, make_suite, one_thread, row, write_rows
from test_keys_are_read import leaves

from ftune.recipe.fields import walk
from ftune.registry import METHODS
from ftune.run.progress import Silent
from ftune.stages.whole import Wish, train_recipe

ON = "{path: %s, format: alpaca}"
FOUR = ("model.quantization.load_in_4bit=true",)
EIGHT = ("model.quantization.load_in_8bit=true",)
PROMPT = ("tune={method: prompt_tuning, num_virtual_tokens: 2}",)
TEXT = ("tune={method: prompt_tuning, num_virtual_tokens: 2, prompt_tuning_init: TEXT, "
        "prompt_tuning_init_text: Buy}",)  # fmt: skip
EVA = ("tune.init_lora_weights=eva", "data.train.0.weight=3")
MULTI = (
    "tune={method: multitask_prompt_tuning, tasks: [a, b], num_virtual_tokens: 2}",
    "data.train=[{path: train.jsonl, format: alpaca, task: a},"
    " {path: eval.jsonl, format: alpaca, task: b}, {path: test.jsonl, format: alpaca, task: a}]",
    "data.eval=[{path: eval.jsonl, format: alpaca, task: a}]",
    "data.test=[{path: test.jsonl, format: alpaca, task: a}]",
    "train.learning_rate=1.0",
    "train.eval_steps=1",
)
LONG = ("data.max_length=29", "data.on_too_long=truncate")
SAMPLED = ("evaluate.generation.do_sample=true", "evaluate.metrics=[bleu]")
ASKED = ("evaluate.metrics=[bleu]",)
KEPT = ("evaluate.retain=[{name: old, path: test.jsonl, format: alpaca}]",)
SUITES = ("evaluate.suites=[own]", "evaluate.harness.include_path=tasks")
BOTH = f"data.train=[{ON % 'train.jsonl'}, {ON % 'eval.jsonl'}]"
UNEVEN = BOTH.replace("alpaca}", "alpaca, weight: 2.7}", 1)
SHOWN = "data.train.0.few_shot={k: 1, pool: {path: train.jsonl, max_rows: 3}}"
EVEN = (BOTH, "data.mixture.sampling=uniform")
WARM = (BOTH, "data.mixture.sampling=temperature", "data.mixture.temperature=2.0")
TWO_LAYERS = ("model.name_or_path=./other",)
SLANTED = ("train.lr_scheduler_type=slanted_triangular",)
BY_EPOCH = ("train.max_steps=null", "train.num_train_epochs=1")
# A trained model, left alone in the first step and torn apart in the later ones.
WORSE = ("model.name_or_path=ftune:tiny", "train.eval_steps=1", "train.learning_rate=3",
         "train.lr_scheduler_type=constant_with_warmup", "train.warmup_steps=4")  # fmt: skip


WITH_GPU = {"model.device=cuda"}
REFUSED = {
    *WITH_GPU,
    "data.on_too_long=error",
    "data.min_trained=0.9",
    "model.trust_remote_code=true",
    "distributed.fsdp.cpu_offload=true",
}


@dataclass(frozen=True)
class Case:
    """``changed`` in place of what ``setup`` and the base recipe say is seen in ``part``."""

    changed: str
    part: str
    setup: tuple[str, ...] = ()
    before_too: bool = False  # what stands before may change too

    @property
    def overrides(self) -> tuple[str, ...]:
        key = self.changed.partition("=")[0]
        return (*(s for s in self.setup if s.partition("=")[0] != key), self.changed)


CASES = [
    Case("data.train.0.path=eval.jsonl", "format"),
    Case("data.train.0.format=text", "format", (f"data.train=[{ON % 'both.jsonl'}]",)),
    Case("data.train.0.columns={instruction: output}", "format"),
    Case("data.train.0.split=test", "format", ("data.train=[{path: ./set, format: alpaca}]",)),
    Case("data.train.0.weight=2.0", "format"),
    Case("data.train.0.weight=0.5", "format"),
    Case("data.train.0.max_rows=5", "format"),
    Case("data.train.0.few_shot={k: 1}", "format"),
    *[Case(f"data.train.0.few_shot.{changed}", "format", (SHOWN,)) for changed in (
        "k=[0, 2]", "choose=fixed", "intro=Do.", "separator=' '", "between=' '",
        "pool.path=eval.jsonl", "pool.max_rows=2")],
    Case("data.train.0.few_shot.pool.split=test", "format",
         ("data.train.0.few_shot={k: 1, pool: {path: ./set}}",)),
    Case("data.train.0.few_shot.as_turns=true", "format", (SHOWN,)),
    Case("data.mixture.sampling=uniform", "format", (BOTH,)),
    Case("data.mixture.temperature=9.0", "format", WARM),
    Case("data.mixture.cap=5", "format", WARM),
    Case("data.mixture.by=trained_tokens", "format", EVEN),
    Case("data.mixture.stop=all_exhausted", "format", EVEN),
    Case("data.mixture.redraw=true", "format", EVEN),
    Case("data.streaming.buffer=8", "format", ("train.max_steps=4",)),
    Case("data.streaming.by=trained_tokens", "format", (UNEVEN, "data.streaming.buffer=40")),
    Case("data.eval.0.path=test.jsonl", "format"),
    Case("data.eval.0.columns={instruction: output}", "format"),
    Case("data.eval.0.max_rows=2", "format"),
    Case("data.eval=0.3", "format"),
    Case("data.test=0.3", "format"),
    Case("data.template=chatml", "format"),
    Case("data.system_prompt=Be short.", "format"),
    Case("data.max_length=26", "format", LONG),
    Case("data.on_too_long=drop", "format", LONG),
    Case("data.on_too_long=truncate_prompt", "format", LONG),
    Case("data.on_too_long=error", "format", LONG),
    Case("data.on_bad_row=skip", "format", (f"data.train=[{ON % 'bad.jsonl'}]",)),
    Case("data.train_on=all", "format"),
    Case("data.train_on=completion", "format", (f"data.train=[{ON % 'talk.jsonl'}]",)),
    Case("data.min_trained=0.9", "format"),
    Case("train.seed=7", "format", ("data.eval=0.3",)),
    Case("model.add_tokens=[onions]", "format"),
    Case("model.name_or_path=./other", "load"),
    Case("model.dtype=bfloat16", "load"),
    Case("model.device=cuda", "load"),
    Case("model.attn_implementation=eager", "load"),
    Case("model.trust_remote_code=true", "load"),
    Case("model.quantization.load_in_4bit=true", "load"),
    Case("model.quantization.load_in_8bit=true", "load"),
    Case("model.quantization.bnb_4bit_quant_type=fp4", "train", FOUR),
    Case("model.quantization.bnb_4bit_use_double_quant=false", "train", FOUR, True),
    Case("model.quantization.bnb_4bit_compute_dtype=bfloat16", "train", FOUR),
    Case("model.quantization.llm_int8_threshold=0.5", "train", EIGHT),
    Case("tune={method: full}", "load"),
    Case("tune.r=4", "load"),
    Case("tune.lora_alpha=64", "train"),
    Case("tune.lora_dropout=0.5", "train"),
    Case("tune.target_modules=[q_proj]", "load"),
    Case("tune.modules_to_save=[norm]", "load"),
    Case("tune.use_rslora=true", "train"),
    Case("tune.use_dora=true", "load"),
    Case("tune.init_lora_weights=gaussian", "train"),
    Case("tune.init_lora_weights=eva", "load"),
    Case("tune.eva_rho=1.0", "load", EVA),
    Case("tune.eva_batches=1", "load", EVA),
    Case("tune.bias=all", "load"),
    Case("tune.rank_pattern={q_proj: 4}", "load"),
    Case("tune.alpha_pattern={q_proj: 64}", "train"),
    Case("tune.loraplus_lr_ratio=16.0", "train"),
    Case("tune.num_virtual_tokens=3", "load", PROMPT),
    Case("tune.prompt_tuning_init=RANDOM", "train", PROMPT),
    Case("tune.prompt_tuning_init_text=Say", "train", TEXT),
    Case("data.train.2.task=b", "train", MULTI),
    Case("data.eval.0.task=b", "train", MULTI),
    Case("data.test.0.task=b", "evaluate", MULTI),
    Case("data.packing=true", "train"),
    Case("distributed.mixed_precision=bf16", "train"),
    *[Case(f"distributed.fsdp.{changed}", "train", ("distributed.fsdp={}",)) for changed in (
        "transformer_layer_cls_to_wrap=[LlamaMLP]", "cpu_offload=true", "param_dtype=bfloat16",
        "reduce_dtype=bfloat16")],
    Case("train.learning_rate=1e-3", "train"),
    Case("train.num_train_epochs=2", "train", BY_EPOCH),
    Case("train.max_steps=3", "train"),
    Case("train.per_device_train_batch_size=3", "train"),
    Case("train.tokens_per_batch=200", "train", ("train.per_device_train_batch_size=8",)),
    Case("train.gradient_accumulation_steps=2", "train"),
    Case("train.group_by_length=false", "train"),
    *[Case(f"train.optim={name}", "train") for name in ("adamw_8bit", "adafactor", "sgd")],
    Case("train.optim=paged_adamw_32bit", "train"),
    Case("train.optim=paged_adamw_8bit", "train"),
    Case("train.adam_beta1=0.5", "train"),
    Case("train.adam_beta2=0.9", "train"),
    Case("train.adam_epsilon=1e-2", "train"),
    Case("train.weight_decay=0.5", "train"),
    Case("train.max_grad_norm=0.001", "train", ("train.optim=sgd",)),
    Case("train.max_grad_norm=null", "train", ("train.optim=sgd", "train.max_grad_norm=0.001")),
    *[Case(f"train.lr_scheduler_type={name}", "train")
      for name in ("cosine", "constant", "polynomial", "inverse_sqrt")],
    Case("train.lr_scheduler_type=constant_with_warmup", "train", ("train.warmup_steps=2",)),
    Case("train.lr_scheduler_type=slanted_triangular", "train"),
    Case("train.slanted_triangular.cut_frac=0.5", "train", SLANTED),
    Case("train.slanted_triangular.ratio=2.0", "train", SLANTED),
    Case("train.layer_rate_decay=2.6", "train", TWO_LAYERS),
    Case("train.unfreeze_every.steps=1", "train", TWO_LAYERS),
    Case("train.unfreeze_every.epochs=2", "train",
         (*TWO_LAYERS, "train.max_steps=null", "train.num_train_epochs=3",
          "train.unfreeze_every.epochs=1")),
    Case("train.warmup_ratio=0.5", "train"),
    Case("train.warmup_steps=2", "train"),
    Case("train.seed=7", "train"),
    Case("train.logging_steps=3", "train"),
    Case("train.eval_steps=3", "train"),
    Case("train.per_device_eval_batch_size=1", "train"),
    Case("train.save_steps=3", "train"),
    Case("train.save_total_limit=1", "train", ("train.save_steps=1",)),
    Case("train.load_best_model_at_end=true", "train", WORSE),
    Case("train.early_stopping_patience=1", "train", WORSE),
    Case("train.early_stopping_threshold=9.0", "train",
         ("train.eval_steps=1", "train.early_stopping_patience=1")),
    Case("train.report_to=[tensorboard]", "train"),
    Case("data.test.0.path=eval.jsonl", "evaluate"),
    Case("data.test.0.max_rows=2", "evaluate"),
    Case("data.test.0.columns={instruction: output}", "evaluate"),
    Case("data.test.0.columns={references: more}", "evaluate", ASKED),
    Case("evaluate.metrics=[perplexity]", "evaluate"),
    Case("evaluate.generation.max_new_tokens=2", "evaluate", ASKED),
    Case("evaluate.generation.do_sample=true", "evaluate", ASKED),
    Case("evaluate.generation.temperature=0.1", "evaluate", SAMPLED),
    Case("evaluate.generation.top_k=1", "evaluate", SAMPLED),
    Case("evaluate.generation.top_p=0.01", "evaluate", SAMPLED),
    Case("evaluate.generation.seed=1", "evaluate", SAMPLED),
    Case("evaluate.generation.num_beams=3", "evaluate", ASKED),
    Case("evaluate.generation.repetition_penalty=9.0", "evaluate", ASKED),
    Case("evaluate.generation.stop=[a, e, i, o, u, t, s]", "evaluate", ASKED),
    Case("evaluate.batch_size=1", "evaluate", ASKED),
    Case("evaluate.batch_tokens=1", "evaluate", ASKED),
    Case("evaluate.robustness=[typos]", "evaluate"),
    Case("evaluate.base=false", "evaluate"),
    Case("evaluate.stride=8", "evaluate", ("data.max_length=40", "data.on_too_long=truncate")),
    Case("evaluate.retain.0.path=eval.jsonl", "evaluate", KEPT),
    Case("evaluate.retain.0.max_rows=1", "evaluate", KEPT),
    Case("evaluate.retain.0.name=other", "evaluate", KEPT),
    Case("evaluate.retain.0.metrics=[perplexity]", "evaluate", KEPT),
    Case("evaluate.suites=[own, again]", "evaluate", SUITES),
    Case("evaluate.harness.include_path=others", "evaluate", SUITES),
    Case("evaluate.harness.num_fewshot=1", "evaluate", SUITES),
    Case("evaluate.harness.limit=1", "evaluate", SUITES),
    Case("evaluate.harness.apply_chat_template=true", "evaluate", SUITES),
    Case("evaluate.bootstrap=0", "evaluate"),
    Case("evaluate.bootstrap=0", "evaluate"),
    Case("evaluate.group_references=true", "evaluate",
         (*ASKED, f"data.test=[{ON % 'same.jsonl'}]")),
]  # fmt: skip

# Keys of which no run on one CPU without a network can show anything.
UNSEEN = {
    "model.revision": "of a model on the hub",
    "data.train.revision": "of a data set on the hub",
    "data.train.subset": "of a data set on the hub",
    "data.train.few_shot.pool.revision": "of a data set on the hub",
    "data.train.few_shot.pool.subset": "of a data set on the hub",
    "train.gradient_checkpointing": "saves memory and changes no figure; tested below",
    "train.objective": "there is one only",
    "train.on_nan": "of a step that fails; in test_train_faults.py",
    "train.on_oom": "the same",
    "train.on_spike": "the same; in test_train_spikes.py",
    "train.spikes.deviations": "the same",
    "train.spikes.window": "the same",
    "distributed.fsdp.reshard_after_forward": "saves memory; in test_train_sharding.py",
    "distributed.deepspeed": "changes who holds what; in test_train_deepspeed.py",
    "distributed.timeout_seconds": "of processes that hang; in tests/faults/test_processes.py",
    "train.torch_compile": "changes no figure, and compiling takes long; in test_train_compile.py",
    "train.grace_seconds": "of a run that is asked to stop; in tests/faults",
    "sweep": "makes other recipes of this one; in golden/test_sweep.py",
    "name": "tested below",
    "runs_dir": "tested below",
}


class Runs:
    """Runs of a recipe, each made once."""

    def __init__(self, recipe: Path) -> None:
        self.recipe = recipe
        self.kept: dict[tuple[tuple[str, ...], str], dict[str, Any]] = {}

    def of(self, overrides: tuple[str, ...], part: str) -> dict[str, Any]:
        key = (overrides, part)
        if key not in self.kept:
            with one_thread():
                self.kept[key] = look(self.recipe, overrides, part)
        return self.kept[key]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    home = tmp_path_factory.mktemp("effects")
    recipe = make_home(home)
    make_model(home / "other", num_hidden_layers=2)
    write_rows(home / "both.jsonl", [{**row(i), "text": "Some text."} for i in range(3)])
    write_rows(home / "bad.jsonl", [row(0), {"instruction": 5}, row(1)])
    write_rows(home / "talk.jsonl", [{**row(i), "history": [["Hi", "Ho"]]} for i in range(3)])
    write_rows(home / "same.jsonl", [{**row(0), "output": word} for word in ("a", "b")])
    write_rows(home / "test.jsonl", [{**row(i, "Say."), "more": ["x"]} for i in range(3)])
    make_suite(home / "tasks", home / "test.jsonl")
    text = (home / "tasks/own.yaml").read_text(encoding="utf-8")
    (home / "tasks/again.yaml").write_text(text.replace("task: own", "task: again"))
    make_suite(home / "others", home / "test.jsonl", "Say it again.")
    (home / "set").mkdir()
    write_rows(home / "set" / "train.jsonl", [row(i) for i in range(3)])
    write_rows(home / "set" / "test.jsonl", [row(i, "Other.") for i in range(3)])
    return Runs(recipe)


def cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def test_equal_recipes_make_equal_runs(runs: Runs) -> None:
    with one_thread():
        assert look(runs.recipe, (), "evaluate") == runs.of((), "evaluate")


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.changed} {'; '.join(c.setup)}".strip())
def test_another_value_makes_another_run(
    case: Case, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.recipe.parent)  # model paths start at the working folder
    before = runs.of(case.setup, case.part)
    with one_thread():
        after = look(runs.recipe, case.overrides, case.part)
    assert set(before) >= {"error"} or set(after) >= {"error"} or before.keys() == after.keys()
    refused = case.changed in REFUSED and not (case.changed in WITH_GPU and cuda())
    assert ("error" in after) == refused, after.get("error")
    if "error" in before or refused:
        assert before != after
        return
    told_part = (before[case.part], before["told"]), (after[case.part], after["told"])
    assert told_part[0] != told_part[1]
    for part in PARTS[: PARTS.index(case.part)]:
        if not case.before_too:
            assert before[part] == after[part]


def test_each_key_is_in_a_table() -> None:
    """Options of formats and metrics are in test_option_effects.py."""
    changed = {re.sub(r"\.\d+", "", case.changed.partition("=")[0]) for case in CASES}
    changed |= {"tune.method", "data.train.columns", "data.eval.columns", "data.test.columns"}
    own = {key for key in leaves() if not key.startswith(("evaluate.metrics.", "train.objective."))}
    own = {key for key in own if ".columns." not in key}
    # Of the tuning methods two stand here for all; the others have tests of their own.
    here = {f"tune.{k}" for m in ("lora", "prompt_tuning") for k, _ in walk(METHODS.load(m).Config)}
    own = {key for key in own if not key.startswith("tune.") or key in here}
    # Rows of eval and test come by the same way as those of train.
    alike = {key for key in own if key.startswith(("data.eval.", "data.test."))}
    alike |= {f"evaluate.retain.{key}" for key in ("format", "revision", "split", "subset")}
    alike |= {"evaluate.retain.weight", "evaluate.retain.task"}
    alike |= {key for key in own if key.startswith("evaluate.retain.few_shot.")}
    assert own - alike - changed - set(UNSEEN) == set()
    assert set(UNSEEN) - own == set() and set(UNSEEN) & changed == set()


def test_name_and_folder(tmp_path: Path) -> None:
    recipe = make_home(tmp_path)
    loaded = load(recipe, "name=other", f"runs_dir={tmp_path / 'there'}")
    run = train_recipe(loaded, Wish(only_format=True), Silent())
    assert run.folder == tmp_path / "there" / "other" / "001"
    assert (run.stage("format") / "done.json").is_file()


def test_gradient_checkpointing(runs: Runs) -> None:
    """The same figures, and activations are made again: layers are called more often."""
    from torch.nn.modules.module import register_module_forward_pre_hook

    calls: list[str] = []
    handle = register_module_forward_pre_hook(lambda m, _: calls.append(type(m).__name__))
    found, counts = [], []
    with one_thread():
        for value in ("false", "true"):
            calls.clear()
            overrides = (f"train.gradient_checkpointing={value}", "data.eval=[]")
            found.append(look(runs.recipe, overrides, "train")["train"])
            counts.append(calls.count("LlamaAttention"))
    handle.remove()
    tried = counts[0] - 4  # what was looked at before the first of 4 steps, through one layer
    assert counts[1] - tried == 8
    losses = [[line["loss"] for line in whole[-1]] for whole in found]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
