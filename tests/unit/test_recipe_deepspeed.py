"""``distributed.deepspeed``: nothing in its configuration is unknown, or against the recipe."""

from __future__ import annotations

import json
import sys

import pytest
from recipe_texts import GOOD, load, said
from tiny_training import make_job

from ftune.errors import RecipeError
from ftune.recipe import deepspeed
from ftune.recipe.deepspeed_faults import faults
from ftune.recipe.view import plain
from ftune.stages.train import TRAIN
from ftune.stages.zeroed import configuration
from ftune.train.loop import train

AT = "distributed.deepspeed"
# As DeepSpeed's users have it, all of it left to the recipe.
AUTO = {
    "zero_optimization": {"stage": 3, "reduce_bucket_size": "auto", "overlap_comm": True,
                          "offload_optimizer": {"device": "cpu", "pin_memory": True},
                          "stage3_gather_16bit_weights_on_model_save": True},
    "bf16": {"enabled": "auto"},
    "fp16": {"enabled": "auto", "loss_scale": 0},
    "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto"}},
    "scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": "auto"}},
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "steps_per_print": None,
    "wall_clock_breakdown": False,
}  # fmt: skip
WRONG = [
    ({"amp": {}}, "amp: ftune does not know what amp would change"),
    ({"train_batch_size": "8"}, 'train_batch_size: it is "8"'),
    ({"train_batch_size": True}, "train_batch_size: it is true"),
    ({"train_micro_batch_size_per_gpu": 3}, "train_micro_batch_size_per_gpu: it is 3, and "
     "train.per_device_train_batch_size says 8"),
    ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps: it is 2, and train.grad"),
    ({"gradient_accumulation_steps": True}, "gradient_accumulation_steps: it is true"),
    ({"gradient_clipping": 0.3}, "gradient_clipping: it is 0.3, and train.max_grad_norm says 1.0"),
    ({"bf16": {"enabled": True}}, "bf16.enabled: DeepSpeed would round"),
    ({"bf16": True}, "bf16: bf16 must be an object"),
    ({"fp16": {"enabled": True}}, "fp16.enabled: DeepSpeed would round"),
    ({"optimizer": {"type": "Lamb"}}, "optimizer.type: it is Lamb, and train.optim is adamw_torch"),
    ({"optimizer": {"type": "AdamW", "params": {"lr": 1e-3}}}, "optimizer.params.lr: it is 0.001, "
     "and train.learning_rate says 0.0001"),
    ({"optimizer": {"type": "AdamW", "params": {"betas": [0.9, 0.9]}}}, "optimizer.params.betas"),
    ({"optimizer": {"type": "AdamW", "params": {"freeze": 1}}}, "optimizer.params.freeze: the"),
    ({"optimizer": []}, "optimizer: optimizer has a type"),
    ({"scheduler": {"type": "OneCycle"}}, "scheduler.type: it is OneCycle, and train.lr_scheduler"),
    ({"scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": 9}}},
     "scheduler.params.total_num_steps: it is 9, and the number of steps"),
    ({"zero_allow_untested_optimizer": False}, "zero_allow_untested_optimizer: it is false"),
    ({"zero_force_ds_cpu_optimizer": True}, "zero_force_ds_cpu_optimizer: it is true"),
    ({"steps_per_print": 10}, "steps_per_print: DeepSpeed's own prints stay off"),
    ({"zero_optimization": 2}, "zero_optimization: it must be an object"),
    ({"zero_optimization": {"stage": 4}}, "zero_optimization.stage: stage is 4"),
    ({"zero_optimization": {"stage": True}}, "zero_optimization.stage: stage is true"),
    ({"zero_optimization": {"stage": 1, "zero_hpz_partition_size": 2}},
     "zero_optimization.zero_hpz_partition_size: zero_hpz_partition_size was never tried"),
    ({"zero_optimization": {"stage": 2, "overlap_comm": 1}}, "zero_optimization.overlap_comm: "),
    ({"zero_optimization": {"stage": 2, "reduce_bucket_size": -1}},
     "zero_optimization.reduce_bucket_size: reduce_bucket_size is -1; write a whole number"),
    ({"zero_optimization": {"stage": 2, "offload_param": {"device": "cpu"}}},
     "zero_optimization.offload_param.device: with stage 2 there is nothing to move"),
    ({"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}},
     'zero_optimization.offload_param.device: device is "nvme"; write cpu or none'),
    ({"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": False}},
     "zero_optimization.stage3_gather_16bit_weights_on_model_save: it is false"),
]  # fmt: skip


def test_a_file_that_leaves_all_to_the_recipe_is_right(tmp_path):
    (tmp_path / "ds.json").write_text(json.dumps(AUTO))
    recipe = load(GOOD, tmp_path, f"{AT}=ds.json")
    handed = configuration(recipe, tmp_path, 2)
    assert handed == {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 1.0,
        "steps_per_print": None,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": True,
            "offload_optimizer": {"device": "cpu", "pin_memory": True},
            "stage3_gather_16bit_weights_on_model_save": True,
        },
    }
    assert "auto" not in str(handed)


