"""Which models are read in shares by the command line's stages, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ftune.errors import ModelError
from ftune.recipe.reading import load_recipe
from ftune.recipe.view import View
from ftune.stages import shares
from ftune.stages.train import TRAIN

RECIPE = Path(__file__).parents[2] / "recipes/ci-smoke.yaml"


@pytest.fixture
def made(monkeypatch):
    def made(*sets: str, processes: int = 2):
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        recipe = load_recipe(RECIPE, ["distributed.fsdp={}", *sets]).recipe
        return shares.fresh(View(recipe, "", TRAIN.reads, set()), False)

    return made


def test_weights_stay_in_the_files_and_adapters_are_those_of_one_process(made):
    ours, theirs = made(), made(processes=1)
    assert "a layer at a time" in shares.reading(ours) and not shares.reading(theirs)
    ours.base.unread.fill(ours.model)
    for name, tensor in theirs.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (("tune.use_dora=true",), "made of the base's own weights"),
        (("tune.init_lora_weights=pissa",), "each process reads all of it: "),
        (("tune.init_lora_weights=eva",), "looks at the weights to choose"),
        (("model.add_tokens=[<x>]",), "model.add_tokens begins with the mean"),
    ],
)
def test_what_must_be_read_before_is_read_whole_with_the_reason(made, sets, said):
    tuned = made(*sets)
    assert tuned.base.unread is None and said in shares.reading(tuned)
    assert bool(torch.cat([p.flatten() for p in tuned.model.parameters()]).isfinite().all())


@pytest.mark.parametrize(
    ("read", "written", "said"),
    [
        (True, True, "no process had the whole of it"),
        (True, False, "the first had the whole of it at the end"),
        (False, False, "each had the whole of it: a reason"),
    ],
)
def test_who_had_the_whole_of_it_is_said(read, written, said):
    none = dict.fromkeys(("gradients_split", "optimizer_tensors", "optimizer_tensors_split"), 0)
    sizes = {"parameter_bytes": 8, "optimizer_bytes": 8}
    each = {"parameter_bytes_of_each": [4, 4], "optimizer_bytes_of_each": [4, 4]}
    told = {
        **none, **sizes, **each, "processes": 2, "groups": 2, "layer_classes": ["Layer"],
        "parameters": 3, "parameters_split": 3, "trained": 3,
        "read_in_shares": read, "written_in_shares": written, "why_whole": "a reason",
    }  # fmt: skip
    (line,) = shares.lines(told)
    assert said in line.rpartition("; ")[2]


def test_a_mistake_is_told_as_ever(made):
    with pytest.raises(ModelError, match=r"tune.target_modules: nowhere matches no module"):
        made("tune.target_modules=[nowhere]")
