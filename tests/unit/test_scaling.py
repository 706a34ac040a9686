"""The formulas of docs/scaling.md against models that are there, and figures that are known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scaling() -> Any:
    spec = importlib.util.spec_from_file_location("scaling", ROOT / "benchmarks" / "scaling.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling"] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_prints(scaling: Any) -> None:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert page == scaling.page(), "run `python benchmarks/scaling.py --page docs/scaling.md`"


def test_published_numbers_of_parameters(scaling: Any) -> None:
    counts = [shape.parameters for shape in scaling.SHAPES]
    assert counts == [1_235_814_400, 8_030_261_248, 70_553_706_496]  # as their makers give them
    assert scaling.GPT_175B.parameters == pytest.approx(175e9, rel=0.01)


def test_bytes_of_a_model_that_is_here(scaling: Any) -> None:
    import torch

    from ftune.model.loading import load_model, load_tokenizer
    from ftune.model.tuning import lora
    from ftune.recipe.schema import Model

    section = Model(name_or_path="ftune:tiny", device="cpu")
    tokenizer = load_tokenizer(section)
    loaded = load_model(section, tokenizer)
    config = loaded.model.config
    shape = scaling.Shape(
        "tiny",
        config.hidden_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.intermediate_size,
        config.vocab_size,
        config.tie_word_embeddings,
    )
    assert shape.parameters == loaded.facts["parameters"]
    buffers = sum(each.nbytes for each in loaded.model.buffers())  # the angles of positions
    assert scaling.state(shape, "full").weights == loaded.facts["bytes"] - buffers

    model = lora.attach(loaded.model, lora.Config(r=4), tokenizer)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert shape.lora(4) == sum(p.numel() for p in trained)
    optimizer = torch.optim.AdamW(trained)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    kept = [t for s in optimizer.state.values() for t in s.values() if t.dim()]
    assert sum(t.nbytes for t in kept) == 8 * shape.lora(4)
    assert sum(p.grad.nbytes for p in trained if p.grad is not None) == 4 * shape.lora(4)


def test_schemes_split_what_they_say(scaling: Any) -> None:
    shape = scaling.SHAPES[1]
    whole = 16.0 * shape.parameters
    told = {s: scaling.memory(shape, "full", s, 64) for s in scaling.SCHEMES}
    assert told["DDP"] == whole
    assert told["ZeRO-1"] == pytest.approx(whole / 2 + whole / 2 / 64)
    assert told["ZeRO-2"] == pytest.approx(whole / 4 + whole * 3 / 4 / 64)
    assert whole / 64 < told["FSDP"] < told["ZeRO-2"]
    # Rajbhandari et al. 2020, section 7: 2 and 3 elements a parameter, here of 4 and 2 bytes.
    assert scaling.traffic(shape, "full", "ZeRO-2", 10**9) == pytest.approx(8 * shape.parameters)
    assert scaling.traffic(shape, "full", "FSDP", 10**9) == pytest.approx(6 * shape.parameters)
