"""Where training and evaluation loss part is said only where the curves show it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fake_run import fake_run, put_lines

from ftune.report.overfitting import parting
from ftune.report.series import Series
from ftune.report.write import write_run_report

STEPS = tuple(range(10, 210, 10))


def curves(held_out: list[float], training: list[float] | None = None) -> Series:
    falling = [3.0 / (1 + step / 50) for step in STEPS]
    points = {"loss": training or falling, "eval_loss": held_out}
    return Series({key: tuple(zip(STEPS, ys, strict=False)) for key, ys in points.items()})


def valley(step: int) -> float:
    """An evaluation loss that is lowest at step 100."""
    return 1.0 + ((step - 100) / 100) ** 2


def test_a_clear_rise_is_told_with_its_step_and_what_to_do() -> None:
    found = parting(curves([valley(step) for step in STEPS]))
    assert found is not None
    assert (found.step, found.lowest, found.last) == (100, 1.0, 2.0)
    assert "after step 100" in found.sentence()
    assert "train.max_steps" in found.sentence()


def test_a_rise_is_seen_through_noise() -> None:
    draw = random.Random(1)
    found = parting(curves([valley(step) + draw.gauss(0, 0.05) for step in STEPS]))
    assert found is not None
    assert 70 <= found.step <= 130


def test_noise_alone_is_hardly_ever_taken_for_a_parting() -> None:
    draw = random.Random(0)
    found = 0
    for _ in range(1000):
        falling = [0.5 + 2.0 / (1 + step / 30) + draw.gauss(0, 0.05) for step in STEPS]
        found += parting(curves(falling)) is not None
    assert found <= 5


@pytest.mark.parametrize(
    ("held_out", "training"),
    [
        ([3.0 / (1 + step / 60) for step in STEPS], None),  # falls to the end
        ([1.0] * len(STEPS), None),  # flat
        ([2.0, 1.0, 1.5, 2.0], None),  # two evaluations after the lowest are too few
        ([valley(step) for step in STEPS], [valley(step) for step in STEPS]),  # both rise
        ([1.0 + valley(step) / 1000 for step in STEPS], None),  # a thousandth
        ([], None),
    ],
)
def test_nothing_is_said_that_the_curves_do_not_show(
    held_out: list[float], training: list[float] | None
) -> None:
    assert parting(curves(held_out, training)) is None


def test_it_stands_in_both_reports(tmp_path: Path) -> None:
    folder = fake_run(tmp_path)
    lines = [
        {"step": s, "loss": 3.0 / (1 + s / 50), "eval_loss": valley(s)} for s in STEPS
    ]  # fmt: skip
    put_lines(folder / "train" / "metrics.jsonl", lines)
    write_run_report(folder)
    for name in ("report.md", "report.html"):
        page = (folder / name).read_text(encoding="utf-8")
        assert "Training and evaluation loss part after step 100" in page
