"""Each key of a tuning method makes another model or another training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from looking import look
from small_runs import make_home, one_thread
from test_keys_are_read import config_of

from ftune.recipe.fields import walk
from ftune.registry import METHODS

TINY = "model.name_or_path=ftune:tiny"
ADALORA = "tune={method: adalora, init_r: 4, target_r: 2}"
VERA = "tune={method: vera, r: 4}"
IA3 = "tune={method: ia3, target_modules: [up_proj]}"
LSTM = "tune={method: p_tuning, encoder_reparameterization_type: LSTM, num_virtual_tokens: 3}"
OFT = "tune={method: oft, oft_block_size: 8, coft: true}"
IMPORTANCE = "tune={method: importance, sample_rows: 2}"
BOFT, FREEZE, PREFIX, DEEP, NORM = (
    f"tune={{method: {n}}}" for n in ("boft", "freeze", "prefix_tuning", "p_tuning_v2", "layernorm")
)
LOHA, HRA, RANDLORA, MISS, LOKR = (
    f"tune={{method: {n}, r: 2}}" for n in ("loha", "hra", "randlora", "miss", "lokr")
)
FOURIER = "tune={method: fourierft, n_frequency: 8}"
ROAD = "tune={method: road, group_size: 16}"
MULTI = "tune={method: multitask_prompt_tuning, tasks: [a, b], num_virtual_tokens: 3}"
QUERY = "target_modules=[q_proj]"
# Those of lora, qlora and prompt_tuning are in test_key_effects.py.
CASES: dict[str, tuple[str, ...]] = {
    ADALORA: (
        "init_r=3", "target_r=1", "tinit=2", "tfinal=2", "deltaT=3", "beta1=0.1", "beta2=0.1",
        "orth_reg_weight=9.0", "lora_alpha=64", "lora_dropout=0.5", QUERY,
    ),
    VERA: ("r=3", QUERY, "vera_dropout=0.5", "d_initial=0.5", "save_projection=false"),
    IA3: (QUERY, "feedforward_modules=[up_proj]"),
    OFT: ("oft_block_size=16", QUERY, "block_share=true", "coft=false",
          "eps=0.1", "use_cayley_neumann=false"),
    "tune={method: bottleneck, size: 4}": ("size=2", "variant=pfeiffer", "activation=relu"),
    BOFT: ("boft_block_size=8", QUERY, "boft_dropout=0.5"),
    NORM: ("target_modules=[input_layernorm]",),
    LSTM: ("num_virtual_tokens=2", "encoder_reparameterization_type=MLP", "encoder_hidden_size=8",
           "encoder_num_layers=1", "encoder_dropout=0.5"),
    PREFIX: ("num_virtual_tokens=2", "encoder_hidden_size=8"),
    DEEP: ("num_virtual_tokens=2", "init_text=Buy"),
    IMPORTANCE: ("share=0.5", "by=parameter", "score=gradient", "sample_rows=1"),
    LOHA: ("r=3", "alpha=4", "rank_dropout=0.5", QUERY),
    LOKR: ("r=1", "alpha=4", "rank_dropout=0.5", QUERY, "decompose_both=true",
           "decompose_factor=4"),
    FOURIER: ("n_frequency=9", "scaling=2.0", "init_weights=true", QUERY),
    HRA: ("r=4", "apply_GS=true", QUERY),
    RANDLORA: ("r=3", "randlora_alpha=9", "randlora_dropout=0.5", "sparse=true", QUERY),
    MISS: ("r=4", "miss_dropout=0.5", QUERY),
    ROAD: ("variant=road_2", "group_size=8", QUERY),
    MULTI: ("tasks=[b, a]", "num_virtual_tokens=2", "num_ranks=2"),
    FREEZE: ("last_layers=2", "layers=[0]", "pattern=.*embed.*"),
}  # fmt: skip
# Of which source prompts or a text a new one starts; in tests/unit/test_multitask.py.
STARTS = {
    ("multitask_prompt_tuning", f"prompt_tuning_init{key}")
    for key in ("", "_text", "_state_dict_path", "_task")
}
# Two sources, of a task each.
TWO = tuple(
    f"data.{split}=[{{path: {split}.jsonl, format: alpaca, task: a}},"
    f" {{path: {split}.jsonl, format: alpaca, task: b}}]"
    for split in ("train", "eval", "test")
)
PAIRS = [(setup, change) for setup, changes in CASES.items() for change in changes]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("methods"))


@pytest.fixture(scope="module")
def plain(recipe: Path) -> dict[str, Any]:
    """The run of each setup without a change."""
    with one_thread():
        return {setup: look(recipe, overrides(setup), "train") for setup in CASES}


def overrides(setup: str) -> tuple[str, ...]:
    more = {FREEZE: (TINY, "train.max_steps=2"), MULTI: (*TWO, "train.learning_rate=0.3")}
    return (setup, *more.get(setup, ()))


@pytest.mark.parametrize(("setup", "change"), PAIRS, ids=str)
def test_another_value_makes_another_run(
    setup: str, change: str, recipe: Path, plain: dict[str, Any]
) -> None:
    with one_thread():
        after = look(recipe, (*overrides(setup), f"tune.{change}"), "train")
    before = plain[setup]
    assert "error" not in before and "error" not in after, (before, after.get("error"))
    assert before["format"] == after["format"]
    assert (before["load"], before["train"]) != (after["load"], after["train"])


def test_each_key_has_its_case() -> None:
    there = set()
    for setup, changes in CASES.items():
        method = setup.removeprefix("tune={method: ").rstrip("}").partition(",")[0]
        there |= {(method, change.partition("=")[0]) for change in changes}
    others = {"lora", "qlora", "prompt_tuning"}
    own = {
        (n, k) for n in METHODS.names() if n not in others for k, _ in walk(config_of("tune", n))
    }
    assert own - STARTS == there
