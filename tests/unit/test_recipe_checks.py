"""Rules across sections."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_texts import GOOD, said

from ftune.recipe import checks, checks_of_layers, checks_of_sharding, methods, names

FOUR = "model.quantization.load_in_4bit=true"
EIGHT = "model.quantization.load_in_8bit=true"
HELD = "data.eval=0.1"
TESTED = "data.test=0.1"
SLANTED = "train.lr_scheduler_type=slanted_triangular"

SPLIT = "distributed.fsdp={}"

# Overrides of a good recipe -> how the one problem begins.
WRONG = {
    (FOUR, EIGHT): "-o model.quantization.load_in_8bit: model.quantization: load_in_4bit and",
    ("model.quantization={}",): "-o model.quantization: quantizes nothing",
    (EIGHT, "model.quantization.bnb_4bit_quant_type=fp4"): "-o model.quantization."
    "bnb_4bit_quant_type: has no effect without load_in_4bit",
    (FOUR, "model.quantization.llm_int8_threshold=5"): "-o model.quantization."
    "llm_int8_threshold: has no effect without load_in_8bit",
    ("tune.method=qlora",): "-o tune.method: qlora needs a base in 4 bits",
    ("tune.method=qlora", EIGHT): "-o tune.method: qlora needs a base in 4 bits",
    ("tune.method=full", FOUR): "-o tune.method: full trains every weight",
    (SPLIT, "train.optim=adafactor"): "-o train.optim: adafactor can't work on shares",
    (SPLIT, "train.torch_compile=true"): "-o train.torch_compile: compiled layers can't be split",
    (SPLIT, "train.on_oom=shrink"): "-o train.on_oom: shrink lets a process begin",
    (
        SPLIT,
        "train.unfreeze_every={steps: 2}",
    ): "-o train.unfreeze_every: gradients of split layers",
    (SPLIT, "distributed.mixed_precision=fp16"): "-o distributed.mixed_precision: the loss is not",
    (SPLIT, EIGHT): "-o model.quantization.load_in_8bit: the scales of 8-bit weights",
    (SPLIT, "tune.method=adalora"): "-o tune.method: adalora ranks whole gradients",
    (SPLIT, "tune.method=importance"): "-o tune.method: importance hides the gradients",
    (
        "model.device=cpu",
        "distributed.fsdp={cpu_offload: true}",
    ): "-o distributed.fsdp: distributed.fsdp.cpu_offload: on model.device: cpu",
    ("tune.method=prompt_tuning", "data.packing=true"): "-o data.packing: prompt_tuning puts",
    ("tune.method=prompt_tuning", "model.add_tokens=[<a>]"): "-o model.add_tokens: prompt_tuning "
    "leaves all embeddings",
    ("tune.method=freeze", EIGHT): "-o tune.method: freeze trains weights of the layers",
    **{
        (f"tune.method={name}", "data.packing=true"): f"-o data.packing: {name} puts"
        for name in ("prefix_tuning", "p_tuning", "p_tuning_v2")
    },
    **{
        (f"tune.method={name}", "train.gradient_checkpointing=true"): "-o train."
        f"gradient_checkpointing: {name} hands"
        for name in ("prefix_tuning", "p_tuning_v2")
    },
    ("tune.method=ia3", "model.add_tokens=[<a>]"): "-o model.add_tokens: ia3 leaves all",
    ("tune.method=adalora", "distributed.mixed_precision=fp16"): "-o distributed."
    "mixed_precision: adalora ranks",
    ("tune={method: adalora, init_r: 8}",): "-o tune: tune.init_r: 8 must be above tune.target_r",
    ("tune={method: oft, eps: 0.1}",): "-o tune: tune.eps has no effect without coft",
    (
        "tune={method: p_tuning, encoder_dropout: 0.1}",
    ): "-o tune: tune.encoder_dropout has no effect",
    ("tune={method: freeze, last_layers: 0}",): "-o tune: tune.last_layers: 0 leaves nothing",
    ("tune.method=full", "model.dtype=float16", "distributed.mixed_precision=fp16"): "-o model."
    "dtype: full tuning under",
    ("train.load_best_model_at_end=true",): "-o train.load_best_model_at_end: needs held-out rows",
    ("train.early_stopping_patience=2",): "-o train.early_stopping_patience: needs held-out rows",
    ("train.eval_steps=2",): "-o train.eval_steps: needs held-out rows",
    (
        HELD,
        "train.early_stopping_threshold=0.1",
    ): "-o train.early_stopping_threshold: has no effect",
    (
        "data.eval=0.5",
        "data.test=0.5",
        "evaluate.metrics=[bleu]",
    ): "-o data.test: data.eval and data.test take 1 of the",
    ("train.warmup_steps=2", "train.warmup_ratio=0.1"): "-o train.warmup_ratio: says again what "
    "train.warmup_steps says",
    ("train.lr_scheduler_type=constant", "train.warmup_ratio=0.1"): "-o train.lr_scheduler_type: "
    "constant has no warm-up",
    (SLANTED, "train.warmup_steps=2"): "-o train.warmup_steps: train.lr_scheduler_type: "
    "slanted_triangular rises by itself",
    ("train.slanted_triangular.ratio=8.0",): "-o train.slanted_triangular.ratio: has no effect "
    "with lr_scheduler_type: linear",
    ("train.unfreeze_every={}",): "-o train.unfreeze_every: needs one of epochs and steps",
    ("train.unfreeze_every={epochs: 1, steps: 2}",): "-o train.unfreeze_every: takes only one",
    ("train.unfreeze_every.epochs=1", "train.num_train_epochs=1"): "-o train.unfreeze_every."
    "epochs: 1 is no less than the 1 epochs",
    ("train.unfreeze_every.steps=5", "train.max_steps=5"): "-o train.unfreeze_every.steps: 5 is "
    "no less than the 5 steps",
    ("train.torch_compile=true", "train.unfreeze_every.steps=5"): "-o train.torch_compile: layers "
    "that are unfrozen one by one",
    ("tune.method=prompt_tuning", "train.layer_rate_decay=2.6"): "-o train.layer_rate_decay: what "
    "prompt_tuning trains stands before all layers",
    ("tune.method=adalora", "train.unfreeze_every={steps: 5}"): "-o train.unfreeze_every: adalora "
    "gives ranks by the gradients",
    ("train.tokens_per_batch=4096", "train.per_device_train_batch_size=4"): "-o train."
    "per_device_train_batch_size: has no effect beside tokens_per_batch",
    (
        "train.tokens_per_batch=64",
        "data.packing=true",
    ): "-o train.tokens_per_batch: 64 is less than",
    (
        "train.optim=sgd",
        "train.adam_beta2=0.9",
    ): "-o train.adam_beta2: has no effect with optim: sgd",
    ("evaluate.metrics=[rouge]",): "-o evaluate.metrics: needs rows to score",
    (TESTED, "evaluate.metrics=[rouge, {rouge: {}}]"): "-o evaluate.metrics: evaluate.metrics[1]: "
    "rouge is there already",
    (TESTED,): "-o data.test: is never scored without evaluate.metrics",
    ("evaluate.group_references=true",): "-o evaluate.group_references: has no effect",
    ("evaluate.bootstrap=0",): "-o evaluate.bootstrap: has no effect without evaluate.metrics",
    (TESTED, "evaluate.metrics=[bleu]", "evaluate.bootstrap=99"): "-o evaluate.bootstrap: 99 draws",
    ("evaluate.generation.temperature=0.5",): "-o evaluate.generation.temperature: has no effect "
    "without sampling; set do_sample: true",
    ("evaluate.generation.top_k=5",): "-o evaluate.generation.top_k: has no effect",
    ("evaluate.generation.top_p=0.5",): "-o evaluate.generation.top_p: has no effect",
    ("evaluate.generation.do_sample=true", "evaluate.generation.num_beams=2"): "-o evaluate."
    "generation.num_beams: beam search draws nothing",
    (
        'evaluate.generation.stop=[""]',
    ): "-o evaluate.generation.stop: evaluate.generation.stop[0] is an empty text",
    ("model.add_tokens=[<a>, <a>]",): "-o model.add_tokens: model.add_tokens[1]: '<a>' is there",
}
RIGHT = [
    (FOUR,),
    (EIGHT, "model.quantization.llm_int8_threshold=5"),
    ("tune.method=qlora", FOUR),
    ("tune.method=full",),
    ("tune={method: oft, eps: 0.1, coft: true}",),
    ("tune={method: p_tuning, encoder_dropout: 0.1, encoder_reparameterization_type: LSTM}",),
    ("tune={method: freeze, last_layers: 0, layers: [0]}",),
    ("tune={method: lora, rank_pattern: {q_proj: 4}, alpha_pattern: {'.*down_proj': 8}}",),
    ("tune.method=bitfit", FOUR),
    (HELD, "train.load_best_model_at_end=true", "train.early_stopping_patience=2"),
    ("train.lr_scheduler_type=constant_with_warmup", "train.warmup_steps=2"),
    ("train.tokens_per_batch=4096", "data.packing=true"),
    (SLANTED, "train.slanted_triangular.ratio=8.0", "train.slanted_triangular.cut_frac=0.3"),
    ("train.unfreeze_every.epochs=1", "train.num_train_epochs=2", "train.layer_rate_decay=2.6"),
    ("tune.method=adalora", "train.layer_rate_decay=2.6"),
    ("train.torch_compile=true", "train.layer_rate_decay=2.6"),
    ("train.optim=paged_adamw_8bit", "train.adam_beta2=0.9"),
    (TESTED, "evaluate.metrics=[rouge, bleu]", "evaluate.group_references=true"),
    (TESTED, "evaluate.metrics=[ter]", "evaluate.bootstrap=100"),
    (TESTED, "evaluate.metrics=[ter]", "evaluate.bootstrap=0"),
    ("evaluate.generation.do_sample=true", "evaluate.generation.temperature=0.5"),
    ("evaluate.generation.num_beams=2",),
    ("data.train[0].weight=0.5", "data.train[0].max_rows=3"),
]


@pytest.mark.parametrize("overrides", WRONG, ids=" ".join)
def test_wrong(overrides: tuple[str, ...], tmp_path: Path) -> None:
    lines = said(GOOD, tmp_path, *overrides)
    assert len(lines) == 1, lines
    assert lines[0].startswith(WRONG[overrides])
    assert ";" in lines[0], "it says what to do"


@pytest.mark.parametrize("overrides", RIGHT, ids=" ".join)
def test_right(overrides: tuple[str, ...], tmp_path: Path) -> None:
    assert said(GOOD, tmp_path, *overrides) == []


@pytest.mark.parametrize("module", [checks, checks_of_layers, checks_of_sharding, methods, names])
def test_every_rule_is_run(module: object) -> None:
    functions = {
        f
        for f in vars(module).values()
        if callable(f)
        and getattr(f, "__module__", "") == module.__name__
        and f.__code__.co_varnames[:1] == ("recipe",)
        and f.__name__ != "check"
    }
    assert functions == set(module.RULES)
