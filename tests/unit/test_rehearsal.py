"""The miniature of a recipe, its longest batch, and what a rehearsal makes of a failure."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from recipe_texts import GOOD

from ftune.data.batching import Plan
from ftune.errors import Interrupted, RunError
from ftune.recipe.reading import load_recipe
from ftune.run.progress import Silent
from ftune.run.signals import StopFlag
from ftune.run.stage import Place
from ftune.stages import rehearse
from ftune.stages.rehearsal.child import _longest, _whole
from ftune.stages.rehearsal.miniature import miniature
from ftune.stages.rehearsal.needs import Need
from ftune.stages.rehearsal.walk import LeftOut, Walk


def small(tmp_path: Path, *given: str):
    file = tmp_path / "recipe.yaml"
    file.write_text(GOOD, encoding="utf-8")
    whole = load_recipe(file, given).recipe
    return whole, load_recipe(file, miniature(whole, given, tmp_path / "runs")).recipe


def test_everything_but_its_size_stays(tmp_path):
    given = ["train.learning_rate=3e-3", "train.max_steps=999", "train.report_to=[tensorboard]"]
    whole, mini = small(tmp_path, *given)
    assert mini.train.max_steps == 3 and mini.train.report_to == ()
    assert mini.data.train[0].max_rows == 16
    assert Path(mini.runs_dir) == tmp_path / "runs"
    changed = ("max_steps", "save_steps", "save_total_limit", "logging_steps", "report_to")
    kept = {k: v for k, v in mini.train if k not in changed}
    assert kept == {k: v for k, v in whole.train if k not in changed}
    assert (mini.model, mini.tune) == (whole.model, whole.tune)


def test_shares_are_rows_of_their_own_and_small_sources_stay_small(tmp_path):
    given = ["data.eval=0.01", "data.test=0.01", "evaluate.metrics=[bleu]"]
    given += ["data.train[0].max_rows=5", "data.train[0].weight=0.01"]
    whole, mini = small(tmp_path, *given)
    assert mini.data.train[0].max_rows == 5 and mini.data.train[0].weight == 1.0
    for split in (mini.data.eval, mini.data.test):
        assert split[0].path == whole.data.train[0].path and split[0].max_rows == 4
    assert mini.train.eval_steps == 2
    assert mini.evaluate.generation.max_new_tokens == 16


def test_the_longest_batch_of_the_plan():
    lengths = np.random.default_rng(0).integers(1, 50, 300)
    lengths[[7, 8, 211]] = 90
    targets = np.maximum(lengths - 1, 0)
    for options in ({}, {"tokens_per_batch": 400}, {"pack_length": 100}):
        plan = Plan(lengths, targets, batch_size=4, **options)
        step, width = _longest(plan)
        [[micro]] = step.micros
        size = width * len(micro.lines)
        sizes = [
            max(lengths[list(line)].sum() for line in m.lines) * len(m.lines)
            for s in plan.epoch(0)
            for m in s.micros[0]
        ]
        assert size == max(sizes)
        assert step.tokens == sum(lengths[r] for line in micro.lines for r in line)


def test_steps_and_tokens_of_the_whole():
    plan = Plan(np.full(40, 10), np.full(40, 9), batch_size=4)
    train = SimpleNamespace(num_train_epochs=1.5, max_steps=None)
    assert _whole(plan, SimpleNamespace(train=train)) == (15, 600)
    train.max_steps = 5
    assert _whole(plan, SimpleNamespace(train=train)) == (5, 200)


def walk(tmp_path: Path) -> Walk:
    return Walk(None, (), tmp_path, Place(tmp_path), Silent(), StopFlag())  # type: ignore[arg-type]


def test_an_act_that_fails_holds_back_only_those_that_need_it(tmp_path):
    def fails(_: Walk) -> str:
        raise RunError("no room")

    def nothing(_: Walk) -> str:
        raise LeftOut("a soft prompt can't be merged")

    found = walk(tmp_path)
    found.act("one", lambda _: "well")
    found.act("two", nothing)
    assert found.holds
    found.act("three", fails)
    found.act("four", lambda _: "well", after=("three",))
    found.act("five", lambda _: "well", after=("one",))
    states = [(o.act, o.state) for o in found.outcomes]
    assert states == [
        ("one", "held"),
        ("two", "left out"),
        ("three", "failed"),
        ("four", "not reached"),
        ("five", "held"),
    ]
    assert not found.holds
    assert found.outcomes[2].detail == "no room"


def test_a_stop_is_no_failure(tmp_path):
    found = walk(tmp_path)
    found.stop.code = 130
    with pytest.raises(Interrupted):
        found.act("one", lambda _: "well")


def test_a_stop_says_that_nothing_is_kept(tmp_path, monkeypatch):
    """What is inside speaks of a run that the same command goes on with."""

    def stopped(_):
        raise Interrupted("stopped after step 1, which is saved", 143)

    monkeypatch.setattr(rehearse, "ACTS", (("one", stopped, ()),))
    file = tmp_path / "recipe.yaml"
    file.write_text(GOOD, encoding="utf-8")
    loaded = load_recipe(file, (f"runs_dir={tmp_path / 'runs'}",))
    with pytest.raises(Interrupted, match="what it wrote is removed") as told:
        rehearse.rehearse(loaded, (), False, Silent())
    assert told.value.exit_code == 143
    assert [p.name for p in tmp_path.iterdir()] == ["recipe.yaml"]


def test_too_little_of_something_does_not_hold():
    assert Need("memory", 5, 10, "").holds and Need("time", 5, None, "").holds
    assert not Need("disk", 11, 10, "").holds


def test_what_a_killed_rehearsal_left_is_removed(tmp_path):
    """Not that of one under way, of another machine, or what only looks alike."""
    import os
    import subprocess
    import sys

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f"{rehearse._own()}{ended.pid}-abc"
    stays = [
        tmp_path / f"{rehearse._own()}{os.getpid()}-abc",
        tmp_path / f"{rehearse.PREFIX}another-machine-{ended.pid}-abc",
        tmp_path / f"{rehearse._own()}mine",
    ]
    for folder in (left, *stays):
        (folder / "runs").mkdir(parents=True)
    link = tmp_path / f"{rehearse._own()}{ended.pid}-link"
    link.symlink_to(stays[2])
    rehearse._remove_left(tmp_path)
    assert not left.exists()
    assert all((folder / "runs").is_dir() for folder in stays) and link.is_symlink()
