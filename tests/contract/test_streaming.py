"""Training on a stream: killed, stopped between buffers, in two processes, it is the same."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import json_lines, load, make_home, one_thread, row, write_rows

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from forked import in_processes

from ftune.data.shards import Shards
from ftune.errors import Interrupted
from ftune.recipe.reading import Loaded
from ftune.report.gather import gather
from ftune.run.progress import Silent
from ftune.stages.whole import Wish, train_recipe

STEPS = 13
KEYS = (
    "data.streaming.buffer=10", "data.test=[]", "evaluate.metrics=[]", f"train.max_steps={STEPS}",
    "train.save_steps=3", "tune.lora_dropout=0.1", "train.learning_rate=1e-3",
    "train.per_device_train_batch_size=4",
)  # fmt: skip
WEIGHTS = "train/adapter/adapter_model.safetensors"


class Watched(Silent):
    """Does something at a step of the training."""

    def __init__(self, step: int, act: Callable[[], None], title: str = "") -> None:
        self._step, self._act, self._title = step, act, title

    def meter(self, title: str, total: int | None, unit: str):
        return Watched(self._step, self._act, title)

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, done: int, **figures: str) -> None:
        if self._title == "train" and done == self._step:
            self._act()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream")
    path = make_home(folder)
    write_rows(folder / "more.jsonl", [row(i, "More.") for i in range(7)])
    text = path.read_text(encoding="utf-8").replace(
        "    - path: train.jsonl\n      format: alpaca\n",
        "    - {path: train.jsonl, format: alpaca, weight: 3}\n"
        "    - {path: more.jsonl, format: alpaca}\n",
    )
    path.write_text(text, encoding="utf-8")
    return folder


def recipe(home: Path, name: str, *keys: str) -> Loaded:
    """The recipe with ``KEYS``; of a key that is given twice the last one counts."""
    every = (*KEYS, f"name={name}", f"runs_dir={home}/runs", *keys)
    last = dict(each.split("=", 1) for each in every)
    return load(home / "recipe.yaml", *(f"{key}={value}" for key, value in last.items()))


def train(home: Path, name: str, *keys: str, progress: Silent | None = None) -> Path:
    loaded = recipe(home, name, *keys)
    with one_thread():
        train_recipe(loaded, Wish(), progress or Silent())
    return home / f"runs/{name}/001"


@pytest.fixture(scope="module")
def straight(home: Path) -> Path:
    return train(home, "straight")


def in_child(work: Callable[[], object]) -> int:
    """The exit code of a forked child that does ``work``."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def same(run: Path, other: Path) -> None:
    assert (run / WEIGHTS).read_bytes() == (other / WEIGHTS).read_bytes()
    assert json_lines(run / "train/metrics.jsonl") == json_lines(other / "train/metrics.jsonl")
    one, two = (json.loads((r / "train/report.json").read_text())["figures"] for r in (run, other))
    assert one["stream"] == two["stream"]


def test_the_ledger_is_of_all_that_was_read(straight: Path) -> None:
    figures = json.loads((straight / "train/report.json").read_text())["figures"]
    counts = figures["stream"]["ledger"]
    # 13 steps of 4 rows, the third of each buffer of 10 has 2: five buffers were begun.
    assert figures["stream"]["shards"] == 5 and figures["buffers"] == pytest.approx(4 + 1 / 3)
    assert [one["used"] for one in counts] == [37, 13]
    assert [one["passes"] for one in counts] == [3, 1]
    assert not list((straight / "train/stream").glob("*.arrow"))
    page = gather(straight)
    assert page.counted["ledger"]["train"] == counts
    formatted = json.loads((straight / "format/report.json").read_text())["figures"]["totals"]
    assert formatted["train"]["used"] == 10


def test_killed_with_its_rows_gone_it_is_the_same(home: Path, straight: Path) -> None:
    kill = Watched(11, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert in_child(lambda: train(home, "killed", progress=kill)) == -signal.SIGKILL
    stream = home / "runs/killed/001/train/stream"
    assert [p.name for p in sorted(stream.glob("*.arrow"))] == [
        "shard-000002.arrow", "shard-000003.arrow",
    ]  # fmt: skip
    for path in stream.glob("*.arrow"):
        path.unlink()
    same(train(home, "killed"), straight)


def test_stopped_while_rows_are_formed_it_saves_first(
    home: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Shards.make

    def stopping(self: Shards, number: int) -> None:
        if number == 2:
            signal.raise_signal(signal.SIGTERM)
        make(self, number)

    monkeypatch.setattr(Shards, "make", stopping)
    with pytest.raises(Interrupted, match=r"step 6 of 13, which is saved") as stopped:
        train(home, "stopped", "train.save_steps=100")
    assert stopped.value.exit_code == 143
    monkeypatch.undo()
    same(train(home, "stopped", "train.save_steps=100"), straight)


def test_two_processes_train_as_one(home: Path, straight: Path) -> None:
    def work(rank: int) -> None:
        from accelerate.state import AcceleratorState

        from ftune.stages.together import follow

        AcceleratorState._reset_state(reset_partial_state=True)  # of the parent, which was alone
        keys = ("tune.lora_dropout=0", "model.device=cpu", "train.per_device_train_batch_size=2")
        if rank == 0:
            train(home, "two", *keys)
        else:
            follow(recipe(home, "two", *keys), False)

    in_processes(2, work)
    one = train(home, "one", "tune.lora_dropout=0")
    both = [json_lines(run / "train/metrics.jsonl") for run in (one, home / "runs/two/001")]
    for a, b in zip(*both, strict=True):
        assert a.get("rows") == b.get("rows") and a.get("trained_tokens") == b.get("trained_tokens")
        if "loss" in a:
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
    told = [json.loads((r / "train/report.json").read_text())["figures"]["stream"]
            for r in (one, home / "runs/two/001")]  # fmt: skip
    assert told[0] == told[1]
