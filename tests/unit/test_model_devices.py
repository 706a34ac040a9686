"""The probe, with a child that behaves like a CPU whose bfloat16 units are not let through."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ftune import environment
from ftune.errors import ModelError
from ftune.model import devices, trials
from ftune.recipe.schema import Model, Quantization

# Dies with SIGILL unless oneDNN is held to a narrower instruction set; counts its calls.
CHILD = """
import os, signal, sys, pathlib
log = pathlib.Path(sys.argv[1]); log.write_text((log.read_text() if log.exists() else "") + "x")
if os.environ.get("ONEDNN_MAX_CPU_ISA") not in sys.argv[2].split(","):
    os.kill(os.getpid(), signal.SIGILL)
print('{"float16": false, "bfloat16": true, "4bit": true, "8bit": false}')
"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(environment.ONEDNN_ISA, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def child(tmp_path: Path, works_with: str) -> list[str]:
    return [sys.executable, "-c", CHILD, str(tmp_path / "calls"), works_with]


@pytest.mark.parametrize("name", ["AVX512_CORE_BF16", "AVX512_CORE", "AVX2"])
def test_the_widest_set_that_works_is_kept(tmp_path: Path, name: str) -> None:
    command = child(tmp_path, f"{name},AVX2")
    facts = devices.probe(command, tmp_path / "cache")
    assert facts == devices.Facts(("4bit", "bfloat16"), {environment.ONEDNN_ISA: name})
    calls = (tmp_path / "calls").read_text()
    assert devices.probe(command, tmp_path / "cache") == facts
    assert (tmp_path / "calls").read_text() == calls  # answered from the cache


def test_nothing_works(tmp_path: Path) -> None:
    assert devices.probe(child(tmp_path, "none"), tmp_path) == devices.Facts((), {})
    assert devices.probe(["/no/such/program"], tmp_path / "x") == devices.Facts((), {})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"works": 3, "set": {}}', '{"works": []}'])
def test_an_unreadable_cache_is_probed_again(tmp_path: Path, text: str) -> None:
    command = child(tmp_path, "AVX2")
    facts = devices.probe(command, tmp_path)
    (kept,) = tmp_path.glob("cpu-*.json")
    kept.write_text(text)
    assert devices.probe(command, tmp_path) == facts
    assert json.loads(kept.read_text())["works"] == ["4bit", "bfloat16"]


def test_a_set_of_the_users_own_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.ONEDNN_ISA, "AVX512_CORE")
    assert devices.probe(child(tmp_path, "AVX2"), tmp_path).works == ()
    assert (tmp_path / "calls").read_text() == "x"
    assert environment.get(environment.ONEDNN_ISA) == "AVX512_CORE"


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    facts = devices.probe(child(tmp_path, "AVX2"), tmp_path / "file" / "cache")
    assert "bfloat16" in facts.works


def section(**keys: object) -> Model:
    return Model.model_validate({"name_or_path": "x", "device": "cpu", **keys})


def test_choose_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def probe() -> devices.Facts:
        return devices.Facts(("4bit", "bfloat16"), {environment.ONEDNN_ISA: "AVX2"})

    monkeypatch.setattr(devices, "probe", None)  # float32 needs none
    assert devices.choose(section()) == (torch.device("cpu"), torch.float32)
    monkeypatch.setattr(devices, "probe", probe)
    assert devices.choose(section(dtype="bfloat16"))[1] == torch.bfloat16
    assert environment.get(environment.ONEDNN_ISA) == "AVX2"
    assert devices.choose(section(), "bf16")[1] == torch.float32
    four = Quantization(load_in_4bit=True)
    assert devices.choose(section(quantization=four))[1] == torch.float32
    with pytest.raises(ModelError, match=r"model\.dtype: float16 .* 4bit, bfloat16, float32"):
        devices.choose(section(dtype="float16"))
    with pytest.raises(ModelError, match=r"model\.quantization: 8bit"):
        devices.choose(section(quantization=Quantization(load_in_8bit=True)))
    with pytest.raises(ModelError, match="fp16 needs a GPU"):
        devices.choose(section(), "fp16")


def test_a_device_that_is_not_there() -> None:
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="no cuda here"):
            devices.choose(section(device="cuda"))


def test_a_trial_that_dies_or_raises_is_told_from_one_that_ends() -> None:
    import os
    import signal

    assert trials.survives(lambda: None)
    assert not trials.survives(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert not trials.survives(lambda: json.loads("{"))


def test_the_real_child_answers(tmp_path: Path) -> None:
    facts = devices.probe(cache=tmp_path)
    assert set(facts.works) <= set(devices.NAMES)
    assert "4bit" in facts.works  # bitsandbytes works on every CPU that ftune supports