@pytest.mark.parametrize(("config", "begins"), WRONG)
def test_what_contradicts_the_recipe_is_refused(tmp_path, config, begins):
    (tmp_path / "ds.json").write_text(json.dumps(config))
    found = said(GOOD, tmp_path, f"{AT}=ds.json")
    assert len(found) == 1 and found[0].startswith(f"-o {AT}: ds.json: {begins}")


def test_inline_the_key_itself_is_named(tmp_path):
    text = GOOD + f"{AT.partition('.')[0]}:\n  deepspeed:\n    gradient_clipping: 0.3\n"
    assert said(text, tmp_path)[0].startswith(
        f"recipe.yaml:13:24: {AT}.gradient_clipping: it is 0.3, and train.max_grad_norm says 1.0"
    )


def test_values_that_the_recipe_has_too_are_right(tmp_path):
    config = {
        "train_batch_size": 32,
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 0,
        "optimizer": {"type": "SGD", "params": {"lr": 1e-4, "weight_decay": 0.0}},
        "scheduler": {
            "type": "WarmupLR", "params": {"warmup_num_steps": 3, "warmup_type": "linear"}
        },
    }  # fmt: skip
    sets = ("gradient_accumulation_steps=2", "max_grad_norm=null", "optim=sgd", "warmup_steps=3",
            "lr_scheduler_type=constant_with_warmup")  # fmt: skip
    recipe = load(GOOD, tmp_path, *(f"train.{each}" for each in sets), f"{AT}={json.dumps(config)}")
    assert configuration(recipe, tmp_path, 2)["gradient_clipping"] == 0.0
    with pytest.raises(RecipeError, match=r"train_batch_size: it is 32, and .* says 64"):
        configuration(recipe, tmp_path, 4)


def test_a_warm_up_by_a_logarithm_is_refused(tmp_path):
    train = load(GOOD, tmp_path, "train.warmup_ratio=0.1").train
    config = {"scheduler": {"type": "WarmupDecayLR", "params": {}}}
    assert "logarithm" in next(faults(config, train, "no", None))[1]
    config["scheduler"]["params"] = {"warmup_type": "auto", "warmup_num_steps": 7}
    found = [why for _, why in faults(config, train, "no", None)]
    assert len(found) == 1 and found[0].startswith("it is 7, and train.warmup_ratio says nothing")


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("{", "ds.json can't be read as JSON (Expecting"),
        ("[]", "ds.json holds no JSON object"),
        ('{"bf16": {}, "bf16": {}}', "ds.json can't be read as JSON (bf16 stands there twice)"),
        ("[" * 100_000, "ds.json can't be read as JSON"),
        (" " * (deepspeed.MOST + 1), "ds.json has more than 1,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_configuration_is_told(tmp_path, text, begins):
    (tmp_path / "ds.json").write_text(text)
    assert said(GOOD, tmp_path, f"{AT}=ds.json")[0].startswith(f"-o {AT}: {begins}")


@pytest.mark.parametrize("name", ["none.json", "/", "a\0b", "~nobody-here/x"])
def test_a_file_that_is_not_there_is_told(tmp_path, name):
    assert said(GOOD, tmp_path, f"{AT}={json.dumps(name)}")[0].startswith(f"-o {AT}: ")


@pytest.mark.parametrize(
    ("sets", "begins"),
    [
        ("distributed.fsdp={}", "both fsdp and distributed.deepspeed"),
        ("train.optim=adafactor", "adafactor can't work on shares"),
        ("train.torch_compile=true", "write false"),
        ("train.on_oom=shrink", "with distributed.deepspeed processes wait"),
        ("train.unfreeze_every={steps: 2}", "distributed.deepspeed waits"),
        ("distributed.mixed_precision=fp16", "the loss is not"),
        ("tune.method=importance", "importance hides the gradients"),
        ("model.quantization.load_in_4bit=true", "quantized weights"),
    ],
)
def test_what_does_not_go_with_it_is_refused(tmp_path, sets, begins):
    found = said(GOOD, tmp_path, f"{AT}.zero_optimization.stage=3", sets)
    key = sets.partition("=")[0].partition(".load_in")[0]
    assert any(line.startswith(f"-o {key}") and f": {begins}" in line for line in found)


def test_where_it_stands_makes_no_other_run(tmp_path):
    """Who holds what changes no result, so a run goes on with it or without."""
    assert AT in TRAIN.reads
    one, two = (load(GOOD, tmp_path, *sets) for sets in ((), (f"{AT}={{}}",)))
    assert one != two and plain(one, TRAIN.reads) == plain(two, TRAIN.reads)


def test_without_deepspeed_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    handed = deepspeed.settled({"zero_optimization": {"stage": 2}}, load(GOOD, tmp_path).train)
    with pytest.raises(RecipeError, match=r"pip install 'ftune\[deepspeed\]'"):
        train(make_job(tmp_path, job={"deepspeed": handed}))
