"""Nothing phones anywhere: local files need no network, and a hub id is not guessed at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from no_network import REFUSED
from small_runs import make_home

WITHOUT = Path(__file__).with_name("no_network.py")
HUB = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


def run(
    home: Path, *arguments: str, offline: bool = False, cache: str = "cache"
) -> subprocess.CompletedProcess[str]:
    """In a process that ends at the first connection; ``offline`` sets HF_HUB_OFFLINE."""
    around = {k: v for k, v in os.environ.items() if k not in HUB}
    around |= {"OMP_NUM_THREADS": "1", "HF_HOME": str(home / cache)}
    if offline:
        around["HF_HUB_OFFLINE"] = "1"
    return subprocess.run(
        [sys.executable, str(WITHOUT), *arguments],
        cwd=home,
        env=around,
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    make_home(folder)
    return folder


def test_the_hook_works(home: Path) -> None:
    code = f"import sys, socket; sys.path.insert(0, {str(WITHOUT.parent)!r}); import no_network\n"
    code += "sys.addaudithook(no_network.refuse)\n"
    code += (
        "try: socket.create_connection(('192.0.2.1', 80), timeout=1)\nexcept BaseException: pass"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode == REFUSED


def test_a_training_on_local_files(home: Path) -> None:
    """HF_HUB_OFFLINE is not set: nobody has to say that there is nothing to ask."""
    metrics = (
        "evaluate.metrics=[rouge, bleu, chrf, exact_match, accuracy, perplexity, token_loss, ter, "
        "meteor, classification, distinct_n, length, repetition]"
    )
    ended = run(home, "train", "recipe.yaml", "-o", metrics, "-o", "train.max_steps=2")
    assert ended.returncode == 0, ended.stderr
    assert "NETWORK" not in ended.stderr
    assert not list((home / "cache").rglob("*.safetensors"))


@pytest.mark.parametrize("verb", [("validate", "recipe.yaml"), ("runs", "list"), ("schema",)])
def test_verbs_without_a_model(verb: tuple[str, ...], home: Path) -> None:
    assert run(home, *verb).returncode == 0


@pytest.mark.parametrize(
    ("key", "code"),
    [("model.name_or_path=nobody/nothing", 4), ("data.train.0.path=nobody/nothing", 3)],
)
def test_offline_an_uncached_hub_id_fails_clearly(key: str, code: int, home: Path) -> None:
    ended = run(home, "train", "recipe.yaml", "-o", key, offline=True)
    assert ended.returncode == code, ended.stderr
    assert "nobody/nothing" in ended.stderr and "HF_HUB_OFFLINE" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (home / "runs" / "recipe" / "002").exists()


def test_online_the_hub_is_asked_for_what_the_recipe_names(home: Path) -> None:
    ended = run(home, "train", "recipe.yaml", "-o", "model.name_or_path=nobody/nothing")
    assert ended.returncode == REFUSED
    assert "NETWORK" in ended.stderr
