"""A report says which layers were trained from when on, and how fast."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import fake_run, put

from ftune.report.gather import gather
from ftune.report.html.page import page
from ftune.report.layers import layer_rows
from ftune.report.markdown import run_page

LAYERS = [
    {"name": "layer 1", "learning_rate": 3e-3, "parameters": 196992, "from_step": 1},
    {"name": "layer 0", "learning_rate": 1.2e-3, "parameters": 196864, "from_step": 20},
    {"name": "embeddings", "learning_rate": 4e-4, "parameters": 262144, "from_step": None},
]


def test_layers_are_in_both_pages(tmp_path: Path) -> None:
    folder = fake_run(tmp_path)
    assert layer_rows(gather(folder)) == []
    assert "layer, top first" not in page(gather(folder))
    put(folder / "train/report.json", {"stage": "train", "figures": {"layers": LAYERS}})
    run = gather(folder)
    assert layer_rows(run) == [
        ("layer 1", "196,992", "0.0030", "from step 1"),
        ("layer 0", "196,864", "0.0012", "from step 20"),
        ("embeddings", "262,144", "0.0004", "never"),
    ]
    assert "| layer 0 | 196,864 | 0.0012 | from step 20 |" in run_page(run, picture=False)
    assert "<td>embeddings</td>" in page(run)


@pytest.mark.parametrize("junk", [5, "x", [5, None], [{}], {"a": 1}])
def test_junk_is_no_failure(tmp_path: Path, junk: object) -> None:
    folder = fake_run(tmp_path)
    put(folder / "train/report.json", {"stage": "train", "figures": {"layers": junk}})
    assert isinstance(layer_rows(gather(folder)), list)
