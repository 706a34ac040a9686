"""What ``ftune doctor`` says of a machine that is not as it should be."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
import typer

from ftune.cli.doctor import doctor
from ftune.model import checkup, devices

FACTS = devices.Facts(("4bit", "bfloat16"), {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"})


@pytest.fixture(autouse=True)
def fake_probe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "probe", lambda: FACTS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_dtypes_that_work_and_how(tmp_path: Path) -> None:
    found = {finding.name: finding for finding in checkup.findings(tmp_path)}
    assert found["CPU bfloat16"].state == "ok"
    assert "ONEDNN_MAX_CPU_ISA=AVX512_CORE" in found["CPU bfloat16"].text
    assert found["CPU float16"].state == "warning" and "float32" in found["CPU float16"].remedy
    assert "quantization" in found["CPU 8-bit (bitsandbytes)"].remedy
    assert {"ftune", "torch", "peft", "machine", "disk", "hub", "hub's cache"} <= set(found)
    assert all(f.remedy for f in found.values() if f.state != "ok")


def test_offline_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub = next(f for f in checkup.findings(tmp_path) if f.name == "hub")
    assert hub.text.startswith("offline")


def test_versions_are_held_against_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["torch>=2.10", "peft>=99", "absent>=1", "tensorboard>=99; extra == 'tensorboard'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs)
    assert checkup._package("torch", "2.13.0+cpu").state == "ok"
    old = checkup._package("peft", "0.21.2")
    assert old.state == "problem" and old.remedy == "pip install 'peft>=99'"
    assert checkup._package("absent", None).remedy == "pip install 'absent>=1'"
    assert checkup._package("tensorboard", "2.0").state == "ok"


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")(10**12, 10**12, 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    found = checkup._disk("disk", tmp_path / "not" / "there")
    assert found.state == "warning" and "0.1 GB free" in found.text


def test_the_command_prints_json_and_exits_by_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor(tmp_path, json=True)
    answer = json.loads(capsys.readouterr().out)
    assert {"name", "state", "text", "remedy"} == set(answer[0])
    bad = checkup.Finding("torch", "problem", "is not installed", "pip install torch")
    monkeypatch.setattr(checkup, "findings", lambda folder: iter([bad]))
    with pytest.raises(typer.Exit) as caught:
        doctor(tmp_path)
    assert caught.value.exit_code == 1
    assert "pip install torch" in capsys.readouterr().out
