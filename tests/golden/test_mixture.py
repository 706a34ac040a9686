"""``data.mixture`` on tasks of T0 through the command line: the mix that is trained on and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Warm

from ftune.data.store import TokenStore

pytestmark = pytest.mark.golden


def write_recipe(home: Path, shared: Path) -> list[int]:
    """A recipe over 24 tasks of unlike sizes; gives the sizes."""
    files = sorted((shared.resolve() / "data/t0-tasks").glob("*.jsonl"))
    sizes = [60 - 2 * i for i in range(len(files))]
    rows = "\n".join(
        f"    - {{path: {file}, format: prompt_completion, max_rows: {size}}}"
        for file, size in zip(files, sizes, strict=True)
    )
    (home / "r.yaml").write_text(f"""\
name: t0
model: {{name_or_path: {shared.resolve()}/models/TinyStories-656K, device: cpu}}
data:
  train:
{rows}
  mixture: {{sampling: temperature, temperature: 2.0}}
  template: plain
  max_length: 256
  on_too_long: truncate_prompt
  on_bad_row: skip
tune: {{method: lora, r: 2}}
train: {{max_steps: 2, per_device_train_batch_size: 4}}
""")
    return sizes


def test_24_tasks_at_temperature_2(tmp_path: Path, shared: Path, warm: Warm) -> None:
    sizes = write_recipe(tmp_path, shared)
    done = warm.run(tmp_path, "train", "r.yaml")
    assert done.code == 0, done.err
    run = tmp_path / "runs/t0/001"
    ledger = json.loads((run / "format/report.json").read_text())["figures"]["ledger"]["train"]
    left = [one["used"] + one["not_drawn"] for one in ledger]
    assert sum(left) <= sum(sizes)
    roots = [n**0.5 for n in left]
    store = TokenStore(run / "format/train.arrow")
    for number, one in enumerate(ledger):
        mine = store.sources == number
        asked = roots[number] / sum(roots)
        assert one["asked_percent"] == pytest.approx(100 * asked, abs=1e-4)
        assert mine.mean() == pytest.approx(asked, abs=0.01)
        assert one["rows_percent"] == pytest.approx(100 * mine.mean(), abs=1e-4)
        share = store.trained_counts[mine].sum() / store.trained_counts.sum()
        assert one["trained_percent"] == pytest.approx(100 * share, abs=1e-4)
    assert sorted(p.name for p in (run / "format").glob(".part-*")) == []
    page = (run / "report.md").read_text()
    assert all(head in page for head in ("asked share", "rows share", "trained share"))
    assert "mixture: temperature 2.0 by rows, first_exhausted: 24 sources" in done.out + done.err
