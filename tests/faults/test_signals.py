"""Asked to stop at a bad moment, a run saves, says so, ends with the signal's code, and goes on."""

from __future__ import annotations

import re
import signal
import time

import pytest
from compare import differences, read

pytestmark = pytest.mark.golden

GRACE = 5.0  # seconds from the signal to the end; a step takes hundredths of one here
MOMENTS = {
    "mid-backward": ("torch:Tensor.backward", 5),
    "mid-save": ("ftune.train.checkpoint:_write", 3),
    "mid-rotation": ("ftune.train.checkpoint:rotate", 4),
    "mid-evaluation": ("ftune.train.evaluating:to_device", 1),
    "between stages": ("ftune.run.pipeline:_is_done", 3),
    "in the last evaluation": ("ftune.evaluate.predicting:generate", 1),
}


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [*((m, signal.SIGTERM, 143) for m in MOMENTS), ("mid-backward", signal.SIGINT, 130)],
)
def test_asked_to_stop(moment, number, code, parent, home, reference, tmp_path):
    target, call = MOMENTS[moment]
    fault = {"fault": "at_call", "target": target, "number": call, "do": number.name}
    done = parent.train(tmp_path, home / "lora.yaml", faults=[fault])
    run = tmp_path / "runs/lora/001"
    assert done.code == code, done.err
    assert "the same command goes on" in done.err
    assert read(run / "run.json")["state"] == "interrupted"
    again = parent.train(tmp_path, home / "lora.yaml")
    assert again.code == 0, again.err
    if moment.startswith("mid-"):
        step = int(done.err.partition("stopped after step ")[2].split()[0])
        assert f"going on from the checkpoint of step {step}" in again.out
    assert differences(run, reference("lora")) == []


@pytest.mark.parametrize(
    ("moment", "signals"),
    [
        ("mid-backward", "SIGINT SIGINT"),
        ("mid-save", "SIGTERM SIGINT"),
        ("mid-evaluation", "SIGINT SIGINT"),
    ],
)
def test_twice_ends_at_once_and_harms_nothing(signals, moment, parent, home, reference, tmp_path):
    target, call = MOMENTS[moment]
    fault = {"fault": "at_call", "target": target, "number": call, "do": signals}
    done = parent.train(tmp_path, home / "lora.yaml", faults=[fault])
    assert done.code == 130
    assert "stopped after" not in done.err
    again = parent.train(tmp_path, home / "lora.yaml")
    assert again.code == 0, again.err
    assert "damaged" not in again.err
    assert differences(tmp_path / "runs/lora/001", reference("lora")) == []


@pytest.mark.parametrize("signals", ["SIGTERM pause", "SIGINT SIGTERM pause"])
def test_a_step_longer_than_the_grace_is_broken_off(signals, parent, home, reference, tmp_path):
    target, call = MOMENTS["mid-backward"]
    fault = {"fault": "at_call", "target": target, "number": call + 3, "do": signals}
    grace = ("-o", "train.grace_seconds=0.2")
    since = time.monotonic()
    done = parent.train(tmp_path, home / "lora.yaml", *grace, faults=[fault])
    assert time.monotonic() - since < 60  # the step would take an hour
    # Ctrl-C's code wherever it was one of the two, in either order.
    assert done.code == (130 if "SIGINT" in signals else 143), done.err
    if "SIGINT" not in signals:  # a second signal asks for no grace
        assert "train.grace_seconds (0.2) are over" in done.err
        assert re.search(r"step-00000[12] is whole", done.err)
    # The time of grace is no matter of what is trained: the same run goes on without it.
    again = parent.train(tmp_path, home / "lora.yaml")
    assert again.code == 0, again.err
    # The save of step 2 may be under way beside step 3, and is broken off with it.
    assert re.search(r"going on from the checkpoint of step [12]\b", again.out)
    assert differences(tmp_path / "runs/lora/001", reference("lora")) == []


def test_a_step_within_the_grace_is_saved(parent, home, reference, tmp_path):
    target, call = MOMENTS["mid-backward"]
    fault = {"fault": "at_call", "target": target, "number": call, "do": "SIGTERM"}
    grace = ("-o", "train.grace_seconds=60")
    done = parent.train(tmp_path, home / "lora.yaml", *grace, faults=[fault])
    assert done.code == 143
    assert "stopped after step" in done.err
    assert parent.train(tmp_path, home / "lora.yaml").code == 0
    assert differences(tmp_path / "runs/lora/001", reference("lora")) == []


def test_at_the_start(parent, home, reference, tmp_path):
    for wait in (0.0, 0.05, 0.2):
        started = parent.begin(tmp_path, home / "lora.yaml")
        time.sleep(wait)
        started.kill(signal.SIGTERM)
        # Before ftune listens the system ends it, which a shell calls 143 as well.
        assert started.wait().code in (143, -signal.SIGTERM)
    assert parent.train(tmp_path, home / "lora.yaml").code == 0
    runs = sorted((tmp_path / "runs/lora").iterdir())
    assert differences(runs[-1], reference("lora")) == []


def test_how_long_it_takes(parent, home, tmp_path):
    started = parent.begin(tmp_path, home / "full.yaml")
    metrics = tmp_path / "runs/full/001/train/metrics.jsonl"
    end = time.monotonic() + 60
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < 4:
        assert time.monotonic() < end
        time.sleep(0.005)
    started.kill(signal.SIGTERM)
    since = time.monotonic()
    assert started.wait().code == 143
    took = time.monotonic() - since
    print(f"{took:.2f} s from the signal to the end")
    assert took < GRACE
