"""The course of training, read and drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fake_run import course, put_lines

from ftune.report.curves import draw_curves, smooth
from ftune.report.series import Series, read_series


def test_steps_that_a_resumed_run_wrote_again_count_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": s, "loss": 9.0} for s in (1, 2, 3)] + [
        {"step": s, "loss": 1.0} for s in (2, 3)
    ]
    put_lines(path, [*lines, {"step": 3, "eval_loss": 2.0}, {"step": 4, "loss": float("nan")}])
    found = read_series(path, [])
    assert found["loss"] == ((1, 9.0), (2, 1.0), (3, 1.0))
    assert found["eval_loss"] == ((3, 2.0),)
    assert found["grad_norm"] == ()


@pytest.mark.parametrize("steps", [1, 2, 39, 40, 500])
def test_a_picture_of_any_length(tmp_path: Path, steps: int) -> None:
    from matplotlib.image import imread

    path = tmp_path / "metrics.jsonl"
    put_lines(path, course(steps))
    assert draw_curves(read_series(path, []), tmp_path / "loss.png", "a $title_ with marks")
    pixels = imread(tmp_path / "loss.png")
    assert pixels.shape[:2] == (800, 1280)
    assert pixels[..., :3].std() > 0.01  # something was drawn


def test_only_an_evaluation_loss_is_drawn_too(tmp_path: Path) -> None:
    assert draw_curves(Series({"eval_loss": ((5, 1.0), (9, 1.0))}), tmp_path / "loss.png")


def test_no_loss_no_picture_and_none_left_over(tmp_path: Path) -> None:
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")
    assert not draw_curves(Series({"learning_rate": ((1, 1.0),)}), path)
    assert not path.exists()


def test_drawing_leaves_pyplot_alone(tmp_path: Path) -> None:
    """In a process of its own: what other tests imported must not decide it."""
    code = (
        "import pathlib, sys\n"
        "from ftune.report import curves, length_picture, series\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "curves.draw_curves(series.Series({'loss': ((1, 1.0),)}), folder / 'loss.png')\n"
        "length_picture.draw(folder / 'lengths.png', {'tokens': {3: 1, 5: 2}}, 'Lengths')\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert {one.name for one in tmp_path.iterdir()} == {"loss.png", "lengths.png"}


def test_smoothing_keeps_a_level_and_a_symmetry() -> None:
    assert smooth([2.0] * 100) == pytest.approx([2.0] * 100)
    hill = [float(min(i, 99 - i)) for i in range(100)]
    assert smooth(hill) == pytest.approx(smooth(hill)[::-1])
    assert max(smooth(hill)) < max(hill)
