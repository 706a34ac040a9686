"""What is not a number stops a training before it is applied, and is never saved."""

from __future__ import annotations

import pytest
from compare import curve, differences, not_finite, read

pytestmark = pytest.mark.golden


@pytest.mark.parametrize(
    ("what", "variant"),
    [("weight", "lora"), ("gradient", "lora"), ("batch", "lora"), ("weight", "full")],
)
def test_poison(what, variant, parent, home, reference, tmp_path):
    fault = {"fault": "poison", "what": what, "step": 4}
    done = parent.train(tmp_path, home / f"{variant}.yaml", faults=[fault])
    run = tmp_path / "runs" / variant / "001"
    assert done.code == 5, done.err
    assert "step 4" in done.err
    assert "nan" in done.err
    assert ".jsonl:" in done.err  # the rows of the step
    assert read(run / "run.json")["state"] == "failed"
    assert max(x["step"] for x in curve(run)) == 3
    assert not_finite(run) == []
    assert not (run / "train/adapter").exists()
    # What was saved before is as good as ever.
    again = parent.train(tmp_path, home / f"{variant}.yaml")
    assert "going on from the checkpoint of step 3" in again.out
    assert differences(run, reference(variant)) == []


@pytest.mark.parametrize("what", ["gradient", "batch"])
def test_left_out(what, parent, home, tmp_path):
    """One poisoned step: the run ends well without it, and says so on the screen and in files."""
    fault = {"fault": "poison", "what": what, "step": 4}
    skip = ("-o", "train.on_nan=skip")
    done = parent.train(tmp_path, home / "full.yaml", *skip, faults=[fault])
    run = tmp_path / "runs" / "full" / "001"
    # The hook of the poisoned gradient stays in place, so all that follow are poisoned too.
    assert done.code == (0 if what == "batch" else 5), done.err
    assert "step 4" in done.err and ".jsonl:" in done.err
    assert not_finite(run) == []
    left_out = [x["step"] for x in curve(run) if "skipped" in x]
    if what == "batch":
        assert left_out == [4]
        assert read(run / "train/report.json")["figures"]["skipped_steps"] == 1
    else:
        assert len(left_out) == 10 and "10 steps in a row" in done.err


@pytest.mark.parametrize("variant", ["lora", "full", "prompt"])
def test_a_rate_ten_thousand_times_too_high(variant, parent, home, tmp_path):
    """Either it stops, or what it trained is finite, and so is every loss that it tells."""
    codes = []
    for rate in ("100", "1e18"):
        done = parent.train(tmp_path, home / f"{variant}.yaml", "-o", f"train.learning_rate={rate}")
        run = sorted((tmp_path / "runs" / variant).iterdir())[-1]
        assert not_finite(run) == []
        assert done.code in (0, 5), done.err
        assert 0.0 not in [x["loss"] for x in curve(run) if "loss" in x]
        if done.code == 5:
            assert "lower train.learning_rate" in done.err
            assert not (run / "train/adapter").exists()
        codes.append(done.code)
    # Before the first norm layer a vector may be as large as it likes.
    assert codes[-1] == 5 or variant == "prompt"
