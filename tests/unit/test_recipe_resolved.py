"""A recipe written out and read again is the same recipe."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from recipe_texts import GOOD, load

from ftune.recipe.resolved import to_plain, to_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
POSITIVE = st.floats(1e-300, 1e300)


def test_shape(tmp_path: Path) -> None:
    plain = to_plain(load(GOOD, tmp_path, "data.train[0].columns={input: null}"))
    assert plain["tune"]["method"] == "lora"
    assert plain["tune"]["r"] == 16
    assert plain["train"]["objective"] == "sft"
    assert plain["data"]["train"][0]["format"] == "alpaca"
    assert plain["data"]["train"][0]["columns"]["input"] is None
    assert plain["data"]["train"][0]["columns"]["output"] == "output"
    assert list(plain) == [
        *("name", "runs_dir", "model", "data", "tune", "train", "evaluate", "distributed"),
        "sweep",
    ]


def test_metrics_with_their_keys(tmp_path: Path) -> None:
    metrics = "evaluate.metrics=[{bleu: {lowercase: true}}, perplexity]"
    plain = to_plain(load(GOOD, tmp_path, metrics, "data.test=0.5"))
    assert plain["evaluate"]["metrics"] == [
        {"bleu": {"lowercase": True, "tokenize": "13a"}},
        "perplexity",
    ]


@given(
    prompt=TEXTS
    | st.sampled_from(
        ["1e-4", "no", "0755", "null", "~", "1_0", "- a", "a: b", "<<", "x\n\n  y\n", "  x\ny"]
    ),
    rate=POSITIVE,
    seed=st.integers(0, 2**32 - 1),
    tokens=st.lists(TEXTS.filter(bool), max_size=3, unique=True),
    column=TEXTS | st.none(),
)
def test_round_trip(
    prompt: str, rate: float, seed: int, tokens: list[str], column: str | None
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = load(GOOD, folder)
        source = first.data.train[0]
        config = source.format.config.model_copy(update={"system": column})
        chosen = type(source.format)("alpaca", config)
        sources = (source.model_copy(update={"format": chosen}),)
        update = {"system_prompt": prompt, "train": sources}
        changed = first.model_copy(
            update={
                "data": first.data.model_copy(update=update),
                "train": first.train.model_copy(update={"learning_rate": rate, "seed": seed}),
                "model": first.model.model_copy(update={"add_tokens": tuple(tokens)}),
            }
        )
        assert load(to_yaml(changed), folder) == changed
