"""A few of the mutations of ``make fuzz``, and input that was made to do harm."""

from __future__ import annotations

import json
import pickle
import resource
import shutil
import struct
import time
from pathlib import Path

import fuzz
import pytest
from calling import call, contents

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fuzz.home_of(tmp_path_factory.mktemp("hostile") / "good")


@pytest.mark.parametrize(
    ("kind", "count"), [("recipe", 20), ("data", 8), ("weights", 5), ("pieces", 5)]
)
def test_mutations(kind, count, good):
    _, failures, _ = fuzz.run(kind, range(1000, 1000 + count), good)
    assert failures == []


@pytest.fixture
def home(good, tmp_path):
    return Path(shutil.copytree(good, tmp_path / "home"))


def test_a_harness_that_sees_nothing_would_be_seen(good, tmp_path, monkeypatch):
    """What writes outside its run directory, or ends with a wrong code, is a failure."""

    def writes(home, rng):
        (home.parent / "before").touch()
        return ("schema", "--output", str(home.parent / "outside.json"))

    monkeypatch.setitem(fuzz.KINDS, "writes", (writes, {0}))
    code, wrong = fuzz.trial("writes", 0, good, tmp_path)
    assert code == "0" and "outside.json written" in wrong
    monkeypatch.setitem(fuzz.KINDS, "wrong", (lambda home, rng: ("train", "none.yaml"), {0}))
    assert "exit code 2" in fuzz.trial("wrong", 0, good, tmp_path / "other")[1]


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


NAMES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_under_any_name_is_not_run(name, home, tmp_path):
    canary = tmp_path / "executed"
    (home / "model" / name).write_bytes(pickle.dumps(Canary(canary)))
    ended = call("train", "recipe.yaml", *fuzz.ONE_STEP, within=home)
    assert ended.code in (3, 4), ended.said
    assert not canary.exists()
    assert pickle.loads(pickle.dumps(Canary(canary))) is None and canary.exists()  # it would have


def test_a_header_of_a_hundred_megabytes(home):
    path = home / "model/model.safetensors"
    size = 100_000_001
    with path.open("wb") as handle:
        handle.write(struct.pack("<Q", size) + b"{")
        handle.truncate(8 + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    since = time.monotonic()
    ended = call("train", "recipe.yaml", *fuzz.ONE_STEP, within=home)
    assert ended.code == 4 and "model.safetensors" in ended.err, ended.said
    assert time.monotonic() - since < fuzz.SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for x in range(10**9) %}x{% endfor %}",
        "{{ 9**9**9 }}",
        "{{ cycler.__init__.__globals__.os.system('touch executed') }}",
        "{% for x in range(99999) %}{% for y in range(99999) %}{% endfor %}{% endfor %}",
    ],
)
def test_templates_that_attack(template, home):
    (home / "model/chat_template.jinja").write_text(template)
    since = time.monotonic()
    ended = call("train", "recipe.yaml", "--preview", within=home)
    assert ended.code in (3, 4), ended.said
    assert "bug" not in ended.err
    assert time.monotonic() - since < fuzz.SECONDS
    assert not (home / "executed").exists()


def test_a_run_directory_that_is_a_link(home, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (home / "runs").mkdir()
    (home / "runs/recipe").symlink_to(outside)
    ended = call("train", "recipe.yaml", "--preview", within=home)
    assert ended.code == 5 and "is a link" in ended.err
    assert contents(outside) == {}


def test_an_adapter_that_names_another_base(home):
    assert call("train", "recipe.yaml", *fuzz.ONE_STEP, within=home).code == 0
    adapter = home / "runs/recipe/001/train/adapter"
    config = adapter / "adapter_config.json"
    told = json.loads(config.read_text())
    config.write_text(json.dumps({**told, "base_model_name_or_path": "/etc"}))
    ended = call("merge", "recipe/001", within=home)
    assert ended.code in (4, 5), ended.said
    assert str(adapter) in ended.err or "adapter" in ended.err
