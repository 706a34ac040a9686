"""A model's config.json that speaks of another model than its files hold."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import fuzz
import pytest
from calling import call

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fuzz.home_of(tmp_path_factory.mktemp("configs") / "good")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1,000,000,000"),
        ({"text_config": {"n_layers": 10**9}}, "n_layers is 1,000,000,000"),
        (
            {"quantization_config": {"quant_method": "../x", "load_in_4bit": True}},
            "has a quantization_config",
        ),
    ],
    ids=["layers", "layers within", "quantized"],
)
def test_refused_before_anything_is_made(keys, said, good, tmp_path):
    home = Path(shutil.copytree(good, tmp_path / "home"))
    config = home / "model/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **keys}))
    since = time.monotonic()
    ended = call("train", "recipe.yaml", *fuzz.ONE_STEP, within=home)
    assert ended.code == 4, ended.said
    assert said in ended.err and "config.json" in ended.err
    assert time.monotonic() - since < fuzz.SECONDS
