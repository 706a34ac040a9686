"""Names of other tools are answered with the name here."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_texts import GOOD, said

from ftune.recipe.fields import walk
from ftune.recipe.foreign import foreign_name, table
from ftune.recipe.foreign_names import THERE
from ftune.recipe.keys import all_keys
from ftune.recipe.schema import Recipe

# The table of the conventions: what each tool calls a thing.
AGREED = {
    "model.name_or_path": "base_model model_name_or_path",
    "tune.method": "adapter finetuning_type use_peft",
    "tune.r": "lora_r lora_rank",
    "tune.target_modules": "lora_target_modules lora_target_linear lora_target",
    "model.quantization.load_in_4bit": "load_in_4bit quantization_bit",
    "data.train": "datasets dataset",
    "data.eval": "val_set_size val_size dataset_test_split",
    "data.max_length": "sequence_len cutoff_len max_length",
    "train.per_device_train_batch_size": "micro_batch_size per_device_train_batch_size batch_size",
    "train.num_train_epochs": "num_epochs num_train_epochs epochs",
    "train.lr_scheduler_type": "lr_scheduler lr_scheduler_type",
    "data.train_on": "train_on_inputs roles_to_train train_on_prompt mask_history "
    "completion_only_loss assistant_only_loss",
    "data.packing": "sample_packing packing neat_packing",
    "data.template": "chat_template template chat_template_path",
}
KEYS = {key for key, _ in walk(Recipe)} | {"tune.method", "data.train.columns"}
KEYS |= {key for homes in all_keys().values() for key in homes}


@pytest.mark.parametrize("here", AGREED)
def test_the_agreed_names(here: str, tmp_path: Path) -> None:
    for name in AGREED[here].split():
        lines = said(f"{name}: 1\n{GOOD}", tmp_path)
        assert len(lines) == 1
        assert lines[0].startswith(f"recipe.yaml:1:1: {name} is not a key of a recipe; ")
        assert here in lines[0]


@pytest.mark.parametrize("name", sorted(table()))
def test_each_name_leads_to_a_key_that_is_there(name: str) -> None:
    found = foreign_name((name,))
    assert found is not None
    assert found.here in KEYS | {""}
    assert name != found.here.rpartition(".")[2], "this is a name here: no tool's own"


OF_SOME_METHODS = {"tune.alpha"}  # loha's and lokr's own key, and elsewhere a foreign name


@pytest.mark.parametrize("path", sorted(THERE))
def test_names_that_depend_on_their_place(path: str) -> None:
    assert THERE[path].replace("[0]", "") in KEYS
    assert path not in KEYS or path in OF_SOME_METHODS


def test_a_pasted_recipe_gets_one_line_for_each_key(tmp_path: Path) -> None:
    pasted = """\
base_model: NousResearch/Llama-3.2-1B
load_in_4bit: true
datasets:
  - path: teknium/GPT4-LLM-Cleaned
    type: alpaca
val_set_size: 0.05
output_dir: ./out
adapter: qlora
sequence_len: 2048
lora_r: 32
lora_alpha: 16
wandb_project:
micro_batch_size: 2
learning_rate: 0.0002
bf16: auto
strict: false
"""
    lines = said(pasted, tmp_path)
    keys = [line for line in pasted.splitlines() if not line.startswith(" ")]
    assert len(lines) == len(keys)
    for line, key in zip(lines, keys, strict=True):
        name = key.partition(":")[0]
        assert f":1: {name} is not a key of a recipe; " in line
        assert "write" in line or "remove the line" in line


def test_what_there_is_no_counterpart_for(tmp_path: Path) -> None:
    lines = said(f"push_to_hub: true\n{GOOD}", tmp_path)
    assert lines == [
        "recipe.yaml:1:1: push_to_hub is not a key of a recipe; it is from TRL and axolotl: "
        "ftune uploads nothing; remove the line"
    ]
